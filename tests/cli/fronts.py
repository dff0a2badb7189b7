"""Come in here for what may stand where a Remit is expected: a small HTTP server that remembers all it was told."""

import datetime as dt
import ipaddress
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

Reply = tuple[int, Mapping[str, str], bytes]
Said = Callable[["Heard"], Reply]


@dataclass(frozen=True)
class Heard:
    """One request."""

    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass
class Front:
    """A server that answers as it is told to, and what it heard."""

    url: str = ""
    heard: list[Heard] = field(default_factory=list)

    def heard_of(self, secret: str) -> bool:
        """Whether a request brought this."""
        return any(secret in str(one) for one in self.heard)


@contextmanager
def front(said: Said, certificate: Path | None = None) -> Iterator[Front]:
    """A server on a free port, over TLS with ``certificate`` (and its key) if there is one."""
    made = Front()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            heard = Heard(self.path, {name.lower(): value for name, value in self.headers.items()}, body)
            made.heard.append(heard)
            status, headers, answer = said(heard)
            self.send_response(status)
            for name, value in {**headers, "content-length": str(len(answer))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer)

        do_GET = do_POST  # noqa: N815  # the name that the standard library looks for

        def log_message(self, *_: object) -> None:
            """Nothing on stderr."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            """A client that turned away is what is looked for here."""

    with Server(("127.0.0.1", 0), Handler) as server:
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        made.url = f"{'http' if certificate is None else 'https'}://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield made
        finally:
            server.shutdown()
            thread.join(10)


def passed_on(url: str) -> Said:
    """The answer of whoever is at ``url``."""

    def said(heard: Heard) -> Reply:
        kept = {name: value for name, value in heard.headers.items() if name not in {"host", "content-length"}}
        with httpx.Client(trust_env=False, timeout=60) as http:
            answer = http.post(f"{url}{heard.path}", content=heard.body, headers=kept)
        return answer.status_code, {"content-type": answer.headers.get("content-type", "")}, answer.content

    return said


def self_signed(path: Path) -> Path:
    """A certificate for this machine, signed by itself, and its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "a company's own")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem, private = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    path.write_bytes(certificate.public_bytes(pem) + key.private_bytes(pem, private, serialization.NoEncryption()))
    return path

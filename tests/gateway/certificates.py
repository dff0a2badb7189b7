"""Come in here for a certificate authority of a test's own, and TLS contexts of servers that it vouches for, or not."""

import datetime as dt
import ipaddress
import ssl
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

LOOPBACK = "127.0.0.1"
_DAY = dt.timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its key, both in PEM."""

    cert: bytes
    key: bytes


@dataclass(slots=True)
class Authority:
    """A certificate authority that lives as long as its test."""

    folder: Path
    name: str = "test authority"
    _key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    _cert: x509.Certificate = field(init=False)

    def __post_init__(self) -> None:
        """Its own certificate, which stands in a file as an operator would have it."""
        subject = _named(self.name)
        builder = _builder(subject, subject, self._key, days=2)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        builder = builder.add_extension(
            x509.SubjectKeyIdentifier.from_public_key(self._key.public_key()), critical=False
        )
        self._cert = builder.sign(self._key, hashes.SHA256())
        self.ca.write_bytes(self._cert.public_bytes(serialization.Encoding.PEM))

    @property
    def ca(self) -> Path:
        """The file of its certificate."""
        return self.folder / f"{self.name.replace(' ', '-')}.pem"

    def pair(self, host: str = LOOPBACK, days: int = 2) -> Pair:
        """A certificate for a host or a client; of the past with ``days`` below zero."""
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(_named(host), self._cert.subject, key, days)
        try:
            name: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(host))
        except ValueError:
            name = x509.DNSName(host)
        builder = builder.add_extension(x509.SubjectAlternativeName([name]), critical=False)
        builder = builder.add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False
        )
        cert = builder.sign(self._key, hashes.SHA256())
        return Pair(
            cert.public_bytes(serialization.Encoding.PEM),
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            ),
        )

    def written(self, pair: Pair, name: str) -> Path:
        """The certificate alone, in a file; its key stays out of it."""
        path = self.folder / f"{name}.pem"
        path.write_bytes(pair.cert)
        return path

    def serving(self, pair: Pair | None = None, clients: "Authority | None" = None) -> ssl.SSLContext:
        """A server's context with a certificate; with ``clients`` it wants one that they signed."""
        shown = pair or self.pair()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        both = self.folder / f"server-{id(shown)}.pem"
        both.write_bytes(shown.cert + shown.key)
        context.load_cert_chain(both)
        both.unlink()
        if clients is not None:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(clients.ca)
        return context


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, days: int
) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number()).not_valid_before(now - 10 * _DAY)
    return builder.not_valid_after(now + days * _DAY)

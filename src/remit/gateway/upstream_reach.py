"""Come in here for how a server is reached over TLS, and for what it means when it is not reached at all.

Rules
- Certificates are always checked, for issuer, date and host. With ``ca`` only what that file signed is believed.
- The key of our certificate comes out of the store and is handed to the TLS library through a file in memory; where
  there is none, through a file of our own user that is gone when the library has read it.
- The files of a record are read when a connection is opened, so a certificate that was renewed is met by the next one.
- A certificate that either side refuses is ``NotSent``: the handshake fails before a byte of a request is acted on. A
  connection that merely breaks tells nothing, and is not read here.
- No failure names a path, a header or a word of the server's: it ends up in front of an agent.
"""

import contextlib
import errno
import os
import ssl
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import aiohttp

from remit.gateway.upstream_wire import NotSent, TlsTarget, Unreached

# OpenSSL's X509_V_ERR_* numbers (x509_vfy.h), which Python passes on as ``verify_code``.
_EXPIRED: Final = 10
_NOT_YET: Final = 9
_OTHER_HOST: Final = frozenset({62, 64})
_UNKNOWN_ISSUER: Final = frozenset({2, 18, 19, 20, 21})
_CERTIFICATE_REQUIRED: Final = "TLSV13_ALERT_CERTIFICATE_REQUIRED"
# Alerts by which a server refuses a client's certificate (RFC 8446 section 6.2); all are of the handshake.
_CERTIFICATE_REFUSED: Final = frozenset(
    {
        *("SSLV3_ALERT_BAD_CERTIFICATE", "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE", "SSLV3_ALERT_CERTIFICATE_REVOKED"),
        *("SSLV3_ALERT_CERTIFICATE_EXPIRED", "SSLV3_ALERT_CERTIFICATE_UNKNOWN", "TLSV1_ALERT_UNKNOWN_CA"),
    }
)
_MOST_CAUSES: Final = 8
_NAME_ONE: Final = "Name one in the record (tls: {cert: PATH}), and store its key as the secret tls:key."


def context(target: TlsTarget) -> ssl.SSLContext:
    """The TLS context of a record, from its files as they are now. It reads files: call it in a thread.

    Raises ``NotSent`` for what can't be read or does not belong together.
    """
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        if target.ca is None:
            made.load_default_certs()
        else:
            made.load_verify_locations(target.ca)
    except OSError:  # of which ssl.SSLError is one
        raise NotSent(
            "the file of certificates that its record believes can't be read",
            hint="Check tls.ca in the record: a PEM file that Remit's user may read.",
        ) from None
    if target.cert is not None:
        _show(made, target.cert, target.key)
    return made


def _show(made: ssl.SSLContext, cert: str, key: str) -> None:
    try:
        with _passing_file(key.encode()) as path:
            made.load_cert_chain(cert, path, password=lambda: b"")  # else OpenSSL would ask for one on the terminal
    except OSError:
        raise NotSent(
            "our client certificate can't be read, or its key is not the stored one",
            hint="Check tls.cert in the record, and store the key that belongs to it as the secret tls:key.",
        ) from None


@contextlib.contextmanager
def _passing_file(data: bytes) -> Iterator[str]:
    """A path at which ``data`` can be read until the block ends: in memory where the system has such files."""
    if hasattr(os, "memfd_create") and Path("/proc/self/fd").is_dir():
        handle = os.memfd_create("remit", os.MFD_CLOEXEC)
        try:
            with os.fdopen(os.dup(handle), "wb") as file:
                file.write(data)
            yield f"/proc/self/fd/{handle}"
        finally:
            os.close(handle)
        return
    handle, path = tempfile.mkstemp()  # for this user only
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        yield path
    finally:
        Path(path).unlink()


def unreached(error: aiohttp.ClientError) -> NotSent:
    """What a connection that was never made says."""
    tls = refused_certificate(error)
    if tls is not None:
        return tls
    if isinstance(error, aiohttp.ClientSSLError):
        return Unreached("the TLS handshake with the server failed", cause="tls", hint="Does that port speak TLS?")
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return Unreached("the server's host name is not known here", cause="name")
    if isinstance(error, aiohttp.ClientConnectorError) and error.os_error.errno == errno.ECONNREFUSED:
        return Unreached("the server refused the connection", cause="refused")
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return Unreached("no connection to the server came about in time", cause="unreachable")
    return Unreached("no connection to the server", cause="unreachable")


def refused_certificate(error: BaseException) -> NotSent | None:
    """What a failure says if a certificate, of either side, was refused; else None."""
    for one in _causes(error):
        if isinstance(one, aiohttp.ClientError):
            continue  # an SSLError by name only, without the code and the reason of one
        if isinstance(one, ssl.SSLCertVerificationError):
            return _theirs(one.verify_code)
        if isinstance(one, ssl.SSLError) and one.reason == _CERTIFICATE_REQUIRED:
            return Unreached("the server wants a client certificate", cause="tls", hint=_NAME_ONE)
        if isinstance(one, ssl.SSLError) and one.reason in _CERTIFICATE_REFUSED:
            return Unreached(
                "the server refused our client certificate",
                cause="tls",
                hint="Renew it, or have it issued by an authority that the server believes.",
            )
    return None


def _theirs(code: int) -> NotSent:
    what, hint = "the server's certificate was refused", "Look at it with `openssl s_client -connect HOST:PORT`."
    if code == _EXPIRED:
        what, hint = "the server's certificate has expired", "Its operator must renew it; Remit does not pass over it."
    elif code == _NOT_YET:
        what, hint = "the server's certificate is not valid yet", "Check this machine's clock, and the certificate."
    elif code in _OTHER_HOST:
        what = "the server's certificate is for another host"
        hint = "Put the host that it names into the record's url, or have one issued for this host."
    elif code in _UNKNOWN_ISSUER:
        what = "the issuer of the server's certificate is not known here"
        hint = "If you trust that issuer, name its file in the record (tls: {ca: PATH})."
    return Unreached(what, cause="tls", hint=hint)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """The failure and what led to it, which may go in a circle."""
    for _ in range(_MOST_CAUSES):
        if error is None:
            return
        yield error
        error = error.__cause__ or error.__context__

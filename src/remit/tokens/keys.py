"""Keys as objects: bytes are parsed once, here, and never per use."""

import os
from typing import Final

from cryptography.exceptions import InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from joserfc.jwk import ECKey

from remit.core.errors import StoreUnavailable

NONCE_BYTES: Final = 12
MASTER_BYTES: Final = 32


class SigningKey:
    """An ES256 key (ECDSA on P-256 with SHA-256, RFC 7518 section 3.4), named by its RFC 7638 thumbprint."""

    def __init__(self, private: ec.EllipticCurvePrivateKey) -> None:
        """Wrap a parsed P-256 key. Raises ``ValueError`` for another curve."""
        if not isinstance(private.curve, ec.SECP256R1):
            raise ValueError("an ES256 key is on P-256")  # noqa: TRY004 - the value of a key, not a caller's mistake
        self._private = private
        self.jwk = ECKey.import_key(self.pem())
        self.kid = str(self.jwk.thumbprint())

    @classmethod
    def create(cls) -> "SigningKey":
        """A fresh key."""
        return cls(ec.generate_private_key(ec.SECP256R1()))

    @classmethod
    def from_pem(cls, data: bytes) -> "SigningKey":
        """A key from unencrypted PKCS #8 PEM. Raises ``ValueError``."""
        key = serialization.load_pem_private_key(data, password=None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise ValueError("this is no elliptic curve key")  # noqa: TRY004 - the same
        return cls(key)

    def pem(self) -> bytes:
        """The private key as unencrypted PKCS #8 PEM."""
        return self._private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    def public_pem(self) -> bytes:
        """The public key as SubjectPublicKeyInfo PEM, for independent verifiers."""
        return self._private.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )


class SecretBox:
    """AES-256-GCM around stored upstream credentials. ``aad`` says where a secret belongs, so it opens nowhere else."""

    def __init__(self, master: bytes) -> None:
        """``master`` is 32 bytes; AESGCM would take a shorter, weaker one without a word."""
        if len(master) != MASTER_BYTES:
            raise ValueError("a master key has 32 bytes")
        self._aead = AESGCM(master)

    def seal(self, plain: bytes, aad: bytes) -> bytes:
        """Nonce and ciphertext. A random nonce is safe for the few secrets that one home will ever hold."""
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self._aead.encrypt(nonce, plain, aad)

    def open(self, sealed: bytes, aad: bytes) -> bytes:
        """The secret. Raises ``StoreUnavailable`` when it was changed, moved, or sealed under another key."""
        try:
            return self._aead.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], aad)
        except (InvalidTag, ValueError) as error:
            raise StoreUnavailable("a stored credential can't be opened", hint="Store it again.") from error


def is_private_key(data: bytes) -> bool:
    """Whether ``data`` is a private key in PEM that needs no passphrase."""
    try:
        serialization.load_pem_private_key(data, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return False
    return True

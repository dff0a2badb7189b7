"""Checkpoints: what the log signs (C2SP signed-note, tlog-checkpoint), and proofs one can carry away (tlog-proof).

A checkpoint says "the tree of origin O with N leaves has root R", signed with Ed25519 by a key whose name is O. A
``tlog-proof@v1`` holds a checkpoint, an index and an inclusion proof: whoever has the leaf and the key needs no more.

What is refused:
1. text that is not one exact spelling: control characters, other base64, leading zeros, anything after the signatures;
2. extension lines, which the formats permit: our logs write none, and nobody audits them;
3. a checkpoint without a good signature by a trusted key that bears the origin's name;
4. any bad signature that claims a trusted key, even beside a good one. Signatures by keys we don't know are ignored, as
   signed-note demands: that is how witnesses sign.

What is not here: which origin and key to trust (the caller hands them in) and where the signing key is kept.
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from remit.audit.tree import EMPTY_ROOT, HASH_SIZE, leaf_hash, verify_inclusion
from remit.core.canonical import b64
from remit.core.errors import InternalError, InvalidDocument, Malformed

SEED_SIZE: Final = 32
PROOF_HEADER: Final = "c2sp.org/tlog-proof@v1"

_ED25519: Final = b"\x01"
_KEY_ID_SIZE: Final = 4
_PUBLIC_SIZE: Final = 32
_BODY_LINES: Final = 3
_MAX_NOTE: Final = 1 << 20
_MAX_SIGNATURES: Final = 64
_MAX_PATH: Final = 64
_MAX_COUNT: Final = 2**63 - 1
_COUNT = re.compile(r"0|[1-9][0-9]{0,18}")
_FIRST_PRINTABLE: Final = " "


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """A key that checkpoints are checked with. ``text`` is what people pin: ``<name>+<key id>+<base64>``."""

    name: str
    id: bytes
    text: str
    _public: Ed25519PublicKey = field(repr=False, compare=False)

    def signed(self, text: bytes, signature: bytes) -> bool:
        """Whether ``signature`` is this key's over ``text`` (RFC 8032)."""
        try:
            self._public.verify(signature, text)
        except InvalidSignature:
            return False
        return True


@dataclass(frozen=True, slots=True)
class Signer:
    """A signing key and its name, which is the origin of the one log it signs for."""

    name: str
    verifier: VerifierKey
    _private: Ed25519PrivateKey = field(repr=False, compare=False)

    @property
    def verifier_key_text(self) -> str:
        """What a verifier needs: ``<name>+<8 hex of the key id>+<base64 of 0x01 and the public key>``."""
        return self.verifier.text

    def sign(self, text: bytes) -> str:
        """The signature line over a note text."""
        return f"\u2014 {self.name} {b64(self.verifier.id + self._private.sign(text))}\n"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A tree head that was checked."""

    origin: str
    size: int
    root: bytes


@dataclass(frozen=True, slots=True)
class LogProof:
    """A ``tlog-proof@v1`` as it was read: nothing of it is checked yet, and ``extra`` never can be."""

    index: int
    path: tuple[bytes, ...]
    checkpoint: str
    extra: bytes | None = None


def signer_from_seed(name: str, seed: bytes) -> Signer:
    """The signer for an origin from its 32-byte Ed25519 seed; the key is parsed here, once."""
    if len(seed) != SEED_SIZE:
        raise InternalError(f"an Ed25519 seed has {SEED_SIZE} bytes")
    private = Ed25519PrivateKey.from_private_bytes(seed)
    return Signer(name, _verifier(_named(name), private.public_key().public_bytes_raw()), private)


def parse_verifier_key(text: str) -> VerifierKey:
    """A verifier key from its text. Raises ``Malformed`` unless its name, id and key fit together."""
    name, plus, rest = text.partition("+")
    key_id, second_plus, encoded = rest.partition("+")
    data = _unbase64(encoded)
    if not plus or not second_plus or data[:1] != _ED25519 or len(data) != 1 + _PUBLIC_SIZE:
        raise Malformed("this is no Ed25519 verifier key of the form <name>+<key id>+<base64>")
    key = _verifier(_named(name), data[1:])
    if key_id != key.id.hex():
        raise Malformed("the verifier key's id is not the id of its name and key")
    return key


def sign_checkpoint(origin: str, size: int, root: bytes, signer: Signer) -> str:
    """The signed checkpoint. Raises ``InternalError`` when the signer is not this log's, or the tree head is none."""
    if origin != signer.name:
        raise InternalError(f"the key of {signer.name} does not sign for {origin}")
    if not 0 <= size <= _MAX_COUNT or len(root) != HASH_SIZE or (size == 0 and root != EMPTY_ROOT):
        raise InternalError("this is no tree head")
    body = f"{origin}\n{size}\n{b64(root)}\n"
    return f"{body}\n{signer.sign(body.encode())}"


def open_checkpoint(text: str, trusted_keys: Sequence[VerifierKey]) -> Checkpoint:
    """The checkpoint, if a trusted key that bears its origin's name signed it.

    Raises ``Malformed`` for text that is no checkpoint as we write them, ``InvalidDocument`` when it is not signed so.
    """
    body, signatures = _split_note(text)
    checkpoint = _read_body(body)
    known = {(key.name, key.id): key for key in trusted_keys}
    by_origin = False
    seen: set[tuple[str, bytes]] = set()
    for name, blob in signatures:
        who = (name, blob[:_KEY_ID_SIZE])
        key = known.get(who)
        if key is None:
            continue
        if who in seen:
            raise Malformed(f"{name} signed this checkpoint twice")
        seen.add(who)
        if not key.signed(body.encode(), blob[_KEY_ID_SIZE:]):
            raise InvalidDocument(f"the signature by {name} over this checkpoint is not good")
        by_origin = by_origin or name == checkpoint.origin
    if not by_origin:
        raise InvalidDocument(f"no trusted key of {checkpoint.origin} signed this checkpoint")
    return checkpoint


def write_proof(index: int, path: Sequence[bytes], checkpoint: str, extra: bytes | None = None) -> str:
    """A ``tlog-proof@v1`` file: index, inclusion proof and checkpoint, readable without us."""
    lines = [PROOF_HEADER]
    if extra is not None:
        lines.append(f"extra {b64(extra)}")
    lines.append(f"index {index}")
    lines += [b64(one) for one in path]
    return "\n".join(lines) + "\n\n" + checkpoint


def read_proof(text: str) -> LogProof:
    """The parts of a ``tlog-proof@v1``, unchecked. Raises ``Malformed`` for any other spelling."""
    head, blank, checkpoint = text.partition("\n\n")
    lines = head.split("\n")
    if not blank or lines.pop(0) != PROOF_HEADER:
        raise Malformed(f"this does not begin with {PROOF_HEADER}")
    extra = None
    if lines and lines[0].startswith("extra "):
        extra = _unbase64(lines.pop(0).removeprefix("extra "))
    if not lines or not lines[0].startswith("index "):
        raise Malformed("the proof names no index")
    index = _count(lines.pop(0).removeprefix("index "))
    path = tuple(_unbase64(line) for line in lines)
    if len(path) > _MAX_PATH or any(len(one) != HASH_SIZE for one in path):
        raise Malformed("the proof holds something else than up to 64 hashes")
    return LogProof(index, path, checkpoint, extra)


def open_proof(text: str, leaf: bytes, trusted_keys: Sequence[VerifierKey]) -> Checkpoint:
    """The checkpoint under which ``leaf`` is proved to stand in the log, at the index that the proof names.

    Raises what ``open_checkpoint`` raises, and ``InvalidDocument`` when the proof does not lead from leaf to root.
    """
    proof = read_proof(text)
    checkpoint = open_checkpoint(proof.checkpoint, trusted_keys)
    if not verify_inclusion(leaf_hash(leaf), proof.index, checkpoint.size, proof.path, checkpoint.root):
        raise InvalidDocument(f"the proof does not show this entry at {proof.index} of {checkpoint.origin}")
    return checkpoint


def _verifier(name: str, public: bytes) -> VerifierKey:
    key_id = hashlib.sha256(name.encode() + b"\n" + _ED25519 + public).digest()[:_KEY_ID_SIZE]
    text = f"{name}+{key_id.hex()}+{b64(_ED25519 + public)}"
    return VerifierKey(name, key_id, text, Ed25519PublicKey.from_public_bytes(public))


def _named(name: str) -> str:
    if not name or "+" in name or any(char.isspace() or char < _FIRST_PRINTABLE for char in name):
        raise Malformed("a key's name is not empty and holds neither spaces nor plus nor control characters")
    _encoded(name)
    return name


def _split_note(text: str) -> tuple[str, list[tuple[str, bytes]]]:
    """The signed text, its last newline included, and each signature's key name and bytes."""
    if len(text) > _MAX_NOTE or len(_encoded(text)) > _MAX_NOTE:
        raise Malformed("a note is at most 1 MiB")
    if any(char < _FIRST_PRINTABLE and char != "\n" for char in text):
        raise Malformed("a note holds no control characters")
    body, blank, rest = text.rpartition("\n\n")
    if not blank or not rest.endswith("\n"):
        raise Malformed("a note is text, an empty line, and signature lines")
    # Not splitlines(): that would also split at characters which are part of a line here.
    lines = rest[:-1].split("\n")
    if len(lines) > _MAX_SIGNATURES:
        raise Malformed(f"a note has at most {_MAX_SIGNATURES} signatures")
    return body + "\n", [_signature_line(line) for line in lines]


def _signature_line(line: str) -> tuple[str, bytes]:
    dash, _, rest = line.partition(" ")
    name, _, encoded = rest.partition(" ")
    blob = _unbase64(encoded)
    if dash != "\u2014" or len(blob) <= _KEY_ID_SIZE:
        raise Malformed("a signature line is a dash, a key name and base64")
    return _named(name), blob


def _read_body(body: str) -> Checkpoint:
    lines = body[:-1].split("\n")
    if len(lines) != _BODY_LINES or not lines[0]:
        raise Malformed("a checkpoint is three lines: origin, size, root")
    size, root = _count(lines[1]), _unbase64(lines[2])
    if len(root) != HASH_SIZE or (size == 0 and root != EMPTY_ROOT):
        raise Malformed("the checkpoint's root is not a root of its size")
    return Checkpoint(lines[0], size, root)


def _count(text: str) -> int:
    if _COUNT.fullmatch(text) is None or int(text) > _MAX_COUNT:
        raise Malformed("a size or index is a plain decimal within 63 bits")
    return int(text)


def _encoded(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise Malformed("the text holds a lone surrogate") from error


def _unbase64(text: str) -> bytes:
    """Standard base64 in its one spelling: the decoder alone would accept loose bits before the padding."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Malformed("this is not base64") from error
    if b64(data) != text:
        raise Malformed("this is not the one spelling of its base64")
    return data

"""Signed notes, checkpoints and proofs: the golden bytes that another implementation signed, and every way to cheat."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.audit.checkpoint import (
    Checkpoint,
    LogProof,
    Signer,
    open_checkpoint,
    open_proof,
    parse_verifier_key,
    read_proof,
    sign_checkpoint,
    signer_from_seed,
    write_proof,
)
from remit.audit.tree import EMPTY_ROOT, Frontier, Stored, inclusion_proof, leaf_hash
from remit.core.canonical import b64
from remit.core.errors import BadInput, InternalError, InvalidDocument, Malformed

GOLDEN: dict[str, Any] = json.loads((Path(__file__).parents[1] / "vectors" / "checkpoint.json").read_text("utf-8"))
ORIGIN = "localhost:8765/main"
SIGNER = signer_from_seed(ORIGIN, bytes(32))
ROOT = leaf_hash(b"a leaf")
NOTE = sign_checkpoint(ORIGIN, 1, ROOT, SIGNER)
KEYS = [SIGNER.verifier]
LEAVES = [bytes([number]) for number in range(7)]


def signed(body: str, signer: Signer = SIGNER) -> str:
    """A note of any text: what a log with our key could sign if it wanted to."""
    return f"{body}\n{signer.sign(body.encode())}"


def stored() -> dict[tuple[int, int], Stored]:
    """The hashes of a tree of seven leaves."""
    return {(one.level, one.index): one for one in Frontier().extend([leaf_hash(leaf) for leaf in LEAVES])[1]}


def proof_of(index: int, extra: bytes | None = None) -> str:
    """A proof of one of the seven leaves."""
    kept = stored()
    root = Frontier().extend([leaf_hash(leaf) for leaf in LEAVES])[0].root()
    path = inclusion_proof(index, 7, lambda level, at: kept[level, at].hash)
    return write_proof(index, path, sign_checkpoint(ORIGIN, 7, root, SIGNER), extra)


def test_what_another_implementation_signed_is_what_we_sign() -> None:
    signer = signer_from_seed(GOLDEN["name"], bytes.fromhex(GOLDEN["seed"]))
    root = bytes.fromhex(GOLDEN["root"])
    assert signer.verifier_key_text == GOLDEN["verifier_key"]
    assert sign_checkpoint(GOLDEN["name"], GOLDEN["size"], root, signer) == GOLDEN["checkpoint"]
    trusted = parse_verifier_key(GOLDEN["verifier_key"])
    assert open_checkpoint(GOLDEN["checkpoint"], [trusted]) == Checkpoint(GOLDEN["name"], GOLDEN["size"], root)


def test_a_checkpoint_reads_back_with_the_key_that_people_pin() -> None:
    assert open_checkpoint(NOTE, [parse_verifier_key(SIGNER.verifier_key_text)]) == Checkpoint(ORIGIN, 1, ROOT)
    empty = sign_checkpoint(ORIGIN, 0, EMPTY_ROOT, SIGNER)
    assert open_checkpoint(empty, KEYS) == Checkpoint(ORIGIN, 0, EMPTY_ROOT)


def test_a_signing_key_does_not_show_in_its_text_form() -> None:
    assert "private" not in repr(SIGNER).lower()
    assert bytes(32).hex() not in repr(SIGNER)


@pytest.mark.claim("log:tamper-evident")
def test_every_byte_of_a_checkpoint_is_protected() -> None:
    data = NOTE.encode()
    accepted = []
    for at in range(len(data)):
        for change in (0x01, 0x20, 0x80):
            broken = bytearray(data)
            broken[at] ^= change
            try:
                open_checkpoint(broken.decode(), KEYS)
                accepted.append((at, change))
            except (BadInput, UnicodeDecodeError):
                pass
    assert accepted == []
    # The control: unchanged, it opens.
    assert open_checkpoint(data.decode(), KEYS).size == 1


def test_a_checkpoint_under_no_key_or_an_unknown_key_is_refused() -> None:
    stranger = signer_from_seed(ORIGIN, bytes([1]) * 32)
    for keys in ([], [stranger.verifier]):
        with pytest.raises(InvalidDocument):
            open_checkpoint(NOTE, keys)


def test_a_checkpoint_of_another_log_is_refused_even_if_its_key_is_trusted_for_its_own() -> None:
    other = signer_from_seed("localhost:8765/other", bytes(32))
    body = f"{ORIGIN}\n1\n{b64(ROOT)}\n"
    with pytest.raises(InvalidDocument):
        open_checkpoint(signed(body, other), [*KEYS, other.verifier])
    # The control: beside the log's own signature, the other key's signature does no harm.
    both = signed(body) + other.sign(body.encode())
    assert open_checkpoint(both, [*KEYS, other.verifier]).origin == ORIGIN


def test_signatures_by_unknown_keys_are_ignored_as_witnesses_need() -> None:
    witness = f"\u2014 witness.example {b64(bytes(80))}\n"
    assert open_checkpoint(NOTE + witness, KEYS).size == 1
    head, _, own = NOTE.rpartition("\n\n")
    assert open_checkpoint(f"{head}\n\n{witness}{own}", KEYS).size == 1


def test_signatures_are_ignored_only_up_to_a_bound() -> None:
    witness = f"\u2014 witness.example {b64(bytes(68))}\n"
    assert open_checkpoint(NOTE + witness * 63, KEYS).size == 1
    with pytest.raises(Malformed):
        open_checkpoint(NOTE + witness * 64, KEYS)
    long = f"\u2014 witness.example {b64(bytes(1 << 20))}\n"
    with pytest.raises(Malformed):
        open_checkpoint(NOTE + long, KEYS)


def test_a_bad_signature_that_claims_a_known_key_refuses_the_whole_note() -> None:
    second = signer_from_seed(ORIGIN, bytes([2]) * 32)
    forged = f"\u2014 {ORIGIN} {b64(second.verifier.id + bytes(64))}\n"
    with pytest.raises(InvalidDocument):
        open_checkpoint(NOTE + forged, [*KEYS, second.verifier])
    # The control: while the second key is unknown, its line means nothing.
    assert open_checkpoint(NOTE + forged, KEYS).size == 1


BODY = f"{ORIGIN}\n1\n{b64(ROOT)}\n"
LINE = SIGNER.sign(BODY.encode())


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        BODY,
        BODY + "\n",
        LINE,
        f"{BODY}{LINE}",
        f"{BODY}\n{LINE}"[:-1],
        f"{BODY}\n{LINE}\n",
        f"{BODY}\n{LINE}trailing\n",
        f"{BODY}\n{LINE}{LINE}",
        f"{BODY}\r\n{LINE}",
        f"{BODY}\n{LINE.replace(chr(0x2014), '-')}",
        f"{BODY}\n{LINE.replace(ORIGIN, '')}",
        f"{BODY}\n{LINE.replace(' ', '  ')}",
        f"{BODY}\n{LINE.replace('=', '')}",
        f"{BODY}\n" + LINE * 65,
        f"{BODY}\n\u2014 {ORIGIN} AAAA\n",
        f"{BODY}\n{LINE}\ud800\n",
        "x" * ((1 << 20) + 1),
        signed(f"{ORIGIN}\n1\n{b64(ROOT)}\nextension\n"),
        signed(f"{ORIGIN}\n1\n{b64(ROOT)}\n\n"),
        signed(f"{ORIGIN}\n01\n{b64(ROOT)}\n"),
        signed(f"{ORIGIN}\n+1\n{b64(ROOT)}\n"),
        signed(f"{ORIGIN}\n-1\n{b64(ROOT)}\n"),
        signed(f"{ORIGIN}\n\u0661\n{b64(ROOT)}\n"),
        signed(f"{ORIGIN}\n1 \n{b64(ROOT)}\n"),
        signed(f"{ORIGIN}\n{2**63}\n{b64(ROOT)}\n"),
        signed(f"{ORIGIN}\n0\n{b64(ROOT)}\n"),
        signed(f"{ORIGIN}\n1\n{b64(ROOT[:31])}\n"),
        signed(f"{ORIGIN}\n1\n{b64(ROOT)[:-2]}B=\n"),
        signed(f"{ORIGIN}\n1\n"),
        signed(f"\n1\n{b64(ROOT)}\n"),
        signed(f"{ORIGIN}\t\n1\n{b64(ROOT)}\n"),
    ],
)
def test_text_that_is_not_one_exact_checkpoint_is_refused_even_if_signed(text: str) -> None:
    with pytest.raises(Malformed):
        open_checkpoint(text, KEYS)


@given(st.text() | st.text(alphabet="\n \u2014+=A1"))
def test_no_text_makes_the_reader_stumble(text: str) -> None:
    with pytest.raises(BadInput):
        open_checkpoint(text, KEYS)
    with pytest.raises(BadInput):
        read_proof(text)


KEY = SIGNER.verifier_key_text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "+",
        KEY[:-1],
        KEY + "A",
        KEY.replace("/main", "/wain"),
        KEY.replace("+A", "+B"),
        KEY.replace("+", "-"),
        KEY.upper(),
        " " + KEY,
        KEY + "\n",
        "a+b+" + KEY,
        KEY.split("+", 1)[1],
    ],
)
def test_a_damaged_verifier_key_is_refused(text: str) -> None:
    with pytest.raises(Malformed):
        parse_verifier_key(text)


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\nb", "a\u2028b", "a\x00", "\ud800"])
def test_a_name_that_a_note_can_not_hold_is_refused(name: str) -> None:
    with pytest.raises(Malformed):
        signer_from_seed(name, bytes(32))


def test_a_signer_signs_for_its_own_log_and_only_tree_heads() -> None:
    with pytest.raises(InternalError):
        sign_checkpoint("localhost:8765/other", 1, ROOT, SIGNER)
    for size, root in ((-1, ROOT), (2**63, ROOT), (1, ROOT[:31]), (0, ROOT)):
        with pytest.raises(InternalError):
            sign_checkpoint(ORIGIN, size, root, SIGNER)
    with pytest.raises(InternalError):
        signer_from_seed(ORIGIN, bytes(31))


def test_a_proof_file_proves_its_leaf_and_no_other() -> None:
    for index in range(7):
        for other in range(7):
            if other == index:
                assert open_proof(proof_of(index), LEAVES[other], KEYS).size == 7
            else:
                with pytest.raises(InvalidDocument):
                    open_proof(proof_of(index), LEAVES[other], KEYS)


def test_a_proof_of_the_only_leaf_has_no_path() -> None:
    text = write_proof(0, [], sign_checkpoint(ORIGIN, 1, ROOT, SIGNER))
    assert text.startswith(f"c2sp.org/tlog-proof@v1\nindex 0\n\n{ORIGIN}\n1\n")
    assert open_proof(text, b"a leaf", KEYS) == Checkpoint(ORIGIN, 1, ROOT)


@pytest.mark.claim("log:tamper-evident")
def test_every_byte_of_a_proof_file_is_protected() -> None:
    data = proof_of(3).encode()
    accepted = []
    for at in range(len(data)):
        broken = bytearray(data)
        broken[at] ^= 0x01
        try:
            open_proof(broken.decode(), LEAVES[3], KEYS)
            accepted.append(at)
        except (BadInput, UnicodeDecodeError):
            pass
    assert accepted == []


def test_extra_data_is_carried_and_proves_nothing() -> None:
    proof = read_proof(proof_of(2, b"context"))
    assert proof.extra == b"context"
    assert proof.index == 2
    assert open_proof(proof_of(2, b"anything else"), LEAVES[2], KEYS).size == 7


GOOD = proof_of(2, b"x")


@pytest.mark.parametrize(
    "text",
    [
        "",
        GOOD.replace("@v1", "@v2"),
        GOOD.replace("extra ", "Extra "),
        GOOD.replace("extra eA==\n", "extra eA==\nextra eA==\n"),
        GOOD.replace("extra eA==", "extra eB=="),
        GOOD.replace("index 2", "index 02"),
        GOOD.replace("index 2\n", ""),
        GOOD.replace("index 2", f"index {2**63}"),
        GOOD.replace("index 2\n", "index 2\nAAAA\n"),
        GOOD.replace("index 2\n", "index 2\n" + f"{b64(ROOT)}\n" * 65),
        GOOD.replace("\n", "\r\n"),
        GOOD.split("\n\n", maxsplit=1)[0],
    ],
)
def test_a_proof_file_in_another_spelling_is_refused(text: str) -> None:
    with pytest.raises(Malformed):
        read_proof(text)


def test_a_proof_of_another_log_is_refused() -> None:
    other = signer_from_seed("localhost:8765/other", bytes(32))
    with pytest.raises(InvalidDocument):
        open_proof(GOOD, LEAVES[2], [other.verifier])
    assert isinstance(read_proof(GOOD), LogProof)

"""What Remit writes, checked by Go's own sumdb packages: a second opinion that shares no line with ours.

It runs where Debian's ``golang-go`` and ``golang-golang-x-mod-dev`` are installed and is skipped elsewhere.
"""

import base64
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from remit.audit.checkpoint import sign_checkpoint, signer_from_seed
from remit.audit.tree import Frontier, consistency_proof, inclusion_proof, leaf_hash, tile_bytes, tile_path, tile_width
from remit.core.canonical import b64

HERE = Path(__file__).parent
VECTORS = HERE.parents[1] / "vectors"
GOPATH = Path("/usr/share/gocode")
MODULE = GOPATH / "src/golang.org/x/mod/sumdb/tlog"
GO = shutil.which("go")
ORIGIN = "localhost:8765/main"
SIGNER = signer_from_seed(ORIGIN, bytes(range(32)))
LEAVES = [f"entry {number}".encode() for number in range(600)]
SIZE = len(LEAVES)

pytestmark = pytest.mark.skipif(
    GO is None or not MODULE.is_dir(),
    reason="needs Debian's golang-go and golang-golang-x-mod-dev (apt-get install golang-go golang-golang-x-mod-dev)",
)

FRONTIER, _STORED = Frontier().extend([leaf_hash(leaf) for leaf in LEAVES])
HASHES = {(one.level, one.index): one.hash for one in _STORED}


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Go program, built once."""
    folder = tmp_path_factory.mktemp("go")
    binary = folder / "check"
    environment = os.environ | {"GO111MODULE": "off", "GOPATH": str(GOPATH), "GOCACHE": str(folder / "cache")}
    command = [str(GO), "build", "-o", str(binary), str(HERE / "main.go")]
    subprocess.run(command, env=environment, check=True, capture_output=True, timeout=300)
    return binary


def ask(program: Path, question: dict[str, Any]) -> dict[str, Any]:
    """The program's answer."""
    done = subprocess.run(
        [str(program)], input=json.dumps(question), capture_output=True, text=True, timeout=60, check=True
    )
    answer = json.loads(done.stdout)
    assert isinstance(answer, dict)
    return answer


def read(level: int, index: int) -> bytes:
    """A stored hash."""
    return HASHES[level, index]


def encoded(values: list[bytes]) -> list[str]:
    """Bytes as Go's JSON reads them."""
    return [b64(value) for value in values]


def log(leaves: list[bytes] | None = None) -> dict[str, Any]:
    """The log and its checkpoint, as a question."""
    note = sign_checkpoint(ORIGIN, SIZE, FRONTIER.root(), SIGNER)
    return {"key": SIGNER.verifier_key_text, "checkpoint": note, "leaves": encoded(leaves or LEAVES)}


def test_go_opens_our_checkpoint_and_finds_our_root(program: Path) -> None:
    assert ask(program, log())["checkpoint"] == "ok"


@pytest.mark.claim("log:tamper-evident")
def test_go_refuses_a_changed_leaf_and_a_changed_checkpoint(program: Path) -> None:
    changed = [*LEAVES[:300], b"entry 3OO", *LEAVES[301:]]
    assert ask(program, log(changed))["checkpoint"] == "root differs"
    question = log()
    question["checkpoint"] = question["checkpoint"].replace("\n600\n", "\n599\n")
    assert "invalid signature" in ask(program, question)["checkpoint"]


def test_go_accepts_our_inclusion_proofs_and_refuses_broken_ones(program: Path) -> None:
    proofs: list[dict[str, Any]] = [
        {"index": index, "size": size, "path": encoded(inclusion_proof(index, size, read))}
        for size in (1, 2, 3, 255, 256, 257, 511, 512, 600)
        for index in {0, size // 3, size // 2, size - 1}
    ]
    broken = [proof | {"path": [*proof["path"][:-1], b64(bytes(32))]} for proof in proofs if proof["path"]]
    answer = ask(program, log() | {"inclusion": proofs + broken})["inclusion"]
    assert answer[: len(proofs)] == ["ok"] * len(proofs)
    assert "ok" not in answer[len(proofs) :]


def test_go_accepts_our_consistency_proofs_and_refuses_broken_ones(program: Path) -> None:
    sizes = (1, 2, 3, 64, 255, 256, 257, 511, 512, 600)
    proofs: list[dict[str, Any]] = [
        {"old": old, "size": new, "path": encoded(consistency_proof(old, new, read))}
        for new in sizes
        for old in sizes
        if old <= new
    ]
    broken = [proof | {"path": [*proof["path"][:-1], b64(bytes(32))]} for proof in proofs if proof["path"]]
    answer = ask(program, log() | {"consistency": proofs + broken})["consistency"]
    assert answer[: len(proofs)] == ["ok"] * len(proofs)
    assert "ok" not in answer[len(proofs) :]


def test_go_reads_our_tiles_under_our_paths(program: Path) -> None:
    tiles = []
    for level, index in ((0, 0), (0, 1), (0, 2), (1, 0)):
        width = tile_width(level, index, SIZE)
        hashes = [read(8 * level, index * 256 + at) for at in range(width)]
        tiles.append({"path": tile_path(level, index, width), "data": b64(tile_bytes(hashes))})
    assert [tile["path"] for tile in tiles] == ["tile/0/000", "tile/0/001", "tile/0/002.p/88", "tile/1/000.p/2"]
    wrong = tiles[0] | {"data": b64(bytes(8192))}
    assert ask(program, log() | {"tiles": [*tiles, wrong]})["tiles"] == ["ok"] * 4 + ["tile bytes differ"]


def test_go_finds_the_pinned_roots_of_counted_trees_and_signs_the_golden_note(program: Path) -> None:
    pinned = {one["size"]: one["root"] for one in json.loads((VECTORS / "merkle.json").read_text("utf-8"))["counted"]}
    golden = json.loads((VECTORS / "checkpoint.json").read_text("utf-8"))
    secret = b64(b"\x01" + bytes.fromhex(golden["seed"]))
    name, key_id, _ = golden["verifier_key"].split("+", 2)
    body = golden["checkpoint"].split("\n\n")[0] + "\n"
    sign = {"secret": f"PRIVATE+KEY+{name}+{key_id}+{secret}", "text": body}
    answer = ask(program, {"roots": list(pinned), "sign": sign})
    assert {int(size): base64.b64decode(root).hex() for size, root in answer["roots"].items()} == pinned
    assert answer["signed"] == golden["checkpoint"]

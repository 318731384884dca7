"""Fixtures of the tests of checking and editing LMDBs."""

import json
from collections.abc import Callable
from pathlib import Path

import lmdb
import pytest

from console.progress import RunLog
from lmdb_tools.purpose import find_purposes
from lmdb_tools.record_check import Rules
from lmdb_tools.tree_check import CheckedTree, check_tree
from records.lmdb_set import find_lmdbs
from text import Charset


@pytest.fixture(scope="session")
def log() -> RunLog:
    return RunLog(enabled=False)


@pytest.fixture(scope="session")
def check(log) -> Callable[..., CheckedTree]:
    """Checks all LMDBs below a folder."""

    def run(
        root: Path, character: str = "36", decode: bool = True, jobs: int = 1, **named: list[str]
    ) -> CheckedTree:
        purposes = find_purposes(find_lmdbs(root), named)
        return check_tree(purposes, Rules(Charset.load(character), 25, decode), jobs, log)

    return run


@pytest.fixture(scope="session")
def found(check) -> Callable[..., dict[str, int]]:
    """Counts what a check finds below a folder, by the reasons' texts."""

    def count(root: Path, **options) -> dict[str, int]:
        counts = check(root, **options).findings.counts
        return {reason.text: n for reason, n in counts.items() if n}

    return count


@pytest.fixture(scope="session")
def entries() -> Callable[[Path], dict[bytes, bytes]]:
    """All keys and values of an LMDB."""

    def read(path: Path) -> dict[bytes, bytes]:
        with (
            lmdb.open(str(path), readonly=True, lock=False) as environment,
            environment.begin() as transaction,
        ):
            return dict(transaction.cursor())

    return read


@pytest.fixture(scope="session")
def words(encode_image) -> Callable[..., list[tuple[bytes, str]]]:
    """Records of words, each with an image of its own."""

    def make(*texts: str) -> list[tuple[bytes, str]]:
        return [(encode_image(text, size=(60 + k, 20)), text) for k, text in enumerate(texts)]

    return make


@pytest.fixture(scope="session")
def boxes() -> Callable[..., bytes]:
    """Stored boxes of a word: 10 pixels wide, from a place on."""

    def make(word: str, x: float = 0) -> bytes:
        placed = [[c, x + 10 * k, 2, x + 10 * k + 9, 18] for k, c in enumerate(word)]
        return json.dumps(placed).encode()

    return make

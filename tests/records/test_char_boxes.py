"""Boxes of characters: a strict form in the LMDB, and the boxes of exactly the label's text."""

import copy
import json

import lmdb
import pytest

from records.char_boxes import MAX_BOXES, MAX_BYTES, BoxesError, CharBox, match_boxes, parse_boxes
from records.lmdb_writer import LmdbWriter
from text import Charset

SMALL = Charset.load("36")
LARGE = Charset.load("94")
UPRIGHT = ["a", 1, 2.5, 10, 20]
QUAD = ["b", 0, 0, 9, 1, 9, 20, 0, 19.5]


def boxes_of(*characters: str) -> tuple[CharBox, ...]:
    """A box for each character, told apart by its place."""
    return tuple(CharBox(c, ((k, 0), (k + 1, 9))) for k, c in enumerate(characters))


def places(boxes) -> list[tuple[str, float]]:
    return [(box.character, box.corners[0][0]) for box in boxes]


def test_upright_boxes_and_quads_are_read():
    assert parse_boxes(json.dumps([UPRIGHT, QUAD]).encode()) == (
        CharBox("a", ((1, 2.5), (10, 20))),
        CharBox("b", ((0, 0), (9, 1), (9, 20), (0, 19.5))),
    )
    assert parse_boxes(b"[]") == ()


def test_what_the_writer_writes_is_read(tmp_path):
    with LmdbWriter(tmp_path / "lmdb") as writer:
        writer.write(b"image", "é", [("é", 0.25, 1, 2, -3)])
    with (
        lmdb.open(str(tmp_path / "lmdb"), readonly=True, lock=False) as environment,
        environment.begin() as transaction,
    ):
        stored = transaction.get(b"boxes-000000001")
    assert parse_boxes(stored) == (CharBox("é", ((0.25, 1), (2, -3))),)


NO_BOX = "box is not a character and two or four corners"
NO_LIST = "boxes are not a list of boxes"
NO_JSON = "boxes are not valid JSON"
NO_CORNER = "corner is not a pair of numbers within reach"


@pytest.mark.parametrize(
    ("stored", "reason"),
    [
        (b"", NO_JSON),
        (b"[", NO_JSON),
        (b"\xef\xbb\xbf[]", NO_JSON),
        (b"[] []", NO_JSON),
        (b"[['a', 1, 2, 3, 4]]", NO_JSON),
        (b'[["a", 1, 2, 3, ' + b"1" * 10_000 + b"]]", NO_JSON),
        (b"\xff", "boxes are not UTF-8"),
        ('[["a", 1, 2, 3, 4]]'.encode("utf-16"), "boxes are not UTF-8"),
        (b"{}", NO_LIST),
        (b"null", NO_LIST),
        (b'"abcde"', NO_LIST),
        (b"[" * 100_000, NO_LIST),
        (b"[" * 900 + b"]" * 900, NO_BOX),
        (b'["abcde"]', NO_BOX),
        (b"[[]]", NO_BOX),
        (b'[["a", 1, 2, 3]]', NO_BOX),
        (b'[["a", 1, 2, 3, 4, 5, 6]]', NO_BOX),
        (b'[{"a": 1}]', NO_BOX),
        (b"[[1, 1, 2, 3, 4]]", "box has no character"),
        (b'[["", 1, 2, 3, 4]]', "box has no character"),
        (b'[["\\ud800", 1, 2, 3, 4]]', "box has no character"),
        (b'[[["a"], 1, 2, 3, 4]]', "box has no character"),
        (b'[["a", 1, 2, 3, NaN]]', NO_CORNER),
        (b'[["a", 1, 2, 3, -Infinity]]', NO_CORNER),
        (b'[["a", 1, 2, 3, 1e999]]', NO_CORNER),
        (b'[["a", 1, 2, 3, 1000001]]', NO_CORNER),
        (b'[["a", 1, 2, -1e7, 4]]', NO_CORNER),
        (b'[["a", 1, 2, 3, true]]', NO_CORNER),
        (b'[["a", 1, 2, 3, "4"]]', NO_CORNER),
        (b'[["a", 1, 2, 3, null]]', NO_CORNER),
        (b'[["a", 1, 2, 3, [4]]]', NO_CORNER),
        (json.dumps([UPRIGHT] * (MAX_BOXES + 1)).encode(), "too many boxes"),
        (b" " * MAX_BYTES + b"[]", "boxes are too large"),
    ],
)
def test_anything_else_is_refused(stored, reason):
    with pytest.raises(BoxesError) as caught:
        parse_boxes(stored)
    assert caught.value.reason == reason
    assert str(caught.value).startswith(reason + ": ")
    assert len(str(caught.value)) < 200


def test_the_limits_themselves_are_allowed():
    assert len(parse_boxes(json.dumps([UPRIGHT] * MAX_BOXES).encode())) == MAX_BOXES
    assert parse_boxes(b'[["a", 1e6, -1e6, 1000000, 0]]')[0].corners == ((1e6, -1e6), (1e6, 0))


def test_an_error_comes_through_from_a_worker_process():
    error = copy.copy(BoxesError("reason", "details"))  # goes the way that pickle goes
    assert (error.reason, str(error)) == ("reason", "reason: details")


@pytest.mark.parametrize(
    ("boxed", "label", "charset", "expected"),
    [
        ("cat", "cat", SMALL, [("c", 0), ("a", 1), ("t", 2)]),
        ("CaT", "cAt", SMALL, [("c", 0), ("a", 1), ("t", 2)]),
        ("CaT", "CaT", LARGE, [("C", 0), ("a", 1), ("T", 2)]),
        ("it's", "it's", SMALL, [("i", 0), ("t", 1), ("s", 3)]),
        ("its", "it's", SMALL, [("i", 0), ("t", 1), ("s", 2)]),
        ("a b", "a b", LARGE, [("a", 0), ("b", 2)]),
        ("é1", "é1", SMALL, [("1", 1)]),
        (["e\u0301", "1"], "\u00e91", Charset("é1"), [("é", 0), ("1", 1)]),
        # In lower case, a sigma at the end of a word is another one than alone.
        ("\u03a3.\u03a3", "\u03a3.\u03a3", Charset("\u03c3\u03c2"), [("\u03c3", 0), ("\u03c2", 2)]),
        # In lower case this is an i and a dot above, which the charset lacks.
        ("\u0130s", "\u0130s", SMALL, [("i", 0), ("s", 1)]),
        ("", "", SMALL, []),
        ("!", "!", SMALL, []),
    ],
)
def test_each_character_that_is_kept_has_its_box(boxed, label, charset, expected):
    matched = match_boxes(boxes_of(*boxed), label, charset)
    assert places(matched) == expected
    assert "".join(box.character for box in matched) == charset.normalize(label).text


@pytest.mark.parametrize(
    ("boxed", "label", "charset"),
    [
        ("ca", "cat", SMALL),
        ("cats", "cat", SMALL),
        ("act", "cat", SMALL),
        ("CAT", "cat", LARGE),
        ("", "cat", SMALL),
        ("cat", "", SMALL),
        (["c", "at"], "cat", SMALL),
        (["cat"], "cat", SMALL),
        (["ab", ""], "ab", SMALL),
        # The label composes them, and then there is one character for two boxes.
        (["e", "\u0301"], "e\u0301", Charset("é\u0301e")),
        # One box for what are two characters in lower case.
        (["\u0130"], "\u0130", Charset("i\u0307")),
    ],
)
def test_other_boxes_disagree(boxed, label, charset):
    with pytest.raises(BoxesError, match=r"the label reads .* and the boxes read") as caught:
        match_boxes(boxes_of(*boxed), label, charset)
    assert caught.value.reason == "boxes and label disagree"

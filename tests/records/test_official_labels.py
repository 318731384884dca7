"""Official labels are read to the letter, and nothing that a pickle or a box says is ever run."""

import builtins
import codecs
import os
import pickle
import random
import struct
import time
import tracemalloc

import pytest

from records.char_boxes import BoxesError, CharBox
from records.official_labels import MAX_BYTES, is_official_label, read_official_label

PROTOCOLS = (2, 3, 4, 5)
BOX = "[[6, 3], [28, 28]]"
GOOD = {BOX: "h", "[[29, 3], [51, 27]]": "i", "word": "hi"}
HI = ("hi", (CharBox("h", ((6, 3), (28, 28))), CharBox("i", ((29, 3), (51, 27)))))


def text(value: str) -> bytes:
    """Instruction that pushes a text."""
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def program(body: bytes, protocol: int = 4) -> bytes:
    """A pickle of these instructions."""
    return b"\x80" + bytes([protocol]) + body + b"."


def refused(stored: bytes) -> str:
    """The reason why a label is refused, which must take little time and memory."""
    tracemalloc.start()
    started = time.process_time()
    try:
        with pytest.raises(BoxesError) as caught:
            read_official_label(stored)
        # Tracing makes it some ten times slower.
        assert time.process_time() - started < 10
        assert tracemalloc.get_traced_memory()[1] < 32 * 2**20
    finally:
        tracemalloc.stop()
    assert len(str(caught.value)) < 300
    return caught.value.reason


@pytest.fixture
def canary(tmp_path):
    """A command that creates a file, which must not be there afterwards."""
    file = tmp_path / "ran"
    yield f"touch {file}"
    assert not file.exists()


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_labels_of_the_official_form_are_read(fixtures, protocol):
    cases = fixtures("masks.json")["cases"]
    assert len(cases) == 23
    for case in cases:
        stored = pickle.dumps(case["label"], protocol=protocol)
        assert is_official_label(stored)
        word, boxes = read_official_label(stored)
        listed = {box: character for box, character in case["label"].items() if box != "word"}
        assert word == case["word"]
        assert [box.character for box in boxes] == list(listed.values())
        assert [str([list(corner) for corner in box.corners]) for box in boxes] == list(listed)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_random_labels_come_back(protocol):
    draw = random.Random(protocol)
    numbers = (
        lambda: draw.randint(-500, 500),
        lambda: draw.uniform(-1e6, 1e6),
        lambda: draw.choice([1e-05, -2.5e-17, 1e-300, 0.1 + 0.2, 1e6, -0.0, 999999.9999999999]),
    )
    for _ in range(100):
        boxes = tuple(
            CharBox(
                draw.choice("aZ5 '\"\\_]é中😀"),
                tuple((draw.choice(numbers)(), draw.choice(numbers)()) for _ in range(corners)),
            )
            for corners in draw.choices([2, 4], k=draw.randint(0, 40))
        )
        word = "".join(box.character for box in boxes) * draw.randint(0, 20)
        label = {str([list(corner) for corner in box.corners]): box.character for box in boxes}
        assert len(label) == len(boxes)
        label["word"] = word
        assert read_official_label(pickle.dumps(label, protocol=protocol)) == (word, boxes)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_word_may_stand_anywhere(protocol):
    label = {"word": "hi", **GOOD}
    assert next(iter(label)) == "word"
    assert read_official_label(pickle.dumps(label, protocol=protocol)) == HI


def test_boxes_and_characters_that_are_shared_are_read():
    """Pickles write a text a second time as a reference to the first."""
    letter = "".join(["l"])
    label = {f"[[{k}, 0], [{k + 1}, 9]]": letter for k in range(300)} | {"word": letter * 300}
    for protocol in PROTOCOLS:
        word, boxes = read_official_label(pickle.dumps(label, protocol=protocol))
        assert word == "".join(box.character for box in boxes) == "l" * 300


@pytest.mark.parametrize(
    ("box", "corners"),
    [
        ("[[6,3],[28,28]]", ((6, 3), (28, 28))),
        ("[ [ 6 , 3 ] , [ 28 , 28 ] ]", ((6, 3), (28, 28))),
        ("[[-6.5, 3.], [1e-05, 2.5E+2]]", ((-6.5, 3.0), (1e-05, 250.0))),
        ("[[0, 0], [9, 0], [9, 9], [0, 9]]", ((0, 0), (9, 0), (9, 9), (0, 9))),
        ("[[1000000, -1000000], [1e6, -1e6]]", ((1e6, -1e6), (1e6, -1e6))),
    ],
)
def test_forms_of_boxes(box, corners):
    read = read_official_label(pickle.dumps({box: "a", "word": "a"}))
    assert read == ("a", (CharBox("a", corners),))


def test_characters_are_composed():
    _, (box,) = read_official_label(pickle.dumps({BOX: "e\u0301", "word": "e\u0301"}))
    assert box.character == "\u00e9"


@pytest.mark.parametrize(
    "box",
    [
        "__import__('os').system('CANARY')",
        "[[__import__('os').system('CANARY'), 3], [28, 28]]",
        "[[6, 3], [28, 28]] or __import__('os').system('CANARY')",
        "[[6, 3], [28, 28]]\n__import__('os').system('CANARY')",
        "[" * 10_000 + "]" * 10_000,
        "[" * 200,
        "[[1, 1], " + "[" * 50,
        f"[[{'1' * 10**4}, 3], [28, 28]]",
        f"[[0.{'1' * 60}, 3], [28, 28]]",
        f"[[6,{' ' * 300}3], [28, 28]]",
        "[[ " * 100,
        "[[1, 1], " * 40,
        "[[6, 3], [28, 28]]\n",
        " [[6, 3], [28, 28]]",
        "[[6, 3], [28, 28]],",
        "[[6,\t3], [28, 28]]",
        "[[\u0666, 3], [28, 28]]",
        "[[\uff16, 3], [28, 28]]",
        "[[6, 3]]",
        "[[6, 3], [28, 28], [3, 3]]",
        "[[6, 3], [28, 28], [3, 3], [4, 4], [5, 5]]",
        "[[6, 3, 4], [28, 28]]",
        "[6, 3, 28, 28]",
        "[[0x6, 3], [28, 28]]",
        "[[6_0, 3], [28, 28]]",
        "[[--6, 3], [28, 28]]",
        "[[6j, 3], [28, 28]]",
        "[[6e, 3], [28, 28]]",
        "[[nan, 3], [28, 28]]",
        "[[inf, 3], [28, 28]]",
        "[[1e9999, 3], [28, 28]]",
        "",
        "Word",
        "word ",
    ],
)
def test_boxes_of_another_form_are_refused(box, canary):
    label = {box.replace("CANARY", canary): "h", "word": "h"}
    assert refused(pickle.dumps(label)) == "box is not two or four points"


def test_a_box_of_a_million_digits_is_refused():
    label = {f"[[{'1' * 10**6}, 3], [28, 28]]": "h", "word": "h"}
    assert refused(pickle.dumps(label)) == "label is too large"


@pytest.mark.parametrize("number", ["1e999", "-1e999", "1e7", "1000000.5", "-1000001", "9" * 12])
def test_boxes_far_away_are_refused(number):
    label = {f"[[{number}, 1], [2, 2]]": "h", "word": "h"}
    assert refused(pickle.dumps(label)) == "box is too far from the image"


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    ("label", "reason"),
    [
        ({BOX: "h"}, "label has no word"),
        ({}, "label has no word"),
        ({BOX: "", "word": "h"}, "box has other than one character"),
        ({BOX: "hi", "word": "hi"}, "box has other than one character"),
        ({BOX: "\ud800", "word": "h"}, "box has other than one character"),
        ({BOX: "h", "word": "\udfff"}, "word is not Unicode"),
        ({BOX: 5, "word": "5"}, "label is no dict of texts"),
        ({BOX: -(10**12), "word": "5"}, "label is no dict of texts"),
        ({BOX: 5.5, "word": "5"}, "label is no dict of texts"),
        ({BOX: ["h"], "word": "h"}, "label is no dict of texts"),
        ({BOX: ("h", 1, 2, 3), "word": "h"}, "label is no dict of texts"),
        ({BOX: {"h": ()}, "word": "h"}, "label is no dict of texts"),
        ({BOX: "h", "word": ["h"]}, "label is no dict of texts"),
        ({5: "h", "word": "h"}, "label is no dict of texts"),
        ({(6, 3, 28, 28): "h", "word": "h"}, "label is no dict of texts"),
        ([BOX, "word"], "label is no dict of texts"),
        ((BOX, "word"), "label is no dict of texts"),
        ("word", "label is no dict of texts"),
        (5, "label is no dict of texts"),
    ],
)
def test_other_plain_data_is_refused(label, reason, protocol):
    assert refused(pickle.dumps(label, protocol=protocol)) == reason


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    "value", [None, True, b"h", {"h"}, frozenset("h"), bytearray(b"h"), 1j, 2**4000, os.system]
)
def test_other_types_are_refused(value, protocol):
    stored = pickle.dumps({BOX: value, "word": "h"}, protocol=protocol)
    assert refused(stored) == "label is a pickle of more than text"


def test_too_many_boxes_are_refused():
    label = {f"[[{k},0],[9,9]]": "a" for k in range(1001)} | {"word": "a" * 1001}
    assert refused(pickle.dumps(label)) == "too many boxes"


class Calls:
    """Pickled, it calls a function when it is loaded."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("place", ["alone", "character", "word", "box"])
def test_objects_that_call_a_function_are_refused(canary, place, protocol):
    for call in (
        Calls(os.system, canary),
        Calls(builtins.eval, f"__import__('os').system({canary!r})"),
        Calls(builtins.exec, f"__import__('os').system({canary!r})"),
        Calls(codecs.decode, "uv", "rot13"),
    ):
        label = {
            "alone": call,
            "character": {**GOOD, BOX: call},
            "word": {**GOOD, "word": call},
            "box": {call: "h", "word": "h"},
        }[place]
        stored = pickle.dumps(label, protocol=protocol)
        assert refused(stored) == "label is a pickle of more than text"


def hostile_instructions(command: str) -> dict[str, bytes]:
    """Programs with each instruction that imports, calls, or asks the loader."""
    system = text("os") + text("system") + b"\x93"
    argument = text(command)
    return {
        "GLOBAL": b"cos\nsystem\n",
        "GLOBAL and REDUCE": b"cos\nsystem\n" + argument + b"\x85R",
        "eval by REDUCE": b"cbuiltins\neval\n"
        + text(f"__import__('os').system({command!r})")
        + b"\x85R",
        "STACK_GLOBAL": system,
        "STACK_GLOBAL and REDUCE": system + argument + b"\x85R",
        "INST": b"(" + argument + b"ios\nsystem\n",
        "OBJ": b"(" + system + argument + b"o",
        "NEWOBJ": system + argument + b"\x85\x81",
        "NEWOBJ_EX": system + argument + b"\x85}\x92",
        "REDUCE of text": argument + b")R",
        "BUILD": b"}" + argument + b"b",
        "EXT1": b"\x82\x01",
        "EXT2": b"\x83\x01\x00",
        "EXT4": b"\x84\x01\x00\x00\x00",
        "PERSID": b"Pid\n",
        "BINPERSID": argument + b"Q",
        "NEXT_BUFFER": b"\x97",
        "DUP": argument + b"2",
        "POP": argument + argument + b"0",
        "GET": argument + b"p0\ng0\n",
    }


@pytest.mark.parametrize("name", hostile_instructions(""))
def test_instructions_of_other_kinds_are_refused(canary, name):
    instructions = hostile_instructions(canary)[name]
    for stored in (
        program(instructions),
        program(b"}" + text(BOX) + instructions + b"s" + text("word") + text("h") + b"s"),
        # In vain, after a good label.
        pickle.dumps(GOOD)[:-1] + instructions + b".",
    ):
        assert refused(stored) == "label is a pickle of more than text"


@pytest.mark.parametrize("protocol", [0, 1, 6, 255])
def test_other_protocols_are_refused(protocol):
    assert refused(program(pickle.dumps(GOOD)[2:-1], protocol))


@pytest.mark.parametrize(
    "body",
    {
        "empty": b"",
        "no dict below SETITEM": text("a") + text("b") + text("c") + b"s",
        "SETITEM on nothing": b"s",
        "SETITEMS without mark": b"}u",
        "odd SETITEMS": b"}(" + text("a") + b"u",
        "unhashable key": b"}]" + text("a") + b"s",
        "key of tuples in tuples": b"})" + b"\x85" * 60_000 + text("a") + b"s",
        # Its hash would take 2 ** 1000 steps.
        "key of doubled tuples": b"})" + b"q\x00h\x00\x86" * 1000 + text("a") + b"s",
        "mark left over": b"(" + pickle.dumps(GOOD, protocol=2)[2:-1],
        "value left over": text("a") + pickle.dumps(GOOD, protocol=2)[2:-1],
        "two values": text("a") + text("b"),
        "APPEND on text": text("a") + text("b") + b"a",
        "APPENDS without list": b"(" + text("b") + b"e",
        "TUPLE3 of one": text("a") + b"\x87",
        "memo of nothing": b"\x94",
        "memo across a mark": text("a") + b"(\x94",
        "memo that is not there": b"h\x07",
        "huge memo number that is not there": b"j\xff\xff\xff\xff",
        "lying length": b"X\xff\xff\xff\xff" + b"abc",
        "lying 8-byte length": b"\x8d" + struct.pack("<Q", 2**62) + b"abc",
        "length beyond all": b"\x8d" + b"\xff" * 8 + b"abc",
        "huge bytearray": b"\x96" + struct.pack("<Q", 2**62) + b"abc",
        "huge bytes": b"\x8e" + struct.pack("<Q", 2**40),
        "huge frame": b"\x95" + struct.pack("<Q", 2**64 - 1),
        "negative LONG4": b"\x8b" + struct.pack("<i", -1),
        "long INT": b"I" + b"9" * 50_000 + b"\n",
        "not UTF-8": b"X\x01\x00\x00\x00\xff",
        "no such instruction": b"\xff",
        "dict in itself": b"}q\x00" + text("word") + b"h\x00s",
        "dict in itself, as key": b"}q\x00h\x00h\x00s",
        "list in itself": b"]q\x00h\x00a",
        "lists in lists": b"]" * 30_000 + b"a" * 29_999,
        "tuples in tuples": b")" + b"\x85" * 60_000,
        "lists in a label": b"}"
        + text("word")
        + text("h")
        + b"s"
        + text(BOX)
        + b"]" * 9000
        + b"a" * 8999
        + b"s",
    }.items(),
    ids=lambda item: item[0],
)
def test_programs_that_make_no_label_are_refused(body):
    assert refused(program(body[1]))


def test_a_huge_memo_number_costs_nothing():
    body = pickle.dumps(GOOD, protocol=2)[2:-1]
    assert b"q\x00" in body
    huge = b"\x80\x02" + body.replace(b"q\x00", b"r\xff\xff\xff\xff", 1) + b"."
    tracemalloc.start()
    assert read_official_label(huge) == HI
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()


def test_100_000_lists_in_each_other_are_refused():
    assert refused(program(b"]" * 100_000 + b"a" * 99_999)) == "label is too large"


def test_the_size_is_limited_to_the_byte():
    def label(length: int) -> bytes:
        return program(b"}" + text("word") + text("a" * length) + b"s")

    longest = MAX_BYTES - len(label(0))
    assert read_official_label(label(longest)) == ("a" * longest, ())
    assert refused(label(longest + 1)) == "label is too large"


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_labels_cut_anywhere_are_refused(protocol):
    stored = pickle.dumps(GOOD, protocol=protocol)
    reasons = {refused(stored[:length]) for length in range(1, len(stored))}
    assert reasons == {"label is damaged"}


@pytest.mark.parametrize("after", [b"\0", b".", b"\n", pickle.dumps(GOOD)])
def test_bytes_after_the_end_are_refused(after):
    assert refused(pickle.dumps(GOOD) + after) == "label is damaged"


def test_random_bytes_are_refused():
    draw = random.Random(0)
    for _ in range(2000):
        with pytest.raises(BoxesError):
            read_official_label(b"\x80" + draw.randbytes(draw.randint(0, 60)))


def test_random_changes_never_end_in_another_error():
    draw = random.Random(1)
    for protocol in PROTOCOLS:
        good = pickle.dumps(GOOD, protocol=protocol)
        for _ in range(1000):
            changed = bytearray(good)
            for _ in range(draw.randint(1, 3)):
                changed[draw.randrange(1, len(good))] = draw.randrange(256)
            try:
                word, boxes = read_official_label(bytes(changed))
            except BoxesError:
                continue
            assert type(word) is str
            assert all(type(box) is CharBox and len(box.character) == 1 for box in boxes)


@pytest.mark.parametrize("stored", [b"", b"hello", "\u0080".encode(), b"(lp0\n.", b"}."])
def test_text_and_old_pickles_are_no_official_labels(stored):
    assert not is_official_label(stored)
    assert refused(stored) == "label has no boxes"

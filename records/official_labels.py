"""Labels of the official "reconstituted ST" LMDBs, read without running anything.

There, `label-%09d` is a pickle of a dict from box to character, both text, with the word under
`word`: `{"[[6, 3], [28, 28]]": "h", ..., "word": "hello"}`. A pickle is a program that may do
anything, and so may a box that is evaluated as Python. Here, a machine of our own knows only the
instructions that build text, numbers, lists, tuples and dicts; boxes are matched with a pattern.
"""

import pickletools
import re
import unicodedata

from records.char_boxes import FARTHEST, MAX_BOXES, BoxesError, CharBox

MAX_BYTES = 2**16
MAX_BOX_TEXT = 400  # characters
PROTOCOLS = range(2, 6)
DAMAGED = "label is damaged"
NO_TEXTS = "label is no dict of texts"

_NUMBER = r"-?[0-9]{1,12}(?:\.[0-9]{0,30})?(?:[eE][+-]?[0-9]{1,3})?"
_COMMA = r" {0,4}, {0,4}"
_POINT = rf"\[ {{0,4}}{_NUMBER}{_COMMA}{_NUMBER} {{0,4}}\]"
# Everything is bounded, and nothing can be matched in two ways, so matching takes no time.
_BOX = re.compile(rf"\[ {{0,4}}{_POINT}{_COMMA}{_POINT}(?:(?:{_COMMA}{_POINT}){{2}})? {{0,4}}\]")
_FIND_NUMBER = re.compile(_NUMBER)
# Halves of surrogate pairs, which pickles may hold, and UTF-8 can't.
_SURROGATE = re.compile("[\ud800-\udfff]")


def is_official_label(stored: bytes) -> bool:
    """Whether a label is a pickle (protocol 2 or later); UTF-8 text never begins so."""
    return stored[:1] == b"\x80"


def read_label(stored: bytes) -> tuple[str, tuple[CharBox, ...] | None]:
    """Label as annotated, of any LMDB, and its boxes where it holds them, as in official ones.

    Raises:
        UnicodeDecodeError, BoxesError: it is neither text nor an official label.

    """
    if is_official_label(stored):
        return read_official_label(stored)
    return stored.decode("utf-8"), None


def read_official_label(stored: bytes) -> tuple[str, tuple[CharBox, ...]]:
    """The word of a label, and its boxes in the order of the dict.

    Characters are composed (NFC); nothing is said about whether the boxes spell the word.

    Raises:
        BoxesError: not a pickle of such a dict, damaged, or hostile.

    """
    if not is_official_label(stored):
        raise BoxesError("label has no boxes", "it is not a pickle.")
    if len(stored) > MAX_BYTES:
        raise BoxesError(
            "label is too large", f"{len(stored):,} bytes; {MAX_BYTES:,} are the most."
        )
    entries = _load(stored)
    if type(entries) is not dict or any(type(value) is not str for value in entries.values()):
        raise BoxesError(NO_TEXTS, "its pickle holds something else.")
    if "word" not in entries:
        raise BoxesError("label has no word", "its dict lacks the key 'word'.")
    word = entries.pop("word")
    if _SURROGATE.search(word):
        raise BoxesError("word is not Unicode", "half of a surrogate pair is in it.")
    if len(entries) > MAX_BOXES:
        raise BoxesError("too many boxes", f"{len(entries):,}; {MAX_BOXES:,} are the most.")
    return word, tuple([_read_box(box, character) for box, character in entries.items()])


def _read_box(text: str, character: str) -> CharBox:
    if len(text) > MAX_BOX_TEXT or not _BOX.fullmatch(text):
        raise BoxesError("box is not two or four points", f"it is {text[:60]!r}.")
    numbers = [_read_number(found) for found in _FIND_NUMBER.findall(text)]
    # An exponent may have led to infinity, which lies beyond too.
    if not all(-FARTHEST <= number <= FARTHEST for number in numbers):
        raise BoxesError("box is too far from the image", f"it is {text[:60]!r}.")
    composed = unicodedata.normalize("NFC", character)
    if len(composed) != 1 or _SURROGATE.search(composed):
        raise BoxesError(
            "box has other than one character", f"{text[:60]!r} has {character[:20]!r}."
        )
    return CharBox(composed, tuple(zip(numbers[::2], numbers[1::2], strict=True)))


def _read_number(text: str) -> float:
    return int(text) if text.lstrip("-").isdigit() else float(text)


def _load(stored: bytes) -> object:
    """What a pickle builds, as long as it is plain data; BoxesError otherwise."""
    machine = _Machine()
    try:
        for opcode, argument, position in pickletools.genops(stored):
            if opcode.name == "STOP" and position != len(stored) - 1:
                raise BoxesError(DAMAGED, f"{len(stored) - 1 - position:,} bytes follow its end.")
            machine.run(opcode.name, argument)
    except (BoxesError, MemoryError):
        raise
    # Damaged bytes can make nearly any error: of decoding, of an empty stack, of a missing memo.
    except Exception as error:
        raise BoxesError(DAMAGED, f"{type(error).__name__}: {str(error)[:100]}.") from None
    return machine.result()


class _Machine:
    """The part of the pickle machine that builds plain data; nothing in it calls or imports."""

    def __init__(self):
        self._stack: list = []
        self._below_marks: list[list] = []  # the stacks that marks have set aside
        self._memo: dict[int, object] = {}  # by number, so that a huge number costs nothing

    def run(self, name: str, argument) -> None:
        """One instruction."""
        stack = self._stack
        match name:
            case "BINUNICODE" | "SHORT_BINUNICODE" | "BINUNICODE8":
                stack.append(argument)
            case "MEMOIZE":
                self._memo[len(self._memo)] = stack[-1]
            case "BINPUT" | "LONG_BINPUT":
                self._memo[argument] = stack[-1]
            case "BINGET" | "LONG_BINGET":
                stack.append(self._memo[argument])
            case "BININT" | "BININT1" | "BININT2" | "LONG1" | "BINFLOAT":
                stack.append(argument)
            case "EMPTY_DICT":
                stack.append({})
            case "EMPTY_LIST":
                stack.append([])
            case "EMPTY_TUPLE":
                stack.append(())
            case "MARK":
                self._below_marks.append(stack)
                self._stack = []
            case "SETITEM":
                value, key = stack.pop(), stack.pop()
                self._set_items([key, value])
            case "SETITEMS":
                self._set_items(self._pop_to_mark())
            case "DICT":
                items = self._pop_to_mark()
                self._stack.append({})
                self._set_items(items)
            case "APPEND":
                self._extend([stack.pop()])
            case "APPENDS":
                self._extend(self._pop_to_mark())
            case "LIST":
                items = self._pop_to_mark()
                self._stack.append(items)
            case "TUPLE":
                items = self._pop_to_mark()
                self._stack.append(tuple(items))
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                reversed_items = [stack.pop() for _ in range(int(name[-1]))]
                stack.append(tuple(reversed_items[::-1]))
            case "PROTO" if argument in PROTOCOLS:
                pass
            case "FRAME" | "STOP":
                pass
            case _:
                raise BoxesError(
                    "label is a pickle of more than text",
                    f"it has the instruction {name}, which no label needs.",
                )

    def result(self) -> object:
        """The one value that is left."""
        if self._below_marks or len(self._stack) != 1:
            raise BoxesError(DAMAGED, "it does not end with one value.")
        return self._stack[0]

    def _pop_to_mark(self) -> list:
        items, self._stack = self._stack, self._below_marks.pop()
        return items

    def _set_items(self, items: list) -> None:
        target = self._stack[-1]
        # Text only: the hash of tuples in tuples could take for ever, or end the process.
        if type(target) is not dict or any(type(key) is not str for key in items[::2]):
            raise BoxesError(NO_TEXTS, "it sets keys that are not text, or of what is no dict.")
        target.update(zip(items[::2], items[1::2], strict=True))

    def _extend(self, items: list) -> None:
        target = self._stack[-1]
        if type(target) is not list:
            raise BoxesError(NO_TEXTS, "it appends to what is no list.")
        target.extend(items)

"""The boxes of a record's characters: read from the LMDB, and matched with its label."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from text import Charset

BoxEntry = Sequence[str | float]  # as stored: character, then x and y of two or four corners
MAX_BYTES = 2**20
MAX_BOXES = 1000
FARTHEST = 1e6  # pixels from the corner of the image
NUMBERS = (int, float)  # by exact type: True is no number
DISAGREE = "boxes and label disagree"
OUTSIDE = "box lies outside of the image"


class BoxesError(ValueError):
    """Boxes that can't be used.

    Attributes:
        reason: a short, constant category, for counting; the message has the details too.

    """

    def __init__(self, reason: str, details: str = ""):
        super().__init__(f"{reason}: {details}" if details else reason)
        self.reason = reason


@dataclass(frozen=True)
class CharBox:
    """Where a character is.

    Attributes:
        character: the character.
        corners: (x, y) of two opposite corners of an upright box, in any order, or of the four of
            a quad, in order around; pixels of the stored image, which they may leave.

    """

    character: str
    corners: tuple[tuple[float, float], ...]


def parse_boxes(stored: bytes) -> tuple[CharBox, ...]:
    """Boxes from the value of a key `boxes-%09d`.

    Args:
        stored: UTF-8 JSON, a list of [character, x0, y0, x1, y1] or, for a quad,
            [character, x0, y0, x1, y1, x2, y2, x3, y3].

    Raises:
        BoxesError: not that, too much of it, or a number that is no place near an image.

    """
    if len(stored) > MAX_BYTES:
        raise BoxesError(
            "boxes are too large", f"{len(stored):,} bytes; {MAX_BYTES:,} are the most."
        )
    try:
        entries = json.loads(stored.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise BoxesError("boxes are not UTF-8", f"see byte {error.start}.") from None
    except RecursionError:
        raise BoxesError("boxes are not a list of boxes", "it is nested too deeply.") from None
    except ValueError as error:
        raise BoxesError("boxes are not valid JSON", f"{error}.") from None
    if type(entries) is not list:
        raise BoxesError("boxes are not a list of boxes", "the JSON is something else.")
    if len(entries) > MAX_BOXES:
        raise BoxesError("too many boxes", f"{len(entries):,}; {MAX_BOXES:,} are the most.")
    return tuple([_parse_box(entry, number) for number, entry in enumerate(entries, start=1)])


def _parse_box(entry: object, number: int) -> CharBox:
    # Entries are not shown in messages: what is nested deeply has no repr.
    if type(entry) is not list or len(entry) not in (5, 9):
        raise BoxesError(
            "box is not a character and two or four corners",
            f"box {number} is not a list of a character and 4 or 8 numbers.",
        )
    character, *numbers = entry
    if type(character) is not str or not character:
        raise BoxesError(
            "box has no character", f"box {number} does not begin with a text that is not empty."
        )
    if any("\ud800" <= c <= "\udfff" for c in character):  # half of a pair, which JSON may hold
        raise BoxesError("box has no character", f"box {number} begins with what is no Unicode.")
    for value in numbers:
        # Neither NaN nor infinity, which JSON may hold here, lies within limits.
        if type(value) not in NUMBERS or not -FARTHEST <= value <= FARTHEST:
            raise BoxesError(
                "corner is not a pair of numbers within reach",
                f"box {number} has one that is not a number within ±{FARTHEST:,.0f} pixels.",
            )
    return CharBox(character, tuple(zip(numbers[::2], numbers[1::2], strict=True)))


def sticks_out(box: CharBox, width: int, height: int) -> float | None:
    """How many pixels a box sticks out of an image; None where nothing of it is inside."""
    xs, ys = zip(*box.corners, strict=True)
    left, right, top, bottom = min(xs), max(xs), min(ys), max(ys)
    if right < 0 or bottom < 0 or left > width or top > height:
        return None
    return max(-left, -top, right - width, bottom - height)


def place_of(box: CharBox, width: int, height: int) -> str:
    """Where a box is, beside the size of its image, in words."""
    xs, ys = zip(*box.corners, strict=True)
    return (
        f"{box.character!r} at x {min(xs):g} to {max(xs):g}, y {min(ys):g} to {max(ys):g}, the "
        f"image has {width} x {height} pixels"
    )


def match_boxes(boxes: Sequence[CharBox], label: str, charset: Charset) -> tuple[CharBox, ...]:
    """The box of each character of `charset.normalize(label).text`, in order.

    Boxes of characters that the charset lacks are left out, as the label loses them too; the
    characters of the others are normalized as the label is.

    Raises:
        BoxesError: the boxes are not those of the label's characters.

    """
    wanted = list(charset.normalize(label).text)
    # Nearly always nothing has to be left out or lower-cased, and each box can stay as it is.
    if [box.character for box in boxes] == wanted:
        return tuple(boxes)
    matched = []
    for box in boxes:
        text = charset.normalize(box.character).text
        if text:
            matched.append(CharBox(text, box.corners))
    # As a Σ at a word's end is an ς in lower case, and one alone is an σ.
    folded = [c.casefold() for c in wanted]
    if not charset.cased and [box.character.casefold() for box in matched] == folded:
        return tuple(CharBox(c, box.corners) for c, box in zip(wanted, matched, strict=True))
    # A box of several characters equals no character, so it disagrees too.
    if [box.character for box in matched] != wanted:
        raise BoxesError(
            DISAGREE,
            f"the label reads {''.join(wanted)[:40]!r}, and the boxes read "
            f"{''.join(box.character for box in matched)[:40]!r}.",
        )
    return tuple(matched)

"""Character boxes that must spell their word."""

import json
import unicodedata
from collections.abc import Sequence

from records.char_boxes import DISAGREE, BoxesError, CharBox, parse_boxes


def name_boxes(boxes: Sequence[CharBox], word: str) -> list[list[str | float]]:
    """The boxes of a word as lists of character and corners' numbers.

    White space, in the word or boxed, is passed over. The characters are the word's, where boxes
    have them in the other case.

    Raises:
        BoxesError: there are none, or they don't spell the word.

    """
    if not boxes:
        raise BoxesError("label has no boxes", "there is only the word.")
    inked = [box for box in boxes if not box.character.isspace()]
    characters = list("".join(unicodedata.normalize("NFC", word).split()))
    boxed = [unicodedata.normalize("NFC", box.character) for box in inked]
    # Character by character: a box of several is the box of none of them.
    if characters != boxed and [c.casefold() for c in characters] != [c.casefold() for c in boxed]:
        shown = " ".join(boxed)[:40]
        raise BoxesError(DISAGREE, f"the word is {word[:40]!r}, the boxes are of {shown!r}.")
    return [
        [character, *(number for corner in box.corners for number in corner)]
        for character, box in zip(characters, inked, strict=True)
    ]


def boxes_or_remark(
    entries: object, word: str, which: str
) -> tuple[list[list[str | float]] | None, tuple[str, str] | None]:
    """A word's boxes, or why it must do without them.

    Args:
        entries: what should be a list of lists as `name_boxes` gives them, from anywhere.
        word: the word.
        which: where it is, for the remark.

    Returns:
        boxes, or None, and the remark of a `Word`, or None.

    """
    try:
        return name_boxes(parse_boxes(json.dumps(entries).encode("utf-8")), word), None
    except BoxesError as error:
        return None, (error.reason, f"{which}: {error}")

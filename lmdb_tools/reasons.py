"""What can be wrong with an LMDB and its records, and what to do about it."""

from dataclasses import dataclass

from records.char_boxes import OUTSIDE


@dataclass(frozen=True)
class Reason:
    """A kind of finding.

    Attributes:
        text: what is wrong, constant, for counting.
        is_error: an error fails the check; anything else is a warning.
        hint: what to do.

    """

    text: str
    is_error: bool
    hint: str


def error(text: str, hint: str) -> Reason:
    """A reason that fails the check."""
    return Reason(text, True, hint)


def warning(text: str, hint: str) -> Reason:
    """A reason that does not fail the check."""
    return Reason(text, False, hint)


LEFT_OUT = "--fix writes a copy without such records."
NUMBER_MENDED = (
    "--fix writes a copy with the right number. A folder .partial is unfinished: repeat the "
    "command that made it."
)

UNOPENABLE = error("LMDB can't be read", "Copy or make it again; --fix leaves it out.")
NO_RECORDS = error("LMDB has no records", "Make it again, or remove it; --fix leaves it out.")
BAD_COUNT = error("num-samples is missing, or no number", NUMBER_MENDED)
UNCOUNTED = error("record is there, but num-samples leaves it out", NUMBER_MENDED)
NO_RECORD = error(
    "record is missing, though num-samples counts it",
    "The LMDB was not finished, or was copied in part: make it again, or use --fix, which writes "
    "a copy with the right number.",
)
ODD_KEYS = warning(
    "key is none of a record, though it begins as theirs do",
    "Nobody reads it: numbers in keys have nine digits, as in image-000000001.",
)

NO_IMAGE = error("record has no image", LEFT_OUT)
EMPTY_IMAGE = error("image is empty", LEFT_OUT)
UNREADABLE_IMAGE = error("image can't be decoded", LEFT_OUT)
TINY_IMAGE = warning(
    "image has less than a pixel a character, or a side of less than 4",
    "Nobody can read it, and training learns from it all the same: look at such records, and mend "
    "them at their source.",
)
NO_LABEL = error("record has no label", LEFT_OUT)
NO_UTF8 = error(
    "label is not UTF-8",
    "Save the ground-truth file as UTF-8 and make the LMDB again; --fix leaves such records out.",
)
EMPTY_LABEL = error("label is empty", LEFT_OUT)

FOREIGN_CHARACTERS = warning(
    "label has characters outside of the charset",
    "They are left out of labels in training and scoring; another --character keeps them, but for "
    "white space, which is left out of every label.",
)
NOTHING_LEFT = warning(
    "label has no character of the charset",
    "Such records are never trained on; choose another --character to keep them.",
)
TOO_LONG = warning(
    "label is longer than --batch_max_length",
    "Such records are left out of training and its validation, and are errors for test_final.py; a "
    "larger --batch_max_length keeps them.",
)

BOXES_HINT = "--fix writes a copy that keeps the record without its boxes."
BOX_ELSEWHERE = error(OUTSIDE, BOXES_HINT)
BOX_STICKS_OUT = warning(
    "box sticks out of the image",
    "What lies outside is cut off; where it is much, the boxes may be those of another image.",
)

LEAKED = error(
    "image for training is in an evaluation LMDB too",
    "Scores on it would say too much: --fix leaves such records out of the training LMDBs.",
)
REPEATED = warning(
    "image is in this LMDB more than once",
    "It weighs more than others; harmless where that is meant.",
)
IN_ANOTHER = warning(
    "image is in another LMDB for the same purpose",
    "It weighs more than others; harmless where that is meant.",
)
TWO_LABELS = warning(
    "image has another label elsewhere",
    "One of the labels is wrong: look at the records, and mend them at their source.",
)
OTHER_SIZE = warning(
    "benchmark has another number of images than others report",
    "Figures on it can't be compared with published ones; see data/README.md.",
)


def bad_boxes(category: str) -> Reason:
    """The reason for boxes that can't be used, from a `BoxesError`'s category."""
    return error(category, BOXES_HINT)


def bad_official_label(category: str) -> Reason:
    """The reason for a pickled label that can't be used, from a `BoxesError`'s category."""
    return error(category, LEFT_OUT)

"""A record's parts as they are stored, and what makes them unusable."""

from lmdb_tools.reasons import (
    EMPTY_IMAGE,
    EMPTY_LABEL,
    NO_IMAGE,
    NO_LABEL,
    NO_RECORD,
    NO_UTF8,
    Reason,
    bad_official_label,
)
from records import official_labels
from records.char_boxes import BoxesError, CharBox, parse_boxes
from records.lmdb_file import StoredRecord


class RecordError(ValueError):
    """A record, or a part of it, that can't be used.

    Attributes:
        reason: the kind of fault; the message has the details, and may be empty.

    """

    def __init__(self, reason: Reason, details: str = ""):
        super().__init__(details)
        self.reason = reason


def details(error: BoxesError) -> str:
    """What an error says beyond its reason."""
    return str(error).removeprefix(error.reason).removeprefix(": ")


def require_image(image: bytes | None) -> bytes:
    """The bytes of an image that are there.

    Raises:
        RecordError: none, or empty.

    """
    if image is None:
        raise RecordError(NO_IMAGE)
    if not len(image):
        raise RecordError(EMPTY_IMAGE)
    return image


def read_label(stored: bytes | None) -> tuple[str, tuple[CharBox, ...] | None]:
    """Label as annotated, and its boxes where it holds them, as in official LMDBs.

    Raises:
        RecordError: missing, not UTF-8, empty, or a damaged pickle.

    """
    if stored is None:
        raise RecordError(NO_LABEL)
    try:
        text, boxes = official_labels.read_label(stored)
    except UnicodeDecodeError as error:
        raise RecordError(NO_UTF8, f"see byte {error.start} of {stored[:40]!r}") from None
    except BoxesError as error:
        raise RecordError(bad_official_label(error.reason), details(error)) from None
    if not text.strip():
        raise RecordError(EMPTY_LABEL, repr(text[:40]))
    return text, boxes


def read_record(record: StoredRecord) -> tuple[str, tuple[CharBox, ...] | None]:
    """Label of a record that has all that is needed, and boxes in the label; images may be any.

    Raises:
        RecordError: something is missing or can't be read.

    """
    if record.image is None and record.label is None:
        raise RecordError(NO_RECORD)
    require_image(record.image)
    return read_label(None if record.label is None else bytes(record.label))


def read_boxes(
    record: StoredRecord, in_label: tuple[CharBox, ...] | None
) -> tuple[CharBox, ...] | None:
    """A record's boxes: those of its own key, else those in its label, else None.

    Raises:
        BoxesError: damaged ones.

    """
    return in_label if record.boxes is None else parse_boxes(bytes(record.boxes))

"""The checks of one record."""

from dataclasses import dataclass

from lmdb_tools.findings import Example, Findings
from lmdb_tools.image_header import header_size
from lmdb_tools.reasons import (
    BOX_ELSEWHERE,
    BOX_STICKS_OUT,
    FOREIGN_CHARACTERS,
    NO_RECORD,
    NOTHING_LEFT,
    TINY_IMAGE,
    TOO_LONG,
    UNREADABLE_IMAGE,
    Reason,
    bad_boxes,
)
from lmdb_tools.stored_label import RecordError, details, read_boxes, read_label, require_image
from loading.preprocessing import UnreadableImageError, decode_image
from records.char_boxes import BoxesError, CharBox, match_boxes, place_of, sticks_out
from records.lmdb_file import StoredRecord
from records.official_labels import is_official_label
from text import Charset

UNUSABLE, WITHOUT_BOXES = 1, 2  # bits of what is to be done with a record
SMALLEST_SIDE = 4  # pixels
TOLERANCE = 3  # pixels that a box may stick out: rounding, and crops with a margin


@dataclass(frozen=True)
class Rules:
    """What records are checked against.

    Attributes:
        charset: of labels.
        max_length: of labels, in characters as annotated.
        decode: decode images, not only look at whether they are there.

    """

    charset: Charset
    max_length: int
    decode: bool


class RecordCheck:
    """Checks records of one LMDB, and keeps what it finds.

    Attributes:
        findings: so far.

    """

    def __init__(self, lmdb_path: str, rules: Rules):
        self.rules = rules
        self.findings = Findings()
        self._path = lmdb_path

    def check(self, record: StoredRecord) -> tuple[int, str]:
        """UNUSABLE and WITHOUT_BOXES, in bits; and the label as the charset has it."""
        if record.image is None and record.label is None:
            self._add(NO_RECORD, record)
            return UNUSABLE, ""
        flags, size = 0, None
        try:
            image = require_image(record.image)
            size = self._image_size(image, record)
        except RecordError as fault:
            self._add(fault.reason, record, str(fault))
            flags |= UNUSABLE
        try:
            label, in_label = read_label(record.label)
        except RecordError as fault:
            self._add(fault.reason, record, str(fault))
            return UNUSABLE, ""
        text = self._check_text(label, record)
        if size is not None and (
            min(size) < SMALLEST_SIDE or max(size) < min(len(label), self.rules.max_length)
        ):
            self._add(TINY_IMAGE, record, f"{size[0]} x {size[1]} pixels, {label[:40]!r}")
        if (record.boxes is not None or in_label is not None) and not self._check_boxes(
            record, label, in_label, size
        ):
            flags |= WITHOUT_BOXES
        return flags, text

    def _add(self, reason: Reason, record: StoredRecord, detail: str = "") -> None:
        self.findings.add(reason, Example(self._path, record.number, detail))

    def _image_size(self, image: bytes, record: StoredRecord) -> tuple[int, int] | None:
        """Width and height in pixels, where something needs them."""
        try:
            if self.rules.decode:
                return decode_image(image).size
            if record.boxes is not None or is_official_label(record.label or b""):
                return header_size(image)
        except UnreadableImageError as error:
            raise RecordError(UNREADABLE_IMAGE, str(error)) from None
        return None

    def _check_text(self, label: str, record: StoredRecord) -> str:
        if len(label) > self.rules.max_length:
            self._add(TOO_LONG, record, f"{len(label):,} characters, {label[:40]!r}")
        normalized = self.rules.charset.normalize(label)
        if normalized.removed:
            self.findings.characters.update(normalized.removed)
            reason = FOREIGN_CHARACTERS if normalized.text else NOTHING_LEFT
            self._add(reason, record, repr(label[:60]))
        return normalized.text

    def _check_boxes(
        self,
        record: StoredRecord,
        label: str,
        in_label: tuple[CharBox, ...] | None,
        size: tuple[int, int] | None,
    ) -> bool:
        """Whether a record's boxes can be used."""
        try:
            boxes = match_boxes(read_boxes(record, in_label), label, self.rules.charset)
        except BoxesError as error:
            self._add(bad_boxes(error.reason), record, details(error))
            return False
        if size is None:
            return True
        first = ""
        for box in boxes:
            out = sticks_out(box, *size)
            if out is None:
                self._add(BOX_ELSEWHERE, record, place_of(box, *size))
                return False
            if out > TOLERANCE and not first:
                first = place_of(box, *size)
        if first:
            self._add(BOX_STICKS_OUT, record, first)
        return True

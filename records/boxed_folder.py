"""A folder of images with their characters' boxes: `char_boxes.jsonl`, one JSON object a line.

`{"file": "images/1.png", "chars": "You", "boxes_xywh": [[5, 5, 21, 36], ...]}`: path below the
folder, the characters, and for each of them left, top, width and height in pixels.
"""

import json
from pathlib import Path

import numpy as np

from records.char_boxes import BoxesError, CharBox, match_boxes, parse_boxes
from records.label_filter import FilterReport, LabelFilter
from records.labelled_folder import LEADS_OUT, path_below, read_file
from records.lmdb_file import DataError

BOXES_FILE = "char_boxes.jsonl"


class BoxedFolder:
    """The usable images of such a folder; stands where an `LmdbSet` can.

    Raises:
        DataError: no such file, or nothing is left.

    """

    stand_in = None

    def __init__(self, path: Path | str, label_filter: LabelFilter):
        self.path = Path(path)
        self.charset = label_filter.charset
        self.report = FilterReport(trainable=label_filter.trainable)
        file = self.path / BOXES_FILE
        if not file.is_file():
            raise DataError(f"There is no {file}, which has a line of JSON for each image.")
        self._entries: list[tuple[str, str, tuple[CharBox, ...]]] = []
        lines = file.read_bytes().splitlines()
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                name, label, boxes = _parse_line(line)
                if path_below(self.path, name) is None:
                    raise BoxesError(LEADS_OUT)
            except BoxesError as error:
                self.report.drop(error.reason, f"line {number}")
                continue
            if label_filter.accepts(label, self.report):
                self._entries.append((name, label, boxes))
        self.report.kept = self.report.with_boxes = len(self._entries)
        if not self._entries:
            raise DataError(label_filter.nothing_left(file, len(lines), self.report))
        self.numbers = np.arange(len(self._entries), dtype=np.uint32)

    def __len__(self) -> int:
        return len(self.numbers)

    def name_of(self, number: int) -> str:
        """The image's file."""
        return str(self.path / self.local_name(number))

    def local_name(self, number: int) -> str:
        """The image's file, below the folder."""
        return self._entries[number][0]

    def read(self, number: int) -> tuple[bytes | None, str]:
        """Image bytes (None where the file can't be read) and normalised label."""
        name, label, _ = self._entries[number]
        return read_file(self.path / name), self.charset.normalize(label).text

    def read_with_boxes(self, number: int) -> tuple[bytes | None, str, tuple[CharBox, ...]]:
        """As `read`, and the box of each character of the label.

        Raises:
            BoxesError: others than those of the label's characters.

        """
        _, label, boxes = self._entries[number]
        return *self.read(number), match_boxes(boxes, label, self.charset)


def _parse_line(line: bytes) -> tuple[str, str, tuple[CharBox, ...]]:
    try:
        entry = json.loads(line)
        name, label = entry["file"], entry["chars"]
        corners = [[x, y, x + w, y + h] for x, y, w, h in entry["boxes_xywh"]]
        boxes = [[char, *box] for char, box in zip(label, corners, strict=True)]
    except (ValueError, TypeError, KeyError, ArithmeticError, RecursionError):
        raise BoxesError("line is not an image with its characters and boxes") from None
    if not isinstance(name, str) or not isinstance(label, str):
        raise BoxesError("line is not an image with its characters and boxes")
    return name, label, parse_boxes(json.dumps(boxes).encode("utf-8"))

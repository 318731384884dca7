"""An LMDB as a folder of image files and their labels."""

import json
from contextlib import closing
from pathlib import Path

from console.progress import Progress, RunLog
from lmdb_tools.image_header import file_suffix
from lmdb_tools.stored_label import read_boxes, read_label
from lmdb_tools.usable_records import find_usable
from lmdb_tools.whole_folder import whole_folder
from records.char_boxes import BoxesError
from records.label_filter import FilterReport, reason_lines
from records.lmdb_file import StoredRecord

IMAGES = "images"
LABELS, GROUND_TRUTH, NOTES = "labels.jsonl", "gt.txt", "notes.json"


def export(path: Path, folder: Path, jobs: int, log: RunLog) -> str:
    """Write `images/000000001.jpg` and so on, `labels.jsonl` and `gt.txt`.

    Files are named by the records' numbers, with the suffix of what is in them. Each line of
    `labels.jsonl` is `{"image": path, "text": label}`, with `"boxes": [[character, x0, y0, x1, y1],
    …]`, or four corners, in pixels, where there are some; of `gt.txt`, path, tab, label. What the
    LMDB says of itself goes to `notes.json`.

    Args:
        path: folder of the LMDB.
        folder: to write to; must not exist or be empty.
        jobs: processes that look at the records first.
        log: takes the lines of progress, where there is no terminal.

    Returns:
        The closing report.

    Raises:
        DataError: an LMDB that can't be read, or nothing in it can be used.
        FileExistsError: the folder is there already.

    """
    # Refused before records are read, so the folder comes first.
    with whole_folder(folder) as partial:
        source = find_usable(path, jobs, log)
        (partial / IMAGES).mkdir()
        remarks = FilterReport(with_boxes=0)
        with (
            (partial / LABELS).open("w", encoding="utf-8", newline="\n") as labels,
            (partial / GROUND_TRUTH).open("w", encoding="utf-8", newline="\n") as ground_truth,
            closing(Progress(len(source), "export", log, unit="records")) as progress,
        ):
            for record in source.read(source.numbers):
                name = f"{IMAGES}/{record.number:09d}.{file_suffix(record.image)}"
                (partial / name).write_bytes(record.image)
                entry = {"image": name, **_text_and_boxes(record, remarks)}
                labels.write(json.dumps(entry, ensure_ascii=False) + "\n")
                if any(character in entry["text"] for character in "\n\r\t"):
                    remarks.drop(
                        "label with a line break or a tab, not in gt.txt", f"record {record.number}"
                    )
                else:
                    ground_truth.write(f"{name}\t{entry['text']}\n")
                progress.update(1)
        if source.survey.notes:
            notes = json.dumps(source.survey.notes, ensure_ascii=False, indent=1)
            (partial / NOTES).write_text(notes + "\n", encoding="utf-8")
    written = (
        f"{folder}: {len(source):,} images written, {remarks.with_boxes:,} with character boxes"
    )
    return "\n".join(
        [f"{path}: {source.report}", written, *reason_lines(remarks.dropped, remarks.examples)]
    )


def _text_and_boxes(record: StoredRecord, remarks: FilterReport) -> dict:
    text, in_label = read_label(record.label)
    entry = {"text": text}
    try:
        boxes = read_boxes(record, in_label)
    except BoxesError as error:
        remarks.drop(f"bad boxes, left out: {error.reason}", f"record {record.number}")
        return entry
    if boxes:
        entry["boxes"] = [
            [box.character, *(number for corner in box.corners for number in corner)]
            for box in boxes
        ]
        remarks.with_boxes += 1
    return entry

"""Make an LMDB with character boxes from an official "reconstituted ST" one.

python3 tools/convert_reconstituted_st.py --input data/reconstituted_ST --output data/ST_boxes

There, labels are pickles of boxes and words; here, `label-%09d` is the word, and `boxes-%09d` the
boxes as JSON. Images are copied as they are.
"""

import argparse
import sys
import unicodedata
from contextlib import closing
from pathlib import Path

# Scripts run from the root, but Python puts the script's own folder on the path.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import lmdb

from char_boxes import DISAGREE, BoxesError, CharBox
from engine.progress import Progress, RunLog
from label_filter import FilterReport
from lmdb_file import DataError, count_records, reading
from lmdb_writer import LmdbWriter
from official_labels import read_official_label


def convert(input_path: Path, output_path: Path, log: RunLog) -> str:
    """Write the LMDB; returns the closing report.

    Args:
        input_path: folder of the official LMDB.
        output_path: folder of the new one; must not exist or be empty.
        log: takes the lines of progress, where there is no terminal.

    Raises:
        DataError: no LMDB of this format, or none of its records can be used.
        FileExistsError: the output is there already.

    """
    report = FilterReport()
    with reading(input_path) as transaction, LmdbWriter(output_path) as writer:
        count = count_records(transaction, input_path)
        with closing(Progress(count, "convert", log, unit="records")) as progress:
            for number in range(1, count + 1):
                _convert_record(transaction, number, writer, report)
                progress.update(1)
        report.kept = writer.count
        if not writer.count:
            raise DataError(
                f"No record was written: none of the {count:,} records of {input_path} has an "
                f"image, a word and its boxes in the official form.\n{report}\n"
                "Check --input; labels that are plain text need no conversion."
            )
    return f"{count:,} records read from {input_path}, for {output_path}: {report}"


def _convert_record(
    transaction: lmdb.Transaction, number: int, writer: LmdbWriter, report: FilterReport
) -> None:
    """Write a record, or count why it can't be."""
    label_key = b"label-%09d" % number
    image = transaction.get(b"image-%09d" % number)
    label = transaction.get(label_key)
    try:
        if not image:
            raise BoxesError("no image")
        if label is None:
            raise BoxesError("no label")
        word, boxes = read_official_label(label)
        named = name_boxes(boxes, word)
    except BoxesError as error:
        report.drop(error.reason, label_key.decode())
    else:
        writer.write(image, word, named)


def name_boxes(boxes: tuple[CharBox, ...], word: str) -> list[list[str | float]]:
    """The boxes of a word as lists of character and corners' numbers.

    White space, in the word or boxed, is passed over. The characters are the word's, where boxes
    have them in the other case.

    Raises:
        BoxesError: there are none, or they don't spell the word.

    """
    if not boxes:
        raise BoxesError("label has no boxes", "its dict has only the word.")
    inked = [box for box in boxes if not box.character.isspace()]
    characters = "".join(unicodedata.normalize("NFC", word).split())
    spelled = "".join(box.character for box in inked)
    folded = [c.casefold() for c in characters]
    if characters != spelled and folded != [c.casefold() for c in spelled]:
        raise BoxesError(DISAGREE, f"the word is {word[:40]!r}, the boxes read {spelled[:40]!r}.")
    return [
        [character, *(number for corner in box.corners for number in corner)]
        for character, box in zip(characters, inked, strict=True)
    ]


def main() -> None:
    """Parse, convert, report."""
    parser = argparse.ArgumentParser(
        description='Make an LMDB with character boxes from an official "reconstituted ST" one.'
    )
    parser.add_argument("--input", required=True, type=Path, help="folder of the official LMDB")
    parser.add_argument("--output", required=True, type=Path, help="folder of the new LMDB")
    options = parser.parse_args()
    try:
        print(convert(options.input, options.output, RunLog()))
    except (DataError, OSError, lmdb.Error) as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None


if __name__ == "__main__":
    main()

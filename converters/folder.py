"""A folder of word images: `gt.txt` (path, tab, label) or, with boxes, `labels.jsonl`.

A line of the latter is `{"image": "1.jpg", "text": "to", "boxes": [["t", x0, y0, x1, y1], ...]}`;
boxes may be left out, or be quads.
"""

from pathlib import Path

from converters.annotation_file import parse_texts, require_file
from converters.copying import AnnotatedImage
from converters.line_files import LineList
from converters.named_boxes import boxes_or_remark
from records.labelled_folder import split_word_line

ANNOTATION_NAMES = ("gt.txt", "labels.jsonl")
JSON_LINES = (".jsonl", ".json")


def folder_of_words(folder: Path, annotation: Path, check: bool) -> LineList:
    """The source of a folder's images.

    Args:
        folder: where the images' paths start.
        annotation: JSON lines where its name ends in .jsonl or .json.
        check: decode every image.

    Raises:
        DataError: no such annotation.

    """
    require_file(annotation, "a line for each image: path, tab, label")
    has_json = annotation.suffix.lower() in JSON_LINES
    parse = parse_json_line if has_json else parse_gt_line
    return LineList({"kind": "folder"}, [annotation], parse, folder, check)


def parse_gt_line(line: str) -> AnnotatedImage:
    """Path and label, with a tab or the first space between them.

    Raises:
        BadLineError: one of them is missing, or there is more.

    """
    return AnnotatedImage(*split_word_line(line))


def parse_json_line(line: str) -> AnnotatedImage:
    """An image with its label and, where they are good, its boxes.

    Raises:
        BadLineError: not a JSON object with `image` and `text`.

    """
    entry = parse_texts(line, "image", "text")
    path, text, boxes = entry["image"], entry["text"], entry.get("boxes")
    if boxes is None:
        return AnnotatedImage(path, text)
    return AnnotatedImage(path, text, *boxes_or_remark(boxes, text, path))

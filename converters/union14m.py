"""Union14M: real word images with JSON annotations.

Q. Jiang et al., Revisiting Scene Text Recognition: A Data Perspective, ICCV 2023. Either JSON
lines, `{"filename": "full_images/1.jpg", "text": "word"}`, or MMOCR's JSON, `{"metainfo": ...,
"data_list": [{"img_path": "1.jpg", "instances": [{"text": "word"}]}]}`.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from converters.annotation_file import fingerprint, parse_json, parse_texts, require_file
from converters.copying import AnnotatedImage, ImageList
from converters.line_files import LineList
from converters.source import Dropped
from records.labelled_folder import BadLineError
from records.lmdb_file import DataError

_MMOCR = re.compile(rb'\s*\{\s*"(metainfo|data_list)"')
HEAD = 4096  # bytes; enough to tell the forms apart


def union14m(folder: Path, annotations: Sequence[Path], check: bool) -> LineList | ImageList:
    """The source of the images of one or several annotation files, all of the same form.

    Args:
        folder: where the images' paths start.
        annotations: the files. MMOCR's JSON is kept in memory; JSON lines are not.
        check: decode every image.

    Raises:
        DataError: one of them is missing, or has another form.

    """
    for file in annotations:
        require_file(file, "the images' paths and texts as JSON")
    forms = {_is_mmocr(file) for file in annotations}
    if len(forms) > 1:
        raise DataError(
            "Some annotation files are JSON lines, and others MMOCR's JSON; convert them to an "
            "LMDB each."
        )
    job = {"kind": "union14m"}
    if forms == {False}:
        return LineList(job, annotations, parse_union14m_line, folder, check)
    entries = [entry for file in annotations for entry in _read_mmocr(file)]
    job["files"] = [fingerprint(file) for file in annotations]
    return ImageList(job, entries, folder, check)


def parse_union14m_line(line: str) -> AnnotatedImage:
    """Path and text of a line.

    Raises:
        BadLineError: not a JSON object with both.

    """
    if line.strip() in ("{", "["):
        raise BadLineError(
            "not JSON: a file has JSON lines, or MMOCR's JSON, beginning with metainfo or data_list"
        )
    entry = parse_texts(line, "filename", "text")
    return AnnotatedImage(entry["filename"], entry["text"])


def _is_mmocr(file: Path) -> bool:
    with file.open("rb") as stream:
        return _MMOCR.match(stream.read(HEAD).removeprefix(b"\xef\xbb\xbf")) is not None


def _read_mmocr(file: Path) -> Iterator[AnnotatedImage | Dropped]:
    try:
        contents = parse_json(file.read_bytes().removeprefix(b"\xef\xbb\xbf"))
    except ValueError as error:
        raise DataError(f"{file} is damaged: it is not JSON ({error}). Copy it again.") from None
    images = contents.get("data_list")
    if type(images) is not list:
        raise DataError(f"{file} has no list `data_list`, as MMOCR's JSON must have.")
    for number, image in enumerate(images, start=1):
        try:
            path = image["img_path"]
            texts = [instance["text"] for instance in image["instances"]]
            good = all(type(text) is str for text in (path, *texts)) and len(texts) == 1
        except (TypeError, KeyError):
            good = False
        if good:
            yield AnnotatedImage(path, texts[0])
        else:
            yield Dropped(
                "not an image path with one text", f"{file.name} entry {number} of data_list"
            )

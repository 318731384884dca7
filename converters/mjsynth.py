"""MJSynth: 8.9 million rendered words, and a list of them for each split.

M. Jaderberg et al., Synthetic Data and Artificial Neural Networks for Natural Scene Text
Recognition, 2014. A line of `annotation_train.txt` is `./2425/1/115_Lube_45484.jpg 45484`: the
path of an image, whose name has the word, and the word's number in the lexicon.
"""

from pathlib import Path, PurePosixPath

from converters.annotation_file import require_file
from converters.copying import AnnotatedImage
from converters.line_files import LineList
from records.labelled_folder import BadLineError

# The splits, and the names that the field gives to their LMDBs.
FOLDERS = {"train": "MJ_train", "val": "MJ_valid", "test": "MJ_test"}


def mjsynth(folder: Path, split: str, check: bool) -> LineList:
    """The source of a split's images.

    Args:
        folder: `90kDICT32px`, with the annotation files and the images' folders.
        split: "train", "val" or "test".
        check: decode every image; a few of the set are known to be broken.

    Raises:
        DataError: no such list.

    """
    file = require_file(folder / f"annotation_{split}.txt", "the path of an image on every line")
    return LineList({"kind": "mjsynth"}, [file], parse_mjsynth_line, folder, check)


def parse_mjsynth_line(line: str) -> AnnotatedImage:
    """Path and word of a line.

    Raises:
        BadLineError: there is no path in it, or no word in the path.

    """
    path, _, _ = line.strip().partition(" ")
    parts = PurePosixPath(path).stem.split("_")
    if len(parts) != 3:
        raise BadLineError(f"no path like 1/115_Lube_45484.jpg: {line[:60]!r}")
    return AnnotatedImage(path, parts[1])

"""The kinds of sources that there is a command for: their options, and how they are opened."""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from console.argument_types import number
from console.progress import RunLog
from converters.annotation_file import find_file
from converters.folder import ANNOTATION_NAMES, folder_of_words
from converters.icdar import GROUND_TRUTHS, SUBSETS, icdar
from converters.iiit5k import iiit5k
from converters.mjsynth import FOLDERS, mjsynth
from converters.reconstituted import ReconstitutedST
from converters.scenes import Cutting
from converters.source import Source
from converters.svt import StreetViewText
from converters.synthtext import SynthText
from converters.union14m import union14m
from converters.word_list import LIST_NAMES, word_list
from records.lmdb_file import STAND_IN, reading


@dataclass(frozen=True)
class Kind:
    """A subcommand.

    Attributes:
        help: what it is for.
        input: what --input must be.
        add_options: adds those that are its own.
        open: gives the source of each LMDB to be.

    """

    help: str
    input: str
    add_options: Callable[[argparse.ArgumentParser], None]
    open: Callable[[argparse.Namespace, RunLog], dict[Path, Source]]


quality = number(int, "a whole number from 1 to 100", lambda v: 1 <= v <= 100)


def _add_quality(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--quality",
        type=quality,
        default=95,
        metavar="Q",
        help="of the words' JPEG, 1 to 100 (default: 95)",
    )


def _add_no_check(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--no_check",
        dest="check",
        action="store_false",
        help="don't decode the images to leave out broken ones",
    )


def _add_split(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--split", required=True, choices=("train", "test"))


def _synthtext_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--gt", type=Path, metavar="FILE", help="default: gt.mat in --input")
    parser.add_argument(
        "--rectify",
        action="store_true",
        help="warp a slanted word upright, rather than cut out the rectangle around it",
    )
    parser.add_argument(
        "--letters_and_digits",
        action="store_true",
        help="leave out words with any other character, as the field's 5.5 million do",
    )
    _add_quality(parser)


def _open_synthtext(options: argparse.Namespace, log: RunLog) -> dict[Path, Source]:
    cutting = Cutting(options.input, options.quality, options.rectify)
    file = options.gt or options.input / "gt.mat"
    return {options.output: SynthText(file, cutting, log, options.letters_and_digits)}


def _mjsynth_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--annotation",
        nargs="+",
        choices=FOLDERS,
        default=list(FOLDERS),
        help=f"the splits to convert, to {', '.join(FOLDERS.values())} (default: all)",
    )
    _add_no_check(parser)


def _open_mjsynth(options: argparse.Namespace, log: RunLog) -> dict[Path, Source]:
    sources = {}
    for split in options.annotation:
        output = options.output / FOLDERS[split]
        # Of several, some may have been finished before an interruption.
        if len(options.annotation) > 1 and (output / "data.mdb").is_file():
            with reading(output) as found:
                if found.get(STAND_IN.encode()) is not None:
                    raise FileExistsError(
                        f"{output} is rendered sample data: move it away, or choose another place."
                    )
            log(f"{output} is there already, and is left as it is")
        else:
            sources[output] = mjsynth(options.input, split, options.check)
    return sources


def _iiit5k_options(parser: argparse.ArgumentParser) -> None:
    _add_split(parser)
    _add_no_check(parser)


def _open_iiit5k(options: argparse.Namespace, log: RunLog) -> dict[Path, Source]:
    return {options.output: iiit5k(options.input, options.split, options.check)}


def _svt_options(parser: argparse.ArgumentParser) -> None:
    _add_split(parser)
    _add_quality(parser)


def _open_svt(options: argparse.Namespace, log: RunLog) -> dict[Path, Source]:
    cutting = Cutting(options.input, options.quality)
    return {options.output: StreetViewText(options.split, cutting)}


def _icdar_options(parser: argparse.ArgumentParser, kind: str, subset: str, names: str) -> None:
    files = " or ".join(GROUND_TRUTHS[kind])
    parser.add_argument(
        "--gt", type=Path, metavar="FILE", help=f"the words (default: {files} in --input)"
    )
    parser.add_argument("--subset", choices=SUBSETS[kind], default="all", help=subset)
    parser.add_argument("--list", type=Path, metavar="FILE", help=names)
    _add_no_check(parser)


def _icdar2013_options(parser: argparse.ArgumentParser) -> None:
    subset = (
        "of the test images: 1015, the words of letters and digits only, or 857, those of them "
        "with at least three characters (default: all)"
    )
    _icdar_options(parser, "icdar2013", subset, "names of the images to take, one a line")


def _icdar2015_options(parser: argparse.ArgumentParser) -> None:
    names = (
        "names of the images to take, one a line. The 1,811 need it: which ones they are does not "
        "follow from the labels"
    )
    _icdar_options(parser, "icdar2015", "all 2,077 test images (default)", names)


def _open_icdar(options: argparse.Namespace, log: RunLog) -> dict[Path, Source]:
    file = options.gt or find_file(options.input, GROUND_TRUTHS[options.kind], "--gt")
    source = icdar(options.kind, options.input, file, options.subset, options.list, options.check)
    return {options.output: source}


def _word_list_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--gt",
        "--list",
        type=Path,
        metavar="FILE",
        help="a line for each image: its path, then its label after a tab (with a lexicon behind "
        "another), after a comma and in quotation marks, or after a space "
        f"(default: {' or '.join(LIST_NAMES)} in --input)",
    )
    _add_no_check(parser)


def _open_word_list(options: argparse.Namespace, log: RunLog) -> dict[Path, Source]:
    file = options.gt or find_file(options.input, LIST_NAMES, "--gt")
    return {options.output: word_list(options.kind, options.input, file, options.check)}


def _union14m_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--annotations",
        nargs="+",
        type=Path,
        required=True,
        metavar="FILE",
        help="JSON lines, which may be of any length, or MMOCR's JSON, which must fit into memory",
    )
    _add_no_check(parser)


def _open_union14m(options: argparse.Namespace, log: RunLog) -> dict[Path, Source]:
    return {options.output: union14m(options.input, options.annotations, options.check)}


def _folder_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--gt",
        type=Path,
        metavar="FILE",
        help='a line for each image: path, tab, label; or, in a .jsonl, {"image": path, '
        '"text": label, "boxes": [[character, x0, y0, x1, y1], ...]} '
        f"(default: {' or '.join(ANNOTATION_NAMES)} in --input)",
    )
    _add_no_check(parser)


def _open_folder(options: argparse.Namespace, log: RunLog) -> dict[Path, Source]:
    file = options.gt or find_file(options.input, ANNOTATION_NAMES, "--gt")
    return {options.output: folder_of_words(options.input, file, options.check)}


def _open_reconstituted(options: argparse.Namespace, log: RunLog) -> dict[Path, Source]:
    return {options.output: ReconstitutedST(options.input)}


KINDS = {
    "synthtext": Kind(
        "SynthText: words of rendered scenes, with character boxes",
        "folder of the image folders, and of gt.mat",
        _synthtext_options,
        _open_synthtext,
    ),
    "mjsynth": Kind(
        "MJSynth: rendered words, an LMDB below --output for each split",
        "folder 90kDICT32px, with the annotation files and the image folders",
        _mjsynth_options,
        _open_mjsynth,
    ),
    "iiit5k": Kind(
        "IIIT 5K-word: word images, with character boxes",
        "folder of the .mat files and the image folders",
        _iiit5k_options,
        _open_iiit5k,
    ),
    "svt": Kind(
        "Street View Text: words of photos",
        "folder of train.xml, test.xml and img/",
        _svt_options,
        _open_svt,
    ),
    "icdar2013": Kind(
        "ICDAR 2013, word recognition (task 3): word images",
        "folder of the word images",
        _icdar2013_options,
        _open_icdar,
    ),
    "icdar2015": Kind(
        "ICDAR 2015, word recognition (task 3): word images",
        "folder of the word images",
        _icdar2015_options,
        _open_icdar,
    ),
    "svtp": Kind(
        "SVT-Perspective: word images with a list",
        "folder that the list's paths start from",
        _word_list_options,
        _open_word_list,
    ),
    "cute80": Kind(
        "CUTE80: word images with a list",
        "folder that the list's paths start from",
        _word_list_options,
        _open_word_list,
    ),
    "union14m": Kind(
        "Union14M: real word images with JSON annotations",
        "folder that the annotations' paths start from",
        _union14m_options,
        _open_union14m,
    ),
    "folder": Kind(
        "your own word images, with gt.txt or, with boxes, labels.jsonl",
        "folder that the annotation's paths start from",
        _folder_options,
        _open_folder,
    ),
    "reconstituted-st": Kind(
        'the official "reconstituted ST", an LMDB with boxes in pickles, none of which is run',
        "folder of the official LMDB",
        lambda parser: None,
        _open_reconstituted,
    ),
}

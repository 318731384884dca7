"""Merge, split, thin out and export LMDBs of word images; inputs stay as they are.

    python3 tools/edit_lmdb.py merge data/training/MJ data/training/ST --output data/both
    python3 tools/edit_lmdb.py split my_words --parts train=0.9 valid=0.1 --output data/my_words
    python3 tools/edit_lmdb.py subset data/training/ST --fraction 0.1 --output data/ST_tenth
    python3 tools/edit_lmdb.py export my_words --output my_words_images

Records are copied byte for byte, in their order. Those without an image or without a label that can
be read are left out, and counted; images are not decoded (tools/check_data.py does that). An output
is written whole or not at all, and never over another. Exit status: 0, 2 on an error, 130
interrupted.
"""

import argparse
import re
import sys
from pathlib import Path

# Scripts run from the root, but Python puts the script's own folder on the path.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import lmdb

from console.argument_types import positive, share, whole
from console.progress import RunLog
from console.script_end import interrupted
from lmdb_tools.export import export
from lmdb_tools.merge import merge
from lmdb_tools.split import split
from lmdb_tools.subset import subset_by_count, subset_by_fraction, subset_by_list
from records.lmdb_file import DataError

SEED = 226
FAILED = 2
PART = re.compile(r"(\w[\w.-]*)=(.+)")


def part(text: str) -> tuple[str, float]:
    """A type for argparse: name=share."""
    match = PART.fullmatch(text)
    if match is None:
        raise argparse.ArgumentTypeError(
            f"must be name=share, as in train=0.9, the name that of a folder, not {text}"
        )
    return match[1], share(match[2])


def get_args(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    merging = commands.add_parser("merge", help="several LMDBs as one")
    merging.add_argument("lmdbs", nargs="+", type=Path, metavar="LMDB", help="to merge, in order")

    splitting = commands.add_parser("split", help="one LMDB in random parts")
    splitting.add_argument("lmdb", type=Path, metavar="LMDB")
    splitting.add_argument(
        "--parts",
        nargs="+",
        required=True,
        type=part,
        metavar="NAME=SHARE",
        help="folders to make and their shares, which sum to 1",
    )

    taking = commands.add_parser("subset", help="a part of one LMDB")
    taking.add_argument("lmdb", type=Path, metavar="LMDB")
    how = taking.add_mutually_exclusive_group(required=True)
    how.add_argument("--list", type=Path, metavar="FILE", help="numbers of records, one per line")
    how.add_argument("--fraction", type=share, metavar="F", help="a random fraction, 0 to 1")
    how.add_argument("--count", type=positive, metavar="N", help="so many records, at random")

    exporting = commands.add_parser("export", help="image files, labels.jsonl and gt.txt")
    exporting.add_argument("lmdb", type=Path, metavar="LMDB")

    for command in (splitting, taking):
        command.add_argument(
            "--seed", type=whole, default=SEED, metavar="N", help=f"of the choice (default: {SEED})"
        )
    for command in (merging, splitting, taking, exporting):
        command.add_argument(
            "--output",
            required=True,
            type=Path,
            metavar="FOLDER",
            help="must not exist, or be empty",
        )
        command.add_argument(
            "--jobs",
            type=positive,
            default=2,
            metavar="N",
            help="processes that look at the records first (default: 2)",
        )
    args = parser.parse_args(arguments)
    if args.command == "split" and len(dict(args.parts)) < len(args.parts):
        parser.error("--parts: two parts have the same name")
    return args


def run(args: argparse.Namespace, log: RunLog) -> str:
    """Do what the command line asks; the closing report."""
    match args.command:
        case "merge":
            return merge(args.lmdbs, args.output, args.jobs, log)
        case "split":
            return split(args.lmdb, dict(args.parts), args.seed, args.output, args.jobs, log)
        case "export":
            return export(args.lmdb, args.output, args.jobs, log)
    if args.list is not None:
        return subset_by_list(args.lmdb, args.list, args.output, args.jobs, log)
    if args.count is not None:
        return subset_by_count(args.lmdb, args.count, args.seed, args.output, args.jobs, log)
    return subset_by_fraction(args.lmdb, args.fraction, args.seed, args.output, args.jobs, log)


def main(arguments: list[str] | None = None) -> int:
    """Parse, edit, report; the exit status."""
    args = get_args(arguments)
    try:
        print(run(args, RunLog()))
    except (DataError, OSError, lmdb.Error) as error:
        print(f"error: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        interrupted("nothing was written")
    return 0


if __name__ == "__main__":
    # Labels may hold what the terminal's encoding lacks.
    sys.stdout.reconfigure(errors="backslashreplace")
    sys.exit(main())

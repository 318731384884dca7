"""Check LMDBs of word images before they cost a training: every record, and what sets share.

    python3 tools/check_data.py data
    python3 tools/check_data.py data --json report.json --fix data_clean
    python3 tools/check_data.py my_words data/evaluation --training my_words --character 94

An LMDB is for training or for evaluation by the last folder `training`, `evaluation` or
`validation` on its path, or by the options. Exit status: 0 no errors (there may be warnings), 1
errors, 2 wrong usage, 130 interrupted.
"""

import argparse
import json
import sys
from pathlib import Path

# Scripts run from the root, but Python puts the script's own folder on the path.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import lmdb

from console.argument_types import file_to_write, positive
from console.progress import RunLog
from console.script_end import interrupted
from lmdb_tools.check_report import as_json, as_text
from lmdb_tools.cleaned_copy import refuse_place, write_cleaned_copy
from lmdb_tools.purpose import EVALUATION, TRAINING, find_purposes
from lmdb_tools.record_check import Rules
from lmdb_tools.tree_check import check_tree
from records.lmdb_file import DataError
from records.lmdb_set import find_lmdbs
from system.cores import available_cores
from system.whole_file import write_text
from text import Charset

PASSED, FAILED, WRONG_USAGE = 0, 1, 2


def get_args(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "data", nargs="+", type=Path, metavar="DATA", help="LMDBs, or folders with LMDBs in them"
    )
    for purpose in (TRAINING, EVALUATION):
        parser.add_argument(
            f"--{purpose}",
            nargs="+",
            default=[],
            metavar="FOLDER",
            help=f"folders, or names of folders, whose LMDBs are for {purpose}",
        )
    parser.add_argument(
        "--character",
        default="36",
        help="charset of labels: 36, 62, 94, a UTF-8 file, or the characters (default: 36)",
    )
    parser.add_argument(
        "--batch_max_length",
        type=positive,
        default=25,
        metavar="N",
        help="longest label, in characters (default: 25)",
    )
    parser.add_argument(
        "--no_decode",
        action="store_true",
        help="don't decode images: far faster, but damaged ones are not found",
    )
    parser.add_argument(
        "--jobs",
        type=positive,
        default=available_cores(),
        metavar="N",
        help="processes (default: one per core)",
    )
    parser.add_argument(
        "--json", type=file_to_write, metavar="FILE", help="write all that was found there"
    )
    parser.add_argument(
        "--fix",
        type=Path,
        metavar="OUT",
        help="write a copy of DATA without errors there (the input stays as it is)",
    )
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Check, report, mend; the exit status."""
    args = get_args(arguments)
    try:
        purposes, rules = _prepare(args)
    except (DataError, OSError, ValueError) as error:
        return _say(error, WRONG_USAGE)
    log = RunLog()
    try:
        tree = check_tree(purposes, rules, args.jobs, log)
        print(as_text(tree))
        if args.json:
            write_text(args.json, json.dumps(as_json(tree), indent=1) + "\n")
        if args.fix:
            print(write_cleaned_copy(args.data[0], tree.lmdbs, args.fix, log))
    except (DataError, OSError, lmdb.Error) as error:
        return _say(error, FAILED)
    except KeyboardInterrupt:
        interrupted("not all was checked")
    return PASSED if tree.passed else FAILED


def _prepare(args: argparse.Namespace) -> tuple[dict[Path, str | None], Rules]:
    """What to check, and against what; raises where the options can't be met."""
    try:
        charset = Charset.load(args.character)
    except ValueError as error:
        raise DataError(f"--character: {error}") from None
    if args.fix:
        if len(args.data) > 1:
            raise DataError("--fix copies one DATA; name the folder that all of it is in.")
        refuse_place(args.data[0], args.fix)
    lmdbs = {path.absolute(): path for root in args.data for path in find_lmdbs(root)}
    named = {TRAINING: args.training, EVALUATION: args.evaluation}
    return (
        find_purposes(list(lmdbs.values()), named),
        Rules(charset, args.batch_max_length, decode=not args.no_decode),
    )


def _say(problem: object, status: int) -> int:
    print(f"error: {problem}", file=sys.stderr)
    return status


if __name__ == "__main__":
    # Labels may hold what the terminal's encoding lacks.
    sys.stdout.reconfigure(errors="backslashreplace")
    sys.exit(main())

"""Make LMDBs of the sets for training and scoring, as their authors give them out.

    python3 tools/prepare_data.py synthtext --input SynthText --output data/training/ST
    python3 tools/prepare_data.py mjsynth --input 90kDICT32px --output data/training/MJ
    python3 tools/prepare_data.py KIND --help

data/README.md has the command for each set. What can't be used is left out, counted by reason, and
shown at the end. Interrupted, the same command goes on where it was.
"""

import argparse
import sys
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

# Scripts run from the root, but Python puts the script's own folder on the path.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import lmdb

from console.argument_types import positive
from console.progress import RunLog
from console.script_end import interrupted
from converters.conversion import convert
from converters.kinds import KINDS
from records.lmdb_file import DataError
from system.cores import available_cores


def get_args(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parsers = parser.add_subparsers(metavar="KIND", required=True, dest="kind")
    for name, kind in KINDS.items():
        command = parsers.add_parser(name, help=kind.help, description=kind.help)
        command.add_argument("--input", required=True, type=Path, help=kind.input)
        command.add_argument("--output", required=True, type=Path, help="folder of the new LMDB")
        command.add_argument(
            "--jobs",
            type=positive,
            default=available_cores(),
            metavar="N",
            help="processes (default: one per core)",
        )
        kind.add_options(command)
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Parse, convert, report; the exit status."""
    options = get_args(arguments)
    log = RunLog()
    try:
        if not options.input.is_dir():
            raise DataError(f"There is no folder {options.input}, the input.")
        for output, source in KINDS[options.kind].open(options, log).items():
            report = convert(source, output, options.jobs, log)
            log(f"{output}: {report}")
    except (DataError, OSError, lmdb.Error) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except BrokenProcessPool:
        print(
            "error: a process died, most likely for want of memory. Run the same command with a "
            "smaller --jobs: it goes on where it was.",
            file=sys.stderr,
        )
        return 1
    except KeyboardInterrupt:
        interrupted("the same command goes on from the last records that were saved")
    return 0


if __name__ == "__main__":
    # Paths and labels may hold what the terminal's encoding lacks.
    sys.stdout.reconfigure(errors="backslashreplace")
    raise SystemExit(main())

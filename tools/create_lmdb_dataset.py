"""Make an LMDB from a folder of images and a ground-truth file.

python3 tools/create_lmdb_dataset.py --inputPath images/ --gtFile gt.txt --outputPath data/my_words

Each line of the file: path of an image (below --inputPath), tab, label; UTF-8. The same as
`tools/prepare_data.py folder`, under the name and with the options that the field knows.
"""

import argparse
import sys
from pathlib import Path

# Scripts run from the root, but Python puts the script's own folder on the path.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from console.argument_types import positive
from converters.folder import ANNOTATION_NAMES
from tools import prepare_data


def main(arguments: list[str] | None = None) -> int:
    """Parse, and do as `prepare_data.py folder`; the exit status."""
    parser = argparse.ArgumentParser(
        description="Make an LMDB from a folder of images and a ground-truth file."
    )
    parser.add_argument("--inputPath", required=True, type=Path, help="folder of the images")
    parser.add_argument(
        "--gtFile",
        type=Path,
        help="ground-truth file (default: gt.txt or labels.jsonl in --inputPath)",
    )
    parser.add_argument("--outputPath", required=True, type=Path, help="folder of the LMDB")
    parser.add_argument(
        "--no_check",
        action="store_true",
        help="don't decode the images to check them (default: check)",
    )
    parser.add_argument(
        "--jobs", type=positive, metavar="N", help="processes (default: one per core)"
    )
    options = parser.parse_args(arguments)
    truths = [options.inputPath / name for name in ANNOTATION_NAMES]
    more = {
        "--input": options.inputPath,
        "--gt": options.gtFile or next((t for t in truths if t.is_file()), truths[0]),
        "--output": options.outputPath,
        "--jobs": options.jobs,
    }
    given = [f"{name}={value}" for name, value in more.items() if value]
    return prepare_data.main(["folder", *given, *(["--no_check"] if options.no_check else [])])


if __name__ == "__main__":
    # Paths and labels may hold what the terminal's encoding lacks.
    sys.stdout.reconfigure(errors="backslashreplace")
    raise SystemExit(main())

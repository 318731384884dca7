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

import lmdb

from converters.conversion import convert
from converters.folder import folder_of_words
from lmdb_file import DataError
from progress import RunLog


def create(input_path: Path, ground_truth: Path, output_path: Path, check: bool = True) -> str:
    """Write the LMDB; returns the closing report.

    Args:
        input_path: folder that the paths of the ground truth start from.
        ground_truth: the file.
        output_path: folder of the LMDB; must not exist or be empty.
        check: decode every image, and leave out what can't be decoded.

    Raises:
        DataError: no ground-truth file, or no image of it can be used.
        FileExistsError: the output is there already.

    """
    source = folder_of_words(input_path, ground_truth, check)
    return f"{output_path}: {convert(source, output_path, jobs=1, log=RunLog())}"


def main() -> None:
    """Parse, create, report."""
    parser = argparse.ArgumentParser(
        description="Make an LMDB from a folder of images and a ground-truth file."
    )
    parser.add_argument("--inputPath", required=True, type=Path, help="folder of the images")
    parser.add_argument(
        "--gtFile", type=Path, help="ground-truth file (default: gt.txt in --inputPath)"
    )
    parser.add_argument("--outputPath", required=True, type=Path, help="folder of the LMDB")
    parser.add_argument(
        "--no_check",
        action="store_true",
        help="don't decode the images to check them (default: check)",
    )
    options = parser.parse_args()
    ground_truth = options.gtFile or options.inputPath / "gt.txt"
    try:
        print(create(options.inputPath, ground_truth, options.outputPath, not options.no_check))
    except (DataError, OSError, lmdb.Error) as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None


if __name__ == "__main__":
    main()

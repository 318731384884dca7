"""Make an LMDB from a folder of images and a ground-truth file.

python3 tools/create_lmdb_dataset.py --inputPath images/ --gtFile gt.txt --outputPath data/my_words

Each line of the file: path of an image (below --inputPath), tab, label; UTF-8.
"""

import argparse
import sys
from collections import Counter
from pathlib import Path

# Scripts run from the root, but Python puts the script's own folder on the path.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tqdm import tqdm

from labelled_folder import read_ground_truth
from lmdb_file import DataError
from lmdb_writer import LmdbWriter
from preprocessing import UnreadableImageError, decode_image

SHOWN = 3


def create(input_path: Path, ground_truth: Path, output_path: Path, check: bool = True) -> str:
    """Write the LMDB; returns the closing report.

    Args:
        input_path: folder that the paths of the ground truth start from.
        ground_truth: the file.
        output_path: folder of the LMDB; must not exist or be empty.
        check: decode every image, and leave out what can't be decoded.

    Raises:
        DataError: no ground-truth file, or no good line in it.
        FileExistsError: the output is there already.

    """
    truth = read_ground_truth(ground_truth)
    dropped: Counter[str] = Counter()
    examples: dict[str, list[str]] = {}

    def drop(reason: str, example: str) -> None:
        dropped[reason] += 1
        examples.setdefault(reason, []).append(example)

    for number, problem in truth.bad_lines:
        drop("bad line", f"line {number}: {problem}")
    with LmdbWriter(output_path) as writer:
        for path, label in tqdm(truth.entries, unit="images", disable=not sys.stderr.isatty()):
            file = input_path / path
            if not file.is_file():
                drop("no such image", path)
                continue
            image = file.read_bytes()
            try:
                if check:
                    decode_image(image)
            except UnreadableImageError as error:
                drop("unreadable image", f"{path} ({error})")
                continue
            writer.write(image, label)
        if not writer.count:
            raise DataError(
                f"No image was written: {ground_truth} has {len(truth.entries)} good lines, and "
                f"none of their images can be read below {input_path}.\n"
                + _report(0, dropped, examples)
            )
    return f"{output_path}: " + _report(writer.count, dropped, examples)


def _report(written: int, dropped: Counter[str], examples: dict[str, list[str]]) -> str:
    lines = [f"{written:,} images written, {sum(dropped.values()):,} dropped"]
    lines += [
        f"  {count:,}: {reason} ({'; '.join(examples[reason][:SHOWN])})"
        for reason, count in dropped.items()
    ]
    return "\n".join(lines)


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
    except (DataError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None


if __name__ == "__main__":
    main()

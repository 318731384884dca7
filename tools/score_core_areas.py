"""IoU of a model's core-area map with the core areas of character boxes.

python3 tools/score_core_areas.py --model_dir best_accuracy.pth --data data/training/ST
"""

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

# Scripts run from the root, but Python puts the script's own folder on the path.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch

from console.argument_types import file_to_write, positive, share, whole
from console.markdown_table import markdown
from console.progress import Progress, RunLog
from console.script_end import fail, interrupted
from engine.core_area_score import THRESHOLD, CoreAreaScore, NoCoreAreaError, score_core_areas
from models import ConfigError
from models.checkpoint import CheckpointError, load_model
from reading.weights import find_weights
from records.boxed_folder import BOXES_FILE, BoxedFolder
from records.label_filter import LabelFilter
from records.lmdb_file import DataError
from records.lmdb_set import LmdbSet, find_lmdbs
from system.whole_file import write_text
from text import Charset


def open_sets(place: Path, label_filter: LabelFilter) -> dict[str, LmdbSet | BoxedFolder]:
    """The folder with `char_boxes.jsonl`, or the LMDBs below a folder that have boxes, by path.

    Raises:
        DataError: none is there.

    """
    if (place / BOXES_FILE).is_file():
        return {place.name: BoxedFolder(place, label_filter)}
    sets = {path: LmdbSet(path, label_filter, boxes=True) for path in find_lmdbs(place)}
    with_boxes = {str(path): s for path, s in sets.items() if s.report.with_boxes}
    if not with_boxes:
        raise DataError(
            f"None of the {len(sets)} LMDBs below {place} has character boxes (keys boxes-%09d)."
        )
    return with_boxes


def report(scores: dict[str, CoreAreaScore], threshold: float) -> str:
    """The table, and what was left out."""
    rows = [
        [name, f"{s.images:,}", f"{s.iou:.2f}", f"{s.pooled_iou:.2f}", f"{s.trivial_iou:.2f}"]
        for name, s in scores.items()
    ]
    lines = [markdown(["set", "images", "IoU %", "pooled IoU %", "all-ones map %"], rows)]
    lines.append(f"A pixel counts as core area above {threshold:g}; IoU is the mean of the images.")
    for name, score in scores.items():
        if score.passed_over:
            count, first = len(score.passed_over), score.passed_over[0]
            lines.append(f"{name}: {count:,} records could not be used, the first: {first}")
    return "\n".join(lines)


def main() -> None:
    """Parse, score, print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model_dir", required=True, help="checkpoint")
    parser.add_argument(
        "--data",
        required=True,
        type=Path,
        help=f"an LMDB with boxes, a folder of such LMDBs, or a folder with a {BOXES_FILE}",
    )
    parser.add_argument(
        "--threshold",
        type=share,
        default=THRESHOLD,
        help=f"from which a value of the map is core area (default: {THRESHOLD})",
    )
    parser.add_argument("--batch_size", type=positive, default=64, help="default: 64")
    parser.add_argument("--workers", type=whole, default=2, help="loading processes (default: 2)")
    parser.add_argument("--device", choices=["cuda", "cpu"], help="default: cuda if available")
    parser.add_argument("--json", type=file_to_write, help="also write the scores to this file")
    options = parser.parse_args()
    device = torch.device(options.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    log = RunLog()
    try:
        model = load_model(find_weights(options.model_dir)).to(device)
        charset = Charset(model.config.characters)
        sets = open_sets(options.data, LabelFilter(charset, model.config.max_length))
        progress = Progress(sum(map(len, sets.values())), "score", log, unit="images")
        scores = {}
        for name, records in sets.items():
            try:
                scores[name] = score_core_areas(
                    model,
                    records,
                    device,
                    options.batch_size,
                    options.workers,
                    options.threshold,
                    progress.update,
                )
            except DataError as error:
                log(f"left out: {error}")
        progress.close()
        if not scores:
            raise DataError(f"Nothing of {options.data} could be compared.")
        log(report(scores, options.threshold))
        if options.json:
            contents = {name: asdict(score) for name, score in scores.items()}
            write_text(options.json, json.dumps(contents, indent=2) + "\n")
    except (CheckpointError, ConfigError, DataError, NoCoreAreaError, OSError) as error:
        fail(error)
    except KeyboardInterrupt:
        interrupted("no scores were written")


if __name__ == "__main__":
    main()

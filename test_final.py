"""Score a checkpoint on the benchmark sets.

python3 test_final.py --eval_data data/evaluation --benchmark_all_eval --model_dir best_accuracy.pth
"""

import json
from argparse import Namespace
from pathlib import Path

import torch

from dataset import ImageFormat
from engine.benchmarks import SIX
from engine.distributed import LaunchError, Process, distributed
from engine.evaluation import Evaluator, SetScore, merge_scores, protocol_line
from engine.flops import count_flops
from engine.options import (
    OptionError,
    check_against_checkpoint,
    check_evaluation,
    checkpoints_to_test,
)
from engine.progress import Progress, RunLog
from engine.report import as_json, ranking, table
from engine.run_folder import device_line, git_commit, new_results, versions
from label_filter import LabelFilter
from labelled_folder import LabelledFolder
from lmdb_file import DataError
from lmdb_set import open_evaluation_sets
from models import ConfigError, config_codecs
from models.checkpoint import CheckpointError, load_model
from text import Charset
from utils import fail, get_args


def score(path: Path, options: Namespace, process: Process, log: RunLog) -> list[SetScore]:
    """Scores of one checkpoint, printed as a table."""
    model = load_model(path, options.imgH, options.imgW, options.PAD)
    model.to(process.device)
    config = model.config
    check_against_checkpoint(options, config)
    charset = Charset(config.characters)
    label_filter = LabelFilter(
        charset, config.max_length, not options.data_filtering_off, trainable=False
    )
    if options.eval_img:
        sets = {Path(options.eval_data).name: LabelledFolder(options.eval_data, label_filter)}
    else:
        names = [b.name for b in SIX] if options.fast_acc else None
        sets = open_evaluation_sets(options.eval_data, label_filter, names, log)
    log(f"{config.name} from {path}; {device_line(process.device)}; torch {torch.__version__}")
    log(protocol_line(charset))
    for name, opened in sets.items():
        if opened.report.dropped or opened.report.altered:
            log(f"{name}: {opened.report}")
    codecs = config_codecs(config)
    evaluator = Evaluator(
        model, codecs, ImageFormat.of(config), process, options.batch_size, options.workers
    )
    progress = Progress(sum(map(len, sets.values())), "test", log, unit="images")
    scores = [evaluator(name, opened, progress.update) for name, opened in sets.items()]
    progress.close()
    if not options.benchmark_all_eval:
        scores = [merge_scores(Path(options.eval_data).name, scores)]
    for unreadable in (line for s in scores for line in s.unreadable_lines):
        log(f"unreadable, left out: {unreadable}")
    log("\n" + table(scores))
    if options.calculate_infer_time:
        milliseconds = 1000 * merge_scores("all", scores).model_seconds_an_image
        log(f"model time: {milliseconds:.2f} ms an image at batch size {options.batch_size}")
    if options.flops:
        shape = (config.channels, config.image_height, config.image_width)
        log(f"operations: {count_flops(model, shape) / 1e9:.3f} GFLOP an image")
    return scores


def main() -> None:
    """Parse, score, write the log and the JSON."""
    options = get_args("test_final")
    try:
        with distributed(
            options.device, world_size=options.world_size, local_rank=options.local_rank
        ) as process:
            place = new_results(Path(options.results))
            log = RunLog(place.with_suffix(".log"), enabled=process.is_main)
            check_evaluation(options)
            paths = checkpoints_to_test(options)
            by_path = {str(path): score(path, options, process, log) for path in paths}
            if not process.is_main:
                return
            if len(by_path) > 1:
                log("\n" + ranking(by_path))
            contents = {
                "options": vars(options),
                "versions": versions(),
                "git_commit": git_commit(),
                "checkpoints": {path: as_json(scores) for path, scores in by_path.items()},
            }
            file = place.with_suffix(".json")
            file.write_text(json.dumps(contents, indent=2) + "\n", encoding="utf-8")
            log(f"\nwritten: {file} and .log")
    except (CheckpointError, ConfigError, DataError, LaunchError, OptionError, OSError) as error:
        fail(error)


if __name__ == "__main__":
    main()

"""Score a checkpoint on the benchmark sets, compare two, or rank a folder of them.

python3 test_final.py --eval_data data/evaluation --benchmark_all_eval --model_dir best_accuracy.pth
"""

from argparse import Namespace
from pathlib import Path

from console.progress import RunLog
from console.script_end import fail, interrupted
from engine.distributed import LaunchError, LostProcessError, Process, distributed, leave
from engine.option_error import OptionError
from engine.reading_options import check_evaluation, checkpoints_to_test, refuse_overwriting
from engine.report import ranking
from engine.run_folder import new_results
from models import ConfigError
from models.checkpoint import CheckpointError
from records.lmdb_file import DataError
from scoring.evaluation_sets import EvaluationSets
from scoring.findings import Findings
from scoring.output import write_files
from scoring.scorer import Scorer
from scoring.tables import comparison_table, contents_table
from utils import get_args

# What a person can mend: shown as a sentence, without a traceback.
PLAIN_ERRORS = (
    CheckpointError,
    ConfigError,
    DataError,
    LaunchError,
    LostProcessError,
    OptionError,
    OSError,
)


def run(options: Namespace, process: Process, log: RunLog) -> Findings | None:
    """Score what the options name; None on all processes but the first."""
    check_evaluation(options)
    checkpoints = checkpoints_to_test(options)
    outputs = {name: getattr(options, name) for name in ("csv", "json", "markdown", "report")}
    refuse_overwriting(outputs, [*checkpoints, Path(options.eval_data) / "gt.txt"])
    sets = EvaluationSets(options, log)
    scorer = Scorer(options, process, sets, log)
    refused = []
    for path in checkpoints:
        try:
            scorer.score(path)
        except CheckpointError as error:
            if options.compare or len(refused) + 1 == len(checkpoints):
                raise
            refused.append(str(error))
            log(f"not scored: {error}")
    if not process.is_main:
        return None
    findings = scorer.findings(refused)
    if findings.comparisons:
        first, second = (summary.path for summary in findings.summaries)
        log("\n" + comparison_table(first, second, findings.comparisons))
    if len(findings.scores_by_path) > 1:
        log("\n" + ranking(findings.scores_by_path))
    for why in refused:
        log(f"not scored: {why}")
    log("\n" + contents_table(findings.contents))
    return findings


def main() -> None:
    """Parse, score, write the log and the files."""
    options = get_args("test_final")
    try:
        with distributed(
            options.device,
            options.timeout,
            world_size=options.world_size,
            local_rank=options.local_rank,
        ) as process:
            place = new_results(Path(options.results))
            log = RunLog(place.with_suffix(".log"), enabled=process.is_main)
            findings = run(options, process, log)
            if findings is not None:
                for file in write_files(findings, options, place):
                    log(f"written: {file}")
    except PLAIN_ERRORS as error:
        fail(error, leave)
    except KeyboardInterrupt:
        interrupted("no scores were written", leave)


if __name__ == "__main__":
    main()

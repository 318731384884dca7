"""Scores checkpoints one after the other, and keeps what the report needs."""

from argparse import Namespace
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from console.progress import Progress, RunLog
from dataset import ImageFormat, RecordSet
from engine.distributed import Process
from engine.evaluation import (
    Evaluator,
    SetScore,
    merge_scores,
    protocol_line,
    readable,
    scoring_charset,
)
from engine.flops import count_flops
from engine.model_options import check_against_checkpoint
from engine.option_error import OptionError
from engine.report import table, without_parts
from engine.run_folder import device_line
from models import config_codecs
from models.checkpoint import CheckpointError, load_model
from reading import Reader
from reading.weights import find_weights
from records.lmdb_file import DataError
from records.lmdb_set import folder_name
from scoring.comparison import compare
from scoring.evaluation_sets import EvaluationSets
from scoring.findings import Findings
from scoring.gallery import Gallery, gallery
from scoring.summary import Summary, each_image_once, summarize
from scoring.tables import length_table, measures_tables
from text import Charset

GALLERY = 200  # misread words of a checkpoint on the page


class Scorer:
    """Scores checkpoints on the sets.

    Both of two that are compared are told of in full; of a folder's, the best.

    Args:
        options: of test_final.py.
        process: of this rank; all must call the same methods.
        sets: to score on.
        log: told of everything.

    """

    def __init__(self, options: Namespace, process: Process, sets: EvaluationSets, log: RunLog):
        self._options, self._process, self._sets, self._log = options, process, sets, log
        self._scores: dict[str, list[SetScore]] = {}
        self._told: dict[str, Summary] = {}
        self._galleries: dict[str, Gallery] = {}
        self._unreadable: dict[str, int] = {}
        self._scored_in: Charset | None = None

    def score(self, path: Path) -> None:
        """Score one checkpoint, and say what was found.

        Raises:
            CheckpointError, ConfigError, DataError, OptionError: it can't be scored.

        """
        options, log = self._options, self._log
        model = load_model(find_weights(path), options.imgH, options.imgW, options.PAD)
        model.to(self._process.device)
        config = model.config
        check_against_checkpoint(Namespace(**{**vars(options), "model_dir": path}), config)
        charset = Charset(config.characters)
        scored = scoring_charset(charset, options.protocol)
        protocol = protocol_line(charset, scored)
        if not options.compare and self._scored_in not in (None, scored):
            raise CheckpointError(
                f"{path} is compared in {scored.name}, those before it in {self._scored_in.name}, "
                "so that their accuracies say nothing of each other; --protocol compares all alike"
            )
        self._scored_in = scored
        sets = self._sets.open(scored)
        device = device_line(self._process.device)
        log(f"{config.name} from {path}; {device}; torch {torch.__version__}")
        log(protocol)
        missing = set(scored.characters) - set(charset.characters)
        if missing:
            log(
                f"warning: the model's charset lacks {len(missing)} of the characters that are "
                "compared; words with one of them count as errors"
            )
        scores = self._evaluate(model, sets, scored)
        self._say(model, scores)
        # Only summaries keep words: a folder may have many checkpoints.
        self._scores[str(path)] = [replace(one, words=()) for one in scores]
        if not self._process.is_main:
            return
        summary = summarize(str(path), config.name, protocol, scored, config.max_length, scores)
        log("\n" + measures_tables(summary))
        log("\n" + length_table(summary))
        if self._is_told(summary):
            self._told[str(path)] = summary
            if options.report:
                self._galleries[str(path)] = self._gallery(summary, model, sets)

    def _evaluate(
        self, model: nn.Module, sets: Mapping[str, RecordSet], scored: Charset
    ) -> list[SetScore]:
        options = self._options
        evaluator = Evaluator(
            model,
            config_codecs(model.config),
            ImageFormat.of(model.config),
            self._process,
            options.batch_size,
            options.workers,
            scored,
            keep_words=True,
        )
        # Of this rank's share.
        rank, ranks = self._process.rank, self._process.world_size
        images = sum(len(range(rank, len(opened), ranks)) for opened in sets.values())
        progress = Progress(images, "test", self._log, unit="images")
        scores = [evaluator(name, opened, progress.update) for name, opened in sets.items()]
        progress.close()
        self._unreadable = {score.name: score.unreadable for score in scores}
        read = readable(scores, self._log)
        if not read:
            raise DataError(f"No image of {', '.join(sets)} could be read.")
        if options.benchmark_all_eval:
            return read
        whole = {score.name for score in without_parts(scores)}
        parts = [score.name for score in scores if score.name not in whole]
        if parts:
            self._log(
                f"note: all images of {', '.join(parts)} are in another set, too, and count twice "
                "(as in the official code); --benchmark_all_eval scores each set, and each image "
                "once"
            )
        return [merge_scores(folder_name(Path(options.eval_data)), scores)]

    def _say(self, model: nn.Module, scores: list[SetScore]) -> None:
        options, log, config = self._options, self._log, model.config
        for unreadable in (line for s in scores for line in s.unreadable_lines):
            log(f"unreadable, left out: {unreadable}")
        log("\n" + table(scores))
        if options.calculate_infer_time:
            milliseconds = 1000 * merge_scores("all", scores).model_seconds_an_image
            log(f"model time: {milliseconds:.2f} ms an image at batch size {options.batch_size}")
        if options.flops:
            shape = (config.channels, config.image_height, config.image_width)
            log(
                f"operations: {count_flops(model, torch.zeros(1, *shape)) / 1e9:.3f} GFLOP an image"
            )

    def _is_told(self, summary: Summary) -> bool:
        """Whether this one is told of in full; if it is the best so far, the one before is not."""
        if self._options.compare or not self._told:
            return True
        (before,) = self._told.values()
        if summary.overall.accuracy("fused") <= before.overall.accuracy("fused"):
            return False
        self._told.clear()
        self._galleries.clear()
        return True

    def _gallery(
        self, summary: Summary, model: nn.Module, sets: Mapping[str, RecordSet]
    ) -> Gallery:
        options = self._options
        most = GALLERY if options.gallery is None else options.gallery
        reader = Reader(model, str(self._process.device), options.batch_size)
        images = sum(not word.right("fused") for word in each_image_once(summary.scores))
        progress = Progress(min(most, images), "misread words", self._log, unit="images")
        found = gallery(summary, reader, sets, most, progress.update)
        progress.close()
        return found

    def findings(self, not_scored: Sequence[str]) -> Findings:
        """All that was found, on the first rank.

        Args:
            not_scored: what kept checkpoints from being scored.

        Raises:
            OptionError: two checkpoints that are compared, but not in the same characters.

        """
        told = list(self._told.values())
        try:
            comparisons = compare(*told) if self._options.compare else []
        except ValueError as error:
            raise OptionError(str(error)) from None
        return Findings(
            told,
            [one.less(self._unreadable.get(one.name, 0)) for one in self._sets.contents],
            comparisons,
            self._scores,
            list(self._galleries.values()),
            device_line(self._process.device),
            not_scored,
        )

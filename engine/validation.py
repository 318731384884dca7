"""Scores while training: which weights are the best, and how well they read every set."""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from dataset import RecordSet
from engine.evaluation import (
    EvaluationStoppedError,
    Evaluator,
    SetScore,
    merge_scores,
    readable,
)
from engine.iteration_weights import drop_earlier
from engine.report import table
from engine.run_context import RunContext
from engine.run_state import RunState
from loading.preprocessing import UnreadableImageError, decode_image
from models.checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from reading import Reader
from reading.attention_pictures import attention_picture
from records.content_hash import sampled_hash
from records.lmdb_file import DataError
from text import Charset

PICTURES = 6  # of the first validation set


def sets_identity(sets: Mapping[str, RecordSet], scored: Charset) -> list[str]:
    """What tells sets from others, wherever they are: a digest of each, by some of its records.

    Args:
        sets: by name, which is no part of it.
        scored: what words are compared in.

    """
    return sorted(_identity(records, scored) for records in sets.values())


def _identity(records: RecordSet, scored: Charset) -> str:
    try:
        return sampled_hash(records.numbers, records.read, f"{scored.characters} ")
    except DataError:
        return f"{records.path} could not be read"


class Validation:
    """Scores a model on its validation sets, and keeps the best weights.

    Args:
        evaluator: scores the model, or the average of its weights.
        sets: that the best weights are chosen on, by name.
        others: sets that are scored for the best weights and at the end, and decide on nothing.
        run: where it runs and says what happens.
        state: to go on from; None starts anew.
        keep_iterations: of how many validations the weights are kept; None for all.

    Attributes:
        best_accuracy: of the best weights that were kept, in percent; -1 where none were.
        history: (iteration, accuracy in percent by granularity and fused) of every validation.

    """

    def __init__(
        self,
        evaluator: Evaluator,
        sets: Mapping[str, RecordSet],
        others: Mapping[str, RecordSet],
        run: RunContext,
        state: RunState | None = None,
        keep_iterations: int | None = None,
    ):
        self.evaluator, self.sets, self.others = evaluator, dict(sets), dict(others)
        self.process, self.folder = run.process, run.folder
        self.log, self._metrics = run.log, run.metrics
        self._keep_iterations = keep_iterations
        self.best_accuracy, self._best_iteration = self._kept_best(state) if state else (-1.0, 0)
        self.history: list[tuple[int, dict[str, float]]] = list(state.history) if state else []

    def __call__(
        self, iteration: int, at_end: bool = False, stops: Callable[[], bool] = lambda: False
    ) -> None:
        """Score the weights after an iteration, all ranks together.

        Args:
            iteration: of the run.
            at_end: of the run: the other sets are scored, whether the weights are the best or not.
            stops: asked now and then whether to leave it at that.

        Raises:
            EvaluationStoppedError: `stops` said so, on this rank or another; raised on all.

        """
        model = self.evaluator.model
        self.process.share_buffers(model)
        scores = self._scores(self.sets, stops)
        best = False
        if scores:
            summed = merge_scores("all", scores)
            accuracy = {column: summed.accuracy(column) for column in summed.correct}
            self.history.append((iteration, accuracy))
            # Without its hardest set, any model would be the best.
            found = max(accuracy.values())
            best = len(scores) == len(self.sets) and (
                found > self.best_accuracy
                # A run that ended after they were written, and before its state was.
                or (found == self.best_accuracy and iteration == self._best_iteration)
            )
            kept = self._keep(iteration, scores, accuracy, best)  # on the first rank
            # All ranks go by what the first one found and could write.
            best = self.process.total(torch.tensor(int(kept), device=self.process.device)) > 0
            if best:
                self.best_accuracy, self._best_iteration = found, iteration
        else:
            self.log("warning: no validation set could be read: the weights are kept unscored")
            self._keep(iteration, [], {}, best=False)
        if self.others and (best or at_end):
            try:
                others = self._scores(self.others, stops)
            except EvaluationStoppedError:
                if scores:  # which a run that goes on from here finds once more, with the others'
                    self.history.pop()
                raise
            if others and self.process.is_main:
                self.log(f"\nevaluation after iteration {iteration:,}\n{table(others)}")
                self._metrics.write(iteration, _by_set("evaluation", others))

    def _kept_best(self, state: RunState) -> tuple[float, int]:
        """Accuracy and iteration of the best weights that the folder has.

        They say so themselves, as a run may be resumed from a state before them; those of older
        versions don't, and the state says it. -1 and 0 where there are none, or other sets were the
        ones to choose them.
        """
        if not self.folder.best.exists():
            return -1.0, 0
        try:
            kept = load_checkpoint(self.folder.best).extra
        except CheckpointError as error:
            self.log(f"warning: the best accuracy is looked for anew: {error}")
            return -1.0, 0
        if kept.get("validation", state.validation) != self.identity:
            self.log("the best accuracy is looked for anew, as it is one of other images or labels")
            return -1.0, 0
        if "validation" not in kept:
            return state.best_accuracy, 0
        return max(kept["accuracy"].values()), kept["iteration"]

    @cached_property
    def identity(self) -> list[str]:
        """Of the sets that the best weights are chosen on."""
        return sets_identity(self.sets, self.evaluator.scored)

    def _scores(self, sets: Mapping[str, RecordSet], stops: Callable[[], bool]) -> list[SetScore]:
        """Of the sets that can be read; what keeps one from it is no reason to end a run."""
        scores = []
        for name, records in sets.items():
            try:
                score = self.evaluator(name, records, stops=stops)
            except DataError as error:
                self.log(f"warning: {name} could not be scored and is left out: {error}")
                continue
            scores.append(score)
        return readable(scores, self.log)

    def _keep(
        self,
        iteration: int,
        scores: Sequence[SetScore],
        accuracy: Mapping[str, float],
        best: bool,
    ) -> bool:
        """On the first rank, say what was found, write the weights; whether as the best ones."""
        if not self.process.is_main:
            return False
        if scores:
            self.log(f"\nvalidation after iteration {iteration:,}\n{table(scores)}")
            shown = "  ".join(f"{name} {value:.2f}%" for name, value in accuracy.items())
            self.log(f"all validation images: {shown}")
            found = {f"validation/{name}_accuracy": value for name, value in accuracy.items()}
            self._metrics.write(iteration, found | _by_set("validation", scores))
            self._show_pictures(iteration)
        extra = {"iteration": iteration, "accuracy": dict(accuracy), "validation": self.identity}
        if self._keep_iterations is not None:  # before, so that there is room
            try:
                drop_earlier(self.folder.path, iteration, self._keep_iterations - 1)
            except OSError as error:
                self.log(f"warning: weights of an earlier iteration could not be deleted: {error}")
        best = best and self._write(self.folder.best, extra)
        self._write(self.folder.iteration(iteration), extra)
        if best:
            self.log(f"best so far ({max(accuracy.values()):.2f}%): {self.folder.best}")
        return best

    def _write(self, place: Path, extra: Mapping[str, Any]) -> bool:
        """Write the weights; whether there was room."""
        try:
            save_checkpoint(place, self.evaluator.model, **extra)
        except OSError as error:
            self.log(
                f"warning: the weights after iteration {extra['iteration']:,} could not be written "
                f"to {place} ({error}); what was there before stays. Make room."
            )
            return False
        return True

    @cached_property
    def _reader(self) -> Reader:
        return Reader(self.evaluator.model, str(self.process.device), fast=False)

    def _show_pictures(self, iteration: int) -> None:
        """What is read in the first images, and where the model looks."""
        reader = self._reader
        records = next(iter(self.sets.values()))
        for place, number in enumerate(records.numbers[:PICTURES], start=1):
            image = _image(records, int(number))
            if image is None:
                continue
            reading = reader(image, attention=True)
            picture = attention_picture(image, reading, reader.codecs, reader.config)
            self._metrics.show(iteration, f"validation/{place}", picture)


def _image(records: RecordSet, number: int) -> Image.Image | None:
    """A record's image; None where it can't be read, which the scores have counted."""
    try:
        stored, _ = records.read(number)
        return None if stored is None else decode_image(stored, 3)
    except (DataError, UnreadableImageError):
        return None


def _by_set(kind: str, scores: Sequence[SetScore]) -> dict[str, float]:
    return {
        f"{kind}/{score.name}/{name}_accuracy": score.accuracy(name)
        for score in scores
        for name in score.correct
    }

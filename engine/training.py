"""The training loop: batches, steps, states to go on from, and what it says meanwhile."""

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import asdict, dataclass, field
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from console.progress import Progress
from dataset import Batch
from engine.evaluation import EvaluationStoppedError, to_device
from engine.memory import BatchTooLargeError, fitting_batch
from engine.meter import Meter
from engine.optimization import Optimization
from engine.run_context import RunContext
from engine.run_state import (
    ResumedRun,
    RunState,
    plain_options,
    random_states,
    restore_random,
    save_state,
    state_path,
)
from engine.step import AMP_TYPES, Part, Stepper, StepResult
from engine.stopping import StopRequest
from engine.validation import Validation
from engine.weight_average import WeightAverage
from loading.loader_processes import surviving_batches
from records.char_boxes import DISAGREE
from records.lmdb_file import DataError
from system.error_cause import cause_of
from system.whole_file import append_whole

PASSED_OVER_SHOWN = 20
PASSED_OVER_WRITTEN = 10_000
METRICS_INTERVAL = 10  # iterations


class NonFiniteLossError(RuntimeError):
    """Losses or gradients that were NaN or infinite again and again."""


@dataclass(frozen=True)
class Plan:
    """What a run does.

    Attributes:
        optimization: optimizer and schedule; its `iterations` is the length of the run.
        validation_interval: iterations between validations; there is always one at the end.
        save_interval: iterations between two states to go on from. There is always one before the
            first validation and at the end.
        keep_last: how many states are kept.
        most_skipped: steps in a row with a loss that is no number, after which a run ends.
        amp: off, bf16 or fp16.
        loss_weights: weights in the sum, by the loss's name; 1 for those not named.
        accumulate: batches of the loader that make a step together.

    """

    optimization: Optimization
    validation_interval: int
    save_interval: int
    keep_last: int = 2
    most_skipped: int = 20
    amp: str = "off"
    loss_weights: Mapping[str, float] = field(default_factory=dict)
    accumulate: int = 1


class Trainer:
    """Trains a model on a `training_loader`'s batches, whose labels are encoded.

    Args:
        model: a recognizer, on the process's device, not wrapped.
        wrapped: what is run in its place, see `run_form`.
        plan: what the run does.
        validation: scores it.
        run: where it runs and says what happens.
        options: of the command line, kept in the states.
        resumed: what to go on from; None starts anew.
        average: follows the weights; None for none.

    Attributes:
        first: iteration that the run goes on from.
        skipped: steps whose loss or gradient was no finite number.
        stopped: the signal that ended the run early; None where it came to its end.

    """

    def __init__(
        self,
        model: nn.Module,
        wrapped: nn.Module,
        plan: Plan,
        validation: Validation,
        run: RunContext,
        options: Mapping[str, Any] | None = None,
        resumed: ResumedRun | None = None,
        average: WeightAverage | None = None,
    ):
        state = resumed.state if resumed else None
        self.model, self.plan, self.validation = model, plan, validation
        self.process, self.folder = run.process, run.folder
        self.log, self._metrics = run.log, run.metrics
        self._options = plain_options(options or {})
        self.stopped: str | None = None
        self.passed_over = self._disagreeing = 0
        self._unlearnable: Counter[str] = Counter()
        self.skipped = state.skipped if state else 0
        self._skipped_in_a_row = 0
        # Whether the newest state of the folder has the weights as they are now.
        self._is_saved = resumed is not None and resumed.newest
        self._passed_over_before = state.passed_over if state else 0
        self.first = state.iteration if state else 0
        optimizer, schedule = plan.optimization.build(model)
        self._step = Stepper(
            model,
            optimizer,
            schedule,
            plan.optimization.grad_clip,
            run.process,
            plan.amp,
            plan.loss_weights,
            wrapped,
        )
        self._average = average
        if state is not None:
            self._step.restore(state.optimizer, state.schedule, state.scaler)
            if average is not None and state.average is not None:
                average.restore(state.average)
        self._random = state.random if state else None

    def run(self, loader: DataLoader) -> float:
        """Train to the end, or until a signal; returns the best validation accuracy in percent."""
        iterations = self.plan.optimization.iterations
        meter = Meter(self.process.world_size)
        progress = Progress(iterations, "train", self.log, done=self.first)
        if self._random is not None and not restore_random(self._random, self.process):
            self.log("warning: rank without random states of its own (more ranks than before)")
        if self.first >= iterations:
            unscored = "; test_final.py scores other sets" if self.validation.others else ""
            self.log(f"nothing is left to train: --num_iter {iterations:,} is reached{unscored}")
        with StopRequest() as request, closing(progress):

            def asked() -> bool:
                return request.asked is not None

            if self._is_unscored(self.first):
                if not self._validate(self.first, asked):
                    self.stopped = request.asked or "another rank"
                    return self.validation.best_accuracy
                self._save(self.first, loader)
            drawn = self._draws(loader)
            for iteration in range(self.first + 1, iterations + 1):
                self.model.train()
                started = time.monotonic()
                try:
                    batches = next(drawn)
                    for batch in batches:
                        self._report_passed_over(batch.passed_over)
                        self._unlearnable.update(batch.unlearnable)
                    _require_images(batches, loader)
                except DataError:
                    self._save_what_is_done(iteration - 1, loader)
                    raise
                waited = time.monotonic() - started
                result = self._take_step(batches, asked())
                stepped = time.monotonic() - started - waited
                self._count_skipped(iteration, result, batches, loader)
                meter.add(sum(len(batch.texts) for batch in batches), waited, stepped, result)
                progress.update(1, **meter.shown())
                self._write_step(iteration, result, meter)
                # Before the weights are scored, which may take longer than a machine's grace: what
                # is resumed from here scores them first. No weights come before the first state.
                due = iteration % self.plan.save_interval == 0 or iteration == iterations
                scores = self._is_unscored(iteration)
                saves = due or result.stop or (scores and not self.validation.history)
                if saves:
                    self._save(iteration, loader)
                stopped = result.stop and (scores or iteration < iterations)
                if scores and not result.stop:
                    stopped = not self._validate(iteration, asked)
                    # The same state once more, with the scores; or none was due, and the run ends.
                    if saves != stopped:
                        self._save(iteration, loader)
                if saves or scores:
                    meter.restart()
                if stopped:
                    self.stopped = request.asked or "another rank"
                    break
        passed_over = self._total_passed_over()
        if passed_over:
            self.log(f"{passed_over:,} times a record was passed over during training")
        if self.skipped:
            self.log(f"{self.skipped:,} steps were skipped: loss or gradient was no finite number")
        return self.validation.best_accuracy

    def rehearse(self, loader: DataLoader, steps: int = 3) -> tuple[float, float]:
        """Take a few steps and score nothing.

        Returns:
            Seconds that a step takes once it is warm, and those that loading its data takes, which
            worker processes do meanwhile.

        """
        drawn = self._draws(loader)
        for _ in range(steps):
            batches = next(drawn)
            _require_images(batches, loader)
            started = time.monotonic()
            result = self._take_step(batches, stop=False)
        seconds = time.monotonic() - started
        self.log(f"rehearsed {steps} steps, loss {result.total:.4f}")
        # What workers have made ahead tells nothing of how fast they make it.
        for _ in range(loader.num_workers * (loader.prefetch_factor or 0)):
            next(drawn)
        draws = 2 * max(1, loader.num_workers)
        started = time.monotonic()
        for _ in range(draws):
            next(drawn)
        return seconds, (time.monotonic() - started) / draws

    def _draws(self, loader: DataLoader) -> Iterator[list[Batch]]:
        """The batches of each step."""
        batches = surviving_batches(loader, self.log)
        while True:
            yield list(islice(batches, self.plan.accumulate))

    def _parts(self, batches: Sequence[Batch]) -> list[Part]:
        return [
            (to_device(batch.images, self.process.device), self._targets(batch))
            for batch in batches
        ]

    def _take_step(self, batches: Sequence[Batch], stop: bool) -> StepResult:
        parts: list[Part] = []
        try:
            parts += self._parts(batches)
            result = self._step(parts, stop)
        except torch.OutOfMemoryError as error:
            reason = cause_of(error)
        else:
            if not result.skipped:
                self._is_saved = False
                if self._average is not None:
                    self._average.update(self.model)
            return result
        # Outside of the handler, whose traceback keeps the step's tensors. The model is not the
        # wrapped one: other ranks wait for this one's gradients.
        fits = fitting_batch(self.model, *parts[0], AMP_TYPES[self.plan.amp]) if parts else 0
        cure = f"{fits} images fit: use --batch_size {fits}" if fits else "not one image fits"
        if self.process.world_size > 1:
            cure += " in each process"
        raise BatchTooLargeError(
            f"The memory of {self.process.device} does not hold a step of {len(batches[0].texts)} "
            f"images ({reason}): {cure}, or --amp bf16. --accumulate makes one step of several "
            "batches."
        )

    def _count_skipped(
        self,
        iteration: int,
        result: StepResult,
        batches: Sequence[Batch],
        loader: DataLoader,
    ) -> None:
        """Write down a step that was skipped, and end a run in which there are too many."""
        if not result.skipped:
            self._skipped_in_a_row = 0
            return
        self.skipped += 1
        self._skipped_in_a_row += 1
        file = self.folder.nonfinite(self.process.rank)
        found = {
            "iteration": iteration,
            "loss": str(result.total),
            "gradient_norm": str(result.gradient_norm),
            "losses": {name: str(value) for name, value in result.losses.items()},
            "records": [loader.dataset.name_of(record) for b in batches for record in b.records],
        }
        cause = f"loss {result.total}, gradient norm {result.gradient_norm}"
        try:
            append_whole(file, json.dumps(found) + "\n")
            told = f"its records: {file}"
        except OSError as error:
            told = f"its records could not be written to {file}: {error}"
        self.log(f"warning: step {iteration:,} skipped ({cause}); {told}")
        if self._skipped_in_a_row >= self.plan.most_skipped:
            self._save(iteration, loader)  # nothing was learned from them
            rate = result.learning_rate
            before = state_path(self.folder.path, 2)
            back = f" An earlier state is {before}, for --resume." if before.exists() else ""
            raise NonFiniteLossError(
                f"{self._skipped_in_a_row} steps in a row had a loss or gradient that is no finite "
                f"number (last: {cause}), and changed nothing. Most often the learning rate is too "
                f"high (it is {rate:g}: lower --lr), or --amp fp16 overflows (use bf16); else look "
                f"at the records in {file}.{back}"
            )

    def _save(self, iteration: int, loader: DataLoader) -> bool:
        """Write a state, on the first rank; whether it did.

        Where the disk is full, say so and go on: the one before stays good. Where nothing was
        learned since the newest one, it takes that one's place, and none before it is given up.
        """
        self.process.share_buffers(self.model)
        # All ranks take part in these, so they come before only the first one writes.
        random = random_states(self.process)
        passed_over = self._total_passed_over()
        if not self.process.is_main:
            return False
        batches = (iteration - self.first) * self.plan.accumulate
        consumed = loader.batch_sampler.consumed_after(batches)
        state = RunState(
            iteration=iteration,
            streams=[
                {"name": source.name, "identity": source.identity, "consumed": images}
                for source, images in zip(loader.dataset.sources, consumed, strict=True)
            ],
            best_accuracy=self.validation.best_accuracy,
            history=self.validation.history,
            passed_over=passed_over,
            skipped=self.skipped,
            optimization=asdict(self.plan.optimization),
            random=random,
            validation=self.validation.identity,
            options=self._options,
            average=self._average.state() if self._average else None,
            **self._step.state(),
        )
        try:
            save_state(self.folder.path, self.model, state, self.plan.keep_last, self._is_saved)
        except OSError as error:
            self.log(
                f"warning: the state after iteration {iteration:,} could not be saved ({error}); "
                "the one before it stays. Make room, or the run can't be resumed from here."
            )
            return False
        self._is_saved = True
        return True

    def _save_what_is_done(self, iteration: int, loader: DataLoader) -> None:
        """Keep what was learned before the data failed; not on many ranks, which would wait."""
        alone = self.process.world_size == 1
        due = iteration > self.first and iteration % self.plan.save_interval
        if alone and due and self._save(iteration, loader):
            self.log(f"the data failed: --resume auto goes on after iteration {iteration:,}")

    def _total_passed_over(self) -> int:
        own = torch.tensor(self.passed_over, device=self.process.device)
        return self._passed_over_before + int(self.process.total(own))

    def _targets(self, batch: Batch) -> dict[str, Tensor]:
        targets = dict(batch.ids)
        if batch.core_area is not None:
            targets |= {"core_area": batch.core_area, "has_core_area": batch.has_core_area}
        device = self.process.device
        return {name: value.to(device, non_blocking=True) for name, value in targets.items()}

    def _report_passed_over(self, lines: Sequence[str]) -> None:
        """Count them; name the first ones in the log, and more in a file of this rank's own."""
        file = self.folder.passed_over(self.process.rank)
        for line in lines:
            self.passed_over += 1
            self._disagreeing += DISAGREE in line
            if self.passed_over <= PASSED_OVER_SHOWN:
                self.log(f"passed over: {line}")
            elif self.passed_over == PASSED_OVER_SHOWN + 1:
                self.log(f"passed over: from here on they are named in {file}")
        named = lines[: max(0, PASSED_OVER_WRITTEN - (self.passed_over - len(lines)))]
        if named:
            with suppress(OSError):  # of a full disk; they are counted all the same
                append_whole(file, "".join(f"{line}\n" for line in named))

    def _is_unscored(self, iteration: int) -> bool:
        """Whether the weights after an iteration are to be scored, and were not yet."""
        at_end = iteration == self.plan.optimization.iterations
        due = iteration > 0 and (iteration % self.plan.validation_interval == 0 or at_end)
        return due and all(scored != iteration for scored, _ in self.validation.history)

    def _validate(self, iteration: int, stops: Callable[[], bool]) -> bool:
        """Score the weights; whether that came to its end."""
        self.process.share_buffers(self.model)
        at_end = iteration == self.plan.optimization.iterations
        try:
            self.validation(iteration, at_end, stops)
        except EvaluationStoppedError:
            return False
        if self.passed_over:
            self.log(
                f"{self.passed_over:,} times a record was passed over so far, "
                f"{self._disagreeing:,} of them as {DISAGREE} (on this rank, in this start)"
            )
        for name, count in self._unlearnable.items():
            if count:
                self.log(
                    f"{count:,} labels so far could not be learned by {name}, whose vocabulary has "
                    "no pieces for them, or too many (on this rank)"
                )
        return True

    def _write_step(self, iteration: int, result: StepResult, meter: Meter) -> None:
        if iteration % METRICS_INTERVAL:
            return
        passed_over = self._total_passed_over()  # of all ranks, which take part
        if self._metrics is None:
            return
        found = {f"train/{name}": value for name, value in result.losses.items()} | {
            "train/loss": result.total,
            "train/gradient_norm": result.gradient_norm,
            "train/learning_rate": result.learning_rate,
            "train/images_per_s": meter.images_per_s,
            "train/data_wait_share": meter.data_wait_share,
            "train/loop_share": meter.loop_share,
            "train/skipped_steps": self.skipped,
            "train/passed_over": passed_over,
        }
        self._metrics.write(iteration, found)


def _require_images(batches: Sequence[Batch], loader: DataLoader) -> None:
    """Refuse batches that records were missing for.

    Raises:
        DataError: no usable record for a whole batch.

    """
    expected = sum(loader.batch_sampler.counts)
    for batch in batches:
        if len(batch.texts) < expected:
            raise DataError(
                f"No usable record was found for {expected - len(batch.texts)} of the "
                f"{expected} images of a batch; {len(batch.passed_over)} were passed over, "
                f"the last: {batch.passed_over[-1]}. tools/check_data.py tells what is "
                "wrong with a data set."
            )

"""The training loop: batches, steps, validation, checkpoints, and what it says meanwhile."""

import json
import math
import time
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader
from torch.utils.tensorboard import SummaryWriter

from dataset import Batch, RecordSet, TrainingDataset, surviving_batches
from engine.distributed import Process
from engine.evaluation import Evaluator, SetScore, merge_scores, to_device
from engine.memory import BatchTooLargeError, fitting_batch
from engine.optimization import Optimization
from engine.progress import Progress, RunLog
from engine.report import table
from engine.run_folder import RunFolder
from engine.run_state import RunState, plain_options, random_states, restore_random, save_state
from engine.step import AMP_TYPES, Stepper, StepResult
from engine.stopping import StopRequest
from lmdb_file import DataError
from models.checkpoint import save_checkpoint
from text import Codec

PASSED_OVER_SHOWN = 20
METRICS_INTERVAL = 10  # iterations


class NonFiniteLossError(RuntimeError):
    """Losses or gradients that were NaN or infinite again and again."""


@dataclass(frozen=True)
class Plan:
    """What a run does.

    Attributes:
        optimization: optimizer and schedule; its `iterations` is the length of the run.
        validation_interval: iterations between validations; there is always one at the end.
        save_interval: iterations between two states to go on from; None for one with every
            validation. There is always one at the end.
        keep_last: how many states are kept.
        most_skipped: steps in a row with a loss that is no number, after which a run ends.
        amp: off, bf16 or fp16.
        loss_weights: weights in the sum, by the loss's name; 1 for those not named.

    """

    optimization: Optimization
    validation_interval: int
    save_interval: int | None = None
    keep_last: int = 2
    most_skipped: int = 20
    amp: str = "off"
    loss_weights: Mapping[str, float] = field(default_factory=dict)


class Trainer:
    """Trains a model on a loader's batches.

    Args:
        model: a recognizer, on the process's device, not wrapped.
        codecs: its label codecs.
        evaluator: scores the same model.
        validation_sets: by name.
        process: rank and device.
        folder: of the run; used by the first rank only.
        log: says what happens.
        options: of the command line, kept in the states.
        state: to go on from; None starts anew.

    Attributes:
        skipped: steps whose loss or gradient was no finite number.
        stopped: the signal that ended the run early; None where it came to its end.
        history: (iteration, accuracy in percent by granularity and fused) of every validation.

    """

    def __init__(
        self,
        model: nn.Module,
        codecs: Mapping[str, Codec],
        plan: Plan,
        evaluator: Evaluator,
        validation_sets: Mapping[str, RecordSet],
        process: Process,
        folder: RunFolder,
        log: RunLog,
        options: Mapping[str, Any] | None = None,
        state: RunState | None = None,
    ):
        self.model, self.codecs, self.plan = model, codecs, plan
        self.evaluator, self.validation_sets = evaluator, validation_sets
        self.process, self.folder, self.log = process, folder, log
        self._options = plain_options(options or {})
        self.stopped: str | None = None
        self.best_accuracy = state.best_accuracy if state else -1.0
        self.history: list[tuple[int, dict[str, float]]] = list(state.history) if state else []
        self.passed_over = 0
        self.skipped = state.skipped if state else 0
        self._skipped_in_a_row = 0
        self._passed_over_before = state.passed_over if state else 0
        self._first = state.iteration if state else 0
        # On CPUs the fused kernel's backward pass is slower than plain products: a step of
        # mgp_str_mini at batch 64 takes 1.4 times as long.
        model.fuse_attention(process.device.type == "cuda")
        # Convolutions want it, on tensor cores and on CPUs: a step of acds_str_tiny in bf16 takes
        # half as long.
        model.to(memory_format=torch.channels_last)
        wrapped = model
        if process.world_size > 1:
            on_gpu = process.device.type == "cuda"
            wrapped = DistributedDataParallel(
                model, device_ids=[process.device.index] if on_gpu else None
            )
        optimizer, schedule = plan.optimization.build(model)
        self._step = Stepper(
            wrapped,
            optimizer,
            schedule,
            plan.optimization.grad_clip,
            process,
            plan.amp,
            plan.loss_weights,
        )
        if state is not None:
            self._step.restore(state.optimizer, state.schedule, state.scaler)
        self._random = state.random if state else None
        # What an interrupted run drew beyond its state is drawn again.
        board = partial(SummaryWriter, str(folder.tensorboard), purge_step=self._first + 1)
        self._board = board() if process.is_main else None

    def run(self, loader: DataLoader) -> float:
        """Train to the end, or until a signal; returns the best validation accuracy in percent."""
        iterations = self.plan.optimization.iterations
        save_interval = self.plan.save_interval or self.plan.validation_interval
        expected = sum(loader.batch_sampler.counts)
        meter = _Meter(self.process.world_size)
        progress = Progress(iterations, "train", self.log, done=self._first)
        if self._random is not None and not restore_random(self._random, self.process):
            self.log("warning: rank without random states of its own (more ranks than before)")
        if self._first >= iterations:
            self.log(f"nothing is left to train: --num_iter {iterations:,} is reached")
        with StopRequest() as request, closing(progress):
            batches = surviving_batches(loader, self.log)
            for iteration in range(self._first + 1, iterations + 1):
                self.model.train()
                waited = time.monotonic()
                batch = next(batches)
                waited = time.monotonic() - waited
                self._report_passed_over(batch.passed_over)
                if len(batch.texts) < expected:
                    raise DataError(
                        f"No usable record was found for {expected - len(batch.texts)} of the "
                        f"{expected} images of a batch; {len(batch.passed_over)} were passed over, "
                        f"the last: {batch.passed_over[-1]}. tools/check_data.py tells what is "
                        "wrong with a data set."
                    )
                images = to_device(batch.images, self.process.device)
                result = self._take_step(images, self._targets(batch), request.asked is not None)
                self._count_skipped(iteration, result, batch, loader.dataset)
                meter.add(len(batch.texts), waited, result)
                progress.update(1, **meter.shown())
                self._write_step(iteration, result, meter)
                at_end = iteration == iterations
                if iteration % self.plan.validation_interval == 0 or at_end:
                    self._validate(iteration)
                    meter.restart()
                if iteration % save_interval == 0 or at_end or result.stop:
                    self._save(iteration, loader)
                    meter.restart()
                if result.stop and not at_end:
                    self.stopped = request.asked or "another rank"
                    break
        if self._board is not None:
            self._board.close()
        passed_over = self._total_passed_over()
        if passed_over:
            self.log(f"{passed_over:,} times a record was passed over during training")
        if self.skipped:
            self.log(f"{self.skipped:,} steps were skipped: loss or gradient was no finite number")
        return self.best_accuracy

    def _take_step(self, images: Tensor, targets: dict[str, Tensor], stop: bool) -> StepResult:
        try:
            return self._step(images, targets, stop)
        except torch.OutOfMemoryError as error:
            reason = str(error).splitlines()[0]
        # Outside of the handler, whose traceback keeps the step's tensors.
        if self.process.world_size > 1:  # other ranks wait for this one's gradients
            cure = "lower --batch_size, which is that of each process"
        else:
            fits = fitting_batch(self.model, images, targets, AMP_TYPES[self.plan.amp])
            cure = f"{fits} images fit: use --batch_size {fits}" if fits else "not one image fits"
        raise BatchTooLargeError(
            f"The memory of {self.process.device} does not hold a step of {len(images)} images "
            f"({reason}): {cure}, or --amp bf16."
        )

    def _count_skipped(
        self, iteration: int, result: StepResult, batch: Batch, dataset: TrainingDataset
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
            "records": [dataset.name_of(record) for record in batch.records],
        }
        with file.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(found) + "\n")
        cause = f"loss {result.total}, gradient norm {result.gradient_norm}"
        self.log(f"warning: step {iteration:,} skipped ({cause}); its records: {file}")
        if self._skipped_in_a_row >= self.plan.most_skipped:
            rate = self._step.optimizer.param_groups[0]["lr"]
            raise NonFiniteLossError(
                f"{self._skipped_in_a_row} steps in a row had a loss or gradient that is no finite "
                f"number (last: {cause}), and changed nothing. Most often the learning rate is too "
                f"high (it is {rate:g}: lower --lr), or --amp fp16 overflows (use bf16); else look "
                f"at the records in {file}."
            )

    def _save(self, iteration: int, loader: DataLoader) -> None:
        """Write a state; where the disk is full, say so and go on: the one before stays good."""
        self.process.share_buffers(self.model)
        # All ranks take part in these, so they come before only the first one writes.
        random = random_states(self.process)
        passed_over = self._total_passed_over()
        if not self.process.is_main:
            return
        consumed = loader.batch_sampler.consumed_after(iteration - self._first)
        state = RunState(
            iteration=iteration,
            streams=[
                {"name": source.name, "identity": source.identity, "consumed": images}
                for source, images in zip(loader.dataset.sources, consumed, strict=True)
            ],
            best_accuracy=self.best_accuracy,
            history=self.history,
            passed_over=passed_over,
            skipped=self.skipped,
            optimization=asdict(self.plan.optimization),
            random=random,
            options=self._options,
            **self._step.state(),
        )
        try:
            save_state(self.folder.path, self.model, state, self.plan.keep_last)
        except OSError as error:
            self.log(
                f"warning: the state after iteration {iteration:,} could not be saved ({error}); "
                "the one before it stays. Make room, or the run can't be resumed from here."
            )

    def _total_passed_over(self) -> int:
        own = torch.tensor(self.passed_over, device=self.process.device)
        return self._passed_over_before + int(self.process.total(own))

    def _targets(self, batch: Batch) -> dict[str, Tensor]:
        targets = {
            name: torch.from_numpy(codec.encode_batch(batch.texts))
            for name, codec in self.codecs.items()
        }
        if batch.core_area is not None:
            targets |= {"core_area": batch.core_area, "has_core_area": batch.has_core_area}
        device = self.process.device
        return {name: value.to(device, non_blocking=True) for name, value in targets.items()}

    def _report_passed_over(self, lines: Sequence[str]) -> None:
        for line in lines:
            self.passed_over += 1
            if self.passed_over <= PASSED_OVER_SHOWN:
                self.log(f"passed over: {line}")

    def _validate(self, iteration: int) -> None:
        self.process.share_buffers(self.model)
        scores = [self.evaluator(name, s) for name, s in self.validation_sets.items()]
        summed = merge_scores("all", scores)
        accuracy = {column: summed.accuracy(column) for column in summed.correct}
        self.history.append((iteration, accuracy))
        best = max(accuracy.values())
        if not self.process.is_main:
            self.best_accuracy = max(self.best_accuracy, best)
            return
        self._say(iteration, scores, accuracy)
        extra = {"iteration": iteration, "accuracy": accuracy}
        save_checkpoint(self.folder.iteration(iteration), self.model, **extra)
        if best > self.best_accuracy:
            self.best_accuracy = best
            save_checkpoint(self.folder.best, self.model, **extra)
            self.log(f"best so far ({best:.2f}%): {self.folder.best}")

    def _say(
        self, iteration: int, scores: Sequence[SetScore], accuracy: Mapping[str, float]
    ) -> None:
        self.log(f"\nvalidation after iteration {iteration:,}\n{table(scores)}")
        shown = "  ".join(f"{name} {value:.2f}%" for name, value in accuracy.items())
        self.log(f"all validation images: {shown}")
        skipped = {n: getattr(c, "unlearnable", 0) for n, c in self.codecs.items()}
        for name, count in skipped.items():
            if count:
                self.log(f"{count:,} labels so far could not be learned by {name} (on this rank)")
        found = {f"validation/{name}_accuracy": value for name, value in accuracy.items()}
        for score in scores:
            for name in score.correct:
                found[f"validation/{score.name}/{name}_accuracy"] = score.accuracy(name)
        self._write_metrics(iteration, found)

    def _write_step(self, iteration: int, result: StepResult, meter: "_Meter") -> None:
        if self._board is None or iteration % METRICS_INTERVAL:
            return
        found = {f"train/{name}": value for name, value in result.losses.items()} | {
            "train/loss": result.total,
            "train/gradient_norm": result.gradient_norm,
            "train/learning_rate": self._step.optimizer.param_groups[0]["lr"],
            "train/images_per_s": meter.images_per_s,
            "train/data_wait_share": meter.data_wait_share,
            "train/skipped_steps": self.skipped,
        }
        self._write_metrics(iteration, found)

    def _write_metrics(self, iteration: int, found: Mapping[str, float]) -> None:
        """To TensorBoard, and as a line of JSON."""
        for name, value in found.items():
            self._board.add_scalar(name, value, iteration)
        # JSON knows no NaN.
        known = {name: value if math.isfinite(value) else None for name, value in found.items()}
        with self.folder.metrics.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps({"iteration": iteration, **known}) + "\n")


class _Meter:
    """Loss and speed over the last steps."""

    def __init__(self, world_size: int, window: int = 100):
        self._world_size = world_size
        self._steps: deque[tuple[float, int, float, StepResult]] = deque(maxlen=window)
        self.restart()

    def restart(self) -> None:
        """Start timing anew, after something that is not training."""
        self._last = time.monotonic()

    def add(self, images: int, waited: float, result: StepResult) -> None:
        now = time.monotonic()
        self._steps.append((now - self._last, images, waited, result))
        self._last = now

    @property
    def images_per_s(self) -> float:
        """Images a second, of all ranks together."""
        seconds = sum(s[0] for s in self._steps)
        return self._world_size * sum(s[1] for s in self._steps) / max(seconds, 1e-9)

    @property
    def data_wait_share(self) -> float:
        """Share of the time spent waiting for the loader."""
        return sum(s[2] for s in self._steps) / max(sum(s[0] for s in self._steps), 1e-9)

    def shown(self) -> dict[str, str]:
        """Values for the progress line."""
        results = [s[3] for s in self._steps]
        means = {"loss": sum(r.total for r in results) / len(results)}
        if len(results[0].losses) > 1:
            for name in results[0].losses:
                means[name] = sum(r.losses[name] for r in results) / len(results)
        return {
            **{name: f"{mean:.4f}" for name, mean in means.items()},
            "images/s": f"{self.images_per_s:.0f}",
            "data-wait": f"{self.data_wait_share:.0%}",
        }

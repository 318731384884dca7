"""How long a run would take, and how much memory, found out before it starts."""

import copy
import time
from collections.abc import Mapping

from torch.utils.data import DataLoader

from console.progress import duration
from dataset import RecordSet
from engine.memory import peak_mib
from engine.training import Trainer

SCORED = 256  # images of each validation set


def rehearse(trainer: Trainer, loader: DataLoader) -> str:
    """Take a few steps and score some images; what the whole run comes to, in words.

    Args:
        trainer: whose weights are of no use afterwards.
        loader: of its batches.

    """
    plan, validation = trainer.plan, trainer.validation
    step, data = trainer.rehearse(loader)
    step = max(step, data) if loader.num_workers else step + data
    waiting = f", {data:.3f} s of loading its data" if data > 0.5 * step else ""
    images = sum(loader.batch_sampler.counts) * plan.accumulate * trainer.process.world_size
    scoring, total = _scoring(trainer, validation.sets)
    iterations = max(0, plan.optimization.iterations - trainer.first)
    validations = -(-iterations // plan.validation_interval)
    whole = duration(iterations * step + validations * scoring)
    others = ""
    if validation.others:
        seconds, count = _scoring(trainer, validation.others)
        others = f", and {seconds:.1f} s more at each new best and the end ({count:,} images)"
    return (
        f"dry run: {step:.3f} s a step{waiting} ({images / step:.0f} images/s), {scoring:.1f} s "
        f"for each of {validations:,} validations ({total:,} images); {iterations:,} iterations "
        f"would take about {whole}{others}; peak memory so far "
        f"{peak_mib(trainer.process.device.type):,.0f} MiB; nothing was written but the data's "
        "indexes"
    )


def _scoring(trainer: Trainer, sets: Mapping[str, RecordSet]) -> tuple[float, int]:
    """Seconds that scoring sets would take, and their images; some of each are scored for it."""
    seconds, total = 0.0, 0
    for name, records in sets.items():
        started = time.monotonic()
        some = _first(records, SCORED)
        trainer.validation.evaluator(name, some)
        share = len(records.numbers) / max(len(some.numbers), 1)
        seconds += (time.monotonic() - started) * share
        total += len(records.numbers)
    return seconds, total


def _first(records: RecordSet, number: int) -> RecordSet:
    some = copy.copy(records)
    some.numbers = records.numbers[:number]
    return some

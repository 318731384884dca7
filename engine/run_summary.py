"""What a run says of itself in its log: at its start, and at its end."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import nn

from console.progress import RunLog
from engine.distributed import Process
from engine.evaluation import protocol_line
from engine.learning_options import USUAL_RATES
from engine.run_folder import RunFolder, device_line, versions
from engine.training import Plan
from loading.sources import RenderedSource, Source
from records.lmdb_set import LmdbSet
from text import Charset


def say_setup(
    log: RunLog,
    model: nn.Module,
    plan: Plan,
    process: Process,
    sources: Sequence[Source | RenderedSource],
    counts: Sequence[int],
    asked: int,
    scored: Charset,
) -> None:
    """Device, versions, precision, batches and data, at the top of the log."""
    described = ", ".join(f"{k} {v}" for k, v in versions().items())
    log(f"{device_line(process.device)}; {described}")
    parameters = sum(p.numel() for p in model.parameters() if p.requires_grad)
    config = model.config
    colour = "colour" if config.channels == 3 else "grey (--rgb for colour)"
    log(
        f"{parameters:,} trainable parameters; matrix products: {plan.amp}; input "
        f"{config.image_height}x{config.image_width}, {colour}"
    )
    log("losses: " + ", ".join(f"{w:g} x {name}" for name, w in plan.loss_weights.items() if w))
    shares = ", ".join(
        f"{s.name} {c} of {'an endless stream' if s.size is None else f'{s.size:,}'}"
        for s, c in zip(sources, counts, strict=True)
    )
    batches = f", {plan.accumulate} batches a step" if plan.accumulate > 1 else ""
    log(
        f"{process.world_size} process(es), {sum(counts)} images each{batches}, "
        f"{sum(counts) * process.world_size * plan.accumulate} a step ({shares})"
    )
    if sum(counts) != asked:
        log(
            f"warning: the shares of --batch_ratio make {sum(counts)} images of the {asked} of "
            "--batch_size (each is rounded, and at least one image)"
        )
    optimizer, rate = plan.optimization.optimizer, plan.optimization.lr
    if rate >= 100 * USUAL_RATES[optimizer]:
        log(
            f"warning: --lr {rate:g} is far too high for {optimizer}; "
            f"{USUAL_RATES[optimizer]:g} is usual"
        )
    charset = Charset(config.characters)
    log(f"charset {charset.name}: {charset.characters}")
    log(protocol_line(charset, scored))
    for source in sources:
        for path, report in source.describe().items():
            log(f"training {path}: {report}")


def say_scored_sets(
    log: RunLog, sources: Sequence[Source | RenderedSource], **sets_by_kind: Mapping[str, LmdbSet]
) -> None:
    """What is compared, and which of it is no test, as it is trained on."""
    trained = {Path(path).resolve() for source in sources for path in source.describe()}
    for kind, sets in sets_by_kind.items():
        for name, lmdb_set in sets.items():
            log(f"{kind} {name}: {lmdb_set.report}")
            if lmdb_set.path.resolve() in trained:
                log(
                    f"warning: {kind} {name} is trained on, too ({lmdb_set.path}): its accuracy "
                    "says nothing about words that are new to the model"
                )


def outcome(stopped: str | None, best: float, folder: RunFolder) -> str:
    """How a run ended, and where its weights are."""
    if stopped:
        return f"stopped by {stopped}; the same command with --resume auto goes on from here"
    if best < 0:
        return f"done; no weights were kept as the best ones, those of validations: {folder.path}"
    return f"done: best accuracy {best:.2f}%, weights in {folder.best}"

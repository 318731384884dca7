"""What a run says of itself in its log: at its start, and at its end."""

from torch import nn

from console.progress import RunLog
from engine.evaluation import protocol_line
from engine.learning_options import USUAL_RATES
from engine.run_context import RunContext
from engine.run_data import RunData
from engine.run_folder import RunFolder, device_line, versions
from engine.training import Plan
from text import Charset


def say_setup(run: RunContext, model: nn.Module, plan: Plan, data: RunData, asked: int) -> None:
    """Device, versions, precision, batches and data, at the top of the log.

    Args:
        run: whose log it is.
        model: that is trained.
        plan: of the run.
        data: what it trains on.
        asked: images of a process's batch, by the options.

    """
    log, process, counts = run.log, run.process, data.counts
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
        for s, c in zip(data.sources, counts, strict=True)
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
    log(protocol_line(charset, data.scored))
    for source in data.sources:
        for path, report in source.describe().items():
            log(f"training {path}: {report}")


def say_scored_sets(log: RunLog, data: RunData) -> None:
    """What is compared, and which of it is no test, as it is trained on."""
    trained = {path.resolve() for source in data.sources for path in source.paths}
    for kind, sets in (("validation", data.validation), ("evaluation", data.evaluation)):
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

"""Train a scene text recognizer on LMDBs.

One process:   python3 train_final_dist.py --train_data data/training --valid_data data/evaluation …
Two GPUs:      torchrun --nproc_per_node=2 train_final_dist.py …
"""

import os
import random
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader

from augmentation import Augmenter
from console.listing import first_of
from console.progress import RunLog
from console.script_end import fail, interrupted
from dataset import ImageFormat, TrainingDataset, training_loader
from engine.distributed import LaunchError, LostProcessError, Process, distributed, leave
from engine.evaluation import Evaluator
from engine.freezing import FreezeError, freeze
from engine.learning_options import augmentation_settings, loss_weights, optimization
from engine.memory import BatchTooLargeError
from engine.metrics import Metrics, MissingPackageError, need_wandb
from engine.model_options import training_config
from engine.option_error import OptionError
from engine.rehearsal import rehearse
from engine.resume_options import check_against_state, check_same_model
from engine.run_context import RunContext
from engine.run_data import RunData, open_data
from engine.run_folder import RunFolder, RunFolderError
from engine.run_form import run_form
from engine.run_state import ResumedRun, RunState, find_common_state, plain_options
from engine.run_summary import outcome, say_scored_sets, say_setup
from engine.training import NonFiniteLossError, Plan, Trainer
from engine.validation import Validation
from engine.weight_average import WeightAverage
from loading.sampling import MixingSampler
from loading.sources import RenderedSource, Source
from models import ConfigError, ModelConfig, build_model, config_codecs
from models.adapt import load_adapted
from models.checkpoint import Checkpoint, CheckpointError, load_checkpoint, load_strictly
from models.pretrained import IMAGENET_ENTRIES, PretrainedWeightsError
from reading.weights import find_weights
from records.lmdb_file import DataError
from utils import get_args

# What a person can mend: shown as a sentence, without a traceback.
PLAIN_ERRORS = (
    BatchTooLargeError,
    CheckpointError,
    ConfigError,
    DataError,
    FreezeError,
    LaunchError,
    LostProcessError,
    MissingPackageError,
    NonFiniteLossError,
    OptionError,
    OSError,
    PretrainedWeightsError,
    RunFolderError,
)


def train(options: Namespace, process: Process) -> None:
    """Train as the options say."""
    if options.wandb:
        need_wandb()  # before the data are opened, and in a dry run, too
    start = None
    if options.saved_model:
        weights = find_weights(options.saved_model)
        start = load_checkpoint(weights, options.imgH, options.imgW, options.PAD)
    config = training_config(options, start.config if start else None)
    plan = training_plan(options, config)
    augmentation = augmentation_settings(options)
    data = open_data(options, config, process)

    name = options.exp_name or f"{config.name}-Seed{options.manualSeed}"
    with run_folder(options, name, process) as folder:
        log = RunLog(None if options.dry_run else folder.log, enabled=process.is_main)
        resumed = find_resumed(options, config, plan, data.sources, folder, process, log)
        state = resumed.state if resumed else None
        for seed in (random.seed, np.random.seed, torch.manual_seed):
            seed(options.manualSeed)
        model = prepare_model(options, config, start, resumed, log).to(process.device)
        torch.manual_seed(options.manualSeed + process.rank)

        metrics = None
        if process.is_main and not options.dry_run:
            write_description(options, config, plan, process, data, folder)
            first = state.iteration if state else 0
            metrics = Metrics(folder, log, first, options.wandb, vars(options))
        run = RunContext(process, folder, log, metrics)
        say_setup(run, model, plan, data, options.batch_size)
        say_scored_sets(log, data)

        trainer = make_trainer(options, model, plan, data, run, resumed)
        loader = make_loader(options, config, data, augmentation, process, state)
        if options.dry_run:
            log(rehearse(trainer, loader))
            return
        with closing(metrics) if metrics else nullcontext():
            best = trainer.run(loader)
        log(outcome(trainer.stopped, best, folder))


def training_plan(options: Namespace, config: ModelConfig) -> Plan:
    """How long and by which rules to train."""
    return Plan(
        optimization(options),
        validation_interval=options.valInterval,
        save_interval=options.save_interval or options.valInterval,
        keep_last=options.keep_last,
        most_skipped=options.max_skipped,
        amp=options.amp,
        loss_weights=loss_weights(options, config),
        accumulate=options.accumulate,
    )


@contextmanager
def run_folder(options: Namespace, name: str, process: Process) -> Iterator[RunFolder]:
    """The run's folder, locked; for a dry run, one that is gone afterwards.

    Raises:
        RunFolderError: another run's.
        OSError: it can't be written into.

    """
    if not options.dry_run:
        folder = RunFolder(options.saved_path, name)
        if process.is_main:
            folder.lock()
        yield folder
        return
    place = Path(options.saved_path) / name
    if place.exists() and options.resume is None:
        RunFolder(options.saved_path, name).refuse_weights()
    there = next(folder for folder in (place, *place.resolve().parents) if folder.exists())
    if not os.access(there, os.W_OK):
        raise RunFolderError(f"{there} can't be written into; choose another --saved_path.")
    with TemporaryDirectory() as temporary:
        # A state that is to be resumed is looked for in its own place.
        resumed = options.resume is not None and place.exists()
        yield RunFolder(options.saved_path if resumed else temporary, name)


def find_resumed(
    options: Namespace,
    config: ModelConfig,
    plan: Plan,
    sources: Sequence[Source | RenderedSource],
    folder: RunFolder,
    process: Process,
    log: RunLog,
) -> ResumedRun | None:
    """What --resume goes on from; None for a new run.

    Raises:
        CheckpointError: it is damaged, or of another model.
        RunFolderError: nothing to resume, and the folder has a run's weights already.

    """
    resumed = find_common_state(options.resume, folder.path, process, log)
    elsewhere = resumed is not None and resumed.path.parent.resolve() != folder.path.resolve()
    if elsewhere or resumed is None:
        folder.refuse_weights()
    if resumed is None:
        return None
    if options.saved_model:
        log(
            f"--saved_model {options.saved_model} is left aside: the run goes on from its own state"
        )
    state = resumed.state
    check_same_model(resumed.checkpoint.config, config, resumed.path)
    streams = {source.name: source.identity for source in sources}
    told = plain_options(vars(options))
    for line in check_against_state(told, plan.optimization, process.world_size, streams, state):
        log(line)
    return resumed


def prepare_model(
    options: Namespace,
    config: ModelConfig,
    start: Checkpoint | None,
    resumed: ResumedRun | None,
    log: RunLog,
) -> nn.Module:
    """The model with its first or its resumed weights, set to train as the options say."""
    model = build_model(config, options.pretrained and resumed is None)
    fresh: set[str] = set()
    if resumed is None:
        said, fresh = first_weights(model, start, options)
        log(said)
    model.learn_core_areas(options.is_mask_supervision)
    if resumed is not None:
        load_strictly(model, resumed.checkpoint.state_dict, resumed.path)
    if options.freeze is not None:
        used = {n for n, p in model.named_parameters() if p.requires_grad}  # not all ever are
        log(freeze(model, options.freeze or ["guided"]))
        frozen = {n for n, p in model.named_parameters() if not p.requires_grad} & used
        still = [n for n in model.state_dict() if n in fresh & frozen]
        if still:
            log(
                f"warning: --freeze keeps {len(still)} entries random, as they are newly "
                f"initialised, in part or whole: {first_of(still)}. Leave them to be trained, or "
                "start from weights that have them."
            )
    model.label_smoothing = options.label_smoothing
    model.drop_blocks(options.stochastic_depth)
    return model


def first_weights(
    model: nn.Module, start: Checkpoint | None, options: Namespace
) -> tuple[str, set[str]]:
    """Give a new run's model its first weights.

    Returns:
        What they are, and the names of entries that are newly initialised, in part or whole.

    """
    name = model.config.name
    if start is None and options.pretrained:
        fresh = {n for n, _ in model.named_parameters() if not n.startswith(IMAGENET_ENTRIES)}
        return f"{name}: ImageNet weights in the encoder", fresh
    if start is None:
        return f"{name}: newly initialised", {n for n, _ in model.named_parameters()}
    if start.config == model.config:
        load_strictly(model, start.state_dict, options.saved_model)
        return f"{name}: weights of {options.saved_model}", set()
    found = load_adapted(model, start.config, start.state_dict)
    said = f"{name}: weights of {options.saved_model}, adapted\n{found}"
    return said, {*found.partly, *found.initialised}


def make_trainer(
    options: Namespace,
    model: nn.Module,
    plan: Plan,
    data: RunData,
    run: RunContext,
    resumed: ResumedRun | None,
) -> Trainer:
    """What trains the model, and scores it or the average of its weights."""
    wrapped = run_form(
        model,
        run.process,
        options.amp,
        options.channels_last,
        options.compile,
        options.recompute,
    )
    average = WeightAverage(model, options.ema) if options.ema is not None else None
    evaluator = Evaluator(
        average.model if average else model,
        config_codecs(model.config),
        ImageFormat.of(model.config),
        run.process,
        options.batch_size,
        options.workers,
        data.scored,
    )
    state = resumed.state if resumed else None
    validation = Validation(
        evaluator, data.validation, data.evaluation, run, state, options.keep_iterations
    )
    return Trainer(model, wrapped, plan, validation, run, vars(options), resumed, average)


def make_loader(
    options: Namespace,
    config: ModelConfig,
    data: RunData,
    augmentation: Mapping[str, Any] | None,
    process: Process,
    state: RunState | None,
) -> DataLoader:
    """Batches of the sources, from where a resumed run's data ended."""
    augmenter = Augmenter(**augmentation) if augmentation else None
    dataset = TrainingDataset(
        data.sources, ImageFormat.of(config), augmenter, data.boxes, config_codecs(config)
    )
    sampler = MixingSampler(
        [source.size for source in data.sources],
        data.counts,
        options.manualSeed,
        process.rank,
        process.world_size,
        [stream["consumed"] for stream in state.streams] if state else None,
    )
    return training_loader(dataset, sampler, options.workers, process.device.type == "cuda")


def write_description(
    options: Namespace,
    config: ModelConfig,
    plan: Plan,
    process: Process,
    data: RunData,
    folder: RunFolder,
) -> None:
    """Options as given and what they come to, model and data into the run's folder."""
    folder.write_options(
        {**vars(options), "batch_images_per_process": sum(data.counts)},
        plan=asdict(plan),
        device=str(process.device),
        model=config.to_dict() | {"bpe_vocabulary": None, "wp_vocabulary": None},
        data={s.name: {k: str(v) for k, v in s.describe().items()} for s in data.sources},
        validation={name: str(opened.report) for name, opened in data.validation.items()},
    )


def main() -> None:
    """Parse, start, train."""
    options = get_args("train_final_dist")
    try:
        with distributed(
            options.device,
            options.timeout,
            world_size=options.world_size,
            local_rank=options.local_rank,
        ) as process:
            train(options, process)
    except PLAIN_ERRORS as error:
        fail(error, leave)
    except KeyboardInterrupt:
        kept = "--resume auto goes on from the last state saved, if any"
        interrupted("it was a dry run" if options.dry_run else kept, leave)


if __name__ == "__main__":
    main()

"""Everything that a run needs to go on as if it had never stopped; written and found again.

A state is a checkpoint of the model (so it can be tested and read with, too) with the rest beside
it under `training`: plain values and tensors only.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.distributed as dist
from torch import nn

from console.progress import RunLog
from engine.distributed import Process
from models.checkpoint import Checkpoint, CheckpointError, load_checkpoint, save_checkpoint


@dataclass(frozen=True)
class RunState:
    """Where a run is.

    Attributes:
        iteration: steps taken.
        streams: for each source its `name`, its `identity` (a digest), and how many images all
            ranks `consumed` of it; what a loader had made ahead doesn't count.
        best_accuracy: of the best weights that were kept, in percent; -1 where none were.
        history: (iteration, accuracy by granularity and fused) of every validation.
        passed_over: how often a record could not be used, on all ranks.
        skipped: steps whose loss or gradient was no finite number.
        optimization: how the weights are moved.
        optimizer, schedule, scaler: their own states.
        random: states of the random generators of every rank.
        options: of the command line.
        average: of the weights' moving average; None where there is none.
        validation: identity of the sets that the best accuracy is of; empty where it is not known.

    """

    iteration: int
    streams: list[dict[str, Any]]
    best_accuracy: float
    history: list
    passed_over: int
    skipped: int
    optimization: dict[str, Any]
    optimizer: dict[str, Any]
    schedule: dict[str, Any]
    scaler: dict[str, Any]
    random: list[dict[str, Any]]
    options: dict[str, Any]
    average: dict[str, Any] | None = None
    validation: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, checkpoint: Checkpoint, path: Path) -> "RunState":
        """The state in a checkpoint.

        Raises:
            CheckpointError: it has none, or not a whole one.

        """
        stored = checkpoint.extra.get("training")
        names = {field.name for field in fields(cls)}
        if not isinstance(stored, Mapping) or not names - {"average", "validation"} <= set(stored):
            raise CheckpointError(
                f"{path} has weights, but not the state of a run: --resume takes a last.pth of "
                "this version. To start a new run from its weights, use --saved_model."
            )
        return cls(**{name: stored[name] for name in names & set(stored)})


def save_state(
    folder: Path, model: nn.Module, state: RunState, keep: int, renews: bool = False
) -> None:
    """Write `last.pth`; the ones before move on to `last_2.pth`, …

    If it is interrupted after the new state was written and before it was renamed, that state is
    `last.pth.next`, which `find_state` looks at first.

    Args:
        folder: of the run.
        model: not wrapped.
        state: the rest.
        keep: how many to keep, at least 1.
        renews: this is the newest state once more, with the scores of its weights: it takes that
            one's place.

    Raises:
        OSError: a full disk; what was there stays good.

    """
    written = state_path(folder, 0)
    scored, accuracy = state.history[-1] if state.history else (0, {})
    if scored != state.iteration or state.average is not None:  # other weights' than these
        accuracy = {}
    # Not `asdict`, which would copy the optimizer's tensors.
    training = {field.name: getattr(state, field.name) for field in fields(state)}
    save_checkpoint(written, model, iteration=state.iteration, accuracy=accuracy, training=training)
    for place in range(0 if renews else keep - 1, 0, -1):
        if state_path(folder, place).exists():
            state_path(folder, place).replace(state_path(folder, place + 1))
    written.replace(state_path(folder, 1))
    for path in folder.glob("last_*.pth"):  # of a run that kept more
        place = path.stem.removeprefix("last_")
        if place.isdecimal() and int(place) > keep:
            path.unlink()


def state_path(folder: Path, place: int) -> Path:
    """Where the newest state (1), the one before it (2), … is; 0 for one that was just written."""
    return folder / {0: "last.pth.next", 1: "last.pth"}.get(place, f"last_{place}.pth")


class ResumedRun(NamedTuple):
    """What a run goes on from.

    Attributes:
        path: of the state.
        newest: it is the newest one of its folder that is good, and nothing newer is to be kept.
        checkpoint: with the weights.
        state: all else.

    """

    path: Path
    newest: bool
    checkpoint: Checkpoint
    state: RunState


def find_state(resume: str, folder: Path, log: RunLog) -> ResumedRun | None:
    """The state to go on from, with its weights.

    Args:
        resume: `auto` for the newest good one of the run's own folder; else a file, or the folder
            of a run.
        folder: of the run.
        log: told what was found.

    Returns:
        None where `auto` finds nothing.

    Raises:
        CheckpointError: no state where one was named, or none of those there is good.

    """
    place = folder if resume == "auto" else Path(resume)
    if place.is_file():
        paths = [place]
    else:
        numbered = sorted(place.glob("last_*.pth"), key=lambda p: (len(p.name), p.name))
        first = (state_path(place, 0), state_path(place, 1))
        paths = [p for p in (*first, *numbered) if p.is_file()]
    if not paths:
        if resume == "auto":
            log(f"nothing to resume in {folder}: starting afresh")
            return None
        raise CheckpointError(f"There is no last.pth to resume at {place}; check --resume.")
    problems = []
    for path in paths:
        try:
            checkpoint = load_checkpoint(path)
            state = RunState.of(checkpoint, path)
        except CheckpointError as error:
            problems.append(str(error))
            log(f"warning: can't resume from {path.name}: {error}")
            continue
        log(f"resuming {path} after iteration {state.iteration:,}")
        # One that was named may have newer ones beside it; before one that was found, there are
        # damaged ones only. One that a kill left beside `last.pth` is not in its place yet.
        newest = path.name == "last.pth" or (place.is_dir() and path != paths[0])
        return ResumedRun(path, newest, checkpoint, state)
    afresh = "Remove the file(s) to start afresh, or name" if resume == "auto" else "Name"
    raise CheckpointError(
        f"No state in {place} can be resumed: {' '.join(problems)} {afresh} another run with "
        "--resume."
    )


def find_common_state(
    resume: str | None, folder: Path, process: Process, log: RunLog
) -> ResumedRun | None:
    """As `find_state`, on every rank; a collective call. None where nothing is resumed.

    Raises:
        CheckpointError: as `find_state`; or not all ranks find the same.

    """
    if resume is None:
        return None
    found = find_state(resume, folder, log)
    iteration = found.state.iteration if found else None
    if process.world_size > 1:
        others: list[Any] = [None] * process.world_size
        dist.all_gather_object(others, iteration)
        if len(set(others)) > 1:
            raise CheckpointError(
                f"Not all processes find the same state in {folder}: rank 0 that of iteration "
                f"{others[0]}, rank {process.rank} that of {iteration}. Several machines need "
                "--saved_path on a disk that they share."
            )
    return found


def random_states(process: Process) -> list[dict[str, Any]]:
    """The states of all ranks' random generators, on every rank; a collective call."""
    name, keys, position, has_gauss, gauss = np.random.get_state()
    own = {
        "python": random.getstate(),
        "numpy": (name, keys.tolist(), int(position), int(has_gauss), float(gauss)),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state(process.device) if process.device.type == "cuda" else None,
    }
    if process.world_size == 1:
        return [own]
    gathered: list[Any] = [None] * process.world_size
    dist.all_gather_object(gathered, own)
    return gathered


def restore_random(states: Sequence[Mapping[str, Any]], process: Process) -> bool:
    """Give this rank its generators' states back; whether there was one for it."""
    if process.rank >= len(states):
        return False
    own = states[process.rank]
    random.setstate(own["python"])
    name, keys, *rest = own["numpy"]
    np.random.set_state((name, np.array(keys, np.uint32), *rest))
    torch.set_rng_state(own["torch"])
    if process.device.type == "cuda" and own["cuda"] is not None:
        torch.cuda.set_rng_state(own["cuda"], process.device)
    return True


def plain_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options as a checkpoint may hold them: paths as text."""
    return {
        name: [str(v) for v in value] if isinstance(value, list) else value
        for name, value in options.items()
    }

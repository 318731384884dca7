"""What a resumed run may change, and what it may not."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from engine.optimization import ENDING, Optimization
from engine.option_error import OptionError
from engine.run_state import RunState
from models import ModelConfig


def check_same_model(own: ModelConfig, asked: ModelConfig, path: Path) -> None:
    """Refuse to resume a run with another model than its own.

    Raises:
        OptionError: naming what differs.

    """
    before, now = own.to_dict(), asked.to_dict()
    differ = [f"{n} was {before[n]} and is {now[n]} now" for n in now if before[n] != now[n]]
    if differ:
        raise OptionError(
            f"The run of {path} has another model: {'; '.join(differ)[:400]}. Give the options it "
            "was started with; or start a new run from its weights, with --saved_model."
        )


# What a run can't change in its midst: its optimizer and schedule, and what decides on the draws.
FIXED = ("amp", "manualSeed", "select_data", "freeze", "is_mask_supervision")
# What an `Optimization` calls otherwise than its option.
_OPTION = {"iterations": "num_iter"}
# What changes nothing in the weights, or is compared as the `Optimization` that it comes to.
FREE = ("resume", "saved_model", "saved_path", "exp_name", "workers", "save_interval", "keep_last")
FREE += ("local_rank", "world_size", "dist_url", "device", "valInterval", "max_skipped")
FREE += ("keep_iterations", "dry_run", "timeout", "wandb", "eval_data")
FREE += ("adam", "adamw", "sgd", "lr", "beta1", "rho", "eps", "weight_decay", "layer_decay")
FREE += ("grad_clip", "scheduler", "schedule", "warmup", "FT", "num_iter")


def check_against_state(
    options: Mapping[str, Any],
    optimization: Optimization,
    world_size: int,
    streams: Mapping[str, str],
    state: RunState,
) -> list[str]:
    """Refuse options that a resumed run can't change; tell what else can't be exact.

    Args:
        options: of this start, as `plain_options`.
        optimization: what they come to.
        world_size: number of processes.
        streams: identity of each source, by name.
        state: of the run.

    Raises:
        OptionError: naming the options, and both values.

    """
    own = state.options
    changed = [n for n in own if n in options and n not in FREE and options[n] != own[n]]
    fixed = [f"--{n} was {own[n]} and is {options[n]} now" for n in changed if n in FIXED]
    before, now = state.optimization, asdict(optimization)
    differ = [n for n in now if before.get(n) != now[n]]
    longer = now["schedule"] not in ENDING and "iterations" in differ
    if longer:
        differ.remove("iterations")
    fixed += [f"{_OPTION.get(n, n)} was {before.get(n)} and is {now[n]} now" for n in differ]
    if fixed:
        told = ", ".join(fixed)
        raise OptionError(
            f"A run can't change this in its midst: {told}. Give the options it was started with; "
            "or start a new run from its weights, with --saved_model."
        )
    notes = [f"changed in this run: --{n}, {own[n]} before, {options[n]} now" for n in changed]
    if longer:
        notes.append(f"changed in this run: --num_iter, now {now['iterations']}")
    for stream in state.streams:
        name, identity = stream["name"], stream["identity"]
        # Older versions knew a source by its number of records.
        if name in streams and streams[name] != identity and isinstance(identity, str):
            notes.append(
                f"warning: {name} is not the same any more: its images come in another order, or "
                "are others"
            )
    if len(state.random) != world_size:
        notes.append(
            f"warning: {len(state.random)} process(es) before, {world_size} now: the data go on at "
            "the right sample, but sums in another order, random states and BatchNorm statistics "
            "of other ranks, and a batch of another size over all can't give the same numbers"
        )
    return notes

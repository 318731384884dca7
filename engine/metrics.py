"""What a run measures, kept: TensorBoard, JSON lines, and Weights & Biases where asked for."""

import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import ModuleType
from typing import Any
from uuid import uuid4

import numpy as np
from PIL import Image
from torch.utils.tensorboard import SummaryWriter

from console.progress import RunLog
from engine.run_folder import RunFolder
from system.error_cause import cause_of
from system.whole_file import append_whole

# Its writer does not recover from an error; the events of a resumed run go on.
TENSORBOARD = "TensorBoard's events"
WANDB = "what Weights & Biases is told"


class MissingPackageError(RuntimeError):
    """A package that an option needs is not installed, or can't be used."""


class Metrics:
    """Writes numbers and pictures of a run.

    What the folder does not take, as on a full disk, is told once and ends no run.

    Args:
        folder: of the run.
        log: is told what can't be written.
        first: iteration that the run goes on from; what an interrupted run drew beyond it is drawn
            again.
        project: of Weights & Biases; None for none.
        options: of the run, shown there.

    Raises:
        MissingPackageError: a project, and no wandb package, or none that can be started.

    """

    def __init__(
        self,
        folder: RunFolder,
        log: RunLog,
        first: int = 0,
        project: str | None = None,
        options: Mapping[str, Any] | None = None,
    ):
        self._lines, self._log = folder.metrics, log
        self._told: set[str] = set()
        self._wandb = _start_wandb(folder, project, options or {}) if project else None
        self._board = SummaryWriter(str(folder.tensorboard), purge_step=first + 1)

    def write(self, iteration: int, found: Mapping[str, float]) -> None:
        """Numbers by name."""
        # JSON knows no NaN.
        known = {name: value if math.isfinite(value) else None for name, value in found.items()}
        with self._spared(str(self._lines)):
            append_whole(self._lines, json.dumps({"iteration": iteration, **known}) + "\n")
        with self._spared(TENSORBOARD):
            for name, value in found.items():
                self._board.add_scalar(name, value, iteration)
        if self._wandb is not None:
            with self._spared(WANDB, Exception):  # the package raises its own, as of a network
                self._wandb.log(dict(found), step=iteration)

    def show(self, iteration: int, name: str, picture: Image.Image) -> None:
        """A picture."""
        with self._spared(TENSORBOARD):
            self._board.add_image(name, np.asarray(picture), iteration, dataformats="HWC")
        if self._wandb is not None:
            import wandb

            with self._spared(WANDB, Exception):
                self._wandb.log({name: wandb.Image(picture)}, step=iteration)

    def close(self) -> None:
        """Hand over what is still held back."""
        with self._spared(TENSORBOARD):
            self._board.close()
        if self._wandb is not None:
            with self._spared(WANDB, Exception):
                self._wandb.finish()

    @contextmanager
    def _spared(self, place: str, errors: type[Exception] = OSError) -> Iterator[None]:
        try:
            yield
        except errors as error:
            if place not in self._told:
                self._told.add(place)
                self._log(f"warning: {place} can't be written ({error}), and will lack numbers")


def need_wandb() -> ModuleType:
    """The package of Weights & Biases.

    Raises:
        MissingPackageError: it is not installed.

    """
    try:
        import wandb
    except ImportError:
        raise MissingPackageError(
            "--wandb needs the wandb package, which is not installed: pip install wandb."
        ) from None
    return wandb


def _start_wandb(folder: RunFolder, project: str, options: Mapping[str, Any]):
    wandb = need_wandb()
    # The same id, so that a resumed run goes on in the same curves; other runs may have its name.
    place = folder.path / "wandb_id"
    if not place.exists():
        place.write_text(uuid4().hex, encoding="utf-8")
    try:
        return wandb.init(
            project=project,
            id=place.read_text(encoding="utf-8"),
            name=folder.path.name,
            dir=str(folder.path),
            config=dict(options),
            resume="allow",
        )
    except Exception as error:  # of the package's own: no network, or nobody is logged in
        raise MissingPackageError(
            f"--wandb {project} can't be started: {cause_of(error)}"
        ) from None

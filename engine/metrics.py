"""What a run measures, kept: TensorBoard, JSON lines, and Weights & Biases where asked for."""

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image
from torch.utils.tensorboard import SummaryWriter

from engine.run_folder import RunFolder


class MissingPackageError(RuntimeError):
    """A package that an option needs, and that is not installed."""


class Metrics:
    """Writes numbers and pictures of a run.

    Args:
        folder: of the run.
        first: iteration that the run goes on from; what an interrupted run drew beyond it is drawn
            again.
        project: of Weights & Biases; None for none.
        options: of the run, shown there.

    Raises:
        MissingPackageError: a project, and no wandb package.

    """

    def __init__(
        self,
        folder: RunFolder,
        first: int = 0,
        project: str | None = None,
        options: Mapping[str, Any] | None = None,
    ):
        self._lines = folder.metrics
        self._wandb = _start_wandb(folder, project, options or {}) if project else None
        self._board = SummaryWriter(str(folder.tensorboard), purge_step=first + 1)

    def write(self, iteration: int, found: Mapping[str, float]) -> None:
        """Numbers by name."""
        for name, value in found.items():
            self._board.add_scalar(name, value, iteration)
        # JSON knows no NaN.
        known = {name: value if math.isfinite(value) else None for name, value in found.items()}
        with self._lines.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps({"iteration": iteration, **known}) + "\n")
        if self._wandb is not None:
            self._wandb.log(dict(found), step=iteration)

    def show(self, iteration: int, name: str, picture: Image.Image) -> None:
        """A picture."""
        self._board.add_image(name, np.asarray(picture), iteration, dataformats="HWC")
        if self._wandb is not None:
            import wandb

            self._wandb.log({name: wandb.Image(picture)}, step=iteration)

    def close(self) -> None:
        """Hand over what is still held back."""
        self._board.close()
        if self._wandb is not None:
            self._wandb.finish()


def _start_wandb(folder: RunFolder, project: str, options: Mapping[str, Any]):
    try:
        import wandb
    except ImportError:
        raise MissingPackageError(
            "--wandb needs the wandb package, which is not installed: pip install wandb."
        ) from None
    # The same name and id, so that a resumed run goes on in the same curves.
    identity = "".join(c if c.isalnum() or c in "-_" else "-" for c in folder.path.name)
    return wandb.init(
        project=project,
        id=identity,
        name=folder.path.name,
        dir=str(folder.path),
        config=dict(options),
        resume="allow",
    )

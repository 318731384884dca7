"""The folder of a run: its log, options, versions and checkpoints."""

import json
import platform
import subprocess
import sys
import time
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout

PACKAGES = ("torchvision", "timm", "lmdb", "numpy", "pillow", "opencv-python-headless")


class RunFolderError(ValueError):
    """A folder that a run must not write into."""


class RunFolder:
    """`<saved_path>/<exp_name>/`, made where it is not there.

    Raises:
        OSError: it can't be made.

    """

    def __init__(self, saved_path: Path | str, name: str):
        self.path = Path(saved_path) / name
        self.path.mkdir(parents=True, exist_ok=True)
        self._lock: FileLock | None = None

    def refuse_weights(self) -> None:
        """Refuse a folder that holds another run's weights; for a run that does not go on with it.

        Raises:
            RunFolderError: another run's weights lie there.

        """
        # Of one that was killed while it wrote its first state, nothing is left but a part of it.
        states = [p for p in self.path.glob("last*.pth*") if p.is_file() and p.suffix != ".partial"]
        if states or self.best.exists() or any(self.path.glob("iter_*.pth")):
            cure = (
                "go on with that run by --resume auto, " if states else "it has no state to go on; "
            )
            raise RunFolderError(
                f"{self.path} holds the weights of another run, which this one would overwrite; "
                f"{cure}choose another --exp_name, or move that folder away."
            )

    def lock(self) -> None:
        """Keep other runs out until this process ends, however it ends.

        Raises:
            RunFolderError: another run is in it.

        """
        self._lock = FileLock(self.path / "run.lock")
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise RunFolderError(
                f"Another run is writing into {self.path} now; wait for its end, or choose "
                "another --exp_name."
            ) from None

    @property
    def log(self) -> Path:
        """Everything the run says."""
        return self.path / "log.txt"

    @property
    def tensorboard(self) -> Path:
        """TensorBoard's event files."""
        return self.path / "tensorboard"

    @property
    def best(self) -> Path:
        """Weights of the best validation so far."""
        return self.path / "best_accuracy.pth"

    @property
    def metrics(self) -> Path:
        """Every metric, as JSON lines; after a resumption, the last line of an iteration counts."""
        return self.path / "metrics.jsonl"

    def nonfinite(self, rank: int) -> Path:
        """Records of a rank's batches whose loss was no finite number, as JSON lines."""
        return self.path / f"nonfinite-rank{rank}.jsonl"

    def passed_over(self, rank: int) -> Path:
        """Records that a rank could not use, and why, a line each."""
        return self.path / f"passed_over-rank{rank}.txt"

    def iteration(self, number: int) -> Path:
        """Weights after an iteration."""
        return self.path / f"iter_{number}.pth"

    def write_options(self, options: Mapping[str, Any], **more: Any) -> None:
        """Keep the resolved options, versions and command of the run in `options.json`."""
        contents = {
            "command": [Path(sys.executable).name, *sys.argv],
            "options": dict(options),
            "versions": versions(),
            "git_commit": git_commit(),
            **more,
        }
        text = json.dumps(contents, indent=2, default=str) + "\n"
        (self.path / "options.json").write_text(text, encoding="utf-8")


def new_results(folder: Path) -> Path:
    """A place without suffix in a folder that no other test's log or JSON has."""
    stamp = time.strftime("test-%Y%m%d-%H%M%S")
    names = [stamp, *(f"{stamp}-{number}" for number in range(2, 1000))]
    return next(
        folder / name
        for name in names
        if not (folder / f"{name}.json").exists() and not (folder / f"{name}.log").exists()
    )


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that results depend on."""
    # torch's own word tells which build it is.
    found = {"python": platform.python_version(), "torch": torch.__version__}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def git_commit() -> str | None:
    """Commit of the code, with a mark where files were changed; None outside a checkout."""
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=40"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return described.stdout.strip()


def device_line(device: torch.device) -> str:
    """The device, in words."""
    if device.type == "cuda":
        return f"{torch.cuda.get_device_name(device)} ({device})"
    return f"CPU, {torch.get_num_threads()} threads"

"""The folder of a run: its log, options, versions and checkpoints."""

import json
import platform
import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

PACKAGES = ("torch", "torchvision", "timm", "lmdb", "numpy", "pillow", "opencv-python-headless")


class RunFolder:
    """`<saved_path>/<exp_name>/`; made by the first rank.

    Raises:
        OSError: it can't be made.

    """

    def __init__(self, saved_path: Path | str, name: str):
        self.path = Path(saved_path) / name
        self.path.mkdir(parents=True, exist_ok=True)

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


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that results depend on."""
    found = {"python": platform.python_version()}
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

"""Fixtures that all tests share."""

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"


@pytest.fixture(scope="session", autouse=True)
def two_threads():
    torch.set_num_threads(2)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with reference fixtures and real images; it is not part of the repository."""
    if not SHARED.is_dir():
        pytest.skip("needs the reference fixtures in ../shared, which are not here")
    return SHARED


@pytest.fixture(scope="session")
def fixtures(shared):
    """Loads a fixture by file name."""

    def load(name: str):
        path = shared / "reference" / "fixtures" / name
        if path.suffix == ".json":
            return json.loads(path.read_text(encoding="utf-8"))
        with np.load(path, allow_pickle=False) as arrays:
            return dict(arrays)

    return load


@pytest.fixture(scope="session")
def manifest(shared):
    """Shapes of an official state dict, by name without prefix."""

    def load(name: str) -> dict[str, tuple[int, ...]]:
        path = shared / "reference" / "manifests" / f"{name}.json"
        contents = json.loads(path.read_text(encoding="utf-8"))
        prefix = contents["checkpoint_prefix"].replace("(none)", "")
        return {
            key.removeprefix(prefix): tuple(value["shape"])
            for key, value in contents["state_dict"].items()
        }

    return load


@pytest.fixture(scope="session")
def reference(shared) -> ModuleType:
    """The formula that makes weights, inputs, labels and boxes from names and shapes."""
    path = shared / "reference" / "reference_weights.py"
    spec = importlib.util.spec_from_file_location("reference_weights", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module

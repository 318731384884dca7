"""Fixtures that all tests share."""

import importlib.util
import io
import json
import socket
from pathlib import Path
from types import ModuleType

import lmdb
import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from records.benchmarks import EIGHT
from records.lmdb_set import close_environments

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"


@pytest.fixture(scope="session", autouse=True)
def two_threads_for_fixtures():
    torch.set_num_threads(2)


@pytest.fixture(autouse=True)
def two_threads():
    """As the recorded numbers had, whatever a tool that was run by the test before has set."""
    torch.set_num_threads(2)


@pytest.fixture
def one_thread(two_threads):
    """For small models: threads cost them more than they save, the more so beside another job."""
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(2)


@pytest.fixture(scope="session")
def free_port():
    """Finds a port of this machine that nobody listens on."""

    def find() -> int:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            return probe.getsockname()[1]

    return find


@pytest.fixture(autouse=True)
def no_environment_stays_open():
    """LMDB refuses a path that is open already, as after a test that failed."""
    yield
    close_environments()


@pytest.fixture(scope="session")
def encode_image():
    """Makes the bytes of a small image file with text on it."""
    return encoded_image


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
    return _loaded(shared / "reference" / "reference_weights.py")


@pytest.fixture(scope="session")
def browser() -> ModuleType:
    """Headless Chromium, as `tests/browser.py` drives it."""
    module = _loaded(Path(__file__).parent / "browser.py")
    if module.COMMAND is None:
        pytest.skip("needs the chromium command (Debian's package chromium), which is not here")
    return module


@pytest.fixture(scope="session")
def small_models() -> ModuleType:
    """What `tests/small_models.py` can do to a random model."""
    return _loaded(Path(__file__).parent / "small_models.py")


@pytest.fixture(scope="session")
def small_acds() -> ModuleType:
    """The models and batches of `tests/small_acds.py`."""
    return _loaded(Path(__file__).parent / "small_acds.py")


@pytest.fixture(scope="session")
def training_steps() -> ModuleType:
    """The steps of `tests/training_steps.py`, and their comparison."""
    return _loaded(Path(__file__).parent / "training_steps.py")


@pytest.fixture(scope="session")
def script_forks() -> ModuleType:
    """Scripts without their imports' seconds, as `tests/script_forks.py` runs them."""
    return _loaded(Path(__file__).parent / "script_forks.py")


def _loaded(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def encoded_image(text: str = "", size: tuple[int, int] = (60, 20), form: str = "PNG") -> bytes:
    """A small image with text on it, as the bytes of a file."""
    shade = 40 + sum(map(ord, text)) % 150
    image = Image.new("RGB", size, (shade, 90, 200 - shade))
    ImageDraw.Draw(image).text((3, 3), text, fill="white")
    stream = io.BytesIO()
    image.save(stream, form)
    return stream.getvalue()


@pytest.fixture(scope="session")
def make_lmdb():
    """Writes an LMDB: (image bytes, label) records, None for a key that is left out."""

    def make(path: Path, records, declared: int | None = None, **extra: bytes) -> Path:
        path.mkdir(parents=True)
        environment = lmdb.open(str(path), map_size=2**24)
        with environment, environment.begin(write=True) as transaction:
            for number, (image, label) in enumerate(records, start=1):
                if image is not None:
                    transaction.put(b"image-%09d" % number, image)
                if label is not None:
                    stored = label.encode("utf-8") if isinstance(label, str) else label
                    transaction.put(b"label-%09d" % number, stored)
            count = len(records) if declared is None else declared
            if count >= 0:
                transaction.put(b"num-samples", str(count).encode())
            for key, value in extra.items():
                transaction.put(key.replace("_", "-").encode(), value)
        (path / "lock.mdb").unlink(missing_ok=True)
        return path

    return make


WORDS = ["cat", "dog", "sun", "tea", "map", "ink", "red", "owl", "fox", "jam"]


@pytest.fixture(scope="session")
def data_tree(tmp_path_factory, make_lmdb) -> Path:
    """The README's tree with ten small images in each set."""
    root = tmp_path_factory.mktemp("data")
    records = [(encoded_image(word), word) for word in WORDS]
    for name in ("training/MJ/MJ_train", "training/MJ/MJ_valid", "training/MJ/MJ_test"):
        make_lmdb(root / name, records)
    # As the real ones, ST alone has character boxes.
    boxes = {
        f"boxes_{number:09d}": json.dumps(
            [[c, 3 + 6 * i, 3, 9 + 6 * i, 14] for i, c in enumerate(word)]
        ).encode()
        for number, (_, word) in enumerate(records[::-1], start=1)
    }
    make_lmdb(root / "training/ST", records[::-1], **boxes)
    for name in EIGHT:
        make_lmdb(root / "evaluation" / name, records[:4])
    return root

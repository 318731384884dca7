"""Small data sets in the layouts of the real ones."""

import io
import json
from collections.abc import Callable
from pathlib import Path

import lmdb
import numpy as np
import pytest
import scipy.io
from PIL import Image, ImageDraw

from console.progress import RunLog
from converters.conversion import ConversionReport, convert
from converters.scenes import Cutting
from converters.synthtext import SynthText


@pytest.fixture(scope="session")
def converted() -> Callable:
    """Converts a source; returns the report, and the LMDB's keys and values."""

    def run(source, output: Path, jobs: int = 1) -> tuple[ConversionReport, dict[bytes, bytes]]:
        report = convert(source, output, jobs, RunLog(enabled=False))
        return report, read_all(output)

    return run


@pytest.fixture(scope="session")
def read_lmdb() -> Callable:
    return read_all


def read_all(path: Path) -> dict[bytes, bytes]:
    with lmdb.open(str(path), readonly=True, lock=False) as env, env.begin() as transaction:
        return dict(transaction.cursor())


@pytest.fixture(scope="session")
def labels() -> Callable:
    """The labels of an LMDB's contents, in order."""
    return lambda stored: [
        stored[b"label-%09d" % number].decode()
        for number in range(1, int(stored[b"num-samples"]) + 1)
    ]


@pytest.fixture(scope="session")
def boxes() -> Callable:
    """The boxes of a record of an LMDB's contents; None without."""

    def read(stored: dict[bytes, bytes], number: int) -> list | None:
        value = stored.get(b"boxes-%09d" % number)
        return None if value is None else json.loads(value)

    return read


def cells(items) -> np.ndarray:
    """A MATLAB cell array 1 x N."""
    array = np.empty((1, len(items)), object)
    for number, item in enumerate(items):
        array[0, number] = item
    return array


def matlab_quads(quads) -> np.ndarray:
    """[N, 4, 2] as 2 x 4 x N or, as MATLAB leaves out a last axis of 1, 2 x 4."""
    array = np.asarray(quads, np.float64).reshape(-1, 4, 2).T.astype(np.float32)
    return array[:, :, 0] if array.shape[2] == 1 else array


@pytest.fixture(scope="session")
def save_synthtext() -> Callable:
    """Writes a `gt.mat` of (path, strings, word quads, character quads) for each image."""

    def save(file: Path, images, **changed) -> None:
        variables = {
            "imnames": cells([np.array([path]) for path, *_ in images]),
            "txt": cells([np.array(strings) for _, strings, *_ in images]),
            "wordBB": cells([matlab_quads(quads) for *_, quads, _ in images]),
            "charBB": cells([matlab_quads(quads) for *_, quads in images]),
        }
        variables = {k: v for k, v in {**variables, **changed}.items() if v is not None}
        scipy.io.savemat(file, variables, do_compression=True)

    return save


def rectangle(left: float, top: float, right: float, bottom: float) -> list[list[float]]:
    return [[left, top], [right, top], [right, bottom], [left, bottom]]


def character_quads(word: str, quad: list[list[float]]) -> list[list[list[float]]]:
    """A quad for each character, that of the word cut into equal parts."""
    top_left, top_right, bottom_right, bottom_left = np.array(quad, float)
    shares = np.linspace(0, 1, len(word) + 1)[:, None]
    with np.errstate(invalid="ignore"):
        top = top_left + shares * (top_right - top_left)
        bottom = bottom_left + shares * (bottom_right - bottom_left)
    return [
        [top[k].tolist(), top[k + 1].tolist(), bottom[k + 1].tolist(), bottom[k].tolist()]
        for k in range(len(word))
    ]


@pytest.fixture(scope="session")
def scene() -> Callable:
    """An annotated image of (word, quad): (path, strings, word quads, character quads)."""

    def make(path: str, words, strings=None):
        quads = [quad for _, quad in words]
        characters = [c for word, quad in words for c in character_quads(word, quad)]
        return path, strings or [word for word, _ in words], quads, characters

    return make


@pytest.fixture(scope="session")
def many(scene, box) -> Callable:
    """As many annotated images of three words each."""

    def make(count: int = 60) -> list:
        return [
            scene(f"{k % 3}/{k}.jpg", [(f"w{k}", box(5, 5 + j, 45 + k, 25 + j)) for j in range(3)])
            for k in range(count)
        ]

    return make


@pytest.fixture
def source(tmp_path, save_synthtext, draw) -> Callable:
    """Opens a SynthText of some images; their photos are drawn with the words' quads in red."""

    def make(
        *images, rectify=False, photos=True, quality=95, letters_and_digits=False, **changed
    ) -> SynthText:
        folder = tmp_path / "in"
        for path, _, quads, _ in images if photos else ():
            draw(folder / path, [(quad, "red") for quad in quads])
        folder.mkdir(exist_ok=True)
        save_synthtext(folder / "gt.mat", images, **changed)
        cutting = Cutting(folder, quality, rectify)
        return SynthText(folder / "gt.mat", cutting, RunLog(enabled=False), letters_and_digits)

    return make


@pytest.fixture(scope="session")
def box() -> Callable:
    """An upright quad."""
    return rectangle


@pytest.fixture(scope="session")
def draw() -> Callable:
    """Writes a photo, grey, with quads of a colour each."""

    def write(file: Path, quads=(), size=(200, 120), form: str = "JPEG") -> None:
        image = Image.new("RGB", size, (90, 90, 90))
        for quad, colour in quads:
            ImageDraw.Draw(image).polygon([tuple(point) for point in quad], fill=colour)
        file.parent.mkdir(parents=True, exist_ok=True)
        image.save(file, form, quality=95)

    return write


@pytest.fixture(scope="session")
def pixels() -> Callable:
    """The pixels of a record's image, uint8 [H, W, 3], RGB."""
    return lambda stored, number: np.asarray(
        Image.open(io.BytesIO(stored[b"image-%09d" % number])).convert("RGB")
    )


@pytest.fixture(scope="session")
def write_images(encode_image) -> Callable:
    """Writes small images below a folder; returns the folder."""

    def write(folder: Path, *names: str) -> Path:
        for name in names:
            file = folder / name
            file.parent.mkdir(parents=True, exist_ok=True)
            form = "PNG" if file.suffix == ".png" else "JPEG"
            file.write_bytes(encode_image(file.stem, form=form))
        return folder

    return write

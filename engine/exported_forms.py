"""The forms that a recognizer is exported to: writing them, and whether they read the same."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from torch import nn

from models.config import ModelConfig
from models.hugging_face import (
    MODEL_FILES,
    PROCESSOR_FILES,
    check_hugging_face,
    export_hugging_face,
)
from models.onnx_export import export_onnx
from models.safetensors_file import save_safetensors
from reading import Reading
from reading.images import model_input
from reading.onnx_recognition import OnnxRecognition

# How far a confidence may be off, and still be the same up to rounding: in fp32, and in half
# precision, whose numbers have 3 digits.
TOLERANCE = 1e-4
HALF_TOLERANCE = 0.02


@dataclass(frozen=True)
class Form:
    """A form of weights.

    Attributes:
        name: for people.
        suffix: of its file; none for a folder.
        write: writes a model there.
        check: raises a ValueError for a configuration that it has no place for.
        tolerance: of a confidence.
        fusion: compares what the form itself fuses, where it does, with readings of images.
        files: names that it writes in its folder.
        owned: those of them that hold nothing else's.

    """

    name: str
    suffix: str
    write: Callable[[nn.Module, Path], None]
    check: Callable[[ModelConfig], None] = lambda config: None
    tolerance: float = TOLERANCE
    fusion: "Callable[[Path, Sequence[Reading]], Agreement] | None" = None
    files: Sequence[str] = ()
    owned: Sequence[str] = ()

    def places(self, target: Path) -> set[Path]:
        """The files that are written for a target."""
        return {(target / name).resolve() for name in self.files} | {target.resolve()}


@contextmanager
def staged(target: Path, owned: Sequence[str] = ()) -> Iterator[Path]:
    """A place beside a target; what is written there takes the target's place at the end.

    A folder's files replace those of the same names in a folder that exists already. After a fault
    until then, nothing is left, and the target is what it was.

    Args:
        target: file or folder.
        owned: names in the folder that are gone afterwards where they were not written.

    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".export-", dir=target.parent) as folder:
        place = Path(folder) / target.name
        yield place
        if place.is_dir():
            target.mkdir(exist_ok=True)
            for name in owned:
                (target / name).unlink(missing_ok=True)
            for file in place.iterdir():
                file.replace(target / file.name)
        else:
            place.replace(target)


def megabytes(path: Path) -> float:
    """Size of a file, or of a folder's files, in 10^6 bytes."""
    files = [path] if path.is_file() else list(path.iterdir())
    return sum(file.stat().st_size for file in files) / 1e6


@dataclass(frozen=True)
class Agreement:
    """How two readings of the same images compare, every granularity counted.

    Attributes:
        images: compared.
        changed: what reads another text: one line for each image and granularity.
        largest: largest difference of two confidences of the same text.

    """

    images: int
    changed: tuple[str, ...]
    largest: float

    def __add__(self, other: "Agreement") -> "Agreement":
        """Both, of the same images."""
        return Agreement(
            self.images, self.changed + other.changed, max(self.largest, other.largest)
        )

    def holds(self, tolerance: float = TOLERANCE) -> bool:
        """Whether all is the same, and confidences up to the tolerance."""
        return not self.changed and self.largest <= tolerance


def compare(expected: Sequence[Reading], found: Sequence[Reading]) -> Agreement:
    """Compare readings of the same images; errors are compared as texts are."""
    changed, largest = [], 0.0
    for number, (one, other) in enumerate(zip(expected, found, strict=True)):
        where = one.source.name if one.source else f"image {number}"
        pairs = {"fused": (one, other)}
        pairs |= {n: (own, other.by_granularity[n]) for n, own in one.by_granularity.items()}
        for name, (own, its) in pairs.items():
            if own.text != its.text:
                changed.append(f"{where}, {name}: {own.text!r} became {its.text!r}")
            else:
                largest = max(largest, abs(own.confidence - its.confidence))
    return Agreement(len(expected), tuple(changed), largest)


def compare_graph_fusion(path: Path, expected: Sequence[Reading]) -> Agreement:
    """Compare the fusion within an ONNX graph, which other programs use, with readings of files."""
    recognition = OnnxRecognition(path)
    changed, largest = [], 0.0
    for one in expected:
        pixels = model_input(one.source, recognition.config)
        (winner,), confidences = recognition.fused(pixels[None])
        for name, own in one.by_granularity.items():
            largest = max(largest, abs(own.confidence - float(confidences[name][0])))
        other = one.by_granularity[winner]
        tie = abs(other.confidence - one.confidence) <= TOLERANCE
        if winner != one.granularity and not tie:
            changed.append(f"{one.source.name}: the graph lets {winner} win, not {one.granularity}")
    return Agreement(len(expected), tuple(changed), largest)


# By the option of export.py.
FORMS = {
    "onnx": Form("ONNX", ".onnx", export_onnx, fusion=compare_graph_fusion),
    "hugging_face": Form(
        "Hugging Face folder",
        "",
        export_hugging_face,
        check_hugging_face,
        files=MODEL_FILES + PROCESSOR_FILES,
        owned=PROCESSOR_FILES,
    ),
    "safetensors": Form(
        "safetensors", ".safetensors", lambda model, path: save_safetensors(path, model)
    ),
    "safetensors_half": Form(
        "safetensors in half precision",
        ".safetensors",
        lambda model, path: save_safetensors(path, model, half=True),
        tolerance=HALF_TOLERANCE,
    ),
}

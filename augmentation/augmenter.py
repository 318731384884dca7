"""How operations are drawn and composed: RandAug and the other modes."""

from collections.abc import Iterable, Sequence
from types import MappingProxyType

import numpy as np

from .blur import BLUR
from .camera import CAMERA
from .geometry import GEOMETRY, ROTATE_ON_CANVAS, UNUSED
from .moves import MovedCoreArea
from .noise import NOISE
from .operation import MAGNITUDES, Operation
from .pattern import PATTERN
from .process import PROCESS
from .warp import WARP
from .weather import WEATHER

GROUPS: dict[str, tuple[Operation, ...]] = {
    "process": PROCESS,
    "camera": CAMERA,
    "noise": NOISE,
    "blur": BLUR,
    "weather": WEATHER,
    "pattern": PATTERN,
    "warp": WARP,
    "geometry": GEOMETRY,
}

OPERATIONS: dict[str, Operation] = {
    operation.name: operation
    for operations in (*GROUPS.values(), UNUSED)
    for operation in operations
}

# The reference's fixed order when groups are chosen by hand.
SELECTED_ORDER = ("process", "noise", "blur", "weather", "camera", "pattern", "warp", "geometry")


def _pick(*names: str) -> tuple[Operation, ...]:
    return tuple(OPERATIONS[name] for name in names)


# What each mode draws from, one operation out of a group at most.
# Mended: of these only "selected" works in the reference on a current NumPy; "random", "semantic"
# and "learning" stumble because it draws from lists of unequal length, "rotation" because it draws
# from a nested list, and "scatter" never starts because its flag is misspelled.
MODES: MappingProxyType[str, tuple[tuple[Operation, ...], ...]] = MappingProxyType(
    {
        "random": tuple(GROUPS.values()),
        "selected": tuple(GROUPS[name] for name in SELECTED_ORDER),
        "semantic": (
            _pick("GaussianNoise"),
            _pick("MotionBlur"),
            _pick("Rotate", "Perspective", "Shrink"),
        ),
        "rotation": (_pick("Rotate"),),
        "scatter": (_pick("Distort"), _pick("Shrink")),
        "learning": (
            _pick("Distort"),
            _pick("GaussianNoise"),
            _pick("MotionBlur"),
            _pick("Rotate", "Perspective"),
        ),
    }
)


class Augmenter:
    """Augments an image and its core-area map together.

    What happens to a sample depends on the seed, the epoch and the sample's number only, never on
    the process, the order of calls or anything global; so runs resume and workers come and go
    without a change. Can be pickled.

    Args:
        mode: one of ``MODES``. "selected" applies one operation of each of ``groups``, in the
            reference's fixed order; every other mode draws ``number`` different groups out of its
            own, in random order, and one operation of each.
        number: how many groups to draw; more than the mode has means all it has. Without meaning
            in "selected".
        magnitude: 0, 1 or 2 for all operations, or None to draw one for each.
        intact_probability: how many of the images to leave alone, 0..1.
        groups: names out of ``GROUPS``; read in "selected" only.
        seed: 0 or above.

    Example:
        >>> augment = Augmenter(number=3, intact_probability=0.5, seed=1)
        >>> image, core_area = augment(image, core_area, epoch=0, sample=17)
    """

    def __init__(
        self,
        mode: str = "random",
        number: int = 3,
        magnitude: int | None = None,
        intact_probability: float = 0.5,
        groups: Sequence[str] = (),
        seed: int = 0,
    ):
        if mode not in MODES:
            raise ValueError(f"There is no augmentation mode {mode!r}; use one of {_list(MODES)}.")
        if number < 1:
            raise ValueError(f"At least 1 augmentation group must be drawn, not {number}.")
        if magnitude is not None and magnitude not in MAGNITUDES:
            raise ValueError(
                f"There is no augmentation magnitude {magnitude!r}; use 0, 1 or 2, or None to "
                "draw one for each operation."
            )
        if not 0 <= intact_probability <= 1:
            raise ValueError(
                "The share of images to leave intact must be between 0 and 1, "
                f"not {intact_probability}."
            )
        if seed < 0:
            raise ValueError(f"The augmentation seed must be 0 or above, not {seed}.")
        unknown = [name for name in groups if name not in GROUPS]
        if unknown:
            raise ValueError(
                f"There is no augmentation group {_list(unknown)}; use some of {_list(GROUPS)}."
            )
        if mode == "selected" and not groups:
            raise ValueError(
                f"The mode 'selected' needs at least one augmentation group of {_list(GROUPS)}."
            )
        self.mode = mode
        self.magnitude = magnitude
        self.intact_probability = intact_probability
        self.seed = seed
        if mode == "selected":
            self.choices = tuple(GROUPS[name] for name in SELECTED_ORDER if name in groups)
        else:
            self.choices = MODES[mode]
        self.number = min(number, len(self.choices))

    def __call__(
        self, image: np.ndarray, core_area: np.ndarray | None, epoch: int, sample: int
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Augment one sample.

        Args:
            image: uint8 ``[H, W, 3]``, RGB.
            core_area: uint8 ``[H, W]``, or None where the sample has none.
            epoch: 0 or above.
            sample: the number of the sample in its data set, 0 or above.

        Returns:
            Image and core area of the same sizes: the given arrays themselves where nothing is
            changed, or moved, else new ones.
        """
        _check(image, core_area)
        rng = self._generator(epoch, sample)
        moved = None if core_area is None else MovedCoreArea(core_area)
        for operation, magnitude in self._draw(rng):
            image, move = operation.apply(image, magnitude, rng)
            if moved is not None and move is not None:
                moved.follow(move)
        return image, None if moved is None else moved.result()

    def plan(self, epoch: int, sample: int) -> list[tuple[Operation, int]]:
        """Operations and magnitudes that a sample gets, in order; empty where it is intact."""
        return self._draw(self._generator(epoch, sample))

    def _generator(self, epoch: int, sample: int) -> np.random.Generator:
        return np.random.default_rng((self.seed, epoch, sample))

    def _draw(self, rng: np.random.Generator) -> list[tuple[Operation, int]]:
        if rng.random() < self.intact_probability:
            return []
        if self.mode == "selected":
            chosen = range(len(self.choices))
        else:
            chosen = rng.permutation(len(self.choices))[: self.number]
        operations = [
            self.choices[index][rng.integers(len(self.choices[index]))] for index in chosen
        ]
        if self.mode == "selected" and any(operation.name == "Curve" for operation in operations):
            operations = [
                ROTATE_ON_CANVAS if operation.name == "Rotate" else operation
                for operation in operations
            ]
        if self.magnitude is None:
            magnitudes = rng.integers(len(MAGNITUDES), size=len(operations)).tolist()
        else:
            magnitudes = [self.magnitude] * len(operations)
        return list(zip(operations, magnitudes, strict=True))


def _check(image: np.ndarray, core_area: np.ndarray | None) -> None:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise ValueError(
            "Augmentation needs an RGB image, uint8 [H, W, 3] with at least one pixel, "
            f"not {image.dtype} {list(image.shape)}."
        )
    if core_area is not None and (
        core_area.dtype != np.uint8 or core_area.shape != image.shape[:2]
    ):
        raise ValueError(
            f"The core area must be uint8 {list(image.shape[:2])} like its image, "
            f"not {core_area.dtype} {list(core_area.shape)}."
        )


def _list(names: Iterable[str]) -> str:
    return ", ".join(repr(name) for name in names)

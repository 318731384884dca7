"""Reading words from Python.

>>> from reading import Reader
>>> reader = Reader.load("best_accuracy.pth")
>>> reader("demo_imgs/night.jpg").text
'night'
"""

import glob
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn

from models import Outputs, config_codecs
from models.checkpoint import load_model
from models.reading_path import reading_path
from preprocessing import UnreadableImageError, decode_image, preprocess
from text import Reading, fuse

IMAGE_SUFFIXES = {".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"}

ImageLike = str | Path | bytes | Image.Image | np.ndarray


@dataclass(frozen=True)
class FileReading:
    """A file as read: its image and reading, or the error that kept it from being read."""

    path: Path
    image: Image.Image | None = None
    reading: Reading | None = None
    error: UnreadableImageError | None = None


class Reader:
    """Reads words in images with a recognizer.

    Args:
        model: a recognizer.
        device: cuda or cpu; None takes a GPU where there is one.
        batch_size: images a batch.
        dtype: float32, or bfloat16 for speed.
        fast: read by the fast path, whose logits are the model's own up to rounding (see
            `models.reading_path`); the model itself is used where maps are asked for.

    """

    def __init__(
        self,
        model: nn.Module,
        device: str | None = None,
        batch_size: int = 32,
        dtype: torch.dtype = torch.float32,
        fast: bool = True,
    ):
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.model = model.to(self.device).eval()
        self.dtype, self.fast = dtype, fast
        self.config = model.config
        self.codecs = config_codecs(model.config)
        self.batch_size = batch_size

    @classmethod
    def load(cls, path: str | Path, **settings) -> "Reader":
        """Reader of a checkpoint: our own, an official `.pth`, or a Hugging Face folder.

        Args:
            path: file or folder.
            settings: arguments of `Reader`.

        Raises:
            CheckpointError: a file that is missing, damaged, hostile, or of another project.

        """
        return cls(load_model(path), **settings)

    def __call__(
        self, images: ImageLike | Sequence[ImageLike], attention: bool = False
    ) -> Reading | list[Reading]:
        """Read one image, or a list of them.

        Args:
            images: paths, encoded bytes, Pillow images, or RGB arrays uint8 [H, W, 3].
            attention: also return where the model looked: each granularity's attention, and the
                core-area map and guided attention of a model that has them (see `Reading`).

        Returns:
            A reading, or a list of readings in the order given.

        Raises:
            UnreadableImageError: an image that can't be decoded; the message names it.

        """
        if isinstance(images, str | Path | bytes | Image.Image | np.ndarray):
            return next(self.stream([images], attention))
        return list(self.stream(images, attention))

    def stream(self, images: Iterable[ImageLike], attention: bool = False) -> Iterator[Reading]:
        """Readings in the order given, a batch of images in memory at a time."""
        images = iter(images)
        while batch := list(islice(images, self.batch_size)):
            yield from self._read(batch, attention)

    def files(self, paths: Sequence[Path], attention: bool = False) -> Iterator[FileReading]:
        """Readings of files in the order given; one that can't be decoded stops nothing."""
        for start in range(0, len(paths), self.batch_size):
            opened: dict[Path, Image.Image] = {}
            errors: dict[Path, UnreadableImageError] = {}
            batch = paths[start : start + self.batch_size]
            for path in batch:
                try:
                    opened[path] = open_image(path)
                except UnreadableImageError as error:
                    errors[path] = error
            read = dict(zip(opened, self.stream(opened.values(), attention), strict=True))
            for path in batch:
                yield FileReading(path, opened.get(path), read.get(path), errors.get(path))

    def _read(self, images: Sequence[ImageLike], attention: bool) -> list[Reading]:
        config = self.config
        pixels = [
            preprocess(
                open_image(image, config.channels),
                config.image_height,
                config.image_width,
                config.keep_ratio,
            )
            for image in images
        ]
        batch = torch.from_numpy(np.stack(pixels)).to(self.device).float() / 255
        with torch.inference_mode():
            outputs = self._outputs(batch, attention)
            ids, probabilities = outputs.greedy()
        readings = fuse(
            self.codecs,
            {n: i.cpu().numpy() for n, i in ids.items()},
            {n: p.cpu().numpy() for n, p in probabilities.items()},
        )
        if not attention:
            return readings
        maps = {
            name: weights[:, :, 1:].unflatten(2, config.grid_size).float().cpu().numpy()
            for name, weights in outputs.attention.items()
        }
        core_areas = guided = [None] * len(readings)
        if outputs.core_area is not None:
            core_areas = outputs.core_area[:, 0].float().cpu().numpy()
        if outputs.guided_attention is not None:
            row_means = outputs.guided_attention[:, 1:].float().mean(-1)
            guided = row_means.unflatten(1, config.grid_size).cpu().numpy()
        return [
            replace(
                reading,
                attention={name: m[i] for name, m in maps.items()},
                core_area=core_areas[i],
                guided_attention=guided[i],
            )
            for i, reading in enumerate(readings)
        ]

    @cached_property
    def _reading_path(self) -> nn.Module:
        return reading_path(self.model, self.dtype)

    def _outputs(self, images: torch.Tensor, maps: bool) -> Outputs:
        if self.fast and not maps:
            return self._reading_path(images)
        rounded = self.dtype != torch.float32
        with torch.autocast(self.device.type, dtype=self.dtype, enabled=rounded):
            return self.model(images)


def open_image(image: ImageLike, channels: int = 3) -> Image.Image:
    """Any accepted kind of image as a Pillow image, RGB or grey.

    Raises:
        UnreadableImageError: it can't be decoded, or is an array of another shape or type.

    """
    if isinstance(image, Image.Image):
        return image.convert("RGB" if channels == 3 else "L")
    if isinstance(image, np.ndarray):
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise UnreadableImageError(
                f"an array must be RGB, uint8 [H, W, 3], not {image.dtype} {list(image.shape)}"
            )
        return Image.fromarray(image).convert("RGB" if channels == 3 else "L")
    if isinstance(image, bytes):
        return decode_image(image, channels)
    try:
        return decode_image(Path(image), channels)
    except UnreadableImageError as error:
        raise UnreadableImageError(f"{image}: {error}") from None


def find_images(place: str | Path) -> list[Path]:
    """Image files: the file itself, those of a folder, or those that a glob matches.

    Raises:
        FileNotFoundError: nothing is there; the message says what was looked for.

    """
    path = Path(place)
    if path.is_file():
        return [path]
    if path.is_dir():
        candidates = [p for p in path.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES]
    else:
        candidates = [Path(p) for p in glob.glob(str(place), recursive=True)]
    found = sorted((p for p in candidates if p.is_file()), key=_natural)
    if not found:
        raise FileNotFoundError(
            f"There are no images at {place}; give an image, a folder with "
            f"{', '.join(sorted(IMAGE_SUFFIXES))} files, or a glob in quotes."
        )
    return found


def _natural(path: Path) -> list:
    """2.jpg before 10.jpg."""
    parts = re.split(r"(\d+)", str(path))
    return [(int(p), "") if p.isdigit() else (-1, p) for p in parts]

"""The `Reader`: images of every kind to readings, in batches."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from loading.preprocessing import UnreadableImageError
from models.checkpoint_error import CheckpointError
from models.codecs import config_codecs
from models.config import ConfigError
from models.onnx_form import SUFFIX as ONNX_SUFFIX
from reading.images import ImageLike, find_images, model_input
from reading.onnx_recognition import OnnxRecognition
from reading.recognition import Recognition, Recognized
from reading.weights import find_weights
from text import Reading, fuse

if TYPE_CHECKING:
    import torch
    from torch import nn


class Reader:
    """Reads words in images with a recognizer.

    Processes that are forked from one with a reader compute with one thread, until they set more.

    Args:
        model: a recognizer, or an exported one (`reading.onnx_recognition.OnnxRecognition`), which
            has only the batch size to be set here.
        device: cuda or cpu; None takes a GPU where there is one.
        batch_size: images a batch, 1 or more.
        dtype: torch.float32, or torch.bfloat16 for speed; None for float32.
        fast: read by the fast path, which reads as the model does up to rounding (see
            `models.reading_path`).
        compiled: compile the fast path with torch.compile; the first images then take a minute or
            so, and on GPUs the others less.

    Raises:
        ValueError: a device or setting that there is not.

    Attributes:
        recognition: what computes.
        config: the model's configuration.
        codecs: label codecs, by granularity.

    """

    def __init__(
        self,
        model: "nn.Module | OnnxRecognition",
        device: str | None = None,
        batch_size: int = 32,
        dtype: "torch.dtype | None" = None,
        fast: bool = True,
        compiled: bool = False,
    ):
        if isinstance(batch_size, float | str) or batch_size < 1:
            raise ValueError(f"batch_size must be a whole number, 1 or more, not {batch_size!r}.")
        self.config = model.config
        self.codecs = config_codecs(self.config)
        self.recognition: Recognition
        if isinstance(model, OnnxRecognition):
            self.recognition = model
        else:
            # Imported here: exported models are read without torch.
            from reading.torch_recognition import TorchRecognition

            stop_ids = {name: codec.stop_id for name, codec in self.codecs.items()}
            self.recognition = TorchRecognition(model, stop_ids, device, dtype, fast, compiled)
        self.batch_size = batch_size

    @classmethod
    def load(
        cls,
        name_or_path: str | Path | None = None,
        device: str | None = None,
        batch_size: int = 32,
        dtype: "torch.dtype | None" = None,
        fast: bool = True,
        image_height: int | None = None,
        image_width: int | None = None,
        keep_ratio: bool | None = None,
        compiled: bool = False,
    ) -> "Reader":
        """Reader of weights in any form.

        It keeps them only in the form in which it reads with them: for the model itself, there is
        `models.checkpoint.load_model`.

        Args:
            name_or_path: our own checkpoint, an official `.pth`, a safetensors or ONNX file of
                `export.py`, a Hugging Face folder, or the name of shipped weights; None for the
                shipped default (see assets/weights/README.md).
            device: cuda or cpu; None takes a GPU where there is one, but the CPU for ONNX.
            batch_size, dtype, fast, compiled: see `Reader`. An ONNX file computes as exported.
            image_height, image_width, keep_ratio: of the input, for an official `.pth`, which does
                not say; None for 32 and 128 pixels, stretched.

        Raises:
            CheckpointError: a file that is missing, damaged, hostile, or of another project.
            ValueError: a device or setting that the form has not, or sizes other than its own.

        """
        path = find_weights(name_or_path)
        try:
            if path.suffix == ONNX_SUFFIX and path.is_file():
                if dtype is not None or not fast or compiled:
                    raise ValueError(
                        "dtype, fast and compiled are no settings of an ONNX file, which computes "
                        "as it was exported; leave them out, or load the checkpoint."
                    )
                reader = cls(OnnxRecognition(path, device), batch_size=batch_size)
            else:
                from models.checkpoint import load_model  # imported here, as torch is above

                model = load_model(path, image_height, image_width, keep_ratio)
                reader = cls(model, device, batch_size, dtype, fast, compiled)
        except ConfigError as error:
            raise CheckpointError(f"{path}: {error}") from None
        asked = {
            "image_height (--imgH)": image_height,
            "image_width (--imgW)": image_width,
            "keep_ratio (--PAD)": keep_ratio,
        }
        for name, value in asked.items():
            own = getattr(reader.config, name.split()[0])
            if value not in (None, own):
                raise ValueError(
                    f"{name} {value} was asked for, but {path} was trained with {own}; leave it "
                    "out."
                )
        if not isinstance(reader.recognition, OnnxRecognition):
            reader.recognition.use_up_model()  # which nobody else has
        return reader

    def __call__(
        self,
        images: ImageLike | Iterable[ImageLike],
        attention: bool = False,
        keep_errors: bool = False,
    ) -> Reading | list[Reading]:
        """Read one image, a folder of them, or any number.

        Args:
            images: a path, encoded bytes, a Pillow image, or an RGB array uint8 [H, W, 3]; or a
                folder, whose images are read in natural order (`find_images`); or a list,
                generator, … of images.
            attention: also return where the model looked: each granularity's attention, and the
                core-area map and guided attention of a model that has them (see `Reading`).
            keep_errors: an image that can't be read gives a reading with an `error`, and stops
                nothing.

        Returns:
            A reading of one image, else a list of readings in the order given.

        Raises:
            UnreadableImageError: an image that can't be decoded; the message names it.
            FileNotFoundError: a folder without images.
            ValueError: `attention` of an ONNX file, which has none.

        """
        if isinstance(images, str | Path) and os.path.isdir(images):  # noqa: PTH112 (as it never raises)
            images = find_images(images)
        is_one = isinstance(images, ImageLike) or not isinstance(images, Iterable)
        if is_one or hasattr(images, "read"):
            return next(self._stream([(None, images)], attention, keep_errors))
        return list(self.stream(images, attention, keep_errors))

    def stream(
        self, images: Iterable[ImageLike], attention: bool = False, keep_errors: bool = False
    ) -> Iterator[Reading]:
        """Readings in the order given, as they are read; a batch of images is in memory at a time.

        Arguments and errors are those of a call, but for a single image and a folder; nothing is
        taken from `images` before the first reading is asked for.

        Raises:
            TypeError: a single image, or a folder's name.

        """
        if isinstance(images, ImageLike):
            raise TypeError(
                "stream takes many images; give one, or a folder, to the reader itself."
            )
        return self._stream(enumerate(images), attention, keep_errors)

    def _stream(
        self,
        numbered: Iterable[tuple[int | None, ImageLike]],
        attention: bool,
        keep_errors: bool,
    ) -> Iterator[Reading]:
        if attention and not self.recognition.has_maps:
            raise ValueError(
                f"{self.recognition.path} has no attention to show: ONNX files only read; load the "
                "checkpoint that it was made from."
            )
        numbered, failure = iter(numbered), None
        while failure is None:
            batch, pixels, errors = [], [], {}
            try:
                for number, image in islice(numbered, self.batch_size):
                    try:
                        pixels.append(self._pixels(image, number))
                    except UnreadableImageError as error:
                        if not keep_errors:
                            raise
                        errors[len(batch)] = str(error)
                    batch.append(image)
            except Exception as error:  # of the image or of the source: what came before is read
                failure = error
            if not batch:
                break
            readings = iter(self._read(np.stack(pixels), attention) if pixels else [])
            for place, image in enumerate(batch):
                source = Path(image) if isinstance(image, str | Path) else None
                if place in errors:
                    yield Reading("", 0.0, "", source=source, error=errors[place])
                else:
                    yield replace(next(readings), source=source)
        if failure is not None:
            raise failure

    def _pixels(self, image: ImageLike, number: int | None) -> np.ndarray:
        try:
            return model_input(image, self.config)
        except UnreadableImageError as error:
            if number is None or isinstance(image, str | Path):  # its path is in the message
                raise
            raise UnreadableImageError(f"image {number} (the first is 0): {error}") from None

    def _read(self, pixels: np.ndarray, attention: bool) -> list[Reading]:
        recognized: Recognized = self.recognition.read(pixels, attention)
        readings = fuse(self.codecs, recognized.ids, recognized.probabilities)
        if not attention:
            return readings
        # Copies, as a view would keep the maps of the whole batch.
        nothing = [None] * len(readings)
        core_areas = nothing if recognized.core_area is None else recognized.core_area
        guided = nothing if recognized.guided_attention is None else recognized.guided_attention
        return [
            replace(
                reading,
                attention={n: maps[i].copy() for n, maps in recognized.attention.items()},
                core_area=core_area if core_area is None else core_area.copy(),
                guided_attention=own if own is None else own.copy(),
            )
            for i, (reading, core_area, own) in enumerate(
                zip(readings, core_areas, guided, strict=True)
            )
        ]

"""From LMDB records to batches: decoding in workers, exact mixing of sources, collating.

Every draw is a pure function of the seed and the position in the stream; rank and worker only
decide who computes it. Workers hand over uint8, which the device makes floats of, and the labels'
ids: encoded between steps they would keep a GPU waiting.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import count, islice
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from augmentation import Augmenter
from loading.core_areas import draw_core_areas
from loading.loader_processes import start_worker
from loading.preprocessing import (
    UnreadableImageError,
    decode_image,
    pad_right,
    resize_image,
    to_array,
)
from loading.sampling import KeyedPermutation, MixingSampler
from loading.sources import RenderedSource, Source
from models import ModelConfig
from records.char_boxes import OUTSIDE, BoxesError, place_of, sticks_out
from records.label_filter import FilterReport
from records.lmdb_file import DataError
from records.lmdb_set import close_environments
from text import Codec

# Where this many records from anywhere in a source can't be read, it is not training data.
MAX_UNREADABLE = 1000
# What may be wrong with a record; a DataError where its LMDB is gone or damaged there.
UNUSABLE = (UnreadableImageError, BoxesError, DataError)


@dataclass(frozen=True)
class ImageFormat:
    """How images reach the model: size in pixels, channels (3 or 1), `--PAD`."""

    height: int = 32
    width: int = 128
    channels: int = 3
    keep_ratio: bool = False

    @classmethod
    def of(cls, config: ModelConfig) -> "ImageFormat":
        """What a model was made for."""
        return cls(config.image_height, config.image_width, config.channels, config.keep_ratio)


@dataclass(frozen=True)
class Sample:
    """One image with its label, and the records passed over to get it.

    Attributes:
        image: uint8 [C, H, W]; None where none could be read.
        text: label.
        core_area: uint8 [H, W], see `Batch`; None for a record without boxes.
        passed_over: a line for each record that could not be used.
        record: (number of the source, index in it) when training; (0, record number) when
            evaluating.

    """

    image: np.ndarray | None
    text: str
    core_area: np.ndarray | None = None
    passed_over: tuple[str, ...] = ()
    record: tuple[int, int] | None = None


@dataclass(frozen=True)
class Batch:
    """Images and labels.

    Attributes:
        images: uint8 [B, C, H, W].
        texts: labels.
        passed_over: a line for each record that could not be used.
        core_area: uint8 [B, 1, H, W]: number of the character, from 1, whose core area a pixel is
            in; 0 outside, and for records without boxes. None where core areas were not asked for.
        has_core_area: bool [B], whether the record had boxes.
        records: of each sample, as `Sample.record`.
        ids: int64 [B, T] of the labels, by granularity; empty where they were not asked for.
        unlearnable: how many labels a granularity can't learn, by its name.

    """

    images: Tensor
    texts: list[str]
    passed_over: list[str]
    core_area: Tensor | None = None
    has_core_area: Tensor | None = None
    records: tuple[tuple[int, int] | None, ...] = ()
    ids: Mapping[str, Tensor] = field(default_factory=dict)
    unlearnable: Mapping[str, int] = field(default_factory=dict)

    def pin_memory(self) -> "Batch":
        """The batch in page-locked memory; DataLoader asks a dataclass for this method."""
        pinned = {
            name: value.pin_memory()
            for name, value in vars(self).items()
            if isinstance(value, Tensor)
        }
        ids = {name: value.pin_memory() for name, value in self.ids.items()}
        return replace(self, ids=ids, **pinned)


def collate(
    samples: Sequence[Sample],
    image_format: ImageFormat,
    core_areas: bool = False,
    codecs: Mapping[str, Codec] | None = None,
) -> Batch:
    """Stack the samples that have an image, and encode their labels by the codecs there are."""
    size = (image_format.height, image_format.width)
    usable = [s for s in samples if s.image is not None]
    images = [s.image for s in usable] or [np.zeros((image_format.channels, *size), np.uint8)]
    texts = [s.text for s in usable]
    ids = {name: codec.encode_batch(texts) for name, codec in (codecs or {}).items()}
    batch = Batch(
        torch.from_numpy(np.stack(images)[: len(usable)]),
        texts,
        [line for s in samples for line in s.passed_over],
        records=tuple(s.record for s in usable),
        ids={name: torch.from_numpy(rows) for name, rows in ids.items()},
        unlearnable={name: codecs[name].count_unlearnable(rows) for name, rows in ids.items()},
    )
    if not core_areas:
        return batch
    areas = np.zeros((len(usable), 1, *size), np.uint8)
    for area, sample in zip(areas, usable, strict=True):
        if sample.core_area is not None:
            area[0] = sample.core_area
    has_core_area = torch.tensor([s.core_area is not None for s in usable], dtype=torch.bool)
    return replace(batch, core_area=torch.from_numpy(areas), has_core_area=has_core_area)


class Records(Protocol):
    """Labelled images by number: a `RecordSet`, or, for training, a `RenderedSource`."""

    def read(self, number: int) -> tuple[bytes | Image.Image | None, str]:
        """Image or its bytes, None where there are none, and normalised label."""

    def name_of(self, number: int) -> str:
        """A record in words: where it is, for a person to find it."""


class RecordSet(Records, Protocol):
    """What is in a place: an `LmdbSet`, a `LabelledFolder`, or a `BoxedFolder`."""

    path: Path
    numbers: np.ndarray
    report: FilterReport

    def local_name(self, number: int) -> str:
        """A record in words, within its place."""

    stand_in: dict | None


def _read_record(
    records: Records, number: int, image_format: ImageFormat, core_areas: bool
) -> tuple[np.ndarray, str, np.ndarray | None]:
    """Resized pixels, uint8 [H, W, C] (narrower with `keep_ratio`), label, and core areas [H, W].

    Args:
        records: where `core_areas` is true, with a `read_with_boxes`.
        number: of one.
        image_format: of the model.
        core_areas: draw them, where there are boxes.

    Raises:
        UnreadableImageError, BoxesError, DataError: the record can't be used.

    """
    if core_areas:
        stored, text, boxes = records.read_with_boxes(number)
    else:
        (stored, text), boxes = records.read(number), None
    if stored is None:
        raise UnreadableImageError("there is no image")
    image = decode_image(stored, image_format.channels)
    resized = resize_image(image, image_format.height, image_format.width, image_format.keep_ratio)
    core_area = None
    if boxes is not None:
        for box in boxes:
            if sticks_out(box, *image.size) is None:
                raise BoxesError(OUTSIDE, place_of(box, *image.size))
        core_area = draw_core_areas(boxes, image.size, resized.height, resized.width)
    return to_array(resized), text, core_area


def _candidates(index: int, size: int | None, key: tuple[int, int]) -> Iterator[int]:
    """Where in a source a sample is looked for: at `index`, then anywhere.

    Bad records lie side by side, as a disk loses blocks: neighbours are likely to be bad, too.
    """
    if size is None:
        yield from count(index)
        return
    yield index
    others = KeyedPermutation(size, (index, *key))
    for tried in range(size):
        position = int(others(np.array([tried]))[0])
        if position != index:
            yield position


def _to_sample(
    pixels: np.ndarray,
    text: str,
    core_area: np.ndarray | None,
    width: int,
    passed_over: Sequence[str] = (),
) -> Sample:
    if core_area is not None:
        core_area = pad_right(core_area[:, :, None], width)[:, :, 0]
    channels_first = np.ascontiguousarray(pad_right(pixels, width).transpose(2, 0, 1))
    return Sample(channels_first, text, core_area, tuple(passed_over))


class TrainingDataset(Dataset):
    """Samples by (source, index, epoch): decoded, resized, augmented.

    A record that can't be used is passed over for others from anywhere in its source, and
    reported; after `MAX_UNREADABLE` of them the sample has no image.

    Args:
        sources: what the keys' first numbers mean.
        image_format: of the model.
        augmenter: None for none.
        core_areas: draw them from the records' character boxes; they move with the image.
        codecs: that its batches' labels are encoded by, by granularity.

    """

    def __init__(
        self,
        sources: Sequence[Source | RenderedSource],
        image_format: ImageFormat,
        augmenter: Augmenter | None,
        core_areas: bool = False,
        codecs: Mapping[str, Codec] | None = None,
    ):
        self.sources = list(sources)
        self.image_format = image_format
        self.augmenter = augmenter
        self.core_areas = core_areas
        self.codecs = dict(codecs or {})

    def __getitem__(self, key: tuple[int, int, int]) -> Sample:
        source_number, index, epoch = key
        source = self.sources[source_number]
        passed_over: list[str] = []
        candidates = _candidates(index, source.size, (source_number, epoch))
        for position in islice(candidates, MAX_UNREADABLE):
            records, number = source.locate(position)
            try:
                pixels, text, core_area = _read_record(
                    records, number, self.image_format, self.core_areas
                )
            except UNUSABLE as error:
                passed_over.append(f"{records.name_of(number)}: {error}")
                continue
            if self.augmenter is not None:
                number = (source_number << 40) + position
                pixels, core_area = self._augment(pixels, core_area, epoch, number)
            sample = _to_sample(pixels, text, core_area, self.image_format.width, passed_over)
            return replace(sample, record=(source_number, position))
        # Raised here it would reach the user as a worker's traceback: the trainer ends the run.
        return Sample(None, "", passed_over=tuple(passed_over))

    def name_of(self, record: tuple[int, int]) -> str:
        """A sample's record in words: where it is, and its number there."""
        source_number, index = record
        records, number = self.sources[source_number].locate(index)
        return records.name_of(number)

    def _augment(
        self, pixels: np.ndarray, core_area: np.ndarray | None, epoch: int, sample: int
    ) -> tuple[np.ndarray, np.ndarray | None]:
        grey = pixels.shape[2] == 1
        image = np.repeat(pixels, 3, axis=2) if grey else pixels
        image, core_area = self.augmenter(image, core_area, epoch, sample)
        return cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[:, :, None] if grey else image, core_area


class EvaluationDataset(Dataset):
    """Samples of one set in order; a record that can't be used is reported and has no image.

    Args:
        records: the set.
        image_format: of the model.
        numbers: of the records.
        core_areas: draw them from the records' character boxes.

    """

    def __init__(
        self,
        records: RecordSet,
        image_format: ImageFormat,
        numbers: np.ndarray,
        core_areas: bool = False,
    ):
        self.records = records
        self.image_format = image_format
        self.numbers = numbers
        self.core_areas = core_areas

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, index: int) -> Sample:
        number = int(self.numbers[index])
        try:
            read = _read_record(self.records, number, self.image_format, self.core_areas)
        except UNUSABLE as error:
            line = f"{self.records.name_of(number)}: {error}"
            return Sample(None, "", passed_over=(line,))
        return replace(_to_sample(*read, self.image_format.width), record=(0, number))


def training_loader(
    dataset: TrainingDataset,
    sampler: MixingSampler,
    workers: int,
    pin_memory: bool = False,
    start_method: str | None = None,
) -> DataLoader:
    """Endless loader of training batches.

    Args:
        dataset, sampler: what to load, and in which order.
        workers: processes; 0 loads in this one.
        pin_memory: for a GPU.
        start_method: of the workers (fork, spawn, forkserver); None for the system's own.

    """
    close_environments()
    return DataLoader(
        dataset,
        batch_sampler=sampler,
        num_workers=workers,
        collate_fn=partial(
            collate,
            image_format=dataset.image_format,
            core_areas=dataset.core_areas,
            codecs=dataset.codecs,
        ),
        worker_init_fn=start_worker,
        generator=torch.Generator(),  # not the run's own, whose state a resumed run continues
        pin_memory=pin_memory,
        multiprocessing_context=start_method if workers else None,
    )


def evaluation_loader(
    dataset: EvaluationDataset, batch_size: int, workers: int, pin_memory: bool = False
) -> DataLoader:
    """Loader of a set, in order, the last batch smaller."""
    close_environments()
    return DataLoader(
        dataset,
        batch_size=batch_size,
        num_workers=min(workers, -(-len(dataset) // batch_size)),
        collate_fn=partial(
            collate, image_format=dataset.image_format, core_areas=dataset.core_areas
        ),
        worker_init_fn=start_worker,
        generator=torch.Generator(),  # not the run's own, whose state a resumed run continues
        pin_memory=pin_memory,
    )

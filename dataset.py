"""From LMDB records to batches: decoding in workers, exact mixing of sources, collating.

Every draw is a pure function of the seed and the position in the stream; rank and worker only
decide who computes it. Workers hand over uint8, the device makes floats.
"""

import math
import signal
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from augmentation import Augmenter
from label_filter import FilterReport, LabelFilter
from lmdb_set import DataError, LmdbSet, close_environments, select_lmdbs
from models import ModelConfig
from preprocessing import (
    UnreadableImageError,
    decode_image,
    pad_right,
    resize_image,
    to_array,
)
from sampling import KeyedPermutation

# A set in which this many records in a row can't be read is not training data.
MAX_UNREADABLE_IN_A_ROW = 1000


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
    """One image, uint8 [C, H, W], with its label; and the records passed over to get it."""

    image: np.ndarray | None
    text: str
    unreadable: tuple[str, ...] = ()


@dataclass(frozen=True)
class Batch:
    """Images uint8 [B, C, H, W], their labels, and a line for each unreadable record."""

    images: Tensor
    texts: list[str]
    unreadable: list[str]

    def pin_memory(self) -> "Batch":
        """The batch in page-locked memory; DataLoader asks a dataclass for this method."""
        return Batch(self.images.pin_memory(), self.texts, self.unreadable)


def collate(samples: Sequence[Sample], image_format: ImageFormat) -> Batch:
    """Stack the samples that have an image."""
    shape = (0, image_format.channels, image_format.height, image_format.width)
    images = [s.image for s in samples if s.image is not None]
    return Batch(
        torch.from_numpy(np.stack(images) if images else np.zeros(shape, np.uint8)),
        [s.text for s in samples if s.image is not None],
        [line for s in samples for line in s.unreadable],
    )


class RecordSet(Protocol):
    """Labelled images by record number: an `LmdbSet` or a `LabelledFolder`."""

    path: Path
    numbers: np.ndarray
    report: FilterReport
    stand_in: dict | None

    def read(self, number: int) -> tuple[bytes | None, str]:
        """Image bytes, None where there are none, and normalised label."""


class Source:
    """All LMDBs of one name of `--select_data`, as one row of records."""

    def __init__(self, name: str, sets: Sequence[LmdbSet]):
        self.name = name
        self.sets = list(sets)
        self._ends = np.cumsum([len(s) for s in self.sets])

    def __len__(self) -> int:
        return int(self._ends[-1])

    def locate(self, index: int) -> tuple[LmdbSet, int]:
        """Set and record number of an index."""
        which = int(np.searchsorted(self._ends, index, side="right"))
        start = int(self._ends[which - 1]) if which else 0
        return self.sets[which], int(self.sets[which].numbers[index - start])


def _read_image(
    records: RecordSet, number: int, image_format: ImageFormat
) -> tuple[np.ndarray, str]:
    """Resized pixels, uint8 [H, W, C] (narrower with `keep_ratio`), and label of a record."""
    stored, text = records.read(number)
    if stored is None:
        raise UnreadableImageError("the record has no image")
    image = decode_image(stored, image_format.channels)
    return (
        to_array(
            resize_image(image, image_format.height, image_format.width, image_format.keep_ratio)
        ),
        text,
    )


def _to_sample(pixels: np.ndarray, text: str, width: int, unreadable: Sequence[str]) -> Sample:
    padded = pad_right(pixels, width)
    return Sample(np.ascontiguousarray(padded.transpose(2, 0, 1)), text, tuple(unreadable))


class TrainingDataset(Dataset):
    """Samples by (source, index, epoch): decoded, resized, augmented.

    A record that can't be read is passed over for the next one of its source, and reported; after
    `MAX_UNREADABLE_IN_A_ROW` of them the sample has no image.
    """

    def __init__(
        self, sources: Sequence[Source], image_format: ImageFormat, augmenter: Augmenter | None
    ):
        self.sources = list(sources)
        self.image_format = image_format
        self.augmenter = augmenter

    def __getitem__(self, key: tuple[int, int, int]) -> Sample:
        source_number, index, epoch = key
        source = self.sources[source_number]
        unreadable: list[str] = []
        for step in range(min(len(source), MAX_UNREADABLE_IN_A_ROW)):
            position = (index + step) % len(source)
            lmdb_set, number = source.locate(position)
            try:
                pixels, text = _read_image(lmdb_set, number, self.image_format)
            except UnreadableImageError as error:
                unreadable.append(f"{lmdb_set.path} image-{number:09d}: {error}")
                continue
            if self.augmenter is not None:
                pixels = self._augment(pixels, epoch, (source_number << 40) + position)
            return _to_sample(pixels, text, self.image_format.width, unreadable)
        # Raised here it would reach the user as a worker's traceback: the trainer ends the run.
        return Sample(None, "", tuple(unreadable))

    def _augment(self, pixels: np.ndarray, epoch: int, sample: int) -> np.ndarray:
        grey = pixels.shape[2] == 1
        image = np.repeat(pixels, 3, axis=2) if grey else pixels
        image, _ = self.augmenter(image, None, epoch, sample)
        return cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[:, :, None] if grey else image


class EvaluationDataset(Dataset):
    """Samples of one set in order; an unreadable record is reported and has no image."""

    def __init__(self, records: RecordSet, image_format: ImageFormat, numbers: np.ndarray):
        self.records = records
        self.image_format = image_format
        self.numbers = numbers

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, index: int) -> Sample:
        number = int(self.numbers[index])
        try:
            pixels, text = _read_image(self.records, number, self.image_format)
        except UnreadableImageError as error:
            line = f"{self.records.path} image-{number:09d}: {error}"
            return Sample(None, "", (line,))
        return _to_sample(pixels, text, self.image_format.width, ())


class MixingSampler(Sampler):
    """Endless batches that hold the same number of each source.

    Batch b of rank r takes the positions (b * ranks + r) * count … of each source's own endless
    stream; an epoch of a source is a permutation of its records, another one each time.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        counts: Sequence[int],
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        first_batch: int = 0,
    ):
        self.sizes, self.counts, self.seed = list(sizes), list(counts), seed
        self.rank, self.world_size, self.first_batch = rank, world_size, first_batch

    def __iter__(self) -> Iterator[list[tuple[int, int, int]]]:
        batch = self.first_batch
        while True:
            yield self.keys(batch)
            batch += 1

    def keys(self, batch: int) -> list[tuple[int, int, int]]:
        """(source, index, epoch) of a batch's samples."""
        keys = []
        for source, (size, count) in enumerate(zip(self.sizes, self.counts, strict=True)):
            first = (batch * self.world_size + self.rank) * count
            positions = np.arange(first, first + count)
            for epoch in range(first // size, (first + count - 1) // size + 1):
                inside = positions[positions // size == epoch] % size
                permutation = KeyedPermutation(size, (self.seed, source, epoch))
                keys += [(source, int(i), epoch) for i in permutation(inside)]
        return keys


def batch_counts(batch_size: int, ratios: Sequence[float]) -> list[int]:
    """Images of each source in a batch: its share, rounded, at least one (reference facts, 7)."""
    return [max(round(batch_size * ratio), 1) for ratio in ratios]


def open_sources(
    root: Path | str,
    select_data: str,
    batch_ratio: str | None,
    label_filter: LabelFilter,
    usage_ratio: float = 1.0,
) -> tuple[list[Source], list[float]]:
    """Sources of `--select_data` (MJ-ST) and their shares of a batch (`--batch_ratio`, or equal).

    Raises:
        DataError: a folder that is missing or empty, shares that don't fit, nothing left.

    """
    names = select_data.split("-")
    shares = batch_ratio.split("-") if batch_ratio else [str(1 / len(names))] * len(names)
    if len(names) != len(shares):
        raise DataError(
            f"--batch_ratio {batch_ratio} has {len(shares)} shares for the {len(names)} parts of "
            f"--select_data {select_data}; give one for each."
        )
    try:
        ratios = [float(share) for share in shares]
    except ValueError:
        ratios = [0.0]
    if not all(0 < ratio < math.inf for ratio in ratios):
        raise DataError(f"--batch_ratio {batch_ratio} must hold numbers above 0, as in 0.5-0.5.")
    sources = [
        Source(
            name,
            [LmdbSet(path, label_filter, usage_ratio) for path in select_lmdbs(root, name)],
        )
        for name in names
    ]
    return sources, ratios


def merge_reports(sources: Sequence[Source]) -> Mapping[str, FilterReport]:
    """What was kept and dropped, by LMDB path."""
    return {str(s.path): s.report for source in sources for s in source.sets}


def _start_worker(_worker: int) -> None:
    # Ctrl-C is the main process's to handle; OpenCV's own threads would fight for the cores.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cv2.setNumThreads(0)


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
        collate_fn=partial(collate, image_format=dataset.image_format),
        worker_init_fn=_start_worker,
        pin_memory=pin_memory,
        persistent_workers=workers > 0,
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
        collate_fn=partial(collate, image_format=dataset.image_format),
        worker_init_fn=_start_worker,
        pin_memory=pin_memory,
    )

"""The sources of `--select_data`, LMDBs or a rendered stream, and their shares of a batch."""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import PIL
from PIL import Image

from console.progress import RunLog
from loading.preprocessing import UnreadableImageError
from records.char_boxes import CharBox, match_boxes
from records.content_hash import sampled_hash
from records.label_filter import FilterReport, LabelFilter
from records.lmdb_file import DataError
from records.lmdb_set import LmdbSet, repeated, select_lmdbs
from synthetic import NoFontsError, Renderer, StreamSettings

SYNTHETIC = "synthetic"  # the name that stands for the rendered stream


class Source:
    """All LMDBs of one name of `--select_data`, as one row of records.

    Attributes:
        name: that name.
        sets: the LMDBs.
        paths: of the LMDBs.
        size: number of records.
        identity: digest of some of its records; checked on resume.
        has_boxes: whether any record has character boxes, as far as they were counted.

    """

    def __init__(self, name: str, sets: Sequence[LmdbSet]):
        self.name = name
        self.sets = list(sets)
        self.paths = [lmdb_set.path for lmdb_set in self.sets]
        self._ends = np.cumsum([len(s) for s in self.sets])
        self.size = int(self._ends[-1])
        self.has_boxes = any(s.report.with_boxes for s in self.sets)
        try:
            found = "".join(sampled_hash(s.numbers, s.read) for s in self.sets)
            self.identity = hashlib.sha256(found.encode()).hexdigest()
        except DataError:
            self.identity = f"{self.size} records, some of which could not be read"

    def locate(self, index: int) -> tuple[LmdbSet, int]:
        """Set and record number of an index, 0 to below `size`."""
        which = int(np.searchsorted(self._ends, index, side="right"))
        start = int(self._ends[which - 1]) if which else 0
        return self.sets[which], int(self.sets[which].numbers[index - start])

    def describe(self) -> Mapping[str, Any]:
        """What was kept and dropped, by LMDB path."""
        return {str(s.path): s.report for s in self.sets}


class RenderedSource:
    """An endless stream of rendered words: record i is a function of (seed, i) alone.

    Args:
        settings: of the stream.
        label_filter: words that it doesn't accept are not drawn.
        seed: of the stream.

    Attributes:
        name: `synthetic`.
        paths: none.
        size: None, as it has no end.
        identity: digest of what decides on its images; checked on resume.
        has_boxes: True; every word has its character boxes.

    Raises:
        NoFontsError, ValueError, OSError: fonts, words or shares that can't be used.

    """

    name = SYNTHETIC
    paths = ()
    size = None
    has_boxes = True

    def __init__(self, settings: StreamSettings, label_filter: LabelFilter, seed: int):
        self.settings, self.charset = settings, label_filter.charset
        self.renderer: Renderer = settings.renderer(seed, partial(_is_usable, label_filter))
        decisive = self.renderer.digest(), str(label_filter), cv2.__version__, PIL.__version__
        self.identity = hashlib.sha256(repr(decisive).encode("utf-8")).hexdigest()[:12]

    def locate(self, index: int) -> tuple["RenderedSource", int]:
        """The stream itself, and the number of the word in it."""
        return self, index

    def describe(self) -> Mapping[str, Any]:
        """What the stream is made of."""
        return {SYNTHETIC: f"endless renderings, {self.settings.describe(self.renderer)}"}

    def name_of(self, number: int) -> str:
        """A word's place in the stream."""
        return f"{SYNTHETIC} record {number}"

    def read(self, number: int) -> tuple[Image.Image, str]:
        """Image and normalised label of a word."""
        image, text, _ = self.read_with_boxes(number)
        return image, text

    def read_with_boxes(self, number: int) -> tuple[Image.Image, str, tuple[CharBox, ...]]:
        """As `read`, and the box of each character of the label."""
        word = self.renderer.sample(number)
        text = self.charset.normalize(word.text).text
        # A face that has capitals only may write what the charset lacks.
        if not text:
            raise UnreadableImageError(f"nothing of {word.text!r} is in the charset")
        boxes = [CharBox(char, ((x0, y0), (x1, y1))) for char, x0, y0, x1, y1 in word.boxes]
        return Image.fromarray(word.image), text, match_boxes(boxes, word.text, self.charset)


def _is_usable(label_filter: LabelFilter, word: str) -> bool:
    """Whether a word can be learned as it is written."""
    known = not label_filter.charset.normalize(word).removed
    return known and label_filter.accepts(word, FilterReport())


@dataclass(frozen=True)
class Selection:
    """What to train on, as the options say.

    Attributes:
        root: folder with the LMDBs; None where only `synthetic` is selected.
        select_data: names joined by dashes, `synthetic` for the rendered stream.
        batch_ratio: their shares of a batch, as in 0.5-0.5; None for equal ones.
        usage_ratio: the part of each LMDB that is used, in (0, 1].
        boxes: character boxes will be needed.
        stream: settings of the rendered stream.
        seed: of the rendered stream.

    """

    root: Path | str | None
    select_data: str
    batch_ratio: str | None = None
    usage_ratio: float = 1.0
    boxes: bool = False
    stream: StreamSettings = field(default_factory=StreamSettings)
    seed: int = 0

    @property
    def names(self) -> list[str]:
        """The names of the sources."""
        return self.select_data.split("-")

    def ratios(self) -> list[float]:
        """Each source's share of a batch.

        Raises:
            DataError: shares that don't fit the names, or are no shares.

        """
        if len(set(self.names)) < len(self.names):
            raise DataError(
                f"--select_data {self.select_data} names a source twice; use --batch_ratio to give "
                "it a greater share."
            )
        if self.batch_ratio is None:
            return [1 / len(self.names)] * len(self.names)
        shares = self.batch_ratio.split("-")
        if len(self.names) != len(shares):
            raise DataError(
                f"--batch_ratio {self.batch_ratio} has {len(shares)} shares for the "
                f"{len(self.names)} parts of --select_data {self.select_data}; give one for each "
                "(dashes separate folders, so that none can have one in its name)."
            )
        try:
            ratios = [float(share) for share in shares]
        except ValueError:
            ratios = [0.0]
        if not all(0 < ratio < math.inf for ratio in ratios):
            raise DataError(
                f"--batch_ratio {self.batch_ratio} must hold numbers above 0, as in 0.5-0.5."
            )
        return ratios


def open_sources(
    selection: Selection, label_filter: LabelFilter, log: RunLog | None = None
) -> list[Source | RenderedSource]:
    """The selected sources.

    Args:
        selection: which.
        label_filter: decides which records are used.
        log: as in `LmdbSet`.

    Raises:
        DataError: a folder that is missing or empty, nothing left, boxes that are needed and not
            there; fonts or words of the stream that can't be used.

    """
    sources = [_open(name, selection, label_filter, log) for name in selection.names]
    if log is not None:
        places = [path.resolve() for source in sources for path in source.paths]
        for path in repeated(places):
            log(
                f"warning: {path} is drawn from more than once, by --select_data "
                f"{selection.select_data} or by a link: its words are seen more often"
            )
    if selection.boxes and not any(source.has_boxes for source in sources):
        raise DataError(
            f"No record of --select_data {selection.select_data} below {selection.root} has "
            "character boxes, which core areas are drawn from (keys boxes-%09d; data/README.md "
            "tells more). Add a set that has them, or train without --is_mask_supervision and "
            "--guidance_weight."
        )
    return sources


def _open(
    name: str, selection: Selection, label_filter: LabelFilter, log: RunLog | None
) -> Source | RenderedSource:
    if name == SYNTHETIC:
        try:
            return RenderedSource(selection.stream, label_filter, selection.seed)
        except (NoFontsError, ValueError, OSError) as error:
            raise DataError(f"The {SYNTHETIC} words can't be rendered: {error}") from None
    if selection.root is None:
        raise DataError(
            f"--select_data {selection.select_data} needs --train_data, the folder with the LMDBs "
            f"of {name}; without one, --select_data {SYNTHETIC} renders words."
        )
    paths = select_lmdbs(selection.root, name)
    opened = [
        LmdbSet(path, label_filter, selection.usage_ratio, selection.boxes, log) for path in paths
    ]
    return Source(name, opened)


def batch_counts(batch_size: int, ratios: Sequence[float]) -> list[int]:
    """Images of each source in a batch: its share, rounded, at least one (reference facts)."""
    return [max(round(batch_size * ratio), 1) for ratio in ratios]

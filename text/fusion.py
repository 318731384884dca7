"""From ids and probabilities to words: every granularity's reading, and the fused one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from text.codec import CharCodec, Codec


@dataclass(frozen=True)
class Character:
    """A character of the char granularity's reading.

    Attributes:
        text: the character.
        confidence: its probability, in [0, 1].
        position: its row of the granularity's attention, 1 or more (row 0 is start).
        centre: where that row looked on average, x and y in [0, 1] from the upper left corner of
            the model's input (padding included); None where the attention was not asked for. The
            rows of an ATD look at the same places in every image.

    """

    text: str
    confidence: float
    position: int
    centre: tuple[float, float] | None = None


@dataclass(frozen=True)
class GranularityReading:
    """What one granularity reads.

    Attributes:
        text: the word.
        confidence: product of the largest probabilities up to and including stop, in [0, 1];
            over all positions where there is no stop.
        stopped: whether the stop id was read.
        ids: the ids before stop.
        probabilities: theirs, and that of stop where there is one.

    """

    text: str
    confidence: float
    stopped: bool
    ids: tuple[int, ...] = ()
    probabilities: tuple[float, ...] = ()


@dataclass(frozen=True)
class Reading:
    """A word as read, or why there is none.

    Attributes:
        text, confidence: of the most confident granularity.
        granularity: its name.
        by_granularity: what each of them reads.
        attention: where each looked, [T, rows, columns] of patches, values in [0, 1]; only on
            request.
        core_area: predicted core-area map, float32 [H, W] of the model's input (padding
            included), about 0 outside core areas and 1 inside; only on request, and None for a
            model that draws none.
        guided_attention: float32 [rows, columns] of patches, values in (0, 1): for each patch, the
            mean of its own row of CAFM's `G = sigmoid(A + g)` over all 1 + N keys. Rows of the
            attention A sum to 1, so this is nearly sigmoid(g) of the patch: just above 0.5 where
            the guidance g is 0. Only on request, and None for a model without CAFM.
        source: the image's file; None for one that was not given as a file.
        error: why the image could not be read; None for one that was. With an error, the text is
            empty, the confidence 0, and there are no granularities.

    """

    text: str
    confidence: float
    granularity: str
    by_granularity: Mapping[str, GranularityReading] = field(default_factory=dict)
    attention: Mapping[str, np.ndarray] | None = None
    core_area: np.ndarray | None = None
    guided_attention: np.ndarray | None = None
    source: Path | None = None
    error: str | None = None

    @property
    def characters(self) -> tuple[Character, ...]:
        """Characters of the char granularity's reading, which may not be the fused one."""
        own = self.by_granularity.get("char")
        if own is None:
            return ()
        # Ids before the first character's have no text.
        places = [i for i, c in enumerate(own.ids) if c >= CharCodec.first_character_id]
        return tuple(
            Character(text, own.probabilities[i], i + 1, self._centre(i + 1))
            for text, i in zip(own.text, places, strict=True)
        )

    def _centre(self, position: int) -> tuple[float, float] | None:
        if self.attention is None:
            return None
        weights = self.attention["char"][position]
        rows, columns = weights.shape
        total = max(float(weights.sum()), 1e-12)
        across = (np.arange(columns) + 0.5) / columns
        down = (np.arange(rows) + 0.5) / rows
        return float(weights.sum(0) @ across) / total, float(weights.sum(1) @ down) / total


def fuse(
    codecs: Mapping[str, Codec],
    ids: Mapping[str, np.ndarray],
    probabilities: Mapping[str, np.ndarray],
) -> list[Reading]:
    """Read a batch.

    A reading is cut at the first stop id, never by searching the text. The granularity with the
    highest confidence wins, ties go to the earlier one (reference facts); one that never
    stopped wins only where none did. Text is lower-cased for an uncased charset.

    Args:
        codecs: by granularity, char first.
        ids: arg-max ids, int [B, T], by granularity. Position 0 is never read.
        probabilities: the largest probabilities, float [B, T], by granularity.

    """
    per_granularity = {
        name: _readings(codec, ids[name], probabilities[name]) for name, codec in codecs.items()
    }
    uncased = "char" in codecs and not codecs["char"].charset.cased
    batch = len(next(iter(per_granularity.values())))
    return [
        _fuse_one(codecs, {n: r[i] for n, r in per_granularity.items()}, uncased)
        for i in range(batch)
    ]


def _fuse_one(
    codecs: Mapping[str, Codec], readings: Mapping[str, GranularityReading], uncased: bool
) -> Reading:
    if uncased:
        readings = {n: replace(r, text=r.text.lower()) for n, r in readings.items()}
    candidates = [n for n in readings if codecs[n].fusible] or list(readings)
    winner = max(candidates, key=lambda n: (readings[n].stopped, readings[n].confidence))
    best = readings[winner]
    return Reading(best.text, best.confidence, winner, dict(readings))


def _readings(
    codec: Codec, ids: np.ndarray, probabilities: np.ndarray
) -> Sequence[GranularityReading]:
    ids = np.asarray(ids)[:, 1:]
    # NaN logits have no confidence, and must not win by comparing false.
    probabilities = np.nan_to_num(np.asarray(probabilities, dtype=np.float64)[:, 1:], nan=0.0)
    is_stop = ids == codec.stop_id
    stopped = is_stop.any(axis=1)
    lengths = np.where(stopped, is_stop.argmax(axis=1), ids.shape[1])
    readings = []
    for row, row_probabilities, length, stop in zip(
        ids.tolist(), probabilities, lengths.tolist(), stopped.tolist(), strict=True
    ):
        used = row_probabilities[: length + stop]
        readings.append(
            GranularityReading(
                text=codec.decode(row[:length]),
                confidence=float(used.prod()),
                stopped=stop,
                ids=tuple(row[:length]),
                probabilities=tuple(used.tolist()),
            )
        )
    return readings

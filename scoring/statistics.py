"""What follows from the words that were read: errors, calibration, lengths, intervals."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from rapidfuzz.distance import Levenshtein

from engine.evaluation import ReadWord, SetScore

SEED = 226
DRAWS = 10_000
BINS = 10


@dataclass(frozen=True)
class Interval:
    """95% of the bootstrap's draws lie between these, in percent or points."""

    low: float
    high: float


@dataclass(frozen=True)
class ConfidenceBin:
    """The words whose confidence lies above `low`, up to `high` (0 is in the first bin).

    Attributes:
        low, high: in [0, 1].
        words: how many.
        confidence, accuracy: means over them, in [0, 1]; 0 where there are none.

    """

    low: float
    high: float
    words: int
    confidence: float
    accuracy: float


@dataclass(frozen=True)
class Measures:
    """One granularity, or fused, on one set.

    Attributes:
        images, correct: counts.
        accuracy: percent.
        interval: of the accuracy.
        one_minus_ned: mean of 1 - d / max(|truth|, |reading|), d the Levenshtein distance, in
            [0, 1]; 1 where both are empty.
        mean_confidence: in [0, 1].
        calibration_error: expected calibration error over `bins`, in [0, 1].
        bins: of equal width.

    """

    images: int
    correct: int
    accuracy: float
    interval: Interval
    one_minus_ned: float
    mean_confidence: float
    calibration_error: float
    bins: tuple[ConfidenceBin, ...]


@dataclass(frozen=True)
class LengthRow:
    """Words of one length: characters of the truth as compared, images, words right by column."""

    characters: int
    images: int
    correct: dict[str, int]


def measure(words: Sequence[ReadWord], column: str) -> Measures:
    """Measures of some words, at least one."""
    right = np.array([word.right(column) for word in words])
    confidences = np.array([word.confidences[column] for word in words])
    bins = confidence_bins(confidences, right)
    correct = int(right.sum())
    similarity = (Levenshtein.normalized_similarity(w.truth, w.texts[column]) for w in words)
    return Measures(
        images=len(words),
        correct=correct,
        accuracy=100.0 * correct / len(words),
        interval=accuracy_interval([(len(words), correct)]),
        one_minus_ned=sum(similarity) / len(words),
        mean_confidence=float(confidences.mean()),
        calibration_error=calibration_error(bins),
        bins=bins,
    )


def confidence_bins(confidences: np.ndarray, right: np.ndarray) -> tuple[ConfidenceBin, ...]:
    """Words by confidence.

    Args:
        confidences: float [N] in [0, 1].
        right: bool [N].

    """
    edges = np.linspace(0, 1, BINS + 1)
    places = np.clip(np.digitize(confidences, edges, right=True) - 1, 0, BINS - 1)
    found = []
    for place in range(BINS):
        inside = places == place
        some = bool(inside.any())
        found.append(
            ConfidenceBin(
                low=float(edges[place]),
                high=float(edges[place + 1]),
                words=int(inside.sum()),
                confidence=float(confidences[inside].mean()) if some else 0.0,
                accuracy=float(right[inside].mean()) if some else 0.0,
            )
        )
    return tuple(found)


def calibration_error(bins: Iterable[ConfidenceBin]) -> float:
    """Mean distance between confidence and accuracy of the bins, weighted by their words."""
    bins = list(bins)
    words = sum(b.words for b in bins)
    return sum(b.words * abs(b.accuracy - b.confidence) for b in bins) / max(words, 1)


def accuracy_interval(counts: Sequence[tuple[int, int]], plain_mean: bool = False) -> Interval:
    """Bootstrap interval of an accuracy in percent, over one set or several.

    To draw as many words again as a set has, with replacement, and count the right ones is a draw
    of the binomial distribution: that is what is drawn, `DRAWS` times from the seed `SEED`, for
    each set by itself. Where all words are right, or none, all draws are the same.

    Args:
        counts: images and right ones of each set; sets must not be empty.
        plain_mean: of the mean of the sets' accuracies, rather than of all their images'.

    """
    draws = np.random.default_rng(SEED)
    drawn = [draws.binomial(images, correct / images, DRAWS) for images, correct in counts]
    if plain_mean:
        shares = [d / images for d, (images, _) in zip(drawn, counts, strict=True)]
        values = np.mean(shares, axis=0)
    else:
        values = np.sum(drawn, axis=0) / sum(images for images, _ in counts)
    return percentiles(100.0 * values)


def percentiles(values: np.ndarray) -> Interval:
    """The middle 95% of the values."""
    low, high = np.percentile(values, [2.5, 97.5])
    return Interval(float(low), float(high))


def by_length(words: Iterable[ReadWord], columns: Sequence[str]) -> tuple[LengthRow, ...]:
    """Words by the length of what should be read, shortest first."""
    images: dict[int, int] = {}
    correct: dict[int, dict[str, int]] = {}
    for word in words:
        length = len(word.truth)
        images[length] = images.get(length, 0) + 1
        counts = correct.setdefault(length, dict.fromkeys(columns, 0))
        for column in columns:
            counts[column] += word.right(column)
    return tuple(LengthRow(length, images[length], correct[length]) for length in sorted(images))


def counts(scores: Sequence[SetScore], column: str) -> list[tuple[int, int]]:
    """Images and right ones of sets."""
    return [(score.images, score.correct[column]) for score in scores]

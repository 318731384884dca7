"""Two models on the same words: is one better, or is it chance?"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import binomtest

from engine.evaluation import ReadWord
from scoring.statistics import DRAWS, SEED, Interval, percentiles
from scoring.summary import EACH_IMAGE_ONCE, Summary, each_image_once


@dataclass(frozen=True)
class Comparison:
    """McNemar's test of two models on one set, for one granularity or fused.

    Attributes:
        name: of the set.
        column: granularity or fused.
        images: that both models read.
        both, only_first, only_second, neither: how many of them were read right by whom.
        difference: accuracy of the second less that of the first, in points.
        interval: of the difference, by a bootstrap of the pairs.
        p_value: probability, were the models equally good, that the words which one of them alone
            reads right split at least as unevenly; exact (binomial, two-sided), 1 where there are
            none. Not corrected for testing several sets.

    """

    name: str
    column: str
    images: int
    both: int
    only_first: int
    only_second: int
    neither: int
    difference: float
    interval: Interval
    p_value: float


def compare(first: Summary, second: Summary) -> list[Comparison]:
    """Tests of all sets, and of all their images together, for what both models have.

    No image is tested twice, also where several sets are scored as one.

    Raises:
        ValueError: they were scored by different protocols.

    """
    if first.scored != second.scored:
        raise ValueError(
            f"{first.path} is scored on charset {first.scored.name} and {second.path} on "
            f"{second.scored.name}; give both the same with --protocol."
        )
    columns = [c for c in first.columns if c in second.columns]
    others = {score.name: score for score in second.scores}
    sets = [(s.name, [s], [others[s.name]]) for s in first.scores if s.name in others]
    if len(sets) > 1:
        sets.append((EACH_IMAGE_ONCE, first.scores, second.scores))
    pairs = [
        (name, _pairs(each_image_once(own), each_image_once(other))) for name, own, other in sets
    ]
    return [mcnemar(name, column, both) for column in columns for name, both in pairs]


def mcnemar(name: str, column: str, pairs: Sequence[tuple[ReadWord, ReadWord]]) -> Comparison:
    """McNemar's exact test of paired readings.

    Args:
        name: of the set.
        column: granularity or fused.
        pairs: the same image as the first and as the second model read it.

    """
    right = [(a.right(column), b.right(column)) for a, b in pairs]
    both, only_first = right.count((True, True)), right.count((True, False))
    only_second, neither = right.count((False, True)), right.count((False, False))
    images, split = len(right), only_first + only_second
    shares = np.array([only_first, only_second, both + neither]) / max(images, 1)
    # Drawing pairs with replacement is a draw of the multinomial distribution.
    draws = np.random.default_rng(SEED).multinomial(images, shares, DRAWS) if images else None
    interval = Interval(0.0, 0.0)
    if draws is not None:
        interval = percentiles(100.0 * (draws[:, 1] - draws[:, 0]) / images)
    return Comparison(
        name=name,
        column=column,
        images=images,
        both=both,
        only_first=only_first,
        only_second=only_second,
        neither=neither,
        difference=100.0 * (only_second - only_first) / max(images, 1),
        interval=interval,
        p_value=float(binomtest(only_first, split).pvalue) if split else 1.0,
    )


def _pairs(
    first: Sequence[ReadWord], second: Sequence[ReadWord]
) -> list[tuple[ReadWord, ReadWord]]:
    theirs = {(word.source, word.record): word for word in second}
    pairs = [(word, theirs.get((word.source, word.record))) for word in first]
    return [(word, other) for word, other in pairs if other is not None]

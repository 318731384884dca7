import itertools

import numpy as np
import pytest
from scipy.stats import binom, binomtest

from engine.evaluation import ReadWord, SetScore
from scoring.comparison import compare, mcnemar
from scoring.statistics import (
    accuracy_interval,
    by_length,
    calibration_error,
    confidence_bins,
    measure,
)
from scoring.summary import summarize
from text import Charset

LETTERS = Charset.load("36")


def word(truth: str, text: str, confidence: float = 0.5, record: int = 1, **changes) -> ReadWord:
    texts, confidences = {"char": text, "fused": text}, {"char": confidence, "fused": confidence}
    settings = {"source": "SVT", "granularity": "char"} | changes
    return ReadWord(record=record, truth=truth, texts=texts, confidences=confidences, **settings)


def summary_of(path: str, words: dict[str, list[ReadWord]], scored: Charset = LETTERS):
    scores = []
    for name, own in words.items():
        correct = {c: sum(w.right(c) for w in own) for c in ("char", "fused")}
        scores.append(SetScore(name, len(own), correct, words=tuple(own)))
    return summarize(path, "model", "protocol", scored, 25, scores)


def test_one_minus_ned_is_by_the_longer_of_both():
    # kitten -> sitting takes 3 edits of 7; "" -> ab 2 of 2; equal words and two empty ones none.
    words = [word("kitten", "sitting"), word("ab", ""), word("cat", "cat"), word("", "")]
    assert measure(words, "fused").one_minus_ned == pytest.approx((4 / 7 + 0 + 1 + 1) / 4)


def test_a_label_beyond_the_limit_is_an_error_even_where_it_is_read():
    words = [word("a" * 30, "a" * 30, beyond_limit=True), word("b", "b")]
    assert measure(words, "fused").correct == 1
    rows = by_length(words, ["fused"])
    assert [(r.characters, r.images, r.correct["fused"]) for r in rows] == [(1, 1, 1), (30, 1, 0)]


def test_calibration_error_by_hand():
    confidences = np.array([0.05, 0.0, 0.95, 1.0, 0.1])
    right = np.array([False, False, True, False, True])
    bins = confidence_bins(confidences, right)
    # 0, 0.05 and 0.1 are in the first bin; 0.95 and 1 in the last.
    assert [b.words for b in bins] == [3, 0, 0, 0, 0, 0, 0, 0, 0, 2]
    assert calibration_error(bins) == pytest.approx(
        3 / 5 * abs(1 / 3 - 0.05) + 2 / 5 * abs(1 / 2 - 0.975)
    )


def test_perfect_confidences_have_no_calibration_error():
    right = np.array([True] * 8 + [False] * 2)
    assert calibration_error(confidence_bins(np.full(10, 0.8), right)) == pytest.approx(0)


def test_the_interval_is_that_of_resampling_the_images():
    right = np.zeros(200, bool)
    right[:150] = True
    draws = np.random.default_rng(0).integers(0, 200, (20_000, 200))
    low, high = np.percentile(100 * right[draws].mean(axis=1), [2.5, 97.5])
    found = accuracy_interval([(200, 150)])
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.6)
    assert found.low == pytest.approx(100 * binom.ppf(0.025, 200, 0.75) / 200, abs=0.51)
    assert found == accuracy_interval([(200, 150)])  # seeded


def test_intervals_of_a_total_and_of_a_plain_mean_differ():
    sets = [(1000, 950), (10, 5)]
    weighted, mean = accuracy_interval(sets), accuracy_interval(sets, plain_mean=True)
    assert weighted.high - weighted.low < 4
    assert mean.high - mean.low > 20
    assert mean.low < 72.5 < mean.high


@pytest.mark.parametrize(("only_first", "only_second"), [(0, 0), (1, 9), (7, 3), (30, 60)])
def test_mcnemar_is_the_exact_binomial_test(only_first, only_second):
    pairs = [(word("a", "a"), word("a", "b"))] * only_first
    pairs += [(word("a", "b"), word("a", "a"))] * only_second
    pairs += [(word("a", "a"), word("a", "a"))] * 20 + [(word("a", "x"), word("a", "y"))] * 10
    found = mcnemar("SVT", "fused", pairs)
    counted = (found.both, found.only_first, found.only_second, found.neither)
    assert counted == (20, only_first, only_second, 10)
    assert found.difference == pytest.approx(100 * (only_second - only_first) / len(pairs))
    assert found.interval.low <= found.difference <= found.interval.high
    if only_first == only_second == 0:
        assert found.p_value == 1
    else:
        split = only_first + only_second
        fewer = min(only_first, only_second)
        expected = binomtest(fewer, split, 0.5).pvalue
        by_hand = min(1.0, 2 * binom.cdf(fewer, split, 0.5))
        assert found.p_value == pytest.approx(expected) == pytest.approx(by_hand)


def test_models_are_compared_image_by_image():
    numbers = itertools.count(1)
    same = [word("a", "a", record=next(numbers)) for _ in range(5)]
    first = summary_of("A", {"SVT": [*same, word("b", "b", record=6), word("c", "x", record=7)]})
    # In another order, and without one of the images.
    second = summary_of("B", {"SVT": [word("b", "x", record=6), *same[::-1]]})
    found = {c.column: c for c in compare(first, second)}
    assert set(found) == {"char", "fused"}
    assert (found["fused"].images, found["fused"].both, found["fused"].only_first) == (6, 5, 1)


def test_images_of_two_sets_are_tested_once():
    part = [word("a", "a", record=1, source="IC13_857")]
    whole = [word("a", "a", record=n, source="IC13_1015") for n in (1, 2)]
    summary = summary_of("A", {"IC13_857": part, "IC13_1015": whole})
    assert summary.once.measures["fused"].images == 2
    both = compare(summary, summary)
    assert {c.name: c.images for c in both if c.column == "fused"} == {
        "IC13_857": 1,
        "IC13_1015": 2,
        "each image once": 2,
    }
    # Scored as one set, as without --benchmark_all_eval.
    summary = summary_of("A", {"evaluation": [*part, *whole]})
    assert summary.once.measures["fused"].images == 2
    assert sum(row.images for row in summary.once.lengths) == 2
    assert {c.images for c in compare(summary, summary)} == {2}


def test_other_protocols_are_not_compared():
    words = {"SVT": [word("a", "a")]}
    with pytest.raises(ValueError, match="on charset 36 and B on 94; give both the same"):
        compare(summary_of("A", words), summary_of("B", words, Charset.load("94")))

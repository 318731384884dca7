"""All that is said of one checkpoint: its scores, and the statistics of the words behind them."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from engine.evaluation import ReadWord, SetScore
from engine.report import Total, overall, totals
from records.benchmarks import lies_in_another
from scoring.statistics import (
    Interval,
    LengthRow,
    Measures,
    accuracy_interval,
    by_length,
    counts,
    measure,
)
from text import Charset

EACH_IMAGE_ONCE = "each image once"


@dataclass(frozen=True)
class SetSummary:
    """Statistics of one set, or of several together: measures by column, and words by length."""

    name: str
    measures: dict[str, Measures]
    lengths: tuple[LengthRow, ...]


@dataclass(frozen=True)
class TotalSummary:
    """A total with the intervals of its accuracies, by column.

    Sets are drawn independently, which the eight are not quite: two of them hold two others.
    """

    total: Total
    weighted: dict[str, Interval]
    mean: dict[str, Interval]


@dataclass(frozen=True)
class Summary:
    """One checkpoint's scores.

    Attributes:
        path: of the checkpoint.
        model: name of the architecture.
        protocol: a line that says how words were compared.
        scored: the charset they were compared in.
        limit: most characters that the model can read.
        scores: of the sets; their words may be left out to save memory.
        sets: statistics of each.
        totals: six sets, eight sets, …
        once: statistics of all images, those that two sets share counted once.

    """

    path: str
    model: str
    protocol: str
    scored: Charset
    limit: int
    scores: list[SetScore] = field(repr=False)
    sets: list[SetSummary]
    totals: list[TotalSummary]
    once: SetSummary | None

    @property
    def columns(self) -> list[str]:
        """Granularities, and fused."""
        return list(self.scores[0].correct)

    @property
    def overall(self) -> SetScore:
        """All sets as one, each image once."""
        return overall(self.scores)


def summarize(
    path: str, model: str, protocol: str, scored: Charset, limit: int, scores: list[SetScore]
) -> Summary:
    """Statistics of scores that have their words."""
    columns = list(scores[0].correct)
    once = each_image_once(scores)
    return Summary(
        path,
        model,
        protocol,
        scored,
        limit,
        scores,
        [_summary(s.name, s.words, columns) for s in scores],
        [_total(total, scores, columns) for total in totals(scores)],
        _summary(EACH_IMAGE_ONCE, once, columns) if once else None,
    )


def each_image_once(scores: Sequence[SetScore]) -> list[ReadWord]:
    """Words of scores, less those of sets whose images are all in another one of them.

    A score may be of several sets.
    """
    words = [word for score in scores for word in score.words]
    sources = {word.source for word in words}
    parts = {source for source in sources if lies_in_another(source, sources)}
    return [word for word in words if word.source not in parts]


def _summary(name: str, words: Sequence, columns: Sequence[str]) -> SetSummary:
    measures = {column: measure(words, column) for column in columns}
    return SetSummary(name, measures, by_length(words, columns))


def _total(total: Total, scores: Sequence[SetScore], columns: Sequence[str]) -> TotalSummary:
    used = [s for s in scores if s.name in total.sets]
    return TotalSummary(
        total,
        {c: accuracy_interval(counts(used, c)) for c in columns},
        {c: accuracy_interval(counts(used, c), plain_mean=True) for c in columns},
    )

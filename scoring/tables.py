"""The statistics as Markdown tables, which the terminal shows, too."""

from collections.abc import Callable, Sequence

from console.markdown_table import markdown
from engine.report import ranking, table
from scoring.comparison import Comparison
from scoring.evaluation_sets import Contents
from scoring.findings import Findings
from scoring.statistics import BINS, DRAWS, SEED, Interval, Measures
from scoring.summary import EACH_IMAGE_ONCE, Summary

METHOD = (
    f"Intervals hold 95% of {DRAWS:,} bootstrap draws (seed {SEED}); where all or none are right "
    "they have no width. 1-NED is the mean of 1 - edit distance / longer length. ECE is the "
    f"expected calibration error over {BINS} bins of equal width. Sets are drawn independently, "
    f"though some share images; `{EACH_IMAGE_ONCE}` leaves out IC13_857 beside IC13_1015, "
    "IC15_1811 beside IC15_2077, and IC03_860 beside IC03_867."
)


def markdown_report(findings: Findings) -> str:
    """The whole as a Markdown file."""
    parts = ["# Scores"]
    if len(findings.scores_by_path) > 1:
        parts += ["## Ranking", ranking(findings.scores_by_path)]
    parts += [f"not scored: {why}" for why in findings.not_scored]
    if findings.comparisons:
        first, second = (summary.path for summary in findings.summaries)
        parts += ["## Comparison", comparison_table(first, second, findings.comparisons)]
    for summary in findings.summaries:
        parts += [
            f"## {summary.model} from {summary.path}",
            summary.protocol,
            table(summary.scores),
            measures_tables(summary),
            f"Accuracy by length of the word\n\n{length_table(summary)}",
        ]
    return "\n\n".join([*parts, "## Sets", contents_table(findings.contents), METHOD]) + "\n"


def measures_tables(summary: Summary) -> str:
    """A table for each granularity and fused: accuracy with its interval, 1-NED, confidence."""
    return "\n\n".join(_measures_table(summary, column) for column in summary.columns)


def _measures_table(summary: Summary, column: str) -> str:
    every = (
        [*summary.sets, summary.once] if summary.once and len(summary.sets) > 1 else summary.sets
    )
    rows = [[s.name, *measure_cells(s.measures[column])] for s in every]
    for one in summary.totals:
        total = one.total
        for kind, values, intervals in (
            ("weighted", total.weighted, one.weighted),
            ("plain mean", total.mean, one.mean),
        ):
            accuracy, interval = f"{values[column]:.2f}", interval_text(intervals[column])
            rows.append(
                [f"{total.label}, {kind}", f"{total.images:,}", accuracy, interval, *[""] * 3]
            )
    header = ["images", "accuracy %", "95% interval", "1-NED", "confidence", "ECE"]
    return markdown([column, *header], rows)


def measure_cells(measures: Measures) -> list[str]:
    """Images, accuracy, interval, 1-NED, mean confidence, calibration error."""
    return [
        f"{measures.images:,}",
        f"{measures.accuracy:.2f}",
        interval_text(measures.interval),
        f"{measures.one_minus_ned:.4f}",
        f"{measures.mean_confidence:.3f}",
        f"{measures.calibration_error:.3f}",
    ]


def interval_text(interval: Interval, form: Callable[[float], str] = "{:.2f}".format) -> str:
    """An interval in words."""
    return f"{form(interval.low)} to {form(interval.high)}"


def length_table(summary: Summary) -> str:
    """Accuracy by the number of characters, over each image once."""
    rows = [
        [
            f"{row.characters}" + (" (beyond the limit)" if row.characters > summary.limit else ""),
            f"{row.images:,}",
            *(f"{100 * row.correct[c] / row.images:.2f}" for c in summary.columns),
        ]
        for row in (summary.once.lengths if summary.once else ())
    ]
    return markdown(["characters", "images", *(f"{c} %" for c in summary.columns)], rows)


def comparison_table(first: str, second: str, comparisons: Sequence[Comparison]) -> str:
    """McNemar's tests."""
    rows = [
        [
            f"{c.name}, {c.column}",
            f"{c.images:,}",
            *(f"{n:,}" for n in (c.both, c.only_first, c.only_second, c.neither)),
            f"{c.difference:+.2f}",
            interval_text(c.interval, "{:+.2f}".format),
            p_text(c.p_value),
        ]
        for c in comparisons
    ]
    header = ["set", "images", "both", "only A", "only B", "neither", "B - A", "95% interval", "p"]
    explained = (
        "Words read right by both, by one alone, by neither; the difference of the accuracies in "
        "points; and the p-value of McNemar's exact test, not corrected for testing several sets."
    )
    return f"A: {first}  \nB: {second}\n\n{markdown(header, rows)}\n\n{explained}"


def p_text(p_value: float) -> str:
    """A p-value with three digits."""
    return "< 0.0001" if p_value < 0.0001 else f"{p_value:.4f}"


def contents_table(contents: Sequence[Contents]) -> str:
    """Number and hash of every set, and what is left out of it."""
    rows = []
    for one in contents:
        reasons = "; ".join(f"{count:,} {reason}" for reason, count in one.left_out.items())
        rows.append([one.name, f"{one.records:,}", f"{one.compared:,}", one.sha256, reasons])
    return markdown(["name", "records", "compared", "SHA-256 of the contents", "left out"], rows)

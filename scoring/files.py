"""The scores as JSON and CSV."""

import csv
import io
from dataclasses import asdict
from typing import Any

from engine.report import as_json
from scoring.findings import Findings
from scoring.statistics import Interval
from scoring.summary import Summary

HEADER = [
    "checkpoint",
    "protocol",
    "set",
    "reading",
    "images",
    "correct",
    "accuracy",
    "interval_low",
    "interval_high",
    "one_minus_ned",
    "mean_confidence",
    "calibration_error",
]


def summary_as_json(summary: Summary) -> dict[str, Any]:
    """Sets, totals and statistics of a checkpoint as plain values."""
    found = as_json(summary.scores)
    measured = {s.name: s for s in summary.sets}
    for entry in found["sets"]:
        if entry["name"] in measured:
            entry |= _statistics(measured[entry["name"]])
    for entry, total in zip(found["totals"], summary.totals, strict=True):
        entry["weighted_interval"] = {c: asdict(i) for c, i in total.weighted.items()}
        entry["mean_interval"] = {c: asdict(i) for c, i in total.mean.items()}
    return {
        "model": summary.model,
        "protocol": summary.scored.name,
        "protocol_line": summary.protocol,
        "longest_label": summary.limit,
        **found,
        "each_image_once": None if summary.once is None else _statistics(summary.once),
    }


def _statistics(one) -> dict[str, Any]:
    return {
        "measures": {column: asdict(measures) for column, measures in one.measures.items()},
        "by_length": [asdict(row) for row in one.lengths],
    }


def as_csv(findings: Findings) -> str:
    """A line for each checkpoint, set or total, and granularity or fused.

    Checkpoints that are not told of in full have no more than their accuracies.
    """
    stream = io.StringIO()
    writer = csv.DictWriter(stream, HEADER, restval="")
    writer.writeheader()
    for summary in findings.summaries:
        for row in _rows(summary):
            first = {"checkpoint": summary.path, "protocol": summary.scored.name}
            writer.writerow(first | row)
    told = {summary.path for summary in findings.summaries}
    protocol = findings.summaries[0].scored.name  # of all
    for path, scores in findings.scores_by_path.items():
        for score in scores if path not in told else ():
            for column, correct in score.correct.items():
                named = {
                    "checkpoint": path,
                    "protocol": protocol,
                    "set": score.name,
                    "reading": column,
                }
                counted = {"images": score.images, "correct": correct}
                writer.writerow(named | counted | {"accuracy": score.accuracy(column)})
    return stream.getvalue()


def _rows(summary: Summary) -> list[dict[str, Any]]:
    rows = []
    for one in [*summary.sets, summary.once] if summary.once else summary.sets:
        for column, measures in one.measures.items():
            values = asdict(measures)
            interval = values.pop("interval")
            rows.append(
                {"set": one.name, "reading": column}
                | {name: value for name, value in values.items() if name in HEADER}
                | _ends(Interval(**interval))
            )
    for one in summary.totals:
        for kind, values, intervals in (
            ("weighted", one.total.weighted, one.weighted),
            ("plain mean", one.total.mean, one.mean),
        ):
            for column, accuracy in values.items():
                named = {"set": f"{one.total.label}, {kind}", "reading": column}
                images = {"images": one.total.images, "accuracy": accuracy}
                rows.append(named | images | _ends(intervals[column]))
    return rows


def _ends(interval: Interval) -> dict[str, float]:
    return {"interval_low": interval.low, "interval_high": interval.high}

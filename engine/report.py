"""Scores as tables for people and as JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from console.markdown_table import markdown
from engine.evaluation import SetScore, merge_scores
from records.benchmarks import EIGHT, EXPECTED_IMAGES, TOTALS, lies_in_another


@dataclass(frozen=True)
class Total:
    """Accuracy over several sets: weighted by images, and the plain mean of the sets.

    Attributes:
        name: six sets, eight sets, a benchmark of several sets, or all.
        sets: names that went in.
        missing: names that belong in, but were not found, or not one of their images could be read.
        images: of all.
        weighted, mean: percent, by column.

    """

    name: str
    sets: tuple[str, ...]
    missing: tuple[str, ...]
    images: int
    weighted: dict[str, float]
    mean: dict[str, float]

    @property
    def label(self) -> str:
        """Its name; where sets are missing, with how many there are."""
        return self.name if not self.missing else f"{self.name} ({len(self.sets)} found)"


def totals(scores: Sequence[SetScore]) -> list[Total]:
    """Totals over the six, the eight and the benchmarks of several sets, as far as they were found;
    where none was, over all sets."""
    by_name = {s.name: s for s in scores}
    result: list[Total] = []
    for name, benchmarks in TOTALS:
        found = [by_name[n] for n in benchmarks if n in by_name]
        missing = tuple(n for n in benchmarks if n not in by_name)
        # Where only the six are there, the eight would be the same total again.
        same = benchmarks is EIGHT and result and len(found) == len(result[0].sets)
        if found and not same:
            result.append(_total(name, found, missing))
    if not result and len(scores) > 1:
        result.append(_total("all sets", scores, ()))
    return result


def _total(name: str, scores: Sequence[SetScore], missing: tuple[str, ...]) -> Total:
    names = list(scores[0].correct)
    images = sum(s.images for s in scores)
    return Total(
        name,
        tuple(s.name for s in scores),
        missing,
        images,
        {n: 100.0 * sum(s.correct[n] for s in scores) / max(images, 1) for n in names},
        {n: sum(s.accuracy(n) for s in scores) / len(scores) for n in names},
    )


def table(scores: Sequence[SetScore]) -> str:
    """Markdown table of the sets and the totals, with what a reader must know about them."""
    names = list(scores[0].correct)
    rows = [
        [s.name, f"{s.images:,}", *(f"{s.accuracy(n):.2f}" for n in names), f"{s.seconds:.1f}"]
        for s in scores
    ]
    summed = totals(scores)
    for total in summed:
        for kind, values in (("weighted", total.weighted), ("plain mean", total.mean)):
            cells = [f"{total.images:,}", *(f"{values[n]:.2f}" for n in names), ""]
            rows.append([f"{total.label}, {kind}", *cells])
    text = markdown(["set", "images", *(f"{n} %" for n in names), "seconds"], rows)
    warning = stand_in_warning(scores)
    head = f"{warning}\n\n" if warning else ""
    return head + text + "".join(f"\nnote: {note}" for note in notes(scores))


def stand_in_warning(scores: Sequence[SetScore]) -> str | None:
    """A sentence that names the sets which are rendered; None where all are real."""
    stand_ins = [s.name for s in scores if s.stand_in is not None]
    if not stand_ins:
        return None
    return (
        "Rendered stand-ins, NOT the real sets of that name: "
        f"{', '.join(stand_ins)}. The figures say nothing about real benchmarks."
    )


def notes(scores: Sequence[SetScore]) -> list[str]:
    """What a reader of the scores must know, a line each."""
    missing = [
        f"{t.name}: not found or unreadable: {', '.join(t.missing)}"
        for t in totals(scores)
        if t.missing
    ]
    return [note for s in scores for note in _notes(s)] + missing


def without_parts(scores: Sequence[SetScore]) -> list[SetScore]:
    """The sets, less those whose images are all in another one of them."""
    names = {score.name for score in scores}
    return [score for score in scores if not lies_in_another(score.name, names)]


def overall(scores: Sequence[SetScore]) -> SetScore:
    """All sets as one, each image once."""
    return merge_scores("all", without_parts(scores))


def best_first(by_path: Mapping[str, Sequence[SetScore]]) -> list[tuple[str, SetScore]]:
    """Checkpoints and their scores over each image once, by fused accuracy."""
    summed = [(path, overall(scores)) for path, scores in by_path.items()]
    return sorted(summed, key=lambda item: -item[1].accuracy("fused"))


def ranking(by_path: Mapping[str, Sequence[SetScore]]) -> str:
    """Markdown table of several checkpoints, the best first."""
    ranked = best_first(by_path)
    # A model may lack the granularities of another.
    names = max((list(score.correct) for _, score in ranked), key=len)
    rows = [
        [
            path,
            f"{score.images:,}",
            *(f"{score.accuracy(n):.2f}" if n in score.correct else "" for n in names),
        ]
        for path, score in ranked
    ]
    return markdown(["checkpoint", "images", *(f"{n} %" for n in names)], rows)


def _notes(score: SetScore) -> list[str]:
    notes = []
    if score.unreadable:
        notes.append(f"{score.name}: {score.unreadable} unreadable image(s) left out")
    if score.beyond_limit:
        notes.append(
            f"{score.name}: {score.beyond_limit} label(s) longer than the model can read count as "
            "errors"
        )
    expected = EXPECTED_IMAGES.get(score.name)
    if expected and score.stand_in is None and score.images + score.unreadable != expected:
        notes.append(
            f"{score.name}: {score.images + score.unreadable:,} images instead of {expected:,}; "
            "not comparable with published figures"
        )
    return notes


def as_json(scores: Sequence[SetScore]) -> dict[str, Any]:
    """Sets and totals as plain values."""
    return {
        "sets": [
            {
                "name": s.name,
                "images": s.images,
                "correct": s.correct,
                "accuracy": {n: s.accuracy(n) for n in s.correct},
                "unreadable": s.unreadable,
                "beyond_limit": s.beyond_limit,
                "seconds": s.seconds,
                "stand_in": s.stand_in,
            }
            for s in scores
        ],
        "totals": [
            {
                "name": t.name,
                "sets": t.sets,
                "missing": t.missing,
                "images": t.images,
                "weighted": t.weighted,
                "mean": t.mean,
            }
            for t in totals(scores)
        ],
    }

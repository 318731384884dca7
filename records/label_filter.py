"""Which labels are used, and a count of those that are not."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from text import Charset

EXAMPLES = 3
NOTHING_IN_CHARSET = "no character of the charset in it"
TOO_LONG = "longer than"  # so many characters
ALTERED = "characters outside the charset removed"
# Cures by what stands in a reason: where labels are trained on, and where they are scored.
_OTHER_CHARACTERS = "train with another --character (tools/check_data.py lists those in the labels)"
TRAINING_CURES = {
    NOTHING_IN_CHARSET: _OTHER_CHARACTERS,
    ALTERED: _OTHER_CHARACTERS,
    TOO_LONG: "train with a larger --batch_max_length",
}
_MORE_COMPARED = "--protocol (36, 62, 94) says which characters are compared"
SCORING_CURES = {NOTHING_IN_CHARSET: _MORE_COMPARED, ALTERED: _MORE_COMPARED}


@dataclass
class FilterReport:
    """What happened to the labels of a set: counts by reason, with a few examples each.

    `with_boxes` counts the kept records that have character boxes, None where nobody asked;
    `trainable` is the filter's, and decides what is advised.
    """

    kept: int = 0
    with_boxes: int | None = None
    trainable: bool = True
    dropped: dict[str, int] = field(default_factory=dict)
    altered: int = 0
    examples: dict[str, list[str]] = field(default_factory=dict)

    def drop(self, reason: str, example: str) -> None:
        """Count a record that is not used."""
        self.dropped[reason] = self.dropped.get(reason, 0) + 1
        self._example(reason, example)

    def leave_out(self, count: int, reason: str) -> None:
        """Count records that are left out whatever they hold."""
        if count:
            self.dropped[reason] = self.dropped.get(reason, 0) + count

    def alter(self, label: str, text: str) -> None:
        """Count a label that lost characters."""
        self.altered += 1
        self._example(ALTERED, f"{label!r} -> {text!r}")

    def _example(self, reason: str, example: str) -> None:
        keep_example(self.examples, reason, example)

    def __str__(self) -> str:
        counts = dict(self.dropped)
        boxes = "" if self.with_boxes is None else f" ({self.with_boxes:,} with character boxes)"
        first = f"{self.kept:,} records kept{boxes}, {sum(counts.values()):,} dropped"
        if self.altered:
            counts[ALTERED] = self.altered
        known = TRAINING_CURES if self.trainable else SCORING_CURES
        cures = {cure for reason in counts for part, cure in known.items() if part in reason}
        last = [f"  to keep more: {'; '.join(sorted(cures))}"] if cures else []
        return "\n".join([first, *reason_lines(counts, self.examples), *last])


def keep_example(examples: dict[str, list[str]], reason: str, example: str) -> None:
    """Keep the first few examples of a reason, shortened."""
    kept = examples.setdefault(reason, [])
    if len(kept) < EXAMPLES and example[:80] not in kept:
        kept.append(example[:80])


def reason_lines(counts: Mapping[str, int], examples: Mapping[str, Sequence[str]]) -> list[str]:
    """A line for each reason: how often, and its examples."""
    return [
        f"  {count:,}: {reason}"
        + (f" (for example {', '.join(examples[reason])})" if reason in examples else "")
        for reason, count in counts.items()
    ]


@dataclass(frozen=True)
class LabelFilter:
    """Decides on labels.

    Attributes:
        charset: labels are normalised to it.
        max_length: longest label in characters; None for no limit.
        filtering: leave out labels that are too long as annotated, before characters outside the
            charset are removed (the reference's rule; reference facts).
        trainable: leave out what no target can be made of: nothing left, or too long.

    """

    charset: Charset
    max_length: int | None
    filtering: bool = True
    trainable: bool = True

    def accepts(self, label: str, report: FilterReport) -> bool:
        """Whether a label is used; the report counts why not, and what is removed from it."""
        normalized = self.charset.normalize(label)
        fault = self.fault(label, normalized.text)
        if fault:
            report.drop(fault, repr(label))
        elif normalized.removed:
            report.alter(label, normalized.text)
        return not fault

    def fault(self, label: str, normalized: str) -> str:
        """Why a label is not used, empty where it is: as annotated, and as it is normalised."""
        too_long = (self.filtering and self._exceeds(label)) or (
            self.trainable and self._exceeds(normalized)
        )
        if (self.filtering or self.trainable) and not normalized and not too_long:
            return NOTHING_IN_CHARSET
        return f"{TOO_LONG} {self.max_length} characters" if too_long else ""

    def _exceeds(self, label: str) -> bool:
        return self.max_length is not None and len(label) > self.max_length

    def nothing_left(self, path: object, declared: int, report: FilterReport) -> str:
        """The message for a set of which nothing can be used."""
        limit = "" if self.max_length is None else f" and at most {self.max_length} characters"
        scored = "" if self.trainable else "\n  to score them all the same: --data_filtering_off"
        return (
            f"Nothing is left of the {declared:,} records in {path}, with the charset "
            f"{self.charset.name}{limit}:\n{report}{scored}"
        )

"""Counts of what was found, with a few examples of each."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from lmdb_tools.reasons import Reason
from records.label_filter import EXAMPLES

LONGEST_DETAIL = 300  # characters; labels and messages may be of any length


@dataclass(frozen=True)
class Example:
    """One case of a finding.

    Attributes:
        lmdb: the LMDB's path.
        record: number of the record; None where it is about the whole LMDB.
        detail: what was found.

    """

    lmdb: str
    record: int | None
    detail: str = ""

    def __str__(self) -> str:
        if self.record is None and self.lmdb in self.detail:
            return self.detail
        where = self.lmdb if self.record is None else f"{self.lmdb} record {self.record}"
        return f"{where}: {self.detail}" if self.detail else where


@dataclass
class Findings:
    """Counts by reason, their first examples, and characters outside of the charset."""

    counts: Counter[Reason] = field(default_factory=Counter)
    examples: dict[Reason, list[Example]] = field(default_factory=dict)
    characters: Counter[str] = field(default_factory=Counter)

    def wants_example(self, reason: Reason) -> bool:
        """Whether an example of the reason would be kept."""
        return len(self.examples.get(reason, ())) < EXAMPLES

    def add(self, reason: Reason, example: Example, count: int = 1) -> None:
        """Count cases of a reason, one of which is the example."""
        self.counts[reason] += count
        if self.wants_example(reason):
            detail = example.detail
            if len(detail) > LONGEST_DETAIL:
                detail = detail[:LONGEST_DETAIL] + "…"
            kept = Example(example.lmdb, example.record, detail)
            self.examples.setdefault(reason, []).append(kept)

    def merge(self, other: "Findings") -> None:
        """Add what was found elsewhere."""
        self.counts.update(other.counts)
        self.characters.update(other.characters)
        for reason, examples in other.examples.items():
            kept = self.examples.setdefault(reason, [])
            kept += examples[: EXAMPLES - len(kept)]

    @property
    def errors(self) -> int:
        """How many errors there are."""
        return sum(count for reason, count in self.counts.items() if reason.is_error)

    @property
    def warnings(self) -> int:
        """How many warnings there are."""
        return sum(count for reason, count in self.counts.items() if not reason.is_error)

    def by_weight(self) -> list[Reason]:
        """Errors before warnings, each the most frequent first."""
        return sorted(self.counts, key=lambda r: (not r.is_error, -self.counts[r], r.text))


def all_of(findings: Iterable[Findings]) -> Findings:
    """The sum of several."""
    total = Findings()
    for one in findings:
        total.merge(one)
    return total

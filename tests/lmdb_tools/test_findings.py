"""Counts and examples of findings."""

from lmdb_tools.findings import Example, Findings, all_of
from lmdb_tools.reasons import NO_IMAGE, TOO_LONG


def test_a_sum_keeps_all_counts_and_the_first_examples():
    parts = [Findings(), Findings(), Findings()]
    for number in range(1, 7):
        parts[number % 3].add(NO_IMAGE, Example("set", number))
    parts[1].add(TOO_LONG, Example("set", 9), count=5)
    total = all_of(parts)
    assert (total.errors, total.warnings) == (6, 5)
    assert [e.record for e in total.examples[NO_IMAGE]] == [3, 6, 1]
    assert [len(part.examples[NO_IMAGE]) for part in parts] == [2, 2, 2]
    assert total.by_weight() == [NO_IMAGE, TOO_LONG]


def test_details_are_shortened():
    findings = Findings()
    findings.add(TOO_LONG, Example("set", 1, "x" * 10_000))
    assert len(str(findings.examples[TOO_LONG][0])) < 400


def test_an_example_says_where():
    assert str(Example("set", 5, "what")) == "set record 5: what"
    assert str(Example("set", 5)) == "set record 5"
    assert str(Example("set", None, "what")) == "set: what"
    assert str(Example("set", None, "The LMDB set is gone.")) == "The LMDB set is gone."

"""What a check found, as text for people and as JSON."""

from typing import Any

from lmdb_tools.findings import Findings
from lmdb_tools.foreign_characters import foreign_characters
from lmdb_tools.lmdb_check import CheckedLmdb
from lmdb_tools.tree_check import CheckedTree

SHOWN_CHARACTERS = 20
SHOWN_LEAKS = 20
COLUMNS = ("LMDB", "for", "records", "usable", "errors", "warnings")


def as_text(tree: CheckedTree) -> str:
    """A table of the LMDBs, then what was found, with hints, and the verdict."""
    found = tree.findings
    parts = [_table(tree.lmdbs)]
    parts += [_paragraph(found, kind) for kind in (True, False)]
    parts += [_leaks(tree), _characters(tree, found), _verdict(tree, found)]
    return "\n\n".join(part for part in parts if part)


def as_json(tree: CheckedTree) -> dict[str, Any]:
    """All of it as plain values."""
    found = tree.findings
    return {
        "passed": tree.passed,
        "errors": found.errors,
        "warnings": found.warnings,
        "options": {
            "character": tree.rules.charset.characters,
            "batch_max_length": tree.rules.max_length,
            "decode": tree.rules.decode,
        },
        "lmdbs": [_lmdb_as_json(one) for one in tree.lmdbs],
        "reasons": _reasons_as_json(found),
        "leaks": [
            {"training": training, "evaluation": evaluation, "images": images}
            for training, evaluation, images in tree.leaks
        ],
        "characters": [
            {
                "character": one.character,
                "code_points": [f"U+{ord(c):04X}" for c in one.character],
                "count": one.count,
                "nfkc": one.compatible,
            }
            for one in foreign_characters(found.characters, tree.rules.charset)
        ],
    }


def _lmdb_as_json(one: CheckedLmdb) -> dict[str, Any]:
    survey = one.survey
    return {
        "path": str(one.path),
        "for": one.purpose,
        "num_samples": None if survey is None else survey.declared,
        "records": one.records,
        "usable": one.usable,
        "errors": one.findings.errors,
        "warnings": one.findings.warnings,
        "notes": {} if survey is None else survey.notes,
        "sha256": one.sha256,
        "reasons": _reasons_as_json(one.findings),
    }


def _reasons_as_json(found: Findings) -> list[dict[str, Any]]:
    return [
        {
            "reason": reason.text,
            "error": reason.is_error,
            "count": found.counts[reason],
            "hint": reason.hint,
            "examples": [
                {"lmdb": e.lmdb, "record": e.record, "detail": e.detail}
                for e in found.examples[reason]
            ],
        }
        for reason in found.by_weight()
    ]


def _table(lmdbs: list[CheckedLmdb]) -> str:
    rows = [
        (str(one.path), one.purpose or "-", *_numbers(one.records, one.usable, one.findings))
        for one in lmdbs
    ]
    if len(lmdbs) > 1:
        records, usable = sum(one.records for one in lmdbs), sum(one.usable for one in lmdbs)
        errors = sum(one.findings.errors for one in lmdbs)
        warnings = sum(one.findings.warnings for one in lmdbs)
        rows.append(("all", "", *(f"{n:,}" for n in (records, usable, errors, warnings))))
    widths = [max(map(len, column)) for column in zip(COLUMNS, *rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column < 2 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in (COLUMNS, *rows)
    )


def _numbers(records: int, usable: int, found: Findings) -> tuple[str, ...]:
    return tuple(f"{n:,}" for n in (records, usable, found.errors, found.warnings))


def _paragraph(found: Findings, errors: bool) -> str:
    reasons = [reason for reason in found.by_weight() if reason.is_error is errors]
    if not reasons:
        return ""
    lines = ["errors" if errors else "warnings"]
    for reason in reasons:
        lines.append(f"  {found.counts[reason]:,}: {reason.text}")
        lines += [f"      {example}" for example in found.examples[reason]]
        lines.append(f"      -> {reason.hint}")
    return "\n".join(lines)


def _leaks(tree: CheckedTree) -> str:
    if not tree.leaks:
        return ""
    lines = [
        f"  {images:,}: {evaluation} in {training}"
        for training, evaluation, images in tree.leaks[:SHOWN_LEAKS]
    ]
    if len(tree.leaks) > SHOWN_LEAKS:
        lines.append(f"  … and {len(tree.leaks) - SHOWN_LEAKS:,} more pairs (--json has all)")
    return "\n".join(["images for evaluation that are trained on", *lines])


def _characters(tree: CheckedTree, found: Findings) -> str:
    foreign = foreign_characters(found.characters, tree.rules.charset)
    if not foreign:
        return ""
    lines = [
        f"characters outside of the charset {tree.rules.charset.name} ({len(foreign):,}), the most "
        "frequent first",
        *(f"  {one}" for one in foreign[:SHOWN_CHARACTERS]),
    ]
    if len(foreign) > SHOWN_CHARACTERS:
        lines.append(f"  … and {len(foreign) - SHOWN_CHARACTERS:,} more (--json has all)")
    if any(one.compatible for one in foreign):
        lines.append(
            "  -> some are other forms of characters in the charset: normalise labels with NFKC "
            "before making the LMDB."
        )
    return "\n".join(lines)


def _verdict(tree: CheckedTree, found: Findings) -> str:
    verdict = "passed" if tree.passed else "failed"
    decoded = "" if tree.rules.decode else "; images were not decoded"
    return f"{verdict} (errors: {found.errors:,}, warnings: {found.warnings:,}{decoded})"

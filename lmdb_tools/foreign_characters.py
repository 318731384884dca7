"""Characters of labels that a charset lacks: which, how often, and what they might be."""

import unicodedata
from collections import Counter
from dataclasses import dataclass

from text import Charset
from text.charset import describe


@dataclass(frozen=True)
class ForeignCharacter:
    """A character outside of the charset.

    Attributes:
        character: itself.
        count: how often it stands in labels.
        compatible: what NFKC makes of it, where the charset has that.

    """

    character: str
    count: int
    compatible: str | None

    def __str__(self) -> str:
        line = f"{self.count:,}: {describe(self.character)}"
        return f"{line}, which NFKC makes {self.compatible!r}" if self.compatible else line


def foreign_characters(counts: Counter[str], charset: Charset) -> list[ForeignCharacter]:
    """The characters, the most frequent first."""
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return [ForeignCharacter(c, count, _compatible(c, charset)) for c, count in ordered]


def _compatible(character: str, charset: Charset) -> str | None:
    normalized = charset.normalize(unicodedata.normalize("NFKC", character))
    return normalized.text if normalized.text and not normalized.removed else None

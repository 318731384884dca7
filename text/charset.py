"""Which characters a recognizer knows, and how a label is brought into that set."""

import os
import string
import unicodedata
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

CHARSET_PRESETS = {
    "36": string.digits + string.ascii_lowercase,
    "62": string.digits + string.ascii_letters,
    # The order of the reference's --sensitive: string.printable without white space.
    "94": string.digits + string.ascii_letters + string.punctuation,
}


@dataclass(frozen=True)
class Normalized:
    """A label in a charset: its text, and the characters that had to be left out."""

    text: str
    removed: str


@dataclass(frozen=True)
class Charset:
    """An ordered set of characters.

    Raises:
        ValueError: no characters, a character that stands twice, one that is not in composed form,
            or white space.

    """

    characters: str

    def __post_init__(self):
        if not self.characters:
            raise ValueError("The charset is empty; give at least one character.")
        twice = sorted(c for c, times in Counter(self.characters).items() if times > 1)
        if twice:
            raise ValueError(f"Characters that stand twice in the charset: {describe(twice)}.")
        decomposed = [c for c in self.characters if unicodedata.normalize("NFC", c) != c]
        if decomposed:
            raise ValueError(
                f"Labels are composed (NFC), and then never hold {describe(decomposed)}; write "
                "the composed form into the charset."
            )
        blank = [c for c in self.characters if c.isspace()]
        if blank:
            raise ValueError(
                f"White space can't be in a charset, as it is left out of every label: "
                f"{describe(blank)}."
            )

    @classmethod
    def load(cls, characters: str) -> "Charset":
        """Charset from a preset's name (36, 62, 94), a UTF-8 file's path, or the characters.

        In a file, line breaks at the ends of lines are not characters.

        Raises:
            ValueError: a file that is missing or not UTF-8, or what can't be a charset.

        """
        if characters in CHARSET_PRESETS:
            return cls(CHARSET_PRESETS[characters])
        if os.path.isfile(characters):  # noqa: PTH113 (Path.is_file raises, of what is no path)
            try:
                lines = Path(characters).read_text(encoding="utf-8-sig").splitlines()
            except UnicodeDecodeError as error:
                raise ValueError(
                    f"The charset file {characters} is not UTF-8 ({error.reason} at byte "
                    f"{error.start}); save it as UTF-8."
                ) from None
            return cls("".join(lines))
        if characters.endswith(".txt"):
            raise ValueError(f"There is no charset file {characters}.")
        if characters.isdecimal() and len(characters) < 4:
            raise ValueError(
                f"There is no preset {characters}, only {', '.join(CHARSET_PRESETS)}; for a "
                "charset of these digits alone, put them into a file."
            )
        try:
            return cls(characters)
        except ValueError as error:
            raise ValueError(
                f"{error} (There is no file {characters[:80]}, so that these are the characters.)"
            ) from None

    @property
    def name(self) -> str:
        """The preset's name, or the number of characters."""
        for name, characters in CHARSET_PRESETS.items():
            if characters == self.characters:
                return name
        return f"custom-{len(self.characters)}"

    @cached_property
    def cased(self) -> bool:
        """Whether upper and lower case are told apart."""
        return any(c.lower() != c for c in self.characters)

    @cached_property
    def _known(self) -> frozenset:
        return frozenset(self.characters)

    def normalize(self, label: str) -> Normalized:
        """Compose (NFC), lower-case for an uncased charset, leave out what the charset lacks."""
        label = label if label.isascii() else unicodedata.normalize("NFC", label)
        if not self.cased:
            label = label.lower()
        if self._known.issuperset(label):
            return Normalized(label, "")
        return Normalized(
            "".join(c for c in label if c in self._known),
            "".join(c for c in label if c not in self._known),
        )


def describe(characters) -> str:
    """Characters with their code points and names, for messages."""
    return ", ".join(f"{c!r} (U+{ord(c):04X} {unicodedata.name(c, 'no name')})" for c in characters)

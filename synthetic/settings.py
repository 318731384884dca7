"""What a rendered stream is made of: difficulty, words, fonts, shares; each with one switch."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from synthetic.fonts import REQUIRED, find_faces
from synthetic.levels import LEVELS
from synthetic.renderer import Renderer, Words
from synthetic.words import AcceptedWords, EasyWords, ListedWords, VocabularyWords, read_words

WORD_SOURCES = {"easy": EasyWords, "vocabulary": VocabularyWords}


@dataclass(frozen=True)
class StreamSettings:
    """Settings of a stream.

    Attributes:
        level: `easy` or `normal`, the look.
        words: `easy` (303 short words), `vocabulary` (words of BERT and GPT-2, random strings and
            numbers), or a UTF-8 file with a word a line; None for the level's own.
        fonts: folders with more fonts.
        packaged_fonts_only: leave out the system's fonts: the same images on every machine.
        curved: share of words on an arc or a wave, 0 to 1; None for the level's own, here and
            below.
        perspective: share of words seen at an angle.
        occluded: share of words with a part hidden.

    """

    level: str = "normal"
    words: str | None = None
    fonts: tuple[Path, ...] = ()
    packaged_fonts_only: bool = False
    curved: float | None = None
    perspective: float | None = None
    occluded: float | None = None

    def renderer(self, seed: int, accepts: Callable[[str], bool] | None = None) -> Renderer:
        """The stream.

        Args:
            seed: 0 or greater.
            accepts: words that it is false for are not drawn; None draws all.

        Raises:
            NoFontsError: no font for the words' characters, or a folder that is missing.
            ValueError: an unknown level, a share that is none, or no word left.
            OSError: a file of words that can't be read.

        """
        if self.level not in LEVELS:
            raise ValueError(f"There is no level {self.level!r}: choose of {', '.join(LEVELS)}.")
        shares = {name: getattr(self, name) for name in ("curved", "perspective", "occluded")}
        shares = {name: share for name, share in shares.items() if share is not None}
        for name, share in shares.items():
            if not 0 <= share <= 1:
                raise ValueError(f"The share of {name} words must be 0 to 1, not {share}.")
        words, characters = self._words(accepts)
        faces = find_faces(self.fonts, not self.packaged_fonts_only, characters)
        return Renderer(self.level, words, faces, seed, replace(LEVELS[self.level], **shares))

    def _words(self, accepts: Callable[[str], bool] | None) -> tuple[Words, str]:
        """The words, and the characters that a face needs for them."""
        name = self.words or ("easy" if self.level == "easy" else "vocabulary")
        if name in WORD_SOURCES:
            words = WORD_SOURCES[name]()
            return (AcceptedWords(words, accepts) if accepts else words), REQUIRED
        listed = read_words(Path(name))
        usable = [word for word in listed if accepts is None or accepts(word)]
        if not usable:
            raise ValueError(
                f"None of the {len(listed):,} words of {name} can be used: check the charset "
                "(--character, --sensitive) and --batch_max_length."
            )
        lost = len(listed) - len(usable)
        called = f"{len(usable):,} words of {name}" + (f" ({lost:,} left out)" if lost else "")
        return ListedWords(usable, called), "".join(sorted({*REQUIRED, *"".join(usable)}))

    def describe(self, renderer: Renderer) -> str:
        """The stream in a line, with its digest: other words or fonts are other images."""
        faces = sum(map(len, renderer.families))
        return (
            f"level {self.level}, {renderer.words}, {faces} faces of {len(renderer.families)} "
            f"families, seed {renderer.seed} (digest {renderer.digest()})"
        )

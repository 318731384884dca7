"""What is written: the closed easy list, and vocabulary words mixed with random strings."""

import json
import re
import string
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

ASSETS = Path(__file__).resolve().parents[1] / "assets"
BERT_VOCABULARY = ASSETS / "bert-base-uncased" / "vocab.txt"
GPT2_VOCABULARY = ASSETS / "gpt2" / "vocab.json"
MAX_WORD_LENGTH = 18
MAX_RANDOM_LENGTH = 15

# Codes mix letters and digits, where no one could tell these from each other.
CODE_LETTERS = "".join(c for c in string.ascii_uppercase if c not in "OIQ")
CODE_DIGITS = "23456789"

EASY_WORDS = tuple(
    """
    0 1 2 3 4 5 6 7 8 9 A B C D E F G H K L M N P R S T W X Y Z
    10 12 18 20 25 30 40 50 60 75 80 90 99 100 200 250 365 400 500 747 999
    1000 1984 1999 2000 2012 2024 12345
    as at be by do go he hi if in is it me my no of oh on or so to up us we
    ALL AND ART BAR BIG BUS BUY CAR CAT DAY DOG DRY END EXIT EYE FAR FOR FUN GAS GET HOT ICE INN
    JAM JOB KEY LAW LOW MAP MAX MEN NEW NOT NOW OFF OIL OLD ONE OPEN OUT OWN PAY PET PUB RED RUN
    SALE SEA SET SHOP SKY STOP SUN TAX TEA THE TOP TOY TWO VAN WAR WAY WET WIN YES ZONE ZOO
    back bank beer best bike bird blue boat body book born call city club cold come cook cool
    dark deep door down east easy face fair farm fast film find fire fish five food foot
    four free full game gate gift girl give gold good half hall hand hard have head help here high
    hill home hope into java jazz just keep kids king know land last left
    life like line live long look love made mail main make meat milk mind more moon much music name
    near nice north
    About After Apple Beach Black Bread Bring Brown Chair Check Child Clean Clear Clock Close Coast
    Daily Dance Dream Drink Drive Earth Eight Enjoy Entry Extra Field First Flash Floor Fresh Front
    Glass Grand Green Guard Happy Heart Heavy Hotel House Human Juice Knife Large Light Local Lucky
    Metro Money Night Ocean Offer Order Paper Party Phone Photo Piano Pizza Plant Power Press Price
    """.split()  # noqa: SIM905 (a list of literals would be three times as long)
)


class ListedWords:
    """Draws from a list of words evenly, as they are written.

    Args:
        words: The list.
        name: What it is called in a log.
    """

    def __init__(self, words: Sequence[str], name: str):
        self.words = self.known = tuple(words)
        self.name = name

    def __str__(self) -> str:
        return self.name

    def draw(self, rng: np.random.Generator) -> str:
        """One word."""
        return self.words[rng.integers(len(self.words))]


class EasyWords(ListedWords):
    """Some 300 words of 1 to 5 characters."""

    def __init__(self):
        super().__init__(EASY_WORDS, "easy words")


class AcceptedWords:
    """Draws from another source until a word is accepted.

    Args:
        words: The source.
        accepts: Whether a word may be drawn; must survive pickling for use in workers.

    Raises:
        ValueError: Nothing that the source has is accepted, as far as a thousand draws can tell.
    """

    MOST_DRAWS = 1000

    def __init__(self, words: "VocabularyWords | ListedWords", accepts: Callable[[str], bool]):
        self.words, self.accepts, self.known = words, accepts, words.known
        self.draw(np.random.default_rng(0))

    def __str__(self) -> str:
        return str(self.words)

    def draw(self, rng: np.random.Generator) -> str:
        """One word that is accepted: the source's own, where its first one is."""
        for _ in range(self.MOST_DRAWS):
            word = self.words.draw(rng)
            if self.accepts(word):
                return word
        raise ValueError(
            f"None of {self.MOST_DRAWS} {self.words} can be used: check the charset (--character, "
            "--sensitive) and --batch_max_length, or give words of your own."
        )


class VocabularyWords:
    """Words of the BERT and GPT-2 vocabularies, random strings and numbers, in varied case.

    Args:
        bert: `vocab.txt` of bert-base-uncased, or None for the one in `assets/`.
        gpt2: `vocab.json` of GPT-2, or None for the one in `assets/`.
        random_share: Share of random strings of 1 to 15 letters, or letters and digits.
        number_share: Share of numbers: counts, years, prices, times.
    """

    def __init__(
        self,
        bert: str | Path | None = None,
        gpt2: str | Path | None = None,
        random_share: float = 0.12,
        number_share: float = 0.1,
    ):
        self.words = self.known = vocabulary_words(bert or BERT_VOCABULARY, gpt2 or GPT2_VOCABULARY)
        self.random_share = random_share
        self.number_share = number_share

    def __str__(self) -> str:
        return f"vocabulary words ({len(self.words):,}), random strings and numbers"

    def draw(self, rng: np.random.Generator) -> str:
        """One word of 0-9A-Za-z."""
        kind = rng.random()
        if kind < self.random_share:
            return _random_string(rng)
        if kind < self.random_share + self.number_share:
            return _number(rng)
        # The vocabularies are sorted by frequency. Half of the draws follow it, as text in the
        # street does; the other half sees that every word turns up.
        count = len(self.words)
        rank = count ** rng.random() - 1 if rng.random() < 0.5 else count * rng.random()
        return _vary_case(rng, self.words[min(int(rank), count - 1)])


def read_words(path: Path) -> tuple[str, ...]:
    """The words of a UTF-8 file, one a line, composed (NFC); empty lines don't count.

    Raises:
        ValueError: not UTF-8, white space within a line, or no words; OSError: no such file.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"The words in {path} are not UTF-8: see byte {error.start}.") from None
    words = []
    for number, line in enumerate(text.splitlines(), start=1):
        word = unicodedata.normalize("NFC", line.strip())
        if len(word.split()) > 1:
            raise ValueError(f"{path} line {number} has white space in it: {word[:40]!r}.")
        if word:
            words.append(word)
    if not words:
        raise ValueError(f"There are no words in {path}; it holds one a line.")
    return tuple(words)


def vocabulary_words(bert: str | Path, gpt2: str | Path) -> tuple[str, ...]:
    """Whole lower-case words of 1 to 18 letters and digits, the frequent ones first."""
    for path in (bert, gpt2):
        if not Path(path).is_file():
            raise FileNotFoundError(
                f"There is no vocabulary {path}. The repository brings it in assets/: restore "
                "that folder (git checkout assets), or give the path of another copy."
            )
    lines = Path(bert).read_text(encoding="utf-8").splitlines()
    pieces = json.loads(Path(gpt2).read_text(encoding="utf-8"))
    # "Ġ" is GPT-2's mark of a space before: with it a piece begins a word.
    whole = [piece[1:].lower() for piece in pieces if piece.startswith("Ġ") and len(piece) > 3]
    pattern = re.compile(rf"[0-9a-z]{{1,{MAX_WORD_LENGTH}}}")
    words = dict.fromkeys(word for word in lines + whole if pattern.fullmatch(word))
    # BERT lists its single characters first though they are rare: to the end with them.
    return tuple(sorted(words, key=lambda word: len(word) == 1))


def _vary_case(rng: np.random.Generator, word: str) -> str:
    style = rng.random()
    if style < 0.35:
        return word
    return word.capitalize() if style < 0.65 else word.upper()


def _random_string(rng: np.random.Generator) -> str:
    length = 1 + min(int(rng.geometric(0.22)) - 1, MAX_RANDOM_LENGTH - 1)
    if rng.random() < 0.5:
        alphabet = CODE_LETTERS + CODE_DIGITS
        return "".join(alphabet[k] for k in rng.integers(len(alphabet), size=length))
    letters = "".join(string.ascii_lowercase[k] for k in rng.integers(26, size=length))
    return _vary_case(rng, letters)


def _number(rng: np.random.Generator) -> str:
    kind = rng.random()
    if kind < 0.2:
        return str(rng.integers(1900, 2031))
    if kind < 0.4:
        return f"{rng.integers(1, 500)}{('99', '95', '50', '00')[rng.integers(4)]}"
    if kind < 0.5:
        return f"{rng.integers(24):02d}{5 * rng.integers(12):02d}"
    digits = int(rng.integers(1, 8))
    return "".join(str(digit) for digit in rng.integers(10, size=digits))

"""Label codecs: a word to a row of ids, and ids to text. One codec a granularity."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np

from text.charset import Charset, describe


class Codec(ABC):
    """What a granularity knows about its ids.

    Attributes:
        name: char, bpe or wp.
        positions: T, the length of a row (longest word plus start and stop).
        num_classes: size of the head.
        start_id, stop_id: first id of a row, and the id that ends a reading.
        pad_id: fills the rest of a row; positions with it are not learned.
        fusible: whether its readings may compete in fused decoding.

    """

    name: str
    positions: int
    num_classes: int
    start_id: int
    stop_id: int
    pad_id: int
    fusible: bool = True

    @abstractmethod
    def encode(self, word: str) -> np.ndarray:
        """Ids of a word, int64 [T]: start, the word's ids, stop, padding."""

    @abstractmethod
    def decode(self, ids: Sequence[int]) -> str:
        """Text of ids that hold neither start nor stop."""

    def encode_batch(self, words: Sequence[str]) -> np.ndarray:
        """Ids of words, int64 [B, T]."""
        return np.array([self.encode(word) for word in words], dtype=np.int64).reshape(
            -1, self.positions
        )

    def count_unlearnable(self, rows: np.ndarray) -> int:
        """How many rows [B, T] are all padding, as `encode` makes of words it can't teach."""
        return int((rows == self.pad_id).all(axis=1).sum())

    def _row(self, ids: Sequence[int]) -> np.ndarray:
        row = np.full(self.positions, self.pad_id, dtype=np.int64)
        row[0] = self.start_id
        row[1 : 1 + len(ids)] = ids
        row[1 + len(ids)] = self.stop_id
        return row


class CharCodec(Codec):
    """Character labels: 0 `[GO]` (and padding), 1 `[s]`, then the charset in order.

    Because padding and start share id 0, position 0 is never learned (reference facts).
    """

    name = "char"
    start_id = 0
    stop_id = 1
    pad_id = 0
    first_character_id = 2

    def __init__(self, charset: Charset, max_length: int = 25):
        self.charset = charset
        self.positions = max_length + 2
        self.num_classes = len(charset.characters) + 2
        self._id_of = {
            c: i for i, c in enumerate(charset.characters, start=self.first_character_id)
        }
        # Start has no text of its own: the reference writes a literal "[GO]".
        self._text_of = ["", "", *charset.characters]

    def encode(self, word: str) -> np.ndarray:
        """Ids of a word, int64 [T].

        Raises:
            ValueError: a character that the charset lacks, or too many of them.

        """
        if len(word) > self.positions - 2:
            raise ValueError(
                f"The label {word!r} has {len(word)} characters, and the limit is "
                f"{self.positions - 2}; raise --batch_max_length or leave the label out."
            )
        foreign = sorted(set(word) - self._id_of.keys())
        if foreign:
            raise ValueError(
                f"The label {word!r} has characters that the charset lacks: {describe(foreign)}."
            )
        return self._row([self._id_of[c] for c in word])

    def decode(self, ids: Sequence[int]) -> str:
        """Text of ids; start and stop have none."""
        return "".join(self._text_of[i] for i in ids)

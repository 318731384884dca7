"""BPE and WordPiece codecs on the vocabularies in assets/, or on a tokenizers JSON file."""

import json
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers

from text.charset import Charset
from text.codec import CharCodec, Codec

ASSETS = Path(__file__).resolve().parents[1] / "assets"
GPT2_CLASSES = 50257
BERT_CLASSES = 30522

# Names under which tokenizer files keep the three special tokens, most usual first.
START_TOKENS = ("[CLS]", "<s>", "[GO]", "<|startoftext|>")
STOP_TOKENS = ("[SEP]", "</s>", "[s]", "<|im_end|>")
PAD_TOKENS = ("[PAD]", "<pad>")


class SubwordCodec(Codec):
    """Subword labels on a `tokenizers.Tokenizer`.

    Args:
        name: bpe or wp.
        tokenizer: encodes without special tokens.
        start_id, stop_id, pad_id: special ids; they may lie beyond the tokenizer's own
            vocabulary, the head then grows by them.
        positions: T.
        special_ids: further ids that have no text.
        unknown_id: stands for pieces that the vocabulary lacks; None where it lacks none, or has
            nothing that stands for them.
        truncates: a word of too many pieces is cut (keeping stop), as the reference does for
            WordPiece; otherwise such a word is not learned.

    A word whose pieces can't be told from the special ids (a lone `#` in GPT-2's vocabulary is
    the stop id), that has a piece which the vocabulary lacks, or too many pieces, gets a row of
    padding: this granularity does not learn from it, the others do.
    """

    def __init__(
        self,
        name: str,
        tokenizer: Tokenizer,
        start_id: int,
        stop_id: int,
        pad_id: int,
        positions: int,
        special_ids: Iterable[int] = (),
        unknown_id: int | None = None,
        truncates: bool = False,
    ):
        self.name = name
        self.tokenizer = tokenizer
        self.start_id, self.stop_id, self.pad_id = start_id, stop_id, pad_id
        self.positions = positions
        self._vocabulary_end = vocabulary_end(tokenizer)
        self.num_classes = max(self._vocabulary_end, start_id + 1, stop_id + 1, pad_id + 1)
        self._unknown_id = unknown_id
        self._reserved = {start_id, stop_id, pad_id, unknown_id}
        self._textless = set(special_ids)
        self._truncates = truncates
        self._remember_words()

    def __getstate__(self) -> dict:
        return {name: value for name, value in vars(self).items() if name != "_pieces_of"}

    def __setstate__(self, state: dict) -> None:
        vars(self).update(state)
        self._remember_words()

    def _remember_words(self) -> None:
        self._pieces_of = lru_cache(maxsize=65536)(self._pieces)

    def can_read(self, characters: str) -> bool:
        """Whether every character can be told from all others in this vocabulary.

        One without upper case, or without some letters, can never be right on them. A character
        that is the piece of a special id is let pass (GPT-2's `!`, `"` and `#`): it is in one
        label in a hundred, and without BPE little would be left of the fused reading of 94
        characters.
        """
        pieces = {c: self._pieces(c) for c in characters}
        return all(own is not None and self.decode(own) == c for c, own in pieces.items())

    def _pieces(self, word: str) -> tuple[int, ...] | None:
        """Ids; None where the vocabulary lacks some of the word."""
        try:
            encoding = self.tokenizer.encode(word, add_special_tokens=False)
        except Exception:  # plain, by vocabularies that have nothing for unknown pieces
            return None
        if self._unknown_id is None:  # others leave such pieces out, and the places at the end
            covered = {place for first, end in encoding.offsets for place in range(first, end)}
            if any(place not in covered and not c.isspace() for place, c in enumerate(word)):
                return None
        return tuple(encoding.ids)

    def encode(self, word: str) -> np.ndarray:
        """Ids of a word, int64 [T]; all padding where the word can't be learned."""
        pieces = self._pieces_of(word)
        if pieces is not None and self._truncates:
            pieces = pieces[: self.positions - 2]
        if (
            pieces is None
            or len(pieces) > self.positions - 2
            or self._reserved.intersection(pieces)
        ):
            return np.full(self.positions, self.pad_id, dtype=np.int64)
        return self._row(pieces)

    def decode(self, ids: Sequence[int]) -> str:
        """Text of ids, without special tokens and white space.

        White space and continuation marks inside a word image are artefacts of the vocabulary:
        the reference keeps BPE's leading spaces and a leading `##`.
        """
        kept = [i for i in ids if i < self._vocabulary_end and i not in self._textless]
        text = "".join(self.tokenizer.decode(kept, skip_special_tokens=False).split())
        # Not of the word `##5`, whose pieces are `#`, `#` and `5`.
        continues = self.name == "wp" and kept and self._is_continuation(kept[0])
        return text.removeprefix("##") if continues else text

    def _is_continuation(self, piece: int) -> bool:
        token = self.tokenizer.id_to_token(piece)
        return token is not None and len(token) > 2 and token.startswith("##")


def gpt2_codec(positions: int) -> SubwordCodec:
    """BPE on GPT-2's vocabulary: start 1, stop 2, padding 0, as official checkpoints have it."""
    folder = ASSETS / "gpt2"
    files = _vocabulary_files(folder / "vocab.json", folder / "merges.txt")
    tokenizer = Tokenizer(models.BPE.from_file(*files))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    _check_size(tokenizer, GPT2_CLASSES, folder)
    end_of_text = tokenizer.token_to_id("<|endoftext|>")
    return SubwordCodec("bpe", tokenizer, 1, 2, 0, positions, special_ids=[end_of_text])


def bert_codec(positions: int) -> SubwordCodec:
    """WordPiece on bert-base-uncased: start 101 `[CLS]`, stop 102 `[SEP]`, padding 0 `[PAD]`."""
    (file,) = _vocabulary_files(ASSETS / "bert-base-uncased" / "vocab.txt")
    tokenizer = Tokenizer(models.WordPiece.from_file(file, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    _check_size(tokenizer, BERT_CLASSES, Path(file))
    specials = [tokenizer.token_to_id(t) for t in ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")]
    return SubwordCodec(
        "wp", tokenizer, 101, 102, 0, positions, specials, specials[1], truncates=True
    )


def custom_codec(name: str, tokenizer_json: str, positions: int) -> SubwordCodec:
    """Codec on the text of a tokenizers JSON file.

    Start, stop and padding are the file's own special tokens where it has them under a usual
    name; those that it lacks are appended after its vocabulary, so nothing collides.

    Raises:
        ValueError: not a tokenizers JSON file.

    """
    try:
        tokenizer = Tokenizer.from_str(tokenizer_json)
    except Exception as error:  # the library raises plain Exception
        raise ValueError(
            f"The {name} vocabulary is not a tokenizers JSON file ({error}); "
            "make one with tokenizers.Tokenizer.save()."
        ) from None
    tokenizer.no_truncation()
    tokenizer.no_padding()
    ids, size = [], vocabulary_end(tokenizer)
    for names in (START_TOKENS, STOP_TOKENS, PAD_TOKENS):
        known = [i for i in map(tokenizer.token_to_id, names) if i is not None]
        ids.append(known[0] if known else size)
        size += not known
    start_id, stop_id, pad_id = ids
    model = json.loads(tokenizer_json)["model"]
    unknown_token = model.get("unk_token")
    unknown_id = tokenizer.token_to_id(unknown_token) if unknown_token else model.get("unk_id")
    textless = {*tokenizer.get_added_tokens_decoder(), *ids, unknown_id}
    return SubwordCodec(name, tokenizer, start_id, stop_id, pad_id, positions, textless, unknown_id)


def vocabulary_end(tokenizer: Tokenizer) -> int:
    """The first id that no entry has; more than the number of entries where ids have gaps."""
    return max(tokenizer.get_vocab(with_added_tokens=True).values(), default=-1) + 1


def build_codecs(
    characters: str,
    max_length: int,
    granularities: Sequence[str],
    vocabularies: dict[str, str | None] | None = None,
) -> dict[str, Codec]:
    """Codecs of a recognizer's granularities, in their order.

    Args:
        characters: the charset.
        max_length: longest label, in characters; rows have two positions more.
        granularities: some of char, bpe, wp. Only their vocabularies are loaded.
        vocabularies: the text of a tokenizers JSON file instead of the one in assets/, by name.

    """
    charset = Charset(characters)
    bundled = {"bpe": gpt2_codec, "wp": bert_codec}
    codecs: dict[str, Codec] = {}
    for name in granularities:
        if name == "char":
            codecs[name] = CharCodec(charset, max_length)
            continue
        custom = (vocabularies or {}).get(name)
        positions = max_length + 2
        codec = custom_codec(name, custom, positions) if custom else bundled[name](positions)
        # One that can't read some characters would still win by confidence.
        codec.fusible = codec.can_read(characters)
        codecs[name] = codec
    return codecs


def _vocabulary_files(*files: Path) -> list[str]:
    missing = [str(file) for file in files if not file.is_file()]
    if missing:
        raise FileNotFoundError(
            f"The vocabulary {', '.join(missing)} is missing; it is part of the repository: "
            "restore it with `git checkout assets`."
        )
    return [str(file) for file in files]


def _check_size(tokenizer: Tokenizer, expected: int, where: Path) -> None:
    if tokenizer.get_vocab_size() != expected:
        raise ValueError(
            f"The vocabulary in {where} has {tokenizer.get_vocab_size()} entries instead of "
            f"{expected}; restore it with `git checkout assets`."
        )

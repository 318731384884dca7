import numpy as np
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from text import CHARSET_PRESETS, build_codecs


@pytest.fixture(scope="module")
def codecs():
    return build_codecs(CHARSET_PRESETS["36"], 25, ("char", "bpe", "wp"))


@pytest.fixture(
    scope="module",
    params=["codec_transformers_4.2.1.json", "codec_transformers_5.23.0.json"],
)
def cases(request, fixtures):
    return fixtures(request.param)


def test_encoding_equals_the_reference(codecs, cases):
    for entry in cases["entries"]:
        for name in ("char", "bpe", "wp"):
            assert codecs[name].encode(entry["word"]).tolist() == entry[name], entry["word"]


def test_encoding_of_odd_labels_equals_the_reference(codecs, cases):
    for word, expected in cases["error_cases"].items():
        for name in ("bpe", "wp"):
            if not isinstance(expected[name], str):
                assert codecs[name].encode(word).tolist() == expected[name], word
        with pytest.raises(ValueError, match="label"):
            codecs["char"].encode(word)


def test_reading_back_gives_the_word(codecs, cases):
    for entry in cases["entries"]:
        for codec in codecs.values():
            row = codec.encode(entry["word"]).tolist()
            assert codec.decode(row[1 : row.index(codec.stop_id, 1)]) == entry["word"]


def test_odd_ids_decode_as_in_the_reference_without_its_quirks(codecs, cases):
    # What the reference cuts from the text afterwards has no text here: "#" (stop) and "!"
    # (padding) stay, because only ids decide where a reading ends.
    for ids, text in cases["odd_decode"]["bpe"]:
        expected = "".join(text.replace("<|endoftext|>", "").split())
        assert codecs["bpe"].decode(ids) == expected
    for ids, text in cases["odd_decode"]["wp"]:
        for special in ("[SEP]", "[PAD]", "[UNK]", "[CLS]"):
            text = text.replace(special, "")
        assert codecs["wp"].decode(ids) == text.removeprefix("##")


def test_vocabularies_have_the_official_sizes(codecs):
    assert codecs["bpe"].num_classes == 50257
    assert codecs["wp"].num_classes == 30522


def test_only_the_vocabularies_of_the_heads_are_loaded(monkeypatch):
    def refuse(*_):
        raise AssertionError("a vocabulary was loaded")

    monkeypatch.setattr("text.subword.gpt2_codec", refuse)
    monkeypatch.setattr("text.subword.bert_codec", refuse)
    assert list(build_codecs("abc", 25, ("char",))) == ["char"]


def test_a_damaged_vocabulary_is_refused(monkeypatch, tmp_path):
    folder = tmp_path / "bert-base-uncased"
    folder.mkdir()
    (folder / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n")
    monkeypatch.setattr("text.subword.ASSETS", tmp_path)
    with pytest.raises(ValueError, match="5 entries instead of 30522"):
        build_codecs("abc", 25, ("char", "wp"))


def test_wordpiece_joins_the_fusion_of_uncased_charsets_only():
    assert build_codecs(CHARSET_PRESETS["36"], 25, ("char", "wp"))["wp"].fusible
    cased = build_codecs(CHARSET_PRESETS["62"], 25, ("char", "bpe", "wp"))
    assert not cased["wp"].fusible
    assert cased["bpe"].fusible


def test_a_label_that_collides_with_the_stop_id_is_not_learned_by_bpe(codecs):
    cased = build_codecs(CHARSET_PRESETS["94"], 25, ("char", "bpe"))
    rows = cased["bpe"].encode_batch(["#", "a"])
    assert (rows[0] == cased["bpe"].pad_id).all()
    assert cased["bpe"].count_unlearnable(rows) == 1
    assert cased["char"].encode("#").tolist()[2] == 1
    assert cased["char"].count_unlearnable(cased["char"].encode_batch(["#", "a"])) == 0


def test_wordpiece_loses_marks_of_continuation_but_no_number_signs():
    codec = build_codecs(CHARSET_PRESETS["36"] + "#", 25, ("char", "wp"))["wp"]
    for label in ("##5", "#", "##", "a##b", "ing"):
        row = codec.encode(label)
        assert codec.decode([i for i in row[1:] if i not in (codec.stop_id, codec.pad_id)]) == label
    assert codec.decode([codec.tokenizer.token_to_id("##ing")]) == "ing"


def test_a_label_of_too_many_pieces_is_not_learned_by_bpe():
    codec = build_codecs("字", 25, ("bpe",))["bpe"]
    assert (codec.encode("字" * 25) == codec.pad_id).all()


def word_tokenizer(tokens: list[str]) -> str:
    vocabulary = {token: i for i, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=tokens[-1]))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return tokenizer.to_str()


def test_own_vocabulary_with_special_tokens_uses_them():
    own = word_tokenizer(["[PAD]", "[CLS]", "[SEP]", "hello", "[UNK]"])
    codec = build_codecs("helo", 25, ("bpe",), {"bpe": own})["bpe"]
    assert (codec.start_id, codec.stop_id, codec.pad_id) == (1, 2, 0)
    assert codec.num_classes == 5
    assert codec.encode("hello")[:3].tolist() == [1, 3, 2]


def test_own_vocabulary_without_special_tokens_gets_them_appended():
    own = word_tokenizer(["hello", "world", "?"])
    codec = build_codecs("helo", 25, ("bpe",), {"bpe": own})["bpe"]
    row = codec.encode("hello")
    assert codec.num_classes == 6
    assert sorted({codec.start_id, codec.stop_id, codec.pad_id}) == [3, 4, 5]
    assert row.tolist() == [3, 0, 4] + [5] * 24
    assert codec.decode([0, codec.pad_id]) == "hello"


@pytest.mark.parametrize(
    "model",
    [
        models.BPE({"h": 0, "o": 1, "ho": 2, "e": 3, "l": 4}, [("h", "o")]),
        models.Unigram([(piece, -1.0) for piece in ("h", "o", "e", "l")]),
        models.Unigram([(piece, -1.0) for piece in ("<unk>", "h", "o", "e", "l")], unk_id=0),
        models.WordPiece({"ho": 0, "##e": 1, "##l": 2, "e": 3, "l": 4}),
        models.WordLevel({"hoel": 0}),
    ],
)
def test_letters_that_an_own_vocabulary_lacks_are_not_learned(model):
    codec = build_codecs("hoelz", 25, ("bpe",), {"bpe": Tokenizer(model).to_str()})["bpe"]
    rows = codec.encode_batch(["hoel", "hozel", "hoelz", "zhoel"])
    assert codec.count_unlearnable(rows) == 3
    assert codec.count_unlearnable(rows[:1]) == 0
    assert not codec.fusible


def test_a_file_that_is_no_vocabulary_is_refused():
    with pytest.raises(ValueError, match="not a tokenizers JSON file"):
        build_codecs("abc", 25, ("bpe",), {"bpe": "{}"})


@pytest.mark.parametrize("words", [["a", "bc"], []])
def test_batches_are_rows(codecs, words):
    rows = codecs["char"].encode_batch(words)
    assert rows.shape == (len(words), 27)
    assert rows.dtype == np.int64


def test_letters_that_a_vocabulary_lacks_are_not_learned_and_never_win():
    codecs = build_codecs("กข", 25, ("char", "bpe", "wp"))
    assert (codecs["wp"].encode("กข") == codecs["wp"].pad_id).all()
    assert not codecs["wp"].fusible
    assert codecs["bpe"].fusible  # of bytes, it lacks nothing


def test_letters_that_a_vocabulary_confuses_keep_it_out_of_the_fusion():
    codecs = build_codecs(CHARSET_PRESETS["36"] + "é", 25, ("char", "wp"))
    assert not codecs["wp"].fusible  # it writes é as e


def test_a_vocabulary_with_gaps_in_its_ids_has_a_head_for_all_of_them():
    own = Tokenizer(models.WordLevel({"a": 0, "b": 10}, unk_token="b")).to_str()
    codec = build_codecs("a", 25, ("bpe",), {"bpe": own})["bpe"]
    assert codec.num_classes == 14
    assert {codec.start_id, codec.stop_id, codec.pad_id} == {11, 12, 13}

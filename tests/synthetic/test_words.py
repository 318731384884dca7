"""Words: a closed easy list, and vocabularies mixed with random strings."""

import re

import numpy as np
import pytest

from synthetic.words import EASY_WORDS, EasyWords, VocabularyWords


def test_the_easy_list_is_closed_short_and_plain():
    assert 280 <= len(EASY_WORDS) <= 320
    assert len({word.lower() for word in EASY_WORDS}) == len(EASY_WORDS)
    assert all(re.fullmatch("[0-9A-Za-z]{1,5}", word) for word in EASY_WORDS)
    rng = np.random.default_rng(0)
    assert {EasyWords().draw(rng) for _ in range(5000)} == set(EASY_WORDS)


@pytest.fixture
def vocabularies(tmp_path):
    bert, gpt2 = tmp_path / "vocab.txt", tmp_path / "vocab.json"
    bert.write_text("[PAD]\n!\na\nthe\n##ing\nhouse\ncafé\n", encoding="utf-8")
    gpt2.write_text('{"Ġstreet": 0, "ing": 1, "Ġthe": 2, "Ġ": 3, "!": 4}', encoding="utf-8")
    return bert, gpt2


def test_whole_words_of_both_vocabularies(vocabularies):
    assert VocabularyWords(*vocabularies).words == ("the", "house", "street", "a")


def test_normal_words_vary_in_kind_and_case(vocabularies):
    words = VocabularyWords(*vocabularies)
    rng = np.random.default_rng(0)
    drawn = [words.draw(rng) for _ in range(2000)]
    assert all(re.fullmatch("[0-9A-Za-z]{1,18}", word) for word in drawn)
    assert {"house", "House", "HOUSE"} <= set(drawn)
    assert any(word.isdigit() for word in drawn)
    assert len(set(drawn)) > 300


def test_shares_are_switches(vocabularies):
    rng = np.random.default_rng(0)
    only_words = VocabularyWords(*vocabularies, random_share=0, number_share=0)
    known = {"the", "house", "street", "a"}
    assert {only_words.draw(rng).lower() for _ in range(200)} == known
    only_numbers = VocabularyWords(*vocabularies, random_share=0, number_share=1)
    assert all(only_numbers.draw(rng).isdigit() for _ in range(200))


def test_a_missing_vocabulary_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="assets"):
        VocabularyWords(tmp_path / "vocab.txt", tmp_path / "vocab.json")

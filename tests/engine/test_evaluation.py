import itertools
import re

import pytest
import torch
from torch import nn

from console.markdown_table import markdown
from dataset import ImageFormat
from engine.distributed import Process
from engine.evaluation import Evaluator, SetScore, merge_scores, protocol_line
from engine.report import as_json, overall, ranking, table, totals
from models import Outputs
from records.label_filter import LabelFilter
from records.lmdb_set import LmdbSet
from text import Charset, build_codecs

ALONE = Process(0, 0, 1, torch.device("cpu"))
LETTERS = Charset.load("36")


class Scripted(nn.Module):
    """Returns the logits that spell given words, in turn, for each granularity."""

    def __init__(self, codecs, words: dict[str, list[str]], certainty: dict[str, float]):
        super().__init__()
        self.codecs, self.certainty = codecs, certainty
        self.words = {name: itertools.cycle(w) for name, w in words.items()}

    def forward(self, images):
        logits = {}
        for name, codec in self.codecs.items():
            rows = codec.encode_batch([next(self.words[name]) for _ in images])
            hot = nn.functional.one_hot(torch.from_numpy(rows), codec.num_classes).float()
            logits[name] = hot * self.certainty[name]
        return Outputs(**logits)


@pytest.fixture
def words_set(tmp_path, make_lmdb, encode_image):
    words = ["Cat", "do-g", "sun", "tea", "map"]
    records = [(encode_image(w), w) for w in words]
    records.insert(2, (b"broken", "oops"))
    label_filter = LabelFilter(LETTERS, 25, trainable=False)
    return LmdbSet(make_lmdb(tmp_path / "SVT", records), label_filter)


def test_counts_by_granularity_and_fused(words_set):
    codecs = build_codecs(LETTERS.characters, 25, ("char", "bpe"))
    model = Scripted(
        codecs,
        {
            "char": ["cat", "dog", "sun", "xxx", "yyy"],
            "bpe": ["cat", "xx", "Sun", "tea", "zz"],
        },
        {"char": 40.0, "bpe": 13.0},  # char is surer, and wins
    )
    seen = []
    evaluator = Evaluator(model, codecs, ImageFormat(), ALONE, batch_size=2, workers=0)
    score = evaluator("SVT", words_set, seen.append)
    assert score.images == 5
    assert score.correct == {"char": 3, "bpe": 3, "fused": 3}
    assert score.unreadable == 1
    assert "record 3:" in score.unreadable_lines[0]
    assert sum(seen) == 6
    assert score.accuracy("char") == 60.0


class UnjoinedRank:
    """One of several ranks, whose sums are its own."""

    device = torch.device("cpu")

    def __init__(self, rank: int, world_size: int):
        self.rank, self.world_size = rank, world_size

    def total(self, values):
        return values


@pytest.mark.parametrize("world_size", [2, 4, 7])
def test_shares_of_the_ranks_add_up(words_set, world_size):
    codecs = build_codecs(LETTERS.characters, 25, ("char",))
    images = unreadable = 0
    for rank in range(world_size):
        model = Scripted(codecs, {"char": ["cat"]}, {"char": 9.0})
        process = UnjoinedRank(rank, world_size)
        score = Evaluator(model, codecs, ImageFormat(), process, 2, 0)("SVT", words_set)
        images += score.images
        unreadable += score.unreadable
    assert (images, unreadable) == (5, 1)


def test_every_rank_gets_the_counts_of_all(words_set):
    codecs = build_codecs(LETTERS.characters, 25, ("char",))
    told = []

    class Telling(UnjoinedRank):
        def total(self, values):
            told.append(values.clone())
            return values

    class Joined(UnjoinedRank):
        def total(self, values):
            return sum(told)

    def scored(process):
        model = Scripted(codecs, {"char": ["cat"]}, {"char": 9.0})
        return Evaluator(model, codecs, ImageFormat(), process, 2, 0)("SVT", words_set)

    alone = scored(ALONE)
    assert 0 < alone.correct["char"] < alone.images
    for rank in range(2):
        scored(Telling(rank, 2))
    for rank in range(2):
        joined = scored(Joined(rank, 2))
        assert (joined.images, joined.unreadable) == (alone.images, alone.unreadable)
        assert joined.correct == alone.correct


def test_a_cased_model_is_scored_without_case_and_punctuation(tmp_path, make_lmdb, encode_image):
    charset = Charset.load("94")
    path = make_lmdb(tmp_path / "SVT", [(encode_image("x"), "It's")])
    opened = LmdbSet(path, LabelFilter(charset, 25, trainable=False))
    codecs = build_codecs(charset.characters, 25, ("char",))
    model = Scripted(codecs, {"char": ["ITS!"]}, {"char": 40.0})
    score = Evaluator(model, codecs, ImageFormat(), ALONE, 1, 0)("SVT", opened)
    assert score.correct == {"char": 1, "fused": 1}


def test_an_own_charset_is_scored_as_it_is(tmp_path, make_lmdb, encode_image):
    charset = Charset("äöü")
    path = make_lmdb(tmp_path / "set", [(encode_image("x"), "äö"), (encode_image("y"), "üü")])
    opened = LmdbSet(path, LabelFilter(charset, 25, trainable=False))
    codecs = build_codecs(charset.characters, 25, ("char",))
    model = Scripted(codecs, {"char": ["äö", "ä"]}, {"char": 40.0})
    score = Evaluator(model, codecs, ImageFormat(), ALONE, 2, 0)("set", opened)
    assert score.correct == {"char": 1, "fused": 1}


def made(name: str, images: int, right: int, **changes) -> SetScore:
    return SetScore(name, images, {"char": right, "fused": right}, **changes)


def test_totals_are_weighted_and_plain_and_say_what_is_missing():
    scores = [made("SVT", 600, 540), made("CUTE80", 200, 100), made("IC15_2077", 100, 0)]
    six, eight = totals(scores)
    assert (six.name, six.sets) == ("six sets", ("SVT", "CUTE80"))
    assert six.weighted["char"] == pytest.approx(80.0)
    assert six.mean["char"] == pytest.approx(70.0)
    assert six.missing == ("IIIT5k_3000", "IC13_857", "IC15_1811", "SVTP")
    assert eight.images == 900
    assert eight.weighted["char"] == pytest.approx(100 * 640 / 900)


def test_the_eight_are_left_out_where_they_are_the_six():
    assert [t.name for t in totals([made("SVT", 10, 5), made("SVTP", 10, 5)])] == ["six sets"]


def test_other_sets_have_a_total_of_their_own():
    (only,) = totals([made("mine", 10, 5), made("yours", 30, 30)])
    assert (only.name, only.images, only.weighted["char"]) == ("all sets", 40, 87.5)


def test_the_table_says_what_a_reader_must_know():
    text = table(
        [made("SVT", 647, 600), made("SVTP", 640, 320), made("CUTE80", 5, 5, unreadable=2)]
    )
    assert "NOT the real sets" not in text
    assert "SVT: 6" not in text
    assert "note: SVTP: 640 images instead of 645" in text
    assert "note: CUTE80: 2 unreadable image(s) left out" in text
    assert "note: six sets: not found or unreadable: IIIT5k_3000" in text
    assert "| SVTP " in text and " 50.00 |" in text


def test_merged_sets_count_as_one():
    merged = merge_scores("all", [made("a", 10, 5, seconds=1.0), made("b", 30, 15, seconds=2.0)])
    assert (merged.images, merged.correct["char"], merged.seconds) == (40, 20, 3.0)


def test_ranking_has_the_best_first():
    text = ranking({"iter_1.pth": [made("a", 10, 5)], "iter_2.pth": [made("a", 10, 9)]})
    assert text.index("iter_2.pth") < text.index("iter_1.pth")


def test_json_has_counts_and_totals():
    contents = as_json([made("SVT", 10, 5)])
    assert contents["sets"][0]["correct"] == {"char": 5, "fused": 5}
    assert contents["totals"][0]["weighted"] == {"char": 50.0, "fused": 50.0}


def test_a_bar_in_a_cell_is_no_column():
    assert markdown(["image", "text"], [["a|b", "c"]]).splitlines()[-1] == r"| a\|b  |    c |"


def test_markdown_columns_are_aligned():
    text = markdown(["a", "b"], [["long name", "1"], ["x", "100"]])
    assert len({len(line) for line in text.splitlines()}) == 1


def test_shared_images_count_once_where_checkpoints_are_ranked():
    by_path = {
        "a": [made("IC13_857", 10, 10), made("IC13_1015", 20, 12)],
        "b": [made("IC13_857", 10, 8), made("IC13_1015", 20, 13)],
    }
    assert overall(by_path["a"]).images == 20
    # Over both sets as they are, a would be the better one.
    first, second = re.findall(r"^\| ([ab]) ", ranking(by_path), re.MULTILINE)
    assert (first, second) == ("b", "a")


@pytest.mark.parametrize(
    ("name", "told"), [("36", "case-insensitive"), ("62", "case counts"), ("94", "case and punct")]
)
def test_the_protocol_is_told(name, told):
    assert f"scored on {name} ({told}" in protocol_line(Charset.load("36"), Charset.load(name))

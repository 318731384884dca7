import multiprocessing
import os
from pathlib import Path

import pytest

from console.progress import RunLog
from records.label_filter import LabelFilter
from records.lmdb_set import (
    DataError,
    LmdbSet,
    close_environments,
    find_lmdbs,
    open_evaluation_sets,
    select_lmdbs,
)
from records.lmdb_writer import LmdbWriter
from system.whole_file import write_text
from text import Charset

DIGITS_AND_LETTERS = Charset.load("36")


def lenient(**changes) -> LabelFilter:
    return LabelFilter(DIGITS_AND_LETTERS, 25, **changes)


@pytest.fixture
def odd_records(encode_image):
    image = encode_image("x")
    return [
        (image, "Hello"),
        (image, "It's"),
        (image, "x" * 26),
        (image, "!!!"),
        (image, None),
        (image, b"\xff\xfe"),
        (image, "a-" * 13),
    ]


def test_training_labels_are_filtered_counted_and_shown(tmp_path, make_lmdb, odd_records):
    opened = LmdbSet(make_lmdb(tmp_path / "set", odd_records), lenient())
    assert [opened.read(int(n))[1] for n in opened.numbers] == ["hello", "its"]
    assert opened.report.dropped == {
        "longer than 25 characters": 2,
        "no character of the charset in it": 1,
        "no label": 1,
        "label is not UTF-8": 1,
    }
    assert opened.report.altered == 1
    text = str(opened.report)
    assert "2 records kept, 5 dropped" in text
    assert "\"It's\" -> 'its'" in text
    assert "label-000000005" in text


def test_filtering_off_keeps_what_can_be_learned(tmp_path, make_lmdb, odd_records):
    opened = LmdbSet(make_lmdb(tmp_path / "set", odd_records), lenient(filtering=False))
    assert [opened.read(int(n))[1] for n in opened.numbers] == ["hello", "its", "a" * 13]


def test_filtering_off_keeps_every_label_of_an_evaluation_set(tmp_path, make_lmdb, odd_records):
    label_filter = lenient(filtering=False, trainable=False)
    opened = LmdbSet(make_lmdb(tmp_path / "set", odd_records), label_filter)
    assert [opened.read(int(n))[1] for n in opened.numbers] == [
        "hello",
        "its",
        "x" * 26,
        "",
        "a" * 13,
    ]


def test_examples_are_three(tmp_path, make_lmdb, encode_image):
    records = [(encode_image("x"), "x" * (30 + k // 3)) for k in range(15)]
    records.append((encode_image("y"), "ok"))
    opened = LmdbSet(make_lmdb(tmp_path / "set", records), lenient())
    # Different ones: the same thing three times says less.
    shown = opened.report.examples["longer than 25 characters"]
    assert [len(label) - 2 for label in shown] == [30, 31, 32]


def test_nothing_left_names_the_reasons(tmp_path, make_lmdb, encode_image):
    path = make_lmdb(tmp_path / "set", [(encode_image("x"), "слово")])
    with pytest.raises(DataError, match=r"Nothing is left of the 1 records.*set.*charset 36"):
        LmdbSet(path, lenient())


def test_usage_ratio_takes_the_first_part(tmp_path, make_lmdb, encode_image):
    records = [(encode_image("x"), f"w{i}") for i in range(10)]
    opened = LmdbSet(make_lmdb(tmp_path / "set", records), lenient(), usage_ratio=0.3)
    assert opened.numbers.tolist() == [1, 2, 3]
    assert opened.report.dropped == {"beyond --total_data_usage_ratio": 7}
    assert "7: beyond --total_data_usage_ratio" in str(opened.report)


def test_an_lmdb_of_another_kind_is_named(tmp_path, make_lmdb):
    path = make_lmdb(tmp_path / "set", [], declared=-1, some_key=b"1")
    with pytest.raises(DataError, match=r"no entry num-samples; its first keys are some-key"):
        LmdbSet(path, lenient())


def test_a_count_that_is_no_number_is_named(tmp_path, make_lmdb):
    path = make_lmdb(tmp_path / "set", [], declared=-1, num_samples=b"many")
    with pytest.raises(DataError, match="is b'many', not a count"):
        LmdbSet(path, lenient())


@pytest.mark.parametrize("count", [b"-5", b"1e9", b"9" * 400])
def test_a_count_that_cannot_be_is_named(tmp_path, make_lmdb, count):
    path = make_lmdb(tmp_path / "set", [], declared=-1, num_samples=count)
    with pytest.raises(DataError, match="not a count"):
        LmdbSet(path, lenient())


def test_a_huge_count_costs_nothing(tmp_path, make_lmdb, encode_image):
    path = make_lmdb(tmp_path / "set", [(encode_image("x"), "x")], declared=999_999_999_999)
    assert len(LmdbSet(path, lenient())) == 1


def test_a_damaged_file_is_named(tmp_path):
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "data.mdb").write_bytes(b"this is no LMDB" * 1000)
    with pytest.raises(DataError, match="can't be opened"):
        LmdbSet(tmp_path / "set", lenient())


def test_stand_ins_say_so(tmp_path, make_lmdb, encode_image):
    path = make_lmdb(tmp_path / "set", [(encode_image("x"), "x")], stand_in=b'{"level": "easy"}')
    assert LmdbSet(path, lenient()).stand_in == {"level": "easy"}


def test_a_mark_that_cannot_be_read_still_counts(tmp_path, make_lmdb, encode_image):
    path = make_lmdb(tmp_path / "set", [(encode_image("x"), "x")], stand_in=b"{")
    assert LmdbSet(path, lenient()).stand_in is not None


def test_two_sets_on_one_path_share_it(tmp_path, make_lmdb, encode_image):
    path = make_lmdb(tmp_path / "set", [(encode_image("x"), "x")])
    one, other = LmdbSet(path, lenient()), LmdbSet(path, lenient())
    assert one.read(1) == other.read(1)


def test_one_file_under_two_spellings_is_opened_once(
    tmp_path, make_lmdb, encode_image, monkeypatch
):
    path = make_lmdb(tmp_path / "set", [(encode_image("x"), "x")])
    (tmp_path / "link").symlink_to(path)
    monkeypatch.chdir(tmp_path)
    sets = [LmdbSet(p, lenient()) for p in (path, Path("set"), Path("link"))]
    assert len({s.read(1) for s in sets}) == 1


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_worker_processes_read_it(tmp_path, make_lmdb, encode_image, method):
    opened = LmdbSet(make_lmdb(tmp_path / "set", [(encode_image("x"), "x")]), lenient())
    opened.read(1)
    close_environments()
    context = multiprocessing.get_context(method)
    with context.Pool(2) as pool:
        assert pool.map(opened.read, [1, 1]) == [opened.read(1)] * 2


def test_sets_are_found_by_name_at_any_depth(data_tree):
    found = select_lmdbs(data_tree / "training", "MJ")
    assert [p.name for p in found] == ["MJ_test", "MJ_train", "MJ_valid"]
    assert len(select_lmdbs(data_tree / "training", "/")) == 4


def test_links_are_followed_but_not_in_circles(tmp_path, data_tree):
    (tmp_path / "linked").symlink_to(data_tree / "training" / "ST")
    (tmp_path / "back").symlink_to(tmp_path)
    assert [p.name for p in find_lmdbs(tmp_path)] == ["linked"]


def test_a_set_under_two_names_is_found_under_both(tmp_path, data_tree):
    (tmp_path / "a").symlink_to(data_tree / "training" / "ST")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    assert [p.name for p in find_lmdbs(tmp_path)] == ["a", "b"]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: None, "is missing"),
        (lambda p: p.write_text("x"), "is a file"),
        (lambda p: p.mkdir(), "holds nothing"),
        (lambda p: (p / "photos").mkdir(parents=True), "holds photos"),
        (lambda p: [(p / c).mkdir(parents=True) for c in "abcdefg"], "a, b, c, d, e and 2 more"),
        (lambda p: write_text(p / "gt.txt", ""), "test_final.py --eval_img scores those"),
    ],
)
def test_a_folder_without_data_says_what_is_there_and_the_cure(tmp_path, make, message):
    make(tmp_path / "data")
    with pytest.raises(DataError, match=message) as caught:
        find_lmdbs(tmp_path / "data")
    assert "tools/" in str(caught.value)


def test_a_missing_selection_lists_what_is_there(data_tree):
    with pytest.raises(DataError, match=r"'SynthAdd' .* MJ, MJ_test, MJ_train, MJ_valid, ST"):
        select_lmdbs(data_tree / "training", "SynthAdd")


def test_a_folder_with_a_dash_in_its_name_is_told(tmp_path, make_lmdb, encode_image):
    make_lmdb(tmp_path / "my-words", [(encode_image("x"), "x")])
    with pytest.raises(DataError, match="with a dash in its name can't be selected: rename it"):
        select_lmdbs(tmp_path, "my")


def test_evaluation_sets_have_their_folders_names(tmp_path, make_lmdb, encode_image):
    records = [(encode_image("x"), "x")]
    for name in ("SVT", "a/extra", "b/extra"):
        make_lmdb(tmp_path / name, records)
    label_filter = lenient(trainable=False)
    assert sorted(open_evaluation_sets(tmp_path, label_filter)) == ["SVT", "a/extra", "b/extra"]
    assert list(open_evaluation_sets(tmp_path, label_filter, ["SVT", "CUTE80"])) == ["SVT"]
    with pytest.raises(DataError, match="None of CUTE80"):
        open_evaluation_sets(tmp_path, label_filter, ["CUTE80"])


def test_a_set_that_is_there_by_a_link_too_is_told(tmp_path, make_lmdb, encode_image, capsys):
    make_lmdb(tmp_path / "SVT", [(encode_image("x"), "x")])
    open_evaluation_sets(tmp_path, lenient(trainable=False), log=RunLog())
    assert not capsys.readouterr().out
    (tmp_path / "linked").symlink_to(tmp_path / "SVT")
    open_evaluation_sets(tmp_path, lenient(trainable=False), log=RunLog())
    assert "SVT is there more than once, by a link" in capsys.readouterr().out


def test_a_folder_that_is_named_itself_is_told(tmp_path, make_lmdb, encode_image):
    make_lmdb(tmp_path / "training/ST", [(encode_image("ok"), "ok")])
    with pytest.raises(DataError, match="give the folder around it, or --select_data /"):
        select_lmdbs(tmp_path / "training/ST", "ST")
    assert select_lmdbs(tmp_path / "training/ST", "/") == [tmp_path / "training/ST"]


def test_an_empty_file_is_told(tmp_path):
    (tmp_path / "set").mkdir()
    (tmp_path / "set/data.mdb").write_bytes(b"")
    with pytest.raises(DataError, match=r"set has an empty data\.mdb: copy or make it again"):
        LmdbSet(tmp_path / "set", LabelFilter(Charset.load("36"), 25))


def test_a_report_tells_how_to_keep_more(tmp_path, make_lmdb, encode_image):
    labels = ["x" * 26, "你好", "ok"]
    path = make_lmdb(tmp_path / "set", [(encode_image("ok"), label) for label in labels])
    training = LabelFilter(Charset.load("36"), 25)
    scoring = LabelFilter(Charset.load("36"), None, trainable=False)
    for label_filter, cures in (
        (
            training,
            "train with a larger --batch_max_length; train with another --character "
            "(tools/check_data.py lists those in the labels)",
        ),
        (scoring, "--protocol (36, 62, 94) says which characters are compared"),
    ):
        for opened in (LmdbSet(path, label_filter), LmdbSet(path, label_filter)):  # from its index
            assert str(opened.report).endswith(f"to keep more: {cures}")


def test_a_folder_s_name_need_not_be_utf8(tmp_path, encode_image):
    place = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff"))
    with LmdbWriter(place) as writer:
        writer.write(encode_image("one"), "one")
    assert LmdbSet(place, lenient()).read(1)[1] == "one"

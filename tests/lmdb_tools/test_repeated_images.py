"""The same image more than once: leaks, repeats, contradictions; and which LMDB is for what."""

from pathlib import Path

import pytest

from lmdb_tools.purpose import find_purposes
from records.lmdb_file import DataError

LEAKED = "image for training is in an evaluation LMDB too"
REPEATED = "image is in this LMDB more than once"
IN_ANOTHER = "image is in another LMDB for the same purpose"
TWO_LABELS = "image has another label elsewhere"


def test_a_leak_is_an_error_of_the_training_set(tmp_path, make_lmdb, words, check):
    cat, dog, sun, owl = words("cat", "dog", "sun", "owl")
    make_lmdb(tmp_path / "evaluation/A", [cat, dog])
    make_lmdb(tmp_path / "evaluation/B", [dog])
    make_lmdb(tmp_path / "training/C", [sun, dog, cat, dog])
    make_lmdb(tmp_path / "training/D", [owl, cat])
    tree = check(tmp_path)
    found = {
        one.path.name: {r.text: n for r, n in one.findings.counts.items()} for one in tree.lmdbs
    }
    assert found == {
        "A": {},
        "B": {IN_ANOTHER: 1},
        "C": {LEAKED: 3, REPEATED: 1},
        "D": {LEAKED: 1, IN_ANOTHER: 1},
    }
    assert not tree.passed
    assert {one.path.name: one.usable for one in tree.lmdbs} == {"A": 2, "B": 1, "C": 1, "D": 1}
    at = {name: str(tmp_path / name) for name in ("evaluation/A", "training/C")}
    assert tree.leaks[0] == (at["training/C"], at["evaluation/A"], 2)
    assert [images for *_, images in tree.leaks] == [2, 1, 1]
    ((_, examples),) = [
        (r, e) for r, e in tree.lmdbs[2].findings.examples.items() if r.text == LEAKED
    ]
    assert [e.record for e in examples] == [2, 3, 4]
    assert examples[0].detail == f"{at['evaluation/A']} record 2"


def test_no_leak_without_the_same_image(tmp_path, make_lmdb, words, found):
    cat, dog = words("cat", "dog")
    make_lmdb(tmp_path / "evaluation/A", [cat])
    make_lmdb(tmp_path / "training/B", [(dog[0], "cat")])
    make_lmdb(tmp_path / "other", [cat])
    assert found(tmp_path) == {}


def test_the_same_image_with_two_labels_is_told_apart(tmp_path, make_lmdb, words, check):
    cat, dog, sun = words("cat", "dog", "sun")
    make_lmdb(tmp_path / "A", [cat, dog, (cat[0], "cut"), (dog[0], "Dog"), sun])
    make_lmdb(tmp_path / "B", [(sun[0], "son")])
    tree = check(tmp_path)
    assert {r.text: n for r, n in tree.findings.counts.items()} == {TWO_LABELS: 4, REPEATED: 1}
    assert tree.passed
    examples = {r.text: e for r, e in tree.lmdbs[0].findings.examples.items()}
    assert [e.detail for e in examples[TWO_LABELS]] == [
        f"'cat', but 'cut' in {tmp_path / 'A'} record 3",
        f"'cut', but 'cat' in {tmp_path / 'A'} record 1",
        f"'sun', but 'son' in {tmp_path / 'B'} record 1",
    ]


def test_upper_case_is_another_label_where_the_charset_has_it(tmp_path, make_lmdb, words, found):
    ((image, _),) = words("cat")
    make_lmdb(tmp_path / "A", [(image, "cat"), (image, "Cat")])
    assert found(tmp_path, character="36") == {REPEATED: 1}
    assert found(tmp_path, character="62") == {TWO_LABELS: 2}


def test_benchmarks_that_hold_others_by_definition(tmp_path, make_lmdb, words, found):
    records = words("cat", "dog")
    for name in ("IC13_857", "IC13_1015", "IC15_1811", "IC15_2077"):
        shown = records if name.startswith("IC13") else words("sun", "owl")
        make_lmdb(tmp_path / "evaluation" / name, shown, stand_in=b"{}")
    assert found(tmp_path) == {}
    make_lmdb(tmp_path / "evaluation/SVT", records, stand_in=b"{}")
    assert found(tmp_path) == {IN_ANOTHER: 2}


def test_unusable_records_are_compared_with_nothing(tmp_path, make_lmdb, words, found):
    ((image, _),) = words("cat")
    make_lmdb(tmp_path / "evaluation/A", [(image, "cat"), (b"", "a"), (b"", "b")])
    make_lmdb(tmp_path / "training/B", [(image, b"\xff"), (b"", "a")])
    assert found(tmp_path) == {"image is empty": 3, "label is not UTF-8": 1}


def test_purposes_by_folders_and_options():
    paths = [Path("data/training/MJ"), Path("training/validation"), Path("mine/valid"), Path("x")]
    assert list(find_purposes(paths, {}).values()) == ["training", "evaluation", None, None]
    named = {"training": ["x"], "evaluation": ["valid", "MJ"]}
    expected = ["evaluation", "evaluation", "evaluation", "training"]
    assert list(find_purposes(paths, named).values()) == expected


def test_a_purpose_by_a_folder(tmp_path):
    (tmp_path / "a/b").mkdir(parents=True)
    paths = [tmp_path / "a/b", tmp_path / "c"]
    named = {"evaluation": [str(tmp_path / "a")]}
    assert list(find_purposes(paths, named).values()) == ["evaluation", None]


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ({"training": ["nowhere"]}, "none of the 2 LMDBs lies there"),
        ({"training": ["a"], "evaluation": ["b"]}, "would be for both"),
    ],
)
def test_purposes_that_fit_nothing_or_twice(named, message):
    with pytest.raises(DataError, match=message):
        find_purposes([Path("a/b"), Path("c")], named)

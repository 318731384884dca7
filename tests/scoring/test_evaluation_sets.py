from pathlib import Path

import pytest

from console.progress import RunLog
from engine.evaluation import SetScore
from engine.report import totals
from records.benchmarks import benchmark_name, lies_in_another
from records.content_hash import content_hash
from scoring.evaluation_sets import EvaluationSets
from text import Charset
from utils import get_args

RECORDS = [("one", "It's"), ("two", "x" * 30), ("three", "!?")]


def options(place, *more):
    return get_args(
        "test_final", ["--eval_data", str(place), "--model_dir", "m", "--benchmark_all_eval", *more]
    )


@pytest.fixture
def records(encode_image):
    return [(encode_image(image), label) for image, label in RECORDS]


def opened(place, *more, charset="36"):
    sets = EvaluationSets(options(place, *more), RunLog(enabled=False))
    return sets, sets.open(Charset.load(charset))


def test_long_labels_are_kept_and_empty_ones_are_counted(tmp_path, make_lmdb, records):
    make_lmdb(tmp_path / "SVT", records)
    sets, by_name = opened(tmp_path)
    labels = [by_name["SVT"].read(int(n))[1] for n in by_name["SVT"].numbers]
    assert labels == ["its", "x" * 30]
    (contents,) = sets.contents
    assert (contents.records, contents.compared) == (3, 2)
    assert contents.left_out == {"no character of the charset in it": 1}
    _, everything = opened(tmp_path, "--data_filtering_off")
    assert len(everything["SVT"]) == 3


@pytest.mark.parametrize(("protocol", "label"), [("36", "its"), ("62", "Its"), ("94", "It's")])
def test_a_protocol_decides_what_is_compared(tmp_path, make_lmdb, records, protocol, label):
    make_lmdb(tmp_path / "SVT", records)
    _, by_name = opened(tmp_path, charset=protocol)
    assert by_name["SVT"].read(1)[1] == label


def test_the_hash_is_of_the_records_not_of_the_file(tmp_path, make_lmdb, records):
    hashes = []
    for name, own, more in (
        ("first", records, {}),
        ("copy", records, {"note": b"written otherwise"}),
        ("label", [*records[:2], (records[2][0], "!!")], {}),
        ("order", records[::-1], {}),
        ("gone", [*records[:2], (None, "!?")], {}),
    ):
        make_lmdb(tmp_path / name / "SVT", own, **more)
        sets, _ = opened(tmp_path / name, "--data_filtering_off")
        hashes.append(sets.contents[0].sha256)
    assert hashes[0] == hashes[1]
    assert len(set(hashes)) == 4
    # Neither can bytes move from the image to the label unseen.
    assert content_hash([(b"ab", b"c")]) != content_hash([(b"a", b"bc")])


def test_a_folder_hashes_as_the_lmdb_of_its_images(tmp_path, make_lmdb, records):
    folder = tmp_path / "folder"
    folder.mkdir()
    lines = []
    for number, (image, label) in enumerate(records):
        (folder / f"{number}.png").write_bytes(image)
        lines.append(f"{number}.png\t {label}\n")
    (folder / "gt.txt").write_text("".join(lines), encoding="utf-8")
    arguments = ["--eval_data", str(folder), "--model_dir", "m", "--eval_img"]
    sets = EvaluationSets(get_args("test_final", arguments), RunLog(enabled=False))
    sets.open(Charset.load("36"))
    make_lmdb(tmp_path / "lmdb" / "SVT", records)
    assert sets.contents[0].sha256 == opened(tmp_path / "lmdb")[0].contents[0].sha256


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("Union14M-Benchmark/multi-oriented", "Union14M-Benchmark/multi_oriented"),
        ("u/union14m_benchmark/Curve", "Union14M-Benchmark/curve"),
        ("OST/heavy", "OST/heavy"),
        ("OST", "OST"),
        ("COCOv1.4", "COCO"),
        ("test/IIIT5k", "IIIT5k_3000"),
        ("Union14M-Benchmarks/general", "Union14M-Benchmark/general"),
        ("u14m/multi_words", "Union14M-Benchmark/multi_words"),
        ("WordArt", None),
        ("mine/curve", None),
    ],
)
def test_names_of_benchmarks(path, name):
    assert benchmark_name(Path(path)) == name


def test_a_set_in_a_set_lies_in_every_set_around_it():
    assert lies_in_another("IC13_857", ["IC13_1095"])
    assert lies_in_another("IC13_1015", ["SVT", "IC13_1095"])
    assert not lies_in_another("IC13_1095", ["IC13_857", "IC13_1015"])
    assert not lies_in_another("SVT", ["SVT"])


def test_six_sets_are_found_by_other_names_too(tmp_path, make_lmdb, records, monkeypatch):
    for name in ("IIIT5k", "SVT", "ArT"):
        make_lmdb(tmp_path / name, records)
    assert set(opened(tmp_path, "--fast_acc")[1]) == {"IIIT5k_3000", "SVT"}
    monkeypatch.chdir(tmp_path / "IIIT5k")  # where the folder has no name
    assert set(opened(".", "--fast_acc")[1]) == {"IIIT5k_3000"}
    monkeypatch.chdir(tmp_path / "ArT")
    assert set(opened(".")[1]) == {"ArT"}


def test_two_of_one_benchmark_keep_their_own_names_and_the_others_theirs(
    tmp_path, make_lmdb, records
):
    for place in ("COCO", "COCOv1.4", "u/Union14M-Benchmark/Curve"):
        make_lmdb(tmp_path / place, records)
    assert set(opened(tmp_path)[1]) == {"COCO", "COCOv1.4", "Union14M-Benchmark/curve"}


def test_benchmarks_of_parts_have_totals(tmp_path, make_lmdb, records):
    for name in ("SVT", "ArT", "Uber", "Union14M-Benchmark/curve", "Union14M-Benchmark/salient"):
        make_lmdb(tmp_path / name, records)
    _, by_name = opened(tmp_path)
    scores = [SetScore(name, 2, {"fused": 1}) for name in by_name]
    found = {total.name: total for total in totals(scores)}
    assert set(found) == {"six sets", "ArT, COCO, Uber", "Union14M-Benchmark"}
    assert found["ArT, COCO, Uber"].missing == ("COCO",)
    assert found["Union14M-Benchmark"].images == 4

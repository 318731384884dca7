"""The command tools/check_data.py: exit statuses, report, JSON, and the cleaned copy."""

import json
import os
import pickle
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from console.progress import RunLog
from scoring.evaluation_sets import EvaluationSets
from text import Charset
from tools.check_data import main
from utils import get_args

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def tree(tmp_path, make_lmdb, words, boxes) -> Path:
    """A tree with a fault of each kind that a cleaned copy mends."""
    cat, dog, sun, owl, fox, jam, tea = words("cat", "dog", "sun", "owl", "fox", "jam", "tea")
    root = tmp_path / "data"
    make_lmdb(root / "evaluation/SVT", [cat, (b"", "x"), dog], stand_in=b'{"level": "easy"}')
    pickled = pickle.dumps({"[[0, 2], [9, 18]]": "w", "word": "owl"})
    good = pickle.dumps({"[[0, 2], [9, 18]]": "w", "word": "w"})
    records = [
        (sun[0], "Sun\u00e9"),
        cat,  # leaked
        (owl[0], pickled),  # with boxes of another word
        fox,
        (jam[0], good),
        (None, "lost"),
        (tea[0], b"\xff"),
    ]
    make_lmdb(
        root / "training/MJ/MJ_train",
        records,
        declared=4,
        boxes_000000001=boxes("sun"),
        boxes_000000004=boxes("ox"),
    )
    make_lmdb(root / "training/ST", words("ink", "map"), declared=9)
    (root / "training/gone").mkdir()
    (root / "training/gone/data.mdb").write_bytes(b"no LMDB")
    return root


def run(*arguments: str | Path) -> int:
    return main([*map(str, arguments), "--jobs", "1"])


def test_passed_with_warnings(data_tree, capsys):
    assert run(data_tree / "training") == 0
    out = capsys.readouterr().out
    assert f"{data_tree}/training/ST" in out
    # The sets have the same images.
    assert "30: image is in another LMDB for the same purpose" in out
    assert "passed (errors: 0, warnings: 30)" in out


def test_a_set_named_twice_is_checked_once(tmp_path, make_lmdb, words, capsys, monkeypatch):
    make_lmdb(tmp_path / "data/set", words("cat"))
    monkeypatch.chdir(tmp_path)
    assert run("data", "data/set", tmp_path / "data") == 0
    assert "passed (errors: 0, warnings: 0)" in capsys.readouterr().out


def test_the_same_data_under_other_names_fails(data_tree, capsys):
    purposes = ["--training", "ST", "--evaluation", data_tree / "training/MJ"]
    assert run(data_tree / "training", *purposes) == 1
    out = capsys.readouterr().out
    assert "10: image for training is in an evaluation LMDB too" in out
    assert f"10: {data_tree}/training/MJ/MJ_test in {data_tree}/training/ST" in out


def test_failed(tree, capsys):
    assert run(tree) == 1
    out = capsys.readouterr().out
    assert "image for training is in an evaluation LMDB too" in out
    assert f"training/MJ/MJ_train record 2: {tree}/evaluation/SVT record 1" in out
    assert "U+00E9 LATIN SMALL LETTER E WITH ACUTE" in out
    assert "NFKC" not in out
    assert "failed (errors: 17, warnings: 1)" in out
    table = [line.split() for line in out.splitlines() if "training/ST " in line]
    assert table[0][1:] == ["training", "2", "2", "7", "0"]


def test_nfkc_is_advised_where_it_helps(tmp_path, make_lmdb, words, capsys):
    ((image, _),) = words("cat")
    make_lmdb(tmp_path / "set", [(image, "\uff21\uff21\u00e9"), (image, "\u00bd\u00c9\u00e9")])
    assert run(tmp_path) == 0
    out = capsys.readouterr().out
    assert "2: '\uff41' (U+FF41 FULLWIDTH LATIN SMALL LETTER A), which NFKC makes 'a'" in out
    # Only a part of what NFKC makes of it is in the charset.
    assert "1: '\u00bd' (U+00BD VULGAR FRACTION ONE HALF)\n" in out
    assert "normalise labels with NFKC" in out
    assert out.index("3: '\u00e9'") < out.index("2: '\uff41'") < out.index("1: '\u00bd'")


def test_json_has_all_of_it(tree, tmp_path):
    assert run(tree, "--json", tmp_path / "report.json") == 1
    report = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert report["passed"] is False
    assert report["errors"] == 17 == sum(r["count"] for r in report["reasons"] if r["error"])
    lmdbs = {Path(one["path"]).name: one for one in report["lmdbs"]}
    assert list(lmdbs) == ["SVT", "MJ_train", "ST", "gone"]
    assert lmdbs["SVT"]["notes"] == {"stand-in": {"level": "easy"}}
    assert lmdbs["MJ_train"]["num_samples"] == 4
    assert (lmdbs["MJ_train"]["records"], lmdbs["MJ_train"]["usable"]) == (7, 4)
    assert lmdbs["MJ_train"]["for"] == "training"
    reasons = {r["reason"]: r for r in lmdbs["MJ_train"]["reasons"]}
    assert reasons["label is not UTF-8"]["examples"][0]["record"] == 7
    assert reasons["boxes and label disagree"]["count"] == 2
    assert reasons["boxes and label disagree"]["hint"]
    assert report["leaks"] == [
        {"training": lmdbs["MJ_train"]["path"], "evaluation": lmdbs["SVT"]["path"], "images": 1}
    ]
    assert report["characters"] == [
        {"character": "\u00e9", "code_points": ["U+00E9"], "count": 1, "nfkc": None}
    ]


def test_the_hash_of_a_set_is_the_one_that_testing_prints(tmp_path, make_lmdb, words, boxes):
    records = words("cat", "dog")
    make_lmdb(tmp_path / "a/evaluation/A", records)
    make_lmdb(tmp_path / "a/evaluation/B", records, note=b"{}", boxes_000000001=boxes("cat"))
    make_lmdb(tmp_path / "a/evaluation/C", records[::-1])
    make_lmdb(tmp_path / "a/training/D", records)
    run(tmp_path / "a", "--json", tmp_path / "report.json")
    report = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    first, same, reversed_, training = (one["sha256"] for one in report["lmdbs"])
    assert first == same == training != reversed_
    options = get_args("test_final", ["--eval_data", str(tmp_path / "a"), "--model_dir", "m"])
    sets = EvaluationSets(options, RunLog(enabled=False))
    sets.open(Charset.load("36"))
    tested = {Path(one.path).name: one.sha256 for one in sets.contents}
    assert tested == {"A": first, "B": first, "C": reversed_, "D": first}


def test_fix_loses_only_what_it_must(tree, tmp_path, entries, words):
    before = {p: p.read_bytes() for p in tree.rglob("data.mdb")}
    assert run(tree, "--fix", tmp_path / "fixed") == 1
    assert {p: p.read_bytes() for p in tree.rglob("*") if p.is_file()} == before
    cat, dog, sun, owl, fox, jam, _ = words("cat", "dog", "sun", "owl", "fox", "jam", "tea")
    fixed = tmp_path / "fixed"
    assert sorted(p.name for p in fixed.rglob("*")) == sorted(
        ["evaluation", "SVT", "training", "MJ", "MJ_train", "ST"] + 3 * ["data.mdb"]
    )
    svt = entries(fixed / "evaluation/SVT")
    assert json.loads(svt.pop(b"stand-in")) == {"level": "easy"}
    assert svt == {
        b"num-samples": b"2",
        b"image-000000001": cat[0],
        b"label-000000001": b"cat",
        b"image-000000002": dog[0],
        b"label-000000002": b"dog",
    }
    source = entries(tree / "training/MJ/MJ_train")
    assert entries(fixed / "training/MJ/MJ_train") == {
        b"num-samples": b"4",
        b"image-000000001": sun[0],
        b"label-000000001": "Sun\u00e9".encode(),
        b"boxes-000000001": source[b"boxes-000000001"],
        b"image-000000002": owl[0],
        b"label-000000002": b"owl",
        b"image-000000003": fox[0],
        b"label-000000003": b"fox",
        b"image-000000004": jam[0],
        b"label-000000004": source[b"label-000000005"],
    }
    assert entries(fixed / "training/ST")[b"num-samples"] == b"2"


def test_what_fix_wrote_passes(tree, tmp_path, capsys):
    run(tree, "--fix", tmp_path / "fixed")
    assert "8 records written (2 of them without their bad boxes), 4 left out" in (
        capsys.readouterr().out
    )
    assert run(tmp_path / "fixed") == 0


def test_fix_of_a_sound_tree_copies_it(tmp_path, make_lmdb, words, boxes, entries):
    extra = {"boxes_000000002": b" " + boxes("dog"), "note": b"[1]"}
    path = make_lmdb(tmp_path / "data", words("cat", "dog"), **extra)
    assert run(path, "--fix", tmp_path / "copy") == 0
    # What is no JSON object becomes one.
    copied = entries(tmp_path / "copy")
    assert json.loads(copied.pop(b"note")) == {"note": "[1]"}
    original = entries(path)
    del original[b"note"]
    assert copied == original


def test_fix_where_nothing_is_left(tmp_path, make_lmdb, capsys):
    make_lmdb(tmp_path / "data", [(b"", "cat")])
    assert run(tmp_path / "data", "--fix", tmp_path / "fixed") == 1
    assert "can be used" in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["data"]


def test_fix_fails_whole(tree, tmp_path, monkeypatch, capsys):
    def fail(*_):
        raise OSError("No space left on device")

    monkeypatch.setattr("lmdb_tools.cleaned_copy.read_label", fail)
    assert run(tree, "--fix", tmp_path / "fixed") == 1
    assert "No space left" in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["data"]


def test_jobs_change_nothing(tree, tmp_path, capsys):
    results = []
    for jobs in "12":
        places = ["--json", tmp_path / f"{jobs}.json", "--fix", tmp_path / f"fixed{jobs}"]
        assert main([str(tree), "--jobs", jobs, *map(str, places)]) == 1
        files = [p.read_bytes() for p in sorted((tmp_path / f"fixed{jobs}").rglob("data.mdb"))]
        out = capsys.readouterr().out.replace(f"fixed{jobs}", "fixed")
        results.append((out, (tmp_path / f"{jobs}.json").read_text(), files))
    assert results[0] == results[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "data folder nowhere is missing"),
        (["{here}"], "no LMDB (a folder with data.mdb) below"),
        (["{data}", "--training", "nowhere"], "none of the 1 LMDBs lies there"),
        (["{data}", "--character", "aba"], "stand twice"),
        (["{data}", "--character", "none.txt"], "no charset file"),
        (["{data}", "--fix", "{data}/fixed"], "can't lie in"),
        (["{data}", "--fix", "{data}/.."], "nor around it"),
        (["{data}", "--fix", "{full}"], "is there already"),
        (["{data}", "{data}", "--fix", "{here}"], "one DATA"),
    ],
)
def test_wrong_usage(arguments, message, tmp_path, make_lmdb, words, capsys):
    make_lmdb(tmp_path / "data/set", words("cat"))
    places = {"data": tmp_path / "data", "here": tmp_path / "empty", "full": tmp_path / "full"}
    places["here"].mkdir()
    places["full"].mkdir()
    (places["full"] / "file").touch()
    assert run(*(a.format(**places) for a in arguments)) == 2
    said = capsys.readouterr()
    assert message in said.err
    assert not said.out


@pytest.mark.parametrize(
    "arguments",
    [
        *([], ["x", "--batch_max_length", "0"], ["x", "--jobs", "-1"], ["x", "--what"]),
        ["x", "--json", "."],
    ],
)
def test_wrong_options(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2


# Says when the first records are done, so that the test need not guess.
INTERRUPTIBLE = """
import signal, sys
from console.progress import Progress
from tools.check_data import main

def update(self, count):
    print("started", flush=True)

Progress.update = update
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where the suite runs with nohup
sys.exit(main())
"""


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_interrupted(jobs, tmp_path, make_lmdb):
    make_lmdb(tmp_path / "data", [(b"image %d" % k, "w") for k in range(50_000)])
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTIBLE, "data", "--jobs", jobs, "--fix", "fixed"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "started\n"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert err == "interrupted: not all was checked\n"
    assert set(out.split()) <= {"started"}
    assert [p.name for p in tmp_path.iterdir()] == ["data"]


def test_a_terminal_that_knows_ascii_only(tmp_path, make_lmdb, words):
    ((image, _),) = words("cat")
    make_lmdb(tmp_path / "set", [(image, "caf\u00e9")])
    process = subprocess.run(
        [sys.executable, "tools/check_data.py", tmp_path, "--jobs", "1"],
        cwd=ROOT,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        check=False,
    )
    assert process.returncode == 0
    assert b"'\\xe9' (U+00E9" in process.stdout

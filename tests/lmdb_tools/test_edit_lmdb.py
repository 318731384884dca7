"""The command tools/edit_lmdb.py."""

import json
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from lmdb_tools.watched_lmdb import BATCH, read_records
from tools.create_lmdb_dataset import main as create_main
from tools.edit_lmdb import main

ROOT = Path(__file__).resolve().parents[2]


def run(*arguments: str | Path) -> int:
    return main([*map(str, arguments), "--jobs", "1"])


def records(stored: dict[bytes, bytes]) -> list[tuple[bytes | None, ...]]:
    """Image, label and boxes of each record that num-samples counts."""
    count = int(stored[b"num-samples"])
    keys = [k for k in stored if k[:6] in (b"image-", b"label-", b"boxes-")]
    assert {int(key[6:]) for key in keys} == set(range(1, count + 1))
    kinds = (b"image", b"label", b"boxes")
    return [tuple(stored.get(b"%s-%09d" % (k, n)) for k in kinds) for n in range(1, count + 1)]


@pytest.fixture
def faulty(tmp_path, make_lmdb, words, boxes) -> Path:
    """Seven records of which 1, 4 and 5 are whole; the last is not counted."""
    cat, dog, sun, owl, fox, jam, tea = words("cat", "dog", "sun", "owl", "fox", "jam", "tea")
    pickled = pickle.dumps({"[[0, 2], [9, 18]]": "o", "word": "o"})
    made = [cat, (None, "dog"), (sun[0], b"\xff"), (owl[0], pickled), fox, (b"", "jam"), tea]
    extra = {"boxes_000000001": b" " + boxes("cat"), "boxes_000000005": b"damaged"}
    path = make_lmdb(tmp_path / "faulty", made, declared=6, stand_in=b'{"level": "easy"}', **extra)
    assert dog[0] != jam[0]
    return path


@pytest.fixture
def numbered(tmp_path, make_lmdb) -> Path:
    """Fifty records whose labels are their numbers."""
    made = [(b"image %d" % n, str(n)) for n in range(1, 51)]
    return make_lmdb(tmp_path / "numbered", made)


def labels(stored: dict[bytes, bytes]) -> list[int]:
    return [int(label) for _, label, _ in records(stored)]


def test_merge_copies_whole_records_in_order(faulty, numbered, tmp_path, entries, capsys):
    assert run("merge", numbered, faulty, numbered, "--output", tmp_path / "out") == 0
    stored = entries(tmp_path / "out")
    source, plain = entries(faulty), records(entries(numbered))
    whole = [
        tuple(source.get(b"%s-%09d" % (kind, n)) for kind in (b"image", b"label", b"boxes"))
        for n in (1, 4, 5)
    ]
    assert records(stored) == plain + whole + plain
    out = capsys.readouterr().out
    assert "3 records kept, 4 dropped" in out
    assert "1: record is there, but num-samples leaves it out (for example record 7)" in out
    assert "1: label is not UTF-8 (for example record 3)" in out
    assert "103 records written" in out


def test_merge_of_many(tmp_path, make_lmdb, entries, capsys):
    count = 2 * BATCH + 1
    made = [(b"image", str(n)) for n in range(1, count + 1)]
    made[BATCH] = (None, "lost")
    path = make_lmdb(tmp_path / "many", made, declared=10**6)
    assert run("merge", path, "--output", tmp_path / "out") == 0
    left = [n for n in range(1, count + 1) if n != BATCH + 1]
    assert labels(entries(tmp_path / "out")) == left
    out = capsys.readouterr().out
    assert f"{10**6 - count:,}: record is missing, though num-samples counts it" in out
    assert f"record has no image (for example record {BATCH + 1})" in out


def test_a_set_made_from_any_stand_in_is_one(faulty, numbered, tmp_path, make_lmdb, words, entries):
    for name, sources in {"a": [numbered, faulty], "b": [faulty, faulty], "c": [numbered]}.items():
        assert run("merge", *sources, "--output", tmp_path / name) == 0
    notes = [entries(tmp_path / name).get(b"stand-in") for name in "abc"]
    assert [note and json.loads(note) for note in notes] == [{"level": "easy"}] * 2 + [None]
    other = make_lmdb(tmp_path / "other", words("cat"), stand_in=b'{"level": "normal"}')
    assert run("merge", faulty, other, "--output", tmp_path / "d") == 0
    both = json.loads(entries(tmp_path / "d")[b"stand-in"])
    assert both == {"merged": [{"level": "easy"}, {"level": "normal"}]}


def test_split_is_exact_disjoint_and_covers(numbered, tmp_path, entries):
    parts = ["--parts", "train=0.7", "valid=0.1", "test=0.2"]
    assert run("split", numbered, *parts, "--seed", "1", "--output", tmp_path / "out") == 0
    found = {name: labels(entries(tmp_path / "out" / name)) for name in ("train", "valid", "test")}
    assert {name: len(part) for name, part in found.items()} == {
        "train": 35,
        "valid": 5,
        "test": 10,
    }
    assert sorted(number for part in found.values() for number in part) == list(range(1, 51))
    assert all(part == sorted(part) for part in found.values())


def test_split_of_a_stand_in(faulty, tmp_path, entries):
    run("split", faulty, "--parts", "a=0.6", "b=0.4", "--output", tmp_path / "out")
    for name in "ab":
        assert json.loads(entries(tmp_path / "out" / name)[b"stand-in"]) == {"level": "easy"}


@pytest.mark.parametrize(
    ("how", "count"),
    [(["--fraction", "0.1"], 5), (["--fraction", "0.001"], 1), (["--count", "7"], 7)],
)
def test_random_subsets(how, count, numbered, tmp_path, entries):
    for name, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        assert run("subset", numbered, *how, "--seed", seed, "--output", tmp_path / name) == 0
    first, again, other = (labels(entries(tmp_path / name)) for name in "abc")
    assert len(set(first)) == count
    assert first == sorted(first) == again
    assert first != other
    assert records(entries(tmp_path / "a"))[0][0] == b"image %d" % first[0]


def test_a_listed_subset(faulty, tmp_path, entries, capsys):
    (tmp_path / "list").write_text("5\n2\n1\nfox\n")
    assert run("subset", faulty, "--list", tmp_path / "list", "--output", tmp_path / "out") == 0
    stored = entries(tmp_path / "out")
    assert [label for _, label, _ in records(stored)] == [b"cat", b"fox"]
    assert json.loads(stored[b"stand-in"]) == {"level": "easy"}
    out = capsys.readouterr().out
    assert "1: line is no number of a record (for example line 4: 'fox')" in out
    assert "1: line names no usable record (for example line 2: '2')" in out


def test_export(faulty, tmp_path, entries, capsys):
    assert run("export", faulty, "--output", tmp_path / "out") == 0
    source = entries(faulty)
    lines = (tmp_path / "out/labels.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == [
        {
            "image": "images/000000001.png",
            "text": "cat",
            "boxes": json.loads(source[b"boxes-000000001"]),
        },
        {"image": "images/000000004.png", "text": "o", "boxes": [["o", 0, 2, 9, 18]]},
        {"image": "images/000000005.png", "text": "fox"},
    ]
    assert (tmp_path / "out/gt.txt").read_text() == (
        "images/000000001.png\tcat\nimages/000000004.png\to\nimages/000000005.png\tfox\n"
    )
    images = {p.name: p.read_bytes() for p in (tmp_path / "out/images").iterdir()}
    assert images == {f"{n:09d}.png": source[b"image-%09d" % n] for n in (1, 4, 5)}
    assert json.loads((tmp_path / "out/notes.json").read_text()) == {"stand-in": {"level": "easy"}}
    out = capsys.readouterr().out
    assert "3 images written, 2 with character boxes" in out
    assert "1: bad boxes, left out: boxes are not valid JSON (for example record 5)" in out


def test_exported_files_have_the_suffix_of_their_contents(tmp_path, make_lmdb, encode_image):
    forms = {"JPEG": "jpg", "PNG": "png", "GIF": "gif", "BMP": "bmp", "WEBP": "webp", "TIFF": "tif"}
    made = [(encode_image("cat", form=form), "cat") for form in forms] + [(b"what", "cat")]
    path = make_lmdb(tmp_path / "set", made)
    assert run("export", path, "--output", tmp_path / "out") == 0
    suffixes = [p.suffix[1:] for p in sorted((tmp_path / "out/images").iterdir())]
    assert suffixes == [*forms.values(), "bin"]


def test_labels_with_line_breaks_are_not_in_the_ground_truth_file(
    tmp_path, make_lmdb, words, capsys
):
    cat, dog, sun, owl = (image for image, _ in words("cat", "dog", "sun", "owl"))
    texts = ["a\nb", "a\tb ", "c\r", "\u2028x"]
    path = make_lmdb(tmp_path / "set", list(zip((cat, dog, sun, owl), texts, strict=True)))
    assert run("export", path, "--output", tmp_path / "out") == 0
    lines = (tmp_path / "out/gt.txt").read_bytes().decode().split("\n")
    assert lines == ["images/000000004.png\t\u2028x", ""]
    listed = (tmp_path / "out/labels.jsonl").read_text(encoding="utf-8").split("\n")
    assert [json.loads(line)["text"] for line in listed[:-1]] == texts
    assert "3: label with a line break or a tab, not in gt.txt" in capsys.readouterr().out


@pytest.fixture
def exported(tmp_path, make_lmdb, words, boxes) -> Path:
    """An LMDB that was exported to `folder`."""
    texts = ["cat", "a b", "caf\u00e9", "x\ty", "\u4e2d\u6587", "it's", "u\u2028v\u0085w"]
    quads = json.dumps([[c, 1, 2, 9.5, 2, 9.5, 18, 1, 18] for c in "it's"]).encode()
    extra = {"boxes_000000001": boxes("cat"), "boxes_000000006": quads}
    path = make_lmdb(tmp_path / "set", words(*texts), **extra)
    assert run("export", path, "--output", tmp_path / "folder") == 0
    return path


def test_labels_and_boxes_survive_export(exported, tmp_path, entries):
    folder = tmp_path / "folder"
    options = ["--gt", folder / "labels.jsonl", "--output", tmp_path / "again", "--jobs", "1"]
    command = [sys.executable, "tools/prepare_data.py", "folder", "--input", folder, *options]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    assert entries(tmp_path / "again") == entries(exported)


def test_the_ground_truth_file_has_all_but_the_boxes(exported, tmp_path, entries):
    options = ["--inputPath", tmp_path / "folder", "--gtFile", tmp_path / "folder/gt.txt"]
    options += ["--outputPath", tmp_path / "again"]
    assert create_main([*map(str, options), "--jobs", "1"]) == 0
    # Nothing of the label with a tab, the fourth of seven.
    texts = [v for k, v in sorted(entries(exported).items()) if k.startswith(b"label-")]
    again = entries(tmp_path / "again")
    assert [v for k, v in sorted(again.items()) if k.startswith(b"label-")] == [
        text for text in texts if b"\t" not in text
    ]
    images = {v for k, v in entries(exported).items() if k.startswith(b"image-")}
    assert {v for k, v in again.items() if k.startswith(b"image-")} <= images


@pytest.mark.parametrize(
    "command",
    [
        ["merge", "{in}"],
        ["split", "{in}", "--parts", "a=0.5", "b=0.5"],
        ["subset", "{in}", "--count", "2"],
        ["export", "{in}"],
    ],
)
def test_never_over_another_and_whole_or_not_at_all(
    command, numbered, tmp_path, monkeypatch, capsys
):
    command = [part.format(**{"in": numbered}) for part in command]
    out = tmp_path / "out"
    out.mkdir()
    (out / "file").write_text("kept")
    assert run(*command, "--output", out) == 2
    assert "is there already" in capsys.readouterr().err
    assert [p.name for p in out.iterdir()] == ["file"]
    (out / "file").unlink()

    def fail_later(*arguments, **options):
        found = read_records(*arguments, **options)
        yield next(found)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        name = "lmdb_tools.usable_records.UsableRecords.read"
        patched.setattr(name, lambda self, n: fail_later(self.survey.path, self.survey.stamp, n))
        with pytest.raises(SystemExit, match="130"):
            run(*command, "--output", out)
    assert "nothing was written" in capsys.readouterr().err
    assert sorted(p.name for p in tmp_path.iterdir()) in (["numbered"], ["numbered", "out"])
    assert not out.exists() or not any(out.iterdir())
    assert run(*command, "--output", out) == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["numbered", "out"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["merge", "{here}/nowhere"], "There is no LMDB"),
        (["merge", "{cut}"], "was cut off"),
        (["merge", "{in}", "{empty}"], "Nothing in the LMDB"),
        (["export", "{uncounted}"], "has no entry num-samples"),
        (["split", "{in}", "--parts", "a=0.5", "b=0.6"], "sum to 1.1, not to 1"),
        (["split", "{in}", "--parts", "a=0.999", "b=0.001"], "No record is left for b=0.001"),
        (["subset", "{in}", "--count", "51"], "has only 50 usable records"),
        (["subset", "{in}", "--list", "{here}/nowhere"], "There is no list"),
        (["subset", "{in}", "--list", "{list}"], "names no usable record"),
    ],
)
def test_wrong_usage(arguments, message, numbered, tmp_path, make_lmdb, words, capsys):
    cut = make_lmdb(tmp_path / "cut", words("cat") * 1000)
    (cut / "data.mdb").write_bytes((cut / "data.mdb").read_bytes()[:20_000])
    places = {
        "in": numbered,
        "here": tmp_path,
        "list": tmp_path / "list",
        "cut": cut,
        "empty": make_lmdb(tmp_path / "empty", []),
        "uncounted": make_lmdb(tmp_path / "uncounted", words("cat"), declared=-1),
    }
    (tmp_path / "list").write_text("word\n51\n")
    assert run(*(a.format(**places) for a in arguments), "--output", tmp_path / "out") == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert message in said
    assert not list(tmp_path.glob("out*"))


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["join"],
        ["merge", "--output", "x"],
        ["merge", "a"],
        ["split", "a", "--output", "x"],
        ["split", "a", "--parts", "a", "--output", "x"],
        ["split", "a", "--parts", "a=0", "--output", "x"],
        ["split", "a", "--parts", "../a=1", "--output", "x"],
        ["split", "a", "--parts", "a=0.5", "a=0.5", "--output", "x"],
        ["subset", "a", "--output", "x"],
        ["subset", "a", "--count", "0", "--output", "x"],
        ["subset", "a", "--fraction", "1.5", "--output", "x"],
        ["subset", "a", "--count", "1", "--fraction", "0.5", "--output", "x"],
    ],
)
def test_wrong_options(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2


def test_jobs_change_nothing(faulty, tmp_path, entries, capsys):
    outputs = []
    for jobs in "12":
        target = tmp_path / f"out{jobs}"
        assert main(["merge", str(faulty), "--output", str(target), "--jobs", jobs]) == 0
        outputs.append((entries(target), capsys.readouterr().out.replace(f"out{jobs}", "out")))
    assert outputs[0] == outputs[1]

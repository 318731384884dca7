import os
import subprocess
import sys
from pathlib import Path

import pytest

from records.label_filter import LabelFilter
from records.labelled_folder import LabelledFolder, read_ground_truth
from records.lmdb_set import LmdbSet
from records.lmdb_writer import LmdbWriter
from text import Charset
from tools.create_lmdb_dataset import main

ROOT = Path(__file__).resolve().parents[2]
FILTER = LabelFilter(Charset.load("94"), 25)


@pytest.fixture
def folder(tmp_path, encode_image):
    place = tmp_path / "words"
    place.mkdir()
    for name in ("a.png", "b b.png", "c.png"):
        (place / name).write_bytes(encode_image(name))
    (place / "broken.jpg").write_bytes(b"\xff\xd8 no image")
    lines = [
        "\ufeffa.png\tHello",
        "b b.png\tit's 5\u20ac",
        "",
        "c.png Space",
        "no_label.png\t",
        "nothing",
        "missing.png\tword",
        "broken.jpg\tword",
    ]
    contents = "\r\n".join(lines).encode("utf-8") + b"\na.png\t\xff\xfe\n"
    (place / "gt.txt").write_bytes(contents)
    return place


def test_bad_lines_have_their_numbers(folder):
    truth = read_ground_truth(folder / "gt.txt")
    assert [path for path, _ in truth.entries] == [
        "a.png",
        "b b.png",
        "c.png",
        "missing.png",
        "broken.jpg",
    ]
    assert [number for number, _ in truth.bad_lines] == [5, 6, 9]


def create(folder: Path, output: Path, *more: str) -> int:
    return main(["--inputPath", str(folder), "--outputPath", str(output), "--jobs", "1", *more])


def test_the_lmdb_has_the_images_and_labels(folder, tmp_path, capsys):
    assert create(folder, tmp_path / "lmdb") == 0
    report = capsys.readouterr().out
    opened = LmdbSet(tmp_path / "lmdb", FILTER)
    records = [opened.read(int(n)) for n in opened.numbers]
    assert [label for _, label in records] == ["Hello", "it's5", "Space"]
    assert records[0][0] == (folder / "a.png").read_bytes()
    assert "8 words read, 3 written (0 with character boxes), 5 dropped" in report
    assert "3: bad line (for example gt.txt line 5: no label for no_label.png" in report
    assert "1: no such image (for example missing.png)" in report
    assert "1: unreadable image (for example broken.jpg" in report
    assert opened.stand_in is None


def test_the_folder_itself_can_be_scored(folder):
    opened = LabelledFolder(folder, FILTER)
    assert opened.report.dropped == {"bad line": 3}
    assert [opened.read(int(n))[1] for n in opened.numbers][:2] == ["Hello", "it's5"]
    missing = [opened.read(int(n))[0] for n in opened.numbers][3]
    assert missing is None


def test_an_existing_output_is_left_alone(folder, tmp_path, capsys):
    (tmp_path / "lmdb").mkdir()
    (tmp_path / "lmdb" / "data.mdb").write_bytes(b"mine")
    assert create(folder, tmp_path / "lmdb") == 2
    assert "there already" in capsys.readouterr().err
    assert (tmp_path / "lmdb" / "data.mdb").read_bytes() == b"mine"


def test_nothing_to_write_leaves_nothing(folder, tmp_path, capsys):
    (folder / "gt.txt").write_text("missing.png\tword\n")
    assert create(folder, tmp_path / "lmdb") == 2
    shown = capsys.readouterr().err
    assert "No word was written" in shown and "missing.png" in shown
    assert "Their paths start at the input folder" in shown
    assert not list(tmp_path.glob("lmdb*"))


def test_a_missing_ground_truth_says_its_form(tmp_path, capsys):
    assert create(tmp_path, tmp_path / "lmdb", "--gtFile", str(tmp_path / "other.txt")) == 2
    shown = capsys.readouterr().err
    assert "other.txt" in shown and "path, tab, label" in shown


def test_labels_with_boxes_are_found_as_well(tmp_path, encode_image, capsys):
    (tmp_path / "words").mkdir()
    (tmp_path / "words/1.png").write_bytes(encode_image("a"))
    line = '{"image": "1.png", "text": "a", "boxes": [["a", 1, 1, 9, 9]]}'
    (tmp_path / "words/labels.jsonl").write_text(line, encoding="utf-8")
    assert create(tmp_path / "words", tmp_path / "lmdb") == 0
    assert "1 written (1 with character boxes)" in capsys.readouterr().out


def test_unchecked_images_are_copied_as_they_are(folder, tmp_path, capsys):
    assert create(folder, tmp_path / "lmdb", "--no_check") == 0
    assert "4 written" in capsys.readouterr().out


def test_the_map_grows(tmp_path):
    with LmdbWriter(tmp_path / "lmdb", map_size=2**16) as writer:
        for number in range(300):
            writer.write(os.urandom(4000), f"w{number}")
    assert len(LmdbSet(tmp_path / "lmdb", FILTER)) == 300


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_interruption_leaves_nothing_half_written(tmp_path, error):
    with pytest.raises(error), LmdbWriter(tmp_path / "lmdb") as writer:
        writer.write(b"image", "word")
        raise error
    assert list(tmp_path.iterdir()) == []


def test_the_command_ends_with_a_sentence(tmp_path):
    done = subprocess.run(
        [
            sys.executable,
            "tools/create_lmdb_dataset.py",
            *("--inputPath", str(tmp_path), "--outputPath", str(tmp_path / "lmdb")),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: There is no file")

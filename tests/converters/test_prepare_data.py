"""tools/prepare_data.py: a command for each kind, as it is typed."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from console.progress import RunLog
from converters.kinds import KINDS
from tools.prepare_data import get_args, main

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def words(tmp_path, write_images):
    folder = write_images(tmp_path / "in", "1.jpg", "2.jpg")
    (folder / "gt.txt").write_text("1.jpg\tone\n2.jpg\ttwo\n")
    return folder


def run(*arguments) -> subprocess.CompletedProcess:
    command = [sys.executable, "tools/prepare_data.py", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_the_command_converts_and_reports(words, tmp_path, read_lmdb, labels):
    done = run("folder", "--input", words, "--output", tmp_path / "new/out", "--jobs", 2)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == (
        f"{tmp_path}/new/out: 2 words read, 2 written (0 with character boxes), 0 dropped"
    )
    assert labels(read_lmdb(tmp_path / "new/out")) == ["one", "two"]


def test_every_kind_has_its_help(capsys):
    for kind in KINDS:
        with pytest.raises(SystemExit) as ended:
            get_args([kind, "--help"])
        assert ended.value.code == 0
        shown = " ".join(capsys.readouterr().out.split())
        assert KINDS[kind].help in shown
        assert KINDS[kind].input in shown


def documented() -> list[str]:
    """The commands of data/README.md and of the script's own text."""
    text = (ROOT / "data/README.md").read_text(encoding="utf-8")
    text += (ROOT / "tools/prepare_data.py").read_text(encoding="utf-8").split('"""')[1]
    lines = text.replace("\\\n", " ").splitlines()
    found = [re.search(r"python3 tools/prepare_data\.py (?!KIND)(.*)", line) for line in lines]
    return [match[1] for match in found if match]


@pytest.mark.parametrize("command", documented())
def test_documented_commands_are_understood(command):
    get_args(shlex.split(command))


def test_every_kind_is_documented():
    assert {command.split()[0] for command in documented()} == set(KINDS)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "the following arguments are required: KIND"),
        (["imagenet"], "invalid choice: 'imagenet'"),
        (["folder"], "the following arguments are required: --input, --output"),
        (["svt", "--input", ".", "--output", "x"], "required: --split"),
        (
            ["folder", "--input", ".", "--output", "x", "--jobs", "0"],
            "must be a whole number, 1 or more, not 0",
        ),
        (["folder", "--input", ".", "--output", "x", "--quality", "9"], "unrecognized arguments"),
        (
            ["synthtext", "--input", ".", "--output", "x", "--quality", "101"],
            "from 1 to 100, not 101",
        ),
        (["icdar2015", "--input", ".", "--output", "x", "--subset", "857"], "invalid choice"),
        (["mjsynth", "--input", ".", "--output", "x", "--annotation", "valid"], "invalid choice"),
    ],
)
def test_wrong_usage_is_explained(arguments, message, capsys):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("synthtext", [], "There is no file .*gt.mat"),
        ("mjsynth", [], "There is no file .*annotation_train.txt"),
        ("iiit5k", ["--split", "test"], "There is no file .*testdata.mat"),
        ("svt", ["--split", "train"], "There is no file .*train.xml"),
        ("icdar2013", [], "has none of gt.txt, Challenge2_Test_Task3_GT.txt; name the .* --gt"),
        ("svtp", [], "has none of gt.txt, test_label.txt; name the file with --gt"),
        ("cute80", ["--list", "none.txt"], "There is no file none.txt"),
        ("union14m", ["--annotations", "none.jsonl"], "There is no file none.jsonl"),
        ("folder", [], "has none of gt.txt, labels.jsonl; name the file with --gt"),
        ("reconstituted-st", [], "There is no LMDB"),
    ],
)
def test_an_empty_folder_is_a_sentence(kind, options, message, tmp_path, capsys):
    (tmp_path / "in").mkdir()
    arguments = [kind, "--input", tmp_path / "in", "--output", tmp_path / "out", *options]
    assert main([*map(str, arguments), "--jobs", "1"]) == 2
    error = capsys.readouterr().err
    assert re.match(f"error: .*{message}", error)
    assert len(error.splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_a_choice_of_annotations_is_the_users(words, tmp_path, capsys):
    (words / "labels.jsonl").write_text('{"image": "1.jpg", "text": "three"}\n')
    arguments = ["folder", "--input", str(words), "--output", str(tmp_path / "out"), "--jobs", "1"]
    assert main(arguments) == 2
    assert "has several of gt.txt, labels.jsonl" in capsys.readouterr().err
    assert main([*arguments, "--gt", str(words / "labels.jsonl")]) == 0
    assert main([*arguments, "--gt", str(words / "labels.jsonl")]) == 2
    assert "is there already: remove it" in capsys.readouterr().err


def test_mjsynth_fills_a_folder_and_goes_on_there(
    tmp_path, write_images, capsys, read_lmdb, labels, make_lmdb
):
    folder = write_images(tmp_path / "in", "1/1_a_1.jpg", "1/2_b_2.jpg")
    arguments = ["mjsynth", "--input", str(folder), "--output", str(tmp_path / "MJ"), "--jobs", "1"]
    for split, number in (("train", 1), ("val", 2)):
        word = " ab"[number]
        (folder / f"annotation_{split}.txt").write_text(f"./1/{number}_{word}_{number}.jpg 1\n")
    assert main([*arguments, "--annotation", "train"]) == 0
    assert [path.name for path in (tmp_path / "MJ").iterdir()] == ["MJ_train"]
    assert main([*arguments, "--annotation", "train"]) == 2
    (folder / "annotation_test.txt").write_text("./1/1_a_1.jpg 1\n./1/2_b_2.jpg 2\n")
    capsys.readouterr()
    assert main(arguments) == 0
    assert "MJ_train is there already, and is left as it is" in capsys.readouterr().out
    written = {path.name: labels(read_lmdb(path)) for path in (tmp_path / "MJ").iterdir()}
    assert written == {"MJ_train": ["a"], "MJ_valid": ["b"], "MJ_test": ["a", "b"]}
    # Sample data are not taken for it.
    (tmp_path / "MJ/MJ_train/data.mdb").unlink()
    (tmp_path / "MJ/MJ_train").rmdir()
    make_lmdb(tmp_path / "MJ/MJ_train", [(b"", "a")], **{"stand-in": b"{}"})
    assert main(arguments) == 2
    assert "MJ_train is rendered sample data" in capsys.readouterr().err


def test_an_interruption_says_how_to_go_on(words, tmp_path, monkeypatch, capsys):
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("tools.prepare_data.convert", interrupted)
    arguments = ["folder", "--input", str(words), "--output", str(tmp_path / "out")]
    with pytest.raises(SystemExit, match="130"):
        main(arguments)
    assert "the same command goes on from the last records" in capsys.readouterr().err


def opened(*arguments):
    options = get_args([*map(str, arguments), "--output", "out"])
    ((output, source),) = KINDS[options.kind].open(options, RunLog(enabled=False)).items()
    assert output == Path("out")
    return source


def test_options_reach_their_source(tmp_path, words, save_synthtext, scene, box):
    save_synthtext(tmp_path / "other.mat", [scene("1.jpg", [("a", box(1, 2, 30, 20))])])
    other = ("--gt", tmp_path / "other.mat")
    job = opened("synthtext", "--input", words, *other, "--rectify", "--quality", 40).job
    assert (job["gt"][0], job["rectify"], job["quality"]) == (str(other[1]), True, 40)
    job = opened("synthtext", "--input", words, *other).job
    assert (job["rectify"], job["quality"]) == (False, 95)
    (words / "test.xml").write_text("<tagset><image/></tagset>")
    svt = opened("svt", "--input", words, "--split", "test", "--quality", 40)
    assert svt.job["quality"] == svt.convert.keywords["cutting"].quality == 40
    names = tmp_path / "names.txt"
    names.write_text("1.jpg\n")
    (tmp_path / "quoted.txt").write_text('1.jpg, "one"\n')
    gt = ("--gt", tmp_path / "quoted.txt")
    job = opened("icdar2013", "--input", words, *gt, "--subset", "857", "--list", names).job
    assert (job["kind"], job["subset"], job["list"][0]) == ("icdar2013", "857", str(names))
    assert opened("icdar2015", "--input", words, *gt).job["subset"] == "all"
    assert opened("cute80", "--input", words, "--list", *gt[1:]).job["files"][0][0] == str(gt[1])


def test_broken_images_are_copied_unchecked(words, tmp_path, read_lmdb):
    (words / "1.jpg").write_bytes(b"broken")
    arguments = ["folder", "--input", str(words), "--jobs", "1", "--output"]
    assert main([*arguments, str(tmp_path / "all"), "--no_check"]) == 0
    assert main([*arguments, str(tmp_path / "good")]) == 0
    assert read_lmdb(tmp_path / "all")[b"image-000000001"] == b"broken"
    assert read_lmdb(tmp_path / "good")[b"num-samples"] == b"1"

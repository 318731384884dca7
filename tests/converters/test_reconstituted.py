import json
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from console.progress import RunLog
from converters.conversion import convert
from converters.named_boxes import name_boxes
from converters.reconstituted import ReconstitutedST
from records.char_boxes import BoxesError, CharBox, match_boxes, parse_boxes
from records.label_filter import LabelFilter
from records.lmdb_file import DataError
from records.lmdb_set import LmdbSet
from text import Charset

ROOT = Path(__file__).resolve().parents[2]
CHARSET = Charset.load("94")


def label(word: str, characters: str | None = None) -> bytes:
    """An official label; boxes are 10 pixels wide."""
    characters = word if characters is None else characters
    boxes = {f"[[{10 * k}, 0], [{10 * k + 9}, 20.5]]": c for k, c in enumerate(characters)}
    return pickle.dumps({**boxes, "word": word})


class Touch:
    def __init__(self, file: Path):
        self.file = file

    def __reduce__(self):
        return Path.touch, (self.file,)


def converted(source: Path, target: Path, jobs: int = 1) -> str:
    return str(convert(ReconstitutedST(source), target, jobs, RunLog(enabled=False)))


def run(source: Path, target: Path) -> subprocess.CompletedProcess:
    return subprocess.run(
        [
            sys.executable,
            "tools/prepare_data.py",
            *("reconstituted-st", "--jobs", "1"),
            *("--input", str(source), "--output", str(target)),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def official(tmp_path, make_lmdb):
    records = [
        (b"image 1", label("Hello")),
        (b"image 2", "plain"),
        (b"image 3", label("two words", "twowords")),
        (b"image 4", label("COFFEE", "coffee")),
        (None, label("lost")),
        (b"image 6", None),
        (b"image 7", label("dup", "up")),
        (b"image 8", label("cut")[:-5]),
        (b"image 9", pickle.dumps({"[[0, 0], [9, 9]]": Touch(tmp_path / "ran"), "word": "a"})),
        (b"", label("empty")),
        (b"image 11", pickle.dumps({"word": ""})),
        (b"image 12", label("it's é", "it's e\u0301")),
        (b"image 13", label("eve\u0301", "ev\u00e9")),
        *[(b"image", label("dup", "du"))] * 4,
    ]
    return make_lmdb(tmp_path / "official", records)


def test_words_boxes_and_images_are_in_the_new_lmdb(official, tmp_path, read_lmdb):
    report = converted(official, tmp_path / "new")
    assert not (tmp_path / "ran").exists()
    stored = read_lmdb(tmp_path / "new")
    assert json.loads(stored[b"boxes-000000001"]) == [
        [c, 10 * k, 0, 10 * k + 9, 20.5] for k, c in enumerate("Hello")
    ]
    opened = LmdbSet(tmp_path / "new", LabelFilter(CHARSET, 25))
    assert opened.declared == len(opened) == 10
    records = {n: opened.read(n) for n in range(1, 11) if b"boxes-%09d" % n in stored}
    assert records == {
        1: (b"image 1", "Hello"),
        2: (b"image 3", "twowords"),
        3: (b"image 4", "COFFEE"),
        6: (b"image 13", "ev"),
    }
    assert stored[b"label-000000002"] == b"two words"
    # Words whose boxes are no good are words all the same.
    without = [opened.read(n) for n in range(1, 11) if n not in records]
    assert without[:2] == [(b"image 7", "dup"), (b"image 12", "it's")]
    assert without[2:] == [(b"image", "dup")] * 4
    for number, (_, word) in records.items():
        boxes = parse_boxes(stored[b"boxes-%09d" % number])
        matched = match_boxes(boxes, stored[b"label-%09d" % number].decode(), CHARSET)
        assert "".join(box.character for box in matched) == word
        assert [box.corners[0][0] for box in matched] == [10 * k for k in range(len(word))]
    assert report.splitlines()[0] == (
        "17 words read, 10 written (4 with character boxes), 7 dropped"
    )


def test_the_report_counts_reasons_with_three_examples(official, tmp_path):
    report = converted(official, tmp_path / "new")
    keys = {n: f"label-{n:09d}" for n in range(1, 18)}
    dropped, remarks = report.split("of those written:")
    assert sorted(line.strip() for line in dropped.splitlines()[1:]) == [
        f"1: empty label (for example {keys[11]})",
        f"1: label has no boxes (for example {keys[2]})",
        f"1: label is a pickle of more than text (for example {keys[9]})",
        f"1: label is damaged (for example {keys[8]})",
        f"1: no label (for example {keys[6]})",
        f"2: no image (for example {keys[5]}, {keys[10]})",
    ]
    disagreeing = f"6: boxes and label disagree (for example {keys[7]}: "
    assert remarks.strip().startswith(disagreeing)


def test_masks_of_the_official_code_can_be_made_from_it(fixtures, tmp_path, make_lmdb, read_lmdb):
    cases = fixtures("masks.json")["cases"]
    records = [(b"image", pickle.dumps(case["label"], protocol=4)) for case in cases]
    converted(make_lmdb(tmp_path / "official", records), tmp_path / "new")
    stored = read_lmdb(tmp_path / "new")
    words = [case for case in cases if case["word"]]
    assert stored[b"num-samples"] == str(len(words)).encode()
    for number, case in enumerate(words, start=1):
        assert stored[b"label-%09d" % number].decode() == case["word"]
        key = b"boxes-%09d" % number
        if case["word"] == "dup":  # its dict lost the box of one of two
            assert key not in stored
            continue
        boxes = parse_boxes(stored[key])
        assert [str([list(corner) for corner in box.corners]) for box in boxes] == list(
            case["label"]
        )[:-1]


BOXES = tuple(CharBox(c, ((k, 0), (k + 1, 9))) for k, c in enumerate("aB c"))


@pytest.mark.parametrize("word", ["aBc", "a Bc", "aB\u00a0c ", "abc", "ABC"])
def test_boxes_take_the_characters_of_the_word(word):
    letters = "".join(word.split())
    assert name_boxes(BOXES, word) == [
        [letters[0], 0, 0, 1, 9],
        [letters[1], 1, 0, 2, 9],
        [letters[2], 3, 0, 4, 9],
    ]


def test_quads_keep_four_corners():
    quad = CharBox("a", ((0, 0), (9, 1), (9, 9), (0, 8.5)))
    assert name_boxes((quad,), "a") == [["a", 0, 0, 9, 1, 9, 9, 0, 8.5]]


@pytest.mark.parametrize("word", ["", " ", "aB", "aBcd", "Bac", "a.Bc"])
def test_boxes_that_do_not_spell_the_word_are_refused(word):
    with pytest.raises(BoxesError, match="boxes and label disagree: the word is"):
        name_boxes(BOXES, word)


@pytest.mark.parametrize(
    ("boxed", "word", "spelled"),
    [(["to"], "to", None), (["t", "hat"], "that", None), (["e\u0301", "t"], "\u00e9t", "ét")],
)
def test_boxes_are_of_one_character_each_composed_or_not(boxed, word, spelled):
    boxes = [CharBox(c, ((k, 0), (k + 1, 9))) for k, c in enumerate(boxed)]
    if spelled is None:
        with pytest.raises(BoxesError, match=f"the boxes are of '{' '.join(boxed)}'"):
            name_boxes(boxes, word)
    else:
        assert [box[0] for box in name_boxes(boxes, word)] == list(spelled)


def test_one_character_is_never_two_in_the_other_case():
    with pytest.raises(BoxesError, match="disagree"):
        name_boxes((CharBox("s", ((0, 0), (1, 9))), CharBox("s", ((1, 0), (2, 9)))), "ß")


@pytest.mark.parametrize(
    ("records", "reason"),
    [
        ([(b"image", "plain"), (b"image", "text")], "2: label has no boxes"),
        ([(None, label("dup"))], "1: no image"),
        ([], "0 words read"),
    ],
)
def test_nothing_to_write_leaves_nothing(records, reason, tmp_path, make_lmdb):
    source = make_lmdb(tmp_path / "official", records)
    with pytest.raises(DataError, match=rf"(?s)No word was written to .*new: .*{reason}"):
        converted(source, tmp_path / "new")
    assert [path.name for path in tmp_path.iterdir()] == ["official"]


@pytest.mark.parametrize(
    ("stored", "message"),
    [
        (None, "official has no entry num-samples; its first keys are image-000000001"),
        (b"-5", "is b'-5', not a count of records"),
        (b"9" * 13, "not a count of records"),
        ("\u0665".encode(), "not a count of records"),
    ],
)
def test_a_strange_count_is_refused(stored, message, tmp_path, make_lmdb):
    extra = {} if stored is None else {"num_samples": stored}
    source = make_lmdb(tmp_path / "official", [(b"image", label("a"))], declared=-1, **extra)
    with pytest.raises(DataError, match=message):
        converted(source, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_count_beyond_the_records_ends_soon(tmp_path, make_lmdb):
    source = make_lmdb(tmp_path / "official", [(b"image", label("a"))], declared=999_999_999_999)
    report = converted(source, tmp_path / "new")
    assert "3 words read" in report  # no more than there are keys
    assert "2: no image" in report


def test_a_log_has_a_line_of_progress(official, tmp_path, capsys):
    convert(ReconstitutedST(official), tmp_path / "new", 1, RunLog())
    assert "new 1/1 tasks  words 10" in capsys.readouterr().out


def test_the_command_converts_and_reports(official, tmp_path, read_lmdb):
    done = run(official, tmp_path / "new")
    assert (done.returncode, done.stderr) == (0, "")
    assert "10 written (4 with character boxes), 7 dropped" in done.stdout
    assert read_lmdb(tmp_path / "new")[b"num-samples"] == b"10"


def test_the_command_ends_with_a_sentence(official, tmp_path):
    missing = run(tmp_path / "nothing", tmp_path / "new")
    assert missing.returncode == 2
    assert missing.stderr.startswith("error: There is no folder ")
    (tmp_path / "empty").mkdir()
    empty = run(tmp_path / "empty", tmp_path / "new")
    assert empty.returncode == 2
    assert empty.stderr.startswith("error: There is no LMDB (a folder with data.mdb) at")
    onto_itself = run(official, official)
    assert onto_itself.returncode == 2
    assert "is there already" in onto_itself.stderr
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "data.mdb").write_bytes(b"no database" * 1000)
    damaged = run(tmp_path / "damaged", tmp_path / "new")
    assert damaged.returncode == 2
    assert "can't be opened" in damaged.stderr
    assert len(damaged.stderr.splitlines()) == 1


def test_any_number_of_processes_writes_the_same(official, tmp_path, monkeypatch, read_lmdb):
    monkeypatch.setattr("converters.reconstituted.RECORDS_PER_TASK", 5)
    assert len(ReconstitutedST(official)) == 4
    assert [len(task) for task in ReconstitutedST(official).tasks(1)] == [5, 5, 2]
    one = converted(official, tmp_path / "one", jobs=1)
    assert converted(official, tmp_path / "two", jobs=2) == one
    assert read_lmdb(tmp_path / "one") == read_lmdb(tmp_path / "two")

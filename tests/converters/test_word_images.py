"""Sources of word images that are copied as they are: lists of every form."""

import json
import os
from pathlib import Path

import pytest

from console.progress import RunLog
from converters.conversion import convert
from converters.folder import folder_of_words, parse_json_line
from converters.icdar import icdar, parse_icdar_line
from converters.mjsynth import mjsynth, parse_mjsynth_line
from converters.union14m import parse_union14m_line, union14m
from converters.word_list import parse_list_line, word_list
from records.labelled_folder import BadLineError
from records.lmdb_file import DataError

SILENT = RunLog(enabled=False)


def mjsynth_tree(folder, write_images, count=30):
    names = [f"{k % 4}/1/{k}_word{k}_{1000 + k}.jpg" for k in range(count)]
    write_images(folder, *names)
    text = "".join(f"./{name} {1000 + k}\n" for k, name in enumerate(names))
    (folder / "annotation_train.txt").write_text(text)
    return folder


def test_mjsynth_copies_what_can_be_decoded(tmp_path, write_images, converted, labels):
    folder = mjsynth_tree(tmp_path / "in", write_images)
    (folder / "1/1/5_word5_1005.jpg").write_bytes(b"")
    (folder / "2/1/6_word6_1006.jpg").unlink()
    with (folder / "annotation_train.txt").open("ab") as file:
        file.write(b"./0/1/nothing.jpg 7\n./0/1/\xff_a_1.jpg 7\n\n./0/1/0__1.jpg 1\n")
    report, stored = converted(mjsynth(folder, "train", check=True), tmp_path / "out")
    kept = [k for k in range(30) if k not in (5, 6)]
    assert labels(stored) == [f"word{k}" for k in kept]
    for number, k in enumerate(kept, start=1):
        name = f"{k % 4}/1/{k}_word{k}_{1000 + k}.jpg"
        assert stored[b"image-%09d" % number] == (folder / name).read_bytes()
    assert report.dropped == {
        "unreadable image": 1,
        "no such image": 1,
        "bad line": 2,
        "empty label": 1,
    }
    assert report.examples["bad line"] == [
        "annotation_train.txt line 31: no path like 1/115_Lube_45484.jpg: './0/1/nothing.",
        "annotation_train.txt line 32: not UTF-8 at byte 6",
    ]
    assert not any(key.startswith(b"boxes") for key in stored)


def test_a_part_of_mjsynth_that_is_cut_short_is_told(tmp_path, write_images, capsys):
    folder = mjsynth_tree(tmp_path / "in", write_images, 3)
    convert(mjsynth(folder, "train", True), tmp_path / "MJ_train", 1, RunLog())
    shown = capsys.readouterr().out
    assert "MJ_train has 3 of some 7,224,586 images: is the download whole?" in shown


def test_mjsynth_without_a_check_copies_all_that_is_there(tmp_path, write_images, converted):
    folder = mjsynth_tree(tmp_path / "in", write_images, 3)
    (folder / "1/1/1_word1_1001.jpg").write_bytes(b"broken")
    report, stored = converted(mjsynth(folder, "train", check=False), tmp_path / "out")
    assert stored[b"image-000000002"] == b"broken"
    assert report.written == 3


def test_mjsynth_words_are_those_of_the_names():
    entry = parse_mjsynth_line("./2425/1/115_Lube_45484.jpg 45484")
    assert (entry.path, entry.label) == ("./2425/1/115_Lube_45484.jpg", "Lube")
    assert parse_mjsynth_line("2425/1/115_Lube_45484.jpg\r").label == "Lube"
    for line in ("./2425/1/Lube.jpg 1", "a_b_c_d.jpg 1", "45484"):
        with pytest.raises(BadLineError, match="no path like"):
            parse_mjsynth_line(line)


def test_mjsynth_lists_are_read_in_parts(tmp_path, write_images, converted, monkeypatch):
    folder = mjsynth_tree(tmp_path / "in", write_images)
    whole = converted(mjsynth(folder, "train", True), tmp_path / "whole")
    monkeypatch.setattr("converters.line_files.LINES_PER_TASK", 7)
    source = mjsynth(folder, "train", True)
    assert len(source) == 5
    assert [task.first for task in source.tasks(0)] == [1, 8, 15, 22, 29]
    assert [task.lines[0] for task in source.tasks(3)] == [
        b"./1/1/21_word21_1021.jpg 1021\n",
        b"./0/1/28_word28_1028.jpg 1028\n",
    ]
    assert converted(source, tmp_path / "parts") == whole
    assert converted(source, tmp_path / "two", jobs=2) == whole


def test_an_interrupted_mjsynth_goes_on(tmp_path, write_images, converted, monkeypatch):
    monkeypatch.setattr("converters.line_files.LINES_PER_TASK", 4)
    monkeypatch.setattr("records.lmdb_writer.COMMIT_EVERY", 5)
    folder = mjsynth_tree(tmp_path / "in", write_images)
    (folder / "1/1/1_word1_1001.jpg").write_bytes(b"broken")
    source = mjsynth(folder, "train", True)
    undisturbed = converted(source, tmp_path / "undisturbed")
    healthy, seen = source.convert, []

    def fails(task):
        seen.append(task.first)
        if task.first > 20:
            raise KeyboardInterrupt
        return healthy(task)

    source.convert = fails
    with pytest.raises(KeyboardInterrupt):
        convert(source, tmp_path / "out", 1, SILENT)
    assert (tmp_path / "out.partial").is_dir()
    again = mjsynth(folder, "train", True)
    healthy = again.convert
    seen.clear()
    again.convert = lambda task: seen.append(task.first) or healthy(task)
    assert converted(again, tmp_path / "out") == undisturbed
    assert seen[0] > 1


def test_another_list_is_another_job(tmp_path, write_images, monkeypatch):
    monkeypatch.setattr("converters.line_files.LINES_PER_TASK", 4)
    monkeypatch.setattr("records.lmdb_writer.COMMIT_EVERY", 5)
    folder = mjsynth_tree(tmp_path / "in", write_images)
    source = mjsynth(folder, "train", True)
    healthy = source.convert
    source.convert = lambda task: healthy(task) if task.first < 20 else 1 / 0
    with pytest.raises(ZeroDivisionError):
        convert(source, tmp_path / "out", 1, SILENT)
    with (folder / "annotation_train.txt").open("a") as file:
        file.write("./0/1/0_word0_1000.jpg 1000\n")
    with pytest.raises(FileExistsError, match="another job"):
        convert(mjsynth(folder, "train", True), tmp_path / "out", 1, SILENT)


@pytest.fixture
def icdar_folder(tmp_path, write_images):
    folder = write_images(tmp_path / "in", *(f"word_{k}.png" for k in range(1, 8)))
    lines = [
        '\ufeffword_1.png, "Tiredness"',
        'word_2.png, "say \\"no\\""',
        'word_3.png, "back\\\\slash"',
        'word_4.png, "no"',
        'word_5.png,"caf\u00e9"',
        'word_6.png, "a, b"',
        "word_7.png, bare",
        'word_8.png, "gone"',
    ]
    (folder / "gt.txt").write_text("\r\n".join(lines), encoding="utf-8")
    return folder


def test_icdar_words_are_unescaped(icdar_folder, tmp_path, converted, labels):
    source = icdar("icdar2015", icdar_folder, icdar_folder / "gt.txt", "all", None, True)
    report, stored = converted(source, tmp_path / "out")
    assert labels(stored) == ["Tiredness", 'say "no"', "back\\slash", "no", "caf\u00e9", "a, b"]
    assert report.dropped == {"bad line": 1, "no such image": 1}
    assert report.examples["bad line"] == [
        "gt.txt line 7: not like `word_1.png, \"Tiredness\"`: 'word_7.png, bare'"
    ]
    assert stored[b"image-000000005"] == (icdar_folder / "word_5.png").read_bytes()


OTHERS = "other than letters and digits"


@pytest.mark.parametrize(
    ("subset", "words", "left_out"),
    [
        ("1015", ["Tiredness", "no"], {f"not in the 1015: {OTHERS}": 4}),
        (
            "857",
            ["Tiredness"],
            {f"not in the 857: {OTHERS}": 4, "not in the 857: shorter than 3 characters": 1},
        ),
    ],
)
def test_icdar_2013_has_subsets(icdar_folder, tmp_path, converted, labels, subset, words, left_out):
    source = icdar("icdar2013", icdar_folder, icdar_folder / "gt.txt", subset, None, True)
    report, stored = converted(source, tmp_path / "out")
    assert labels(stored) == words
    assert {r: n for r, n in report.dropped.items() if r.startswith("not in")} == left_out


def test_a_list_chooses_the_images(icdar_folder, tmp_path, converted, labels):
    names = tmp_path / "list.txt"
    names.write_text("\ufeffword_4.png\r\nword_1.png \n\n", encoding="utf-8")
    gt = icdar_folder / "gt.txt"
    source = icdar("icdar2015", icdar_folder, gt, "all", names, True)
    report, stored = converted(source, tmp_path / "out", jobs=2)
    assert labels(stored) == ["Tiredness", "no"]
    assert report.dropped["not in the list"] == 5
    names.write_text("word_4.png\nword_99.png\n")
    with pytest.raises(DataError, match=r"1 names of .* no line in .*gt\.txt, .* word_99\.png"):
        icdar("icdar2015", icdar_folder, gt, "all", names, True)
    names.write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match=r"list\.txt is not UTF-8 at byte 0"):
        icdar("icdar2015", icdar_folder, gt, "all", names, True)
    with pytest.raises(DataError, match="name of an image on every line"):
        icdar("icdar2015", icdar_folder, gt, "all", tmp_path / "none.txt", True)


def test_a_long_line_takes_no_time():
    for line in (" " * 200_000, "a" * 200_000 + '"', ("a, " * 70_000) + '"'):
        with pytest.raises(BadLineError):
            parse_icdar_line(line)


@pytest.mark.parametrize(
    ("line", "path", "label"),
    [
        ("a/1.jpg\tCAR", "a/1.jpg", "CAR"),
        ("a 1.jpg\tTWO WORDS\tlexicon,of,words", "a 1.jpg", "TWO WORDS"),
        ('1.jpg, "it\\"s"', "1.jpg", 'it"s'),
        ("1.jpg CAR", "1.jpg", "CAR"),
        ("1.jpg P L A C E", "1.jpg", "P L A C E"),
        ("timage/1.jpg RONALDO 1 RONALDO", "timage/1.jpg", "RONALDO"),
        ("1.jpg Ronaldo 0 RONALDO", "1.jpg", "Ronaldo"),
        ("1.jpg NOT 1 TWICE", "1.jpg", "NOT 1 TWICE"),
        ('1.jpg 5,"', "1.jpg", '5,"'),
        ('1.jpg\t"quoted"', "1.jpg", '"quoted"'),
    ],
)
def test_lists_have_many_forms(line, path, label):
    entry = parse_list_line(line)
    assert (entry.path, entry.label.strip()) == (path, label)


def test_cute80_in_the_form_of_mmocr_has_its_288_words(tmp_path, write_images, converted, labels):
    names = [f"timage/{k:03d}.jpg" for k in range(288)]
    folder = write_images(tmp_path / "in", *names)
    lines = [f"{name} WORD{k} {k % 2} WORD{k}\n" for k, name in enumerate(names)]
    (folder / "test_label.txt").write_text("".join(lines))
    source = word_list("cute80", folder, folder / "test_label.txt", True)
    report, stored = converted(source, tmp_path / "CUTE80")
    assert labels(stored) == [f"WORD{k}" for k in range(288)]
    assert not report.dropped


def test_every_bad_line_of_a_list_is_counted(tmp_path, write_images, converted, labels):
    folder = write_images(tmp_path / "in", "1.jpg", "2.jpg")
    (folder / "gt.txt").write_bytes(
        b"1.jpg\tone\n\nalone.jpg\n\tno path\n2.jpg\t\tlexicon\n\xff\tx\n2.jpg two \n"
    )
    report, stored = converted(word_list("svtp", folder, folder / "gt.txt", True), tmp_path / "out")
    assert labels(stored) == ["one", "two"]
    assert report.dropped == {"bad line": 3, "empty label": 1}
    assert [e.split(":")[0] for e in report.examples["bad line"]] == [
        "gt.txt line 3",
        "gt.txt line 4",
        "gt.txt line 6",
    ]


HOSTILE = ("../secret.jpg", "/etc/passwd", "a/../../secret.jpg", "C:\\x.jpg", "x" * 5000, ".", "\0")


def test_hostile_paths_lead_nowhere(tmp_path, write_images, converted, labels):
    folder = write_images(tmp_path / "in", "a/1.jpg")
    write_images(tmp_path, "secret.jpg")
    lines = [
        json.dumps({"image": path, "text": "x"}) for path in (*HOSTILE, "\ud800.jpg", "a/1.jpg")
    ]
    (folder / "labels.jsonl").write_text("\n".join(lines))
    source = folder_of_words(folder, folder / "labels.jsonl", check=False)
    report, stored = converted(source, tmp_path / "out")
    assert labels(stored) == ["x"]
    assert report.dropped == {"path leads out of the folder": 4, "no such image": 4}
    str(report).encode("utf-8")


def test_absolute_paths_are_taken_within_the_folder(tmp_path, write_images, converted, labels):
    folder = write_images(tmp_path / "in", "a/1.jpg")
    write_images(tmp_path, "secret.jpg")
    lines = [f"{folder}/a/1.jpg\tx", f"{folder}/../secret.jpg\ty", f"{tmp_path}/secret.jpg\tz"]
    (folder / "gt.txt").write_text("\n".join(lines))
    source = folder_of_words(folder, folder / "gt.txt", check=False)
    report, stored = converted(source, tmp_path / "out")
    assert labels(stored) == ["x"]
    assert report.dropped == {"path leads out of the folder": 2}


def test_a_pipe_is_no_image(tmp_path, write_images, converted):
    folder = write_images(tmp_path / "in", "1.jpg")
    os.mkfifo(folder / "pipe.jpg")
    (folder / "gt.txt").write_text("pipe.jpg\tx\n1.jpg\ty\n")
    report, _ = converted(folder_of_words(folder, folder / "gt.txt", check=False), tmp_path / "out")
    assert report.dropped == {"no such image": 1}


def test_json_lines_bring_boxes(tmp_path, write_images, converted, labels, boxes):
    folder = write_images(tmp_path / "in", *(f"{k}.jpg" for k in range(1, 9)))
    upright = [["h", 1, 2, 11, 20], ["i", 12.5, 2, 20, 20]]
    quads = [["h", 1, 2, 11, 2, 11, 20, 1, 20], ["i", 12, 2, 20, 2, 20, 20, 12, 20]]
    entries = [
        {"image": "1.jpg", "text": "hi", "boxes": upright},
        {"image": "2.jpg", "text": "Hi", "boxes": quads},
        {"image": "3.jpg", "text": " hi "},
        {"image": "4.jpg", "text": "hit", "boxes": upright},
        {"image": "5.jpg", "text": "hi", "boxes": [["h", 1, 2], ["i", 1, 2]]},
        {"image": "6.jpg", "text": "hi", "boxes": [["h", 1, 2, 3, 1e99], ["i", 1, 2, 3, 4]]},
        {"image": "7.jpg", "text": "hi", "boxes": "none"},
        {"image": "8.jpg", "text": "h i", "boxes": upright},
    ]
    lines = [json.dumps(entry) for entry in entries]
    lines[3] += "\n"  # an empty line
    (folder / "labels.jsonl").write_text("\n".join(lines))
    source = folder_of_words(folder, folder / "labels.jsonl", check=True)
    report, stored = converted(source, tmp_path / "out")
    assert labels(stored) == ["hi", "Hi", "hi", "hit", "hi", "hi", "hi", "h i"]
    assert boxes(stored, 1) == upright
    assert boxes(stored, 2) == [["H", *quads[0][1:]], quads[1]]  # as the label has it
    assert [boxes(stored, number) for number in range(3, 8)] == [None] * 5
    assert boxes(stored, 8) == upright
    assert report.remarks == {
        "boxes and label disagree": 1,
        "box is not a character and two or four corners": 1,
        "corner is not a pair of numbers within reach": 1,
        "boxes are not a list of boxes": 1,
    }
    assert report.examples["boxes and label disagree"][0].startswith("4.jpg: boxes and label")
    assert (report.with_boxes, report.dropped) == (3, {})


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "not JSON: "),
        ("[" * 100_000, "not JSON: it is nested too deeply"),
        ("[1]", "no JSON object"),
        ('{"image": 5, "text": "a"}', "no JSON object"),
        ('{"image": "1.jpg"}', "no JSON object"),
        ('{"image": "1.jpg", "text": null}', "no JSON object"),
    ],
)
def test_bad_json_lines_have_a_reason(line, message):
    with pytest.raises(BadLineError, match=message):
        parse_json_line(line)
    with pytest.raises(BadLineError, match=message):
        parse_union14m_line(line.replace("image", "filename"))


def test_labels_that_are_no_unicode_are_dropped(tmp_path, write_images, converted, labels):
    folder = write_images(tmp_path / "in", "1.jpg", "2.jpg")
    (folder / "l.jsonl").write_text(
        '{"image": "1.jpg", "text": "a\\ud800"}\n{"image": "2.jpg", "text": "\u20ac"}\n',
        encoding="utf-8",
    )
    report, stored = converted(folder_of_words(folder, folder / "l.jsonl", True), tmp_path / "out")
    assert labels(stored) == ["\u20ac"]
    assert report.dropped == {"label is not Unicode": 1}
    str(report).encode("utf-8")


def test_union14m_takes_several_files_of_lines(tmp_path, write_images, converted, labels):
    folder = write_images(tmp_path / "in", "full_images/1.jpg", "full_images/2.jpg")
    one, two = folder / "one.jsonl", folder / "two.jsonl"
    one.write_text('{"filename": "full_images/1.jpg", "text": "one"}\nbad\n')
    two.write_text('{"filename": "full_images/2.jpg", "text": "two"}\n["bad"]')
    source = union14m(folder, [one, two], True)
    report, stored = converted(source, tmp_path / "out")
    assert labels(stored) == ["one", "two"]
    assert [e.split(":")[0] for e in report.examples["bad line"]] == [
        "one.jsonl line 2",
        "two.jsonl line 2",
    ]


def mmocr(*images) -> str:
    return json.dumps({"metainfo": {"task_name": "textrecog"}, "data_list": images})


def entry(path, *texts):
    return {"img_path": path, "instances": [{"text": text} for text in texts]}


def test_union14m_reads_the_json_of_mmocr(tmp_path, write_images, converted, labels, monkeypatch):
    monkeypatch.setattr("converters.copying.IMAGES_PER_TASK", 2)
    folder = write_images(tmp_path / "in", "1.jpg", "2.jpg", "3.jpg")
    bad = [entry("1.jpg"), entry("1.jpg", "a", "b"), entry(5, "a"), {"img_path": "1.jpg"}, 5]
    bad += [{"img_path": "1.jpg", "instances": ["text"]}, entry("1.jpg", None)]
    (folder / "a.json").write_text(mmocr(entry("1.jpg", "one"), *bad, entry("9.jpg", "nine")))
    (folder / "b.json").write_text("\ufeff\n" + mmocr(entry("2.jpg", "two"), entry("3.jpg", "3")))
    source = union14m(folder, [folder / "a.json", folder / "b.json"], True)
    report, stored = converted(source, tmp_path / "out")
    assert labels(stored) == ["one", "two", "3"]
    assert report.dropped == {"not an image path with one text": 7, "no such image": 1}
    assert report.examples["not an image path with one text"][0] == ("a.json entry 2 of data_list")
    assert converted(source, tmp_path / "two", jobs=2) == (report, stored)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"metainfo": {}', "is damaged: it is not JSON"),
        ('{"metainfo": {}}', "has no list `data_list`"),
        ('{"data_list": {}}', "has no list `data_list`"),
        ('{"data_list": ' + "[" * 100_000, "nested too deeply"),
    ],
)
def test_damaged_json_of_mmocr_is_a_sentence(tmp_path, text, message):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(DataError, match=message):
        union14m(tmp_path, [tmp_path / "a.json"], True)


def test_forms_are_not_mixed(tmp_path):
    (tmp_path / "a.json").write_text(mmocr())
    (tmp_path / "b.jsonl").write_text("{}\n")
    with pytest.raises(DataError, match="an LMDB each"):
        union14m(tmp_path, [tmp_path / "a.json", tmp_path / "b.jsonl"], True)


@pytest.mark.parametrize(
    "opened",
    [
        lambda folder, file: mjsynth(folder, "train", True),
        lambda folder, file: icdar("icdar2013", folder, file, "all", None, True),
        lambda folder, file: word_list("svtp", folder, file, True),
        lambda folder, file: folder_of_words(folder, file, True),
        lambda folder, file: union14m(folder, [file], True),
    ],
)
def test_a_missing_annotation_is_named(tmp_path: Path, opened):
    with pytest.raises(DataError, match=r"There is no file .*txt, which has"):
        opened(tmp_path, tmp_path / "gt.txt")


def test_an_empty_annotation_writes_nothing(tmp_path):
    (tmp_path / "gt.txt").write_text("\n\n")
    source = folder_of_words(tmp_path, tmp_path / "gt.txt", True)
    with pytest.raises(DataError, match=r"No word was written to .*out: 0 words read"):
        convert(source, tmp_path / "out", 1, SILENT)
    assert not (tmp_path / "out").exists()

"""Lines of a `gt.txt`: what is more than a path and a word is no label."""

import pytest

from records.labelled_folder import read_file, read_ground_truth

OLD_MAC = "a carriage return in the line: end lines with \\n or \\r\\n"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("1.jpg\tnight\tlexicon,words\n", "another tab in the label of 1.jpg"),
        ("1.jpg\tnight\r2.jpg\tday\r", OLD_MAC),
        ("1.jpg night\r2.jpg day\r", OLD_MAC),
    ],
)
def test_a_label_that_is_more_than_a_word_is_a_bad_line(tmp_path, line, reason):
    (tmp_path / "gt.txt").write_bytes(b"0.jpg\tgood\r\n" + line.encode())
    truth = read_ground_truth(tmp_path / "gt.txt")
    assert truth.entries == (("0.jpg", "good"),)
    assert truth.bad_lines == ((2, reason),)


@pytest.mark.parametrize("path", ["../1.jpg", "a/../../1.jpg", "/etc/1.jpg", "C:\\1.jpg"])
def test_a_path_that_leads_out_of_the_folder_is_a_bad_line(tmp_path, path):
    inside = f"{tmp_path}/2.jpg"
    (tmp_path / "gt.txt").write_text(f"{path}\tnight\n{inside}\tday\n", encoding="utf-8")
    truth = read_ground_truth(tmp_path / "gt.txt")
    assert truth.entries == ((inside, "day"),)
    assert truth.bad_lines == ((1, f"path leads out of the folder: {path}"),)


def test_what_is_no_file_has_no_bytes(tmp_path):
    assert read_file(tmp_path) is None
    assert read_file(tmp_path / "none") is None

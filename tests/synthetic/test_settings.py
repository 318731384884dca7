"""Switches of a stream: each one does what it says, and nothing else."""

from dataclasses import replace

import numpy as np
import pytest

from synthetic import LEVELS, NoFontsError, StreamSettings
from synthetic.paint import _occlude
from synthetic.pose import draw_pose
from tools import make_sample_data

PLAIN = StreamSettings("normal", packaged_fonts_only=True)


@pytest.mark.parametrize("name", ["curved", "perspective", "occluded"])
def test_a_share_changes_the_look_alone(name):
    look = replace(PLAIN, **{name: 0.9}).renderer(1).look
    assert look == replace(LEVELS["normal"], **{name: 0.9})
    assert replace(PLAIN, **{name: 0.0}).renderer(1).look == replace(
        LEVELS["normal"], **{name: 0.0}
    )


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_shares_of_curved_and_tilted_words(share, monkeypatch):
    poses = []

    def spy(*arguments):
        poses.append((arguments[2], draw_pose(*arguments)))
        return poses[-1][1]

    monkeypatch.setattr("synthetic.renderer.draw_pose", spy)
    renderer = replace(PLAIN, curved=share, perspective=share).renderer(1)
    for index in range(30):
        renderer.sample(index)
    # A homography of parallels has the last row 0, 0, 1.
    tilted = [not np.allclose(pose.warp.after[2], (0, 0, 1), atol=1e-9) for _, pose in poses]
    assert tilted == [bool(share)] * 30
    bent = [pose.warp.bend is not None for _, pose in poses]
    sizes = [boxes[:, 2:].max(0) - boxes[:, :2].min(0) for boxes, _ in poses]
    wide = [width > 2.5 * height for width, height in sizes]
    assert sum(wide) > 10
    assert all(b == bool(share) for b, w in zip(bent, wide, strict=True) if w)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_share_of_words_with_something_in_front(share, monkeypatch):
    hidden = []

    def spy(rng, scene, *more):
        covered = _occlude(rng, scene, *more)
        hidden.append(np.abs(covered - scene).max() > 0.1)
        return covered

    monkeypatch.setattr("synthetic.paint._occlude", spy)
    renderer = replace(PLAIN, occluded=share).renderer(1)
    for index in range(20):
        renderer.sample(index)
    assert len(hidden) == 20 * share
    assert sum(hidden) >= 18 * share  # a cover of the ground's own colour is seen badly


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_a_share_beyond_its_range_is_refused(share):
    with pytest.raises(ValueError, match="curved words must be 0 to 1"):
        replace(PLAIN, curved=share).renderer(1)


def test_no_switch_is_the_level_itself():
    assert PLAIN.renderer(1).look == LEVELS["normal"]
    assert str(PLAIN.renderer(1).words).startswith("vocabulary")
    easy = StreamSettings("easy", packaged_fonts_only=True)
    assert str(easy.renderer(1).words) == "easy words"
    assert str(replace(easy, words="vocabulary").renderer(1).words).startswith("vocabulary")


def test_words_come_from_a_file(tmp_path):
    file = tmp_path / "words.txt"
    file.write_bytes("\ufeffcafé\r\n\r\nO'Neill\r\ncafe\u0301\r\n".encode())
    renderer = replace(PLAIN, words=str(file)).renderer(2)
    written = {renderer.sample(i).text for i in range(40)}
    # Faces without small letters write capitals.
    assert written <= {"café", "O'Neill", "CAFÉ", "O'NEILL"}
    assert {"café", "O'Neill"} <= written
    assert [box[0] for box in renderer.sample(0).boxes] == list(renderer.sample(0).text)
    some = replace(PLAIN, words=str(file)).renderer(2, accepts=str.isalpha)
    assert {some.sample(i).text.lower() for i in range(20)} == {"café"}
    assert "(1 left out)" in str(some.words)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no words"),
        (b"\n \n", "no words"),
        (b"ok\nnot ok\n", "line 2 has white space"),
        (b"\xff\xfe", "not UTF-8"),
    ],
)
def test_a_file_that_holds_no_words_is_named(tmp_path, content, message):
    file = tmp_path / "words.txt"
    file.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        replace(PLAIN, words=str(file)).renderer(1)


def test_a_missing_file_or_font_folder_is_named(tmp_path):
    with pytest.raises(OSError, match="gone"):
        replace(PLAIN, words=str(tmp_path / "gone.txt")).renderer(1)
    with pytest.raises(NoFontsError, match="no font folder"):
        replace(PLAIN, fonts=(tmp_path / "gone",)).renderer(1)


def test_characters_that_no_font_has_are_named(tmp_path):
    file = tmp_path / "words.txt"
    file.write_text("a\N{LINEAR A SIGN AB001}\n", encoding="utf-8")
    with pytest.raises(NoFontsError, match="0-9A-Za-z and \N{LINEAR A SIGN AB001}"):
        replace(PLAIN, words=str(file)).renderer(1)


def test_nothing_usable_in_a_file_is_said(tmp_path):
    file = tmp_path / "words.txt"
    file.write_text("one\ntwo\n", encoding="utf-8")
    with pytest.raises(ValueError, match="None of the 2 words"):
        replace(PLAIN, words=str(file)).renderer(1, accepts=str.isdigit)


def test_the_description_tells_other_fonts_apart():
    renderer, fewer = PLAIN.renderer(5), PLAIN.renderer(5)
    fewer.families = fewer.families[1:]
    one, other = PLAIN.describe(renderer), PLAIN.describe(fewer)
    assert "seed 5" in one
    assert one.split("(digest ")[1] != other.split("(digest ")[1]


def test_a_folder_without_a_usable_font_is_named(tmp_path):
    (tmp_path / "junk.ttf").write_bytes(b"no font")
    with pytest.raises(NoFontsError, match="None of the 1 font files in"):
        replace(PLAIN, fonts=(tmp_path,)).renderer(1)


def test_sample_data_has_the_same_switches(tmp_path, capsys):
    file = tmp_path / "words.txt"
    file.write_text("zebra\n", encoding="utf-8")
    sizes = ["--train", "4", "--st", "4", "--valid", "1", "--evaluation", "1", "--jobs", "1"]
    options = ["--words", str(file), "--curved", "1", "--packaged_fonts_only", *sizes]
    assert make_sample_data.main([str(tmp_path / "data"), *options]) == 0
    assert make_sample_data.main([str(tmp_path / "other"), "--words", "gone.txt", *sizes]) == 2
    assert "gone.txt" in capsys.readouterr().err
    (tmp_path / "empty.txt").write_text("")
    options = ["--words", str(tmp_path / "empty.txt"), *sizes]
    assert make_sample_data.main([str(tmp_path / "other"), *options]) == 2
    assert "no words" in capsys.readouterr().err

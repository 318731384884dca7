"""Faces: found in a fixed order, covering what words need, with an error that helps."""

import shutil
from pathlib import Path

import pytest

from synthetic import fonts
from synthetic.fonts import REQUIRED, NoFontsError, find_faces


def test_the_packaged_faces_cover_digits_and_letters():
    faces = find_faces(system_fonts=False)
    assert len(faces) > 50
    assert len({face.family for face in faces}) >= 10
    assert len({(face.family, face.style) for face in faces}) == len(faces)
    assert [(f.family.lower(), f.style.lower()) for f in faces] == sorted(
        (f.family.lower(), f.style.lower()) for f in faces
    )
    for face in faces:
        opened = face.open(24)
        assert all(opened.getbbox(char)[2] > 0 for char in REQUIRED), face


def test_capitals_only_faces_are_known():
    capitals = {face.family for face in find_faces(system_fonts=False) if face.caps_only}
    assert capitals == {"Amatic SC"}


def test_extra_folders_are_searched_and_copies_count_once(tmp_path, monkeypatch):
    one = next(face for face in find_faces(system_fonts=False) if face.family == "Lato")
    shutil.copy(one.path, tmp_path / "a.ttf")
    shutil.copy(one.path, tmp_path / "b.ttf")
    (tmp_path / "broken.ttf").write_bytes(b"no font at all")
    monkeypatch.setattr(fonts, "packaged_files", list)
    found = find_faces([tmp_path], system_fonts=False)
    assert [(face.family, face.style) for face in found] == [(one.family, one.style)]
    assert Path(found[0].path).name == "a.ttf"


def test_a_user_without_a_home_has_the_systems_fonts(monkeypatch):
    before = fonts.system_folders()

    def none():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", none)
    assert fonts.system_folders() and set(fonts.system_folders()) < set(before)


def test_without_fonts_the_error_says_where_it_looked(tmp_path, monkeypatch):
    monkeypatch.setattr(fonts, "packaged_files", list)
    with pytest.raises(NoFontsError, match="Cure") as caught:
        find_faces([tmp_path], system_fonts=False)
    assert str(tmp_path) in str(caught.value)
    with pytest.raises(NoFontsError, match="check the path"):
        find_faces([tmp_path / "nowhere"])

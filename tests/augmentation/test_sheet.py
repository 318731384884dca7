"""The contact sheet is one command."""

import pytest
from PIL import Image

from augmentation import sheet


@pytest.mark.parametrize("extra", [[], ["--core-area"]])
def test_the_command_draws_every_operation(extra, tmp_path, monkeypatch, capsys):
    word, out = tmp_path / "word.png", tmp_path / "sheet.png"
    Image.new("RGB", (60, 20), "olive").save(word)
    monkeypatch.setattr("sys.argv", ["sheet", str(out), str(word), str(word), *extra])
    sheet.main()
    assert "38 operations, 2 image(s)" in capsys.readouterr().out
    with Image.open(out) as drawn:
        assert drawn.size[0] > 6 * sheet.WIDTH
        assert drawn.size[1] > 39 * sheet.HEIGHT


def test_a_missing_image_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["sheet", str(tmp_path / "out.png"), "nowhere.png"])
    with pytest.raises(SystemExit):
        sheet.main()
    assert "there is no image nowhere.png" in capsys.readouterr().err

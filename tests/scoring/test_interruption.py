"""Ctrl-C while test_final.py scores."""

import sys

import pytest

import test_final as script


def test_an_interruption_is_a_sentence(tmp_path, monkeypatch, capsys):
    def interrupted(*_):
        raise KeyboardInterrupt

    arguments = ["--eval_data", tmp_path, "--model_dir", "acds_char_str_light", "--device", "cpu"]
    arguments += ["--results", tmp_path / "results"]
    monkeypatch.setattr(sys, "argv", ["test_final.py", *map(str, arguments)])
    monkeypatch.setattr(script, "run", interrupted)
    with pytest.raises(SystemExit) as ended:
        script.main()
    assert ended.value.code == 130
    assert capsys.readouterr().err == "interrupted: no scores were written\n"

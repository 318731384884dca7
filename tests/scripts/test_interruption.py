"""Ctrl-C while a script is at work."""

import sys

import pytest

import test_final
import train_final_dist

TRAIN = ["--train_data", "none", "--valid_data", "none", "--device", "cpu"]
TEST = ["--eval_data", "none", "--model_dir", "acds_char_str_light", "--device", "cpu"]


@pytest.mark.parametrize(
    ("script", "work", "arguments", "said"),
    [
        (test_final, "run", TEST, "no scores were written"),
        (train_final_dist, "train", TRAIN, "--resume auto goes on from the last state saved"),
        (train_final_dist, "train", [*TRAIN, "--dry_run"], "it was a dry run\n"),
    ],
)
def test_an_interruption_is_a_sentence(
    script, work, arguments, said, tmp_path, monkeypatch, capsys
):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [f"{script.__name__}.py", *arguments])
    monkeypatch.setattr(script, work, interrupted)
    with pytest.raises(SystemExit) as ended:
        script.main()
    assert ended.value.code == 130
    assert capsys.readouterr().err.startswith(f"interrupted: {said}")

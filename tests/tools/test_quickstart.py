"""The quickstart's commands are ones that the scripts take, and it fails where it must."""

import json

import pytest

from engine.run_folder import RunFolder
from tools import quickstart
from utils import get_args

SHIPPED = "reading with the shipped weights"


@pytest.mark.parametrize("step", [SHIPPED, "training", "scoring", "reading"])
def test_the_scripts_take_the_commands(step):
    script, *arguments = quickstart.STEPS[step]
    get_args(script.removesuffix(".py"), arguments)


@pytest.fixture
def finished(tmp_path, monkeypatch):
    """A quickstart whose steps ran already, with a given accuracy."""
    monkeypatch.setattr(quickstart, "ROOT", tmp_path)
    monkeypatch.setattr(quickstart, "exit_on_sigterm", lambda: None)
    ran = []
    monkeypatch.setattr(quickstart, "run_step", lambda name, _: ran.append(name) or 1.0)
    results = tmp_path / quickstart.PLACE / "results"
    results.mkdir(parents=True)

    def run(char: float) -> list[str]:
        total = {"name": "eight sets", "images": 800, "weighted": {"char": char, "fused": 90.0}}
        contents = {"checkpoints": {"x.pth": {"totals": [total]}}}
        (results / "test-1.json").write_text(json.dumps(contents))
        quickstart.main([])
        return ran

    return run


def test_it_ends_well(finished, capsys):
    assert finished(55.0) == [SHIPPED, "sample data", "training", "scoring", "reading"]
    shown = capsys.readouterr().out
    assert "char 55.0%, fused 90.0%" in shown
    assert "demo_imgs/attens/" in shown


def test_a_model_that_did_not_learn_is_a_failure(finished, capsys):
    with pytest.raises(SystemExit) as caught:
        finished(29.9)
    assert caught.value.code == 1
    assert "below 30%" in capsys.readouterr().err


def test_it_stays_out_of_a_run_that_is_at_work(finished, tmp_path, capsys):
    other = RunFolder(tmp_path / quickstart.RUN, "mini")
    other.lock()
    with pytest.raises(SystemExit) as caught:
        finished(55.0)
    assert caught.value.code == 2
    assert "Another run is writing into" in capsys.readouterr().err


def test_a_step_that_fails_ends_it(monkeypatch):
    with pytest.raises(SystemExit) as caught:
        quickstart.run_step("test", ["-c", "raise SystemExit(3)"])
    assert caught.value.code == 3

"""What the stress test of resuming takes for the same, and what it does when it is stopped."""

import signal
import subprocess
import sys

import pytest
import torch

from tools.stress_resume import Run, differences


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (torch.tensor(0.0), torch.tensor(-0.0)),
        (torch.tensor([1.0]), torch.tensor([1.0], dtype=torch.float64)),
        (torch.zeros(2), torch.zeros(1, 2)),
        (1, 1.0),
    ],
    ids=["sign", "type", "shape", "kind"],
)
def test_what_differs_in_a_bit_is_found(one, other):
    assert differences({"a": [one]}, {"a": [other]}) == ["/a/0"]
    assert differences({"a": [one]}, {"a": [one]}) == []


def test_equal_nans_are_the_same():
    assert differences(torch.tensor([float("nan")]), torch.tensor([float("nan")])) == []


def test_a_run_dies_with_what_waits_for_it(tmp_path, monkeypatch):
    """Ctrl-C while a run is waited for: nothing goes on training."""
    run = Run(tmp_path, "run", tmp_path, [])
    run.command = [sys.executable, "-c", "import time; time.sleep(60)"]
    started, wait = [], subprocess.Popen.wait

    def interrupted(process, seconds=None):
        if process not in started:
            started.append(process)
            raise KeyboardInterrupt
        return wait(process, seconds)

    monkeypatch.setattr(subprocess.Popen, "wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run.finish(1)
    assert started[0].returncode == -signal.SIGKILL

"""Workers: the same results in order whatever their number, and none left behind."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from system.parallel import WorkerPool


def square(number: int) -> int:
    if number == 13:
        raise ValueError("unlucky")
    return number * number


@pytest.mark.parametrize("jobs", [1, 2])
def test_results_come_in_order(jobs):
    with WorkerPool(square, jobs) as pool:
        assert list(pool.map(range(12))) == [n * n for n in range(12)]
        assert list(pool.map(iter([3, 2]))) == [9, 4]


@pytest.mark.parametrize("jobs", [1, 2])
def test_an_exception_comes_through(jobs):
    with WorkerPool(square, jobs) as pool, pytest.raises(ValueError, match="unlucky"):
        list(pool.map(range(20)))


def test_items_are_taken_as_they_are_needed():
    taken = []

    def items():
        for number in range(10_000):
            taken.append(number)
            yield number % 7

    with WorkerPool(square, 2) as pool:
        results = pool.map(items())
        assert next(results) == 0
        assert len(taken) < 20


PARENT = r"""
import os, sys, time
from system.parallel import WorkerPool

def work(number):
    os.write(1, b"%d\n" % os.getpid())  # whole, as two workers share the pipe
    return number

if __name__ == "__main__":
    with WorkerPool(work, 1 + 1) as pool:
        list(pool.map(range(8)))
        time.sleep(60)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_a_killed_parent_leaves_no_workers(tmp_path):
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    command = [sys.executable, str(script)]
    environment = os.environ | {"PYTHONPATH": str(Path.cwd())}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as parent:
        workers = {int(parent.stdout.readline()) for _ in range(8)}
        parent.send_signal(signal.SIGKILL)
        parent.wait()
        deadline = time.monotonic() + 20
        while workers and time.monotonic() < deadline:
            workers = {pid for pid in workers if _is_running(pid)}
            time.sleep(0.1)
        assert not workers


def _is_running(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="ascii")
        return status.rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False

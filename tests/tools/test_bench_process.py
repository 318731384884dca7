"""Processes that take turns, and are stopped early."""

import os
import signal
import subprocess
import sys
import time

import pytest

from tools.support.bench_process import BenchProcess, take_turns, until_interrupted

SCRIPT = """
import sys
sys.path.insert(0, sys.argv[2])
from tools.support.bench_process import serve

rounds = iter(range(100))
serve(lambda: {"round": next(rounds)})
"""


@pytest.fixture
def processes(tmp_path, pytestconfig):
    script = tmp_path / "counting.py"
    script.write_text(SCRIPT)
    started = [BenchProcess(script, [pytestconfig.rootpath]) for _ in range(2)]
    yield started
    for process in started:
        process.close(at_once=True)


@pytest.mark.parametrize("warm_up", [False, True])
def test_each_does_its_rounds(processes, warm_up):
    answers, stopped = take_turns(processes, 3, "counting", warm_up)
    assert not stopped
    assert answers == [[{"round": number + warm_up} for number in range(3)]] * 2
    assert not any(alive(process) for process in processes)


def test_what_is_interrupted_keeps_the_rounds_that_all_did(processes, monkeypatch, capsys):
    do_round = processes[1].round
    rounds = iter(range(10))

    def stopping_round():
        if next(rounds) == 2:
            raise KeyboardInterrupt
        return do_round()

    monkeypatch.setattr(processes[1], "round", stopping_round)
    answers, stopped = take_turns(processes, 5, "counting")
    assert stopped
    assert answers == [[{"round": 0}, {"round": 1}]] * 2
    assert "counting: stopped; its figures are of 2 rounds, not 5" in capsys.readouterr().out
    assert not any(alive(process) for process in processes)


def test_a_process_that_ends_is_told_and_ends_the_others(processes):
    os.kill(processes[0]._process.pid, signal.SIGKILL)
    processes[0]._process.wait()
    with pytest.raises(RuntimeError, match="ended; its message stands above"):
        take_turns(processes, 2, "counting")
    assert not any(alive(process) for process in processes)


def test_rows_until_an_interrupt_are_kept():
    def rows():
        yield 1
        raise KeyboardInterrupt

    assert until_interrupted(rows()) == ([1], True)
    assert until_interrupted(range(3)) == ([0, 1, 2], False)


BENCH = """
import sys, time
sys.path.insert(0, sys.argv[1] if sys.argv[1:2] != ["--work"] else sys.argv[2])
from tools.support.bench_process import BenchProcess, interrupted_once, serve, take_turns

if sys.argv[1] == "--work":
    serve(lambda: time.sleep(0.1))
else:
    with interrupted_once():
        processes = [BenchProcess(__file__, [sys.argv[1]]) for _ in range(2)]
        print("started", flush=True)
        answers, stopped = take_turns(processes, 10_000, "sleeping")
        print(len(answers[0]) > 0, stopped, flush=True)
"""


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="needs process groups")
def test_a_bench_that_timeout_stops_has_its_figures(tmp_path, pytestconfig):
    """It signals the bench, and then its whole group, the bench once more."""
    script = tmp_path / "bench.py"
    script.write_text(BENCH)
    command = [sys.executable, script, pytestconfig.rootpath]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as bench:
        assert bench.stdout.readline() == "started\n"
        time.sleep(1)
        os.kill(bench.pid, signal.SIGTERM)
        os.killpg(bench.pid, signal.SIGTERM)
        assert bench.communicate(timeout=60)[0].endswith("True True\n")
    assert bench.returncode == 0


def alive(process):
    return process._process.poll() is None

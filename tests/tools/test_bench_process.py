"""Processes that take turns, and are stopped early."""

import os
import signal
import textwrap

import pytest

from tools.bench_process import BenchProcess, take_turns

SCRIPT = """
import sys
sys.path.insert(0, sys.argv[2])
from tools.bench_process import serve

rounds = iter(range(100))
serve(lambda: {"round": next(rounds)})
"""


@pytest.fixture
def processes(tmp_path, pytestconfig):
    script = tmp_path / "counting.py"
    script.write_text(textwrap.dedent(SCRIPT))
    return [BenchProcess(script, [pytestconfig.rootpath]) for _ in range(2)]


@pytest.mark.parametrize("warm_up", [False, True])
def test_each_does_its_rounds(processes, warm_up):
    answers, stopped = take_turns(processes, 3, "counting", warm_up)
    assert not stopped
    assert answers == [[{"round": number + warm_up} for number in range(3)]] * 2
    assert not any(alive(process) for process in processes)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_is_stopped_keeps_the_rounds_that_all_did(processes, monkeypatch, capsys, number):
    """As `timeout` stops a bench: the signal goes to its processes, too."""
    handler = signal.getsignal(number)
    first, second = processes
    do_round = second.round
    rounds = iter(range(10))

    def stopping_round():
        if next(rounds) == 2:
            for process in (first._process.pid, second._process.pid, os.getpid()):
                os.kill(process, number)
        return do_round()

    monkeypatch.setattr(second, "round", stopping_round)
    answers, stopped = take_turns(processes, 5, "counting")
    assert stopped
    assert answers == [[{"round": 0}, {"round": 1}]] * 2
    assert "counting: stopped; its figures are of 2 rounds, not 5" in capsys.readouterr().out
    assert not any(alive(process) for process in processes)
    assert signal.getsignal(number) == handler


def test_a_process_lets_its_bench_be_stopped(processes):
    for process in processes:
        os.kill(process._process.pid, signal.SIGTERM)
        os.kill(process._process.pid, signal.SIGINT)
        assert process.round() == {"round": 0}
        process.close()


def alive(process):
    return process._process.poll() is None

"""The thread that turns parallel requests into batches."""

import threading
from concurrent.futures import CancelledError

import pytest

from web.batching import BatchingThread


def number(text: str) -> int:
    return int(text)


@pytest.fixture
def gate():
    """Lets the work begin; so that items wait together."""
    return threading.Event()


@pytest.fixture
def batches() -> list[list[int]]:
    return []


@pytest.fixture
def thread(gate, batches):
    def inverses(values: list[int]) -> list[float]:
        gate.wait(30)
        batches.append(values)
        return [1 / value for value in values]

    thread = BatchingThread(number, inverses, 3)
    yield thread
    gate.set()
    thread.close()


def test_what_waits_is_worked_on_together_and_in_order(thread, gate, batches):
    futures = [thread.submit(str(value)) for value in range(1, 9)]
    gate.set()
    assert [f.result(30) for f in futures] == [1 / value for value in range(1, 9)]
    assert [value for batch in batches for value in batch] == list(range(1, 9))
    assert len(batches) <= 4 and max(map(len, batches)) == 3


def test_an_item_that_cannot_be_prepared_fails_alone(thread, gate):
    futures = [thread.submit(text) for text in ("1", "x", "2")]
    gate.set()
    assert [futures[0].result(30), futures[2].result(30)] == [1, 0.5]
    with pytest.raises(ValueError, match="'x'"):
        futures[1].result(30)


def test_the_thread_outlives_work_that_fails(thread, gate):
    gate.set()
    with pytest.raises(ZeroDivisionError):
        thread.submit("0").result(30)
    assert thread.submit("4").result(30) == 0.25


def test_what_is_cancelled_while_it_waits_is_not_worked_on(thread, gate, batches):
    first, second, third = (thread.submit(text) for text in ("1", "1", "1"))
    more = [thread.submit(text) for text in ("7", "8")]
    assert more[0].cancel()
    gate.set()
    assert more[1].result(30) == 1 / 8
    with pytest.raises(CancelledError):
        more[0].result(30)
    assert all(7 not in batch for batch in batches)
    assert first.result() == second.result() == third.result() == 1


def test_closing_finishes_what_was_handed_in(batches):
    thread = BatchingThread(number, lambda values: values, 3)
    futures = [thread.submit(str(value)) for value in range(7)]
    thread.close()
    assert [f.result(0) for f in futures] == list(range(7))

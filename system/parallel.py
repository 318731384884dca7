"""One function over many items in several processes, results in order."""

import multiprocessing.connection
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from typing import Any

import cv2

AHEAD = 4  # items queued for each process, ahead of the one whose result is awaited


class WorkerPool:
    """Processes that each get the function once; the same results whatever `jobs` is.

    A context manager.

    Args:
        function: of one item; it, items and results must survive pickling where `jobs` > 1.
        jobs: processes; 1 works in this one.
        isolated: start a process for a single job, too, so that none can take this one with it.

    """

    def __init__(self, function: Callable[[Any], Any], jobs: int, isolated: bool = False):
        self.function, self.jobs, self.isolated = function, jobs, isolated
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> "WorkerPool":
        if self.jobs > 1 or self.isolated:
            # Spawned, as a forked worker would inherit whatever LMDB the parent has open.
            self._pool = ProcessPoolExecutor(
                self.jobs,
                mp_context=multiprocessing.get_context("spawn"),
                initializer=_start_worker,
                initargs=(self.function,),
            )
        return self

    def __exit__(self, *error) -> None:
        if self._pool:
            self._pool.shutdown(cancel_futures=True)

    def map(self, items: Iterable[Any]) -> Iterator[Any]:
        """The function's result for each item, in order; items are taken as they are needed."""
        if self._pool is None:
            yield from map(self.function, items)
            return
        # A few ahead only: a slow reader must not fill the memory with finished ones.
        waiting = deque()
        for item in items:
            with _no_interrupt():  # a task may start a process, which inherits this
                waiting.append(self._pool.submit(_work, item))
            if len(waiting) > AHEAD * self.jobs:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


@contextmanager
def _no_interrupt() -> Iterator[None]:
    """Ctrl-C waits; processes that are started meanwhile never see it.

    It reaches the whole group, and the parent alone decides, and ends the workers: also those that
    are still importing.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


_function: Callable[[Any], Any] | None = None


def _start_worker(function: Callable[[Any], Any]) -> None:
    global _function
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cv2.setNumThreads(0)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _function = function


def _end_with_parent() -> None:
    """A parent that is killed outright can't end its workers, who would wait for tasks forever."""
    multiprocessing.connection.wait([multiprocessing.parent_process().sentinel])
    os._exit(1)


def _work(item: Any) -> Any:
    return _function(item)

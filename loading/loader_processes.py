"""The processes of a loader: started, watched, and replaced where they die."""

import atexit
import multiprocessing.connection
import os
import signal
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import TypeVar

import cv2
from torch.utils.data import DataLoader

from records.lmdb_file import DataError
from records.lmdb_set import close_environments
from system.error_cause import cause_of

MOST_DEATHS = 3  # of worker processes, without a batch between them
# How PyTorch's messages of them begin; the thread that pins memory may be the one to notice.
DEATHS = ("DataLoader worker", "Pin memory thread")
# What receiving a batch raises where its sender is being killed, and is not yet seen to be dead.
CUT_OFF = (ConnectionError, EOFError)
# Seconds after a death in which a loader that waits for a batch notices it, if it can.
UNNOTICED = 10.0

Batch = TypeVar("Batch")
_WORKERS: weakref.WeakSet[BaseProcess] = weakref.WeakSet()


def start_worker(_worker: int) -> None:
    """Set a worker process up."""
    # Signals often go to all processes at once, and are the main one's to handle: it ends its
    # workers, who end by themselves where it is gone. OpenCV's threads would fight for the cores.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    cv2.setNumThreads(0)


def start_loading(loader: Iterable[Batch]) -> Iterator[Batch]:
    """Iterate a loader such that the death of a worker raises when a batch is asked for only.

    PyTorch's signal handler raises in whatever the process is doing then, mostly in a step. Without
    it, a loader that waits for a dead worker notices within seconds: by itself, or, where it would
    wait for the rest of a message, by what `_cut_off_at_death` does.
    """
    handles = hasattr(signal, "SIGCHLD") and threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGCHLD) if handles else None
    if getattr(before, "__module__", "").startswith("torch."):  # since another loader's iteration
        before = signal.SIG_DFL
    batches = iter(loader)
    workers = getattr(batches, "_workers", [])  # none where batches are loaded in this process
    _WORKERS.update(workers)
    if before is not None:
        signal.signal(signal.SIGCHLD, before)
    if workers and os.name == "posix":
        pipe = batches._worker_result_queue._writer
        watched = workers, batches._workers_done_event, pipe
        threading.Thread(target=_cut_off_at_death, args=watched, daemon=True).start()
    return batches


def _cut_off_at_death(workers: Sequence[BaseProcess], ending: Event, pipe: Connection) -> None:
    """When a worker has died, end the others, and the pipe that they all send their batches by.

    A worker that is killed while it sends leaves the reader waiting for the rest of the message,
    and the other workers for the pipe's lock, for ever. The reader is told by the end of the pipe
    only, which comes when nobody can write into it any more. If the loader notices the death by
    itself within some seconds, this does nothing. If no batch is asked for in that time, it may be
    PyTorch's thread that pins memory that says that it was cut off.

    Args:
        workers: all of a loader's, who live until it tells them to end.
        ending: set when it does.
        pipe: its writing end.

    """
    multiprocessing.connection.wait([worker.sentinel for worker in workers])
    if ending.wait(UNNOTICED):
        return
    for worker in workers:
        worker.kill()
    # Not closed: the loader may still write into it, while it ends.
    with Path(os.devnull).open("wb") as nowhere, suppress(OSError):  # no pipe any more: it ended
        os.dup2(nowhere.fileno(), pipe.fileno())


@atexit.register
def _end_workers() -> None:
    """Workers of iterators that are there to the end: Python sends them SIGTERM and then waits.

    As `start_worker` leaves that signal to this process, it would wait for ever.
    """
    for worker in _WORKERS:
        worker.kill()


def tells_of_death(error: Exception) -> bool:
    """Whether an error of a loader is a worker's death, not an error raised in a living worker."""
    if isinstance(error, CUT_OFF):
        return not str(error).startswith("Caught ")  # how PyTorch passes on what a worker raised
    return str(error).startswith(DEATHS)


def surviving_batches(loader: DataLoader, say: Callable[[str], None]) -> Iterator[Batch]:
    """The batches of a training loader; where a worker process dies, others go on from there.

    Args:
        loader: of `training_loader`, not iterated yet.
        say: told of each death.

    Raises:
        DataError: workers die again and again before they give a batch.

    """
    taken = deaths = 0
    while True:
        loader.batch_sampler.first_batch = taken
        close_environments()  # what a validation has opened must not cross the fork
        try:
            for batch in start_loading(loader):
                taken, deaths = taken + 1, 0
                yield batch
        except MemoryError as error:
            raise DataError(
                f"There is no memory to load a batch ({cause_of(error)}): lower --workers or "
                "--batch_size."
            ) from None
        except (RuntimeError, *CUT_OFF) as error:
            if not (loader.num_workers and tells_of_death(error)):
                raise
            deaths += 1
            cause = cause_of(error)
            if deaths > MOST_DEATHS:
                raise DataError(
                    f"Processes that load data died {deaths} times in a row ({cause}), most likely "
                    "for want of memory: lower --workers, or look at the system's log."
                ) from None
            say(f"warning: a process that loads data died ({cause}); starting others")

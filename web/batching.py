"""Parallel requests to batches: one thread takes all that wait, up to a batch."""

import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

END = None


class BatchingThread:
    """A thread that prepares items one by one, and works on those that wait together.

    One thread, as a model uses all cores by itself.

    Args:
        prepare: an item as it is handed in to what is worked on; an error is that item's own.
        work: results for prepared items, in order; an error is that of all of them.
        batch_size: items that are worked on together, at most.

    """

    def __init__(
        self,
        prepare: Callable[[Any], Any],
        work: Callable[[Sequence[Any]], Sequence[Any]],
        batch_size: int,
    ):
        self.prepare, self.work, self.batch_size = prepare, work, batch_size
        self._waiting: queue.Queue[tuple[Any, Future] | None] = queue.Queue()
        self._thread = threading.Thread(target=self._run, name="reading", daemon=True)
        self._thread.start()

    def submit(self, item: Any) -> Future:
        """The item's result, when it is there; it is skipped if cancelled before its turn."""
        future: Future = Future()
        self._waiting.put((item, future))
        return future

    def close(self) -> None:
        """Finish what was handed in, and end the thread."""
        self._waiting.put(END)
        self._thread.join()

    def _run(self) -> None:
        ended = False
        while not ended:
            batch = [self._waiting.get()]
            while batch[-1] is not END and len(batch) < self.batch_size:
                try:
                    batch.append(self._waiting.get_nowait())
                except queue.Empty:
                    break
            ended = batch[-1] is END
            self._answer(batch[:-1] if ended else batch)

    def _answer(self, handed_in: list[tuple[Any, Future]]) -> None:
        prepared, futures = [], []
        for item, future in handed_in:
            if not future.set_running_or_notify_cancel():
                continue
            try:
                prepared.append(self.prepare(item))
                futures.append(future)
            except Exception as error:  # the thread must outlive any image
                future.set_exception(error)
        if not futures:
            return
        try:
            for future, result in zip(futures, self.work(prepared), strict=True):
                future.set_result(result)
        except Exception as error:
            for future in futures:
                if not future.done():
                    future.set_exception(error)

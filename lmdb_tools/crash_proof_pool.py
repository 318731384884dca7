"""Tasks in worker processes, any of which the reading of a damaged file may end."""

import operator
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from records.lmdb_file import DataError
from system.parallel import WorkerPool


class CrashProofPool:
    """A context manager that runs tasks, and outlives their processes.

    LMDB trusts the pages that it maps, so a damaged or shrinking file can end a process.

    Args:
        jobs: processes.

    """

    def __init__(self, jobs: int):
        self._pool = WorkerPool(operator.call, jobs, isolated=True)

    def __enter__(self) -> "CrashProofPool":
        self._pool.__enter__()
        return self

    def __exit__(self, *error) -> None:
        self._pool.__exit__(*error)

    def run(self, tasks: Iterable[Callable[[], Any]], what: str) -> Iterator[Any]:
        """The tasks' results, in order.

        Args:
            tasks: functions without arguments, picklable.
            what: they read, for the message.

        Raises:
            DataError: a task ended its process.

        """
        try:
            yield from self._pool.map(tasks)
        except BrokenProcessPool:
            jobs = self._pool.jobs
            self._pool.__exit__(None, None, None)
            self._pool = WorkerPool(operator.call, jobs, isolated=True)
            self._pool.__enter__()
            raise DataError(
                f"A process that read {what} was ended by the system: the file is damaged, was cut "
                "off meanwhile, or memory is short. Copy it again."
            ) from None

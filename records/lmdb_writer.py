"""Writes LMDBs in the field's format: whole or not at all.

Keys: `num-samples` (decimal text), `image-%09d` (the image file's bytes), `label-%09d` (UTF-8) and,
where characters have boxes, `boxes-%09d` (JSON); records count from 1.
"""

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import lmdb
from filelock import FileLock, Timeout

from records.char_boxes import BoxEntry
from records.lmdb_file import NUM_SAMPLES, UNFINISHED, record_key

LOCK = "writing.lock"
OWN_FILES = {"data.mdb", "lock.mdb"}
COMMIT_EVERY = 1000  # records
COMMIT_BYTES = 64 * 2**20  # or so many bytes, where images are large


class LmdbWriter:
    """A context manager that writes `<path>.partial` and renames it to `path` at the end.

    On an exception the partial folder is removed, and `path` never comes to be. With `job`, what
    was written up to the last `checkpoint` stays instead, even after kill -9, and a writer for the
    same job goes on from there.

    Args:
        path: The LMDB's folder; must not exist, or be empty.
        map_size: Bytes to start with; doubled whenever they are full. (Windows allocates them.)
        job: All that decides what is written, as JSON has it; None for a job that can't be
            interrupted.

    Attributes:
        count: Records written so far.
        progress: What the last `checkpoint` was given; None at the start of a job.

    Raises:
        FileExistsError: on entering, where `path` is there, a part of another job, or another
            process that writes it.

    >>> with LmdbWriter("data/words") as writer:
    ...     writer.write(jpeg_bytes, "word")
    """

    def __init__(self, path: str | Path, map_size: int = 16 * 2**20, job: dict | None = None):
        self.path = Path(path)
        self.partial = self.path.with_name(self.path.name + ".partial")
        self.count = 0
        self.progress: dict | None = None
        # As JSON gives it back: tuples become lists.
        self._job = json.loads(json.dumps(job))
        self._map_size = map_size
        self._pending: list[tuple[bytes, bytes]] = []  # kept until committed, to try again
        self._pending_bytes = 0
        self._env: lmdb.Environment | None = None
        self._lock: FileLock | None = None

    def __enter__(self) -> "LmdbWriter":
        if self.path.exists() and (not self.path.is_dir() or any(self.path.iterdir())):
            raise FileExistsError(
                f"{self.path} is there already: remove it, or choose another place for the LMDB."
            )
        self.partial.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(self.partial / LOCK)
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise FileExistsError(
                f"Another process is writing {self.path} now; wait for its end."
            ) from None
        try:
            self._open()
        except BaseException:
            self._lock.release()
            raise
        return self

    def _open(self) -> None:
        """Open the part of this very job that is there, or a new one."""
        found = unfinished_job(self.partial)
        if found is not None:
            if self._job is None or found["job"] != self._job:
                raise FileExistsError(
                    f"{self.partial} is the beginning of another job: {json.dumps(found['job'])}. "
                    "Run that with its own options to finish it, or remove the folder."
                )
            self._env = lmdb.open(os.fsencode(self.partial), map_size=self._map_size)
            self._map_size = self._env.info()["map_size"]
            self.count, self.progress = found["count"], found["progress"]
            return
        if _get(self.partial, NUM_SAMPLES) is not None:
            raise FileExistsError(
                f"{self.partial} is a whole LMDB, of a run that was killed at its very end, or of "
                f"somebody else: rename it to {self.path.name}, or remove it."
            )
        there = {file.name for file in self.partial.iterdir()} - {LOCK}
        if there - OWN_FILES:
            raise FileExistsError(
                f"{self.partial} is there, and holds {min(there - OWN_FILES)}, which is nothing of "
                "an interrupted conversion: move it away, or choose another place for the LMDB."
            )
        for name in there:  # of a run that was killed
            (self.partial / name).unlink()
        # Where all is lost anyway on a fault, nothing needs to be on disk before the end.
        self._env = lmdb.open(
            os.fsencode(self.partial), map_size=self._map_size, sync=self._job is not None
        )

    def __exit__(self, kind, error, trace) -> None:
        finished = False
        try:
            if kind is None:
                self._put(NUM_SAMPLES, str(self.count).encode())
                self._commit(remove=UNFINISHED)
                self._env.sync(True)
                finished = True
        finally:
            self._env.close()
            self._lock.release()
            if not finished and self.progress is None:
                shutil.rmtree(self.partial, ignore_errors=True)
        if finished:
            for name in ("lock.mdb", LOCK):
                (self.partial / name).unlink(missing_ok=True)
            if self.path.exists():
                self.path.rmdir()
            self.partial.rename(self.path)

    def write(
        self, image: bytes, label: str | bytes, boxes: Sequence[BoxEntry] | bytes | None = None
    ) -> None:
        """Appends a record.

        Args:
            image: The bytes of an image file.
            label: What it says; bytes are stored as they are.
            boxes: (character, x0, y0, x1, y1), or four corners, for each character, in pixels;
                bytes are stored as they are.
        """
        self.count += 1
        self._put(record_key(b"image", self.count), image)
        self._put(record_key(b"label", self.count), _stored(label))
        if boxes is not None:
            if not isinstance(boxes, bytes):
                boxes = json.dumps([list(box) for box in boxes], ensure_ascii=False)
            self._put(record_key(b"boxes", self.count), _stored(boxes))
        # A job's records are committed with its progress, or not at all.
        full = self.count % COMMIT_EVERY == 0 or self._pending_bytes > COMMIT_BYTES
        if full and self._job is None:
            self._commit()

    @property
    def wants_checkpoint(self) -> bool:
        """Whether enough is waiting to be worth a `checkpoint`."""
        return len(self._pending) >= 2 * COMMIT_EVERY or self._pending_bytes > COMMIT_BYTES

    def checkpoint(self, progress: dict) -> None:
        """Put on disk what was written so far, and how far the job is, as JSON has it."""
        self.progress = progress
        state = {"job": self._job, "count": self.count, "progress": progress}
        self._put(UNFINISHED, json.dumps(state).encode("utf-8"))
        self._commit()

    def set_note(self, note: dict, key: str = "note") -> None:
        """Stores a JSON object about the whole set under a key of its own."""
        self._put(key.encode("utf-8"), json.dumps(note, ensure_ascii=False).encode("utf-8"))

    def _put(self, key: bytes, value: bytes) -> None:
        self._pending.append((key, value))
        self._pending_bytes += len(value)

    def _commit(self, remove: bytes | None = None) -> None:
        while True:
            try:
                with self._env.begin(write=True) as transaction:
                    for key, value in self._pending:
                        transaction.put(key, value)
                    if remove is not None:
                        transaction.delete(remove)
                break
            except lmdb.MapFullError:
                self._map_size *= 2
                self._env.set_mapsize(self._map_size)
        self._pending.clear()
        self._pending_bytes = 0


def unfinished_job(partial: Path) -> dict | None:
    """What an interrupted job left: its `job`, `count` and `progress`; None where there is none."""
    stored = _get(partial, UNFINISHED)
    return None if stored is None else json.loads(stored)


def _get(folder: Path, key: bytes) -> bytes | None:
    """A value of an LMDB; None where there is none, or no LMDB that can be read."""
    if not (folder / "data.mdb").is_file():
        return None
    try:
        with (
            lmdb.open(os.fsencode(folder), readonly=True, lock=False) as environment,
            environment.begin() as transaction,
        ):
            return transaction.get(key)
    except lmdb.Error:  # killed while it was made
        return None


def _stored(text: str | bytes) -> bytes:
    return text.encode("utf-8") if isinstance(text, str) else text

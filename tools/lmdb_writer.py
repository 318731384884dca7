"""Writes LMDBs in the field's format: whole or not at all.

Keys: `num-samples` (decimal text), `image-%09d` (the image file's bytes), `label-%09d` (UTF-8) and,
where characters have boxes, `boxes-%09d` (JSON); records count from 1.
"""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import lmdb

COMMIT_EVERY = 1000  # records
COMMIT_BYTES = 64 * 2**20  # or so many bytes, where images are large
CharBox = Sequence[str | float]  # character, x0, y0, x1, y1


class LmdbWriter:
    """A context manager that writes `<path>.partial` and renames it to `path` at the end.

    On an exception the partial folder is removed, and `path` never comes to be.

    Args:
        path: The LMDB's folder; must not exist, or be empty.
        map_size: Bytes to start with; doubled whenever they are full. (Windows allocates them.)

    >>> with LmdbWriter("data/words") as writer:
    ...     writer.write(jpeg_bytes, "word")
    """

    def __init__(self, path: str | Path, map_size: int = 16 * 2**20):
        self.path = Path(path)
        self.partial = self.path.with_name(self.path.name + ".partial")
        self.count = 0
        self._map_size = map_size
        self._pending: list[tuple[bytes, bytes]] = []  # kept until committed, to try again
        self._pending_bytes = 0
        self._env: lmdb.Environment | None = None

    def __enter__(self) -> "LmdbWriter":
        if self.path.exists() and (not self.path.is_dir() or any(self.path.iterdir())):
            raise FileExistsError(
                f"{self.path} is there already: remove it, or choose another place for the LMDB."
            )
        if self.partial.exists():  # of a run that was killed
            shutil.rmtree(self.partial)
        self.partial.mkdir(parents=True)
        # Nothing is read before the end, so nothing needs to be on disk before it.
        self._env = lmdb.open(str(self.partial), map_size=self._map_size, sync=False)
        return self

    def __exit__(self, kind, error, trace) -> None:
        finished = False
        try:
            if kind is None:
                self._put(b"num-samples", str(self.count).encode())
                self._commit()
                self._env.sync(True)
                finished = True
        finally:
            self._env.close()
            if not finished:
                shutil.rmtree(self.partial, ignore_errors=True)
        if finished:
            (self.partial / "lock.mdb").unlink(missing_ok=True)
            if self.path.exists():
                self.path.rmdir()
            self.partial.rename(self.path)

    def write(self, image: bytes, label: str, boxes: Sequence[CharBox] | None = None) -> None:
        """Appends a record.

        Args:
            image: The bytes of an image file.
            label: What it says.
            boxes: (character, x0, y0, x1, y1) for each character, in pixels.
        """
        self.count += 1
        self._put(b"image-%09d" % self.count, image)
        self._put(b"label-%09d" % self.count, label.encode("utf-8"))
        if boxes is not None:
            text = json.dumps([list(box) for box in boxes], ensure_ascii=False)
            self._put(b"boxes-%09d" % self.count, text.encode("utf-8"))
        if self.count % COMMIT_EVERY == 0 or self._pending_bytes > COMMIT_BYTES:
            self._commit()

    def set_note(self, note: dict, key: str = "note") -> None:
        """Stores a JSON object about the whole set under a key of its own."""
        self._put(key.encode("utf-8"), json.dumps(note, ensure_ascii=False).encode("utf-8"))

    def _put(self, key: bytes, value: bytes) -> None:
        self._pending.append((key, value))
        self._pending_bytes += len(value)

    def _commit(self) -> None:
        while True:
            try:
                with self._env.begin(write=True) as transaction:
                    for key, value in self._pending:
                        transaction.put(key, value)
                break
            except lmdb.MapFullError:
                self._map_size *= 2
                self._env.set_mapsize(self._map_size)
        self._pending.clear()
        self._pending_bytes = 0

"""What a long job says: a bar on a terminal, a line now and then otherwise; and its log file."""

import errno
import sys
import time
from pathlib import Path

from tqdm import tqdm

from system.whole_file import append_whole


class RunLog:
    """Prints lines and keeps them in a file; silent on all ranks but the first.

    Lines that the file does not take, as on a full disk, wait until it does; the work goes on. A
    file that does not even take the first line is an error.
    """

    def __init__(self, path: Path | None = None, enabled: bool = True):
        self.enabled = enabled
        self._path = path if enabled else None
        self._waiting = ""
        self._begun = False

    def __call__(self, text: str = "") -> None:
        """Print a line (above a progress bar, where there is one)."""
        if not self.enabled:
            return
        _print(text)
        if self._path is not None:
            self._keep(self._path, text)

    def _keep(self, path: Path, text: str) -> None:
        known = bool(self._waiting)
        self._waiting += text + "\n"
        try:
            if not self._begun:  # with the first line, so that a refused start leaves none
                path.parent.mkdir(parents=True, exist_ok=True)
            append_whole(path, self._waiting)
        except OSError as error:
            if not self._begun:
                raise
            if not known:
                _print(f"warning: {path} can't be written now ({error}); its lines wait.")
        else:
            self._waiting, self._begun = "", True


def _print(text: str) -> None:
    try:
        tqdm.write(text, file=sys.stdout)
        sys.stdout.flush()
    except OSError as error:
        if error.errno != errno.ENOSPC:  # the output may go to a file, too
            raise


class Progress:
    """Counts from `done` to a total: a bar on a terminal, a line every `seconds` otherwise."""

    def __init__(
        self,
        total: int,
        title: str,
        log: RunLog,
        seconds: float = 20.0,
        unit: str = "it",
        done: int = 0,
    ):
        self.total, self.title, self.log, self.seconds = total, title, log, seconds
        self.unit = unit
        self.done = self._first = done
        self._started = self._last_line = time.monotonic()
        on_terminal = log.enabled and sys.stderr.isatty()
        self._bar = tqdm(total=total, initial=done, desc=title, unit=unit) if on_terminal else None

    def update(self, count: int, **values: str) -> None:
        """Advance, and show the values (loss, images/s, …)."""
        self.done += count
        if self._bar is not None:
            self._bar.set_postfix(values, refresh=False)
            self._bar.update(count)
            return
        now = time.monotonic()
        if now - self._last_line >= self.seconds or self.done >= self.total:
            self._last_line = now
            pace = (now - self._started) / (self.done - self._first)
            left = pace * (self.total - self.done)
            shown = "  ".join(f"{name} {value}" for name, value in values.items())
            self.log(
                f"{self.title} {self.done:,}/{self.total:,} {self.unit}  {shown}  "
                f"ETA {duration(left)}"
            )

    def close(self) -> None:
        """Take the bar off the terminal."""
        if self._bar is not None:
            self._bar.close()


def duration(seconds: float) -> str:
    """Seconds as 1d 02:03:04."""
    days, rest = divmod(int(seconds), 86400)
    clock = f"{rest // 3600:02d}:{rest % 3600 // 60:02d}:{rest % 60:02d}"
    return f"{days}d {clock}" if days else clock

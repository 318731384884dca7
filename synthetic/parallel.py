"""Rendering in several processes, in order."""

import multiprocessing
import signal
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial

import cv2

from synthetic.renderer import Renderer

CHUNK = 100  # samples a task
JPEG_QUALITY = 92


@dataclass(frozen=True)
class Record:
    """A rendered word as it is stored.

    Attributes:
        image: A JPEG file's bytes.
        text: What it says.
        boxes: (character, x0, y0, x1, y1) for each character, in pixels, to 1/100.
    """

    image: bytes
    text: str
    boxes: list[tuple[str, float, float, float, float]]


class RenderPool:
    """Renders ranges of a renderer's stream; the same records whatever `jobs` is.

    A context manager.

    Args:
        renderer: What every worker gets a copy of.
        jobs: Processes; 1 renders in this one.
    """

    def __init__(self, renderer: Renderer, jobs: int):
        self.renderer, self.jobs = renderer, jobs
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> "RenderPool":
        if self.jobs > 1:
            # Spawned, as a forked worker would inherit whatever LMDB the parent has open.
            self._pool = ProcessPoolExecutor(
                self.jobs,
                mp_context=multiprocessing.get_context("spawn"),
                initializer=_start_worker,
                initargs=(self.renderer,),
            )
        return self

    def __exit__(self, *error) -> None:
        if self._pool:
            self._pool.shutdown(cancel_futures=True)

    def records(self, start: int, stop: int) -> Iterator[Record]:
        """Samples `start` to `stop` (not included), in order."""
        ranges = [(at, min(at + CHUNK, stop)) for at in range(start, stop, CHUNK)]
        if self._pool is None:
            for chunk in ranges:
                yield from render(self.renderer, *chunk)
            return
        # A few chunks ahead only: a slow disk must not fill the memory with finished ones.
        waiting = deque()
        for chunk in ranges:
            waiting.append(self._pool.submit(_render_in_worker, *chunk))
            if len(waiting) > 4 * self.jobs:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()


def render(renderer: Renderer, start: int, stop: int) -> list[Record]:
    """Samples `start` to `stop` (not included)."""
    return [_encode(renderer, index) for index in range(start, stop)]


def _encode(renderer: Renderer, index: int) -> Record:
    word = renderer.sample(index)
    pixels = cv2.cvtColor(word.image, cv2.COLOR_RGB2BGR)
    _, data = cv2.imencode(".jpg", pixels, (cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY))
    boxes = [(char, *(round(edge, 2) for edge in box)) for char, *box in word.boxes]
    return Record(data.tobytes(), word.text, boxes)


_in_worker = None


def _start_worker(renderer: Renderer) -> None:
    global _in_worker
    # Ctrl-C reaches the whole group; the parent alone decides, and ends the workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cv2.setNumThreads(0)
    _in_worker = partial(render, renderer)


def _render_in_worker(start: int, stop: int) -> list[Record]:
    return _in_worker(start, stop)

"""Rendering to JPEG files, in several processes."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import cv2

from synthetic.renderer import Renderer
from system.parallel import WorkerPool

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
        self._workers = WorkerPool(partial(_render_range, renderer), jobs)

    def __enter__(self) -> "RenderPool":
        self._workers.__enter__()
        return self

    def __exit__(self, *error) -> None:
        self._workers.__exit__(*error)

    def records(self, start: int, stop: int) -> Iterator[Record]:
        """Samples `start` to `stop` (not included), in order."""
        ranges = ((at, min(at + CHUNK, stop)) for at in range(start, stop, CHUNK))
        for chunk in self._workers.map(ranges):
            yield from chunk


def _render_range(renderer: Renderer, ends: tuple[int, int]) -> list[Record]:
    return [_encode(renderer, index) for index in range(*ends)]


def _encode(renderer: Renderer, index: int) -> Record:
    word = renderer.sample(index)
    pixels = cv2.cvtColor(word.image, cv2.COLOR_RGB2BGR)
    _, data = cv2.imencode(".jpg", pixels, (cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY))
    boxes = [(char, *(round(edge, 2) for edge in box)) for char, *box in word.boxes]
    return Record(data.tobytes(), word.text, boxes)

"""What the processes of `bench_read.py` do: read the same images, again and again."""

import io
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image

from engine.memory import peak_mib
from tools.support.bench_process import serve


def jpegs(count: int) -> list[bytes]:
    """Images of words' sizes, with something in them to decode."""
    random = np.random.default_rng(0)
    made = []
    for _ in range(count):
        height, width = int(random.integers(24, 64)), int(random.integers(60, 200))
        coarse = random.integers(0, 256, (height // 4, width // 4, 3), dtype=np.uint8)
        stream = io.BytesIO()
        Image.fromarray(coarse).resize((width, height)).save(stream, "JPEG", quality=90)
        made.append(stream.getvalue())
    return made


def serve_readings(
    read: Callable[[list[bytes]], object], batch: int, images: int, device: str
) -> None:
    """Read all images by batches, for each line on standard input."""
    data = jpegs(images)
    read(data[:batch])

    def read_all() -> dict[str, Any]:
        seconds = []
        for start in range(0, images, batch):
            started = time.perf_counter()
            read(data[start : start + batch])
            seconds.append(time.perf_counter() - started)
        return {"seconds": seconds, "peak_mib": peak_mib(device)}

    serve(read_all)

"""What lies behind the text, as a field 0 to 1 that mixes two colours."""

import cv2
import numpy as np


def smooth_field(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Flat, or a straight gradient in any direction: float32 [height, width], 0 to 1."""
    if rng.random() < 0.4:
        return np.zeros((height, width), np.float32)
    angle = 2 * np.pi * rng.random()
    x = np.linspace(-0.5, 0.5, width, dtype=np.float32) * np.float32(np.cos(angle))
    y = np.linspace(-0.5, 0.5, height, dtype=np.float32)[:, None] * np.float32(np.sin(angle))
    return np.clip(x + y + 0.5, 0, 1)


def structured_field(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Blotches, texture, stripes or clutter: float32 [height, width], 0 to 1."""
    kinds = (blotches, texture, stripes, clutter)
    return kinds[rng.integers(len(kinds))](rng, height, width)


def blotches(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Soft patches about as large as the image is high."""
    cells = int(rng.integers(2, 5))
    grid = rng.random((cells, max(2, round(cells * width / height))), dtype=np.float32)
    return np.clip(cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC), 0, 1)


def texture(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Noise of several grain sizes: plaster, stone, asphalt, cloth."""
    field = np.full((height, width), 0.5, np.float32)
    for grain, strength in ((1, 0.25), (3, 0.35), (9, 0.4)):
        grid = rng.random((height // grain + 2, width // grain + 2), dtype=np.float32) - 0.5
        size = (width, height)
        field += strength * rng.random() * 2 * cv2.resize(grid, size)
    return np.clip(field, 0, 1)


def stripes(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Boards, bricks, tiles or shutters: parallel lines of one width, some with cross lines."""
    field = np.zeros((height, width), np.float32)
    pitch = height * rng.uniform(0.2, 1.0)
    thickness = max(1, round(pitch * rng.uniform(0.04, 0.4)))
    lean = height * rng.uniform(-0.3, 0.3)
    across = rng.random() < 0.5
    start = -pitch * rng.random()
    for at in np.arange(start, (height if across else width) + pitch, pitch):
        if across:
            ends = (0, round(at)), (width, round(at + lean))
        else:
            ends = (round(at), 0), (round(at + lean), height)
        cv2.line(field, *ends, 1.0, thickness)
    return cv2.GaussianBlur(field, (0, 0), 0.5 + 0.03 * height * rng.random())


def clutter(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Soft patches with edges in them: what a camera sees behind glass or beside a sign."""
    field = blotches(rng, height, width) * 0.5
    for _ in range(rng.integers(1, 6)):
        centre = rng.random(2) * (width, height)
        corners = centre + height * rng.uniform(-0.7, 0.7, (4, 2))
        hull = cv2.convexHull(corners.astype(np.float32)).astype(np.int32)
        shape = np.zeros((height, width), np.float32)
        cv2.fillConvexPoly(shape, hull, 1.0)
        field += shape * np.float32(rng.uniform(-0.5, 0.5))
    return np.clip(cv2.GaussianBlur(field, (0, 0), 0.5 + 0.04 * height * rng.random()), 0, 1)

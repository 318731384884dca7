"""The core areas of a word's characters, as a map of the size of the model's input.

For boxes that are given as upper left and lower right corner, the arithmetic is that of the
official ACDS code, to the pixel. Other boxes it misreads: of corners the other way round it draws
nothing, and of a quad two lines.
"""

from collections.abc import Sequence

import cv2
import numpy as np

from records.char_boxes import CharBox

SHRINK = 0.5
# Pixels of the map; corners of quads are drawn no further away. OpenCV walks along every row of a
# quad, those outside the map included.
FARTHEST = 2**12


def draw_core_areas(
    boxes: Sequence[CharBox], stored_size: tuple[int, int], height: int, width: int
) -> np.ndarray:
    """Draw the core areas of boxes.

    Args:
        boxes: the boxes; where they overlap, the later one is drawn over the earlier.
        stored_size: (width, height) of the image that they belong to, in pixels, not 0.
        height: rows of the map.
        width: columns of the map.

    Returns:
        uint8 [height, width]: min(k + 1, 255) in the core area of box k (from 0), 0 elsewhere.

    """
    area = np.zeros((height, width), np.uint8)
    # Written as in the official code: the quotient width / stored width rounds differently.
    x_scale, y_scale = 1 / (stored_size[0] / width), 1 / (stored_size[1] / height)
    for number, box in enumerate(boxes, start=1):
        if len(box.corners) == 2:
            (x0, y0), (x1, y1) = box.corners
            columns = _core_pixels(int(x0 * x_scale), int(x1 * x_scale))
            rows = _core_pixels(int(y0 * y_scale), int(y1 * y_scale))
            area[rows, columns] = min(number, 255)
        else:
            columns = _shrink_to_pixels([x * x_scale for x, _ in box.corners])
            rows = _shrink_to_pixels([y * y_scale for _, y in box.corners])
            points = np.array([*zip(columns, rows, strict=True)], np.int32)
            cv2.fillPoly(area, [points], min(number, 255))
    return area


def shrink_span(start: int, length: int) -> tuple[int, int]:
    """Start and length of a side (of a box, in whole pixels) after it is shrunk about its centre.

    A box of that length covers length + 1 pixels: both its corners are in it.
    """
    shrunk = int(SHRINK * length)
    return int(start + length / 2 - shrunk / 2), shrunk


def _core_pixels(one: int, other: int) -> slice:
    """The rows or columns between the two corners of a core area; none lies before 0."""
    if one > other:
        one, other = other, one
    start, length = shrink_span(one, other - one)
    # A slice would count a negative number from the far end.
    return slice(max(start, 0), max(start + length + 1, 0))


def _shrink_to_pixels(coordinates: list[float]) -> list[int]:
    """One coordinate of a quad's corners, shrunk about their mean."""
    centre = sum(coordinates) / len(coordinates)
    return [
        int(min(max(centre + SHRINK * (value - centre), -FARTHEST), FARTHEST))
        for value in coordinates
    ]

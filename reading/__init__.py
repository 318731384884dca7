"""Reading words from Python.

>>> from reading import Reader
>>> reader = Reader.load("best_accuracy.pth")
>>> reader("demo_imgs/night.jpg").text
'night'

Nothing here imports torch until a model needs it: exported ONNX files are read without.
"""

from loading.preprocessing import UnreadableImageError
from reading.images import IMAGE_SUFFIXES, ImageLike, find_images, open_image
from reading.reader import Reader
from text import Character, GranularityReading, Reading

__all__ = [
    "IMAGE_SUFFIXES",
    "Character",
    "GranularityReading",
    "ImageLike",
    "Reader",
    "Reading",
    "UnreadableImageError",
    "find_images",
    "open_image",
]

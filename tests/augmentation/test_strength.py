"""Each operation changes images as much as the reference's does, on the same 200 images.

The table is "mean absolute change per channel" of the reference facts, augmentation, section 2.
"""

import re
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from augmentation import OPERATIONS

TRAINING = Path(__file__).resolve().parents[2].parent / "shared" / "real" / "training"
FOLDERS = ("ic03_train", "ic15_train", "iiit5k_train", "svt_train")
IMAGES_PER_FOLDER = 50
TOLERANCE = 0.25

# Mean absolute change at magnitude 0, 1, 2.
STRENGTH = {
    "Posterize": (48.3, 11.5, 1.0),
    "Solarize": (60.6, 48.9, 25.6),
    "Invert": (121.2, 121.2, 121.2),
    "Equalize": (52.7, 52.7, 52.7),  # the corrected figure
    "AutoContrast": (32.9, 32.9, 32.9),  # the corrected figure
    "Sharpness": (2.3, 0.7, 2.1),
    "Color": (9.0, 2.1, 7.7),
    "Contrast": (21.8, 25.4, 29.0),
    "Brightness": (18.5, 35.7, 50.8),
    "JpegCompression": (6.7, 7.7, 8.4),
    "Pixelate": (6.6, 7.7, 10.3),
    "GaussianNoise": (18.1, 21.7, 25.2),
    "ShotNoise": (29.7, 35.2, 46.5),
    "ImpulseNoise": (6.4, 11.5, 16.6),
    "SpeckleNoise": (15.3, 19.3, 23.3),
    "GaussianBlur": (2.0, 6.9, 14.2),  # the last one: a real sigma of 2
    "DefocusBlur": (7.8, 12.6, 16.2),
    "MotionBlur": (15.0, 17.9, 20.0),
    "GlassBlur": (12.2, 12.4, 12.7),  # the symmetric version
    "ZoomBlur": (11.8, 15.0, 17.5),
    "Fog": (41.0, 45.0, 47.5),
    "Snow": (50.7, 75.5, 80.2),
    "Frost": (22.3, 28.3, 38.9),
    "Rain": (7.9, 10.5, 12.9),
    "Shadow": (19.7, 27.0, 34.5),
    "VGrid": (30.2, 39.7, 60.4),
    "HGrid": (30.2, 37.9, 60.4),
    "Grid": (52.8, 65.1, 90.6),
    "RectGrid": (21.0, 23.5, 37.4),
    "EllipseGrid": (20.1, 26.2, 39.8),
    "Curve": (53.2, 55.2, 58.4),
    "Distort": (38.6, 49.9, 59.3),
    "Stretch": (28.7, 34.9, 40.0),
    "Rotate": (35.6, 62.9, 73.1),
    "Perspective": (44.8, 56.4, 66.7),
    "Shrink": (46.5, 64.3, 77.4),
    "TranslateX": (16.4, 34.9, 39.9),
    "TranslateY": (15.1, 37.1, 50.2),
}


@cache
def corpus() -> np.ndarray:
    """The reference facts' images, uint8 [200, 32, 128, 3]."""
    folders = [TRAINING / folder / "images" for folder in FOLDERS]
    missing = [str(folder) for folder in folders if not folder.is_dir()]
    if missing:
        pytest.skip(f"The real training images are not here: {', '.join(missing)}")
    images = []
    for folder in folders:
        files = sorted((path for path in folder.iterdir() if path.is_file()), key=natural_order)
        for index in np.linspace(0, len(files) - 1, IMAGES_PER_FOLDER).round().astype(int):
            with Image.open(files[index]) as image:
                small = image.convert("RGB").resize((128, 32), Image.Resampling.BICUBIC)
            images.append(np.asarray(small))
    return np.stack(images)


def natural_order(path: Path) -> list:
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", path.name)]


def mean_absolute_change(name: str, magnitude: int, draws: int = 2) -> float:
    rng = np.random.default_rng(7)
    changes = [
        np.abs(OPERATIONS[name](image, None, magnitude, rng)[0].astype(int) - image).mean()
        for image in corpus()
        for _ in range(draws)
    ]
    return float(np.mean(changes))


def test_the_corpus_is_the_one_that_was_measured():
    assert corpus().shape == (200, 32, 128, 3)
    assert corpus().mean() == pytest.approx(120.8, abs=0.05)
    assert corpus().std(axis=(1, 2, 3)).mean() == pytest.approx(48.1, abs=0.05)


def test_every_operation_is_in_the_table():
    assert set(STRENGTH) == set(OPERATIONS)


@pytest.mark.parametrize("magnitude", [0, 1, 2])
@pytest.mark.parametrize("name", STRENGTH)
def test_strength_is_the_references(name, magnitude):
    expected = STRENGTH[name][magnitude]
    assert mean_absolute_change(name, magnitude) == pytest.approx(expected, rel=TOLERANCE)

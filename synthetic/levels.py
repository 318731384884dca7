"""How the images of a level look: every share and range in one place."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Look:
    """Shares (of all images, 0 to 1) and ranges that make a level; change with `replace`.

    Attributes:
        height: Median, least and greatest image height, in pixels.
        height_spread: Standard deviation of the height's logarithm.
        weights: Least and greatest font weight used.
        plain: Only upright faces of ordinary width that tell small letters from capitals.
        stretch: Range of the glyphs' horizontal scale.
        margin: Range of the margin on each side, in image heights; below 0 it cuts ink off.
        spaced: Share with wide or narrow letter spacing.
        slanted: Share sheared by up to 0.3.
        rotation: Greatest rotation, in degrees; most are far below.
        curved: Share on an arc or a wave.
        perspective: Share seen at an angle.
        neighbours: Share with parts of other words around.
        plate: Share on a sign of another colour than the surroundings, some with a border.
        structured: Share on blotches, texture, stripes or clutter; the rest is flat or a gradient.
        outlined: Share with a contour in a third colour.
        shadowed: Share with a shadow or an extrusion.
        shaded: Share lit unevenly.
        contrast: Lightness difference of text and background: 10%, median and 90%, of 1.
        occluded: Share with a small part hidden by a line or a blob.
        blurred: Share with blur, a third of it by motion.
        noisy: Share with sensor noise.
        coarse: Share taken at a lower resolution and enlarged.
        sharpened: Share with the halos of a camera's sharpening.
        compressed: Share with visible JPEG blocks.
    """

    height: tuple[int, int, int]
    height_spread: float
    weights: tuple[int, int]
    plain: bool
    stretch: tuple[float, float]
    margin: tuple[float, float]
    spaced: float
    slanted: float
    rotation: float
    curved: float
    perspective: float
    neighbours: float
    plate: float
    structured: float
    outlined: float
    shadowed: float
    shaded: float
    contrast: tuple[float, float, float]
    occluded: float
    blurred: float
    noisy: float
    coarse: float
    sharpened: float
    compressed: float


EASY = Look(
    height=(36, 28, 52),
    height_spread=0.2,
    weights=(400, 800),
    plain=True,
    stretch=(0.95, 1.05),
    margin=(0.04, 0.2),
    spaced=0.0,
    slanted=0.0,
    rotation=2.0,
    curved=0.0,
    perspective=0.0,
    neighbours=0.0,
    plate=0.0,
    structured=0.1,
    outlined=0.0,
    shadowed=0.0,
    shaded=0.0,
    contrast=(0.45, 0.6, 0.8),
    occluded=0.0,
    blurred=0.15,
    noisy=0.4,
    coarse=0.0,
    sharpened=0.0,
    compressed=0.0,
)

NORMAL = Look(
    height=(36, 17, 100),
    height_spread=0.5,
    weights=(1, 1000),
    plain=False,
    stretch=(0.75, 1.25),
    margin=(-0.03, 0.22),
    spaced=0.3,
    slanted=0.12,
    rotation=20.0,
    curved=0.15,
    perspective=0.4,
    neighbours=0.25,
    plate=0.12,
    structured=0.5,
    outlined=0.1,
    shadowed=0.2,
    shaded=0.4,
    contrast=(0.16, 0.42, 0.85),
    occluded=0.03,
    blurred=0.4,
    noisy=0.5,
    coarse=0.25,
    sharpened=0.12,
    compressed=0.4,
)

LEVELS = {"easy": EASY, "normal": NORMAL}

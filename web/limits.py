"""How much the web page takes in."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Bounds of what one server holds in memory.

    Attributes:
        upload_bytes: of one image file.
        image_pixels: width times height, checked before the image is decoded.
        image_scans: passes over all pixels that a JPEG asks for, likewise.
        requests: images that are being received, waiting or being read, all together.
        receive_seconds: until an upload must have arrived.
        samples: images that the page offers.

    """

    upload_bytes: int = 10 * 2**20
    image_pixels: int = 2**24
    image_scans: int = 100
    requests: int = 64
    receive_seconds: float = 60.0
    samples: int = 24

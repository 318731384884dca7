"""What the first bytes of an image file say: its size, and what kind of file it is."""

from loading.preprocessing import undecoded_image

# First bytes and the suffix of such files.
SUFFIXES = (
    (b"\xff\xd8\xff", "jpg"),
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"GIF8", "gif"),
    (b"BM", "bmp"),
    (b"II*\0", "tif"),
    (b"MM\0*", "tif"),
)


def header_size(image: bytes) -> tuple[int, int]:
    """Width and height in pixels, without decoding.

    Raises:
        UnreadableImageError: not an image, or damaged.

    """
    with undecoded_image(image) as opened:
        return opened.size


def file_suffix(image: bytes) -> str:
    """Suffix that fits an image file's contents; "bin" where they are of no common kind."""
    if image[:4] == b"RIFF" and image[8:12] == b"WEBP":
        return "webp"
    return next((suffix for first, suffix in SUFFIXES if image.startswith(first)), "bin")

"""One number for the contents of a set, however it is stored."""

import hashlib
from collections.abc import Callable, Iterable

import numpy as np

ABSENT = 2**64 - 1  # in place of a size, where a record has no image or no label
SAMPLED = 64  # records, evenly from first to last


def record_digest(image: bytes | None, label: bytes | None) -> bytes:
    """SHA-256 of the image's size in 8 bytes, the image, the label's size, the label."""
    digest = hashlib.sha256()
    for part in (image, label):
        size = ABSENT if part is None else len(part)
        digest.update(size.to_bytes(8, "little"))
        digest.update(part or b"")
    return digest.digest()


def sampled_hash(
    numbers: np.ndarray, read: Callable[[int], tuple[bytes | None, str]], begin: str = ""
) -> str:
    """SHA-256 of how many records a set has, and of some of them: tells sets apart in no time.

    Args:
        numbers: of its records, one or more.
        read: image and label of one; what it raises is handed on.
        begin: what else is hashed.

    """
    digest = hashlib.sha256(f"{begin}{len(numbers)}".encode())
    places = np.unique(np.linspace(0, len(numbers) - 1, SAMPLED).astype(int))
    for image, label in map(read, numbers[places].tolist()):
        digest.update(record_digest(image, label.encode()))
    return digest.hexdigest()


def content_hash(
    records: Iterable[tuple[bytes | None, bytes | None]],
    on_records: Callable[[int], None] = lambda _: None,
) -> str:
    """SHA-256 of the records' digests, one after the other.

    Args:
        records: image and label of each, as they are stored.
        on_records: told of each.

    """
    digest = hashlib.sha256()
    for image, label in records:
        digest.update(record_digest(image, label))
        on_records(1)
    return digest.hexdigest()

"""A batch of an LMDB's records, checked in a worker process."""

import hashlib
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lmdb_tools.findings import Findings
from lmdb_tools.record_check import UNUSABLE, RecordCheck, Rules
from lmdb_tools.watched_lmdb import FileStamp, read_records
from records.content_hash import record_digest


@dataclass(frozen=True)
class CheckedBatch:
    """What became of a batch's records.

    Attributes:
        flags: UNUSABLE and WITHOUT_BOXES, uint8 for each record.
        image_hashes: uint64 for each record; 0 for an unusable one.
        label_hashes: of labels as the charset has them, uint32.
        digests: of each record, one after the other (see `content_hash`).
        findings: what is wrong.

    """

    flags: np.ndarray
    image_hashes: np.ndarray
    label_hashes: np.ndarray
    digests: bytes
    findings: Findings


@dataclass(frozen=True)
class BatchTask:
    """A batch to check.

    Attributes:
        path: folder of the LMDB.
        stamp: of its file.
        numbers: of the records.
        rules: to check against.

    """

    path: Path
    stamp: FileStamp
    numbers: np.ndarray
    rules: Rules

    def __call__(self) -> CheckedBatch:
        """Check the batch.

        Raises:
            DataError: the LMDB can't be read any more.

        """
        check = RecordCheck(str(self.path), self.rules)
        flags, images, labels, digests = [], [], [], []
        for record in read_records(self.path, self.stamp, self.numbers):
            flag, text = check.check(record)
            flags.append(flag)
            images.append(bytes(8) if flag & UNUSABLE else _image_hash(record.image))
            labels.append(zlib.crc32(text.encode("utf-8")))
            digests.append(record_digest(record.image, record.label))
        return CheckedBatch(
            np.array(flags, dtype=np.uint8),
            np.frombuffer(b"".join(images), dtype="<u8"),
            np.array(labels, dtype=np.uint32),
            b"".join(digests),
            check.findings,
        )


def _image_hash(image: bytes) -> bytes:
    return hashlib.blake2b(image, digest_size=8).digest()

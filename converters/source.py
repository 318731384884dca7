"""What a source of word images is made of: tasks, and the words and losses that each gives."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from records.char_boxes import BoxEntry


@dataclass(frozen=True)
class Word:
    """A record to be.

    Attributes:
        image: an image file's bytes.
        label: what it says, as annotated.
        boxes: of its characters, in the pixels of the image; None without.
        remark: why something of it is lost, as (reason, example): boxes that are left out.

    """

    image: bytes
    label: str
    boxes: Sequence[BoxEntry] | None = None
    remark: tuple[str, str] | None = None


@dataclass(frozen=True)
class Dropped:
    """A word that is not written.

    Attributes:
        reason: a short, constant category, for counting.
        example: which one, and what is wrong with it.

    """

    reason: str
    example: str


class Source(Protocol):
    """A source of word images.

    Attributes:
        job: all that decides which records come of it, as JSON has it.
        convert: what becomes of a task; a module's function, or a `partial` of one, so that it
            can be sent to worker processes, and as pure as files on a disk are. Whatever is wrong
            with a single word is a `Dropped`, not an exception.

    """

    job: dict
    convert: Callable[[Any], list[Word | Dropped]]

    def __len__(self) -> int:
        """How many tasks there are."""

    def tasks(self, start: int) -> Iterator[Any]:
        """Tasks from number `start` on, always in the same order; small, and picklable."""

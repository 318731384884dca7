"""A word that a source has and an LMDB can't, while it is on its way up."""

from converters.source import Dropped


class LostWordError(ValueError):
    """A word that can't be written.

    Attributes:
        reason: a short, constant category, for counting; the message has the details too.

    """

    def __init__(self, reason: str, details: str = ""):
        super().__init__(f"{reason}: {details}" if details else reason)
        self.reason, self.details = reason, details

    def dropped(self, which: str) -> Dropped:
        """The loss, for counting; `which` says where the word is."""
        which = printable(which)
        return Dropped(self.reason, f"{which}: {self.details}" if self.details else which)


def printable(text: str) -> str:
    """Text from anywhere, in a form that a terminal can show."""
    return repr(text)[1:-1]


def usable_label(label: str) -> str:
    """A label without the white space around it.

    Raises:
        LostWordError: nothing is left, or it has no UTF-8.

    """
    label = label.strip()
    if not label:
        raise LostWordError("empty label")
    try:
        label.encode("utf-8")
    except UnicodeEncodeError:  # half of a surrogate pair, which JSON and MATLAB can hold
        raise LostWordError("label is not Unicode", ascii(label)[:40]) from None
    return label

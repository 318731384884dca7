"""Names in a message, when there may be many."""

from collections.abc import Sequence

MOST = 5


def first_of(names: Sequence[object], most: int = MOST) -> str:
    """The first names, and how many more there are; `nothing` where there is none."""
    shown = ", ".join(map(str, names[:most]))
    more = len(names) - most
    return f"{shown} and {more:,} more" if more > 0 else shown or "nothing"

"""The weights of a run's validations, `iter_N.pth`: which a folder has, and which may go."""

import re
from pathlib import Path


def iteration_weights(folder: Path) -> dict[int, Path]:
    """The files of a folder by N, in order.

    Raises:
        OSError: the folder can't be read.

    """
    found = {
        int(match[1]): file
        for file in folder.iterdir()
        if (match := re.fullmatch(r"iter_(\d+)\.pth", file.name))
    }
    return dict(sorted(found.items()))


def drop_earlier(folder: Path, iteration: int, kept: int) -> None:
    """Delete the weights of iterations before this one, but for the last ones.

    Those of later iterations stay: a run may be resumed from a state before them.

    Args:
        folder: of the run.
        iteration: whose weights stay.
        kept: how many stay with it.

    Raises:
        OSError: a file can't be deleted.

    """
    earlier = [file for number, file in iteration_weights(folder).items() if number < iteration]
    for file in earlier[: max(0, len(earlier) - kept)]:
        file.unlink(missing_ok=True)

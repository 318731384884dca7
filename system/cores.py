"""How many cores there are to compute on."""

import os


def available_cores() -> int:
    """Cores that this process may use: under taskset, and in some containers, not all."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS and Windows
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1

"""Keeping memory that was freed, for a process that will want as much again at once.

glibc gives large blocks back to the system when they are freed. The next step then waits while the
system clears page after page for it again: on CPUs a tenth of a training step, and up to a fifth
of reading in bf16.
"""

import ctypes
import sys

import torch

# Of mallopt(3).
M_TRIM_THRESHOLD = -1
M_MMAP_MAX = -4
# glibc keeps twice as much as the largest block freed so far, of those below 32 MiB.
LARGEST_LEARNED_FROM = 31 * 2**20


def keep_freed_memory() -> bool:
    """Let this process keep all that it frees; for a process that is ours.

    Returns:
        Whether that could be had: only glibc has it.

    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:  # another C library
        return False
    return bool(mallopt(M_MMAP_MAX, 0) and mallopt(M_TRIM_THRESHOLD, -1))


def keep_some_freed_memory() -> None:
    """Let this process keep up to 64 MiB of what it frees; for a guest in somebody's process.

    No setting is changed: a block that is freed teaches glibc. Elsewhere this does nothing.
    """
    torch.empty(LARGEST_LEARNED_FROM, dtype=torch.uint8)

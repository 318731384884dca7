"""The largest memory that this process has had so far."""

import sys
from pathlib import Path


def peak_memory_mib() -> float:
    """In MiB, without what is on a GPU."""
    status = Path("/proc/self/status")
    if status.is_file():  # Linux, whose getrusage counts the parent's peak as the child's
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):  # some sandboxes leave it out
                return int(line.split()[1]) / 1024
    import resource  # not on Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 1024)

"""What a process frees stays in its heap, and need not be asked for again."""

import platform
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# In a process of its own: whether a new block lies in the heap, which keeps what is freed, or was
# asked of the system; and whether the heap is not cut short when the block is freed.
PROBE = """
import re
from pathlib import Path
import torch
from system.freed_memory import keep_freed_memory, keep_some_freed_memory

def heap():
    bounds = re.search(r"(.*)-(.*) rw-p .*\\[heap\\]", Path("/proc/self/maps").read_text()).groups()
    return [int(bound, 16) for bound in bounds]

{first}
block = torch.empty({mib}, 2**20, dtype=torch.uint8)
start, end = heap()
inside = start <= block.data_ptr() < end
del block
print(inside, heap()[1] >= end)
"""


def probe(first: str, mib: int) -> list[str]:
    """Whether a block of so many MiB was inside the heap, and whether that stayed."""
    code = PROBE.format(first=first, mib=mib)
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return run.stdout.split()


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told")
def test_freed_memory_stays_in_the_heap():
    assert probe("", 24)[0] == "False"
    assert probe("keep_some_freed_memory()", 24) == ["True", "True"]
    assert probe("keep_some_freed_memory()", 200)[0] == "False"
    assert probe("assert keep_freed_memory()", 200) == ["True", "True"]

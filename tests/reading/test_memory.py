"""A reader that was loaded holds its weights once."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from models import create_model
from models.checkpoint import save_checkpoint
from models.safetensors_file import save_safetensors
from reading import Reader

ROOT = Path(__file__).resolve().parents[2]
STATUS = Path("/proc/self/status")
MINI, WIDE = "mgp_str_mini_stem8x8_3_32_128", "char_str_base_patch4_3_32_128"
GROWTH = """
import json, sys, torch
from system.peak_memory import peak_memory_mib
from reading import Reader
torch.set_num_threads(1)
dtype, image, *files = sys.argv[1:]
peaks = []
for file in files:
    reader = Reader.load(file, "cpu", dtype=getattr(torch, dtype))
    reader(image)
    reader(image, attention=True)
    peaks.append(peak_memory_mib())
print(json.dumps(peaks[1] - peaks[0]))
"""


@pytest.mark.skipif(not Path("/proc/self/maps").is_file(), reason="this system tells no mappings")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_reader_leaves_the_file_that_it_was_loaded_from(dtype, tmp_path):
    file = tmp_path / "mapped.safetensors"
    torch.manual_seed(0)
    save_safetensors(file, create_model(MINI))
    reader = Reader.load(file, "cpu", dtype=dtype)
    assert file.name not in Path("/proc/self/maps").read_text(encoding="utf-8")
    assert reader(ROOT / "demo_imgs" / "night.jpg").text


@pytest.mark.skipif(
    "VmHWM:" not in (STATUS.read_text() if STATUS.is_file() else ""),
    reason="this system tells no peak of a process of its own",
)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_loading_and_reading_take_the_memory_of_the_weights(dtype, tmp_path):
    for name, depth in ((MINI, 1), (WIDE, 6)):
        torch.manual_seed(0)
        save_checkpoint(tmp_path / name, create_model(name, depth=depth, granularities=("char",)))
    files = [str(tmp_path / name) for name in (MINI, WIDE)]
    image = str(ROOT / "demo_imgs" / "night.jpg")
    done = subprocess.run(
        [sys.executable, "-c", GROWTH, dtype, image, *files],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    weights = (tmp_path / WIDE).stat().st_size / 2**20
    assert 0.75 * weights < json.loads(done.stdout) < 1.25 * weights

"""The process of `bench_read.py` that reads with a `Reader`; it imports no more than that needs."""

import sys
from pathlib import Path

# Scripts run from the root, but Python puts the script's own folder on the path.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from reading import Reader
from tools.support.bench_process import DTYPES
from tools.support.reading_rounds import serve_readings

if __name__ == "__main__":
    _, weights, dtype, batch, images, device, compiled = sys.argv[1:]
    fast = Path(weights).name == "fast"
    reader = Reader.load(
        weights, device, int(batch), DTYPES[dtype], fast, compiled=compiled == "True"
    )
    serve_readings(reader, int(batch), int(images), device)

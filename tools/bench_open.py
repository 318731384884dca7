"""How long a large LMDB takes to open, and how much memory: the first time, and ever after.

python3 tools/bench_open.py --records 10000000

Writes an LMDB with that many labels (and no images) to a temporary folder, and opens it as training
does, each time in a new process: the first one makes the index, the next ones read it.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

# Scripts run from the root, but Python puts the script's own folder on the path.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import lmdb

from console.argument_types import file_to_write, positive
from console.markdown_table import markdown
from console.progress import Progress, RunLog
from records.label_filter import LabelFilter
from records.lmdb_set import LmdbSet
from system.peak_memory import peak_memory_mib
from system.whole_file import write_text
from text import Charset

CHUNK = 100_000  # records in a transaction
LONG_EVERY = 10  # every so many labels one is too long: the index must hold what is left
LIMIT = 25


def write_labels(folder: Path, records: int, log: RunLog) -> None:
    """An LMDB of labels, most of which are kept."""
    folder.mkdir()
    progress = Progress(records, "write labels", log, unit="records")
    with lmdb.open(str(folder), map_size=200 * records + 2**24) as environment, closing(progress):
        for start in range(1, records + 1, CHUNK):
            numbers = range(start, min(start + CHUNK, records + 1))
            items = [(b"label-%09d" % n, _label(n)) for n in numbers]
            with environment.begin(write=True) as transaction:
                transaction.cursor().putmulti(items, append=True)
            progress.update(len(numbers))
        with environment.begin(write=True) as transaction:
            transaction.put(b"num-samples", b"%d" % records)


def _label(number: int) -> bytes:
    word = b"word%d" % number
    return word if number % LONG_EVERY else word * LIMIT


def open_once(folder: Path) -> dict[str, Any]:
    """Open the set in this process.

    Returns:
        seconds, the process's peak memory after it in MiB, how much of that the opening added, and
        the records kept.

    """
    before = peak_memory_mib()
    started = time.perf_counter()
    opened = LmdbSet(folder, LabelFilter(Charset.load("36"), LIMIT))
    seconds = time.perf_counter() - started
    after = peak_memory_mib()
    return {"seconds": seconds, "peak_mib": after, "added_mib": after - before, "kept": len(opened)}


def in_new_process(folder: Path) -> dict[str, Any]:
    """`open_once` in a process of its own."""
    command = [sys.executable, str(Path(__file__).resolve()), "--open", str(folder)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout)


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse, write, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--records", type=positive, default=10_000_000, help="default: 10000000")
    parser.add_argument("--rounds", type=positive, default=5, help="later openings (default: 5)")
    parser.add_argument("--json", type=file_to_write, help="file for the figures (default: none)")
    parser.add_argument("--open", type=Path, help=argparse.SUPPRESS)  # one process's part
    options = parser.parse_args(arguments)
    if options.open:
        print(json.dumps(open_once(options.open)))
        return
    log = RunLog()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "labels"
        write_labels(folder, options.records, log)
        first, *later = (in_new_process(folder) for _ in range(options.rounds + 1))
    again = {name: statistics.median(one[name] for one in later) for name in first}
    rows = [{"opening": "first", **first}, {"opening": "later", **again}]
    log(
        markdown(
            ["opening", "seconds", "peak MiB", "of which for it", "records kept"],
            [
                [
                    row["opening"],
                    f"{row['seconds']:.2f}",
                    f"{row['peak_mib']:,.0f}",
                    f"{row['added_mib']:,.0f}",
                    f"{row['kept']:,.0f}",
                ]
                for row in rows
            ],
        )
    )
    if options.json:
        write_text(options.json, json.dumps({"rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()

"""One LMDB in random parts."""

import math
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

from console.progress import Progress, RunLog
from lmdb_tools.record_choice import share_out
from lmdb_tools.usable_records import copy_records, find_usable, write_notes
from lmdb_tools.whole_folder import require_free, whole_folder
from records.lmdb_file import DataError
from records.lmdb_writer import LmdbWriter


def split(
    path: Path, parts: Mapping[str, float], seed: int, output: Path, jobs: int, log: RunLog
) -> str:
    """Write an LMDB for each part, each record into one of them; returns the closing report.

    Args:
        path: folder of the LMDB.
        parts: names and shares, which sum to 1.
        seed: of the draw.
        output: folder of the parts' folders; must not exist or be empty.
        jobs: processes that look at the records first.
        log: takes the lines of progress, where there is no terminal.

    Raises:
        DataError: shares that don't sum to 1, a part without records, an LMDB that can't be read.
        FileExistsError: the output is there already.

    """
    total = math.fsum(parts.values())
    if not math.isclose(total, 1, abs_tol=1e-9):
        raise DataError(
            f"The parts {', '.join(f'{name}={share:g}' for name, share in parts.items())} sum to "
            f"{total:g}, not to 1; give every record a part."
        )
    require_free(output)
    source = find_usable(path, jobs, log)
    numbers = dict(zip(parts, share_out(source.numbers, list(parts.values()), seed), strict=True))
    for name, part in numbers.items():
        if not len(part):
            raise DataError(
                f"No record is left for {name}={parts[name]:g}: {path} has {len(source):,} usable "
                "records. Give it a larger share."
            )
    lines = [f"{path}: {source.report}"]
    with (
        whole_folder(output) as partial,
        closing(Progress(len(source), "split", log, unit="records")) as progress,
    ):
        for name, part in numbers.items():
            with LmdbWriter(partial / name) as writer:
                write_notes(writer, [source])
                copy_records(source, part, writer, progress)
            lines.append(f"{output / name}: {len(part):,} records written")
    return "\n".join(lines)

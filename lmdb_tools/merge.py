"""Several LMDBs as one."""

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from console.progress import Progress, RunLog
from lmdb_tools.usable_records import copy_records, find_usable, write_notes
from lmdb_tools.whole_folder import require_free
from records.lmdb_writer import LmdbWriter


def merge(paths: Sequence[Path], output: Path, jobs: int, log: RunLog) -> str:
    """Write the records of all LMDBs, one LMDB after the other; returns the closing report.

    Args:
        paths: folders of the LMDBs.
        output: folder of the new one; must not exist or be empty.
        jobs: processes that look at the records first.
        log: takes the lines of progress, where there is no terminal.

    Raises:
        DataError: an LMDB can't be read, or nothing in it can be used.
        FileExistsError: the output is there already.

    """
    require_free(output)
    sources = [find_usable(path, jobs, log) for path in paths]
    total = sum(map(len, sources))
    with (
        LmdbWriter(output) as writer,
        closing(Progress(total, "merge", log, unit="records")) as progress,
    ):
        write_notes(writer, sources)
        for source in sources:
            copy_records(source, source.numbers, writer, progress)
    reports = [f"{path}: {one.report}" for path, one in zip(paths, sources, strict=True)]
    return "\n".join([*reports, f"{output}: {total:,} records written"])

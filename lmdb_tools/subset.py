"""A part of one LMDB."""

from contextlib import closing
from pathlib import Path

import numpy as np

from console.progress import Progress, RunLog
from lmdb_tools.record_choice import draw, read_list
from lmdb_tools.usable_records import UsableRecords, copy_records, find_usable, write_notes
from lmdb_tools.whole_folder import require_free
from records.label_filter import FilterReport, reason_lines
from records.lmdb_file import DataError
from records.lmdb_writer import LmdbWriter


def subset_by_list(path: Path, file: Path, output: Path, jobs: int, log: RunLog) -> str:
    """Write the records whose numbers a file lists, in the LMDB's order.

    Args:
        path: folder of the LMDB.
        file: has a record's number in each line, from 1.
        output: folder of the new LMDB; must not exist or be empty.
        jobs: processes that look at the records first.
        log: takes the lines of progress, where there is no terminal.

    Returns:
        The closing report.

    Raises:
        DataError: no such list, nothing in it, or an LMDB that can't be read.
        FileExistsError: the output is there already.

    """
    require_free(output)
    source = find_usable(path, jobs, log)
    lines = FilterReport()
    numbers = read_list(file, source.numbers, lines)
    bad = "\n".join(reason_lines(lines.dropped, lines.examples))
    if not len(numbers):
        raise DataError(f"{file} names no usable record of {path}:\n{bad}")
    report = _write(source, numbers, output, log)
    return f"{report}\n{file}: {sum(lines.dropped.values()):,} bad lines\n{bad}" if bad else report


def subset_by_count(path: Path, count: int, seed: int, output: Path, jobs: int, log: RunLog) -> str:
    """Write so many records, drawn at random; as `subset_by_list`.

    Raises:
        DataError: there are fewer, or the LMDB can't be read.
        FileExistsError: the output is there already.

    """
    require_free(output)
    source = find_usable(path, jobs, log)
    if count > len(source):
        raise DataError(
            f"--count {count:,}: {path} has only {len(source):,} usable records. {source.report}"
        )
    return _write(source, draw(source.numbers, count, seed), output, log)


def subset_by_fraction(
    path: Path, fraction: float, seed: int, output: Path, jobs: int, log: RunLog
) -> str:
    """Write a share of the records, in (0, 1], drawn at random; as `subset_by_list`.

    Raises:
        DataError: the LMDB can't be read.
        FileExistsError: the output is there already.

    """
    require_free(output)
    source = find_usable(path, jobs, log)
    count = max(1, round(fraction * len(source)))
    return _write(source, draw(source.numbers, count, seed), output, log)


def _write(source: UsableRecords, numbers: np.ndarray, output: Path, log: RunLog) -> str:
    with (
        LmdbWriter(output) as writer,
        closing(Progress(len(numbers), "subset", log, unit="records")) as progress,
    ):
        write_notes(writer, [source])
        copy_records(source, numbers, writer, progress)
    return f"{source.survey.path}: {source.report}\n{output}: {len(numbers):,} records written"

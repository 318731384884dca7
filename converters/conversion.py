"""From a source to an LMDB: in parallel, resumable, with a progress bar and a closing report."""

from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path

from console.progress import Progress, RunLog
from converters.image_files import NO_IMAGE
from converters.source import Dropped, Source, Word
from records.benchmarks import EXPECTED_IMAGES, TRAINING_IMAGES
from records.label_filter import keep_example, reason_lines
from records.lmdb_file import DataError
from records.lmdb_writer import LmdbWriter
from system.parallel import WorkerPool

NEARLY_ALL = 0.999  # broken images of a training set are left out


@dataclass
class ConversionReport:
    """What became of a source's words: counts by reason, with a few examples each.

    Attributes:
        written: records in the LMDB.
        with_boxes: those of them with character boxes.
        dropped: words that are not written, by reason.
        remarks: words that are written but lost something, by reason.
        examples: of every reason.

    """

    written: int = 0
    with_boxes: int = 0
    dropped: dict[str, int] = field(default_factory=dict)
    remarks: dict[str, int] = field(default_factory=dict)
    examples: dict[str, list[str]] = field(default_factory=dict)

    def count(self, outcome: Word | Dropped) -> None:
        """Count a word."""
        if isinstance(outcome, Dropped):
            self._count(self.dropped, outcome.reason, outcome.example)
            return
        self.written += 1
        self.with_boxes += outcome.boxes is not None
        if outcome.remark is not None:
            self._count(self.remarks, *outcome.remark)

    def _count(self, counts: dict[str, int], reason: str, example: str) -> None:
        counts[reason] = counts.get(reason, 0) + 1
        keep_example(self.examples, reason, example)

    def __str__(self) -> str:
        dropped = sum(self.dropped.values())
        lines = [
            f"{self.written + dropped:,} words read, {self.written:,} written "
            f"({self.with_boxes:,} with character boxes), {dropped:,} dropped",
            *reason_lines(self.dropped, self.examples),
        ]
        if self.remarks:
            lines += ["of those written:", *reason_lines(self.remarks, self.examples)]
        return "\n".join(lines)


def convert(source: Source, output: Path, jobs: int, log: RunLog) -> ConversionReport:
    """Write a source's words to an LMDB. Interrupted, the same call goes on where it was.

    Args:
        source: the source.
        output: folder of the LMDB; must not exist or be empty.
        jobs: processes.
        log: takes the lines of progress, where there is no terminal, and warnings.

    Raises:
        DataError: nothing was written.
        FileExistsError: the output is there already, or the beginning of another job.

    """
    report = ConversionReport()
    done = 0
    total = len(source)
    with LmdbWriter(output, job=source.job) as writer, WorkerPool(source.convert, jobs) as pool:
        if writer.progress is not None:
            done = writer.progress["tasks"]
            report = ConversionReport(**writer.progress["report"])
            log(f"{output}: going on after {done:,} of {total:,} tasks, {writer.count:,} words")
        progress = Progress(total, output.name, log, unit="tasks", done=done)
        with closing(progress):
            for outcomes in pool.map(source.tasks(done)):
                for outcome in outcomes:
                    report.count(outcome)
                    if isinstance(outcome, Word):
                        writer.write(outcome.image, outcome.label, outcome.boxes)
                done += 1
                progress.update(1, words=f"{report.written:,}")
                if writer.wants_checkpoint:
                    writer.checkpoint({"tasks": done, "report": asdict(report)})
        if not writer.count:
            lost = NO_IMAGE in report.dropped
            cure = (
                "\nAre the images elsewhere? Their paths start at the input folder." if lost else ""
            )
            raise DataError(f"No word was written to {output}: {report}{cure}")
    _say_what_is_missing(output, report.written, log)
    return report


def _say_what_is_missing(output: Path, written: int, log: RunLog) -> None:
    name = output.name
    expected = EXPECTED_IMAGES.get(name)
    # A benchmark's own training words lie in a folder of its name, too.
    if expected not in (None, written) and "training" not in output.parts:
        log(
            f"warning: {name} should have {expected:,} images, and has {written:,}: figures on it "
            "can't be compared with others'"
        )
    whole = TRAINING_IMAGES.get(name, 0)
    if written < NEARLY_ALL * whole:
        log(f"warning: {name} has {written:,} of some {whole:,} images: is the download whole?")

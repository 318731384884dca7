"""Word accuracy of a recognizer on a set, by granularity and fused, over all ranks."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import lmdb
import torch
from torch import nn

from console.progress import RunLog
from dataset import Batch, EvaluationDataset, ImageFormat, RecordSet, evaluation_loader
from engine.distributed import Process
from loading.loader_processes import start_loading
from models import Outputs
from records.lmdb_file import DataError
from system.error_cause import cause_of
from text import CHARSET_PRESETS, Charset, Codec, fuse


@dataclass(frozen=True)
class ReadWord:
    """One word of a test set, as compared: in the characters that count, else removed.

    Attributes:
        source: name of the set that it is from.
        record: its number there.
        truth: what should be read.
        texts: what was read, by granularity and fused.
        confidences: in [0, 1], likewise.
        granularity: the one that the fused reading is of.
        beyond_limit: the truth has more characters than the model can read, and counts as misread.

    """

    source: str
    record: int
    truth: str
    texts: dict[str, str]
    confidences: dict[str, float]
    granularity: str
    beyond_limit: bool = False

    def right(self, column: str) -> bool:
        """Whether a granularity, or fused, read it right."""
        return not self.beyond_limit and self.texts[column] == self.truth


@dataclass(frozen=True)
class SetScore:
    """Counts of one set.

    Attributes:
        name: of the set.
        images: read and compared.
        correct: words right, by granularity and fused.
        unreadable: number of records left out, on all ranks, as their image can't be decoded.
        unreadable_lines: why, a line for each: of this rank's or, where words are kept, of all
            ranks' on the first.
        seconds: wall time.
        model_seconds: time in the model alone (all ranks together).
        stand_in: what the LMDB says of itself where it is rendered sample data.
        beyond_limit: images whose label is longer than the model can read; each is an error.
        words: every image compared, in the order of its set; where they were asked for, and on the
            first rank only.

    """

    name: str
    images: int
    correct: dict[str, int]
    unreadable: int = 0
    unreadable_lines: tuple[str, ...] = ()
    seconds: float = 0.0
    model_seconds: float = 0.0
    stand_in: dict | None = field(default=None, compare=False)
    beyond_limit: int = 0
    words: tuple[ReadWord, ...] = field(default=(), repr=False)

    def accuracy(self, column: str) -> float:
        """Percent of the images read right."""
        return 100.0 * self.correct[column] / max(self.images, 1)

    @property
    def model_seconds_an_image(self) -> float:
        """Time in the model, without data and decoding."""
        return self.model_seconds / max(self.images, 1)


def merge_scores(name: str, scores: Sequence[SetScore]) -> SetScore:
    """Several sets counted as one."""
    if len(scores) == 1:
        return scores[0]
    return SetScore(
        name,
        sum(s.images for s in scores),
        {c: sum(s.correct[c] for s in scores) for c in scores[0].correct},
        sum(s.unreadable for s in scores),
        tuple(line for s in scores for line in s.unreadable_lines),
        sum(s.seconds for s in scores),
        sum(s.model_seconds for s in scores),
        next((s.stand_in for s in scores if s.stand_in is not None), None),
        sum(s.beyond_limit for s in scores),
        tuple(word for s in scores for word in s.words),
    )


def readable(scores: Sequence[SetScore], log: RunLog) -> list[SetScore]:
    """Scores of sets of which an image could be read; those of the others are no zeros."""
    for score in scores:
        if not score.images:
            reason = next(iter(score.unreadable_lines), "on another rank")
            log(f"warning: {score.name} is left out: none of its images could be read ({reason})")
    return [score for score in scores if score.images]


# What the presets mean, where they are scored in.
_RULES = {
    "36": "case-insensitive: letters in lower case, ",
    "62": "case counts, ",
    "94": "case and punctuation count, ",
}


def columns(codecs: Mapping[str, Codec]) -> list[str]:
    """Granularities of a model, and fused."""
    return [*codecs, "fused"]


def scoring_charset(charset: Charset, protocol: str | None = None) -> Charset:
    """Charset that words are compared in.

    Args:
        charset: of the model.
        protocol: 36, 62 or 94. None for the field's own way: Latin words are compared without case
            and punctuation, whatever a model was trained with; a charset of the user's own is
            compared as it is.

    """
    if protocol is None and charset.name not in CHARSET_PRESETS:
        return charset
    return Charset(CHARSET_PRESETS[protocol or "36"])


def protocol_line(charset: Charset, scored: Charset | None = None) -> str:
    """One line that says how words are compared.

    Args:
        charset: of the model.
        scored: what words are compared in; None for the field's own way.

    """
    scored = scored or scoring_charset(charset)
    rule = _RULES.get(scored.name, "" if scored.cased else "letters in lower case, ")
    return (
        f"protocol: trained on charset {charset.name}, scored on {scored.name} ({rule}characters "
        "outside it removed from truth and reading)"
    )


class EvaluationStoppedError(RuntimeError):
    """Scoring was asked to stop, on this rank or another."""


@dataclass
class _Tally:
    """What a rank counts while it reads its share of a set.

    Attributes:
        right: words right, by granularity and fused.
        images, unreadable, beyond_limit, model_seconds: as a `SetScore` has them.
        failed, stopped: 1 where the share was not read to its end.
        failure: why; known to the rank itself.
        unreadable_lines, words: of this rank.

    """

    right: dict[str, int]
    images: int = 0
    unreadable: int = 0
    beyond_limit: int = 0
    failed: int = 0
    stopped: int = 0
    model_seconds: float = 0.0
    failure: Exception | None = None
    unreadable_lines: list[str] = field(default_factory=list)
    words: list[ReadWord] = field(default_factory=list)

    def add(self, words: Sequence[ReadWord], keep: bool) -> None:
        """Count words that were read, and keep them where they are asked for."""
        self.images += len(words)
        self.beyond_limit += sum(word.beyond_limit for word in words)
        for column in self.right:
            self.right[column] += sum(word.right(column) for word in words)
        if keep:
            self.words += words

    def fail(self, error: Exception) -> None:
        """Note why the share can't be read to its end."""
        self.failed, self.failure = 1, error

    def of_all_ranks(self, process: Process) -> "_Tally":
        """The numbers summed over the ranks, the same on each."""
        counts = ("images", "unreadable", "beyond_limit", "failed", "stopped")
        own = [*self.right.values(), *(getattr(self, name) for name in counts), self.model_seconds]
        totals = torch.tensor(own, dtype=torch.float64, device=process.device)
        *summed, seconds = process.total(totals).tolist()
        numbers = list(map(int, summed))
        right = dict(zip(self.right, numbers, strict=False))
        rest = dict(zip(counts, numbers[len(right) :], strict=True))
        return _Tally(right, **rest, model_seconds=seconds)


class Evaluator:
    """Scores a model on sets.

    Args:
        model: a recognizer, not wrapped; put into evaluation mode.
        codecs: its label codecs.
        image_format: of its input.
        process: its device, and the rank whose share of a set is read here.
        batch_size, workers: of the loader.
        scored: what words are compared in; None for the field's own way (see `scoring_charset`).
        keep_words: keep every word that was read, in the scores of the first rank.

    """

    def __init__(
        self,
        model: nn.Module,
        codecs: Mapping[str, Codec],
        image_format: ImageFormat,
        process: Process,
        batch_size: int,
        workers: int,
        scored: Charset | None = None,
        keep_words: bool = False,
    ):
        self.model, self.codecs, self.process = model, codecs, process
        self.image_format = image_format
        self.batch_size, self.workers = batch_size, workers
        self.scored = scored or scoring_charset(codecs["char"].charset)
        self.keep_words = keep_words
        self._limit = codecs["char"].positions - 2  # without start and stop

    def __call__(
        self,
        name: str,
        records: RecordSet,
        on_images: Callable[[int], None] = lambda _: None,
        stops: Callable[[], bool] = lambda: False,
    ) -> SetScore:
        """Score one set; every rank reads its share, and all get the same counts.

        A label longer than the model can read is compared as any other, and is always an error.

        Args:
            name: of the set, for the score.
            records: its records.
            on_images: told the number of images after each batch.
            stops: asked after each batch whether to leave it at that.

        Raises:
            DataError: the set can't be read, or the memory does not hold a batch, on this rank or
                another; raised on all.
            EvaluationStoppedError: `stops` said so, on this rank or another; raised on all.

        """
        started = time.monotonic()
        own = self._read_share(name, records, on_images, stops)
        total = own.of_all_ranks(self.process)
        if total.failed:
            reason = cause_of(own.failure) if own.failure else "on another rank"
            raise DataError(f"{records.path} can't be scored: {reason}")
        if total.stopped:
            raise EvaluationStoppedError(f"{name} was not scored to its end")
        words, lines = own.words, own.unreadable_lines
        if self.keep_words:
            words = sorted(self.process.gathered(words), key=lambda word: word.record)
            lines = self.process.gathered(lines)
        return SetScore(
            name,
            total.images,
            total.right,
            total.unreadable,
            tuple(lines),
            time.monotonic() - started,
            total.model_seconds,
            records.stand_in,
            total.beyond_limit,
            tuple(words),
        )

    def _read_share(
        self,
        name: str,
        records: RecordSet,
        on_images: Callable[[int], None],
        stops: Callable[[], bool],
    ) -> _Tally:
        """What this rank counts in its share of a set, up to its end or where it fails or stops.

        Neither loading nor a lack of memory raises anything: the other ranks would wait for this
        one's counts forever.
        """
        self.model.eval()
        tally = _Tally(dict.fromkeys(columns(self.codecs), 0))
        share = records.numbers[self.process.rank :: self.process.world_size]
        if not len(share):
            return tally
        dataset = EvaluationDataset(records, self.image_format, share)
        on_gpu = self.process.device.type == "cuda"
        loader = evaluation_loader(dataset, self.batch_size, self.workers, on_gpu)
        for batch in _until_failure(loader, tally):
            if stops():
                tally.stopped = 1
                break
            tally.unreadable += len(batch.passed_over)
            tally.unreadable_lines += batch.passed_over
            if batch.texts:
                try:
                    outputs, seconds = self._run(batch)
                    read = list(self._words(name, outputs, batch))
                except torch.OutOfMemoryError as error:
                    tally.fail(self._too_large(batch, error))
                    break
                tally.model_seconds += seconds
                tally.add(read, self.keep_words)
            on_images(len(batch.texts) + len(batch.passed_over))
        return tally

    def _run(self, batch: Batch) -> tuple[Outputs, float]:
        images = to_device(batch.images, self.process.device)
        started = time.monotonic()
        with torch.inference_mode():
            outputs = self.model(images)
        if images.is_cuda:
            torch.cuda.synchronize()
        return outputs, time.monotonic() - started

    def _too_large(self, batch: Batch, error: torch.OutOfMemoryError) -> DataError:
        return DataError(
            f"the memory of {self.process.device} does not hold {len(batch.texts)} images "
            f"({cause_of(error)}); use a smaller --batch_size"
        )

    def _words(self, source: str, outputs: Outputs, batch: Batch) -> Iterator[ReadWord]:
        ids, probabilities = outputs.greedy()
        readings = fuse(
            self.codecs,
            {n: i.cpu().numpy() for n, i in ids.items()},
            {n: p.cpu().numpy() for n, p in probabilities.items()},
        )
        for truth, reading, record in zip(batch.texts, readings, batch.records, strict=True):
            truth = self.scored.normalize(truth).text
            read = {**reading.by_granularity, "fused": reading}
            yield ReadWord(
                source,
                record[1],
                truth,
                {name: self.scored.normalize(own.text).text for name, own in read.items()},
                {name: own.confidence for name, own in read.items()},
                reading.granularity,
                beyond_limit=len(truth) > self._limit,
            )


def _until_failure(loader: Iterable[Batch], tally: _Tally) -> Iterator[Batch]:
    """The batches, up to where loading fails (a disk that is gone, a worker that died)."""
    batches = start_loading(loader)
    while True:
        try:
            batch = next(batches)
        except StopIteration:
            return
        except (OSError, EOFError, RuntimeError, MemoryError, lmdb.Error) as error:
            tally.fail(error)
            return
        yield batch


def to_device(images: torch.Tensor, device: torch.device) -> torch.Tensor:
    """uint8 [B, C, H, W] -> float32 in [0, 1] on the device."""
    return images.to(device, non_blocking=True).to(torch.float32) / 255

"""The data of a run: what is trained on, and what is scored."""

from argparse import Namespace
from collections.abc import Sequence
from dataclasses import dataclass

from console.progress import RunLog
from engine.distributed import Process
from engine.evaluation import scoring_charset
from engine.option_error import OptionError
from engine.stream_options import stream_settings
from loading.sources import (
    SYNTHETIC,
    RenderedSource,
    Selection,
    Source,
    batch_counts,
    open_sources,
)
from models import ModelConfig
from records.label_filter import LabelFilter
from records.lmdb_set import LmdbSet, open_evaluation_sets
from synthetic import StreamSettings
from text import Charset


@dataclass(frozen=True)
class RunData:
    """What a run learns from and is scored on.

    Attributes:
        sources: to train on.
        counts: images of each source in a process's batch.
        boxes: whether character boxes are read.
        scored: what words are compared in.
        validation: sets that the best weights are chosen on, by name.
        evaluation: sets that are scored with the best weights and at the end, by name.

    """

    sources: Sequence[Source | RenderedSource]
    counts: Sequence[int]
    boxes: bool
    scored: Charset
    validation: dict[str, LmdbSet]
    evaluation: dict[str, LmdbSet]


def open_data(options: Namespace, config: ModelConfig, process: Process) -> RunData:
    """Open what the options name.

    Sets are scored by the same words as test_final.py's: what the model can't read is misread.

    Raises:
        OptionError: options that exclude each other.
        DataError: no such data, or they can't be read.

    """
    selection = select_data(options)
    counts = batch_counts(options.batch_size, selection.ratios())
    charset = Charset(config.characters)
    scored = scoring_charset(charset, options.protocol)
    filtering = not options.data_filtering_off
    trainable = LabelFilter(charset, config.max_length, filtering)
    compared = LabelFilter(scored, None, filtering, trainable=False)
    log = RunLog(enabled=process.local_rank == 0)
    with process.first_of_machine_first():
        sources = open_sources(selection, trainable, log)
        validation = open_evaluation_sets(options.valid_data, compared, log=log)
        evaluation = {}
        if options.eval_data:
            evaluation = open_evaluation_sets(options.eval_data, compared, log=log)
    return RunData(sources, counts, selection.boxes, scored, validation, evaluation)


def select_data(options: Namespace) -> Selection:
    """What to train on.

    Raises:
        OptionError: options for rendered words, and none are selected; those for LMDBs, likewise.

    """
    selection = Selection(
        options.train_data,
        options.select_data,
        options.batch_ratio,
        options.total_data_usage_ratio,
        options.is_mask_supervision or options.guidance_weight > 0,
        stream_settings(options, "synthetic_"),
        options.manualSeed,
    )
    if SYNTHETIC not in selection.names and selection.stream != StreamSettings():
        raise OptionError(
            f"--synthetic_… options are for rendered words: add {SYNTHETIC} to --select_data."
        )
    if set(selection.names) == {SYNTHETIC} and selection.usage_ratio < 1:
        raise OptionError("--total_data_usage_ratio is of LMDBs; --select_data names none.")
    return selection

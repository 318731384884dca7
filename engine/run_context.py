"""What the parts of a run share: its ranks, its folder, and where they say what they do."""

from dataclasses import dataclass

from console.progress import RunLog
from engine.distributed import Process
from engine.metrics import Metrics
from engine.run_folder import RunFolder


@dataclass(frozen=True)
class RunContext:
    """Of one process of a run.

    Attributes:
        process: rank and device.
        folder: of the run; used by the first rank only.
        log: says what happens.
        metrics: the first rank's; None on others, and in a dry run.

    """

    process: Process
    folder: RunFolder
    log: RunLog
    metrics: Metrics | None = None

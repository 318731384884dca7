"""The check of a tree of LMDBs: each of them, and what they share."""

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from console.progress import Progress, RunLog
from lmdb_tools.crash_proof_pool import CrashProofPool
from lmdb_tools.findings import Findings, all_of
from lmdb_tools.lmdb_check import CheckedLmdb, check_lmdb, survey_for_check
from lmdb_tools.record_check import Rules
from lmdb_tools.repeated_images import RepeatedImages


@dataclass
class CheckedTree:
    """What was found.

    Attributes:
        lmdbs: each of them.
        leaks: (training LMDB, evaluation LMDB, images in both), the most first.
        rules: that were checked against.

    """

    lmdbs: list[CheckedLmdb]
    leaks: list[tuple[str, str, int]]
    rules: Rules

    @property
    def findings(self) -> Findings:
        """Of all LMDBs."""
        return all_of(one.findings for one in self.lmdbs)

    @property
    def passed(self) -> bool:
        """Whether there are no errors."""
        return not any(one.findings.errors for one in self.lmdbs)


def check_tree(
    purposes: Mapping[Path, str | None], rules: Rules, jobs: int, log: RunLog
) -> CheckedTree:
    """Check LMDBs; whatever is wrong with them is a finding, not an exception.

    Args:
        purposes: TRAINING, EVALUATION or None for the folder of each.
        rules: to check against.
        jobs: processes.
        log: takes the lines of progress, where there is no terminal.

    """
    with CrashProofPool(jobs) as pool:
        lmdbs = [survey_for_check(path, purpose, pool) for path, purpose in purposes.items()]
        readable = [one for one in lmdbs if one.survey is not None]
        total = sum(len(one.survey.numbers) for one in readable)
        with closing(Progress(total, "check", log, unit="records")) as progress:
            for one in readable:
                check_lmdb(one, rules, pool, progress.update)
    return CheckedTree(lmdbs, RepeatedImages(lmdbs).report(), rules)

"""All that a test found, for every form that it is written in."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from engine.evaluation import SetScore
from scoring.comparison import Comparison
from scoring.evaluation_sets import Contents
from scoring.gallery import Gallery
from scoring.summary import Summary


@dataclass(frozen=True)
class Findings:
    """All that was found.

    Attributes:
        summaries: of the checkpoints that are told of in full.
        contents: of the sets.
        comparisons: of two checkpoints; empty for none.
        scores_by_path: of all checkpoints.
        galleries: misread words of the summaries' checkpoints, where they were asked for.
        device: that the models ran on.
        not_scored: what kept checkpoints of a folder from being scored.

    """

    summaries: Sequence[Summary]
    contents: Sequence[Contents]
    comparisons: Sequence[Comparison]
    scores_by_path: Mapping[str, Sequence[SetScore]]
    galleries: Sequence[Gallery]
    device: str
    not_scored: Sequence[str] = ()

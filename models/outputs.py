"""What a recognizer returns in evaluation mode."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

from models.config import ModelConfig
from modules.core_area import core_area_values
from modules.greedy import most_probable_of
from modules.vit import Encoding

GRANULARITIES = ("char", "bpe", "wp")


@dataclass(frozen=True)
class Outputs:
    """Logits, attention and core areas of a batch; None where a model has no such head.

    Attributes:
        char, bpe, wp: logits [B, T, classes] of all positions.
        attention: by granularity, how much each position takes of each token, [B, T, 1 + N], class
            token first, rows sum to 1: the A3 attention, or the ATD's weights (absolute values, the
            same for every image).
        core_area: predicted core-area map [B, 1, H, W], about 0 outside core areas and 1 inside.
        guided_attention: CAFM's re-weighting of the tokens, [B, 1 + N, 1 + N], values in (0, 1).

    """

    char: Tensor | None = None
    bpe: Tensor | None = None
    wp: Tensor | None = None
    attention: dict[str, Tensor] = field(default_factory=dict)
    core_area: Tensor | None = None
    guided_attention: Tensor | None = None

    @classmethod
    def of(
        cls,
        config: ModelConfig,
        encoding: Encoding,
        logits: Mapping[str, Tensor],
        attention: dict[str, Tensor],
    ) -> "Outputs":
        """Outputs of an encoding and what the decoders made of it."""
        core_area = encoding.core_area
        if core_area is not None:
            core_area = core_area_values(core_area, config.core_area_form)
        return cls(
            **logits,
            attention=attention,
            core_area=core_area,
            guided_attention=encoding.guided_attention,
        )

    def logits(self) -> dict[str, Tensor]:
        """The logits that are there, by granularity, char first."""
        by_name = {name: getattr(self, name) for name in GRANULARITIES}
        return {name: logits for name, logits in by_name.items() if logits is not None}

    def greedy(self) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Arg-max ids and their softmax probabilities, by granularity, each [B, T]."""
        ids, probabilities = {}, {}
        for name, logits in self.logits().items():
            ids[name], probabilities[name] = most_probable_of(logits)
        return ids, probabilities

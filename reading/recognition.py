"""What reads a batch of pixels, whichever library computes it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from models.config import ModelConfig


@dataclass(frozen=True)
class Recognized:
    """What a recognizer sees in a batch.

    Attributes:
        ids: arg-max ids, int64 [B, T], by granularity. Position 0, and what comes after a row's
            first stop, is left open.
        probabilities: theirs, float32 [B, T], by granularity.
        attention: of each position on the patches, float32 [B, T, rows, columns], by granularity;
            only on request, as the others below.
        core_area: float32 [B, H, W]; None for a model that draws none.
        guided_attention: float32 [B, rows, columns]; None for a model without CAFM. See `Reading`.

    """

    ids: Mapping[str, np.ndarray]
    probabilities: Mapping[str, np.ndarray]
    attention: Mapping[str, np.ndarray] = field(default_factory=dict)
    core_area: np.ndarray | None = None
    guided_attention: np.ndarray | None = None


class Recognition(Protocol):
    """A recognizer ready to read.

    Attributes:
        config: says how images are prepared for it, and what its ids mean.
        has_maps: whether it can say where it looked.

    """

    config: ModelConfig
    has_maps: bool

    def read(self, pixels: np.ndarray, maps: bool) -> Recognized:
        """Read pixels uint8 [B, C, H, W]; with `maps`, also say where the model looked."""

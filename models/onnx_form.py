"""What an exported ONNX file calls things; known without torch.

The graph takes `images`, uint8 [B, C, H, W], resized as `loading.preprocessing` does, RGB, not
normalised. For each granularity (char, bpe, wp) that the model has, it gives

- `<granularity>_ids`, int64 [B, T]: the most probable id of each position; position 0 is start,
  and never read, and the word ends before the first stop id;
- `<granularity>_probabilities`, float32 [B, T]: theirs, in [0, 1];
- `<granularity>_confidence`, float32 [B]: their product up to and including stop, over
  all positions where there is no stop.

`granularity`, int64 [B], is the number of the one whose reading wins, in the order of the
metadata's `granularities`: the fused reading, see `text.fuse`.
"""

FORM = "onnx 1"
SUFFIX = ".onnx"
INPUT = "images"
WINNER = "granularity"


def ids_name(granularity: str) -> str:
    """Output of a granularity's ids."""
    return f"{granularity}_ids"


def probabilities_name(granularity: str) -> str:
    """Output of a granularity's probabilities."""
    return f"{granularity}_probabilities"


def confidence_name(granularity: str) -> str:
    """Output of a granularity's confidence."""
    return f"{granularity}_confidence"

"""Arg-max ids and their probabilities, for reading: no table of all logits, nothing after stop."""

import math
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modules.packed_linear import PackedClasses

# Logits at a time. On a CPU 1 MiB in fp32: maximum and sum find them in its cache.
CPU_LOGITS = 2**18
CUDA_LOGITS = 2**26
# Of packed classes, whose parts have their size: it is the vectors that are then fewer.
PACKED_LOGITS = 2**21
# Positions of all rows that are read first. Most words stop within them.
POSITIONS = 4
LOG2_E = math.log2(math.e)


def read_until_stop(
    features: Tensor, head: nn.Linear | PackedClasses, stop_id: int
) -> tuple[Tensor, Tensor]:
    """Greedy reading of a head, each row up to its stop.

    Some positions at a time, and further ones only of rows that have not stopped: the fewer they
    are, the more positions, as every time reads all the weights.

    Args:
        features: [B, T, D].
        head: linear layer D -> classes, with a bias, or one that is packed.
        stop_id: ends a row.

    Returns:
        Arg-max ids, int64 [B, T], and their softmax probabilities, float32 or wider [B, T]. Where
        nothing is read, at position 0 (start) and some time after stop, they are `stop_id` and 1.

    """
    batch, positions, _ = features.shape
    ids = torch.full((batch, positions), stop_id, device=features.device)
    wide = torch.promote_types(features.dtype, torch.float32)
    probabilities = torch.ones(batch, positions, dtype=wide, device=features.device)
    rows = torch.arange(batch, device=features.device)
    first = 1
    while first < positions and len(rows):
        end = first + POSITIONS * batch // len(rows)
        part = features[rows, first:end]
        found, own = most_probable(part.flatten(0, 1), head)
        found = found.view(part.shape[:2])
        ids[rows, first:end] = found
        probabilities[rows, first:end] = own.view(part.shape[:2])
        rows = rows[(found != stop_id).all(dim=1)]
        first = end
    return ids, probabilities


def most_probable(features: Tensor, head: nn.Linear | PackedClasses) -> tuple[Tensor, Tensor]:
    """Arg-max ids [P] of `head(features)` and their softmax probabilities, of features [P, D].

    Logits are made for some classes at a time; of packed ones, for some vectors, too.
    """
    if isinstance(head, PackedClasses):
        classes, parts = head.at_once, head.parts
        vectors = max(1, PACKED_LOGITS // classes)
        if len(features) > vectors:
            found = [most_probable(some, head) for some in features.split(vectors)]
            ids, probabilities = zip(*found, strict=True)
            return torch.cat(ids), torch.cat(probabilities)
    else:
        at_once = CUDA_LOGITS if features.is_cuda else CPU_LOGITS
        classes = max(1, at_once // max(1, len(features)))
        weights = zip(head.weight.split(classes), head.bias.split(classes), strict=True)
        parts = [partial(F.linear, weight=weight, bias=bias) for weight, bias in weights]
    maxima, sums = [], []
    for part in parts:
        logits = part(features)
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        maximum = logits.amax(dim=-1)
        if not maxima:
            largest, best, chunk = maximum, logits, torch.zeros_like(maximum, dtype=int)
        else:
            # A maximum's place costs as much as all the rest: only the largest's is looked for.
            (rows,) = torch.nonzero(maximum > largest, as_tuple=True)
            best[rows] = -torch.inf  # the last chunk is narrower
            best[rows, : logits.shape[1]] = logits[rows]
            largest, chunk[rows] = torch.maximum(largest, maximum), len(maxima)
        maxima.append(maximum)
        sums.append(_exponential_sums(logits, maximum))
    log_sums = torch.stack(maxima, dim=-1) + torch.stack(sums, dim=-1).log()
    ids = chunk * classes + best.argmax(dim=-1)
    # Rounded, a sum may be less than its largest part.
    return ids, torch.exp((largest - log_sums.logsumexp(dim=-1)).clamp_max_(0))


def _exponential_sums(logits: Tensor, maxima: Tensor) -> Tensor:
    """Sums of exp(logits - maxima), [P, classes] -> [P].

    By powers of two, which take a quarter of the time that exp takes on a CPU.
    """
    exponents = torch.add((-LOG2_E * maxima)[:, None], logits, alpha=LOG2_E)
    return exponents.exp2_().sum(dim=-1)


def most_probable_of(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Arg-max ids [...] of logits [..., classes], and their softmax probabilities.

    No table of probabilities is made: the largest is exp(max - log-sum-exp).
    """
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    largest, ids = logits.max(dim=-1)
    return ids, torch.exp(largest - logits.logsumexp(dim=-1))

"""A recognizer as an ONNX file, which reads without torch; see `models.onnx_form`."""

import json
import warnings
from collections.abc import Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.codecs import config_codecs
from models.config import ModelConfig
from models.metadata import to_metadata
from models.onnx_form import (
    FORM,
    INPUT,
    WINNER,
    confidence_name,
    ids_name,
    probabilities_name,
)
from system.error_cause import cause_of
from text import Codec

OPSET = 18  # the oldest with all that is needed: any onnxruntime since 1.14 reads it
LARGEST = 2**31 - 2**20  # of a protobuf message
CHUNK = 256


def log_sum_exp(logits: Tensor) -> Tensor:
    """Log of the sum of exponentials over the last axis, [..., classes] -> [...].

    By chunks, then over them: onnxruntime adds one by one, and where one class has nearly all, what
    50,000 others come to would be lost in rounding (as much as 0.003 of a probability).
    """
    missing = -logits.shape[-1] % CHUNK
    chunks = F.pad(logits, (0, missing), value=float("-inf")).unflatten(-1, (-1, CHUNK))
    return chunks.logsumexp(dim=-1).logsumexp(dim=-1)


class GreedyReading(nn.Module):
    """Pixels to the outputs of `models.onnx_form`.

    Args:
        model: a recognizer in evaluation mode.
        codecs: its codecs, by granularity.

    """

    def __init__(self, model: nn.Module, codecs: Mapping[str, Codec]):
        super().__init__()
        self.model = model
        self._stop_ids = {name: codec.stop_id for name, codec in codecs.items()}
        fusible = [number for number, codec in enumerate(codecs.values()) if codec.fusible]
        self.register_buffer("_candidates", torch.tensor(fusible or list(range(len(codecs)))))

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Pixels uint8 [B, C, H, W] -> ids, probabilities, confidence by granularity, winner."""
        logits = self.model(images.float() / 255).logits()
        results, logarithms, stops = [], [], []
        for name, stop_id in self._stop_ids.items():
            largest, ids = logits[name].max(dim=-1)
            logarithm = largest - log_sum_exp(logits[name])
            is_stop = ids[:, 1:] == stop_id
            seen = is_stop.long().cumsum(1)
            used = (seen == 0) | (is_stop & (seen == 1))
            # A product of many small probabilities would vanish. NaN has no confidence.
            factors = logarithm[:, 1:]
            factors = torch.where(factors.isnan(), float("-inf"), factors)
            logarithms.append(torch.where(used, factors, 0.0).sum(1))
            stops.append(is_stop.any(1))
            results += [ids, logarithm.exp(), logarithms[-1].exp()]
        return *results, self._winner(torch.stack(logarithms, 1), torch.stack(stops, 1))

    def _winner(self, logarithms: Tensor, stopped: Tensor) -> Tensor:
        """The most confident of those that stopped; of all, where none did. Each is [B, G]."""
        logarithms, stopped = logarithms[:, self._candidates], stopped[:, self._candidates]
        behind = ~stopped & stopped.any(1, keepdim=True)
        # Below every logarithm of float32 probabilities' products, and of none at all.
        order = torch.where(behind, float("-inf"), logarithms.clamp_min(-1e30))
        return self._candidates[order.argmax(1)]


def export_onnx(model: nn.Module, path: Path) -> None:
    """Write an ONNX file of a recognizer on the CPU, for any number of images at once.

    Args:
        model: in evaluation mode; not changed.
        path: the file.

    Raises:
        ValueError: a model that is too large for one ONNX file, or a PyTorch that can't trace it.

    """
    config: ModelConfig = model.config
    size = sum(p.numel() * p.element_size() for p in model.parameters())
    if size > LARGEST:
        raise ValueError(
            f"One ONNX file can't hold the {size / 2**30:.1f} GiB of {config.name}; 2 GiB is the "
            "format's limit."
        )
    codecs = config_codecs(config)
    names = [
        name(granularity)
        for granularity in codecs
        for name in (ids_name, probabilities_name, confidence_name)
    ]
    pixels = torch.zeros(
        2, config.channels, config.image_height, config.image_width, dtype=torch.uint8
    )
    # By tracing with torch.export, not by the older TorchScript: only it is still developed, and
    # it proves that no other size than the batch's is free, and that the batch's is.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            program = torch.onnx.export(
                GreedyReading(model, codecs).eval(),
                (pixels,),
                dynamo=True,
                verbose=False,
                opset_version=OPSET,
                input_names=[INPUT],
                output_names=[*names, WINNER],
                dynamic_shapes=({0: torch.export.Dim("batch")},),
            )
        except Exception as error:  # of many kinds, as tracing may fail anywhere
            raise ValueError(
                f"PyTorch {torch.__version__} can't trace {config.name} for ONNX "
                f"({cause_of(error)}); 2.11 is the oldest that was seen to."
            ) from error
    program.model.metadata_props.update(_metadata(config))
    program.save(path, external_data=False)


def _metadata(config: ModelConfig) -> dict[str, str]:
    """What `Reader` needs, and in plain entries what other programs need to decode."""
    codecs = config_codecs(config)
    return {
        **to_metadata(config, FORM),
        # Ids 0 and 1 are start and stop.
        "charset": config.characters,
        "granularities": ",".join(codecs),
        "stop_ids": ",".join(str(codec.stop_id) for codec in codecs.values()),
        "image_height": str(config.image_height),
        "image_width": str(config.image_width),
        "channels": str(config.channels),
        "keep_ratio": json.dumps(config.keep_ratio),
        "max_length": str(config.max_length),
    }

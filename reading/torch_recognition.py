"""Recognizers computed by torch: every form of weights but ONNX."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from models.outputs import Outputs
from models.reading_path import ReadingPath, reading_path
from reading.recognition import Recognized
from system.forked_threads import one_thread_in_forks
from system.no_gpu import why_no_gpu


class TorchRecognition:
    """A model on a device.

    Args:
        model: a recognizer.
        stop_ids: by granularity.
        device: cuda or cpu; None takes a GPU where there is one.
        dtype: float32, or bfloat16 for speed; None for float32.
        fast: read by the fast path, which reads as the model does up to rounding (see
            `models.reading_path`).
        compiled: compile the fast path with torch.compile, at the first images.

    Raises:
        ValueError: another device or type, a GPU where torch sees none, or a plain path to be
            compiled.

    Attributes:
        model: read with as its weights are at the time; None once it was used up.

    """

    has_maps = True

    def __init__(
        self,
        model: nn.Module,
        stop_ids: Mapping[str, int],
        device: str | None = None,
        dtype: torch.dtype | None = None,
        fast: bool = True,
        compiled: bool = False,
    ):
        if compiled and not fast:
            raise ValueError("only the fast path can be compiled; leave out fast=False.")
        one_thread_in_forks()
        kind = "cpu" if device is None else str(device).split(":")[0]
        if kind not in ("cuda", "cpu"):
            raise ValueError(f"device must be cuda or cpu, not {device}.")
        if kind == "cuda" and not torch.cuda.is_available():
            raise ValueError(f"{device} can't be used: {why_no_gpu()}; or take cpu.")
        if dtype not in (None, torch.float32, torch.bfloat16):
            raise ValueError(f"dtype must be torch.float32 or torch.bfloat16, not {dtype}.")
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.model: nn.Module | None = model.to(self.device).eval()
        self._stop_ids = dict(stop_ids)
        self.dtype, self.fast, self._compiled = dtype or torch.float32, fast, compiled
        self.config = model.config
        self._path: ReadingPath | None = None
        self._folded: tuple[tuple[int, int], ...] | None = None

    def __getstate__(self) -> dict:
        if self.model is None:
            return vars(self)
        # A copy of the model has other addresses, so that it would be made anew all the same.
        return {**vars(self), "_path": None, "_folded": None}

    def use_up_model(self) -> None:
        """Keep the model's weights only as the fast path needs them, where there is one."""
        if self.fast:
            self._path = self._make_path(use_up=True)
            self.model = None

    def read(self, pixels: np.ndarray, maps: bool) -> Recognized:
        """Read pixels uint8 [B, C, H, W]; with `maps`, also say where the model looked."""
        images = torch.from_numpy(pixels).to(self.device).float() / 255
        with torch.inference_mode():
            if self.fast:
                path = self._fast_path()
                # It has a type of its own, whatever the caller's context casts to.
                with torch.autocast(self.device.type, enabled=False):
                    found, outputs = path.with_maps(images) if maps else (path(images), None)
            else:
                outputs = self._outputs(images)
                found = outputs.greedy()
            return _recognized(*found, **(self._maps(outputs) if maps else {}))

    def _maps(self, outputs: Outputs) -> dict:
        grid_size = self.config.grid_size
        core_area = guided = None
        if outputs.core_area is not None:
            core_area = outputs.core_area[:, 0].float().cpu().numpy()
        if outputs.guided_attention is not None:
            row_means = outputs.guided_attention[:, 1:].float().mean(-1)
            guided = row_means.unflatten(1, grid_size).cpu().numpy()
        return {
            "attention": {
                name: weights[:, :, 1:].unflatten(2, grid_size).float().cpu().numpy()
                for name, weights in outputs.attention.items()
            },
            "core_area": core_area,
            "guided_attention": guided,
        }

    def _fast_path(self) -> ReadingPath:
        """The fast path of the weights as they are: it folds some, so it is made again for others.

        A training step or `load_state_dict` changes a tensor's version, a move its address.
        """
        if self.model is None:
            return self._path
        state = tuple(
            (tensor.data_ptr(), 0 if tensor.is_inference() else tensor._version)
            for tensor in [*self.model.parameters(), *self.model.buffers()]
        )
        if state != self._folded:
            self._path, self._folded = self._make_path(), state
        return self._path

    def _make_path(self, use_up: bool = False) -> ReadingPath:
        return reading_path(self.model, self._stop_ids, self.dtype, self._compiled, use_up)

    def _outputs(self, images: torch.Tensor) -> Outputs:
        rounded = self.dtype != torch.float32
        with torch.autocast(self.device.type, dtype=self.dtype, enabled=rounded):
            return self.model(images)


def _recognized(
    ids: Mapping[str, torch.Tensor], probabilities: Mapping[str, torch.Tensor], **maps: Any
) -> Recognized:
    return Recognized(
        {name: own.cpu().numpy() for name, own in ids.items()},
        {name: own.cpu().numpy() for name, own in probabilities.items()},
        **maps,
    )

"""Recognizers exported to ONNX, computed by onnxruntime, without torch."""

import os
import sys
from pathlib import Path

import numpy as np

from models.checkpoint_error import CheckpointError
from models.metadata import from_metadata
from models.onnx_form import (
    FORM,
    INPUT,
    WINNER,
    confidence_name,
    ids_name,
    probabilities_name,
)
from reading.recognition import Recognized
from system.cores import available_cores
from system.error_cause import cause_of

PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
# Images for each core that go through the graph together: more take no less time, and more memory,
# as the graph makes all logits.
AT_ONCE = 2
# Of what a file may claim its images to have; no model of words comes near.
MOST_PIXELS = 2**24


class OnnxRecognition:
    """An ONNX file that `export.py` wrote.

    Args:
        path: the file.
        device: cpu, or cuda or cuda:1, … where the package onnxruntime-gpu is installed, as text
            or as PyTorch's device; None for cpu.

    Raises:
        CheckpointError: missing, damaged, or not written by `export.py`.
        ValueError: a device that this installation of onnxruntime has not.

    """

    has_maps = False

    def __init__(self, path: Path | str, device: str | None = None):
        # Imported here: reading with torch does without.
        import onnxruntime

        self.path, self._device = Path(path), device
        self._place = self.path.absolute()  # wherever a copy is loaded from
        offered = onnxruntime.get_available_providers()
        kind, _, number = str(device or "cpu").partition(":")
        provider = PROVIDERS.get(kind)
        if provider not in offered:
            devices = ", ".join(name for name, own in PROVIDERS.items() if own in offered)
            raise ValueError(
                f"onnxruntime can't compute on {device} here, only on {devices}; for a GPU, "
                "install onnxruntime-gpu in its place."
            )
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4  # a damaged file is refused in words below
        # As torch does; 0 stands for all cores.
        threads = _threads(os.environ.get("OMP_NUM_THREADS", ""))
        options.intra_op_num_threads = threads
        on_gpu = provider == PROVIDERS["cuda"]
        self._at_once = sys.maxsize if on_gpu else AT_ONCE * (threads or available_cores())
        try:
            self._session = onnxruntime.InferenceSession(
                str(self.path),
                options,
                providers=[provider],
                provider_options=[{"device_id": number} if number and on_gpu else {}],
            )
        except Exception as error:  # the library raises many that have no class in common
            raise CheckpointError(
                f"{self.path} is no ONNX file, or a damaged one: {cause_of(error)}"
            ) from None
        metadata = self._session.get_modelmeta().custom_metadata_map
        self.config = from_metadata(metadata, FORM, self.path)
        self._check_graph()

    def __reduce__(self) -> tuple:
        """A copy is loaded from the file again."""
        return type(self), (self._place, self._device)

    def read(self, pixels: np.ndarray, maps: bool) -> Recognized:
        """Read pixels uint8 [B, C, H, W]. There are no maps.

        Raises:
            CheckpointError: the graph gives what no recognizer does, or nothing at all.

        """
        starts = range(0, max(1, len(pixels)), self._at_once)
        parts = [self._read_part(pixels[start : start + self._at_once]) for start in starts]
        ids, probabilities = (
            {g: np.concatenate([values[g] for values in own]) for g in self.config.granularities}
            for own in zip(*parts, strict=True)
        )
        return Recognized(ids, probabilities)

    def _read_part(self, pixels: np.ndarray) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """Ids and probabilities, each [B, T], by granularity."""
        names = self.config.granularities
        wanted = [name(g) for g in names for name in (ids_name, probabilities_name)]
        try:
            computed = self._session.run(wanted, {INPUT: pixels})
        except Exception as error:  # as above
            raise CheckpointError(f"{self.path} can't be computed: {cause_of(error)}") from None
        values = dict(zip(wanted, computed, strict=True))
        ids = {g: values[ids_name(g)] for g in names}
        probabilities = {g: values[probabilities_name(g)] for g in names}
        shape = (len(pixels), self.config.positions)
        for g in names:
            classes = self.config.num_classes(g)
            if ids[g].shape != shape or probabilities[g].shape != shape:
                raise CheckpointError(
                    f"{self.path} is damaged: its {g} outputs have the shapes "
                    f"{list(ids[g].shape)} and {list(probabilities[g].shape)} instead of "
                    f"{list(shape)}."
                )
            if ids[g].min() < 0 or ids[g].max() >= classes:
                raise CheckpointError(
                    f"{self.path} is damaged: it gives {g} ids beyond its {classes} classes."
                )
        return ids, probabilities

    def fused(self, pixels: np.ndarray) -> tuple[list[str], dict[str, np.ndarray]]:
        """What the graph itself makes of pixels uint8 [B, C, H, W], for programs without this code.

        Returns:
            The granularity that wins each image, and the confidences [B] by granularity.

        """
        names = self.config.granularities
        wanted = [WINNER, *(confidence_name(g) for g in names)]
        winners, *confidences = self._session.run(wanted, {INPUT: pixels})
        return [names[int(i)] for i in winners], dict(zip(names, confidences, strict=True))

    def _check_graph(self) -> None:
        """Refuse a graph that doesn't fit its configuration."""
        config = self.config
        inputs = {i.name: (i.type, i.shape) for i in self._session.get_inputs()}
        sizes = [config.channels, config.image_height, config.image_width]
        kind, shape = inputs.get(INPUT, ("", []))
        if (
            list(inputs) != [INPUT]
            or kind != "tensor(uint8)"
            or len(shape) != 1 + len(sizes)
            or shape[1:] != sizes
            or config.image_height * config.image_width > MOST_PIXELS
        ):
            raise CheckpointError(
                f"{self.path} is damaged: its inputs are {inputs}, not `{INPUT}` of type uint8 "
                f"and shape {['batch', *sizes]}."
            )
        outputs = {o.name: o.type for o in self._session.get_outputs()}
        for granularity in config.granularities:
            for name, kind in (
                (ids_name(granularity), "tensor(int64)"),
                (probabilities_name(granularity), "tensor(float)"),
            ):
                if outputs.get(name) != kind:
                    raise CheckpointError(
                        f"{self.path} is damaged: its output {name} is {outputs.get(name)}, not "
                        f"{kind}."
                    )


def _threads(setting: str) -> int:
    return int(setting) if setting.isdecimal() else 0

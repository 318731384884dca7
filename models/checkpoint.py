"""Every checkpoint format in and out. Nothing that a file holds is ever run."""

import math
import pickle
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from console.listing import first_of
from models.checkpoint_error import CheckpointError
from models.config import ConfigError, ModelConfig
from models.hugging_face import is_hugging_face_folder, load_hugging_face
from models.registry import build_model, preset_config, preset_of_shape
from models.safetensors_file import SUFFIX as SAFETENSORS_SUFFIX
from models.safetensors_file import load_safetensors
from system.error_cause import cause_of
from system.whole_file import whole_file
from text import CHARSET_PRESETS

FORMAT = "acds-str checkpoint 1"
WRAPPER_PREFIXES = ("module.", "_orig_mod.", "mgp_str.", "acds_str.")


class _NothingDrawn(TorchFunctionMode):
    """Leaves out random initialisation.

    On the meta device there is nothing to draw, and yet PyTorch imports its compiler for it:
    170 MiB and over a second at the start of every reader.
    """

    DRAWING = ("uniform_", "normal_", "kaiming_uniform_")

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if function.__name__ in self.DRAWING:
            return args[0] if args else kwargs["tensor"]
        return function(*args, **kwargs)


@dataclass(frozen=True)
class Checkpoint:
    """Weights and what they are the weights of.

    Attributes:
        config: architecture, charset and sizes; inferred from the shapes where the file is a
            bare state dict, as the official ones are.
        state_dict: official names, without wrapper prefixes.
        source: own, official, safetensors or hugging-face.
        extra: what else a training run stored (iteration, scores, options).

    """

    config: ModelConfig
    state_dict: dict[str, Tensor]
    source: str
    extra: dict[str, Any] = field(default_factory=dict)


def save_checkpoint(path: Path | str, model: nn.Module, **extra: Any) -> None:
    """Write weights and configuration: beside, synced, then renamed.

    Args:
        path: the file.
        model: a recognizer, not wrapped.
        extra: plain values and tensors only, so that the file loads with `weights_only`.

    """
    path = Path(path)
    contents = {
        "format": FORMAT,
        "config": model.config.to_dict(),
        # Training may have laid them out otherwise, which is nothing to hand on.
        "model": {name: value.contiguous() for name, value in model.state_dict().items()},
        **extra,
    }
    with whole_file(path) as file:
        try:
            torch.save(contents, file)
        except RuntimeError as error:
            # PyTorch closes its archive after a failed write, too, which hides why that failed.
            if isinstance(error.__context__, OSError):
                raise error.__context__ from None
            raise


def load_checkpoint(
    path: Path | str,
    image_height: int | None = None,
    image_width: int | None = None,
    keep_ratio: bool | None = None,
) -> Checkpoint:
    """Read any checkpoint: our own, an official `.pth`, safetensors, or a Hugging Face folder.

    Args:
        path: file or folder.
        image_height, image_width, keep_ratio: of the input, for a bare state dict, whose shapes
            tell only how many patches there are; None for 32 and 128 pixels, stretched.

    Raises:
        CheckpointError: no such file, damaged, hostile, or not a recognizer of this project.

    """
    path = Path(path)
    if not path.exists():
        raise CheckpointError(f"There is no checkpoint {path}; check --model_dir / --saved_model.")
    if path.is_dir():
        if not is_hugging_face_folder(path):
            found = sorted(p.name for p in path.iterdir())
            raise CheckpointError(
                f"{path} is a folder, but no Hugging Face one (config.json and "
                f"model.safetensors); it holds {first_of(found)}. Of a run's folder, "
                "give best_accuracy.pth."
            )
        try:
            config, state_dict = load_hugging_face(path)
        except (ValueError, TypeError, OSError, RecursionError) as error:
            raise CheckpointError(
                f"The Hugging Face folder {path} can't be read: {error}"
            ) from None
        return Checkpoint(config, state_dict, "hugging-face")
    if path.suffix == SAFETENSORS_SUFFIX:
        return Checkpoint(*load_safetensors(path), "safetensors")
    if path.suffix == ".onnx":
        raise CheckpointError(
            f"{path} is an ONNX file, which can be read with (`Reader.load`, demo.py) but not "
            "trained, scored or exported; give the checkpoint that it was made from."
        )
    contents = _read(path)
    if contents.get("format") == FORMAT:
        try:
            config = ModelConfig.from_dict(contents.pop("config", None))
        except ConfigError as error:
            raise CheckpointError(f"{path}: {error}") from None
        state_dict = contents.pop("model", None)
        if not _is_state_dict(state_dict):
            raise CheckpointError(f"{path} is damaged: it has no weights.")
        contents.pop("format")
        return Checkpoint(config, state_dict, "own", contents)
    state_dict = _strip_prefixes(path, contents)
    try:
        config = _infer_config(path, state_dict, image_height or 32, image_width or 128)
    except ConfigError as error:
        raise CheckpointError(f"{path}: {error}") from None
    return Checkpoint(config.with_changes(keep_ratio=bool(keep_ratio)), state_dict, "official")


def load_model(
    path: Path | str,
    image_height: int | None = None,
    image_width: int | None = None,
    keep_ratio: bool | None = None,
) -> nn.Module:
    """Recognizer of a checkpoint, strictly loaded, in evaluation mode; see `load_checkpoint`.

    Raises:
        CheckpointError: as `load_checkpoint`, or weights that don't fit their configuration.

    """
    checkpoint = load_checkpoint(path, image_height, image_width, keep_ratio)
    config = checkpoint.config
    layers = config.depth + (sum(config.extractor_blocks) if config.has_extractor else 0)
    if layers > len(checkpoint.state_dict):  # to build them all could take for ever
        raise CheckpointError(
            f"{path} is damaged: its configuration has {layers:,} layers, and there are only "
            f"{len(checkpoint.state_dict):,} weights."
        )
    try:
        # Without memory or initialisation of its own: the loaded tensors become the weights.
        with torch.device("meta"), _NothingDrawn():
            model = build_model(config)
    except ValueError as error:  # of the configuration, or of a vocabulary in it
        raise CheckpointError(f"{path}: {error}") from None
    weights = {
        name: value.float() if value.is_floating_point() else value
        for name, value in checkpoint.state_dict.items()
    }
    load_strictly(model, weights, path, assign=True)
    return model.eval()


def load_strictly(
    model: nn.Module, state_dict: Mapping[str, Tensor], path: Path | str, assign: bool = False
) -> None:
    """Load weights, or say in a few names what does not fit.

    Args:
        model: a recognizer.
        state_dict: official names, without prefixes.
        path: for the message.
        assign: make the given tensors the model's own instead of copying them.

    Raises:
        CheckpointError: missing, unexpected, or differently shaped entries.

    """
    own = model.state_dict()
    missing = [k for k in own if k not in state_dict]
    unexpected = [k for k in state_dict if k not in own]
    shapes = [
        f"{k} {tuple(state_dict[k].shape)} instead of {tuple(own[k].shape)}"
        for k in own
        if k in state_dict and state_dict[k].shape != own[k].shape
    ]
    problems = {"missing": missing, "unexpected": unexpected, "other shape": shapes}
    found = [f"{len(v)} {k} ({', '.join(v[:3])})" for k, v in problems.items() if v]
    if found:
        raise CheckpointError(
            f"The weights in {path} don't fit {model.config.name}: {'; '.join(found)}."
        )
    for name, tensor in own.items():
        value = state_dict[name]
        if value.layout != torch.strided or value.is_meta:
            kind = "no numbers" if value.is_meta else f"the layout {value.layout}"
            raise CheckpointError(f"The weights in {path} are damaged: {name} has {kind}.")
        # A sum is no number where any is none, and needs no memory of its own.
        if value.is_floating_point() and not math.isfinite(value.sum(dtype=torch.float32)):
            raise CheckpointError(
                f"The weights in {path} are damaged: {name} holds NaN or infinity, as a training "
                "that went wrong leaves them; take a checkpoint from before."
            )
        if tensor.is_floating_point() != value.is_floating_point():
            raise CheckpointError(f"The weights in {path} are damaged: {name} is of {value.dtype}.")
    model.load_state_dict(dict(state_dict), assign=assign)


def _read(path: Path) -> dict[str, Any]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd files, which are refused in words below
            contents = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:  # whose own text advises to run what is in it
        raise CheckpointError(
            f"{path} is not read: it holds more than tensors and plain values, which could run "
            "code, or it is damaged."
        ) from None
    except MemoryError:
        raise
    except Exception as error:  # on random bytes the reader raises nearly anything
        reason = cause_of(error)
        raise CheckpointError(
            f"{path} is no checkpoint, or a damaged one ({path.stat().st_size:,} bytes): {reason}"
        ) from None
    if not isinstance(contents, Mapping):
        raise CheckpointError(f"{path} holds a {type(contents).__name__}, not a state dict.")
    return dict(contents)


def _strip_prefixes(path: Path, contents: Mapping[str, Any]) -> dict[str, Tensor]:
    if not _is_state_dict(contents):
        raise CheckpointError(
            f"{path} is neither a checkpoint of this project nor a state dict; its entries are "
            f"{first_of(list(contents))}."
        )
    state_dict = dict(contents)
    while True:
        shared = [p for p in WRAPPER_PREFIXES if all(n.startswith(p) for n in state_dict)]
        if not shared:
            return state_dict
        state_dict = {n.removeprefix(shared[0]): v for n, v in state_dict.items()}


def _is_state_dict(contents: Any) -> bool:
    return (
        isinstance(contents, Mapping)
        and bool(contents)
        and all(isinstance(k, str) and isinstance(v, Tensor) for k, v in contents.items())
    )


def _infer_config(
    path: Path, state: Mapping[str, Tensor], image_height: int, image_width: int
) -> ModelConfig:
    """Configuration of a bare state dict, from its names and shapes."""
    acds = "conv_class" in state
    blocks = {int(m[1]) for m in (re.match(r"blocks\.(\d+)\.", n) for n in state) if m}
    norm = "norm_1" if acds else "norm"
    heads = tuple(n for n in ("char", "bpe", "wp") if f"{n}_tokenLearner.{norm}.weight" in state)
    positions = f"char_tokenLearner.{'tokenLearner1' if acds else 'tokenLearner'}.1.weight"
    needed = ["cls_token", "pos_embed", "patch_embed.proj.weight", "head.weight", positions]
    needed += [f"{h}_head.weight" for h in heads]
    absent = [n for n in needed if n not in state]
    if absent or not blocks or "char" not in heads:
        raise CheckpointError(
            f"{path} is a state dict, but of none of this project's models: it begins with "
            f"{', '.join(list(state)[:3])}, and lacks {', '.join(absent) or 'A3 modules'}."
        )
    dimensions = {"pos_embed": 3, "patch_embed.proj.weight": 4}
    for entry in needed:
        if state[entry].ndim < dimensions.get(entry, 1):
            raise CheckpointError(
                f"{path} is damaged: {entry} has the shape {tuple(state[entry].shape)}."
            )
    width, channels = state["patch_embed.proj.weight"].shape[:2]
    family = "acds-str" if acds else "char-str" if heads == ("char",) else "mgp-str"
    name = preset_of_shape(family, width, len(blocks))
    if name is None:
        raise CheckpointError(
            f"{path} has an encoder of width {width} and {len(blocks)} blocks; no {family} model "
            "has that shape."
        )
    classes = {h: state[f"{h}_head.weight"].shape[0] for h in heads}
    by_size = {len(c) + 2: c for c in CHARSET_PRESETS.values()}
    if classes["char"] not in by_size:
        raise CheckpointError(
            f"{path} has {classes['char']} character classes; a bare state dict does not say "
            f"which characters. Known numbers: {', '.join(map(str, by_size))}."
        )
    config = preset_config(
        name,
        characters=by_size[classes["char"]],
        max_length=state[positions].shape[0] - 2,
        channels=channels,
        **{f"{h}_classes": classes[h] for h in heads if h != "char"},
        image_height=image_height,
        image_width=image_width,
    )
    tokens = state["pos_embed"].shape[1] - 1
    expected = (config.image_height // 4) * (config.image_width // 4)
    if tokens != expected:
        raise CheckpointError(
            f"{path} was trained on images of {tokens} patches, and "
            f"{config.image_height}x{config.image_width} pixels make {expected}; give its --imgH "
            "and --imgW."
        )
    return config

"""Weights as one safetensors file, with the configuration in its metadata."""

from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from models.checkpoint_error import CheckpointError
from models.config import ModelConfig
from models.metadata import from_metadata, to_metadata
from system.whole_file import whole_file

FORM = "safetensors 1"
SUFFIX = ".safetensors"


def save_safetensors(path: Path | str, model: nn.Module, half: bool = False) -> None:
    """Write weights and configuration: beside, synced, then renamed.

    Args:
        path: the file.
        model: a recognizer, not wrapped.
        half: in float16, half the size; what is loaded from it is float32 again, but rounded.

    """
    weights = {
        name: (value.half() if half and value.is_floating_point() else value).contiguous().cpu()
        for name, value in model.state_dict().items()
    }
    # "pt" is what other readers of such files look for.
    metadata = {"format": "pt", **to_metadata(model.config, FORM)}
    with whole_file(Path(path)) as file:
        file.write(save(weights, metadata))


def load_safetensors(path: Path) -> tuple[ModelConfig, dict[str, Tensor]]:
    """Configuration and state dict (official names) of a file.

    Raises:
        CheckpointError: damaged, or not written by this project.

    """
    try:
        with safe_open(path, framework="pt") as file:
            config = from_metadata(file.metadata(), FORM, path)
            return config, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{path} is no safetensors file, or a damaged one ({path.stat().st_size:,} bytes): "
            f"{error}"
        ) from None

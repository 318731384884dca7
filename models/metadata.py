"""A configuration as the text entries that safetensors and ONNX files have for it."""

import json
from collections.abc import Mapping
from pathlib import Path

from models.checkpoint_error import CheckpointError
from models.config import ConfigError, ModelConfig

FORMAT_KEY, CONFIG_KEY = "recognizer_format", "recognizer_config"


def to_metadata(config: ModelConfig, form: str) -> dict[str, str]:
    """Entries for a file of some form, which `from_metadata` reads."""
    return {FORMAT_KEY: form, CONFIG_KEY: json.dumps(config.to_dict(), ensure_ascii=False)}


def from_metadata(metadata: Mapping[str, str] | None, form: str, path: Path) -> ModelConfig:
    """Configuration in a file's entries.

    Args:
        metadata: the entries; None where the file has none.
        form: the only one to take.
        path: for the message.

    Raises:
        CheckpointError: a file that was not written by this project, or in another form; a damaged
            configuration, or one that no model can have.

    """
    found = (metadata or {}).get(FORMAT_KEY)
    if found is None:
        raise CheckpointError(
            f"{path} was not written by this project: its metadata lack {FORMAT_KEY}, so that "
            "neither charset nor sizes are known. Export the checkpoint with export.py; of a "
            "Hugging Face model, give the folder."
        )
    if found != form:
        raise CheckpointError(
            f"{path} is of the form {found[:80]!r}, and this version reads {form!r}; update the "
            "repository, or export the checkpoint again."
        )
    try:
        return ModelConfig.from_dict(json.loads(metadata.get(CONFIG_KEY, "")))
    except ConfigError as error:
        raise CheckpointError(f"{path}: {error}") from None
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} has a damaged configuration: {error}") from None

"""Whole recognizers: `create_model` is the one door, `checkpoint` the formats in and out.

What needs torch is imported when it is first asked for: an exported model is read without it.
"""

from importlib import import_module
from typing import Any

from models.codecs import config_codecs
from models.config import ConfigError, ModelConfig

_MODULE_OF = {
    "ALIASES": "models.registry",
    "GRANULARITIES": "models.outputs",
    "Outputs": "models.outputs",
    "build_model": "models.registry",
    "create_model": "models.registry",
    "list_models": "models.registry",
    "preset_config": "models.registry",
}

__all__ = [
    "ALIASES",
    "GRANULARITIES",
    "ConfigError",
    "ModelConfig",
    "Outputs",
    "build_model",
    "config_codecs",
    "create_model",
    "list_models",
    "preset_config",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULE_OF[name]), name)

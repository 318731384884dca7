"""Whole recognizers: `create_model` is the one door, `checkpoint` the formats in and out."""

from models.config import ConfigError, ModelConfig
from models.outputs import GRANULARITIES, Outputs
from models.registry import (
    ALIASES,
    build_model,
    config_codecs,
    create_model,
    list_models,
    preset_config,
)

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

"""What options say about the model, alone and beside a checkpoint's own configuration."""

from argparse import Namespace
from pathlib import Path
from typing import Any

from engine.option_error import OptionError
from models import ALIASES, ModelConfig, preset_config
from text import Charset
from text.subword import custom_codec

# --Transformer -> the model it stands for where --TransformerModel is not given.
DEFAULT_MODELS = {
    "mgp-str": "mgp_str_base_patch4_3_32_128",
    "char-str": "char_str_base_patch4_3_32_128",
    **ALIASES,
    "acds-mgp-str": "acds_mgp_str_base",
}
# What a model of another preset takes over from the checkpoint that it starts from.
INHERITED = (
    "characters",
    "max_length",
    "image_height",
    "image_width",
    "channels",
    "keep_ratio",
    "bpe_classes",
    "wp_classes",
    "bpe_vocabulary",
    "wp_vocabulary",
    "core_area_form",
)


def model_changes(options: Namespace) -> dict[str, Any]:
    """What the options say about the model: fields of `ModelConfig` that were given.

    Raises:
        OptionError: --sensitive beside another --character; what can't be a charset.

    """
    if options.character is not None and options.sensitive:
        raise OptionError("--sensitive is a charset of its own; leave out --character, or it.")
    charset = "94" if options.sensitive else options.character
    try:
        characters = Charset.load(charset).characters if charset is not None else None
    except ValueError as error:
        raise OptionError(f"--character: {error}") from None
    changes: dict[str, Any] = {
        "max_length": options.batch_max_length,
        "image_height": options.imgH,
        "image_width": options.imgW,
        "channels": 3 if options.rgb else None,
        "keep_ratio": True if options.PAD else None,
        "characters": characters,
    }
    return {name: value for name, value in changes.items() if value is not None}


def chosen_model(options: Namespace) -> str | None:
    """Name of the model that the options ask for; None where they don't.

    Raises:
        OptionError: --TransformerModel is not one of --Transformer.

    """
    name, method = options.TransformerModel, options.Transformer
    if name is None:
        return DEFAULT_MODELS[method] if method else None
    if method in ALIASES and name != ALIASES[method]:
        raise OptionError(
            f"--Transformer {method} is the model {ALIASES[method]}, not {name}; leave out one of "
            "--Transformer and --TransformerModel."
        )
    family = preset_config(name).family
    if method is not None and method not in ALIASES and family != method:
        raise OptionError(f"--TransformerModel {name} is a model of {family}, not of {method}.")
    return name


def check_against_checkpoint(options: Namespace, config: ModelConfig) -> None:
    """Refuse options that a checkpoint's own configuration contradicts.

    Raises:
        OptionError: naming both values.

    """
    asked = model_changes(options)
    if options.TransformerModel is not None or options.Transformer in ALIASES:
        asked["name"] = chosen_model(options)
    elif options.Transformer is not None:
        asked["family"] = options.Transformer
    words = {
        "name": "--TransformerModel" if options.TransformerModel else "--Transformer",
        "family": "--Transformer",
        "max_length": "--batch_max_length",
        "image_height": "--imgH",
        "image_width": "--imgW",
        "channels": "--rgb (channels)",
        "keep_ratio": "--PAD (keeping the ratio)",
        "characters": "--sensitive" if options.sensitive else "--character",
    }
    for field, value in asked.items():
        own = getattr(config, field)
        if own != value:
            model = options.model_dir or "the default model"
            raise OptionError(
                f"{words[field]} asks for {value}, but {model} was trained with {own}; leave the "
                "option out."
            )


def training_config(options: Namespace, start: ModelConfig | None) -> ModelConfig:
    """Configuration to train: what the options say, else the checkpoint's, else the defaults.

    Raises:
        OptionError: sizes that no patch fits, a charset or vocabulary that can't be used.

    """
    changes = model_changes(options)
    if options.core_area_form is not None:
        changes["core_area_form"] = options.core_area_form
    for name in ("bpe", "wp"):
        file = getattr(options, f"{name}_vocabulary")
        if file is not None:
            changes |= _vocabulary_changes(name, file)
    name = chosen_model(options)
    try:
        if start is None:
            changes = {"channels": 1} | changes
            config = preset_config(name or DEFAULT_MODELS["mgp-str"], **changes)
        elif (
            name in (None, start.name)
            # --Transformer alone, of the checkpoint's own method, asks for nothing new.
            or (options.TransformerModel is None and options.Transformer == start.family)
        ):
            config = start.with_changes(**changes)
        else:
            inherited = {field: getattr(start, field) for field in INHERITED}
            config = preset_config(name, **{**inherited, **changes})
        if options.is_mask_supervision and not config.has_extractor:
            config = config.with_changes(core_area_head=True)
    except ValueError as error:
        raise OptionError(str(error)) from None
    if options.core_area_form and not config.draws_core_areas:
        raise OptionError(
            f"--core_area_form is for models that draw core areas, and {config.name} does not; "
            "--is_mask_supervision gives it a head for them."
        )
    for name in ("bpe", "wp"):
        if getattr(options, f"{name}_vocabulary") and name not in config.granularities:
            raise OptionError(
                f"--{name}_vocabulary is for a {name} head, which {config.name} lacks."
            )
    return config


def _vocabulary_changes(name: str, file: str) -> dict[str, Any]:
    try:
        text = Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise OptionError(f"--{name}_vocabulary {file} can't be read: {error}") from None
    try:
        codec = custom_codec(name, text, positions=3)
    except ValueError as error:
        raise OptionError(f"{file}: {error}") from None
    return {f"{name}_vocabulary": text, f"{name}_classes": codec.num_classes}

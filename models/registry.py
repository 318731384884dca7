"""Named presets of recognizers, and the one door to them."""

from typing import Any

from torch import nn

from models.acds_str import AcdsMgpStr, AcdsStr
from models.codecs import config_codecs
from models.config import ConfigError, ModelConfig
from models.mgp_str import CharStr, MgpStr
from models.pretrained import load_imagenet_weights

FAMILIES: dict[str, type[nn.Module]] = {
    "mgp-str": MgpStr,
    "char-str": CharStr,
    "acds-str": AcdsStr,
    "acds-mgp-str": AcdsMgpStr,
}

_MGP_SIZES = {
    "tiny": {"width": 192, "depth": 12, "num_heads": 3},
    "small": {"width": 384, "depth": 12, "num_heads": 6},
    "base": {"width": 768, "depth": 12, "num_heads": 12},
    "large": {"width": 1024, "depth": 24, "num_heads": 16},
}

PRESETS: dict[str, dict[str, Any]] = {
    f"mgp_str_{size}_patch4_3_32_128": {"family": "mgp-str", **values}
    for size, values in _MGP_SIZES.items()
}
PRESETS["char_str_base_patch4_3_32_128"] = {
    "family": "char-str",
    "granularities": ("char",),
    **_MGP_SIZES["base"],
}
# Not an official size: learns to read within minutes on a CPU, for `make quickstart`.
PRESETS["mgp_str_mini_stem8x8_3_32_128"] = {
    "family": "mgp-str",
    "width": 192,
    "depth": 4,
    "num_heads": 3,
    "patch_height": 8,
    "patch_width": 8,
    "stem": "conv",
}
# Not an official size either: 128 tokens and a convolutional stem, for CPUs.
PRESETS["char_str_light_stem8x4_3_32_128"] = {
    "family": "char-str",
    "granularities": ("char",),
    "width": 192,
    "depth": 6,
    "num_heads": 3,
    "patch_height": 8,
    "patch_width": 4,
    "stem": "conv",
}
_ACDS_SIZES = {
    # Not an official size: 64 tokens and a light extractor, for CPUs and small data.
    "tiny": {
        "width": 192,
        "depth": 4,
        "num_heads": 3,
        "patch_height": 8,
        "patch_width": 8,
        "extractor_stem": 16,
        "extractor_widths": (16, 16, 32, 32, 128),
        "extractor_blocks": (1, 1, 2, 2, 1),
    },
    "small": {"width": 768, "depth": 6, "num_heads": 12},
    "base": {"width": 768, "depth": 10, "num_heads": 12},
}
for _size, _values in _ACDS_SIZES.items():
    PRESETS[f"acds_str_{_size}"] = {
        "family": "acds-str",
        "granularities": ("char",),
        **_values,
    }
    PRESETS[f"acds_mgp_str_{_size}"] = {"family": "acds-mgp-str", **_values}
# The shape of the weights that come with the repository: 128 tokens, twice as fine along the word,
# and no CAFM; chosen by measuring, as their card tells.
PRESETS["acds_char_str_light"] = {
    "family": "acds-mgp-str",
    "granularities": ("char",),
    **_ACDS_SIZES["tiny"],
    "patch_width": 4,
    "extractor_widths": (16, 16, 32, 64, 128),
    "guided_blocks": 0,
}
# The same, larger: trained on a GPU; reading takes three times as long.
PRESETS["acds_char_str_small"] = {
    **PRESETS["acds_char_str_light"],
    "width": 256,
    "depth": 8,
    "num_heads": 4,
    "extractor_widths": (16, 32, 64, 128, 256),
}
# The names of the official --Transformer.
ALIASES = {"ACDS-STR-Base": "acds_str_base", "ACDS-STR-Small": "acds_str_small"}


def list_models() -> list[str]:
    """Names that `create_model` takes, beside the official `ALIASES`."""
    return sorted(PRESETS)


def preset_config(name: str, **changes: Any) -> ModelConfig:
    """Configuration of a named model.

    Args:
        name: one of `list_models()`, or an official alias (ACDS-STR-Base, ACDS-STR-Small).
        changes: other fields of `ModelConfig`, for example `characters` or `image_width`.

    Raises:
        ConfigError: an unknown name, and the message lists the known ones; or fields that do not
            fit together.

    """
    name = ALIASES.get(name, name)
    if name not in PRESETS:
        raise ConfigError(f"There is no model {name!r}; choose one of {', '.join(list_models())}.")
    return ModelConfig(name=name, **{**PRESETS[name], **changes})


def preset_of_shape(family: str, width: int, depth: int) -> str | None:
    """Name of the preset with such an encoder, of the official patches; None if there is none."""
    wanted = {"family": family, "width": width, "depth": depth, "patch_height": None}
    for name, preset in PRESETS.items():
        if {field: preset.get(field) for field in wanted} == wanted:
            return name
    return None


def build_model(config: ModelConfig, pretrained: bool = False) -> nn.Module:
    """Recognizer of a configuration, newly initialised.

    Args:
        config: what to build.
        pretrained: start the encoder from ImageNet weights (DeiT; MAE for large), which timm
            downloads. Nothing is downloaded otherwise.

    Raises:
        ConfigError: a family that this version does not have.
        PretrainedWeightsError: the ImageNet weights can't be had.

    """
    if config.family not in FAMILIES:
        raise ConfigError(
            f"This version has no models of {config.family!r}, only of {', '.join(FAMILIES)}; "
            "update the repository."
        )
    model = FAMILIES[config.family](config, pad_ids=_pad_ids(config))
    if pretrained:
        load_imagenet_weights(model)
    return model


def create_model(name: str, pretrained: bool = False, **changes: Any) -> nn.Module:
    """Recognizer by name: the one door.

    >>> model = create_model("mgp_str_tiny_patch4_3_32_128").eval()
    >>> model(torch.rand(1, 3, 32, 128)).char.shape
    torch.Size([1, 27, 38])

    Args:
        name, changes: as `preset_config`.
        pretrained: as `build_model`.

    Raises:
        ConfigError: an unknown name, or fields that do not fit together.
        PretrainedWeightsError: the ImageNet weights can't be had.

    """
    return build_model(preset_config(name, **changes), pretrained)


def _pad_ids(config: ModelConfig) -> dict[str, int]:
    # Bundled vocabularies pad with 0; only one of the user's own has to be loaded to know.
    pad_ids = dict.fromkeys(config.granularities, 0)
    custom = [n for n in ("bpe", "wp") if n in pad_ids and getattr(config, f"{n}_vocabulary")]
    if custom:
        codecs = config_codecs(config)
        pad_ids.update({name: codecs[name].pad_id for name in custom})
    return pad_ids

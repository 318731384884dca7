"""Folders of transformers' `MgpstrForSceneTextRecognition`, in and out, without transformers."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from models.config import ModelConfig
from models.registry import PRESETS, preset_config, preset_of_shape
from system.whole_file import whole_file
from text import CHARSET_PRESETS

MODEL_FILES = ("config.json", "model.safetensors")
PROCESSOR_FILES = ("preprocessor_config.json", "tokenizer_config.json", "vocab.json")
ARCHITECTURE = "MgpstrForSceneTextRecognition"
# Name there -> name here; the rest is the same.
_PREFIXES = {
    "mgp_str.embeddings.proj.": "patch_embed.proj.",
    "mgp_str.embeddings.": "",
    "mgp_str.encoder.": "",
    "char_a3_module.": "char_tokenLearner.",
    "bpe_a3_module.": "bpe_tokenLearner.",
    "wp_a3_module.": "wp_tokenLearner.",
}
# Of the official state dict, the first two are never applied, and transformers leaves them out;
# the last draws core areas, which it can't.
_UNUSED = ("norm.", "head.", "core_area_head.")


def is_hugging_face_folder(path: Path) -> bool:
    """Whether a folder has the two files of such a model."""
    return all((path / name).is_file() for name in MODEL_FILES)


def load_hugging_face(folder: Path) -> tuple[ModelConfig, dict[str, Tensor]]:
    """Configuration and state dict (official names) of a folder.

    transformers applies LayerNorm with its configured epsilon 1e-5 in the blocks, the original
    with 1e-6: logits differ by up to 4e-4 (reference facts).

    Raises:
        ValueError: another architecture, or files that can't be read.

    """
    try:
        theirs = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        weights = load_file(folder / "model.safetensors")
    except (json.JSONDecodeError, UnicodeDecodeError, SafetensorError) as error:
        raise ValueError(f"damaged file ({error})") from None
    if not isinstance(theirs, Mapping) or theirs.get("model_type") != "mgp-str":
        raise ValueError("config.json is not that of an mgp-str model")
    # transformers leaves out of config.json what equals its defaults, which are the base model's.
    width = theirs.get("hidden_size", 768)
    depth = theirs.get("num_hidden_layers", 12)
    name = preset_of_shape("mgp-str", width, depth)
    if name is None:
        raise ValueError(f"no mgp-str model has width {width} and depth {depth}")
    heads = theirs.get("num_attention_heads", 12)
    if heads != PRESETS[name]["num_heads"]:
        raise ValueError(
            f"{heads} attention heads instead of the {PRESETS[name]['num_heads']} of {name}"
        )
    classes = theirs.get("num_character_labels", 38)
    by_size = {len(c) + 2: c for c in CHARSET_PRESETS.values()}
    characters = theirs.get("characters", by_size.get(classes))
    if characters is None or len(characters) + 2 != classes:
        raise ValueError(f"no charset preset has {classes} classes")
    image_size = theirs.get("image_size", (32, 128))
    if not isinstance(image_size, Sequence) or len(image_size) != 2:
        raise ValueError(f"image_size is {image_size!r} instead of height and width")
    config = preset_config(
        name,
        characters=characters,
        max_length=theirs.get("max_token_length", 27) - 2,
        image_height=image_size[0],
        image_width=image_size[1],
        keep_ratio=theirs.get("keep_ratio", False),
        channels=theirs.get("num_channels", 3),
        bpe_classes=theirs.get("num_bpe_labels", 50257),
        wp_classes=theirs.get("num_wordpiece_labels", 30522),
    )
    state = {_rename(n, _PREFIXES): w for n, w in weights.items()}
    state["norm.weight"], state["norm.bias"] = torch.ones(width), torch.zeros(width)
    state["head.weight"] = torch.zeros(classes, width)
    state["head.bias"] = torch.zeros(classes)
    return config, state


def check_hugging_face(config: ModelConfig) -> None:
    """Check that transformers knows such models.

    Raises:
        ValueError: it has no class, or no vocabulary, for them.

    """
    if config.family != "mgp-str" or config.stem != "patch" or len(config.granularities) != 3:
        raise ValueError(
            f"transformers has no class for {config.name}; it knows MGP-STR with a patch "
            "projection and all three granularities."
        )
    if config.bpe_vocabulary or config.wp_vocabulary:
        raise ValueError(
            "A folder of transformers has no place for a vocabulary of one's own; its processor "
            "reads with GPT-2's and BERT's."
        )


def export_hugging_face(model: nn.Module, folder: Path) -> None:
    """Write a folder that transformers' own class loads and computes the same logits with.

    Its processor's files are there, too, but for models whose input that can't make: padded or grey
    images.

    Raises:
        ValueError: a model that transformers does not know.

    """
    config: ModelConfig = model.config
    check_hugging_face(config)
    folder.mkdir(parents=True, exist_ok=True)
    theirs = {
        "architectures": [ARCHITECTURE],
        "model_type": "mgp-str",
        "image_size": [config.image_height, config.image_width],
        "patch_size": config.patch_height,
        "num_channels": config.channels,
        "max_token_length": config.positions,
        "num_character_labels": config.num_classes("char"),
        "num_bpe_labels": config.bpe_classes,
        "num_wordpiece_labels": config.wp_classes,
        "hidden_size": config.width,
        "num_hidden_layers": config.depth,
        "num_attention_heads": config.num_heads,
        "mlp_ratio": 4.0,
        "qkv_bias": True,
        # Its blocks' epsilon; 1e-5, its default, would move the logits by 2e-4.
        "layer_norm_eps": 1e-6,
        "torch_dtype": "float32",
        # Not known to transformers, which keeps them: which characters the classes are.
        "characters": config.characters,
        "keep_ratio": config.keep_ratio,
    }
    _write_json(folder / "config.json", theirs)
    if not config.keep_ratio and config.channels == 3:
        _write_processor(config, folder)
    back = {ours: name for name, ours in _PREFIXES.items() if ours}
    weights = {}
    for name, value in model.state_dict().items():
        if name.startswith(_UNUSED):
            continue
        if name in ("cls_token", "pos_embed"):
            target = f"mgp_str.embeddings.{name}"
        elif name.startswith("blocks."):
            target = f"mgp_str.encoder.{name}"
        else:
            target = _rename(name, back)
        weights[target] = value.detach().contiguous().cpu()
    # Not by the package's own function, whose files nobody else may read.
    with whole_file(folder / "model.safetensors") as file:
        file.write(save(weights, metadata={"format": "pt"}))


def _rename(name: str, prefixes: Mapping[str, str]) -> str:
    for old, new in prefixes.items():
        if name.startswith(old):
            return new + name.removeprefix(old)
    return name


def _write_processor(config: ModelConfig, folder: Path) -> None:
    """The files of a `MgpstrProcessor`: how images are made input, and which characters there are.

    GPT-2's and BERT's tokenizers it gets from the hub, by names of its own.
    """
    size = {"height": config.image_height, "width": config.image_width}
    images = {
        "processor_class": "MgpstrProcessor",
        "image_processor_type": "ViTImageProcessor",
        "do_resize": True,
        "size": size,
        "resample": 3,  # bicubic
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": False,
    }
    tokens = ["[GO]", "[s]", *config.characters]
    names = {"processor_class": "MgpstrProcessor", "tokenizer_class": "MgpstrTokenizer"}
    ids = {token: number for number, token in enumerate(tokens)}
    for name, contents in zip(PROCESSOR_FILES, (images, names, ids), strict=True):
        _write_json(folder / name, contents)


def _write_json(file: Path, contents: Mapping[str, Any]) -> None:
    file.write_text(json.dumps(contents, indent=2) + "\n", encoding="utf-8")

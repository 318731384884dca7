"""What a recognizer is: the plain values that a checkpoint carries."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from text import CHARSET_PRESETS
from text.subword import BERT_CLASSES, GPT2_CLASSES

CORE_AREA_FORMS = ("linear", "sigmoid")  # see `modules.core_area`


class ConfigError(ValueError):
    """A configuration that no model can have; the message says which value is wrong."""


# Far beyond any sensible model, and small enough not to exhaust memory at once.
_LARGEST = 1_000_000


@dataclass(frozen=True)
class ModelConfig:
    """Architecture, charset and sizes of a recognizer.

    Attributes:
        name: preset's name, see `models.list_models()`.
        family: mgp-str, char-str, acds-str or acds-mgp-str.
        width, depth, num_heads: of the encoder.
        characters: the charset, in the order of the head's rows.
        max_length: longest label in characters; the heads have two positions more.
        image_height, image_width: pixels of the input.
        channels: 3 (RGB) or 1 (grey).
        keep_ratio: images keep their ratio of width to height, filled on the right (`--PAD`).
        patch_height, patch_width: pixels of a token.
        stem: patch (linear projection) or conv; the ACDS families have an extractor instead.
        extractor_stem, extractor_widths, extractor_blocks: channels of the ACDS feature extractor's
            stem, and channels and residual blocks of its five layers.
        guided_blocks: last blocks that CAFM works on; 0 for an ACDS encoder without CAFM.
        core_area_head: whether a model without an extractor draws core areas from its tokens.
        core_area_form: linear (the reference's) or sigmoid.
        granularities: heads, char first.
        bpe_classes, wp_classes: sizes of those heads.
        bpe_vocabulary, wp_vocabulary: text of a tokenizers JSON file, None for that of assets/.

    """

    name: str
    family: str
    width: int
    depth: int
    num_heads: int
    characters: str = CHARSET_PRESETS["36"]
    max_length: int = 25
    image_height: int = 32
    image_width: int = 128
    channels: int = 3
    keep_ratio: bool = False
    patch_height: int = 4
    patch_width: int = 4
    stem: str = "patch"
    extractor_stem: int = 32
    extractor_widths: tuple[int, ...] = (32, 64, 128, 256, 512)
    extractor_blocks: tuple[int, ...] = (3, 4, 6, 6, 3)
    guided_blocks: int = 3
    core_area_head: bool = False
    core_area_form: str = "linear"
    granularities: tuple[str, ...] = ("char", "bpe", "wp")
    bpe_classes: int = GPT2_CLASSES
    wp_classes: int = BERT_CLASSES
    bpe_vocabulary: str | None = None
    wp_vocabulary: str | None = None

    def __post_init__(self):
        for entry in fields(self):
            value = getattr(self, entry.name)
            least = 0 if entry.name == "guided_blocks" else 1
            # A bool is an int, too.
            whole = isinstance(value, int) and not isinstance(value, bool)
            if entry.type is int and not (whole and least <= value <= _LARGEST):
                raise ConfigError(
                    f"{entry.name} must be a whole number, {least} or more, not {value!r}."
                )
            if entry.type is str and not isinstance(value, str):
                raise ConfigError(f"{entry.name} must be text, not {value!r}.")
            if entry.type is bool and not isinstance(value, bool):
                raise ConfigError(f"{entry.name} must be true or false, not {value!r}.")
        for name in ("granularities", "extractor_widths", "extractor_blocks"):
            value = getattr(self, name)
            if not isinstance(value, list | tuple):
                raise ConfigError(f"{name} must be a row of values, not {value!r}.")
            object.__setattr__(self, name, tuple(value))
        unknown = set(self.granularities) - {"char", "bpe", "wp"}
        twice = len(set(self.granularities)) < len(self.granularities)
        if unknown or twice or self.granularities[:1] != ("char",):
            raise ConfigError(
                f"granularities must be char, and then bpe and wp as wanted, not "
                f"{', '.join(map(str, self.granularities)) or 'none'}."
            )
        if self.width % self.num_heads:
            raise ConfigError(
                f"A width of {self.width} can't be split into {self.num_heads} heads."
            )
        if self.image_height % self.patch_height or self.image_width % self.patch_width:
            raise ConfigError(
                f"An image of {self.image_height}x{self.image_width} pixels can't be cut into "
                f"patches of {self.patch_height}x{self.patch_width}; choose --imgH and --imgW as "
                "multiples of the patch."
            )
        sides = (self.patch_height, self.patch_width)
        if self.stem not in ("patch", "conv") or (
            self.stem == "conv" and any(side & (side - 1) for side in sides)
        ):
            raise ConfigError(
                f"The stem is patch, or conv on patches whose sides are powers of two, not "
                f"{self.stem} on {sides[0]}x{sides[1]}."
            )
        if self.channels not in (1, 3):
            raise ConfigError(f"Images have 1 or 3 channels, not {self.channels}.")
        if self.core_area_form not in CORE_AREA_FORMS:
            raise ConfigError(
                f"The core-area map is {' or '.join(CORE_AREA_FORMS)}, not {self.core_area_form}."
            )
        if self.has_extractor:
            self._check_extractor()

    def _check_extractor(self) -> None:
        for name in ("extractor_widths", "extractor_blocks"):
            values = getattr(self, name)
            if len(values) != 5 or not all(
                isinstance(value, int) and 0 < value <= _LARGEST for value in values
            ):
                raise ConfigError(
                    f"{name} must be five whole numbers above 0, one a layer, not {values}."
                )
        if self.patch_height not in (4, 8) or self.patch_width not in (4, 8):
            raise ConfigError(
                "Tokens of the feature extractor are 4 or 8 pixels high and wide, not "
                f"{self.patch_height}x{self.patch_width}."
            )
        if self.guided_blocks > self.depth:
            raise ConfigError(
                f"CAFM can't work on {self.guided_blocks} of {self.depth} blocks; give fewer "
                "guided_blocks."
            )

    @property
    def has_extractor(self) -> bool:
        """Whether the encoder is that of ACDS-STR."""
        return self.family in ("acds-str", "acds-mgp-str")

    @property
    def draws_core_areas(self) -> bool:
        """Whether the model has a core-area map."""
        return self.has_extractor or self.core_area_head

    @property
    def patch_size(self) -> tuple[int, int]:
        """Height and width of a token in pixels."""
        return self.patch_height, self.patch_width

    @property
    def positions(self) -> int:
        """T: the longest label plus start and stop."""
        return self.max_length + 2

    @property
    def grid_size(self) -> tuple[int, int]:
        """Rows and columns of patches."""
        return self.image_height // self.patch_height, self.image_width // self.patch_width

    def num_classes(self, granularity: str) -> int:
        """Size of a granularity's head."""
        return {
            "char": len(self.characters) + 2,
            "bpe": self.bpe_classes,
            "wp": self.wp_classes,
        }[granularity]

    def with_changes(self, **changes: Any) -> "ModelConfig":
        """A copy with other values."""
        return replace(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for a checkpoint."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "ModelConfig":
        """Config from a checkpoint's plain values.

        Raises:
            ConfigError: a key that this version does not know, one that is missing, or a value
                that no model can have.

        """
        if not isinstance(values, Mapping):
            raise ConfigError(
                f"The checkpoint's configuration is {values!r}, not a table of values."
            )
        known = {f.name for f in fields(cls)}
        unknown = sorted(str(name) for name in values if name not in known)
        if unknown:
            raise ConfigError(
                f"The checkpoint's configuration has unknown entries {', '.join(unknown)}; "
                "it was written by a newer version: update the repository."
            )
        try:
            return cls(**values)
        except TypeError as error:
            raise ConfigError(f"The checkpoint's configuration is incomplete: {error}.") from None

"""What a recognizer is: the plain values that a checkpoint carries."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from text import CHARSET_PRESETS
from text.subword import BERT_CLASSES, GPT2_CLASSES


@dataclass(frozen=True)
class ModelConfig:
    """Architecture, charset and sizes of a recognizer.

    Attributes:
        name: preset's name, see `models.list_models()`.
        family: mgp-str or char-str.
        width, depth, num_heads: of the encoder.
        characters: the charset, in the order of the head's rows.
        max_length: longest label in characters; the heads have two positions more.
        image_height, image_width: pixels of the input.
        channels: 3 (RGB) or 1 (grey).
        patch_height, patch_width: pixels of a token.
        stem: patch (linear projection) or conv.
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
    patch_height: int = 4
    patch_width: int = 4
    stem: str = "patch"
    granularities: tuple[str, ...] = ("char", "bpe", "wp")
    bpe_classes: int = GPT2_CLASSES
    wp_classes: int = BERT_CLASSES
    bpe_vocabulary: str | None = None
    wp_vocabulary: str | None = None

    def __post_init__(self):
        object.__setattr__(self, "granularities", tuple(self.granularities))
        if self.image_height % self.patch_height or self.image_width % self.patch_width:
            raise ValueError(
                f"An image of {self.image_height}x{self.image_width} pixels can't be cut into "
                f"patches of {self.patch_height}x{self.patch_width}; choose --imgH and --imgW as "
                "multiples of the patch."
            )
        if self.max_length < 1:
            raise ValueError(f"--batch_max_length must be 1 or more, not {self.max_length}.")
        if self.channels not in (1, 3):
            raise ValueError(f"Images have 1 or 3 channels, not {self.channels}.")

    @property
    def positions(self) -> int:
        """T: the longest label plus start and stop."""
        return self.max_length + 2

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
            ValueError: a key that this version does not know, or one that is missing.

        """
        known = {f.name for f in fields(cls)}
        unknown = sorted(set(values) - known)
        if unknown:
            raise ValueError(
                f"The checkpoint's configuration has unknown entries {', '.join(unknown)}; "
                "it was written by a newer version: update the repository."
            )
        try:
            return cls(**values)
        except TypeError as error:
            raise ValueError(f"The checkpoint's configuration is incomplete: {error}.") from None

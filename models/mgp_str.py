"""MGP-STR and its char-only forerunner CHAR-STR (MGP-STR, ECCV 2022)."""

from collections.abc import Mapping

from torch import Tensor, nn

from models.config import ModelConfig
from models.outputs import Outputs
from models.supervision import core_area_counts, core_area_losses
from modules.a3 import A3
from modules.core_area import CoreAreaHead
from modules.losses import LossSum, label_count
from modules.vit import Encoding, ViTEncoder


class A3Decoding:
    """What recognizers with an A3 module and a linear head for each granularity share.

    To be mixed into an encoder. In training, `model(images, targets)` returns the losses by name
    (so that DDP sees them); in evaluation, `model(images)` returns `Outputs`.
    """

    config: ModelConfig
    label_smoothing: float = 0.0  # of the heads' losses

    def build_heads(self, config: ModelConfig, pad_ids: Mapping[str, int] | None) -> None:
        """Make the modules; in PyTorch's default initialisation, as in the reference."""
        self.config = config
        self.pad_ids = dict(pad_ids or dict.fromkeys(config.granularities, 0))
        for name in config.granularities:
            self.add_module(f"{name}_tokenLearner", A3(config.width, config.positions))
            self.add_module(f"{name}_head", nn.Linear(config.width, config.num_classes(name)))

    def classifier(self, granularity: str) -> nn.Linear:
        """The linear head whose logits are read."""
        return getattr(self, f"{granularity}_head")

    def forward(
        self, images: Tensor, targets: Mapping[str, Tensor] | None = None
    ) -> Outputs | dict[str, LossSum]:
        """Read a batch, or compute its losses where targets are given.

        Args:
            images: [B, C, H, W], values in [0, 1], without mean or deviation taken off.
            targets: int64 [B, T] by granularity; and, where core areas are learned, what
                `models.supervision` describes.

        """
        if targets is not None:
            return self._losses(images, targets)
        encoding: Encoding = self.encode(images)
        logits, attention = self.decode(encoding.tokens)
        return Outputs.of(self.config, encoding, logits, attention)

    def _losses(self, images: Tensor, targets: Mapping[str, Tensor]) -> dict[str, LossSum]:
        # Imported here: it brings the compiler along, a second that readers need not wait.
        from modules.head_losses import counted_positions, head_losses

        positions = counted_positions(targets, self.pad_ids)
        encoding: Encoding = self.encode(images, "core_area" in targets)
        attention, features = {}, {}
        for name in self.config.granularities:
            attention[name], features[name] = self._aggregate(name, encoding.tokens)
        others = core_area_losses(self.config, encoding, targets, attention["char"])
        heads = {name: self.classifier(name) for name in self.config.granularities}
        losses = head_losses(heads, features, targets, positions, self.label_smoothing)
        return {f"{name}_loss": loss for name, loss in losses.items()} | others

    def loss_counts(self, targets: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What each loss of `forward` counts, by name, without a forward pass."""
        counts = {
            f"{name}_loss": label_count(targets[name], self.pad_ids[name])
            for name in self.config.granularities
        }
        return counts | core_area_counts(self.config, targets)

    def decode(self, tokens: Tensor) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Tokens [B, 1 + N, D] -> logits [B, T, classes] and attention [B, T, 1 + N] by name."""
        logits, attention = {}, {}
        for name in self.config.granularities:
            attention[name], features = self._aggregate(name, tokens)
            logits[name] = self.classifier(name)(features)
        return logits, attention

    def _aggregate(self, granularity: str, tokens: Tensor) -> tuple[Tensor, Tensor]:
        return getattr(self, f"{granularity}_tokenLearner")(tokens)


class MgpStr(A3Decoding, ViTEncoder):
    """ViT encoder with an A3 module and a linear head for each granularity.

    Attribute names are those of the official state dicts, which also hold layers that nothing
    uses: they are built, and never trained.
    """

    def __init__(self, config: ModelConfig, pad_ids: Mapping[str, int] | None = None):
        super().__init__(
            image_size=(config.image_height, config.image_width),
            in_channels=config.channels,
            width=config.width,
            depth=config.depth,
            num_heads=config.num_heads,
            patch_size=config.patch_size,
            stem=config.stem,
        )
        self.head = nn.Linear(config.width, config.num_classes("char"))
        self.init_transformer()
        self.build_heads(config, pad_ids)
        if config.core_area_head:
            self.core_area_head = CoreAreaHead(config.width, config.grid_size, config.patch_size)
        self.norm.requires_grad_(False)
        self.unused_head().requires_grad_(False)

    def unused_head(self) -> nn.Linear:
        """The official state dict's head that nothing reads."""
        return self.head

    def encode(self, images: Tensor, core_area: bool = True) -> Encoding:
        """Images [B, C, H, W] -> encoding, with the core-area map where the model has that head."""
        tokens = super().encode(images).tokens
        wanted = core_area and self.config.core_area_head
        return Encoding(tokens, self.core_area_head(tokens) if wanted else None)

    def learn_core_areas(self, supervised: bool) -> None:
        """Say whether core areas will be learned; what nothing uses otherwise is not trained."""
        if self.config.core_area_head:
            self.core_area_head.requires_grad_(supervised)


class CharStr(MgpStr):
    """CHAR-STR: the char granularity alone, whose logits come from `head`, not `char_head`."""

    def unused_head(self) -> nn.Linear:
        """The official state dict's head that nothing reads."""
        return self.char_head

    def classifier(self, granularity: str) -> nn.Linear:
        """The linear head whose logits are read."""
        return self.head

"""MGP-STR and its char-only forerunner CHAR-STR (MGP-STR, ECCV 2022)."""

from collections.abc import Mapping

from torch import Tensor, nn

from models.config import ModelConfig
from models.outputs import Outputs
from modules.a3 import A3
from modules.losses import LossSum, head_cross_entropy
from modules.vit import ViTEncoder


class MgpStr(ViTEncoder):
    """ViT encoder with an A3 module and a linear head for each granularity.

    In training, `model(images, targets)` returns the losses by name (so that DDP sees them); in
    evaluation, `model(images)` returns `Outputs`. Attribute names are those of the official
    state dicts, which also hold layers that nothing uses: they are built, and never trained.
    """

    def __init__(self, config: ModelConfig, pad_ids: Mapping[str, int] | None = None):
        super().__init__(
            image_size=(config.image_height, config.image_width),
            in_channels=config.channels,
            width=config.width,
            depth=config.depth,
            num_heads=config.num_heads,
            patch_size=(config.patch_height, config.patch_width),
            stem=config.stem,
        )
        self.config = config
        self.pad_ids = dict(pad_ids or dict.fromkeys(config.granularities, 0))
        self.head = nn.Linear(config.width, config.num_classes("char"))
        self.init_encoder()
        # The reference makes these after its initialisation: they keep PyTorch's defaults.
        for name in config.granularities:
            self.add_module(f"{name}_tokenLearner", A3(config.width, config.positions))
            self.add_module(f"{name}_head", nn.Linear(config.width, config.num_classes(name)))
        self.norm.requires_grad_(False)
        self._unused_head().requires_grad_(False)

    def _unused_head(self) -> nn.Linear:
        return self.head

    def _classifier(self, granularity: str) -> nn.Linear:
        return getattr(self, f"{granularity}_head")

    def forward(
        self, images: Tensor, targets: Mapping[str, Tensor] | None = None
    ) -> Outputs | dict[str, LossSum]:
        """Read a batch, or compute its losses where targets are given.

        Args:
            images: [B, C, H, W], values in [0, 1], without mean or deviation taken off.
            targets: int64 [B, T] by granularity.

        """
        tokens = self.encode(images)
        logits, attention, losses = {}, {}, {}
        for name in self.config.granularities:
            attention[name], features = getattr(self, f"{name}_tokenLearner")(tokens)
            classifier = self._classifier(name)
            if targets is None:
                logits[name] = classifier(features)
            else:
                losses[f"{name}_loss"] = head_cross_entropy(
                    classifier, features, targets[name], self.pad_ids[name]
                )
        return Outputs(**logits, attention=attention) if targets is None else losses


class CharStr(MgpStr):
    """CHAR-STR: the char granularity alone, whose logits come from `head`, not `char_head`."""

    def _unused_head(self) -> nn.Linear:
        return self.char_head

    def _classifier(self, granularity: str) -> nn.Linear:
        return self.head

"""ACDS-STR (IEEE TIP 2025), and its encoder with the heads of MGP-STR."""

from collections.abc import Mapping

from torch import Tensor, nn

from models.config import ModelConfig
from models.mgp_str import A3Decoding
from models.outputs import Outputs
from models.supervision import core_area_counts, core_area_losses
from modules.acds_encoder import AcdsEncoder
from modules.atd import ATD, token_shares
from modules.losses import LossSum, cross_entropy, label_count


def _encoder_arguments(config: ModelConfig) -> dict:
    return {
        "image_size": (config.image_height, config.image_width),
        "in_channels": config.channels,
        "patch_size": config.patch_size,
        **{
            name: getattr(config, name)
            for name in (
                "width",
                "depth",
                "num_heads",
                "extractor_stem",
                "extractor_widths",
                "extractor_blocks",
                "guided_blocks",
                "core_area_form",
            )
        },
    }


class AcdsStr(AcdsEncoder):
    """ACDS-STR: extractor, CAFM, and the ATD for characters.

    In training, `model(images, targets)` returns the losses by name; in evaluation,
    `model(images)` returns `Outputs`. The official state dict also holds a patch projection and two
    heads that nothing uses: they are built, and never trained.
    """

    label_smoothing: float = 0.0  # of the loss of the characters

    def __init__(self, config: ModelConfig, pad_ids: Mapping[str, int] | None = None):
        super().__init__(**_encoder_arguments(config))
        self.config = config
        self.pad_ids = dict(pad_ids or {"char": 0})
        classes = config.num_classes("char")
        self.patch_embed = nn.Module()
        size = config.patch_size
        self.patch_embed.proj = nn.Conv2d(config.channels, config.width, size, size)
        self.head = nn.Linear(config.width, classes)
        self.char_head = nn.Linear(config.width, classes)
        for unused in (self.patch_embed, self.head, self.char_head):
            unused.requires_grad_(False)
        num_tokens = self.pos_embed.shape[1]
        self.char_tokenLearner = ATD(num_tokens, config.width, config.positions, classes)

    def forward(
        self, images: Tensor, targets: Mapping[str, Tensor] | None = None
    ) -> Outputs | dict[str, LossSum]:
        """Read a batch, or compute its losses where targets are given.

        Args:
            images: [B, C, H, W], values in [0, 1], without mean or deviation taken off.
            targets: int64 [B, T] of `char`; and, where core areas are learned, what
                `models.supervision` describes.

        """
        encoding = self.encode(images, targets is None or "core_area" in targets)
        logits = self.char_tokenLearner(encoding.tokens)
        if targets is not None:
            loss = cross_entropy(
                logits, targets["char"], self.pad_ids["char"], self.label_smoothing
            )
            return {"char_loss": loss} | core_area_losses(self.config, encoding, targets)
        shares = token_shares(self.char_tokenLearner.token_weights(), images.shape[0])
        return Outputs.of(self.config, encoding, {"char": logits}, {"char": shares})

    def loss_counts(self, targets: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What each loss of `forward` counts, by name, without a forward pass."""
        counts = {"char_loss": label_count(targets["char"], self.pad_ids["char"])}
        return counts | core_area_counts(self.config, targets)


class AcdsMgpStr(A3Decoding, AcdsEncoder):
    """The encoder of ACDS-STR with an A3 module and a head for each granularity."""

    def __init__(self, config: ModelConfig, pad_ids: Mapping[str, int] | None = None):
        super().__init__(**_encoder_arguments(config))
        self.build_heads(config, pad_ids)

"""Small models of ACDS-STR and its kin, and a batch that they learn from."""

import torch

from models import create_model

NAMES = ("acds_str_tiny", "acds_mgp_str_tiny")
MGP_TINY = "mgp_str_tiny_patch4_3_32_128"
# Small subword heads, encoders and extractors: what these tests are about does not need them.
FEW = {"bpe_classes": 50, "wp_classes": 60, "width": 48}
LIGHT = {**FEW, "extractor_stem": 8, "extractor_widths": (8, 8, 16, 16, 32)}


def small_model(name: str, seed: int = 0, **changes):
    torch.manual_seed(seed)
    usual = LIGHT if name in NAMES else FEW
    return create_model(name, **{**usual, **changes}).train()


def batch_for(config, size: int = 2, seed: int = 1):
    """Random images, labels of all classes, and two characters' core areas."""
    random = torch.Generator().manual_seed(seed)
    shape = (config.image_height, config.image_width)
    images = torch.rand(size, config.channels, *shape, generator=random)
    targets = {
        name: torch.randint(1, config.num_classes(name), (size, config.positions), generator=random)
        for name in config.granularities
    }
    core_area = torch.zeros(size, 1, *shape, dtype=torch.uint8)
    core_area[:, :, 8:20, 8:30], core_area[:, :, 10:22, 40:60] = 1, 2
    targets |= {"core_area": core_area, "has_core_area": torch.ones(size, dtype=torch.bool)}
    return images, targets


def losses_of(model, **changes):
    images, targets = batch_for(model.config)
    targets = {k: v for k, v in (targets | changes).items() if v is not None}
    return model(images, targets)


def unreached(model) -> list[str]:
    """Trainable parameters without a gradient, for which DDP would wait for ever."""
    return [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]

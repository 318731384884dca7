"""ImageNet initialisation of the encoder, through timm."""

from torch import nn

# Encoder width -> timm's name of the ImageNet model that the reference starts from.
SOURCES = {
    192: "deit_tiny_distilled_patch16_224.fb_in1k",
    384: "deit_small_distilled_patch16_224.fb_in1k",
    768: "deit_base_patch16_224.fb_in1k",
    1024: "vit_large_patch16_224.mae",
}
# How the names of those entries begin that are taken of it.
IMAGENET_ENTRIES = ("cls_token", "blocks.", "norm.")


class PretrainedWeightsError(RuntimeError):
    """ImageNet weights that can't be had; the message says why, and what to do."""


def load_imagenet_weights(model: nn.Module) -> list[str]:
    """Copy class token, blocks and norm of an ImageNet model; patches and positions stay new.

    Args:
        model: an encoder with `blocks`; as many of the source's blocks are taken as it has.

    Returns:
        The names of the entries that were taken.

    Raises:
        PretrainedWeightsError: the width has no such source, or its weights can't be had.

    """
    width = model.cls_token.shape[-1]
    if width not in SOURCES:
        raise PretrainedWeightsError(
            f"There are no ImageNet weights for an encoder of width {width}; "
            f"widths with weights: {', '.join(map(str, SOURCES))}. Train without --pretrained."
        )
    import timm  # over a second and 190 MiB, which only this needs

    try:
        source = timm.create_model(SOURCES[width], pretrained=True).state_dict()
    except Exception as error:  # whatever the hub's client raises
        raise PretrainedWeightsError(
            f"The ImageNet weights {SOURCES[width]} can't be had ({type(error).__name__}: "
            f"{error}). Without a network, put them into the hub's cache first, or train without "
            "--pretrained."
        ) from error
    own = model.state_dict()
    taken = {
        name: value
        for name, value in source.items()
        if name.startswith(IMAGENET_ENTRIES) and name in own and own[name].shape == value.shape
    }
    model.load_state_dict(taken, strict=False)
    return sorted(taken)

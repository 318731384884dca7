"""What the options of training mean: losses, an optimizer with its schedule, an augmentation."""

from argparse import Namespace
from typing import Any

from augmentation import GROUPS
from engine.optimization import OPTIMIZERS, WITH_WARMUP, Optimization
from engine.option_error import OptionError
from models import ModelConfig

AUGMENTATION_MODES = {
    "isrand_aug": "random",
    "issel_aug": "selected",
    "issemantic_aug": "semantic",
    "isrotation_aug": "rotation",
    "isscatter_aug": "scatter",
    "islearning_aug": "learning",
}
# What the modes go by, as in the reference.
AUGMENTATION_DEFAULTS = {"augs_num": 3, "augs_mag": None, "intact_prob": 0.5}
# Of which optimizers a setting is.
OPTIMIZER_SETTINGS = {
    "beta1": ("adam", "adamw", "sgd"),
    "rho": ("adadelta",),
    "eps": ("adadelta",),
}
# Without --FT, --lr is 1 by default for all of them, as in the reference.
USUAL_RATES = {"adadelta": 1.0, "adam": 0.001, "adamw": 0.001, "sgd": 0.01}
CORE_AREA_WEIGHT = 0.5  # the reference's


def loss_weights(options: Namespace, config: ModelConfig) -> dict[str, float]:
    """Weights of the losses in the sum, by name.

    Raises:
        OptionError: a weight for a loss that the model or the options leave out.

    """
    weights = {}
    for name in ("char", "bpe", "wp"):
        given = getattr(options, f"{name}_weight")
        if given is not None and name not in config.granularities:
            raise OptionError(f"--{name}_weight is for a {name} head, which {config.name} lacks.")
        if name in config.granularities:
            weights[f"{name}_loss"] = 1.0 if given is None else given
    if options.core_area_weight is not None and not options.is_mask_supervision:
        raise OptionError(
            "--core_area_weight weighs the core-area loss, which needs --is_mask_supervision."
        )
    if options.guidance_weight and config.family == "acds-str":
        raise OptionError(
            f"--guidance_weight guides A3 attention, and {config.name} decodes with the ATD, which "
            "has none; acds_mgp_str models have."
        )
    given = options.core_area_weight
    core_area_weight = CORE_AREA_WEIGHT if given is None else given
    weights["core_area_loss"] = core_area_weight if options.is_mask_supervision else 0.0
    weights["guidance_loss"] = options.guidance_weight
    if not any(weights.values()):
        raise OptionError("All losses weigh 0: there is nothing to learn.")
    return weights


def optimization(options: Namespace) -> Optimization:
    """Optimizer and schedule that the options ask for.

    Raises:
        OptionError: --scheduler beside --schedule, --FT without --saved_model, --pretrained with
            it, --compile beside --recompute, a warm-up that the schedule has no room for, a setting
            of another optimizer.

    """
    if options.scheduler and options.schedule:
        raise OptionError(
            "--scheduler (the reference's) and --schedule exclude each other; give one."
        )
    if options.compile and options.recompute:
        raise OptionError("--compile decides by itself what to compute again; leave --recompute.")
    if options.FT and not options.saved_model:
        raise OptionError("--FT fine-tunes a checkpoint; name it with --saved_model.")
    if options.pretrained and options.saved_model:
        raise OptionError("--pretrained and --saved_model both give first weights; choose one.")
    schedule = "reference" if options.scheduler else options.schedule
    if options.warmup and (schedule or ("cosine" if options.FT else "constant")) not in WITH_WARMUP:
        raise OptionError(
            "--warmup goes with a constant rate and --schedule cosine; "
            f"{'--scheduler' if options.scheduler else schedule} has its own way."
        )
    if options.warmup >= options.num_iter:
        raise OptionError(
            f"--warmup {options.warmup} must be shorter than the run, --num_iter "
            f"{options.num_iter}."
        )
    optimizer = next((n for n in OPTIMIZERS if getattr(options, n, False)), "adadelta")
    for name, optimizers in OPTIMIZER_SETTINGS.items():
        if optimizer not in optimizers and getattr(options, name) != getattr(Optimization, name):
            raise OptionError(f"--{name} is a setting of {', '.join(optimizers)}, not {optimizer}.")
    lr = options.lr if options.lr is not None else 1.0
    if options.FT:
        schedule = schedule or "cosine"
        lr = options.lr if options.lr is not None else USUAL_RATES[optimizer] / 10
    return Optimization(
        optimizer=optimizer,
        lr=lr,
        beta1=options.beta1,
        rho=options.rho,
        eps=options.eps,
        weight_decay=options.weight_decay,
        layer_decay=options.layer_decay,
        grad_clip=options.grad_clip,
        schedule=schedule or "constant",
        warmup=options.warmup,
        iterations=options.num_iter,
    )


def augmentation_settings(options: Namespace) -> dict[str, Any] | None:
    """Arguments of `Augmenter`, or None for no augmentation.

    Raises:
        OptionError: a group without --issel_aug, --issel_aug without a group, or a setting that
            the mode does not go by.

    """
    groups = [name for name in GROUPS if getattr(options, name)]
    mode = next((m for o, m in AUGMENTATION_MODES.items() if getattr(options, o)), None)
    if groups and mode != "selected":
        raise OptionError(f"--{groups[0]} chooses a group of --issel_aug; add --issel_aug.")
    if mode == "selected" and not groups:
        raise OptionError(f"--issel_aug needs a group: {', '.join(f'--{g}' for g in GROUPS)}.")
    given = [
        name for name, usual in AUGMENTATION_DEFAULTS.items() if getattr(options, name) != usual
    ]
    if given and mode is None:
        modes = ", ".join(f"--{option}" for option in AUGMENTATION_MODES)
        raise OptionError(f"--{given[0]} is about augmentation, which none of {modes} asks for.")
    if "augs_num" in given and mode == "selected":
        raise OptionError("--augs_num is for modes that draw; --issel_aug takes every group.")
    if mode is None:
        return None
    return {
        "mode": mode,
        "number": options.augs_num,
        "magnitude": options.augs_mag,
        "intact_probability": options.intact_prob,
        "groups": tuple(groups),
        "seed": options.manualSeed,
    }

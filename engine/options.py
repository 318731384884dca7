"""What command-line options mean: a model's configuration, an optimizer, an augmentation."""

import re
from argparse import Namespace
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from augmentation import GROUPS
from engine.optimization import ENDING, OPTIMIZERS, WITH_WARMUP, Optimization
from engine.run_state import RunState
from models import ALIASES, ModelConfig, preset_config
from text import Charset
from text.subword import custom_codec

# --Transformer -> the model it stands for where --TransformerModel is not given.
DEFAULT_MODELS = {
    "mgp-str": "mgp_str_base_patch4_3_32_128",
    "char-str": "char_str_base_patch4_3_32_128",
    **ALIASES,
    "acds-mgp-str": "acds_mgp_str_base",
}
AUGMENTATION_MODES = {
    "isrand_aug": "random",
    "issel_aug": "selected",
    "issemantic_aug": "semantic",
    "isrotation_aug": "rotation",
    "isscatter_aug": "scatter",
    "islearning_aug": "learning",
}


# What a model of another preset takes over from the checkpoint that it starts from.
INHERITED = (
    "characters",
    "max_length",
    "image_height",
    "image_width",
    "channels",
    "keep_ratio",
    "bpe_classes",
    "wp_classes",
    "bpe_vocabulary",
    "wp_vocabulary",
    "core_area_form",
)


CORE_AREA_WEIGHT = 0.5  # the reference's


class OptionError(ValueError):
    """Options that contradict each other or a checkpoint."""


def model_changes(options: Namespace) -> dict[str, Any]:
    """What the options say about the model: fields of `ModelConfig` that were given.

    Raises:
        OptionError: --sensitive beside another --character; a model of another method.

    """
    if options.character is not None and options.sensitive:
        raise OptionError("--sensitive is a charset of its own; leave out --character, or it.")
    charset = "94" if options.sensitive else options.character
    try:
        characters = Charset.load(charset).characters if charset is not None else None
    except ValueError as error:
        raise OptionError(f"--character: {error}") from None
    changes: dict[str, Any] = {
        "max_length": options.batch_max_length,
        "image_height": options.imgH,
        "image_width": options.imgW,
        "channels": 3 if options.rgb else None,
        "keep_ratio": True if options.PAD else None,
        "characters": characters,
    }
    return {name: value for name, value in changes.items() if value is not None}


def chosen_model(options: Namespace) -> str | None:
    """Name of the model that the options ask for; None where they don't.

    Raises:
        OptionError: --TransformerModel is not one of --Transformer.

    """
    name, method = options.TransformerModel, options.Transformer
    if name is None:
        return DEFAULT_MODELS[method] if method else None
    if method in ALIASES and name != ALIASES[method]:
        raise OptionError(
            f"--Transformer {method} is the model {ALIASES[method]}, not {name}; leave out one of "
            "--Transformer and --TransformerModel."
        )
    family = preset_config(name).family
    if method is not None and method not in ALIASES and family != method:
        raise OptionError(f"--TransformerModel {name} is a model of {family}, not of {method}.")
    return name


def check_against_checkpoint(options: Namespace, config: ModelConfig) -> None:
    """Refuse options that a checkpoint's own configuration contradicts.

    Raises:
        OptionError: naming both values.

    """
    asked = model_changes(options)
    if options.TransformerModel is not None or options.Transformer in ALIASES:
        asked["name"] = chosen_model(options)
    elif options.Transformer is not None:
        asked["family"] = options.Transformer
    words = {
        "name": "--TransformerModel" if options.TransformerModel else "--Transformer",
        "family": "--Transformer",
        "max_length": "--batch_max_length",
        "image_height": "--imgH",
        "image_width": "--imgW",
        "channels": "--rgb (channels)",
        "keep_ratio": "--PAD (keeping the ratio)",
        "characters": "--sensitive" if options.sensitive else "--character",
    }
    for field, value in asked.items():
        own = getattr(config, field)
        if own != value:
            raise OptionError(
                f"{words[field]} asks for {value}, but {options.model_dir} was trained with {own}; "
                "leave the option out."
            )


def training_config(options: Namespace, start: ModelConfig | None) -> ModelConfig:
    """Configuration to train: what the options say, else the checkpoint's, else the defaults.

    Raises:
        OptionError: sizes that no patch fits, a charset or vocabulary that can't be used.

    """
    changes = model_changes(options)
    if options.core_area_form is not None:
        changes["core_area_form"] = options.core_area_form
    for name in ("bpe", "wp"):
        file = getattr(options, f"{name}_vocabulary")
        if file is not None:
            changes |= _vocabulary_changes(name, file)
    name = chosen_model(options)
    try:
        if start is None:
            changes = {"channels": 1} | changes
            config = preset_config(name or DEFAULT_MODELS["mgp-str"], **changes)
        elif (
            name in (None, start.name)
            # --Transformer alone, of the checkpoint's own method, asks for nothing new.
            or (options.TransformerModel is None and options.Transformer == start.family)
        ):
            config = start.with_changes(**changes)
        else:
            inherited = {field: getattr(start, field) for field in INHERITED}
            config = preset_config(name, **{**inherited, **changes})
        if options.is_mask_supervision and not config.has_extractor:
            config = config.with_changes(core_area_head=True)
    except ValueError as error:
        raise OptionError(str(error)) from None
    if options.core_area_form and not (config.has_extractor or config.core_area_head):
        raise OptionError(
            f"--core_area_form is for models that draw core areas, and {config.name} does not; "
            "--is_mask_supervision gives it a head for them."
        )
    for name in ("bpe", "wp"):
        if getattr(options, f"{name}_vocabulary") and name not in config.granularities:
            raise OptionError(
                f"--{name}_vocabulary is for a {name} head, which {config.name} lacks."
            )
    return config


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


def _vocabulary_changes(name: str, file: str) -> dict[str, Any]:
    try:
        text = Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise OptionError(f"--{name}_vocabulary {file} can't be read: {error}") from None
    try:
        codec = custom_codec(name, text, positions=3)
    except ValueError as error:
        raise OptionError(f"{file}: {error}") from None
    return {f"{name}_vocabulary": text, f"{name}_classes": codec.num_classes}


def optimization(options: Namespace) -> Optimization:
    """Optimizer and schedule that the options ask for.

    Raises:
        OptionError: --scheduler beside --schedule, --FT without --saved_model, --pretrained with,
            a warm-up that the schedule has no room for.

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
            f"--warmup goes with a constant rate and --schedule cosine; {schedule} has its own way."
        )
    if options.warmup >= options.num_iter:
        raise OptionError(
            f"--warmup {options.warmup} must be shorter than the run, --num_iter "
            f"{options.num_iter}."
        )
    lr = options.lr if options.lr is not None else 1.0
    if options.FT:
        schedule = schedule or "cosine"
        lr = options.lr if options.lr is not None else 0.1
    return Optimization(
        optimizer=next((n for n in OPTIMIZERS if getattr(options, n, False)), "adadelta"),
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
        OptionError: a group without --issel_aug, or --issel_aug without a group.

    """
    groups = [name for name in GROUPS if getattr(options, name)]
    mode = next((m for o, m in AUGMENTATION_MODES.items() if getattr(options, o)), None)
    if groups and mode != "selected":
        raise OptionError(f"--{groups[0]} chooses a group of --issel_aug; add --issel_aug.")
    if mode == "selected" and not groups:
        raise OptionError(f"--issel_aug needs a group: {', '.join(f'--{g}' for g in GROUPS)}.")
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


def check_evaluation(options: Namespace) -> None:
    """Refuse ways of scoring that exclude each other.

    Raises:
        OptionError: --eval_img beside an option for LMDBs, --fast_acc without the benchmark sets,
            one checkpoint compared with itself, a gallery without a page to be on.

    """
    if options.compare and Path(options.compare[0]) == Path(options.compare[1]):
        raise OptionError("--compare needs two different checkpoints.")
    if options.gallery is not None and not options.report:
        raise OptionError("--gallery is a part of the page of --report; add that.")
    if options.eval_img and options.benchmark_all_eval:
        raise OptionError(
            "--eval_img scores one folder of images, and --benchmark_all_eval LMDBs; give one."
        )
    if options.fast_acc and not options.benchmark_all_eval:
        raise OptionError("--fast_acc chooses from the sets of --benchmark_all_eval; add that.")


def check_demo(options: Namespace) -> None:
    """Refuse what a page does not do, and what only a page does.

    Raises:
        OptionError: no images without --web, --port without it, or files to write beside it.

    """
    if not options.web:
        if options.port is not None:
            raise OptionError("--port is that of the page of --web; add that.")
        if options.demo_imgs is None:
            raise OptionError("--demo_imgs names the images to read; or give --web.")
        return
    for name in ("attention_dir", "no_attention", "csv", "json"):
        if getattr(options, name):
            raise OptionError(
                f"--{name} is about files, and the page of --web writes none; leave one of them "
                "out. The page's table can be downloaded."
            )


def checkpoints_to_test(options: Namespace) -> list[Path]:
    """The checkpoint of --model_dir, or the iter_N.pth of a folder that lie in --range; or the two
    of --compare.

    Raises:
        OptionError: --range without a folder or of another form, no such checkpoint.

    """
    if options.compare:
        if options.range:
            raise OptionError("--range chooses from the folder of --model_dir, not of --compare.")
        return [Path(path) for path in options.compare]
    path, wanted = Path(options.model_dir), options.range
    if not path.is_dir() or (path / "config.json").is_file():
        if wanted:
            raise OptionError(
                f"--range chooses from a folder of iter_N.pth; --model_dir {path} is none."
            )
        return [path]
    first, last = 0, float("inf")
    if wanted:
        bounds = re.fullmatch(r"(\d+)-(\d+)", wanted)
        if not bounds:
            raise OptionError(f"--range {wanted} must be two iterations, as in 5000-20000.")
        first, last = int(bounds[1]), int(bounds[2])
    numbered = {
        int(match[1]): file
        for file in path.iterdir()
        if (match := re.fullmatch(r"iter_(\d+)\.pth", file.name))
    }
    chosen = [numbered[n] for n in sorted(numbered) if first <= n <= last]
    if not chosen:
        there = ", ".join(f"iter_{n}.pth" for n in sorted(numbered)[:5])
        raise OptionError(f"There is no iter_N.pth to test in {path}; it has {there or 'none'}.")
    return chosen


def check_same_model(own: ModelConfig, asked: ModelConfig, path: Path) -> None:
    """Refuse to resume a run with another model than its own.

    Raises:
        OptionError: naming what differs.

    """
    before, now = own.to_dict(), asked.to_dict()
    differ = [f"{n} was {before[n]} and is {now[n]} now" for n in now if before[n] != now[n]]
    if differ:
        raise OptionError(
            f"The run of {path} has another model: {'; '.join(differ)[:400]}. Give the options it "
            "was started with; or start a new run from its weights, with --saved_model."
        )


# What a run can't change in its midst: its optimizer and schedule, and what decides on the draws.
FIXED = ("amp", "manualSeed", "select_data", "freeze", "is_mask_supervision")
# What changes nothing in the weights, or is compared as the `Optimization` that it comes to.
FREE = ("resume", "saved_model", "saved_path", "exp_name", "workers", "save_interval", "keep_last")
FREE += ("local_rank", "world_size", "dist_url", "device", "valInterval", "max_skipped")
FREE += ("dry_run", "timeout", "wandb", "eval_data")
FREE += ("adam", "adamw", "sgd", "lr", "beta1", "rho", "eps", "weight_decay", "layer_decay")
FREE += ("grad_clip", "scheduler", "schedule", "warmup", "FT", "num_iter")


def check_against_state(
    options: Mapping[str, Any],
    optimization: Optimization,
    world_size: int,
    streams: Mapping[str, int | str],
    state: RunState,
) -> list[str]:
    """Refuse options that a resumed run can't change; tell what else can't be exact.

    Args:
        options: of this start, as `plain_options`.
        optimization: what they come to.
        world_size: number of processes.
        streams: identity of each source, by name.
        state: of the run.

    Raises:
        OptionError: naming the options, and both values.

    """
    own = state.options
    changed = [n for n in own if n in options and n not in FREE and options[n] != own[n]]
    fixed = [f"--{n} was {own[n]} and is {options[n]} now" for n in changed if n in FIXED]
    before, now = state.optimization, asdict(optimization)
    differ = [n for n in now if before.get(n) != now[n]]
    longer = now["schedule"] not in ENDING and differ == ["iterations"]
    if differ and not longer:
        fixed += [f"{n} (optimization) was {before.get(n)} and is {now[n]} now" for n in differ]
    if fixed:
        told = ", ".join(fixed)
        raise OptionError(
            f"A run can't change this in its midst: {told}. Give the options it was started with; "
            "or start a new run from its weights, with --saved_model."
        )
    notes = [f"changed in this run: --{n}, {own[n]} before, {options[n]} now" for n in changed]
    if longer:
        notes.append(f"changed in this run: --num_iter, now {now['iterations']}")
    if "valid_data" in changed:
        notes.append("the best accuracy is looked for anew, as it is one of other images")
    for stream in state.streams:
        name, identity = stream["name"], stream["identity"]
        if name in streams and streams[name] != identity:
            notes.append(
                f"warning: {name} is not the same any more (records or digest {identity} before, "
                f"{streams[name]} now): its images come in another order, or are others"
            )
    if len(state.random) != world_size:
        notes.append(
            f"warning: {len(state.random)} process(es) before, {world_size} now: the data go on at "
            "the right sample, but sums in another order, random states and BatchNorm statistics "
            "of other ranks, and a batch of another size over all can't give the same numbers"
        )
    return notes

"""The command-line options of training: data, run, guidance, optimization, augmentation."""

import argparse

from augmentation import GROUPS
from console.argument_types import (
    above_zero,
    decay,
    positive,
    seed,
    share,
    share_or_none,
    weight,
    whole,
)
from engine.freezing import scope
from engine.learning_options import AUGMENTATION_DEFAULTS
from engine.optimization import SCHEDULES
from engine.step import AMP_TYPES
from engine.stream_options import add_stream_options
from models import GRANULARITIES
from models.config import CORE_AREA_FORMS
from text import CHARSET_PRESETS


def add_protocol_option(group: argparse._ArgumentGroup) -> None:
    """How words are compared; testing has it, too."""
    group.add_argument(
        "--protocol",
        choices=list(CHARSET_PRESETS),
        help="how words are compared: 36 without case and punctuation, 62 with case, 94 with case "
        "and punctuation (default: 36, as the field does; a charset of one's own as it is)",
    )


def add_training_options(parser: argparse.ArgumentParser) -> None:
    """Those that no other script has."""
    _add_data(parser)
    add_stream_options(
        parser.add_argument_group(
            "rendered words", "With synthetic in --select_data: an endless stream, each word once."
        ),
        "normal",
        "synthetic_",
    )
    _add_run(parser)
    _add_first_weights(parser)
    _add_vocabularies(parser)
    _add_losses(parser)
    _add_guidance(parser)
    _add_optimization(parser)
    _add_speed(parser)
    _add_augmentation(parser)


def _add_data(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("data")
    group.add_argument(
        "--train_data",
        help="folder with the training LMDBs; needed unless --select_data is "
        "synthetic alone (default: none)",
    )
    group.add_argument("--valid_data", required=True, help="folder with the validation LMDBs")
    group.add_argument(
        "--eval_data",
        help="folder with LMDBs that are also scored, for the best weights and at the end, without "
        "choosing by them (default: none)",
    )
    add_protocol_option(group)
    group.add_argument(
        "--select_data",
        default="MJ-ST",
        help="folders below --train_data to mix, joined by dashes, which their names can't have; / "
        "for all; synthetic for words that are rendered while training (default: MJ-ST)",
    )
    group.add_argument(
        "--batch_ratio",
        help="share of a batch for each of --select_data, as in 0.5-0.5 (default: equal shares)",
    )
    group.add_argument(
        "--total_data_usage_ratio",
        type=share,
        default=1.0,
        help="part of each LMDB to use, 0 to 1 (default: 1.0)",
    )
    group.add_argument(
        "--data_filtering_off",
        action="store_true",
        help="also train on labels that are too long before, but not after, foreign characters are "
        "removed, and score labels without any character of the protocol (default: off)",
    )


def _add_run(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("run")
    group.add_argument(
        "--saved_path", default="./saved_models", help="folder of runs (default: ./saved_models)"
    )
    group.add_argument(
        "--exp_name", help="folder of this run below --saved_path (default: <model>-Seed<seed>)"
    )
    group.add_argument(
        "--manualSeed",
        type=seed,
        default=1111,
        help="seed of all draws, 0 or more (default: 1111)",
    )
    group.add_argument(
        "--num_iter",
        type=positive,
        default=300_000,
        help="length of the run, in iterations (default: 300000)",
    )
    group.add_argument(
        "--valInterval",
        type=positive,
        default=2000,
        help="iterations between validations (default: 2000)",
    )
    group.add_argument(
        "--resume",
        metavar="auto|PATH",
        help="continue an interrupted run: auto takes the newest good state in its folder, and "
        "starts a new run where there is none; or name a last.pth or a folder (default: a new run)",
    )
    group.add_argument(
        "--save_interval",
        type=positive,
        help="iterations between two states to resume from, last.pth (default: --valInterval)",
    )
    group.add_argument(
        "--keep_last",
        type=positive,
        default=2,
        help="states to resume from that are kept (default: 2)",
    )
    group.add_argument(
        "--keep_iterations",
        type=positive,
        metavar="N",
        help="keep only the last N iter_N.pth, the weights of every validation (default: all)",
    )
    group.add_argument(
        "--max_skipped",
        type=positive,
        default=20,
        help="stop after so many steps in a row whose loss or gradient is not finite (default: 20)",
    )
    group.add_argument(
        "--dry_run",
        action="store_true",
        help="check options, data and memory, take a few steps, print how long the run would take, "
        "and write nothing but the data's indexes (default: off)",
    )
    group.add_argument(
        "--wandb",
        metavar="PROJECT",
        help="also log to this project of Weights & Biases; needs the wandb package (default: no)",
    )


def _add_first_weights(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("initial weights, and parts that are not trained")
    group.add_argument(
        "--saved_model",
        help="checkpoint to start from, or name of shipped weights (default: none)",
    )
    group.add_argument(
        "--pretrained",
        action="store_true",
        help="start the encoder from ImageNet weights, which timm downloads (default: off)",
    )
    group.add_argument(
        "--FT",
        action="store_true",
        help="fine-tune --saved_model: a tenth of the optimizer's usual rate, on a cosine "
        "schedule (default: off)",
    )
    group.add_argument(
        "--freeze",
        nargs="*",
        type=scope,
        metavar="SCOPE",
        help="parts not to train: guided (the extractor's part that draws core areas; its "
        "BatchNorm statistics go on, as in the official code), stem, blocks:N (stem and first N "
        "blocks), encoder, heads; guided without a value (default: train all)",
    )


def _add_vocabularies(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("vocabularies")
    group.add_argument(
        "--bpe_vocabulary", help="tokenizers JSON file for BPE (default: GPT-2's, in assets/)"
    )
    group.add_argument(
        "--wp_vocabulary",
        help="tokenizers JSON file for WordPiece (default: bert-base-uncased's, in assets/)",
    )


def _add_losses(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("losses")
    for name in GRANULARITIES:
        group.add_argument(
            f"--{name}_weight", type=weight, help=f"weight of the {name} head's loss (default: 1)"
        )
    group.add_argument(
        "--label_smoothing",
        type=decay,
        default=0.0,
        help="share of each target spread over all classes, 0 to below 1 (default: 0)",
    )


def _add_guidance(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group(
        "attention guidance", "By character boxes; records without boxes can be mixed in."
    )
    group.add_argument(
        "--is_mask_supervision",
        action="store_true",
        help="manual guidance: learn core areas from boxes; a model without an extractor gets a "
        "core-area head (default: off; ACDS-STR's map is then learned without supervision)",
    )
    group.add_argument(
        "--core_area_form",
        choices=CORE_AREA_FORMS,
        help="form of the core-area map: linear, clamped in its loss, or sigmoid (default: linear, "
        "else as the checkpoint)",
    )
    group.add_argument(
        "--core_area_weight",
        type=weight,
        help="weight of the core-area loss, with --is_mask_supervision (default: 0.5)",
    )
    group.add_argument(
        "--guidance_weight",
        type=weight,
        default=0.0,
        help="weight of the loss that draws each position's A3 attention to its character's "
        "core area (default: 0)",
    )


def _add_optimization(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("optimization")
    kind = group.add_mutually_exclusive_group()
    kind.add_argument("--adam", action="store_true", help="Adam (default: Adadelta)")
    kind.add_argument("--adamw", action="store_true", help="AdamW (default: Adadelta)")
    kind.add_argument("--sgd", action="store_true", help="SGD with momentum (default: Adadelta)")
    group.add_argument(
        "--lr",
        type=above_zero,
        help="learning rate, above 0 (default: 1 for every optimizer; with --FT 0.1 for "
        "Adadelta, 0.0001 for Adam and AdamW, 0.001 for SGD)",
    )
    group.add_argument(
        "--beta1",
        type=decay,
        default=0.9,
        help="Adam's beta1 and SGD's momentum, 0 to below 1 (default: 0.9)",
    )
    group.add_argument(
        "--rho", type=decay, default=0.95, help="Adadelta's decay, 0 to below 1 (default: 0.95)"
    )
    group.add_argument(
        "--eps", type=above_zero, default=1e-8, help="Adadelta's eps, above 0 (default: 1e-8)"
    )
    group.add_argument(
        "--scheduler",
        action="store_true",
        help="the official schedule: cosine with restarts every 1,000,000 iterations "
        "(default: constant rate)",
    )
    group.add_argument(
        "--schedule",
        choices=[s for s in SCHEDULES if s != "reference"],
        help="another schedule; all but constant end with --num_iter (default: constant)",
    )
    group.add_argument(
        "--warmup",
        type=whole,
        default=0,
        help="iterations of linear warm-up, before constant and cosine only (default: 0)",
    )
    group.add_argument(
        "--weight_decay",
        type=weight,
        default=0.0,
        help="weight decay of matrices and filters; biases, norms and embeddings have none "
        "(default: 0)",
    )
    group.add_argument(
        "--layer_decay",
        type=share,
        default=1.0,
        help="factor of the learning rate from each block to the one before (default: 1)",
    )
    group.add_argument(
        "--grad_clip",
        type=above_zero,
        default=5.0,
        help="largest L2 norm of the gradient, above 0 (default: 5)",
    )
    group.add_argument(
        "--stochastic_depth",
        type=decay,
        default=0.0,
        help="probability of dropping the last block's branches, 0 to below 1; less toward the "
        "first block (default: 0)",
    )
    group.add_argument(
        "--ema",
        type=decay,
        metavar="DECAY",
        help="validate and keep a moving average of the weights, as in 0.9999; 0 to below 1 "
        "(default: off)",
    )


def _add_speed(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("speed and memory")
    group.add_argument(
        "--accumulate",
        type=positive,
        default=1,
        help="batches for each step, where the memory holds no larger --batch_size (default: 1)",
    )
    group.add_argument(
        "--amp",
        choices=list(AMP_TYPES),
        default="off",
        help="precision of matrix products (default: off, that is fp32)",
    )
    group.add_argument(
        "--compile",
        action="store_true",
        help="torch.compile the model; the first steps take minutes (default: off)",
    )
    group.add_argument(
        "--recompute",
        action="store_true",
        help="compute activations again in the backward pass: less memory, more time, which "
        "tools/bench_train.py --recompute measures (default: off)",
    )
    group.add_argument(
        "--channels_last",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="memory layout with channels last, faster for convolutions (default: on)",
    )


def _add_augmentation(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group(
        "augmentation", "Modes exclude each other; the default is no augmentation."
    )
    mode = group.add_mutually_exclusive_group()
    texts = {
        "isrand_aug": "--augs_num random groups of the eight",
        "issel_aug": "one operation from each group that is named below",
        "issemantic_aug": "noise, motion blur, geometry",
        "isrotation_aug": "rotation alone",
        "isscatter_aug": "distortion and shrinking",
        "islearning_aug": "--augs_num of distortion, noise, motion blur, geometry",
    }
    for name, text in texts.items():
        mode.add_argument(f"--{name}", action="store_true", help=f"{text} (default: off)")
    mode.add_argument(
        "--close_aug", action="store_true", help="no augmentation, explicitly (default: off)"
    )
    group.add_argument(
        "--augs_num",
        type=positive,
        default=AUGMENTATION_DEFAULTS["augs_num"],
        help="operations on each image, in all modes but --issel_aug (default: %(default)s)",
    )
    group.add_argument(
        "--augs_mag",
        type=int,
        choices=[0, 1, 2],
        default=AUGMENTATION_DEFAULTS["augs_mag"],
        help="magnitude of the operations, 0 weak to 2 strong (default: random)",
    )
    group.add_argument(
        "--intact_prob",
        type=share_or_none,
        default=AUGMENTATION_DEFAULTS["intact_prob"],
        help="share of images left as they are, 0 to 1 (default: %(default)s)",
    )
    for name in GROUPS:
        group.add_argument(
            f"--{name}", action="store_true", help=f"with --issel_aug: {name} (default: off)"
        )

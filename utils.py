"""The command-line options of the scripts.

Defaults that a checkpoint may know are None here, and resolved in engine/options.py; the effective
one stands in the help.
"""

import argparse
import io
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from augmentation import GROUPS
from engine.argument_types import (
    above_zero,
    decay,
    positive,
    share,
    share_or_none,
    weight,
    whole,
    workers,
)
from engine.optimization import SCHEDULES
from engine.options import DEFAULT_MODELS
from engine.step import AMP_TYPES
from engine.stream_options import add_stream_options
from models import GRANULARITIES, list_models
from modules.core_area import FORMS

# Options of the official parsers that never had an effect in these methods.
REFUSED = {
    "sel_prob": "the augmentation draws with --intact_prob, --augs_num and --augs_mag",
    "mask_ratio": "no model of this project masks its input",
    "patch_size": "the patch is part of --TransformerModel",
    "Transformation": "there is no rectification stage",
    "FeatureExtraction": "the encoder is part of --Transformer",
    "SequenceModeling": "there is no sequence stage",
    "Prediction": "the heads are part of --Transformer",
    "num_fiducial": "there is no rectification stage",
    "input_channel": "--rgb says how many channels the input has",
    "output_channel": "the width is part of --TransformerModel",
    "hidden_size": "the width is part of --TransformerModel",
}


class _Parser(argparse.ArgumentParser):
    def __init__(self, script: str, description: str):
        super().__init__(
            prog=f"{script}.py",
            description=description,
            formatter_class=argparse.HelpFormatter,
            allow_abbrev=False,
            fromfile_prefix_chars="@",
            epilog="@FILE stands for the options in a text file; # begins a remark.",
        )
        self.script = script

    def convert_arg_line_to_args(self, line: str) -> list[str]:
        """The arguments in a line of an @file; `#` begins a remark."""
        return shlex.split(line, comments=True)

    def error(self, message: str) -> NoReturn:
        if message.startswith("unrecognized arguments: "):
            message = self._explain(message.removeprefix("unrecognized arguments: ").split())
        super().error(message)

    def _explain(self, arguments: Sequence[str]) -> str:
        option = next((a for a in arguments if a.startswith("-")), arguments[0])
        name = option.lstrip("-").split("=")[0]
        if name in REFUSED:
            return f"--{name} has no effect in these methods: {REFUSED[name]}. Leave it out."
        others = [
            f"{s}.py" for s in _SCRIPTS if s != self.script and f"--{name}" in _known_options(s)
        ]
        if others:
            return f"--{name} is an option of {' and '.join(others)}, not of {self.prog}."
        if option.startswith("-") and not option.startswith("--"):
            return f"{option} is not known; options begin with two dashes: --{name}?"
        return f"{option} is not known; see {self.prog} --help."


def get_args(script: str, argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Options of a script.

    Args:
        script: train_final_dist, test_final or demo.
        argv: arguments, None for those of the command line.

    """
    for stream in (sys.stdout, sys.stderr):
        # A terminal that lacks a label's letters must not end a run.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    options = build_parser(script).parse_args(argv)
    if getattr(options, "workers", 0) == -1:
        options.workers = os.cpu_count() or 1
    return options


def build_parser(script: str) -> argparse.ArgumentParser:
    """Parser of a script's options."""
    description, adders = _SCRIPTS[script]
    parser = _Parser(script, description)
    for add in adders:
        add(parser)
    return parser


def _known_options(script: str) -> set[str]:
    return {o for action in build_parser(script)._actions for o in action.option_strings}


def _add_model_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group(
        "model", "A checkpoint knows these; give them to train anew or to change a model."
    )
    group.add_argument(
        "--Transformer",
        choices=list(DEFAULT_MODELS),
        help="method (default: mgp-str)",
    )
    group.add_argument(
        "--TransformerModel",
        choices=list_models(),
        metavar="MODEL",
        help=f"{', '.join(list_models())} (default: the base size of --Transformer)",
    )
    group.add_argument(
        "--batch_max_length", type=positive, help="longest label, in characters (default: 25)"
    )
    group.add_argument("--imgH", type=positive, help="input height, in pixels (default: 32)")
    group.add_argument("--imgW", type=positive, help="input width, in pixels (default: 128)")
    group.add_argument(
        "--rgb",
        action="store_true",
        default=None,
        help="color input (default: grey when training anew, else as the checkpoint)",
    )
    group.add_argument(
        "--character",
        help="charset: 36, 62, 94, a UTF-8 file, or the characters (default: 36, 0-9a-z)",
    )
    group.add_argument(
        "--sensitive",
        action="store_true",
        default=None,
        help="charset of the 94 printable ASCII characters (default: off)",
    )
    group.add_argument(
        "--PAD",
        action="store_true",
        default=None,
        help="keep the ratio of width to height and fill with black on the right (default: off, "
        "else as the checkpoint)",
    )


def _add_machine_options(parser: argparse.ArgumentParser, batch_size: int) -> None:
    group = parser.add_argument_group("machine")
    group.add_argument(
        "--batch_size",
        type=positive,
        default=batch_size,
        help=f"images a batch and process (default: {batch_size})",
    )
    group.add_argument(
        "--device", choices=["cuda", "cpu"], help="where to compute (default: cuda if there)"
    )


def _add_workers_option(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("loading")
    group.add_argument(
        "--workers",
        type=workers,
        default=4,
        help="processes that load data; -1 for as many as cores (default: 4)",
    )


def _add_filter_option(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("labels")
    group.add_argument(
        "--data_filtering_off",
        action="store_true",
        help="keep labels that are too long as annotated (default: off)",
    )


def _add_launch_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("launch", "Set by torchrun or torch.distributed.launch.")
    group.add_argument(
        "--local_rank",
        "--local-rank",
        type=int,
        help="rank on this machine; checked against the launcher's (default: the launcher's)",
    )
    group.add_argument(
        "--world_size",
        type=int,
        help="number of processes; checked against the launcher's (default: the launcher's)",
    )
    group.add_argument(
        "--dist_url",
        choices=["env://"],
        help="where processes meet; the launcher's environment is the only way (default: env://)",
    )


def _add_training_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("data")
    group.add_argument(
        "--train_data",
        help="folder with the training LMDBs; needed unless --select_data is "
        "synthetic alone (default: none)",
    )
    group.add_argument("--valid_data", required=True, help="folder with the validation LMDBs")
    group.add_argument(
        "--select_data",
        default="MJ-ST",
        help="folders below --train_data to mix, joined by dashes; / for all; synthetic for words "
        "that are rendered while training (default: MJ-ST)",
    )
    group.add_argument(
        "--batch_ratio", help="their shares of a batch, as in 0.5-0.5 (default: equal shares)"
    )
    group.add_argument(
        "--total_data_usage_ratio",
        type=share,
        default=1.0,
        help="part of each LMDB to use, 0 to 1 (default: 1.0)",
    )
    _add_filter_option(parser)

    group = parser.add_argument_group(
        "rendered words", "With synthetic in --select_data: an endless stream, each word once."
    )
    add_stream_options(group, "normal", "synthetic_")

    group = parser.add_argument_group("run")
    group.add_argument("--saved_model", help="checkpoint to start from (default: none)")
    group.add_argument(
        "--pretrained",
        action="store_true",
        help="start the encoder from ImageNet weights, which timm downloads (default: off)",
    )
    group.add_argument(
        "--saved_path", default="./saved_models", help="folder of runs (default: ./saved_models)"
    )
    group.add_argument(
        "--exp_name", help="folder of this run below it (default: <model>-Seed<seed>)"
    )
    group.add_argument(
        "--manualSeed",
        type=whole,
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
        help="go on with an interrupted run: auto takes the newest good state of this run's folder "
        "and starts afresh where there is none; or a last.pth, or a folder (default: a new run)",
    )
    group.add_argument(
        "--save_interval",
        type=positive,
        help="iterations between two states to resume from, last.pth (default: --valInterval)",
    )
    group.add_argument(
        "--keep_last", type=positive, default=2, help="how many such states to keep (default: 2)"
    )
    group.add_argument(
        "--bpe_vocabulary", help="tokenizers JSON file for BPE (default: GPT-2's, in assets/)"
    )
    group.add_argument(
        "--wp_vocabulary",
        help="tokenizers JSON file for WordPiece (default: bert-base-uncased's, in assets/)",
    )

    group = parser.add_argument_group(
        "attention guidance", "From character boxes; records without boxes mix in freely."
    )
    group.add_argument(
        "--is_mask_supervision",
        action="store_true",
        help="manual guidance: learn core areas from boxes; a model without an extractor gets a "
        "core-area head (default: off, subjective learning)",
    )
    group.add_argument(
        "--freeze",
        action="store_true",
        help="don't train the extractor's part that draws core areas (default: off)",
    )
    group.add_argument(
        "--core_area_form",
        choices=FORMS,
        help="of the core-area map: linear, clamped in its loss, or sigmoid (default: linear, else "
        "as the checkpoint)",
    )
    group.add_argument(
        "--core_area_weight",
        type=weight,
        help="of the core-area loss, with --is_mask_supervision (default: 0.5)",
    )
    group.add_argument(
        "--guidance_weight",
        type=weight,
        default=0.0,
        help="of the loss that draws each position's A3 attention to its character's core area "
        "(default: 0)",
    )
    for name in GRANULARITIES:
        group.add_argument(
            f"--{name}_weight", type=weight, help=f"of the {name} head's loss (default: 1)"
        )

    group = parser.add_argument_group("optimization")
    kind = group.add_mutually_exclusive_group()
    kind.add_argument("--adam", action="store_true", help="Adam (default: Adadelta)")
    kind.add_argument("--adamw", action="store_true", help="AdamW (default: Adadelta)")
    kind.add_argument("--sgd", action="store_true", help="SGD with momentum (default: Adadelta)")
    group.add_argument(
        "--lr", type=above_zero, help="learning rate, above 0 (default: 1, with --FT 0.1)"
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
        "--weight_decay",
        type=weight,
        default=0.0,
        help="of matrices and filters; biases, norms and embeddings have none (default: 0)",
    )
    group.add_argument(
        "--layer_decay",
        type=share,
        default=1.0,
        help="factor of the learning rate from each block to the one before (default: 1)",
    )
    group.add_argument(
        "--label_smoothing",
        type=decay,
        default=0.0,
        help="share of each target spread over all classes, 0 to below 1 (default: 0)",
    )
    group.add_argument(
        "--stochastic_depth",
        type=decay,
        default=0.0,
        help="probability to leave out the last block's branches, 0 to below 1; less for the ones "
        "before (default: 0)",
    )
    group.add_argument(
        "--warmup",
        type=whole,
        default=0,
        help="iterations in which the rate rises, before constant and cosine (default: 0)",
    )
    group.add_argument(
        "--grad_clip",
        type=above_zero,
        default=5.0,
        help="largest L2 norm of the gradient, above 0 (default: 5)",
    )
    group.add_argument(
        "--max_skipped",
        type=positive,
        default=20,
        help="steps in a row whose loss is no finite number, after which a run ends (default: 20)",
    )
    group.add_argument(
        "--scheduler",
        action="store_true",
        help="the reference's schedule: cosine with restarts every 1,000,000 iterations "
        "(default: constant rate)",
    )
    group.add_argument(
        "--schedule",
        choices=[s for s in SCHEDULES if s != "reference"],
        help="a schedule that ends with --num_iter instead (default: constant)",
    )
    group.add_argument(
        "--FT",
        action="store_true",
        help="fine-tuning: needs --saved_model; a tenth of the rate, cosine (default: off)",
    )
    group.add_argument(
        "--amp",
        choices=list(AMP_TYPES),
        default="off",
        help="type of the matrix products (default: off, that is fp32)",
    )

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
        "--augs_num", type=positive, default=3, help="operations an image (default: 3)"
    )
    group.add_argument(
        "--augs_mag",
        type=int,
        choices=[0, 1, 2],
        help="magnitude of the operations, 0 weak to 2 strong (default: random)",
    )
    group.add_argument(
        "--intact_prob",
        type=share_or_none,
        default=0.5,
        help="share of images left as they are, 0 to 1 (default: 0.5)",
    )
    for name in GROUPS:
        group.add_argument(
            f"--{name}", action="store_true", help=f"with --issel_aug: {name} (default: off)"
        )


def _add_test_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("evaluation")
    group.add_argument(
        "--model_dir",
        "--saved_model",
        required=True,
        help="checkpoint, or a folder of iter_N.pth of which the best is looked for",
    )
    group.add_argument(
        "--range", help="with a folder: iterations to test, as in 5000-20000 (default: all)"
    )
    group.add_argument("--eval_data", required=True, help="folder with the evaluation LMDBs")
    group.add_argument(
        "--benchmark_all_eval",
        action="store_true",
        help="score every LMDB below --eval_data by its folder's name, with the benchmark totals "
        "(default: all LMDBs below it as one set)",
    )
    group.add_argument(
        "--fast_acc",
        action="store_true",
        help="with --benchmark_all_eval: only the six sets of the papers' tables (default: off)",
    )
    group.add_argument(
        "--eval_img",
        action="store_true",
        help="--eval_data is a folder of images with a gt.txt, not of LMDBs (default: off)",
    )
    group.add_argument(
        "--calculate_infer_time",
        action="store_true",
        help="say the milliseconds an image that the model takes (default: off)",
    )
    group.add_argument(
        "--flops", action="store_true", help="count the model's operations an image (default: off)"
    )
    group.add_argument(
        "--results", default="results", help="folder of the log and the JSON (default: results)"
    )
    _add_filter_option(parser)


def _add_demo_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("reading")
    group.add_argument("--model_dir", "--saved_model", required=True, help="checkpoint")
    group.add_argument(
        "--demo_imgs", required=True, help="an image, a folder of images, or a glob in quotes"
    )
    group.add_argument(
        "--attention_dir",
        help="folder of the attention pictures (default: attens, beside the images)",
    )
    group.add_argument("--no_attention", action="store_true", help="draw none (default: off)")
    group.add_argument("--csv", help="also write the readings to this CSV file (default: no)")
    group.add_argument("--json", help="also write the readings to this JSON file (default: no)")


_SCRIPTS: dict[str, tuple[str, Sequence[Callable]]] = {
    "train_final_dist": (
        "Train a scene text recognizer on LMDBs; with python, torchrun or "
        "torch.distributed.launch.",
        (
            _add_model_options,
            lambda p: _add_machine_options(p, 192),
            _add_workers_option,
            _add_training_options,
            _add_launch_options,
        ),
    ),
    "test_final": (
        "Score a checkpoint on the benchmark sets.",
        (
            _add_model_options,
            lambda p: _add_machine_options(p, 192),
            _add_workers_option,
            _add_test_options,
            _add_launch_options,
        ),
    ),
    "demo": (
        "Read the words in images.",
        (_add_model_options, lambda p: _add_machine_options(p, 32), _add_demo_options),
    ),
}


def fail(error: Exception) -> NoReturn:
    """End a script with a sentence instead of a traceback."""
    print(f"error: {error}", file=sys.stderr)
    raise SystemExit(2)

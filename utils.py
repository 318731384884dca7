"""The command-line options of the scripts.

Defaults that a checkpoint may know are None here, and resolved in engine/model_options.py; the
effective one stands in the help.
"""

import argparse
import io
import sys
from collections.abc import Callable, Sequence
from functools import partial

from console.argument_types import (
    above_zero,
    file_to_write,
    port,
    positive,
    whole,
    workers,
)
from console.option_parser import OptionParser
from engine.model_options import DEFAULT_MODELS
from engine.training_options import add_protocol_option, add_training_options
from models import list_models
from system.cores import available_cores

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


def get_args(script: str, argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Options of a script.

    Args:
        script: train_final_dist, test_final, demo or export.
        argv: arguments, None for those of the command line.

    """
    for stream in (sys.stdout, sys.stderr):
        # A terminal that lacks a label's letters must not end a run.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    options = build_parser(script).parse_args(argv)
    if getattr(options, "workers", 0) == -1:
        options.workers = available_cores()
    return options


def build_parser(script: str) -> argparse.ArgumentParser:
    """Parser of a script's options."""
    description, adders = _SCRIPTS[script]
    parser = OptionParser(f"{script}.py", description, partial(_explain, script))
    for add in adders:
        add(parser)
    return parser


def _explain(script: str, arguments: Sequence[str]) -> str:
    """What is wrong with arguments that a script doesn't know."""
    option = next((a for a in arguments if a.startswith("-")), arguments[0])
    name = option.lstrip("-").split("=")[0]
    if name in REFUSED:
        return f"--{name} has no effect in these methods: {REFUSED[name]}. Leave it out."
    others = [f"{s}.py" for s in _SCRIPTS if s != script and f"--{name}" in _known_options(s)]
    if others:
        return f"--{name} is an option of {' and '.join(others)}, not of {script}.py."
    if option.startswith("-") and not option.startswith("--"):
        return f"{option} is not known; options begin with two dashes: --{name}?"
    return f"{option} is not known; see {script}.py --help."


def _known_options(script: str) -> set[str]:
    return {o for action in build_parser(script)._actions for o in action.option_strings}


def _add_model_options(parser: argparse.ArgumentParser, trains: bool = False) -> None:
    group = parser.add_argument_group(
        "model",
        "Read from a checkpoint where there is one. Give them for a new model, or to change one."
        if trains
        else "Read from the checkpoint; where they are given, they must match it. (An official "
        ".pth doesn't store input size and --PAD: without these options, it is 32x128, unpadded.)",
    )

    def default(anew: str) -> str:
        return f"(default: {anew if trains else 'as the checkpoint'})"

    group.add_argument(
        "--Transformer",
        choices=list(DEFAULT_MODELS),
        help=f"method, which sets the default of --TransformerModel {default('mgp-str')}",
    )
    group.add_argument(
        "--TransformerModel",
        choices=list_models(),
        metavar="MODEL",
        help=f"{', '.join(list_models())} {default('the base size of --Transformer')}",
    )
    group.add_argument(
        "--batch_max_length", type=positive, help=f"longest label, in characters {default('25')}"
    )
    group.add_argument("--imgH", type=positive, help=f"input height, in pixels {default('32')}")
    group.add_argument("--imgW", type=positive, help=f"input width, in pixels {default('128')}")
    group.add_argument(
        "--rgb",
        action="store_true",
        default=None,
        help=f"RGB input {default('off: new models learn grey images; else as the checkpoint')}",
    )
    group.add_argument(
        "--character",
        help="charset: 36, 62, 94, a UTF-8 file, or the characters one after the other "
        + default("36, that is 0-9 and a-z"),
    )
    group.add_argument(
        "--sensitive",
        action="store_true",
        default=None,
        help=f"charset of the 94 printable ASCII characters {default('off')}",
    )
    group.add_argument(
        "--PAD",
        action="store_true",
        default=None,
        help="keep the aspect ratio, and pad with black on the right "
        + default("off, else as the checkpoint"),
    )


def _add_machine_options(parser: argparse.ArgumentParser, batch_size: int) -> None:
    group = parser.add_argument_group("machine")
    group.add_argument(
        "--batch_size",
        type=positive,
        default=batch_size,
        help=f"images per batch, in each process (default: {batch_size})",
    )
    group.add_argument(
        "--device", choices=["cuda", "cpu"], help="where to compute (default: cuda if available)"
    )


def _add_workers_option(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("loading")
    group.add_argument(
        "--workers",
        type=workers,
        default=4,
        help="processes that load data; -1 for one per core (default: 4)",
    )


def _add_launch_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group(
        "launch", "Mostly set by torchrun or torch.distributed.launch."
    )
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
        "--timeout",
        type=above_zero,
        default=30.0,
        help="minutes to wait for other processes before ending with an error (default: 30)",
    )
    group.add_argument(
        "--dist_url",
        choices=["env://"],
        help="where processes meet; only env:// is supported (default: env://)",
    )


def _add_test_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("evaluation")
    which = group.add_mutually_exclusive_group(required=True)
    which.add_argument(
        "--model_dir",
        "--saved_model",
        help="checkpoint or name of shipped weights, or a folder of iter_N.pth, which are ranked "
        "(default: none; needed unless --compare is given)",
    )
    which.add_argument(
        "--compare",
        nargs=2,
        metavar=("A", "B"),
        help="two checkpoints, scored on the same images and tested for a difference with "
        "McNemar's paired test, in place of --model_dir (default: none)",
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
    add_protocol_option(group)
    group.add_argument(
        "--data_filtering_off",
        action="store_true",
        help="compare labels without any character of the protocol, too; labels longer than the "
        "model can read always count as errors (default: off)",
    )
    group.add_argument(
        "--calculate_infer_time",
        action="store_true",
        help="print the model's time for each image, in ms (default: off)",
    )
    group.add_argument(
        "--flops",
        action="store_true",
        help="print the operations of reading an image (default: off)",
    )
    group = parser.add_argument_group("output")
    group.add_argument(
        "--results", default="results", help="folder of the log and the JSON (default: results)"
    )
    group.add_argument(
        "--markdown", type=file_to_write, help="also write the tables to this file (default: no)"
    )
    group.add_argument(
        "--csv",
        type=file_to_write,
        help="also write every figure to this file, one line for each set, total and granularity; "
        "of a folder's checkpoints, all figures of the best only (default: no)",
    )
    group.add_argument(
        "--json",
        type=file_to_write,
        help="also write the JSON of --results to this file (default: no)",
    )
    group.add_argument(
        "--report",
        type=file_to_write,
        metavar="FILE.html",
        help="also write a self-contained page with tables, plots and misread words (default: no)",
    )
    group.add_argument(
        "--gallery",
        type=whole,
        help="with --report: how many misread words it shows for each checkpoint, at most; drawn "
        "at random (default: 200)",
    )


def _add_demo_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("reading")
    group.add_argument(
        "--model_dir",
        "--saved_model",
        help="checkpoint, exported file, or Hugging Face folder (default: the weights in "
        "assets/weights)",
    )
    group.add_argument(
        "--demo_imgs",
        help="an image, a folder of images, or a glob in quotes; with --web, the samples that the "
        "page offers (default with --web: demo_imgs of this repository; else it must be given)",
    )
    group.add_argument(
        "--attention_dir",
        help="folder of the attention pictures (default: attens, beside the images)",
    )
    group.add_argument(
        "--no_attention", action="store_true", help="save no attention pictures (default: off)"
    )
    for form in ("csv", "json"):
        group.add_argument(
            f"--{form}",
            type=file_to_write,
            help=f"also write the readings to this {form.upper()} file (default: no)",
        )
    group = parser.add_argument_group("page")
    group.add_argument(
        "--web",
        action="store_true",
        help="serve a page that reads images, to the browsers of this computer (default: off)",
    )
    group.add_argument(
        "--port", type=port, help="port of --web; 0 for any that is free (default: 7860)"
    )


def _add_export_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("export", "Give at least one form.")
    group.add_argument("--model_dir", "--saved_model", required=True, help="checkpoint")
    group.add_argument("--onnx", metavar="FILE", help="write this .onnx file (default: no)")
    group.add_argument(
        "--safetensors", metavar="FILE", help="write this .safetensors file (default: no)"
    )
    group.add_argument(
        "--safetensors_half",
        metavar="FILE",
        help="write this .safetensors file in half precision, half the size (default: no)",
    )
    group.add_argument(
        "--hugging_face",
        metavar="FOLDER",
        help="write a folder of transformers' MgpstrForSceneTextRecognition (default: no)",
    )
    group.add_argument(
        "--images",
        help="an image, a folder, or a glob in quotes, on which every form must read as the "
        "checkpoint does (default: demo_imgs of this repository)",
    )
    group.add_argument(
        "--batch_size", type=positive, default=32, help="images per batch (default: 32)"
    )


_SCRIPTS: dict[str, tuple[str, Sequence[Callable]]] = {
    "train_final_dist": (
        "Train a scene text recognizer on LMDBs; with python, torchrun or "
        "torch.distributed.launch.",
        (
            lambda p: _add_model_options(p, trains=True),
            lambda p: _add_machine_options(p, 192),
            _add_workers_option,
            add_training_options,
            _add_launch_options,
        ),
    ),
    "test_final": (
        "Score a checkpoint on the benchmark sets, rank a folder of them, or compare two.",
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
    "export": (
        "Export a checkpoint, and check that each exported form gives the same readings.",
        (_add_model_options, _add_export_options),
    ),
}

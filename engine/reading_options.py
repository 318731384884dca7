"""What the options of test_final.py and demo.py mean, and which exclude each other."""

import re
from argparse import Namespace
from collections.abc import Iterable, Mapping
from pathlib import Path

from console.listing import first_of
from engine.iteration_weights import iteration_weights
from engine.option_error import OptionError


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
        OptionError: no images without --web, --port without it, files to write beside it, or a
            place for pictures that are not drawn.

    """
    if not options.web:
        if options.port is not None:
            raise OptionError("--port is that of the page of --web; add that.")
        if options.demo_imgs is None:
            raise OptionError("--demo_imgs names the images to read; or give --web.")
        if options.no_attention and options.attention_dir:
            raise OptionError("--attention_dir is for pictures that --no_attention doesn't draw.")
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
        if first > last:
            raise OptionError(f"--range {wanted} ends before it begins.")
    numbered = iteration_weights(path)
    chosen = [file for number, file in numbered.items() if first <= number <= last]
    if not chosen and numbered:
        raise OptionError(
            f"--range {wanted}: the {len(numbered)} iter_N.pth in {path} are of iterations "
            f"{min(numbered)} to {max(numbered)}; none lies in it."
        )
    if not chosen:
        there = sorted(p.name for p in path.iterdir())
        raise OptionError(f"There is no iter_N.pth to test in {path}; it has {first_of(there)}.")
    return chosen


def refuse_overwriting(outputs: Mapping[str, str | None], inputs: Iterable[Path]) -> None:
    """Refuse files to write that are the same, or that are read.

    Args:
        outputs: names of files, by option.
        inputs: what is read.

    Raises:
        OptionError: one would be written over another, or over what is read.

    """
    asked = {option: name for option, name in outputs.items() if name}
    taken = {path.resolve(): "what is read" for path in inputs} if asked else {}
    for option, name in asked.items():
        if Path(name).exists() and not Path(name).is_file():  # a pipe takes both
            continue
        place = Path(name).resolve()
        if place in taken:
            raise OptionError(f"--{option} {name} would be written over {taken[place]}.")
        taken[place] = f"the file of --{option}"

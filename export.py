"""Export a checkpoint to ONNX, to safetensors, or to a Hugging Face folder, and check the result.

python3 export.py --model_dir best_accuracy.pth --onnx reader.onnx --safetensors reader.safetensors
"""

import sys
from argparse import Namespace
from pathlib import Path

from console.script_end import fail, interrupted
from engine.exported_forms import FORMS, compare, megabytes, staged
from engine.model_options import check_against_checkpoint
from engine.option_error import OptionError
from engine.stopping import exit_on_sigterm
from models.checkpoint import load_model
from reading import Reader, Reading, UnreadableImageError, find_images
from reading.images import SAMPLES
from reading.weights import find_weights
from utils import get_args

MOST_SHOWN = 5


class DisagreementError(RuntimeError):
    """An exported form that reads otherwise than the checkpoint."""


def readable(images: list[Path], readings: list[Reading]) -> list[Path]:
    """The images that could be read; says which could not.

    Raises:
        UnreadableImageError: none could.

    """
    for reading in readings:
        if reading.error is not None:
            print(f"unreadable, left out: {reading.error}", file=sys.stderr)
    kept = [file for file, own in zip(images, readings, strict=True) if own.error is None]
    if not kept:
        raise UnreadableImageError(f"none of the {len(images)} files can be read")
    return kept


def export(options: Namespace) -> None:
    """Write every form asked for, each only if it reads as the checkpoint does.

    Raises:
        DisagreementError: one does not; it is not left where it was asked for.

    """
    targets = {name: Path(getattr(options, name)) for name in FORMS if getattr(options, name)}
    if not targets:
        raise OptionError(f"Nothing to export to; give {', '.join(f'--{name}' for name in FORMS)}.")
    for name, target in targets.items():
        if FORMS[name].suffix and target.suffix != FORMS[name].suffix:
            raise OptionError(
                f"--{name} {target}: its name must end with {FORMS[name].suffix}, by which it is "
                "known when it is loaded."
            )
    weights = find_weights(options.model_dir)
    places = [FORMS[name].places(target) for name, target in targets.items()]
    places.append({weights.resolve()})
    if len(set.union(*places)) < sum(map(len, places)):
        raise OptionError("Two forms, or a form and the checkpoint, have the same place.")
    model = load_model(weights, options.imgH, options.imgW, options.PAD)
    check_against_checkpoint(options, model.config)
    for name in targets:
        FORMS[name].check(model.config)
    source = options.images or SAMPLES
    images = find_images(source)
    plain = Reader(model, "cpu", options.batch_size, fast=False)
    readings = plain(images, keep_errors=True)
    images = readable(images, readings)
    expected = [reading for reading in readings if reading.error is None]
    for name, target in targets.items():
        form = FORMS[name]
        with staged(target, form.owned) as place:
            print(f"{form.name}: writing and checking ...", flush=True)
            form.write(model, place)
            found = Reader.load(place, "cpu", options.batch_size)(images)
            agreement = compare(expected, found)
            if form.fusion is not None:
                agreement += form.fusion(place, expected)
            if not agreement.holds(form.tolerance):
                shown = "".join(f"\n  {line}" for line in agreement.changed[:MOST_SHOWN])
                raise DisagreementError(
                    f"the {form.name} does not read as the checkpoint does, and was not written: "
                    f"{len(agreement.changed)} of its texts differ, confidences by up to "
                    f"{agreement.largest:.1e}{shown}"
                )
        print(
            f"{form.name}: {target}, {megabytes(target):.1f} MB; reads the {agreement.images} "
            f"words of {source} as the checkpoint does, confidences within "
            f"{agreement.largest:.0e}"
        )


def main() -> None:
    """Parse, export; a form that reads otherwise ends with status 1, a fault with 2."""
    options = get_args("export")
    exit_on_sigterm()
    try:
        export(options)
    except DisagreementError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(1) from None
    except (ValueError, OSError) as error:  # ValueError: of weights, options, images or a form
        fail(error)
    except KeyboardInterrupt:
        interrupted("the form under way was not written")


if __name__ == "__main__":
    main()

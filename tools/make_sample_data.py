"""Renders a stand-in for the data sets, in their folders and format.

    python3 tools/make_sample_data.py data --level easy
    python3 tools/make_sample_data.py data_normal --level normal --train 200000 --st 200000 --jobs 8

OUT/training/MJ/{MJ_train,MJ_valid,MJ_test}   OUT/training/ST   OUT/evaluation/<the eight>

Every folder is an LMDB; each character's box is kept in ST, as in the real one. A key `stand-in`
in each says that it is rendered. The same settings, fonts and versions of Pillow and OpenCV give
the same records, whatever --jobs is. Images: JPEG, uint8 RGB.
"""

import argparse
import json
import shutil
import sys
import time
from collections.abc import Iterable
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

# Scripts run from the root, but Python puts the script's own folder on the path.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import lmdb

from console.argument_types import positive, seed
from console.progress import Progress, RunLog
from console.script_end import interrupted
from engine.stream_options import add_stream_options, stream_settings
from lmdb_tools.whole_folder import marked_folder
from records.benchmarks import EIGHT
from records.lmdb_file import STAND_IN
from records.lmdb_writer import LmdbWriter
from synthetic.fonts import NoFontsError
from synthetic.parallel import Record, RenderPool
from system.cores import available_cores

SETTINGS_FILE = "sample_data.json"
GENERATOR = "tools/make_sample_data.py 1"  # the number grows when the same seed looks otherwise
SPACING = 2**32  # from one set's first sample to the next set's, so that none is in two


@dataclass(frozen=True)
class SampleSet:
    """One LMDB of the tree.

    Attributes:
        folder: Its place below OUT, with slashes.
        count: How many records.
        first: Index of its first sample in the stream.
    """

    folder: str
    count: int
    first: int

    @property
    def has_boxes(self) -> bool:
        """Only ST keeps the characters' boxes, as only the real ST does."""
        return self.folder == "training/ST"


class SampleDataError(RuntimeError):
    """The sample data can't be made; the message says why and what helps."""


def get_args(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("out", metavar="OUT", type=Path, help="folder of the tree")
    tree = parser.add_argument_group("tree")
    count = {"type": positive, "metavar": "N"}
    tree.add_argument("--train", default=20000, **count, help="images in MJ_train (default: 20000)")
    tree.add_argument("--st", default=20000, **count, help="images in ST (default: 20000)")
    tree.add_argument(
        "--valid",
        default=500,
        **count,
        help="images in MJ_valid and in MJ_test, each (default: 500)",
    )
    tree.add_argument(
        "--evaluation", default=300, **count, help="images in each evaluation set (default: 300)"
    )
    tree.add_argument("--seed", default=226, type=seed, help="0 or greater (default: 226)")
    add_stream_options(parser.add_argument_group("rendered words"), level="easy")
    run = parser.add_argument_group("run")
    run.add_argument(
        "--jobs",
        default=available_cores(),
        type=positive,
        metavar="N",
        help="processes (default: one per core)",
    )
    run.add_argument("--force", action="store_true", help="replace sample data made before")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Makes the tree; the exit status."""
    args = get_args(arguments)
    try:
        make_sample_data(args)
    except (SampleDataError, NoFontsError, OSError, lmdb.Error) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except BrokenProcessPool:
        print(
            "error: a rendering process died, most likely for want of memory. Nothing was left "
            "half-written; try again with a smaller --jobs.",
            file=sys.stderr,
        )
        return 1
    except KeyboardInterrupt:
        interrupted("nothing was left half-written")
    return 0


def make_sample_data(args: argparse.Namespace) -> None:
    """Makes the tree, or says that it is there already."""
    out, sets = args.out, sample_sets(args)
    settings = settings_of(args)
    if is_there(out, settings, sets):
        print(f"{out}: the sample data is there already, with these settings.")
        return
    refuse_to_overwrite(out, args.force)

    try:
        renderer = stream_settings(args).renderer(args.seed)
    except ValueError as error:
        raise SampleDataError(str(error)) from None
    families, used = len(renderer.families), sum(map(len, renderer.families))
    total = sum(one.count for one in sets)
    print(
        f"Rendering {total:,} images, level {args.level}, in {used} faces of {families} "
        f"families, with {args.jobs} process{'es' if args.jobs > 1 else ''}."
    )
    out = out.absolute()
    began = time.monotonic()
    with marked_folder(out.with_name(out.name + ".partial")) as partial:
        with (
            RenderPool(renderer, args.jobs) as pool,
            closing(Progress(total, "render", RunLog(), unit="images")) as progress,
        ):
            for one in sets:
                records = pool.records(one.first, one.first + one.count)
                write_set(partial, one, settings, records, progress)
        information = {"settings": settings, "faces": used, "families": families}
        text = json.dumps(information, indent=1) + "\n"
        (partial / SETTINGS_FILE).write_text(text, encoding="utf-8")
        move_into_place(partial, out)
    seconds = time.monotonic() - began
    print(f"{out}: {total:,} images in {len(sets)} sets, {total / seconds:,.0f} images/s.")


def sample_sets(args: argparse.Namespace) -> list[SampleSet]:
    """The tree's LMDBs, each with a part of the stream of its own."""
    counts = {
        "training/MJ/MJ_train": args.train,
        "training/MJ/MJ_valid": args.valid,
        "training/MJ/MJ_test": args.valid,
        "training/ST": args.st,
    }
    counts |= {f"evaluation/{name}": args.evaluation for name in EIGHT}
    return [
        SampleSet(folder, count, place * SPACING)
        for place, (folder, count) in enumerate(counts.items())
    ]


def settings_of(args: argparse.Namespace) -> dict:
    """All that decides what is rendered, as JSON has it."""
    settings = {"generator": GENERATOR, "fonts": [str(folder) for folder in args.fonts]}
    stream = ("level", "words", "packaged_fonts_only", "curved", "perspective", "occluded", "seed")
    counts = ("train", "st", "valid", "evaluation")
    return settings | {name: getattr(args, name) for name in stream + counts}


def is_there(out: Path, settings: dict, sets: list[SampleSet]) -> bool:
    """Whether `out` holds a whole tree made with the same settings."""
    try:
        made = json.loads((out / SETTINGS_FILE).read_text(encoding="utf-8"))["settings"]
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return made == settings and all((out / one.folder / "data.mdb").is_file() for one in sets)


def refuse_to_overwrite(out: Path, force: bool) -> None:
    """Stops where something would be lost."""
    if out.exists() and not out.is_dir():
        raise SampleDataError(f"{out} is a file: name a folder.")
    ours = (out / SETTINGS_FILE).is_file()
    for name in ("training", "evaluation"):
        if (out / name).exists() and not ours:
            raise SampleDataError(
                f"{out / name} was not made by this tool (there is no {out / SETTINGS_FILE}), and "
                "is not replaced: move it away, or name another folder."
            )
    if ours and not force:
        raise SampleDataError(
            f"{out} holds sample data with other settings, and nothing is overwritten unasked: add "
            "--force to replace them, or name another folder."
        )


def write_set(
    root: Path, one: SampleSet, settings: dict, records: Iterable[Record], progress: Progress
) -> None:
    """Writes one LMDB, marked as a stand-in."""
    with LmdbWriter(root / one.folder) as writer:
        for record in records:
            writer.write(record.image, record.text, record.boxes if one.has_boxes else None)
            progress.update(1)
        name = one.folder.rsplit("/", 1)[-1]
        note = {
            "generator": GENERATOR,
            "level": settings["level"],
            "seed": settings["seed"],
            "note": f"rendered sample data, not the real {name}",
        }
        writer.set_note(note, STAND_IN)


def move_into_place(partial: Path, out: Path) -> None:
    """Moves a finished tree to `out`, in place of one made before; other files there stay."""
    if not out.exists():
        partial.rename(out)
        return
    # Whatever happens in between, it says that the folders are this tool's, but not whose settings
    # they have.
    (out / SETTINGS_FILE).write_text("{}\n", encoding="utf-8")
    for name in ("training", "evaluation", SETTINGS_FILE):
        if (out / name).is_symlink():
            (out / name).unlink()
        elif (out / name).is_dir():
            shutil.rmtree(out / name)
        (partial / name).replace(out / name)


if __name__ == "__main__":
    sys.exit(main())

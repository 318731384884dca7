"""Does attention guidance help? The same small model with and without it, on the same data.

python3 tools/ablate_guidance.py ablation

Renders training and test words (with character boxes), trains every arm, and writes `table.md`,
`results.json` and `accuracy.png` into the folder. Runs that are there already are not repeated.
"""

import argparse
import json
import math
import shutil
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# Scripts run from the root, but Python puts the script's own folder on the path.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from scipy.stats import t as student_t

from console.argument_types import above_zero, positive
from console.markdown_table import markdown
from console.progress import Progress, RunLog
from console.script_end import fail, interrupted
from dataset import ImageFormat, TrainingDataset, training_loader
from engine.core_area_score import score_core_areas
from engine.distributed import Process
from engine.evaluation import Evaluator
from engine.learning_options import CORE_AREA_WEIGHT
from engine.metrics import Metrics
from engine.optimization import Optimization
from engine.run_context import RunContext
from engine.run_folder import RunFolder, git_commit, versions
from engine.run_form import run_form
from engine.stopping import StopRequest
from engine.training import NonFiniteLossError, Plan, Trainer
from engine.validation import Validation
from loading.sampling import MixingSampler
from loading.sources import Source
from models import config_codecs, create_model
from records.label_filter import LabelFilter
from records.lmdb_set import LmdbSet
from records.lmdb_writer import LmdbWriter
from synthetic.fonts import NoFontsError, find_faces
from synthetic.levels import LEVELS
from synthetic.parallel import RenderPool
from synthetic.renderer import Renderer
from synthetic.words import EasyWords, VocabularyWords
from system.cores import available_cores
from system.whole_file import whole_file
from text import Charset

RENDERING_SEED = 226
INFORMATIVE = (50.0, 90.0)  # percent that the plain arm must reach


@dataclass(frozen=True)
class Arm:
    """One way of training.

    Attributes:
        name: in the table.
        model: preset.
        changes: to the preset's configuration.
        loss_weights: of the losses that character boxes give; none for training without boxes.
        all_seeds: train with every seed; with the first alone otherwise.
        against: the arm that differences are taken to.

    """

    name: str
    model: str = "acds_str_tiny"
    changes: Mapping[str, Any] = field(default_factory=dict)
    loss_weights: Mapping[str, float] = field(default_factory=dict)
    all_seeds: bool = True
    against: str = "plain"


_SUPERVISED = {"core_area_loss": CORE_AREA_WEIGHT}
_A3 = {"model": "acds_mgp_str_tiny", "changes": {"granularities": ("char",)}}
ARMS = (
    Arm("plain", changes={"guided_blocks": 0}),
    Arm("core-area loss", changes={"guided_blocks": 0}, loss_weights=_SUPERVISED),
    Arm("CAFM"),
    Arm("CAFM + core-area loss", loss_weights=_SUPERVISED),
    Arm(
        "CAFM + core-area loss, sigmoid",
        changes={"core_area_form": "sigmoid"},
        loss_weights=_SUPERVISED,
        all_seeds=False,
        against="CAFM + core-area loss",
    ),
    Arm(
        "A3, CAFM + core-area loss",
        **_A3,
        loss_weights=_SUPERVISED | {"guidance_loss": 0.0},
        all_seeds=False,
        against="CAFM + core-area loss",
    ),
    Arm(
        "A3, CAFM + core-area + guidance loss",
        **_A3,
        loss_weights=_SUPERVISED | {"guidance_loss": 0.2},
        all_seeds=False,
        against="A3, CAFM + core-area loss",
    ),
)


def render(folder: Path, level: str, train: int, test: int, log: RunLog) -> tuple[Path, Path]:
    """LMDBs of training and test words with character boxes; those that are there are kept."""
    settings = {"level": level, "train": train, "test": test, "seed": RENDERING_SEED}
    note = folder / "settings.json"
    if note.is_file() and json.loads(note.read_text(encoding="utf-8")) != settings:
        raise FileExistsError(
            f"{folder} was rendered with other settings; remove it, or name another folder."
        )
    # First, so that an interrupted rendering is not taken for one of other settings later on.
    folder.mkdir(parents=True, exist_ok=True)
    with whole_file(note) as file:
        file.write(json.dumps(settings).encode() + b"\n")
    faces = find_faces(system_fonts=False)
    words = EasyWords() if level == "easy" else VocabularyWords()
    renderer = Renderer(level, words, faces, RENDERING_SEED)
    paths = folder / "train", folder / "test"
    with RenderPool(renderer, available_cores()) as pool:
        for number, (path, count) in enumerate(zip(paths, (train, test), strict=True)):
            if path.exists():
                continue
            progress = Progress(count, f"render {path.name}", log, unit="images")
            with LmdbWriter(path) as writer:
                first = number * 2**32  # parts of the stream that never meet
                for record in pool.records(first, first + count):
                    writer.write(record.image, record.text, record.boxes)
                    progress.update(1)
            progress.close()
    return paths


class UnfinishedArmError(RuntimeError):
    """An arm was not trained, or not scored, to its end."""


def train_arm(
    arm: Arm, seed: int, options: argparse.Namespace, data: tuple[Path, Path], place: Path
) -> dict[str, Any]:
    """Train one arm with one seed; returns its accuracies, and the seconds that it took.

    The data, their order and the schedule depend on the seed alone, not on the arm.

    Raises:
        UnfinishedArmError: a signal ended it early, or it could not be scored.

    """
    torch.manual_seed(seed)
    model = create_model(arm.model, **arm.changes)
    config = model.config
    boxes = bool(arm.loss_weights)
    model.learn_core_areas("core_area_loss" in arm.loss_weights)
    charset = Charset(config.characters)
    label_filter = LabelFilter(charset, config.max_length)
    training, test = (LmdbSet(path, label_filter, boxes=True) for path in data)
    process = Process(0, 0, 1, torch.device(options.device))
    codecs = config_codecs(config)
    image_format = ImageFormat.of(config)
    if place.exists():
        shutil.rmtree(place)
    folder = RunFolder(place.parent, place.name)
    log = RunLog(folder.log)
    log(f"{arm.name}, seed {seed}")
    evaluator = Evaluator(model, codecs, image_format, process, options.batch_size, 1)
    interval = -(-options.iterations // 8)
    plan = Plan(
        Optimization("adam", options.lr, schedule="onecycle", iterations=options.iterations),
        validation_interval=interval,
        save_interval=interval,
        amp=options.amp,
        loss_weights=arm.loss_weights,
    )
    metrics = Metrics(folder, log)
    run = RunContext(process, folder, log, metrics)
    validation = Validation(evaluator, {"test": test}, {}, run)
    wrapped = run_form(model, process, plan.amp)
    trainer = Trainer(model, wrapped, plan, validation, run)
    dataset = TrainingDataset([Source("train", [training])], image_format, None, boxes, codecs)
    sampler = MixingSampler([len(training)], [options.batch_size], seed)
    started = time.monotonic()
    with closing(metrics):
        trainer.run(training_loader(dataset, sampler, 1))
    seconds = round(time.monotonic() - started)
    curve = [(iteration, accuracy["char"]) for iteration, accuracy in validation.history]
    scored = [*range(interval, options.iterations, interval), options.iterations]
    if [iteration for iteration, _ in curve] != scored:
        why = f"stopped by {trainer.stopped}" if trainer.stopped else "a validation failed"
        raise UnfinishedArmError(
            f"{why} amid {arm.name}, seed {seed}, which does not count; the same command trains it "
            "anew, and what is missing."
        )
    result = {"arm": arm.name, "seed": seed, "accuracy": curve[-1][1], "curve": curve}
    result["seconds"] = seconds
    if "core_area_loss" in arm.loss_weights:
        result["iou"] = score_core_areas(model, test, process.device, options.batch_size, 1).iou
    for pattern in ("iter_*.pth", "last*.pth"):
        for checkpoint in folder.path.glob(pattern):
            checkpoint.unlink()
    return result


def interval(values: Sequence[float], images: int) -> float:
    """Half width of the 95% confidence interval of a mean accuracy, in percent.

    Over seeds by Student's t; of a single run, the binomial one over its test images.
    """
    if len(values) == 1:
        share = values[0] / 100
        return 196 * math.sqrt(share * (1 - share) / images)
    spread = statistics.stdev(values) / math.sqrt(len(values))
    return float(student_t.ppf(0.975, len(values) - 1)) * spread


def table(results: Mapping[str, Mapping[int, dict]], images: int) -> str:
    """Arms as a Markdown table; differences are means over the seeds that both arms have."""
    rows = []
    for arm in ARMS:
        runs = results[arm.name]
        values = [run["accuracy"] for run in runs.values()]
        cells = [arm.name, str(len(values)), f"{statistics.mean(values):.1f}"]
        cells.append(f"± {interval(values, images):.1f}")
        others = results[arm.against]
        shared = [seed for seed in runs if seed in others]
        gains = [runs[seed]["accuracy"] - others[seed]["accuracy"] for seed in shared]
        if arm.against == arm.name:
            cells += ["", ""]
        else:
            if len(gains) > 1:
                spread = interval(gains, images)
            else:  # of two runs, each over its images
                both = [one[seed]["accuracy"] for one in (runs, others) for seed in shared]
                spread = math.hypot(*(interval([value], images) for value in both))
            cells += [f"{statistics.mean(gains):+.1f} ± {spread:.1f}", arm.against]
        ious = [run["iou"] for run in runs.values() if "iou" in run]
        cells.append(f"{statistics.mean(ious):.1f}" if ious else "")
        rows.append(cells)
    header = ["arm", "seeds", "accuracy %", "95%", "difference", "to", "core-area IoU %"]
    return markdown(header, rows)


def plot(results: Mapping[str, Mapping[int, dict]], file: Path) -> None:
    """Accuracy while training: a line for each arm, a thin one for each seed."""
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 5))
    for number, arm in enumerate(ARMS):
        curves = [run["curve"] for run in results[arm.name].values()]
        iterations = [iteration for iteration, _ in curves[0]]
        for curve in curves:
            axes.plot(iterations, [a for _, a in curve], color=f"C{number}", lw=0.6, alpha=0.5)
        means = [
            statistics.mean(values)
            for values in zip(*[[a for _, a in c] for c in curves], strict=True)
        ]
        label = f"{arm.name} ({len(curves)} seed{'s' if len(curves) > 1 else ''})"
        axes.plot(iterations, means, color=f"C{number}", lw=2, label=label)
    axes.set(xlabel="iteration", ylabel="accuracy on unseen renderings, %", ylim=(0, 100))
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(file, dpi=120)
    pyplot.close(figure)


def ablate(options: argparse.Namespace) -> str:
    """Train what is not trained yet; returns the table, or why there is none.

    Raises:
        UnfinishedArmError: a signal ended it early, or an arm could not be scored.

    """
    log = RunLog()
    commit = git_commit()  # of the code that is running, whatever is checked out later
    data = render(options.out / "data", options.level, options.train, options.test, log)
    settings = {
        name: getattr(options, name)
        for name in ("level", "train", "test", "iterations", "batch_size", "lr", "amp", "device")
    }
    file = options.out / "results.json"
    stored = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None
    if stored and stored["settings"] != settings:
        raise FileExistsError(f"{file} is of other settings; remove it, or name another folder.")
    runs = stored["runs"] if stored else []
    seeds = range(1, options.seeds + 1)
    wanted = [(arm, seed) for seed in seeds for arm in ARMS if arm.all_seeds or seed == 1]
    done = {(run["arm"], run["seed"]) for run in runs}
    with StopRequest() as request:
        for arm, seed in wanted:
            if (arm.name, seed) in done:
                continue
            if request.asked:
                raise UnfinishedArmError(
                    f"stopped by {request.asked} before {arm.name}, seed {seed}; the same command "
                    "trains what is missing."
                )
            name = "-".join("".join(c if c.isalnum() else " " for c in arm.name).split())
            run = train_arm(arm, seed, options, data, options.out / "runs" / f"{name}-{seed}")
            runs.append(run | {"git_commit": commit, "versions": versions()})
            contents = {"command": sys.argv, "settings": settings, "runs": runs}
            with whole_file(file) as written:
                written.write(json.dumps(contents, indent=1).encode() + b"\n")
    results = {
        arm.name: {r["seed"]: r for r in runs if r["arm"] == arm.name and r["seed"] in seeds}
        for arm in ARMS
    }
    plain = statistics.mean(run["accuracy"] for run in results[ARMS[0].name].values())
    lowest, highest = INFORMATIVE
    plot(results, options.out / "accuracy.png")
    written = options.out / "table.md"
    written.unlink(missing_ok=True)  # of fewer seeds, perhaps
    if not lowest <= plain <= highest:
        return (
            f"Not informative: the plain arm reaches {plain:.1f}%, and differences show only "
            f"between {lowest:g} and {highest:g}%. Change --iterations or --level."
        )
    text = table(results, options.test)
    commits = sorted(
        {str(run.get("git_commit"))[:9] for arm in results.values() for run in arm.values()}
    )
    if len(commits) > 1:
        text += f"\n\nRuns of several versions of the code: {', '.join(commits)}."
    written.write_text(text + "\n", encoding="utf-8")
    return text


def main() -> None:
    """Parse, ablate, print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("out", metavar="OUT", type=Path, help="folder of data, runs and results")
    parser.add_argument(
        "--level", choices=LEVELS, default="easy", help="of the renderings (default: easy)"
    )
    parser.add_argument(
        "--train", type=positive, default=40_000, help="training images (default: 40000)"
    )
    parser.add_argument("--test", type=positive, default=1000, help="test images (default: 1000)")
    parser.add_argument(
        "--iterations", type=positive, default=300, help="steps of each run (default: 300)"
    )
    parser.add_argument(
        "--batch_size", type=positive, default=64, help="images per step (default: 64)"
    )
    parser.add_argument("--lr", type=above_zero, default=0.002, help="Adam's rate (default: 0.002)")
    parser.add_argument(
        "--amp", choices=["off", "bf16"], default="off", help="precision (default: off, float32)"
    )
    parser.add_argument("--seeds", type=positive, default=3, help="runs of an arm (default: 3)")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cpu", help="default: cpu")
    options = parser.parse_args()
    try:
        print(ablate(options))
    except (OSError, ValueError, NoFontsError, NonFiniteLossError, UnfinishedArmError) as error:
        fail(error)
    except KeyboardInterrupt:
        interrupted("the same command goes on with the arms that are not done")


if __name__ == "__main__":
    main()

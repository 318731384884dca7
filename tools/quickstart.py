"""Everything once: read with the shipped weights; on sample data render, train, score, read.

`make quickstart` runs this.

Each step is a command that works on its own; it is printed before it runs.
"""

import argparse
import json
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

# Scripts run from the root, but Python puts the script's own folder on the path.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from console.script_end import fail, interrupted
from engine.run_folder import RunFolder, RunFolderError
from engine.stopping import exit_on_sigterm

ROOT = Path(__file__).resolve().parents[1]
PLACE = Path("quickstart")
MODEL = "mgp_str_mini_stem8x8_3_32_128"
# Below this the pipeline is broken, whatever the machine: the recipe reaches twice as much.
LEAST_ACCURACY = 30.0

DATA, RUN = PLACE / "data", PLACE / "run"
WEIGHTS = RUN / "mini" / "best_accuracy.pth"

STEPS = {
    "reading with the shipped weights": [
        "demo.py",
        *("--demo_imgs", "demo_imgs/", "--no_attention"),
    ],
    "sample data": [
        "tools/make_sample_data.py",
        str(DATA),
        *("--level", "easy", "--packaged_fonts_only", "--seed", "226", "--evaluation", "100"),
    ],
    "training": [
        "train_final_dist.py",
        *("--train_data", f"{DATA}/training", "--valid_data", f"{DATA}/evaluation"),
        *("--select_data", "MJ-ST", "--batch_ratio", "0.5-0.5", "--TransformerModel", MODEL),
        *("--rgb", "--adam", "--lr", "0.002", "--schedule", "onecycle", "--amp", "bf16"),
        *("--batch_size", "64", "--num_iter", "850", "--valInterval", "850"),
        *("--workers", "1", "--manualSeed", "226"),
        *("--saved_path", str(RUN), "--exp_name", "mini"),
    ],
    "scoring": [
        "test_final.py",
        *("--eval_data", f"{DATA}/evaluation", "--benchmark_all_eval", "--data_filtering_off"),
        *("--model_dir", str(WEIGHTS), "--results", str(PLACE / "results")),
    ],
    "reading": [
        "demo.py",
        *("--model_dir", str(WEIGHTS), "--demo_imgs", "demo_imgs/"),
        *("--csv", str(PLACE / "readings.csv")),
    ],
}


def run_step(name: str, arguments: list[str]) -> float:
    """Run a command from the root; returns its seconds, or ends with its exit status."""
    print(f"\n=== {name}\n$ python3 {shlex.join(arguments)}", flush=True)
    started = time.monotonic()
    status = subprocess.run([sys.executable, *arguments], cwd=ROOT, check=False).returncode
    if status:
        print(f"quickstart: {name} failed with exit status {status}", file=sys.stderr)
        raise SystemExit(status)
    return time.monotonic() - started


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the steps, and sum up."""
    argparse.ArgumentParser(description=__doc__.split("\n")[0]).parse_args(arguments)
    exit_on_sigterm()  # subprocess ends the step that is at work
    # A quickstart that ran before, or was interrupted, starts over; not one that is at work, which
    # is only asked here: the training itself keeps the lock.
    try:
        RunFolder(ROOT / RUN, "mini").lock()
    except RunFolderError as error:
        fail(error)
    shutil.rmtree(ROOT / RUN, ignore_errors=True)
    seconds = {name: run_step(name, arguments) for name, arguments in STEPS.items()}
    results = max(
        (ROOT / PLACE / "results").glob("test-*.json"), key=lambda file: file.stat().st_mtime
    )
    (sets,) = json.loads(results.read_text(encoding="utf-8"))["checkpoints"].values()
    eight = next(t for t in sets["totals"] if t["name"] == "eight sets")
    accuracy = eight["weighted"]

    print("\n=== done in " + ", ".join(f"{name} {s:.0f} s" for name, s in seconds.items()))
    shown = ", ".join(f"{name} {value:.1f}%" for name, value in accuracy.items())
    print("(words like `translated` in demo_imgs are beyond the easy level, and are misread)")
    print(f"accuracy on {eight['images']} unseen renderings of easy words: {shown}")
    print(
        f"weights   {WEIGHTS}\nlog       {RUN}/mini/log.txt (TensorBoard: {RUN}/mini/tensorboard)"
    )
    print(f"table     {results.relative_to(ROOT)}\npictures  demo_imgs/attens/")
    print(
        "next      read your own images:  python3 demo.py --model_dir "
        f"{WEIGHTS} --demo_imgs FOLDER\n"
        "          harder sample data:    python3 tools/make_sample_data.py data --level normal\n"
        "          real data and training: data/README.md, README.md"
    )
    if accuracy["char"] < LEAST_ACCURACY:
        print(
            f"quickstart: the char accuracy is below {LEAST_ACCURACY:.0f}%, something is broken; "
            "please report it with the log",
            file=sys.stderr,
        )
        raise SystemExit(1)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        interrupted("the next quickstart starts over")

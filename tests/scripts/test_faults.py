"""What befalls a long run: it goes on, or ends with a sentence that tells the cure."""

import json
import re

from models.checkpoint import load_checkpoint

MINI = "mgp_str_mini_stem8x8_3_32_128"


def test_losses_that_are_no_numbers_end_a_run_with_cause_and_records(run, short_run, tmp_path):
    more = ["--num_iter", 30, "--sgd", "--lr", "1e30", "--max_skipped", 3]
    done = run(short_run(tmp_path, MINI, *more), ok=False)
    assert done.returncode == 2
    shown = done.stdout + done.stderr
    assert "3 steps in a row had a loss or gradient that is no finite number" in shown
    assert "lower --lr" in shown and "Traceback" not in shown
    lines = (tmp_path / "run/nonfinite-rank0.jsonl").read_text(encoding="utf-8").splitlines()
    found = [json.loads(line) for line in lines]
    assert len(found) == 3
    assert all(entry["loss"] in ("nan", "inf", "-inf") for entry in found)
    steps = [entry["iteration"] for entry in found]
    assert steps == list(range(steps[0], steps[0] + 3))
    assert all(len(entry["records"]) == 4 for entry in found)
    assert all(" record " in name for entry in found for name in entry["records"])
    # What was learned before is not lost.
    assert load_checkpoint(tmp_path / "run/last.pth").extra["iteration"] == steps[-1]


def test_data_that_vanishes_while_running_costs_no_step(
    run, short_run, tmp_path, make_lmdb, encode_image
):
    """The folder goes after the first validation; the state after the last whole step stays."""
    data = make_lmdb(tmp_path / "data/ST", [(encode_image("ok"), "ok")] * 50)
    removed = f"while [ ! -e {tmp_path}/run/best_accuracy.pth ]; do sleep 0.1; done; "
    # What a process has open outlives its folder's removal, so the file shrinks first.
    removed += f"truncate -s 4096 {data}/data.mdb; rm -r {tmp_path}/data"
    own = ["--train_data", tmp_path / "data", "--select_data", "ST", "--batch_ratio", 1]
    own += ["--num_iter", 100_000, "--valInterval", 7, "--save_interval", 100_000]
    done = run(f"({removed}) & {short_run(tmp_path, MINI, *own)}", ok=False)
    shown = done.stdout + done.stderr
    assert done.returncode == 2, shown
    assert "a process that loads data died" in shown and "Traceback" not in shown
    assert "No usable record was found" in shown and "There is no LMDB" in shown
    (kept,) = re.findall(r"--resume auto goes on after iteration ([\d,]+)", shown)
    state = load_checkpoint(tmp_path / "run/last.pth").extra["training"]
    assert state["iteration"] == int(kept.replace(",", "")) >= 7

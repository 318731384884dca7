"""What befalls a long run: it goes on, or ends with a sentence that tells the cure."""

import json

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

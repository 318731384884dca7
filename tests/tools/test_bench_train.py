"""The bench of training steps, on small products."""

import json

import pytest

from tools import bench_train
from tools.support import bench_process

MODEL = "mgp_str_mini_stem8x8_3_32_128"
KEYS = {"model", "path", "dtype", "batch", "images_per_s", "peak_mib", "share", "gflops_an_image"}


def test_every_path_is_measured(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(bench_process.MATRIX, "cpu", 64)
    file = tmp_path / "rows.json"
    arguments = ["--models", MODEL, "--batch", "2", "--rounds", "1", "--json", str(file)]
    monkeypatch.setattr("sys.argv", ["bench_train.py", *arguments])
    bench_train.main()
    found = json.loads(file.read_text(encoding="utf-8"))
    rows = found["rows"]
    assert {(row["path"], row["dtype"]) for row in rows} == {
        (path, dtype) for path in ("plain", "fast") for dtype in ("fp32", "bf16")
    }
    for row in rows:
        assert row.keys() == KEYS and (row["model"], row["batch"]) == (MODEL, 2)
        assert min(row["images_per_s"], row["peak_mib"], row["gflops_an_image"]) > 0
    assert found["loops"] == []
    shown = capsys.readouterr().out
    for own, other in (("fp32", "fp32"), ("bf16", "bf16"), ("bf16", "fp32")):
        assert f"{MODEL}, fast in {own} / plain in {other}: speed" in shown


def test_a_loop_too_short_to_measure_is_refused(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["bench_train.py", "--loop", "3"])
    with pytest.raises(SystemExit):
        bench_train.main()
    assert "--loop needs 10 steps or more" in capsys.readouterr().err

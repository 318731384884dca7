"""The bench of opening: what is opened again is what the first pass kept."""

import json

from tools import bench_open


def test_both_openings_keep_the_same(tmp_path, capsys):
    file = tmp_path / "open.json"
    bench_open.main(["--records", "250000", "--rounds", "1", "--json", str(file)])
    first, later = json.loads(file.read_text())["rows"]
    assert first["kept"] == later["kept"] == 225_000
    assert min(first["seconds"], later["seconds"], later["peak_mib"]) > 0
    assert "| later" in capsys.readouterr().out

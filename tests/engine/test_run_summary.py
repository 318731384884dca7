"""What a run says of itself."""

import pytest

from engine.run_data import RunData
from engine.run_summary import say_scored_sets
from loading.sources import RenderedSource, Source
from records.label_filter import LabelFilter
from records.lmdb_set import LmdbSet
from synthetic import StreamSettings
from text import Charset

LABELS = LabelFilter(Charset.load("36"), 25)


@pytest.mark.parametrize(("trained", "warned"), [("SVT", True), ("CUTE80", False), (None, False)])
def test_sets_that_are_trained_on_are_told(data_tree, tmp_path, monkeypatch, trained, warned):
    (tmp_path / "synthetic").symlink_to(data_tree / "evaluation/SVT")
    monkeypatch.chdir(tmp_path)
    if trained is None:  # no LMDB, though one has its name
        source = RenderedSource(StreamSettings(packaged_fonts_only=True), LABELS, 1)
    else:
        source = Source(trained, [LmdbSet(data_tree / "evaluation" / trained, LABELS)])
    validation = {"SVT": LmdbSet(tmp_path / "synthetic", LABELS)}
    told = []
    say_scored_sets(told.append, RunData([source], [1], False, Charset.load("36"), validation, {}))
    assert any("SVT is trained on, too" in line for line in told) == warned

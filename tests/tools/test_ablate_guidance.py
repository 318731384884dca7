"""The ablation's statistics, table and figure on made-up results, and a run of two iterations."""

import json
import signal
import statistics
import sys
from argparse import Namespace
from dataclasses import replace
from itertools import count

import pytest

from records.lmdb_file import DataError
from records.lmdb_set import LmdbSet
from tools import ablate_guidance
from tools.ablate_guidance import ARMS, UnfinishedArmError, ablate, interval, plot, render, table

pytestmark = pytest.mark.usefixtures("one_thread")

SETTINGS = {"level": "easy", "train": 8, "test": 4, "iterations": 2, "batch_size": 2, "lr": 0.001}
SETTINGS |= {"amp": "off", "device": "cpu"}


def run(arm: str, seed: int, accuracy: float, iou: float | None = None) -> dict:
    curve = [[1, accuracy / 2], [2, accuracy]]
    made = {"arm": arm, "seed": seed, "accuracy": accuracy, "curve": curve}
    return made if iou is None else made | {"iou": iou}


def made_up(plain=(70.0, 72.0, 77.0)) -> list[dict]:
    """Arm k gains k points, and k more with each seed."""
    runs = []
    for k, arm in enumerate(ARMS):
        for seed, value in enumerate(plain, start=1):
            if arm.all_seeds or seed == 1:
                iou = 40.0 + k + seed if "core_area_loss" in arm.loss_weights else None
                runs.append(run(arm.name, seed, value + k * seed, iou))
    return runs


def by_arm(runs) -> dict:
    return {a.name: {r["seed"]: r for r in runs if r["arm"] == a.name} for a in ARMS}


def test_the_interval_is_student_s_over_seeds_and_binomial_for_one():
    assert interval([80.0], 1000) == pytest.approx(1.96 * 40 / 1000**0.5)
    assert interval([100.0], 1000) == 0
    # 95% intervals of textbooks: 12.706 s / sqrt(2), 4.303 s / sqrt(3).
    assert interval([60.0, 62.0], 1) == pytest.approx(12.706 * 2**0.5 / 2**0.5, rel=1e-4)
    assert interval([1.0, 2.0, 3.0], 1) == pytest.approx(4.303 / 3**0.5, rel=1e-4)
    ten = [float(n) for n in range(10)]
    assert interval(ten, 1) == pytest.approx(2.262 * statistics.stdev(ten) / 10**0.5, rel=1e-4)


def cells(text: str) -> dict[str, list[str]]:
    rows = [[c.strip() for c in line.strip("|").split("|")] for line in text.splitlines()]
    return {row[0]: row[1:] for row in rows if row[0] in {a.name for a in ARMS}}


def test_the_table_has_means_spreads_and_paired_differences():
    rows = cells(table(by_arm(made_up()), images=100))
    assert list(rows) == [arm.name for arm in ARMS]
    plain = interval([70.0, 72.0, 77.0], 100)
    assert rows["plain"] == ["3", "73.0", f"± {plain:.1f}", "", "", ""]
    # Gains of 1, 2 and 3 over plain's own seeds: 4.303 / sqrt(3), far less than either spread.
    assert rows["core-area loss"][3:] == ["+2.0 ± 2.5", "plain", "43.0"]
    assert rows["CAFM"][3:5] == ["+4.0 ± 5.0", "plain"]
    assert rows["CAFM"][5] == ""
    # One seed: compared with that seed of the other arm alone.
    sigmoid = rows["CAFM + core-area loss, sigmoid"]
    assert sigmoid[:2] == ["1", "74.0"]
    assert sigmoid[2] == f"± {interval([74.0], 100):.1f}"
    spread = (interval([74.0], 100) ** 2 + interval([73.0], 100) ** 2) ** 0.5
    assert sigmoid[3:] == [f"+1.0 ± {spread:.1f}", "CAFM + core-area loss", "45.0"]


def test_a_loss_of_accuracy_has_its_sign():
    runs = [r | {"accuracy": 60.0} if r["arm"] == "CAFM" else r for r in made_up((70.0, 70.0))]
    assert cells(table(by_arm(runs), 100))["CAFM"][3] == "-10.0 ± 0.0"


@pytest.mark.parametrize("plain", [(70.0, 72.0), (70.0,)])
def test_the_figure_is_drawn(tmp_path, plain):
    plot(by_arm(made_up(plain)), tmp_path / "accuracy.png")
    assert (tmp_path / "accuracy.png").read_bytes()[:4] == b"\x89PNG"


@pytest.fixture
def never_trains(monkeypatch):
    """Rendering and training end the test."""

    def refuse(*_):
        raise AssertionError("something was trained")

    monkeypatch.setattr(ablate_guidance, "train_arm", refuse)
    monkeypatch.setattr(ablate_guidance, "render", lambda folder, *_: (folder, folder))


def options(out, seeds: int = 1, **changes) -> Namespace:
    return Namespace(out=out, seeds=seeds, **(SETTINGS | changes))


@pytest.mark.parametrize(
    ("plain", "informative"), [(49.9, False), (50.0, True), (90.0, True), (90.1, False)]
)
def test_a_plain_arm_outside_the_limits_says_nothing(tmp_path, never_trains, plain, informative):
    stored = {"settings": SETTINGS, "runs": made_up((plain,))}
    (tmp_path / "results.json").write_text(json.dumps(stored), encoding="utf-8")
    (tmp_path / "table.md").write_text("of fewer seeds", encoding="utf-8")
    text = ablate(options(tmp_path))
    assert text.startswith("Not informative") != informative
    assert (tmp_path / "table.md").is_file() == informative
    if informative:
        assert (tmp_path / "table.md").read_text() == text + "\n"
    else:
        assert f"the plain arm reaches {plain:.1f}%" in text


def test_fewer_seeds_leave_the_others_out(tmp_path, never_trains):
    stored = {"settings": SETTINGS, "runs": made_up((60.0, 80.0))}
    (tmp_path / "results.json").write_text(json.dumps(stored), encoding="utf-8")
    assert cells(ablate(options(tmp_path, seeds=1)))["plain"][:2] == ["1", "60.0"]
    assert cells(ablate(options(tmp_path, seeds=2)))["plain"][:2] == ["2", "70.0"]


def test_runs_of_several_commits_are_told_of(tmp_path, never_trains):
    runs = [r | {"git_commit": "a" * 40 if r["seed"] == 1 else "b" * 40} for r in made_up()]
    for own, told in ((runs, True), ([r | {"git_commit": "a" * 40} for r in runs], False)):
        stored = {"settings": SETTINGS, "runs": own}
        (tmp_path / "results.json").write_text(json.dumps(stored), encoding="utf-8")
        text = ablate(options(tmp_path, seeds=3))
        assert ("of several versions of the code: aaaaaaaaa, bbbbbbbbb." in text) == told


def test_results_of_other_settings_are_left_alone(tmp_path, never_trains):
    stored = json.dumps({"settings": SETTINGS | {"iterations": 9}, "runs": made_up()})
    (tmp_path / "results.json").write_text(stored, encoding="utf-8")
    with pytest.raises(FileExistsError, match="of other settings"):
        ablate(options(tmp_path))
    assert (tmp_path / "results.json").read_text() == stored


def test_what_is_missing_is_trained_and_kept_at_once(tmp_path, monkeypatch, never_trains):
    runs = made_up((60.0, 62.0))
    stored = {"settings": SETTINGS, "runs": runs[:3]}
    (tmp_path / "results.json").write_text(json.dumps(stored), encoding="utf-8")
    trained = []

    def train(arm, seed, *_):
        if len(trained) == 2:
            raise KeyboardInterrupt
        trained.append((arm.name, seed))
        return next(r for r in runs if (r["arm"], r["seed"]) == trained[-1])

    monkeypatch.setattr(ablate_guidance, "train_arm", train)
    with pytest.raises(KeyboardInterrupt):
        ablate(options(tmp_path, seeds=2))
    kept = json.loads((tmp_path / "results.json").read_text())["runs"]
    assert [(r["arm"], r["seed"]) for r in kept[3:]] == trained
    assert not {(r["arm"], r["seed"]) for r in runs[:3]} & set(trained)


def test_arms_compare_with_arms_that_are_there():
    names = [arm.name for arm in ARMS]
    assert len(set(names)) == len(names)
    for arm in ARMS:
        other = next(a for a in ARMS if a.name == arm.against)
        assert other.all_seeds or not arm.all_seeds


def test_a_tiny_ablation_finishes_and_repeats_nothing(tmp_path, monkeypatch):
    # A pool would take longer than it saves.
    monkeypatch.setattr(ablate_guidance, "available_cores", lambda: 1)
    small = {"width": 48, "depth": 3, "extractor_widths": (8, 8, 16, 16, 32)}
    small |= {"bpe_classes": 50, "wp_classes": 60}
    arms = tuple(replace(arm, changes={**arm.changes, **small}) for arm in ARMS)
    monkeypatch.setattr(ablate_guidance, "ARMS", arms)
    text = ablate(options(tmp_path))
    assert text.startswith("Not informative")  # nothing is learned in two iterations
    file = tmp_path / "results.json"
    stored = json.loads(file.read_text())
    assert stored["settings"] == SETTINGS
    assert [(r["arm"], r["seed"]) for r in stored["runs"]] == [(arm.name, 1) for arm in ARMS]
    for arm, result in zip(ARMS, stored["runs"], strict=True):
        assert [iteration for iteration, _ in result["curve"]] == [1, 2]
        assert result["accuracy"] == result["curve"][-1][1]
        assert ("iou" in result) == ("core_area_loss" in arm.loss_weights)
        assert result["seconds"] >= 0
    assert len(list((tmp_path / "runs").glob("*/log.txt"))) == len(ARMS)
    assert {file.name for file in tmp_path.rglob("*.pth")} <= {"best_accuracy.pth"}
    assert not list(tmp_path.rglob("*.partial"))
    data = (tmp_path / "data" / "train" / "data.mdb").stat().st_mtime_ns
    before = file.read_bytes()

    def refuse(*_):
        raise AssertionError("something was trained twice")

    monkeypatch.setattr(ablate_guidance, "train_arm", refuse)
    assert ablate(options(tmp_path)) == text
    assert file.read_bytes() == before
    assert (tmp_path / "data" / "train" / "data.mdb").stat().st_mtime_ns == data
    with pytest.raises(FileExistsError, match="rendered with other settings"):
        render(tmp_path / "data", "easy", 9, 4, ablate_guidance.RunLog(enabled=False))


def test_an_arm_that_a_signal_ends_is_no_result(tmp_path, monkeypatch):
    monkeypatch.setattr(ablate_guidance, "available_cores", lambda: 1)
    step, taken = ablate_guidance.Trainer._take_step, count(1)

    def terminated(*arguments):
        if next(taken) == 4:  # the first scores are there
            signal.raise_signal(signal.SIGTERM)
        return step(*arguments)

    monkeypatch.setattr(ablate_guidance.Trainer, "_take_step", terminated)
    with pytest.raises(UnfinishedArmError, match="stopped by SIGTERM amid plain, seed 1"):
        ablate(options(tmp_path, iterations=20))
    assert not (tmp_path / "results.json").exists()


def test_a_signal_after_an_arms_last_step_stops_before_the_next(tmp_path, monkeypatch):
    monkeypatch.setattr(ablate_guidance, "available_cores", lambda: 1)
    keep, kept = ablate_guidance.Validation._keep, count(1)

    def terminated(*arguments):
        if next(kept) == 2:
            signal.raise_signal(signal.SIGTERM)
        return keep(*arguments)

    monkeypatch.setattr(ablate_guidance.Validation, "_keep", terminated)
    with pytest.raises(UnfinishedArmError, match="stopped by SIGTERM before core-area loss, seed"):
        ablate(options(tmp_path))
    (run,) = json.loads((tmp_path / "results.json").read_text())["runs"]
    assert run["arm"] == "plain" and len(run["curve"]) == 2


def test_an_arm_that_was_not_scored_to_its_end_is_no_result(tmp_path, monkeypatch):
    monkeypatch.setattr(ablate_guidance, "available_cores", lambda: 1)
    score, scored = ablate_guidance.Evaluator.__call__, count(1)

    def failing(*arguments, **settings):
        if next(scored) == 2:
            raise DataError("a worker died")
        return score(*arguments, **settings)

    monkeypatch.setattr(ablate_guidance.Evaluator, "__call__", failing)
    with pytest.raises(UnfinishedArmError, match="a validation failed amid plain, seed 1"):
        ablate(options(tmp_path))
    assert not (tmp_path / "results.json").exists()


def test_rendered_words_have_boxes_that_are_theirs(tmp_path, monkeypatch):
    monkeypatch.setattr(ablate_guidance, "available_cores", lambda: 1)
    log = ablate_guidance.RunLog(enabled=False)
    paths = render(tmp_path, "easy", 5, 3, log)
    filtered = ablate_guidance.LabelFilter(ablate_guidance.Charset.load("36"), 25)
    train, test = (LmdbSet(path, filtered, boxes=True) for path in paths)
    assert (len(train), len(test)) == (5, 3)
    assert (train.report.with_boxes, test.report.with_boxes) == (5, 3)
    images = [{s.read(int(n))[0] for n in s.numbers} for s in (train, test)]
    assert not images[0] & images[1]
    for number in train.numbers:
        _, text, boxes = train.read_with_boxes(int(number))
        assert "".join(box.character for box in boxes) == text


def test_fonts_that_are_not_there_are_told(tmp_path, monkeypatch, capsys):
    def none(**_):
        raise ablate_guidance.NoFontsError("no fonts")

    monkeypatch.setattr(ablate_guidance, "find_faces", none)
    monkeypatch.setattr(sys, "argv", ["ablate_guidance.py", str(tmp_path / "out")])
    with pytest.raises(SystemExit) as ended:
        ablate_guidance.main()
    assert ended.value.code == 2 and "error: no fonts" in capsys.readouterr().err

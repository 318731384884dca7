"""Validation keeps the best weights, and nothing that befalls it ends a run."""

from types import SimpleNamespace
from unittest.mock import Mock

import pytest
import torch

from console.progress import RunLog
from dataset import ImageFormat
from engine import validation as validation_module
from engine.distributed import Process
from engine.evaluation import EvaluationStoppedError, Evaluator, SetScore
from engine.metrics import Metrics
from engine.run_context import RunContext
from engine.run_folder import RunFolder
from engine.validation import Validation, sets_identity
from models import config_codecs, create_model
from models.checkpoint import load_checkpoint
from records.label_filter import LabelFilter
from records.lmdb_file import DataError
from records.lmdb_set import LmdbSet, open_evaluation_sets
from text import Charset

ALONE = Process(0, 0, 1, torch.device("cpu"))


class Shown(RunLog):
    def __init__(self):
        super().__init__(enabled=False)
        self.text = ""

    def __call__(self, text=""):
        self.text += text + "\n"


@pytest.fixture
def make(data_tree, tmp_path, one_thread):
    """A validation of an untrained model on SVT, with CUTE80 beside it."""
    torch.manual_seed(0)
    model = create_model("acds_mgp_str_tiny", granularities=("char",))
    labels = LabelFilter(Charset(model.config.characters), 25, trainable=False)
    folder, log = RunFolder(tmp_path, "run"), Shown()
    metrics = Metrics(folder, log)

    def validation(state=None, place="evaluation/SVT", keep_iterations=None):
        codecs = config_codecs(model.config)
        evaluator = Evaluator(model, codecs, ImageFormat.of(model.config), ALONE, 4, 0)
        sets = open_evaluation_sets(str(data_tree / place), labels)
        others = open_evaluation_sets(str(data_tree / "evaluation/CUTE80"), labels)
        run = RunContext(ALONE, folder, log, metrics)
        return Validation(evaluator, sets, others, run, state, keep_iterations)

    yield validation
    metrics.close()


def test_the_best_weights_are_kept_and_the_other_sets_scored(make, monkeypatch):
    validation = make()
    validation(5)
    assert validation.history[0][0] == 5 and validation.best_accuracy >= 0
    shown, folder = validation.log.text, validation.folder
    assert "validation after iteration 5" in shown and "evaluation after iteration 5" in shown
    assert load_checkpoint(folder.best).extra["iteration"] == 5
    assert "validation/SVT/char_accuracy" in folder.metrics.read_text(encoding="utf-8")
    assert "evaluation/CUTE80/char_accuracy" in folder.metrics.read_text(encoding="utf-8")
    # Not better: the best stays, and the other sets wait for the end.
    validation(6)
    assert load_checkpoint(folder.best).extra["iteration"] == 5 and folder.iteration(6).exists()
    assert "evaluation after iteration 6" not in validation.log.text
    validation(7, at_end=True)
    assert "evaluation after iteration 7" in validation.log.text


def test_of_earlier_validations_only_the_last_weights_are_kept(make):
    validation = make(keep_iterations=2)
    for number in (9, 90, 200):  # of a state that lay after the one resumed from
        validation.folder.iteration(number).touch()
    for iteration in (100, 101):
        validation(iteration)
    there = sorted(path.name for path in validation.folder.path.glob("*.pth"))
    assert there == ["best_accuracy.pth", "iter_100.pth", "iter_101.pth", "iter_200.pth"]


def test_weights_that_cannot_be_deleted_do_not_end_a_run(make):
    validation = make(keep_iterations=1)
    validation.folder.iteration(1).mkdir()
    validation(2)
    assert "warning: weights of an earlier iteration could not be deleted" in validation.log.text
    assert validation.best_accuracy >= 0


def test_a_resumed_run_has_the_best_accuracy_of_the_weights_that_are_kept(make):
    first = make()
    first(5)
    before = SimpleNamespace(history=[], best_accuracy=-1, validation=[])  # as it was before
    again = make(before)
    assert again.best_accuracy == first.best_accuracy and "looked for anew" not in again.log.text
    # The run had ended amid it: the others are scored after all.
    assert again.log.text.count("evaluation after iteration 5") == 1
    again(5)
    assert again.log.text.count("evaluation after iteration 5") == 2
    again(6)
    assert load_checkpoint(again.folder.best).extra["iteration"] == 5
    assert make().best_accuracy == -1  # a new run
    assert make(before, "training/ST").best_accuracy == -1
    assert "looked for anew, as it is one of other images" in again.log.text
    again.folder.best.write_bytes(b"damaged")
    assert make(before).best_accuracy == -1 and "or it is damaged" in again.log.text
    again.folder.best.unlink()
    assert make(before).best_accuracy == -1


def test_sets_are_known_by_what_they_hold(make_lmdb, encode_image, tmp_path):
    records = [(encode_image(word), word) for word in ("one", "Two", "three")]

    def identity(name, records, scored="36"):
        make_lmdb(tmp_path / name, records)
        charset = Charset.load(scored)
        labels = LabelFilter(charset, None, trainable=False)
        return sets_identity(open_evaluation_sets(str(tmp_path / name), labels), charset)

    own = identity("here", records)
    assert identity("there/too", records) == own
    for others in (records[:2], [*records[:2], (records[2][0], "there")], records[::-1]):
        assert identity(f"others_{len(list(tmp_path.iterdir()))}", others) != own
    assert identity("cased", records, "62") != own


def test_a_set_that_can_not_be_read_any_more_is_left_out(make, monkeypatch):
    validation = make()
    load = LmdbSet.read

    def gone(self, number):
        if "CUTE80" in str(self.path):
            raise OSError(5, "Input/output error")
        return load(self, number)

    monkeypatch.setattr(LmdbSet, "read", gone)
    validation(5)
    assert "warning: CUTE80 could not be scored and is left out" in validation.log.text
    assert "Input/output error" in validation.log.text and len(validation.history) == 1

    validation.sets = validation.others
    validation(6)
    assert "no validation set could be read" in validation.log.text
    assert len(validation.history) == 1 and validation.folder.iteration(6).exists()


def test_a_set_that_is_gone_is_left_out_and_nothing_is_best_without_it(make, monkeypatch):
    validation = make()
    validation.sets = {**validation.sets, **validation.others}
    load = LmdbSet.read

    def gone(self, number):
        if "CUTE80" in str(self.path):
            raise DataError("there is no LMDB any more")
        return load(self, number)

    monkeypatch.setattr(LmdbSet, "read", gone)
    validation(5)
    assert "CUTE80 is left out: none of its images could be read" in validation.log.text
    assert "there is no LMDB any more" in validation.log.text
    assert len(validation.history) == 1 and validation.best_accuracy < 0
    assert not validation.folder.best.exists() and validation.folder.iteration(5).exists()
    monkeypatch.setattr(LmdbSet, "read", load)
    validation(6)
    assert validation.folder.best.exists()


def test_a_rank_without_images_of_an_unreadable_set_goes_on(make):
    validation = make()
    validation.evaluator = Mock(wraps=validation.evaluator, model=validation.evaluator.model)
    validation.evaluator.return_value = SetScore("SVT", 0, {"char": 0, "fused": 0}, unreadable=1)
    validation(5)
    assert "could be read (on another rank)" in validation.log.text
    assert validation.history == []


@pytest.mark.parametrize(
    ("error", "told"), [(OSError("gone"), "gone"), (MemoryError(), "MemoryError")]
)
def test_a_rank_that_can_not_read_tells_the_others(make, monkeypatch, error, told):
    """The counts are summed before the error is raised; else the others wait for them forever."""
    validation = make()
    summed = []
    monkeypatch.setattr(Process, "total", lambda _, v: summed.append(v.tolist()) or v)
    monkeypatch.setattr(LmdbSet, "read", lambda *_: (_ for _ in ()).throw(error))
    ((name, records),) = validation.sets.items()
    with pytest.raises(DataError, match=f"can't be scored: {told}"):
        validation.evaluator(name, records)
    assert len(summed) == 1


def test_a_full_disk_leaves_the_old_best_good(make, monkeypatch):
    validation = make()
    validation(5)
    before = validation.folder.best.read_bytes()
    validation.best_accuracy = -1.0

    def full(contents, file):
        file.write(b"the beginning")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    validation(6)
    assert "could not be written" in validation.log.text and "Make room" in validation.log.text
    assert validation.folder.best.read_bytes() == before
    assert not validation.folder.iteration(6).exists()
    assert validation.best_accuracy == -1.0  # what was not kept is not the one to beat


def test_the_best_weights_are_written_where_only_they_have_room(make, monkeypatch):
    validation = make(keep_iterations=1)
    validation.folder.iteration(4).touch()  # which may go, so that there is room
    write = validation_module.save_checkpoint

    def tight(place, *arguments, **extra):
        assert not validation.folder.iteration(4).exists()
        if place.name.startswith("iter"):
            raise OSError("No space left on device")
        write(place, *arguments, **extra)

    monkeypatch.setattr(validation_module, "save_checkpoint", tight)
    validation(5)
    assert "iter_5.pth (No space left on device)" in validation.log.text
    assert load_checkpoint(validation.folder.best).extra["iteration"] == 5
    assert validation.best_accuracy >= 0


def test_other_ranks_go_by_what_the_first_one_kept(make, monkeypatch):
    validation = make()
    validation.process = Process(1, 1, 1, torch.device("cpu"))
    kept = [0, 1]
    monkeypatch.setattr(Process, "total", lambda _, v: v if v.dim() else torch.tensor(kept.pop(0)))
    validation(5)
    assert validation.best_accuracy == -1.0 and len(validation.history) == 1
    validation(6)
    assert validation.best_accuracy >= 0 and not kept


def test_pictures_are_shown(make, monkeypatch):
    shown = []
    validation = make()
    monkeypatch.setattr(Metrics, "show", lambda _, *told: shown.append(told))
    monkeypatch.setattr(validation_module, "PICTURES", 2)
    state = torch.get_rng_state()
    validation(5)
    assert [(iteration, name) for iteration, name, _ in shown] == [
        (5, "validation/1"),
        (5, "validation/2"),
    ]
    assert all(picture.width > 256 for _, _, picture in shown)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_stop_ends_the_scoring_amid_a_set(make):
    validation = make()
    validation.evaluator.batch_size = 2
    asked = iter([False, True])
    with pytest.raises(EvaluationStoppedError):
        validation(5, stops=lambda: next(asked))
    assert validation.history == [] and not validation.folder.best.exists()
    validation(5)
    assert validation.history[0][0] == 5


def test_other_sets_that_were_not_scored_to_their_end_are_so_once_more(make, monkeypatch):
    validation = make()
    scores = validation._scores

    def stopped(sets, stops):
        if sets is validation.others:
            raise EvaluationStoppedError
        return scores(sets, stops)

    monkeypatch.setattr(validation, "_scores", stopped)
    with pytest.raises(EvaluationStoppedError):
        validation(5)
    assert validation.history == []
    monkeypatch.undo()
    validation(5)  # as the resumed run does
    assert validation.log.text.count("evaluation after iteration 5") == 1
    assert [iteration for iteration, _ in validation.history] == [5]


def test_a_batch_that_the_memory_does_not_hold_leaves_the_set_out_and_tells_the_cure(
    make, monkeypatch
):
    validation = make()

    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate")

    monkeypatch.setattr(validation.evaluator, "_run", full)
    validation(5)
    assert "does not hold 4 images (CUDA out of memory.)" in validation.log.text
    assert "smaller --batch_size" in validation.log.text
    assert validation.folder.iteration(5).exists() and validation.best_accuracy == -1


def test_best_weights_of_an_older_version_stay(make):
    """They don't say how good they are; the state does."""
    first = make()
    first(5)
    contents = torch.load(first.folder.best, weights_only=True)
    torch.save({n: v for n, v in contents.items() if n != "validation"}, first.folder.best)
    state = SimpleNamespace(history=[], best_accuracy=55.5, validation=first.identity)
    assert make(state).best_accuracy == 55.5
    assert make(SimpleNamespace(history=[], best_accuracy=55.5, validation=[])).best_accuracy == -1

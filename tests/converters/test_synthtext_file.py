"""gt.mat of SynthText as a file: variable by variable, compact, and refused where it is damaged."""

import pickle
import tracemalloc

import numpy as np
import pytest
import scipy.io

from console.progress import RunLog
from converters.columns import QuadColumn, TextColumn
from converters.conversion import convert
from converters.scenes import Cutting
from converters.synthtext import SynthText
from records.lmdb_file import DataError

SILENT = RunLog(enabled=False)


def test_columns_are_compact_and_empty_their_cells():
    rng = np.random.default_rng(0)
    count = 20_000
    given = rng.random((count, 2, 4, 3)).astype(np.float32)
    cells = np.empty(count, object)
    texts = np.empty(count, object)
    for number in range(count):
        cells[number] = given[number].copy()
        texts[number] = np.array(["two words", f"and {number}"])
    tracemalloc.start()
    quads, lines = QuadColumn(cells), TextColumn(texts)
    size, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    payload = given.nbytes + sum(len(f"two words\nand {n}") for n in range(count))
    assert size < 1.25 * payload
    assert peak < 1.5 * payload
    assert all(cell is None for cell in (*cells, *texts))
    assert quads[777].dtype == np.float32
    np.testing.assert_array_equal(quads[777], given[777].transpose(2, 1, 0))
    assert lines[777] == "two words\nand 777"
    assert len(quads) == len(lines) == count


def test_a_task_carries_only_its_own_images(source, many):
    made = source(*many(200), photos=False)
    tasks = list(made.tasks(0))
    assert len(tasks) == len(made) == 25
    assert max(len(pickle.dumps(task)) for task in tasks) < 8 * 1500
    assert len(pickle.dumps(made.convert)) < 1000
    assert [image.path for task in made.tasks(20) for image in task] == [
        f"{k % 3}/{k}.jpg" for k in range(160, 200)
    ]


def test_odd_cells_count_as_empty():
    cells = np.empty(6, object)
    cells[:] = [
        np.zeros((2, 4)),
        np.zeros((4, 2)),
        np.array(["text"]),
        5,
        np.zeros((2, 4, 0)),
        None,
    ]
    assert [len(QuadColumn(cells.copy())[k]) for k in range(6)] == [1, 0, 0, 0, 0, 0]
    nested = np.empty((1, 2), object)
    nested[0] = [np.array(["a b"]), np.array(["c"])]
    texts = np.empty(4, object)
    texts[:] = [nested, np.zeros(3), None, np.array(["\ud800"])]
    column = TextColumn(texts)
    assert [column[k] for k in range(4)] == ["a b\nc", "", "", "\ud800"]


def test_missing_variables_name_those_that_are_there(source, scene, box):
    with pytest.raises(DataError, match=r"lacks the variables charBB; it has .*wordBB"):
        source(scene("1/a.jpg", [("a", box(5, 5, 35, 20))]), charBB=None)


def test_other_variables_are_no_cells(source, scene, box):
    with pytest.raises(DataError, match=r"wordBB of .* is no cell array"):
        source(scene("1/a.jpg", [("a", box(5, 5, 35, 20))]), wordBB=np.zeros((2, 4)))


def test_lengths_must_agree(source, scene, box):
    paths = np.empty((1, 2), object)
    paths[0] = [np.array(["a"]), np.array(["b"])]
    with pytest.raises(DataError, match="different lengths: imnames 2, txt 1"):
        source(scene("1/a.jpg", [("a", box(5, 5, 35, 20))]), imnames=paths)


def test_a_file_of_version_7_3_says_what_to_do(tmp_path):
    header = b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM"
    (tmp_path / "gt.mat").write_bytes(header.ljust(512, b"\0") + b"\x89HDF\r\n\x1a\n")
    with pytest.raises(DataError, match=r"version 7\.3 \(HDF5\).*-v7'"):
        SynthText(tmp_path / "gt.mat", Cutting(tmp_path, 95), SILENT)


@pytest.mark.parametrize("length", [0, 3, 100, 128, 200, 1000])
def test_a_damaged_file_is_a_sentence(source, many, tmp_path, length):
    source(*many(20))
    file = tmp_path / "in/gt.mat"
    file.write_bytes(file.read_bytes()[:length])
    with pytest.raises(DataError, match=r"can't be read as a MATLAB file|lacks the variables"):
        SynthText(file, Cutting(tmp_path, 95), SILENT)


def test_noise_in_the_file_never_crashes(source, many, tmp_path):
    source(*many(5))
    file = tmp_path / "in/gt.mat"
    whole = file.read_bytes()
    rng = np.random.default_rng(1)
    outcomes = set()
    for _ in range(60):
        damaged = bytearray(whole)
        for position in rng.integers(0, len(whole), 4):
            damaged[position] = rng.integers(256)
        file.write_bytes(damaged)
        try:
            SynthText(file, Cutting(tmp_path, 95), SILENT)
            outcomes.add("read")
        except DataError:
            outcomes.add("refused")
    assert "refused" in outcomes


def test_a_missing_file_says_what_it_has(tmp_path):
    with pytest.raises(DataError, match=r"There is no file .*gt\.mat, which has the MATLAB"):
        SynthText(tmp_path / "gt.mat", Cutting(tmp_path, 95), SILENT)


def test_scipy_reads_one_variable_at_a_time(source, scene, box, monkeypatch):
    asked = []
    loadmat = scipy.io.loadmat

    def spy(file, variable_names, **options):
        asked.append(variable_names)
        return loadmat(file, variable_names=variable_names, **options)

    monkeypatch.setattr(scipy.io, "loadmat", spy)
    source(scene("1/a.jpg", [("a", box(5, 5, 35, 20))]))
    assert asked == [["imnames"], ["txt"], ["wordBB"], ["charBB"]]


def test_memory_does_not_grow_with_the_images(source, many, tmp_path, monkeypatch):
    monkeypatch.setattr("records.lmdb_writer.COMMIT_EVERY", 10)
    peaks = []
    for count in (100, 400):
        made = source(*many(count))
        tracemalloc.start()
        convert(made, tmp_path / str(count), 1, SILENT)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 100_000

"""test_final.py with all its outputs, on one process and on two."""

import csv
import json
import re

import pytest

from models import create_model
from models.checkpoint import save_checkpoint

TEST = "test_final.py --eval_data data/evaluation --benchmark_all_eval --device cpu --workers 0"


@pytest.fixture(scope="module")
def outputs(run, place_with_data, tmp_path_factory):
    place = tmp_path_factory.mktemp("scores")
    save_checkpoint(place / "other.pth", create_model("acds_str_tiny"))
    compared = f"{TEST} --compare best_accuracy.pth {place}/other.pth --results {place}/results"
    two = run(
        f"python3 -m torch.distributed.launch --nproc_per_node=2 --master_port 29501 {compared} "
        f"--json {place}/two.json --csv {place}/two.csv --markdown {place}/two.md "
        f"--report {place}/two.html --gallery 3"
    )
    one = run(f"python3 {compared} --json {place}/one.json")
    return place, one.stdout, two.stdout


def figures(file) -> dict:
    contents = json.loads(file.read_text(encoding="utf-8"))
    for checkpoint in contents["checkpoints"].values():
        for one in checkpoint["sets"]:
            del one["seconds"]
    return {name: contents[name] for name in ("sets", "checkpoints", "comparisons")}


def test_two_processes_find_what_one_does(outputs):
    place, _, _ = outputs
    one, two = figures(place / "one.json"), figures(place / "two.json")
    assert one["sets"] == two["sets"]
    for path, found in one["checkpoints"].items():
        for a, b in zip(found["sets"], two["checkpoints"][path]["sets"], strict=True):
            assert (a["name"], a["images"], a["correct"]) == (b["name"], b["images"], b["correct"])
            assert b["measures"]["fused"]["images"] == 4  # of which none counts twice
            assert a["by_length"] == b["by_length"]
            confidence, other = (x["measures"]["fused"]["mean_confidence"] for x in (a, b))
            assert 0 < confidence == pytest.approx(other, rel=1e-4, abs=0)
            assert abs(confidence - other) <= 1e-6
    assert one["comparisons"] == two["comparisons"]


def test_every_output_says_the_same(outputs):
    place, _, said = outputs
    contents = json.loads((place / "two.json").read_text(encoding="utf-8"))
    markdown = (place / "two.md").read_text(encoding="utf-8")
    page = (place / "two.html").read_text(encoding="utf-8")
    hashes = {one["sha256"] for one in contents["sets"]}
    assert len(contents["sets"]) == 8 and len(hashes) == 1  # the same four images in every set
    for text in (said, markdown, page):
        assert hashes == {h for h in hashes if h in text}
        assert "scored on 36 (case-insensitive" in text
        assert "eight sets, plain mean" in text
        assert "McNemar" in text
    with (place / "two.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for path, found in contents["checkpoints"].items():
        for one in found["sets"]:
            (row,) = (
                r
                for r in rows
                if (r["checkpoint"], r["set"], r["reading"]) == (path, one["name"], "fused")
            )
            assert float(row["accuracy"]) == one["accuracy"]["fused"]
            assert float(row["one_minus_ned"]) == one["measures"]["fused"]["one_minus_ned"]
    assert {c["column"] for c in contents["comparisons"]} == {"char", "fused"}


def test_a_folder_of_checkpoints_is_ranked_on_other_sets(run, tmp_path, make_lmdb, encode_image):
    for name in ("OST/weak", "OST/heavy", "WordArt"):
        make_lmdb(tmp_path / "sets" / name, [(encode_image("Ab"), "Ab!"), (encode_image("c"), "c")])
    (tmp_path / "runs").mkdir()
    for number in (2, 4, 6, 8):
        model = create_model("mgp_str_mini_stem8x8_3_32_128")
        save_checkpoint(tmp_path / f"runs/iter_{number}.pth", model)
    (tmp_path / "runs/iter_5.pth").write_bytes((tmp_path / "runs/iter_4.pth").read_bytes()[:-999])
    other = create_model("mgp_str_mini_stem8x8_3_32_128", characters="abc")
    save_checkpoint(tmp_path / "runs/iter_6.pth", other)
    save_checkpoint(tmp_path / "runs/iter_7.pth", model)
    done = run(
        f"python3 test_final.py --eval_data {tmp_path}/sets --benchmark_all_eval --device cpu "
        f"--workers 0 --model_dir {tmp_path}/runs --range 3-7 "
        f"--json {tmp_path}/scores.json --csv {tmp_path}/scores.csv "
        f"--markdown {tmp_path}/scores.md --results {tmp_path}/results"
    )
    contents = json.loads((tmp_path / "scores.json").read_text(encoding="utf-8"))
    tested = [f"{tmp_path}/runs/iter_{number}.pth" for number in (4, 7)]
    assert sorted(contents["checkpoints"]) == tested
    protocols = [found.get("protocol") for found in contents["checkpoints"].values()]
    assert "36" in protocols  # the best one is told of in full
    with (tmp_path / "scores.csv").open(encoding="utf-8") as file:
        assert {row["protocol"] for row in csv.DictReader(file)} == {"36"}
    for found in contents["checkpoints"].values():
        images = {one["name"]: one["images"] for one in found["sets"]}
        assert images == {"OST/weak": 2, "OST/heavy": 2, "WordArt": 2}
        assert [(total["name"], total["images"]) for total in found["totals"]] == [("OST", 4)]
    ranked = re.findall(r"^\| (\S+\.pth) +\| +6 \|", done.stdout, re.MULTILINE)
    assert sorted(ranked) == tested
    # The damaged one, and the one whose words would have been compared otherwise.
    damaged, other = contents["not_scored"]
    assert f"{tmp_path}/runs/iter_5.pth" in damaged
    assert "iter_6.pth is compared in custom-3, those before it in 36" in other
    for text in (done.stdout.split(ranked[-1])[-1], (tmp_path / "scores.md").read_text()):
        assert f"not scored: {damaged}" in text and f"not scored: {other}" in text


def test_images_that_count_twice_and_files_of_a_folder_are_told(run, tmp_path, encode_image):
    (tmp_path / "words").mkdir()
    (tmp_path / "words/a 1.png").write_bytes(encode_image("a"))
    (tmp_path / "words/gt.txt").write_text("a 1.png\tnothing\n", encoding="utf-8")
    score = (
        f"python3 test_final.py --model_dir best_accuracy.pth --workers 0 --results {tmp_path}/r"
    )
    shown = run(f"{score} --eval_data data/evaluation").stdout
    assert "note: all images of IC13_857, IC15_1811 are in another set, too" in shown
    page = f"--eval_img --report {tmp_path}/page.html"
    shown = run(f"{score} --eval_data {tmp_path}/words {page}").stdout
    assert "note: all images" not in shown
    assert '"place":"a 1.png"' in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_long_labels_count_as_errors(run, tmp_path, make_lmdb, encode_image):
    words = [(encode_image("a"), "a" * 30), (encode_image("b"), "b"), (b"no image", "c")]
    make_lmdb(tmp_path / "sets" / "SVT", words)
    done = run(
        f"python3 test_final.py --eval_data {tmp_path}/sets --benchmark_all_eval --device cpu "
        f"--model_dir best_accuracy.pth --workers 0 --protocol 94 --results {tmp_path}/results "
        f"--csv {tmp_path}/scores.csv"
    )
    # Wherever a total of the six is told, that it is of one.
    assert "six sets (1 found), weighted" in (tmp_path / "scores.csv").read_text(encoding="utf-8")
    assert "six sets, " not in done.stdout
    assert "SVT: 1 label(s) longer than the model can read count as errors" in done.stdout
    assert "trained on charset 36, scored on 94 (case and punctuation count" in done.stdout
    assert "the model's charset lacks 58 of the characters" in done.stdout
    (file,) = (tmp_path / "results").glob("*.json")
    (scores,) = json.loads(file.read_text(encoding="utf-8"))["checkpoints"].values()
    assert (scores["sets"][0]["images"], scores["sets"][0]["beyond_limit"]) == (2, 1)
    assert scores["protocol"] == "94"
    (contents,) = json.loads(file.read_text(encoding="utf-8"))["sets"]
    assert (contents["records"], contents["compared"]) == (3, 2)
    assert contents["left_out"] == {"unreadable image": 1}

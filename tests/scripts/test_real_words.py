"""The three scripts on real word images, which are read in place and never copied here."""

import json

import pytest

from tools.create_lmdb_dataset import main

TRAINING = ("iiit5k_train", "svt_train", "ic15_train", "ic03_train")
EVALUATION = ("IIIT5k_3000", "SVT", "SVTP", "CUTE80", "IC15_2077")
IMAGES = {"IIIT5k_3000": 300, "SVT": 64, "SVTP": 64, "CUTE80": 28, "IC15_2077": 207}


@pytest.fixture(scope="module")
def real_data(shared, tmp_path_factory):
    place = tmp_path_factory.mktemp("real")
    for kind, folder, names in (
        ("training", "training", TRAINING),
        ("evaluation", "evaluation_sample", EVALUATION),
    ):
        for name in names:
            source = shared / "real" / folder / name
            output = str(place / kind / name)
            assert main(["--inputPath", str(source), "--outputPath", output]) == 0
    return place


def test_train_test_and_read(real_data, run, tmp_path, shared):
    run(
        f"python3 train_final_dist.py --train_data {real_data}/training "
        f"--valid_data {real_data}/evaluation/SVT --select_data iiit5k_train-svt_train-ic15_train-"
        "ic03_train --batch_ratio 0.25-0.25-0.25-0.25 --rgb --isrand_aug "
        "--TransformerModel mgp_str_mini_stem8x8_3_32_128 --batch_size 8 --num_iter 3 "
        f"--workers 1 --adam --lr 0.001 --saved_path {tmp_path} --exp_name real"
    )
    weights = tmp_path / "real" / "best_accuracy.pth"
    done = run(
        f"python3 test_final.py --eval_data {real_data}/evaluation --benchmark_all_eval "
        f"--data_filtering_off --model_dir {weights} --results {tmp_path}/results"
    )
    (file,) = (tmp_path / "results").glob("*.json")
    (scores,) = json.loads(file.read_text())["checkpoints"].values()
    assert {s["name"]: s["images"] for s in scores["sets"]} == IMAGES
    assert all(s["stand_in"] is None for s in scores["sets"])
    assert "IIIT5k_3000: 300 images instead of 3,000" in done.stdout
    done = run(
        f"python3 demo.py --model_dir {weights} --demo_imgs {shared}/real/demo/images "
        f"--attention_dir {tmp_path}/attens"
    )
    assert len(list((tmp_path / "attens").iterdir())) == 18
    assert "18.png" in done.stdout

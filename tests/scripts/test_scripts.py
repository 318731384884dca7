"""What the three scripts do for a user beyond the README's commands."""

import csv
import json

import pytest
import torch
from PIL import Image

from models import create_model
from models.checkpoint import load_checkpoint, save_checkpoint

MINI = "mgp_str_mini_stem8x8_3_32_128"
TRAIN = (
    "python3 train_final_dist.py --train_data data/training --valid_data data/evaluation "
    f"--TransformerModel {MINI} --rgb --workers 0 --batch_size 4 --num_iter 2 --valInterval 5"
)


def test_training_alone_ends_with_a_validation_and_best_weights(run, tmp_path):
    done = run(f"{TRAIN} --saved_path {tmp_path} --exp_name alone")
    folder = tmp_path / "alone"
    assert (folder / "iter_2.pth").is_file()
    checkpoint = load_checkpoint(folder / "best_accuracy.pth")
    assert checkpoint.config.name == MINI
    assert checkpoint.extra["iteration"] == 2
    log = (folder / "log.txt").read_text()
    for line in ("torch", "process(es)", "records kept", "protocol:", "validation after iteration"):
        assert line in log
        assert line in done.stdout
    saved = json.loads((folder / "options.json").read_text())
    assert saved["options"]["num_iter"] == 2
    assert saved["versions"]["torch"]
    assert "train_final_dist.py" in saved["command"][1]


def test_default_name_of_a_run(run, tmp_path):
    run(f"{TRAIN} --saved_path {tmp_path} --manualSeed 5")
    assert (tmp_path / f"{MINI}-Seed5" / "best_accuracy.pth").is_file()


def test_the_same_seed_gives_the_same_weights(run, tmp_path):
    states = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        run(f"{TRAIN} --saved_path {tmp_path} --exp_name {name} --manualSeed {seed} --isrand_aug")
        states.append(load_checkpoint(tmp_path / name / "iter_2.pth").state_dict)
    same = [torch.equal(states[0][k], states[1][k]) for k in states[0]]
    other = [torch.equal(states[0][k], states[2][k]) for k in states[0]]
    assert all(same)
    assert not all(other)


@pytest.mark.parametrize("launcher", ["torch.distributed.launch", "torch.distributed.run"])
def test_two_processes_train_together(run, tmp_path, launcher):
    two = TRAIN.replace(
        "python3", f"python3 -m {launcher} --nproc_per_node=2 --master_port 29517"
    ).replace("--batch_size 4", "--batch_size 2")
    done = run(f"{two} --saved_path {tmp_path} --exp_name two", OMP_NUM_THREADS="1")
    assert "2 process(es), 2 images each, 4 a step" in done.stdout
    # Each rank reads its share of the four images in every set; together nothing is missing.
    assert "| eight sets, weighted" in done.stdout
    row = next(x for x in done.stdout.splitlines() if x.startswith("| eight sets, weighted"))
    assert row.split("|")[2].strip() == "32"


def test_two_processes_equal_one(run, tmp_path):
    run(f"{TRAIN} --saved_path {tmp_path} --exp_name one --TransformerModel {TINY}")
    two = TRAIN.replace("python3", "python3 -m torch.distributed.run --nproc_per_node=2").replace(
        "--batch_size 4", "--batch_size 2"
    )
    run(f"{two} --saved_path {tmp_path} --exp_name two --TransformerModel {TINY}")
    one, other = (load_checkpoint(tmp_path / n / "iter_2.pth").state_dict for n in ("one", "two"))
    for name, value in one.items():
        torch.testing.assert_close(other[name], value, atol=1e-4, rtol=1e-4, msg=name)


TINY = "mgp_str_tiny_patch4_3_32_128"


def test_launcher_options_are_checked(run, tmp_path):
    done = run(f"{TRAIN} --saved_path {tmp_path} --world_size 4", ok=False)
    assert done.returncode == 2
    assert "--world_size 4 contradicts the launcher, which set 1" in done.stderr


def test_cuda_without_a_gpu_is_a_sentence(run, tmp_path):
    done = run(f"{TRAIN} --saved_path {tmp_path} --device cuda", ok=False, CUDA_VISIBLE_DEVICES="")
    assert done.returncode == 2
    assert "torch sees no GPU" in done.stderr


def test_changing_a_charset_adapts_the_model_and_says_so(run, tmp_path, workplace):
    done = run(
        f"{TRAIN} --saved_path {tmp_path} --exp_name other --saved_model best_accuracy.pth "
        "--character 62 --imgW 64"
    )
    assert "36 of 62 characters taken over" in done.stdout
    assert "interpolated from 32x128 to 32x64 pixels" in done.stdout
    config = load_checkpoint(tmp_path / "other" / "best_accuracy.pth").config
    assert (len(config.characters), config.image_width) == (62, 64)


def test_a_missing_data_folder_is_a_sentence(run):
    done = run(TRAIN.replace("data/training", "data/nothing"), ok=False)
    assert done.returncode == 2
    assert "The data folder data/nothing is missing" in done.stderr
    assert "Traceback" not in done.stderr


def test_testing_reports_every_set_and_writes_json(run, tmp_path):
    done = run(
        "python3 test_final.py --eval_data data/evaluation --benchmark_all_eval "
        f"--model_dir best_accuracy.pth --workers 2 --batch_size 3 --results {tmp_path} "
        "--calculate_infer_time --flops"
    )
    assert "ms an image at batch size 3" in done.stdout
    assert "GFLOP an image" in done.stdout
    assert "SVT: 4 images instead of 647; not comparable" in done.stdout
    (file,) = tmp_path.glob("*.json")
    (scores,) = json.loads(file.read_text())["checkpoints"].values()
    assert [t["name"] for t in scores["totals"]] == ["six sets", "eight sets"]
    assert scores["totals"][1]["images"] == 32
    assert set(scores["sets"][0]["accuracy"]) == {"char", "bpe", "wp", "fused"}
    assert len(list(tmp_path.glob("*.log"))) == 1


def test_testing_a_folder_of_labelled_images(run, tmp_path):
    done = run(
        "python3 test_final.py --eval_data my_words --eval_img --model_dir best_accuracy.pth "
        f"--workers 0 --results {tmp_path}"
    )
    assert "| my_words" in done.stdout
    assert "my_words: 1 unreadable image(s) left out" in done.stdout


def test_testing_a_folder_of_checkpoints_ranks_them(run, tmp_path, workplace):
    for number in (5, 10):
        save_checkpoint(tmp_path / f"iter_{number}.pth", create_model(MINI))
    done = run(
        "python3 test_final.py --eval_data data/evaluation/SVT --batch_size 4 --workers 0 "
        f"--model_dir {tmp_path} --results {tmp_path}/results"
    )
    ranking = done.stdout.split("| checkpoint")[1]
    assert "iter_5.pth" in ranking and "iter_10.pth" in ranking


def test_stand_ins_are_announced_above_the_table(run, tmp_path, make_lmdb, encode_image):
    make_lmdb(tmp_path / "evaluation" / "SVT", [(encode_image("a"), "a")], stand_in=b'{"x": 1}')
    done = run(
        f"python3 test_final.py --eval_data {tmp_path}/evaluation --benchmark_all_eval "
        f"--model_dir best_accuracy.pth --workers 0 --results {tmp_path}/results"
    )
    before, _ = done.stdout.split("| set")
    assert "NOT the real sets of that name: SVT" in before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--model_dir nothing.pth", "There is no checkpoint nothing.pth"),
        ("--model_dir README.md", "README.md is no"),
        ("--model_dir best_accuracy.pth --sensitive", "--sensitive asks for"),
        ("--model_dir best_accuracy.pth --imgW 64", "--imgW asks for 64, but"),
    ],
)
def test_testing_with_what_does_not_fit_is_a_sentence(run, arguments, message):
    done = run(f"python3 test_final.py --eval_data data/evaluation {arguments}", ok=False)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_demo_reads_a_folder_and_goes_on_after_a_bad_file(run, tmp_path, encode_image):
    (tmp_path / "good.png").write_bytes(encode_image("ok", (100, 40)))
    (tmp_path / "bad.jpg").write_bytes(b"no image")
    done = run(
        f"python3 demo.py --model_dir best_accuracy.pth --demo_imgs {tmp_path} "
        f"--csv {tmp_path}/out.csv --json {tmp_path}/out.json"
    )
    assert "bad.jpg" in done.stderr
    assert "good.png" in done.stdout
    with (tmp_path / "out.csv").open() as file:
        (row,) = csv.DictReader(file)
    (same,) = json.loads((tmp_path / "out.json").read_text())
    assert row["text"] == same["text"]
    assert 0 <= float(row["char_confidence"]) <= 1
    assert {"char", "bpe", "wp", "confidence", "granularity"} <= row.keys()
    with Image.open(tmp_path / "attens" / "good_attention.png") as picture:
        assert picture.width > 700  # three columns


def test_demo_with_nothing_to_read(run, tmp_path):
    done = run(f"python3 demo.py --model_dir best_accuracy.pth --demo_imgs {tmp_path}", ok=False)
    assert done.returncode == 2
    assert "There are no images at" in done.stderr


def test_demo_reads_one_image_into_a_folder_of_choice(run, tmp_path):
    run(
        "python3 demo.py --model_dir best_accuracy.pth --demo_imgs demo_imgs/night.jpg "
        f"--attention_dir {tmp_path}/pictures"
    )
    assert [p.name for p in (tmp_path / "pictures").iterdir()] == ["night_attention.png"]

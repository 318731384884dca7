"""What the three scripts do for a user beyond the README's commands."""

import csv
import json
import os
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

import demo
from engine.run_folder import git_commit
from models import create_model
from models.checkpoint import load_checkpoint, save_checkpoint
from reading import Reading
from text import GranularityReading

ROOT = Path(__file__).resolve().parents[2]
MINI = "mgp_str_mini_stem8x8_3_32_128"
TINY = "mgp_str_tiny_patch4_3_32_128"
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
    first = ("torch", "process(es)", "trainable parameters; matrix products: off", "protocol:")
    for line in (*first, "records kept", "validation after iteration"):
        assert line in log
        assert line in done.stdout
    saved = json.loads((folder / "options.json").read_text())
    plan = saved["plan"]
    assert (plan["optimization"]["optimizer"], plan["optimization"]["lr"]) == ("adadelta", 1.0)
    assert plan["loss_weights"]["char_loss"] == 1 and plan["save_interval"] > 0
    assert saved["options"]["num_iter"] == 2
    assert saved["versions"]["torch"]
    assert saved["git_commit"] == git_commit()
    assert "train_final_dist.py" in saved["command"][1]


def test_default_name_of_a_run(run, tmp_path):
    run(f"{TRAIN} --saved_path {tmp_path} --manualSeed 5")
    assert (tmp_path / f"{MINI}-Seed5" / "best_accuracy.pth").is_file()


def test_the_same_seed_gives_the_same_weights(run, tmp_path):
    states = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        run(
            f"{TRAIN} --device cpu --saved_path {tmp_path} --exp_name {name} "
            f"--manualSeed {seed} --isrand_aug"
        )
        states.append(load_checkpoint(tmp_path / name / "iter_2.pth").state_dict)
    same = [torch.equal(states[0][k], states[1][k]) for k in states[0]]
    other = [torch.equal(states[0][k], states[2][k]) for k in states[0]]
    assert all(same)
    assert not all(other)


def test_two_processes_train_together(run, tmp_path):
    """As torchrun starts them; the README's commands are for torch.distributed.launch."""
    two = TRAIN.replace(
        "python3", "python3 -m torch.distributed.run --nproc_per_node=2 --master_port 29501"
    ).replace("--batch_size 4", "--batch_size 2")
    done = run(f"{two} --device cpu --saved_path {tmp_path} --exp_name two")
    assert "2 process(es), 2 images each, 4 a step" in done.stdout
    # Each rank reads its share of the four images in every set; together nothing is missing.
    assert "| eight sets, weighted" in done.stdout
    row = next(x for x in done.stdout.splitlines() if x.startswith("| eight sets, weighted"))
    assert row.split("|")[2].strip() == "32"


def test_scores_of_two_processes_are_those_of_the_saved_weights(run, tmp_path):
    """The small model has BatchNorm, whose statistics differ by rank while it trains."""
    two = TRAIN.replace(
        "python3", "python3 -m torch.distributed.run --nproc_per_node=2 --master_port 29501"
    )
    run(f"{two} --device cpu --saved_path {tmp_path} --exp_name two")
    testing = (
        "test_final.py --eval_data data/evaluation --benchmark_all_eval --device cpu --workers 0 "
        f"--model_dir {tmp_path}/two/best_accuracy.pth --results {tmp_path}/results"
    )
    run(f"python3 {testing}")
    run(f"python3 -m torch.distributed.launch --nproc_per_node=2 --master_port 29501 {testing}")
    files = sorted((tmp_path / "results").glob("*.json"))
    assert len(files) == 2  # one a run, not one a process
    one, both = (json.loads(f.read_text())["checkpoints"] for f in files)
    correct = [
        [{k: s[k] for k in ("name", "images", "correct")} for s in scores["sets"]]
        for results in (one, both)
        for scores in results.values()
    ]
    assert correct[0] == correct[1]
    accuracy = load_checkpoint(tmp_path / "two" / "best_accuracy.pth").extra["accuracy"]
    summed = sum(s["correct"]["char"] for s in correct[0])
    assert accuracy["char"] == pytest.approx(100 * summed / 32)


def test_a_folder_with_another_runs_weights_is_refused(run, tmp_path):
    run(f"{TRAIN} --saved_path {tmp_path} --exp_name mine")
    before = (tmp_path / "mine" / "best_accuracy.pth").read_bytes()
    done = run(f"{TRAIN} --saved_path {tmp_path} --exp_name mine", ok=False)
    assert done.returncode == 2
    assert "weights of another run" in done.stderr
    assert (tmp_path / "mine" / "best_accuracy.pth").read_bytes() == before


def test_training_options_reach_the_run(run, tmp_path):
    done = run(
        f"{TRAIN} --saved_path {tmp_path} --exp_name options --amp bf16 --schedule onecycle "
        "--total_data_usage_ratio 0.5 --PAD --adam --lr 0.5 --batch_ratio 0.75-0.25"
    )
    assert "matrix products: bf16" in done.stdout
    assert "5: beyond --total_data_usage_ratio" in done.stdout
    assert "(MJ 3 of 15, ST 1 of 5)" in done.stdout
    assert "--lr 0.5 is far too high for adam" in done.stdout
    assert load_checkpoint(tmp_path / "options" / "best_accuracy.pth").config.keep_ratio


def test_imagenet_weights_that_cannot_be_had_end_with_a_sentence(run, tmp_path):
    done = run(
        f"{TRAIN} --TransformerModel {TINY} --saved_path {tmp_path} --pretrained",
        ok=False,
        HF_HUB_OFFLINE="1",
        HF_HOME=str(tmp_path),
    )
    assert done.returncode == 2
    assert "can't be had" in done.stderr


@pytest.mark.parametrize("workers", [0, 1])
def test_data_without_a_readable_image_ends_with_a_sentence(run, tmp_path, make_lmdb, workers):
    make_lmdb(tmp_path / "training" / "broken", [(b"no image", f"w{i}") for i in range(5)])
    command = TRAIN.replace("data/training", f"{tmp_path}/training").replace(
        "--workers 0", f"--workers {workers}"
    )
    done = run(f"{command} --select_data broken --saved_path {tmp_path}", ok=False)
    assert done.returncode == 2
    assert "No usable record was found for 4 of the 4 images of a batch" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_place_that_cannot_be_written_is_a_sentence(run, tmp_path):
    (tmp_path / "file").write_text("")
    place = f"{tmp_path}/file/below"
    for command in (
        f"{TRAIN} --saved_path {place}",
        f"python3 test_final.py --eval_data data/evaluation --model_dir best_accuracy.pth "
        f"--workers 0 --results {place}",
        "python3 demo.py --no_attention --model_dir best_accuracy.pth "
        f"--demo_imgs demo_imgs --csv {place}",
    ):
        done = run(command, ok=False)
        assert done.returncode == 2, command
        last = done.stderr.strip().splitlines()[-1]
        assert "error: " in last and f"{tmp_path}/file" in last, command


def test_launcher_options_are_checked(run, tmp_path):
    done = run(f"{TRAIN} --saved_path {tmp_path} --world_size 4", ok=False)
    assert done.returncode == 2
    assert "--world_size 4 contradicts the launcher, which set 1" in done.stderr


def test_cuda_without_a_gpu_is_a_sentence(run, tmp_path):
    done = run(f"{TRAIN} --saved_path {tmp_path} --device cuda", ok=False, CUDA_VISIBLE_DEVICES="")
    assert done.returncode == 2
    assert "sees no GPU" in done.stderr


def test_changing_a_charset_adapts_the_model_and_says_so(run, tmp_path):
    done = run(
        f"{TRAIN} --saved_path {tmp_path} --exp_name other --saved_model best_accuracy.pth "
        "--character 62 --imgW 64"
    )
    assert "36 of 62 characters taken over" in done.stdout
    assert "interpolated from 4x16 to 4x8 patches" in done.stdout
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


def test_testing_a_folder_of_checkpoints_ranks_them(run, tmp_path):
    for number in (5, 10):
        save_checkpoint(tmp_path / f"iter_{number}.pth", create_model(MINI))
    done = run(
        "python3 test_final.py --eval_data data/evaluation/SVT --batch_size 4 --workers 0 "
        f"--model_dir {tmp_path} --results {tmp_path}/results --csv {tmp_path}/scores.csv"
    )
    with (tmp_path / "scores.csv").open(encoding="utf-8") as file:
        rows = [r for r in csv.DictReader(file) if (r["set"], r["reading"]) == ("SVT", "fused")]
    assert {Path(row["checkpoint"]).name for row in rows} == {"iter_5.pth", "iter_10.pth"}
    assert all(row["images"] == "4" and row["accuracy"] for row in rows)
    ranking = done.stdout.split("| checkpoint")[1]
    assert "iter_5.pth" in ranking and "iter_10.pth" in ranking


def test_a_set_that_cannot_be_read_is_no_score_of_0(run, tmp_path, make_lmdb, encode_image):
    make_lmdb(tmp_path / "sets/SVT", [(b"no image", "word")])
    make_lmdb(tmp_path / "sets/SVTP", [(encode_image("one"), "one")])
    test = "python3 test_final.py --model_dir best_accuracy.pth --benchmark_all_eval --workers 0"
    shown = run(f"{test} --eval_data {tmp_path}/sets --json {tmp_path}/scores.json").stdout
    assert "SVT is left out: none of its images could be read" in shown
    assert "not found or unreadable: IIIT5k_3000, SVT," in shown
    (only,) = json.loads((tmp_path / "scores.json").read_text(encoding="utf-8"))[
        "checkpoints"
    ].values()
    assert [one["name"] for one in only["sets"]] == ["SVTP"]
    done = run(f"{test} --eval_data {tmp_path}/sets/SVT", ok=False)
    assert done.returncode == 2 and "No image of " in done.stderr


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
        ("--model_dir nothing.pth", "There is no file or folder nothing.pth"),
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
        bad, row = csv.DictReader(file)
    same_bad, same = json.loads((tmp_path / "out.json").read_text())
    assert row["text"] == same["text"] and same["error"] is None
    assert bad.keys() == row.keys() == same_bad.keys() == same.keys()
    assert "bad.jpg" in same_bad["error"] and bad["error"] == same_bad["error"]
    assert bad["file"].endswith("bad.jpg") and (bad["text"], same_bad["text"]) == ("", None)
    assert 0 <= float(row["char_confidence"]) <= 1
    assert {"char", "bpe", "wp", "confidence", "granularity"} <= row.keys()
    with Image.open(tmp_path / "attens" / "good_attention.png") as picture:
        assert picture.width > 700  # three columns


def test_demo_takes_a_glob_over_folders_with_equal_names(run, tmp_path, encode_image):
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "word.png").write_bytes(encode_image(folder))
    command = f"python3 demo.py --model_dir best_accuracy.pth --demo_imgs '{tmp_path}/*/*.png'"
    done = run(command)
    assert len(list((tmp_path / "attens").iterdir())) == 2
    assert "one/word.png" in done.stdout and "two/word.png" in done.stdout
    # A second time, the pictures are no words to read.
    again = run(command)
    assert "left out: 2 attention pictures" in again.stderr
    assert again.stdout == done.stdout and len(list((tmp_path / "attens").iterdir())) == 2


def test_demo_writes_names_of_any_bytes(run, tmp_path, encode_image):
    for name in (b"a.png", b"b\xff.png", b"c\nd.png"):
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)).write_bytes(encode_image("word"))
    done = run(
        f"python3 demo.py --model_dir best_accuracy.pth --demo_imgs {tmp_path} --no_attention "
        f"--csv {tmp_path}/new/out.csv --json {tmp_path}/out.json"
    )
    files = [row["file"] for row in json.loads((tmp_path / "out.json").read_text())]
    assert files == [f"{tmp_path}/{name}" for name in ("a.png", "b\\udcff.png", "c\nd.png")]
    with (tmp_path / "new/out.csv").open(encoding="utf-8", newline="") as file:
        assert [row["file"] for row in csv.DictReader(file)] == files
    assert "b\\udcff.png" in done.stdout and "c\\nd.png" in done.stdout


def test_demo_keeps_what_it_has_read_when_interrupted(tmp_path, monkeypatch, capsys):
    def interrupted(*_):
        own = GranularityReading("word", 0.5, True)
        yield Reading("word", 0.5, "char", {"char": own}, source=Path("a.png"))
        raise KeyboardInterrupt

    monkeypatch.setattr(demo, "read_all", interrupted)
    names = ["demo.py", "--demo_imgs", str(ROOT / "demo_imgs"), "--json", str(tmp_path / "out")]
    monkeypatch.setattr(sys, "argv", names)
    with pytest.raises(SystemExit) as ended:
        demo.main()
    assert ended.value.code == 130
    assert [row["text"] for row in json.loads((tmp_path / "out").read_text())] == ["word"]
    assert "interrupted: 1 of 11 images are read" in capsys.readouterr().err


def test_demo_says_what_it_passes_over_and_could_not_read(run, tmp_path, encode_image):
    (tmp_path / "a.png").write_bytes(encode_image("word"))
    (tmp_path / "b.png").write_bytes(b"no image")
    (tmp_path / "c.avif").touch()
    command = f"python3 demo.py --model_dir best_accuracy.pth --demo_imgs {tmp_path} --no_attention"
    told = run(command).stderr
    assert "passed over, by their suffix no images: c.avif\n" in told
    assert "1 of 2 files could not be read" in told
    refused = run(f"{command} --csv {tmp_path}/a.png", ok=False)
    assert refused.returncode == 2 and "over what is read" in refused.stderr


def test_each_picture_has_a_name_of_its_own():
    files = [Path("x_y/a.jpg"), Path("x/y/a.jpg"), Path("x/y/a.png"), Path("é" * 200 + ".jpg")]
    names = demo.picture_names(files)
    assert list(names) == files and len(set(names.values())) == 4
    assert all(len(name.encode()) <= 255 for name in names.values())
    assert names[files[0]] == "x_y_a.jpg_attention.png"


def test_demo_tells_where_pictures_are_if_later_ones_cannot_be_written(
    tmp_path, monkeypatch, capsys
):
    picture, drawn = demo.attention_picture, []

    def second_fails(*arguments):
        drawn.append(1)
        if len(drawn) == 2:
            raise OSError("no space")
        return picture(*arguments)

    monkeypatch.setattr(demo, "attention_picture", second_fails)
    options = ["--model_dir", "acds_char_str_light", "--attention_dir", str(tmp_path / "maps")]
    monkeypatch.setattr(sys, "argv", ["demo.py", "--demo_imgs", str(ROOT / "demo_imgs"), *options])
    demo.main()
    shown = capsys.readouterr()
    assert f"attention pictures: {tmp_path}/maps\n" in shown.out
    assert shown.err == "no more attention pictures: no space; see --attention_dir\n"
    assert len(list((tmp_path / "maps").iterdir())) == 1 and len(drawn) == 2


def test_demo_reads_on_where_pictures_cannot_be_written(run, tmp_path):
    (tmp_path / "file").write_text("")
    done = run(
        "python3 demo.py --model_dir best_accuracy.pth --demo_imgs demo_imgs/night.jpg "
        f"--attention_dir {tmp_path}/file"
    )
    assert "no attention pictures" in done.stderr
    assert "night.jpg" in done.stdout


def test_demo_draws_nothing_on_request(run, tmp_path, encode_image):
    (tmp_path / "word.png").write_bytes(encode_image("word"))
    run(f"python3 demo.py --model_dir best_accuracy.pth --demo_imgs {tmp_path} --no_attention")
    assert [p.name for p in tmp_path.iterdir()] == ["word.png"]


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

"""Every command of the README, of data/README.md and of docs/ runs as it is written.

Those that need a set's own files are parsed in tests/converters, and what takes long, or needs more
than the repository, is only looked at for its options.
"""

import json
import re
import shlex
import shutil
from pathlib import Path

import pytest
import torch

from tools import check_data, edit_lmdb, prepare_data
from utils import build_parser

ROOT = Path(__file__).resolve().parents[2]
# What a test does not run: set-up by make, what needs several machines, and what serves until
# Ctrl-C (tests/web runs that).
NOT_HERE = ("make ", "torchrun --nnodes=2", "python3 demo.py --web")


def commands(file: str, kind: str = "bash") -> list[str]:
    text = (ROOT / file).read_text(encoding="utf-8")
    blocks = re.findall(rf"```{kind}\n(.*?)```", text, flags=re.DOTALL)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    return [line for line in lines if line.strip() and not line.startswith(NOT_HERE)]


def shortened(command: str, place: Path) -> str:
    """The command with the last values of a few options made small (the last value wins), and,
    where two processes train, a small model of its kind."""
    if "train_final_dist.py" in command:
        extra = f"--num_iter 1 --workers 1 --valInterval 1 --batch_size 2 --saved_path {place}"
        if "--valid_data data/evaluation " in command:
            extra += " --valid_data data/evaluation/SVT"
        if "--nproc_per_node=2" in command:  # the large models are trained by one process
            command = command.replace("mgp_str_base_patch", "mgp_str_tiny_patch")
            command = command.replace("ACDS-STR-Base", "ACDS-STR-Small")
        elif "--Transformer" not in command and "--saved_model" not in command:
            extra += " --TransformerModel mgp_str_tiny_patch4_3_32_128"
        # More processes than GPUs are refused, as the one GPU of this machine may not matter here.
        if "--nproc_per_node=2" in command and torch.cuda.device_count() == 1:
            extra += " --device cpu"
        return f"{command} {extra}"
    if "compare_exports.py" in command:
        return f"{command} --rounds 1"
    if "compare_engines.py" in command:  # the others need not be here
        return f"{command} --rounds 1 --engines ours"
    if "test_final.py" in command:
        return f"{command} --workers 1 --batch_size 2"
    if "make_sample_data.py" in command:
        small = "--train 20 --st 20 --valid 2 --evaluation 2 --jobs 1"
        return command.replace(" data ", f" {place} ") + f" {small}"
    if "create_lmdb_dataset.py" in command:
        return command.replace("data/training/mine", f"{place}/mine")
    if "prepare_data.py" in command:
        return command.replace("data/training/ST_boxes", f"{place}/ST_boxes")
    return command


PAGES = ["README.md", *sorted(str(p.relative_to(ROOT)) for p in ROOT.glob("docs/*.md"))]
ALL = [command for page in [*PAGES, "data/README.md"] for command in commands(page)]
RECIPE = "recipes/acds_char_str_light"
OF_DATA = commands("data/README.md", "sh")


def test_there_are_commands():
    scripts = {"train_final_dist.py", "test_final.py", "demo.py", "tools/make_sample_data.py"}
    assert scripts <= {word for command in ALL for word in shlex.split(command)}


@pytest.mark.parametrize("number", range(len(ALL)), ids=lambda n: ALL[n][:60])
def test_command(run_as_written, tmp_path, number):
    run_as_written(shortened(ALL[number], tmp_path))


def test_lmdbs_are_made_checked_and_edited(place_with_data, tmp_path, monkeypatch, capsys):
    shutil.copytree(place_with_data / "data", tmp_path / "data")
    shutil.copytree(place_with_data / "my_words", tmp_path / "my_words")
    with (tmp_path / "my_words/gt.txt").open("a", encoding="utf-8") as truth:
        truth.write("one.png\tone\n" * 20)  # enough to be split
    monkeypatch.chdir(tmp_path)
    (from_folder,) = (c for c in OF_DATA if "prepare_data.py folder" in c)
    editing = [c for c in OF_DATA if "edit_lmdb.py" in c]
    (check,) = (c for c in OF_DATA if "check_data.py" in c)
    assert prepare_data.main(shlex.split(from_folder)[2:]) == 0
    for command in editing:
        assert edit_lmdb.main(shlex.split(command)[2:]) == 0, command
    made = {"data/training/both", "mine_split/train", "data/training/ST_10", "my_folder"}
    assert all((tmp_path / name).is_dir() for name in made)
    # The small sets of this test are copies of one another, which must not go unseen.
    assert check_data.main(shlex.split(check)[2:]) == 1
    assert "trained on" in capsys.readouterr().out
    assert json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))


def test_the_recipe_s_real_words_come_to_their_places(run, tmp_path, encode_image):
    for entry in ("tools", "recipes", "train_final_dist.py"):
        (tmp_path / entry).symlink_to(ROOT / entry)
    for name in ("iiit5k", "svt", "ic15", "ic03"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "one.png").write_bytes(encode_image("one"))
        truth = "one.png\tone\n" * 20  # of which a twentieth is one
        (tmp_path / name / "gt.txt").write_text(truth, encoding="utf-8")
    recipe = (ROOT / RECIPE / "README.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```sh\n(mkdir.*?)```", recipe, flags=re.DOTALL)
    run(f"set -e; cd {tmp_path}\n{block}")
    small = "--num_iter 1 --warmup 0 --valInterval 1 --batch_size 4 --workers 0"
    start = "--saved_model acds_char_str_light"
    second = f"python3 train_final_dist.py @{RECIPE}/2_real_words.txt {small} {start}"
    shown = run(f"cd {tmp_path}; {second}").stdout
    assert "training data/training/real/iiit5k" in shown and "done: best accuracy" in shown


def test_the_larger_recipe_s_words_come_to_their_place(run, tmp_path):
    (tmp_path / "tools").symlink_to(ROOT / "tools")
    recipe = (ROOT / "recipes/acds_char_str_small/README.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```sh\n(.*?)```", recipe, flags=re.DOTALL)
    *before, first, second = block.splitlines()
    assert first == "python3 train_final_dist.py @recipes/acds_char_str_small/train.txt"
    assert second == "python3 train_final_dist.py @recipes/acds_char_str_small/train_on.txt"
    before[0] = before[0].replace("--st 300000", "--st 4 --jobs 1 --packaged_fonts_only")
    run("\n".join(["set -e", f"cd {tmp_path}", *before]))
    assert (tmp_path / "data/training/ST/data.mdb").is_file()


def test_the_recipe_trains_one_stage_after_the_other(run, tmp_path):
    (tmp_path / "recipes").symlink_to(ROOT / "recipes")
    # In place of the training: says what it was given, and is done but with stage 4.
    (tmp_path / "train_final_dist.py").write_text(
        "import pathlib, sys\n"
        "stage = pathlib.Path(sys.argv[1]).name[0]\n"
        "place = pathlib.Path(f'saved_models/acds_char_str_light-{stage}')\n"
        "place.mkdir(parents=True)\n"
        "last = 'stopped by SIGINT' if stage == '4' else 'done: best accuracy'\n"
        "(place / 'log.txt').write_text(f'first\\n{last}\\n')\n"
        "print(stage, *sys.argv[2:])\n",
        encoding="utf-8",
    )
    done = run(f"{tmp_path}/{RECIPE}/train.sh --workers 4", ok=False)
    assert done.stdout.splitlines() == [f"{stage} --workers 4" for stage in range(1, 5)]
    assert done.returncode == 1 and "4_guided is not done" in done.stderr


def test_training_leaves_what_the_readme_says(run, tmp_path):
    training = next(c for c in ALL if "train_final_dist.py" in c and "saved_models" in c)
    tiny = training.replace("mgp_str_base_patch", "mgp_str_tiny_patch")
    done = run(
        f"{tiny} --num_iter 2 --workers 2 --valInterval 1 --batch_size 2 "
        f"--saved_path {tmp_path} --exp_name tiny"
    )
    left = {p.name for p in (tmp_path / "tiny").iterdir()}
    assert left == {
        "log.txt",
        "options.json",
        "tensorboard",
        "iter_1.pth",
        "iter_2.pth",
        "best_accuracy.pth",
        "last.pth",
        "last_2.pth",
        "run.lock",
        "metrics.jsonl",
    }
    lines = (tmp_path / "tiny/metrics.jsonl").read_text(encoding="utf-8").splitlines()
    metrics = [json.loads(line) for line in lines]
    assert [entry["iteration"] for entry in metrics] == [1, 2]
    assert all(0 <= entry["validation/SVT/fused_accuracy"] <= 100 for entry in metrics)
    options = json.loads((tmp_path / "tiny/options.json").read_text(encoding="utf-8"))
    assert all("records kept" in report for report in options["data"]["MJ"].values())
    assert "4 records kept" in options["validation"]["SVT"]
    assert "2 images each, 2 a step (MJ 1 of 30, ST 1 of 10)" in done.stdout
    testing = next(c for c in ALL if "--fast_acc" in c).replace("_base_patch", "_tiny_patch")
    testing = testing.replace("mgp_str_base.pth", f"{tmp_path}/tiny/best_accuracy.pth")
    table = run(f"{testing} --workers 1 --batch_size 4").stdout
    assert "six sets, weighted" in table
    assert "IC15_2077" not in table


def test_own_words_are_learned_as_the_readme_says(run, tmp_path):
    for entry in ("tools", "train_final_dist.py", "demo.py"):
        (tmp_path / entry).symlink_to(ROOT / entry)
    shutil.copytree(ROOT / "demo_imgs", tmp_path / "my_words")
    truth = "".join(f"{file.name}\t{file.stem}\n" for file in (ROOT / "demo_imgs").glob("*.jpg"))
    (tmp_path / "my_words/gt.txt").write_text(truth, encoding="utf-8")
    own = [c for c in commands("README.md", "sh") if "mine" in c]
    assert len(own) == 5
    small = "--num_iter 1 --valInterval 1 --batch_size 2 --workers 0"
    own = [f"{c} {small}" if "train_final" in c else c for c in own]
    shown = run("\n".join(["set -e", f"cd {tmp_path}", *own])).stdout
    assert "training data/mine/training: 10 records kept" in shown
    assert "best accuracy" in shown and "| night.jpg" in shown


def test_commands_that_are_not_run_have_known_options():
    # A tool's options are in its own source, or in that of its kinds.
    kinds = "".join(file.read_text(encoding="utf-8") for file in ROOT.glob("converters/*.py"))
    checked = set()
    for command in (command for page in PAGES for command in commands(page, "sh")):
        script = re.search(r"\w\S*\.py", command)
        if script is None:
            continue
        if "/" in script[0]:
            known = (ROOT / script[0]).read_text(encoding="utf-8") + kinds
        else:
            known = build_parser(Path(script[0]).stem).format_help()
        given = re.findall(r" (--\w+)", command[script.end() :])
        assert not [option for option in given if option not in known], command
        checked.add(script[0])
    assert len(checked) > 5


def anchors(page: Path) -> set[str]:
    """Of a page's headings, as they are linked to on the web."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}


def test_links_lead_somewhere():
    pages = [p for p in ROOT.rglob("*.md") if not {".venv", "results"} & set(p.parts)]
    for page in pages:
        text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
        for link in re.findall(r"\]\(([^)\s]+)\)", text):
            if not link.startswith("http"):
                path, _, anchor = link.partition("#")
                target = (page.parent / path).resolve() if path else page
                assert target.exists(), (page, link)
                assert not anchor or anchor in anchors(target), (page, link)


def test_python_examples(run):
    text = "".join((ROOT / page).read_text(encoding="utf-8") for page in PAGES)
    examples = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    assert len(examples) == 3
    for example in examples:
        run(f"python3 -c {shlex.quote(example)}")

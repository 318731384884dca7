"""Which checkpoints are scored, and what can't be asked of a scoring."""

import pytest

from engine.option_error import OptionError
from engine.reading_options import check_evaluation, checkpoints_to_test, refuse_overwriting
from utils import get_args

TEST = ["--eval_data", "e", "--model_dir", "m.pth"]


def test_a_range_of_checkpoints(tmp_path):
    for number in (5, 10, 200):
        (tmp_path / f"iter_{number}.pth").touch()
    (tmp_path / "best_accuracy.pth").touch()

    def chosen(*arguments):
        options = get_args(
            "test_final", ["--eval_data", "e", "--model_dir", str(tmp_path), *arguments]
        )
        return [p.name for p in checkpoints_to_test(options)]

    assert chosen() == ["iter_5.pth", "iter_10.pth", "iter_200.pth"]
    assert chosen("--range", "6-200") == ["iter_10.pth", "iter_200.pth"]
    with pytest.raises(OptionError, match=r"the 3 iter_N\.pth in .* are of iterations 5 to 200"):
        chosen("--range", "300-400")
    with pytest.raises(OptionError, match="ends before it begins"):
        chosen("--range", "200-5")
    with pytest.raises(OptionError, match="as in 5000-20000"):
        chosen("--range", "all")


@pytest.mark.parametrize("arguments", [["--fast_acc"], ["--eval_img", "--benchmark_all_eval"]])
def test_ways_of_scoring_that_exclude_each_other(arguments):
    with pytest.raises(OptionError, match="benchmark_all_eval"):
        check_evaluation(get_args("test_final", TEST + arguments))


def test_nothing_is_written_over_what_is_read_or_over_another_output(tmp_path):
    (tmp_path / "m.pth").touch()
    (tmp_path / "link").symlink_to(tmp_path / "m.pth")
    inputs = [tmp_path / "m.pth"]
    refuse_overwriting({"csv": f"{tmp_path}/a", "json": f"{tmp_path}/b", "report": None}, inputs)
    refuse_overwriting({"csv": "/dev/null", "json": "/dev/null"}, inputs)
    with pytest.raises(OptionError, match=r"--csv .*link would be written over what is read"):
        refuse_overwriting({"csv": f"{tmp_path}/link"}, inputs)
    with pytest.raises(OptionError, match=r"--json .*x would be written over the file of --csv"):
        refuse_overwriting({"csv": f"{tmp_path}/x", "json": f"{tmp_path}/./x"}, inputs)


def test_a_folder_of_something_else_lists_what_it_has(tmp_path):
    for name in "abcdefg":
        (tmp_path / name).touch()
    with pytest.raises(OptionError, match="it has a, b, c, d, e and 2 more"):
        checkpoints_to_test(
            get_args("test_final", ["--eval_data", "e", "--model_dir", f"{tmp_path}"])
        )

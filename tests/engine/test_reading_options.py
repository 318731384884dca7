"""Which checkpoints are scored, and what can't be asked of a scoring."""

import pytest

from engine.option_error import OptionError
from engine.reading_options import check_evaluation, checkpoints_to_test
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
    with pytest.raises(OptionError, match=r"no iter_N.pth .* it has iter_5.pth"):
        chosen("--range", "300-400")
    with pytest.raises(OptionError, match="as in 5000-20000"):
        chosen("--range", "all")


@pytest.mark.parametrize("arguments", [["--fast_acc"], ["--eval_img", "--benchmark_all_eval"]])
def test_ways_of_scoring_that_exclude_each_other(arguments):
    with pytest.raises(OptionError, match="benchmark_all_eval"):
        check_evaluation(get_args("test_final", TEST + arguments))

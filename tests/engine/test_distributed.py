import pytest
import torch

from engine.distributed import LaunchError, distributed


def test_alone_without_a_launcher():
    with distributed("cpu") as process:
        assert (process.rank, process.world_size, process.is_main) == (0, 1, True)
        assert process.total(torch.tensor([3])).tolist() == [3]


def test_more_processes_than_gpus_names_the_cure(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    with (
        pytest.raises(LaunchError, match=r"2 processes .* 1 GPU.*--nproc_per_node=1"),
        distributed(),
    ):
        pass


def test_a_gpu_that_is_not_there(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(LaunchError, match="sees no GPU"), distributed("cuda"):
        pass


def test_options_must_agree_with_the_launcher():
    with distributed("cpu", world_size=1, local_rank=None):
        pass
    with (
        pytest.raises(LaunchError, match="--local_rank 3 contradicts"),
        distributed("cpu", local_rank=3),
    ):
        pass


@pytest.mark.parametrize(
    ("set_", "message"), [({"WORLD_SIZE": "2"}, "no RANK is"), ({"RANK": "x"}, "is no number")]
)
def test_what_another_launcher_left_is_told(monkeypatch, set_, message):
    for name in ("WORLD_SIZE", "RANK", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    for name, value in set_.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(LaunchError, match=message), distributed("cpu"):
        pass

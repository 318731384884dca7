"""`demo.py --web` as a command."""

import http.client
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from engine.option_error import OptionError
from engine.reading_options import check_demo
from models import create_model
from models.checkpoint import save_checkpoint
from utils import get_args
from web.server import ADDRESS, listen

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("checkpoint") / "small.pth"
    save_checkpoint(path, create_model("acds_str_tiny"))
    return path


def started(*arguments: object, place: Path = ROOT, **environment: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, ROOT / "demo.py", "--web", *map(str, arguments)],
        cwd=place,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1", **environment},
    )


def port_of(process: subprocess.Popen) -> int:
    line = process.stdout.readline()
    assert line.startswith(f"reading at http://{ADDRESS}:"), process.stderr.read()
    return int(line.split(":")[2].split("/")[0])


def test_it_serves_this_computer_alone_and_ends_with_ctrl_c(checkpoint, words):
    process = started("--model_dir", checkpoint, "--port", 0)
    try:
        port = port_of(process)
        connection = http.client.HTTPConnection(ADDRESS, port, timeout=60)
        connection.request("POST", "/readings", words[0].read_bytes())
        assert connection.getresponse().status == 200
        with pytest.raises(OSError):  # every other address of this computer
            socket.create_connection(("127.0.0.2", port), timeout=5)
        process.send_signal(signal.SIGINT)  # while a connection is open
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert (process.returncode, out, err) == (0, "ended\n", "")


def test_it_keeps_nothing(checkpoint, words, tmp_path):
    """Not where temporary files go, not at home, not in the folder that it was started from."""
    place = {name: str(tmp_path) for name in ("TMPDIR", "HOME", "XDG_CACHE_HOME")}
    process = started("--model_dir", checkpoint, "--port", 0, place=tmp_path, **place)
    try:
        port = port_of(process)
        connection = http.client.HTTPConnection(ADDRESS, port, timeout=60)
        for word in words:
            # Padded to what would not be held in memory by those who keep large uploads on disk.
            connection.request("POST", "/readings", word.read_bytes() + b"\0" * 2**22)
            answer = connection.getresponse()
            assert (answer.status, bool(answer.read())) == (200, True)
        kept = list(tmp_path.rglob("*"))
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    finally:
        process.kill()
    assert kept == list(tmp_path.rglob("*")) == []


def test_a_taken_port_gets_a_sentence(checkpoint):
    with listen(0) as taken:
        port = taken.getsockname()[1]
        process = started("--model_dir", checkpoint, "--port", port)
        _, err = process.communicate(timeout=120)
    assert process.returncode == 2
    assert err == (
        f"error: --port {port} can't be had (Address already in use); give another, or 0 for a "
        "free one.\n"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--demo_imgs names the images"),
        (["--demo_imgs", "d", "--port", "0"], "--port is that of the page"),
        (["--demo_imgs", "d", "--no_attention", "--attention_dir", "a"], "--attention_dir is for"),
        (["--web", "--csv", "c.csv"], "--csv is about files"),
        (["--web", "--no_attention"], "--no_attention is about files"),
    ],
)
def test_options_that_contradict_each_other_are_refused(arguments, message):
    with pytest.raises(OptionError, match=message):
        check_demo(get_args("demo", ["--model_dir", "m", *arguments]))


@pytest.mark.parametrize("port", ["-1", "65536", "http"])
def test_a_port_is_a_port(port, capsys):
    with pytest.raises(SystemExit):
        get_args("demo", ["--web", "--port", port])
    assert f"must be a port, 0 to 65535, not {port}" in capsys.readouterr().err

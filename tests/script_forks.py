"""Runs scripts in forks of one process that has imported what they import, which takes seconds."""

import json
import os
import runpy
import signal
import subprocess
import sys
import threading
from pathlib import Path

THREADS = "2"
LONGEST = 600  # seconds


class ScriptForks:
    """A process that forks for each script that is to run; a context.

    What a script prints and how it ends are as in a process of its own.

    Args:
        root: folder with the modules that scripts import.

    """

    def __init__(self, root: Path):
        self._server = subprocess.Popen(
            [sys.executable, __file__],
            cwd=root,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": THREADS},
            start_new_session=True,
        )

    def __enter__(self) -> "ScriptForks":
        return self

    def __exit__(self, *_: object) -> None:
        self._server.communicate()

    def run(
        self, arguments: list[str], folder: Path, output: Path
    ) -> subprocess.CompletedProcess[str]:
        """Run a script of a folder to its end.

        Args:
            arguments: the script, and what it is given.
            folder: to run it in.
            output: folder for what it prints.

        """
        files = [output / "stdout", output / "stderr"]
        asked = {"arguments": arguments, "folder": str(folder), "files": list(map(str, files))}
        timer = threading.Timer(LONGEST, os.killpg, (self._server.pid, signal.SIGKILL))
        timer.start()
        try:
            self._server.stdin.write(json.dumps(asked) + "\n")
            self._server.stdin.flush()
            status = int(self._server.stdout.readline())
        finally:
            timer.cancel()
        told = [file.read_text(encoding="utf-8", errors="replace") for file in files]
        return subprocess.CompletedProcess(arguments, status, *told)


def _serve() -> None:
    """A fork for each line on standard input; its status on standard output."""
    import torch._dynamo  # noqa: F401 (every optimizer imports it)

    import demo  # noqa: F401
    import export  # noqa: F401
    import test_final  # noqa: F401
    import train_final_dist  # noqa: F401

    for line in sys.stdin:
        asked = json.loads(line)
        child = os.fork()
        if not child:
            _become(**asked)
            return
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


def _become(arguments: list[str], folder: str, files: list[str]) -> None:
    os.chdir(folder)
    places = [(os.devnull, os.O_RDONLY)]
    places += [(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC) for file in files]
    for number, (place, mode) in enumerate(places):
        opened = os.open(place, mode)
        os.dup2(opened, number)
        os.close(opened)
    sys.argv = arguments
    sys.path[0] = folder
    runpy.run_path(arguments[0], run_name="__main__")


if __name__ == "__main__":
    _serve()

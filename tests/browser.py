"""Headless Chromium, driven over a pipe by its own protocol; for tests of pages."""

import base64
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

COMMAND = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
TIMEOUT = 60.0


class Browser:
    """One page in a browser of its own; a context manager.

    Attributes:
        requests: the addresses of all that the page asked for.
        problems: errors and refusals that the page's console told.

    """

    def __init__(self, profile: Path):
        ours, theirs = os.pipe(), os.pipe()  # commands to the browser, answers from it

        def numbered() -> None:  # the browser reads from 3 and writes to 4
            reading, writing = os.dup(ours[0]), os.dup(theirs[1])
            os.dup2(reading, 3)
            os.dup2(writing, 4)

        self._process = subprocess.Popen(
            [
                COMMAND,
                *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic"),
                *("--no-first-run", "--disable-background-networking", "--disable-sync"),
                "--disable-component-update",
                *("--disable-dev-shm-usage", "--hide-scrollbars", "--remote-debugging-pipe"),
                f"--user-data-dir={profile}",
                "about:blank",
            ],
            preexec_fn=numbered,
            close_fds=False,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(ours[0])
        os.close(theirs[1])
        self._commands, self._answers = ours[1], theirs[0]
        os.set_blocking(self._answers, False)
        self._unread, self._number, self._session = b"", 0, None
        self.requests: list[str] = []
        self.problems: list[str] = []
        self._loaded = False
        (target, *_) = (
            t for t in self.call("Target.getTargets")["targetInfos"] if t["type"] == "page"
        )
        attached = self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Network", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def __enter__(self) -> "Browser":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._commands)
        os.close(self._answers)

    def call(self, method: str, **parameters: Any) -> dict:
        """Result of a command of the browser's protocol."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer["error"]
                return answer["result"]

    def open(self, address: str) -> None:
        """Load a page, and wait until it has loaded."""
        self._loaded = False
        self.call("Page.navigate", url=address)
        while not self._loaded:
            self._next()

    def run(self, script: str) -> Any:
        """Value of an expression in the page."""
        done = self.call(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in done, done["exceptionDetails"]
        return done["result"].get("value")

    def wait(self, script: str) -> Any:
        """Value of an expression in the page, as soon as it is true."""
        return self.until(lambda: self.run(script))

    @staticmethod
    def until(condition: Callable[[], Any]) -> Any:
        """What a function returns, as soon as that is true."""
        deadline = time.monotonic() + TIMEOUT
        while not (value := condition()):
            assert time.monotonic() < deadline, "it never became true"
            time.sleep(0.05)
        return value

    def choose(self, selector: str, *files: Path) -> None:
        """Choose files in an input, as a person does in its dialog."""
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        field = self.call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.call("DOM.setFileInputFiles", nodeId=field, files=[str(file) for file in files])

    def point(self, selector: str) -> None:
        """Move the mouse onto an element."""
        x, y = self.run(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)});"
            "e.scrollIntoView({block: 'center', behavior: 'instant'});"
            "const b = e.getBoundingClientRect();"
            "return [b.x + b.width / 2, b.y + b.height / 2] })()"
        )
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def press(self, key: str, code: int) -> None:
        """Press and release a key; `code` is its Windows key code."""
        for kind in ("rawKeyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=code)

    def screenshot(self, file: Path, width: int, height: int | None = None, dark: bool = False):
        """A picture of the page at a width; of all of it where no height is given."""
        size = {"width": width, "height": height or 900, "deviceScaleFactor": 1}
        self.call("Emulation.setDeviceMetricsOverride", mobile=width < 600, **size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        taken = self.call("Page.captureScreenshot", captureBeyondViewport=height is None)
        file.write_bytes(base64.b64decode(taken["data"]))

    def _next(self) -> dict:
        deadline = time.monotonic() + TIMEOUT
        while b"\0" not in self._unread:
            assert time.monotonic() < deadline, "the browser does not answer"
            try:
                read = os.read(self._answers, 2**20)
                assert read, "the browser has ended"
                self._unread += read
            except BlockingIOError:
                time.sleep(0.01)
        raw, self._unread = self._unread.split(b"\0", 1)
        message = json.loads(raw)
        self._note(message.get("method"), message.get("params", {}))
        return message

    def _note(self, method: str | None, parameters: dict) -> None:
        if method == "Page.loadEventFired":
            self._loaded = True
        elif method == "Network.requestWillBeSent":
            self.requests.append(parameters["request"]["url"])
        elif method == "Log.entryAdded" and parameters["entry"]["level"] == "error":
            self.problems.append(parameters["entry"]["text"])
        elif method == "Runtime.exceptionThrown":
            self.problems.append(str(parameters["exceptionDetails"]))

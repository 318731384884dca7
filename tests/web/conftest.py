"""A server with a small model, in a thread of the tests."""

import http.client
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from models import create_model
from reading import Reader, find_images
from web.application import Application
from web.limits import Limits
from web.server import ADDRESS, listen, make_server

BATCH = 8


@dataclass(frozen=True)
class Served:
    """A running server.

    Attributes:
        port: where it listens.
        application: what it answers with.

    """

    port: int
    application: Application

    @property
    def reader(self) -> Reader:
        return self.application.reader

    @property
    def address(self) -> str:
        return f"http://{ADDRESS}:{self.port}/"

    def ask(self, method: str, path: str, body=None, chunked=False, **headers: str):
        """Status, headers and body of an answer; the body is parsed where it is JSON."""
        connection = http.client.HTTPConnection(ADDRESS, self.port, timeout=60)
        try:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body, named, encode_chunked=chunked)
            answer = connection.getresponse()
            data = answer.read()
            if answer.headers.get_content_type() == "application/json":
                data = json.loads(data)
            return answer.status, answer.headers, data
        finally:
            connection.close()

    def read(self, image: bytes) -> tuple[int, dict]:
        status, _, answer = self.ask("POST", "/readings", image)
        return status, answer


@pytest.fixture(scope="session")
def reader(small_models) -> Reader:
    """Three granularities, a core-area map and guided attention; reads `demo_imgs`."""
    torch.manual_seed(5)
    model = create_model("acds_mgp_str_tiny").eval()
    small_models.fit_heads(model)
    return Reader(model, "cpu", BATCH)


@pytest.fixture(scope="session")
def serving():
    """Serves a reader: a context manager."""

    @contextmanager
    def serve(reader: Reader, samples=(), limits: Limits | None = None) -> Iterator[Served]:
        application = Application(reader, "small.pth", samples, limits)
        with listen(0) as listener:
            server = make_server(application.build())
            thread = threading.Thread(target=server.run, args=([listener],))
            thread.start()
            try:
                yield Served(listener.getsockname()[1], application)
            finally:
                server.should_exit = True
                thread.join()

    return serve


@pytest.fixture(scope="session")
def words(small_models) -> list[Path]:
    """Images that the reader reads as different words."""
    return find_images(small_models.DEMO_IMAGES)


@pytest.fixture(scope="session")
def samples(words) -> list[Path]:
    return words[1:3]


@pytest.fixture(scope="session")
def served(serving, reader, samples) -> Iterator[Served]:
    with serving(reader, samples) as one:
        yield one

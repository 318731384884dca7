"""A server that only this computer reaches."""

import socket
from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp

from reading import Reader
from web.application import Application

ADDRESS = "127.0.0.1"
PORT = 7860
SHUTDOWN_SECONDS = 5  # for answers under way


class TakenPortError(OSError):
    """A port that can't be listened on; the message says what to do."""


def listen(port: int) -> closing[socket.socket]:
    """A socket of this computer alone, as a context; port 0 finds a free one.

    Raises:
        TakenPortError: another program has the port, or the system refuses it.

    """
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((ADDRESS, port))
        listener.listen()
    except OSError as error:
        listener.close()
        raise TakenPortError(
            f"--port {port} can't be had ({error.strerror}); give another, or 0 for a free one."
        ) from None
    return closing(listener)


def make_server(application: ASGIApp) -> uvicorn.Server:
    """The server of an application, which writes nothing down but errors."""
    return uvicorn.Server(
        uvicorn.Config(
            application,
            http="h11",
            ws="none",
            lifespan="on",
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=SHUTDOWN_SECONDS,
        )
    )


def serve(listener: socket.socket, reader: Reader, model: str, samples: Sequence[Path]) -> None:
    """Answer until Ctrl-C.

    Args:
        listener: of `listen`.
        reader: reads the uploads.
        model: its name, as the page shows it.
        samples: images that the page offers.

    """
    server = make_server(Application(reader, model, samples).build())
    print(f"reading at http://{ADDRESS}:{listener.getsockname()[1]}/ (Ctrl-C ends it)", flush=True)
    with suppress(KeyboardInterrupt):  # the server ends cleanly, and passes it on
        server.run(sockets=[listener])
    print("ended")

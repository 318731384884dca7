"""The web application: the page, what it must know, samples, and readings of uploads."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from loading.preprocessing import UnreadableImageError
from pages import PARTS
from reading import IMAGE_SUFFIXES, Reader
from reading.images import shown_path
from web.answers import WordAnswers
from web.batching import BatchingThread
from web.limits import Limits
from web.protection import OWN_HOSTS, OwnPagesOnly

PAGE = Path(__file__).parent / "page"
FILES = {
    "/": PAGE / "index.html",
    "/page.css": PAGE / "page.css",
    "/look.css": PARTS / "look.css",
    "/maps.js": PARTS / "maps.js",
    "/card.js": PAGE / "card.js",
    "/table.js": PAGE / "table.js",
    "/page.js": PAGE / "page.js",
}


class Application:
    """What answers requests; `build` makes the ASGI application of it.

    Args:
        reader: reads the images.
        model: its name, as the page shows it.
        samples: images of this computer that the page offers.
        limits: of uploads.

    Attributes:
        requests: images that are being received, waiting or being read.

    """

    def __init__(
        self, reader: Reader, model: str, samples: Sequence[Path], limits: Limits | None = None
    ):
        self.reader, self.model = reader, model
        self.limits = limits or Limits()
        self.samples = list(samples)[: self.limits.samples]
        self._more_samples = len(samples) - len(self.samples)
        self.requests = 0
        self._thread: BatchingThread | None = None

    def build(self) -> ASGIApp:
        """The ASGI application."""
        pages = [Route(path, _file_endpoint(file)) for path, file in FILES.items()]
        own_hosts = Middleware(TrustedHostMiddleware, allowed_hosts=OWN_HOSTS, www_redirect=False)
        application = Starlette(
            routes=[
                *pages,
                Route("/about", self.about),
                Route("/samples/{number}", self.sample),
                Route("/readings", self.read, methods=["POST"]),
            ],
            middleware=[own_hosts],
            exception_handlers={HTTPException: _in_words, Exception: _failed},
            lifespan=self._lifespan,
        )
        return OwnPagesOnly(application)

    async def about(self, _: Request) -> Response:
        """The model, the limits and the samples."""
        return JSONResponse(
            {
                "model": self.model,
                "architecture": self.reader.config.name,
                "granularities": list(self.reader.codecs),
                "hasMaps": self.reader.recognition.has_maps,
                "looksAtFixedPlaces": self.reader.config.family == "acds-str",
                "uploadBytes": self.limits.upload_bytes,
                "imagePixels": self.limits.image_pixels,
                "suffixes": sorted(IMAGE_SUFFIXES),
                "samples": [shown_path(file.name) for file in self.samples],
                "moreSamples": self._more_samples,
            }
        )

    async def sample(self, request: Request) -> Response:
        """The file of a sample."""
        number = request.path_params["number"]
        numbered = {str(place): file for place, file in enumerate(self.samples)}
        if number not in numbered or not numbered[number].is_file():
            raise HTTPException(404, "this sample is no longer there")
        return FileResponse(numbered[number])

    async def read(self, request: Request) -> Response:
        """The reading of the image that is the request's body."""
        if self.requests >= self.limits.requests:
            message = f"{self.requests} images are being read already; try again in a moment"
            raise HTTPException(503, message, {"Retry-After": "2"})
        self.requests += 1
        try:
            data = await self._received(request)
            return JSONResponse(await asyncio.wrap_future(self._thread.submit(data)))
        except UnreadableImageError as error:
            raise HTTPException(422, str(error)) from None
        finally:
            self.requests -= 1

    async def _received(self, request: Request) -> bytes:
        """The body, of which no more than the limit is ever kept.

        What is more is received all the same: a sender that is cut off does not see the answer.
        """
        most = self.limits.upload_bytes
        declared = request.headers.get("content-length", "0")
        data = bytearray()
        too_large = int(declared) > most  # h11 has checked that it is a number
        try:
            async with asyncio.timeout(self.limits.receive_seconds):
                async for part in request.stream():
                    too_large = too_large or len(data) + len(part) > most
                    if not too_large:
                        data += part
        except TimeoutError:
            if not too_large:
                message = "the file did not arrive in time; send it again"
                raise HTTPException(408, message) from None
        except ClientDisconnect:
            raise HTTPException(400, "the file did not arrive as a whole") from None
        if too_large:
            message = f"the file is too large: {most / 2**20:.3g} MiB are the most"
            raise HTTPException(413, message, {"Connection": "close"})
        if not data:
            raise UnreadableImageError("the file is empty")
        return bytes(data)

    @asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncIterator[None]:
        answers = WordAnswers(self.reader, self.limits)
        self._thread = BatchingThread(answers.prepare, answers.answers, self.reader.batch_size)
        try:
            yield
        finally:
            await asyncio.to_thread(self._thread.close)


def _file_endpoint(file: Path):
    async def answer(_: Request) -> Response:
        return FileResponse(file)

    return answer


async def _in_words(_: Request, error: HTTPException) -> Response:
    return JSONResponse({"error": error.detail}, error.status_code, headers=error.headers)


async def _failed(_: Request, __: Exception) -> Response:
    return JSONResponse({"error": "reading failed; the terminal tells why"}, 500)

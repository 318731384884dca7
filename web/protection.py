"""What keeps other web sites away from a server on this computer."""

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# Names under which a browser on this computer asks. Any other is a foreign name that was made to
# point here (DNS rebinding).
OWN_HOSTS = ("127.0.0.1", "localhost")

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    # Nothing is kept, neither here nor in the browser.
    "Cache-Control": "no-store",
}


class OwnPagesOnly:
    """Refuses what other sites' pages send, and gives every answer the headers above.

    Browsers name the site of the page in `Origin` with every POST of another site.
    """

    def __init__(self, app: ASGIApp):
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_protected(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
            await send(message)

        headers = Headers(scope=scope)
        origin = headers.get("origin")
        app: ASGIApp = self.app
        if origin is not None and origin != f"http://{headers.get('host')}":
            app = JSONResponse({"error": "pages of other sites may ask nothing here"}, 403)
        await app(scope, receive, send_protected)

"""HTTP rules for all routes: HEAD for every GET, correct `Allow` headers, and CORS."""

from collections.abc import Callable

from litestar import Litestar
from litestar.datastructures import Headers, MutableScopeHeaders
from litestar.response.base import ASGIResponse
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from everafter.core.origins import CrossOrigin
from everafter.core.web import PROBLEM, list_methods, problem


class HttpRules:
    """Answer HEAD like GET without a body, and add `Allow`; runs before the router."""

    def __init__(self, app: Litestar, next_app: ASGIApp) -> None:
        """`app` has the routes; `next_app` is called."""
        self._app = app
        self._next_app = next_app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._next_app(scope, receive, send)
            return
        path, method = scope["path"], scope["method"]

        async def send_adjusted(message: Message) -> None:
            if message["type"] == "http.response.start" and (
                method == "OPTIONS" or message["status"] == 405
            ):
                if methods := list_methods(self._app, path):
                    MutableScopeHeaders.from_message(message)["Allow"] = ", ".join(methods)
            elif message["type"] == "http.response.body" and method == "HEAD":
                message = {**message, "body": b""}
            await send(message)

        forwarded: Scope = {**scope, "method": "GET"} if method == "HEAD" else scope
        await self._next_app(forwarded, receive, send_adjusted)


class CrossOriginPaths:
    """Let pages of other origins call some paths and read the responses, including errors; answer
    their preflight requests."""

    def __init__(
        self, next_app: ASGIApp, is_open: Callable[[str], bool], cross_origin: CrossOrigin
    ) -> None:
        """`is_open`: whether a path may be called from other origins."""
        self._next_app = next_app
        self._is_open = is_open
        self._cross_origin = cross_origin

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not self._is_open(scope["path"]):
            await self._next_app(scope, receive, send)
            return
        request = Headers.from_scope(scope)
        origin = request.get("origin")
        if (
            scope["method"] == "OPTIONS"
            and origin is not None
            and "access-control-request-method" in request
        ):
            headers = self._cross_origin.preflight_headers(
                origin,
                request.get("access-control-request-headers", ""),
                request.get("access-control-request-private-network") == "true",
            )
            await ASGIResponse(status_code=204, headers=headers)(scope, receive, send)
            return
        headers = self._cross_origin.headers(origin)

        async def send_open(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableScopeHeaders.from_message(message).update(headers)
            await send(message)

        if self._cross_origin.permits(origin):
            await self._next_app(scope, receive, send_open)
            return
        detail = (
            f"pages of {origin!r:.300} may not send events;"
            " EVERAFTER_INGEST_ORIGINS lists the origins that may"
        )
        refused = problem(403, "origin_not_allowed", detail)
        await ASGIResponse(
            body=refused.content, status_code=403, media_type=PROBLEM, headers=headers
        )(scope, receive, send)

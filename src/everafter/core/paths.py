"""Ids in paths may hold a slash, written %2F: it stays inside its segment, whatever the server has
decoded before."""

from typing import Any
from urllib.parse import quote, unquote

from litestar.enums import ScopeType
from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, Receive, Scope, Send

_SLASH, _NONE = "\x1f", "\x1e"  # control characters, which no id may hold


def keep_segments(app: ASGIApp) -> ASGIApp:
    """An application that is given each segment of the path by itself, with `_SLASH` for a slash
    inside one.

    `GiveSlashesBack` runs after the router and undoes this for the parameters.
    """

    async def handle(scope: Scope, receive: Receive, send: Send) -> None:
        raw = scope.get("raw_path") if scope["type"] == ScopeType.HTTP else None
        if raw and b"%2f" in raw.lower():
            segments = raw.decode("latin-1").split("/")
            scope["path"] = "/".join(
                unquote(one).replace(_SLASH, _NONE).replace("/", _SLASH) for one in segments
            )
        elif _SLASH in scope.get("path", ""):
            scope["path"] = scope["path"].replace(_SLASH, _NONE)
        await app(scope, receive, send)

    return handle


class GiveSlashesBack(ASGIMiddleware):
    """Behind the router: a path's parameters as they were meant."""

    scopes = (ScopeType.HTTP,)

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        if _SLASH in scope["path"]:
            given: dict[str, Any] = scope[
                "path_params"
            ]  # the router keeps this very object for later requests
            scope["path_params"] = {
                name: value.replace(_SLASH, "/") if isinstance(value, str) else value
                for name, value in given.items()
            }
        await next_app(scope, receive, send)


def sent_path(scope: Any) -> str:
    """The path as it was sent, percent-encoded."""
    raw: bytes | None = scope.get("raw_path")
    return raw.decode("latin-1").partition("?")[0] if raw else quote(scope["path"])

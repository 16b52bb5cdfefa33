"""Ids in paths may contain a slash, sent as %2F. It stays inside its segment, although the server
decodes the path before routing."""

from typing import Any
from urllib.parse import quote, unquote

from litestar.enums import ScopeType
from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, Receive, Scope, Send

_SLASH, _NONE = "\x1f", "\x1e"  # control characters, which no id contains


def keep_segments(app: ASGIApp) -> ASGIApp:
    """Wrap an application so that a slash inside a segment of the path reaches it as `_SLASH`.

    `RestoreSlashes` runs after the router and undoes this in the path parameters.
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


class RestoreSlashes(ASGIMiddleware):
    """Put slashes back into path parameters; runs after the router."""

    scopes = (ScopeType.HTTP,)

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        if _SLASH in scope["path"]:
            # a new dictionary: the router reuses the old one for later requests
            parameters: dict[str, Any] = scope["path_params"]
            scope["path_params"] = {
                name: value.replace(_SLASH, "/") if isinstance(value, str) else value
                for name, value in parameters.items()
            }
        await next_app(scope, receive, send)


def sent_path(scope: Any) -> str:
    """The path as the client sent it, percent-encoded."""
    raw: bytes | None = scope.get("raw_path")
    return raw.decode("latin-1").partition("?")[0] if raw else quote(scope["path"])

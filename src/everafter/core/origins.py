"""CORS: which pages of other origins may call, as response headers."""

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

ANY_ORIGIN = "*"
_EXPOSED = "Retry-After, X-RateLimit-Reset"
_DAY = "86400"
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}")
_MAX_HEADERS = 64
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]{0,30}://[!-~]{1,260}|null", re.IGNORECASE)


def read_origins(text: str) -> tuple[str, ...]:
    """Read origins separated by spaces or commas, in the form that browsers send; `*` is any.

    Raises:
        ValueError: a part is not an origin; the message names it.
    """
    return tuple(_read_origin(part) for part in re.split(r"[\s,]+", text) if part) or (ANY_ORIGIN,)


def _read_origin(text: str) -> str:
    if text in {ANY_ORIGIN, "null"}:  # null: pages from files, and sandboxed frames
        return text
    parts = urlsplit(text)
    port = parts.port  # raises ValueError when it is not a port
    host = parts.hostname or ""
    rest = parts.path.strip("/") or parts.query or parts.fragment or "@" in text
    if not parts.scheme or not host or rest or not _ORIGIN.fullmatch(text.rstrip("/")):
        raise ValueError(f"{text!r} is not an origin such as https://app.example.com")
    host = f"[{host}]" if ":" in host else host
    default = {"http": 80, "https": 443}.get(parts.scheme)
    return f"{parts.scheme}://{host}" + (f":{port}" if port not in {None, default} else "")


@dataclass(frozen=True, slots=True)
class CrossOrigin:
    """Which pages may send events; `*` in `allowed` means all.

    The response names the page's origin and allows credentials, because `navigator.sendBeacon`
    always sends credentials, and Chromium drops other responses. That reveals nothing: these paths
    read no cookies, and their responses contain no personal data."""

    allowed: tuple[str, ...]

    def permits(self, origin: str | None) -> bool:
        """Whether a page of this origin may send events. Without an origin (not a browser): yes."""
        if origin is None or ANY_ORIGIN in self.allowed:
            return True
        return origin.lower() in self.allowed

    def headers(self, origin: str | None) -> dict[str, str]:
        """Headers of every response, including errors."""
        headers = {"Vary": "Origin"}
        if origin is None:
            return (
                {**headers, "Access-Control-Allow-Origin": ANY_ORIGIN}
                if ANY_ORIGIN in self.allowed
                else headers
            )
        if self.permits(origin) and _ORIGIN.fullmatch(origin):
            headers["Access-Control-Allow-Origin"] = origin
            headers["Access-Control-Allow-Credentials"] = "true"
            headers["Access-Control-Expose-Headers"] = _EXPOSED
        return headers

    def preflight_headers(
        self, origin: str | None, requested_headers: str, requests_private_network: bool
    ) -> dict[str, str]:
        """Headers of the response to a preflight; every requested header is allowed."""
        headers = self.headers(origin)
        headers["Vary"] = (
            "Origin, Access-Control-Request-Headers, Access-Control-Request-Private-Network"
        )
        if "Access-Control-Allow-Origin" not in headers:
            return headers
        headers["Access-Control-Allow-Methods"] = "GET, HEAD, POST"
        headers["Access-Control-Allow-Headers"] = (
            permit_headers(requested_headers) or "Authorization, Content-Type"
        )
        headers["Access-Control-Max-Age"] = _DAY
        if requests_private_network:
            headers["Access-Control-Allow-Private-Network"] = "true"
        return headers


def permit_headers(requested: str) -> str:
    """The value of Access-Control-Allow-Headers: the requested names that are valid."""
    found = (name.strip() for name in requested.split(",", _MAX_HEADERS)[:_MAX_HEADERS])
    return ", ".join(name for name in found if _TOKEN.fullmatch(name))

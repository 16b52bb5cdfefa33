"""The coach's module for other sites' pages: `/coach.js`, an immutable address of the same
content, and its hash."""

import base64
import gzip
import hashlib
import re
from functools import lru_cache
from importlib import resources

from litestar import Response, get
from msgspec import Struct
from rjsmin import jsmin

from everafter.core.web import AnyRequest

_NAME = "coach.js"
_HEADERS = {
    # Browsers run a module from another origin only if that origin allows it.
    "Access-Control-Allow-Origin": "*",
    "Cross-Origin-Resource-Policy": "cross-origin",
    "X-Content-Type-Options": "nosniff",
    "Vary": "Accept-Encoding",
}
# Age after which browsers ask for `/coach.js` again; the answer is 304 in most cases.
_FRESH_SECONDS = 300
_YEAR = 31_536_000


class CoachModule(Struct, frozen=True):
    """Attributes of a script element. src: a path on this server. Both change with the content."""

    src: str
    integrity: str


class _Script(Struct, frozen=True):
    plain: bytes
    gzipped: bytes
    etag: str
    module: CoachModule


def squeeze(source: str) -> str:
    """Remove comments and needless white space from the module and its style sheet."""

    def squeeze_style(found: re.Match[str]) -> str:
        return re.sub(r" *([{};:,>]) *", r"\1", re.sub(r"\s+", " ", found[0]))

    return re.sub(r"(?<=replaceSync\(`)[^`]*", squeeze_style, str(jsmin(source)))


@lru_cache(maxsize=1)
def _script() -> _Script:
    source = resources.files("everafter").joinpath("static", _NAME).read_text(encoding="utf-8")
    plain = squeeze(source).encode()
    address = f"/static/{_NAME}?v={hashlib.sha256(plain).hexdigest()[:12]}"
    integrity = "sha384-" + base64.b64encode(hashlib.sha384(plain).digest()).decode()
    etag = f'"{hashlib.sha256(plain).hexdigest()[:20]}"'
    return _Script(plain, gzip.compress(plain, 9, mtime=0), etag, CoachModule(address, integrity))


@get("/coach.js", include_in_schema=False, sync_to_thread=False)
def get_module(request: AnyRequest) -> Response[bytes]:
    """The current module."""
    return _answer(request, f"public, max-age={_FRESH_SECONDS}, stale-while-revalidate=86400")


@get("/static/coach.js", include_in_schema=False, sync_to_thread=False)
def get_versioned_module(request: AnyRequest) -> Response[bytes]:
    """The module under the address in `/coach.json`, immutable; under an older address the current
    module, not to be cached."""
    version = _script().module.src.rpartition("=")[2]
    kept = request.query_params.get("v") == version
    return _answer(request, f"public, max-age={_YEAR}, immutable" if kept else "no-cache")


@get("/coach.json", include_in_schema=False, sync_to_thread=False)
def get_module_hash() -> Response[CoachModule]:
    """The module's address and hash, for pages that use `integrity`."""
    return Response(
        _script().module, headers={"Access-Control-Allow-Origin": "*", "Cache-Control": "no-cache"}
    )


def _answer(request: AnyRequest, cache_control: str) -> Response[bytes]:
    script = _script()
    headers = {**_HEADERS, "Cache-Control": cache_control, "ETag": script.etag}
    if script.etag in request.headers.get("if-none-match", ""):
        return Response(b"", status_code=304, media_type="text/javascript", headers=headers)
    zipped = "gzip" in request.headers.get("accept-encoding", "")
    if zipped:
        headers["Content-Encoding"] = "gzip"
    return Response(
        script.gzipped if zipped else script.plain, media_type="text/javascript", headers=headers
    )


handlers = [get_module, get_versioned_module, get_module_hash]

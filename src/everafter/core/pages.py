"""HTML pages: the template engine, the headers of every page, and error pages."""

import hashlib
import string
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from http import HTTPStatus
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jinja2
import msgspec
from litestar import Response, Router
from litestar.datastructures import CacheControlHeader
from litestar.exceptions import HTTPException
from litestar.plugins.jinja import JinjaTemplateEngine
from litestar.response import Template
from litestar.static_files import create_static_files_router
from litestar.template.config import TemplateConfig

from everafter import __version__
from everafter.core.formatting import FILTERS
from everafter.core.paths import sent_path
from everafter.core.web import AnyRequest, has_no_text

Handlers = dict[int | type[Exception], Any]

_PACKAGE = Path(str(resources.files("everafter")))
_YEAR = 31_536_000

# Nothing inline and nothing from other origins, so that injected markup cannot run.
_CONTENT_SECURITY_POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; font-src 'self';"
    " img-src 'self' data:; connect-src 'self'; frame-src 'self'; form-action 'self';"
    " base-uri 'none'; frame-ancestors 'none'"
)
# An email's HTML is shown in a sandboxed frame that loads nothing.
_MESSAGE_SECURITY_POLICY = (
    "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:;"
    " frame-ancestors 'self'; base-uri 'none'"
)
_HEADERS = {
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}

_ERROR_TITLES = {
    400: "Bad request",
    403: "Not allowed",
    404: "Page not found",
    405: "Method not allowed",
    413: "Too much data",
    429: "Too many attempts",
    503: "The database does not answer",
}
# Used when the error has no text of its own.
_DETAILS = {
    404: "there is no page at this address; check the spelling, or go back to the portfolio",
    405: "this page cannot be used in that way",
}


def template_config() -> TemplateConfig[JinjaTemplateEngine]:
    """The template engine. Templates are named by their path in the package:
    `templates/base.html`, `portfolio/templates/list.html`."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_PACKAGE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters: dict[str, Any] = environment.filters
    filters.update(FILTERS)
    names: dict[str, Any] = environment.globals
    names.update({"static": static_url, "version": __version__})
    return TemplateConfig(instance=JinjaTemplateEngine.from_environment(environment))


def static_router() -> Router:
    """Style sheets, scripts and fonts. Their URLs contain a hash, so they are cached forever."""
    return create_static_files_router(
        path="/static",
        directories=[_PACKAGE / "static"],
        cache_control=CacheControlHeader(public=True, max_age=_YEAR, immutable=True),
    )


@lru_cache
def static_url(name: str) -> str:
    """The URL of a static file, which changes with its content."""
    digest = hashlib.sha256((_PACKAGE / "static" / name).read_bytes()).hexdigest()[:12]
    return f"/static/{name}?v={digest}"


def page(
    request: AnyRequest,
    template: str,
    *,
    status_code: int = 200,
    headers: dict[str, str] | None = None,
    **context: Any,
) -> Template:
    """An HTML answer with the headers that every page carries; `context` must hold `viewer` for
    pages inside."""
    return Template(
        template_name=template,
        context={"path": request.url.path, "viewer": None, "now": datetime.now(UTC), **context},
        status_code=status_code,
        media_type="text/html",
        headers={**page_headers(request), **(headers or {})},
    )


def page_headers(request: AnyRequest) -> dict[str, str]:
    """The headers that every page carries."""
    security = {**_HEADERS, "Content-Security-Policy": _CONTENT_SECURITY_POLICY}
    if request.app.state.settings.base_url.startswith("https://"):
        security["Strict-Transport-Security"] = f"max-age={_YEAR}"
    return security


def message_page(html: str) -> Response[str]:
    """An email's HTML, for a sandboxed frame without scripts, forms and remote content."""
    return Response(
        html,
        media_type="text/html",
        headers={**_HEADERS, "Content-Security-Policy": _MESSAGE_SECURITY_POLICY},
    )


def download(body: str, name: str, media_type: str = "text/csv") -> Response[bytes]:
    """A file download."""
    disposition = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(body.encode(), media_type=media_type, headers={**_HEADERS, **disposition})


def see_other(path: str) -> Response[bytes]:
    """Redirect to another page of ours (303)."""
    # headers are ASCII; percent-escapes are kept
    location = quote(path, safe=string.punctuation)
    return Response(
        b"", status_code=303, media_type="text/plain", headers={**_HEADERS, "Location": location}
    )


def wants_page(request: AnyRequest) -> bool:
    """Whether the client is a person's browser; programs get problem+json instead of pages."""
    path = f"{request.url.path}/"
    return "text/html" in request.headers.get("accept", "") and not path.startswith(
        ("/api/", "/v1/", "/static/")
    )


def error_page(request: AnyRequest, status: int, detail: str) -> Response[Any]:
    """An error as a page; 401 redirects to the sign-in page, which leads back to this one."""
    if status == 401:
        wanted = sent_path(request.scope) + (f"?{request.url.query}" if request.url.query else "")
        return see_other(
            "/sign-in" if request.method != "GET" or wanted == "/" else sign_in_path(wanted)
        )
    if detail == HTTPStatus(status).phrase:
        detail = _DETAILS.get(status, detail)
    title = _ERROR_TITLES.get(
        status, "Something went wrong" if status >= 500 else "That did not work"
    )
    headers = {"Retry-After": "5"} if status in {429, 503} else {}
    return page(
        request,
        "templates/error.html",
        status_code=status,
        headers=headers,
        title=title,
        detail=detail,
    )


def with_pages(handlers: Handlers) -> Handlers:
    """Wrap error handlers so that browsers get a page instead of problem+json."""
    return {error: _as_page(handler) for error, handler in handlers.items()}


def _as_page(
    handler: Callable[[AnyRequest, Any], Response[Any]],
) -> Callable[[AnyRequest, Any], Response[Any]]:
    def answer(request: AnyRequest, error: Exception) -> Response[Any]:
        problem = handler(request, error)
        if not wants_page(request):
            return problem
        detail = msgspec.json.decode(problem.content).get("detail", "something went wrong")
        if isinstance(error, HTTPException) and has_no_text(error):
            detail = _DETAILS[error.status_code]
        return error_page(request, problem.status_code or 500, detail)

    return answer


def sign_in_path(wanted: str) -> str:
    """The URL of the sign-in page that continues to `wanted`."""
    return f"/sign-in?next={quote(wanted, safe='/')}"


handlers = [static_router()]

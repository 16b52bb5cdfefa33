"""Pages for people: the template engine, the headers every page carries, and errors as pages."""

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
from litestar.plugins.jinja import JinjaTemplateEngine
from litestar.response import Template
from litestar.static_files import create_static_files_router
from litestar.template.config import TemplateConfig

from everafter import __version__
from everafter.core.formatting import FILTERS
from everafter.core.paths import sent_path
from everafter.core.web import AnyRequest

Handlers = dict[int | type[Exception], Any]

_PACKAGE = Path(str(resources.files("everafter")))
_YEAR = 31_536_000

# Nothing inline and nothing from elsewhere: what an attacker gets into a page as text stays text.
_CONTENT_SECURITY_POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; font-src 'self'; img-src 'self' data:; connect-src 'self';"
    " frame-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
# A message's HTML is shown in a frame that may do nothing but paint; remote pictures would tell the
# sender that we looked.
_MESSAGE_SECURITY_POLICY = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'self'; base-uri 'none'"
_HEADERS = {
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}

_ERROR_TITLES = {
    400: "That could not be read",
    403: "Not allowed",
    404: "Nothing is here",
    405: "Not this way",
    413: "Too much at once",
    429: "Too many tries",
    503: "The database does not answer",
}
# What is said when nobody said more than the status's own name.
_BARE_WORDS = {
    404: "there is no page at this address; it may have been mistyped, or what it showed is gone",
    405: "this address is there, but it is not asked for in this way",
}


def template_config() -> TemplateConfig[JinjaTemplateEngine]:
    """Templates are named by their place in the package: `templates/base.html`,
    `portfolio/templates/list.html`."""
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
    """The style sheet, the script and the fonts; their addresses carry a hash of the content, so
    they may be kept for good."""
    return create_static_files_router(
        path="/static",
        directories=[_PACKAGE / "static"],
        cache_control=CacheControlHeader(public=True, max_age=_YEAR, immutable=True),
    )


@lru_cache
def static_url(name: str) -> str:
    """The address of a static file, which changes with its content."""
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
    """A message's own HTML, for a sandboxed frame: no script, no form, nothing fetched."""
    return Response(
        html,
        media_type="text/html",
        headers={**_HEADERS, "Content-Security-Policy": _MESSAGE_SECURITY_POLICY},
    )


def download(body: str, name: str, media_type: str = "text/csv") -> Response[bytes]:
    """A file to save."""
    disposition = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(body.encode(), media_type=media_type, headers={**_HEADERS, **disposition})


def see_other(path: str) -> Response[bytes]:
    """On to another page of ours, by GET."""
    location = quote(
        path, safe=string.punctuation
    )  # a header holds ASCII only; what is escaped already stays as it is
    return Response(
        b"", status_code=303, media_type="text/plain", headers={**_HEADERS, "Location": location}
    )


def wants_page(request: AnyRequest) -> bool:
    """Is a person's browser asking (and not a program, which gets problem+json)?"""
    path = f"{request.url.path}/"
    return "text/html" in request.headers.get("accept", "") and not path.startswith(
        ("/api/", "/v1/", "/static/")
    )


def error_page(request: AnyRequest, status: int, detail: str) -> Response[Any]:
    """An error as a page; whoever is not signed in is asked to, and then comes back to the page
    they wanted."""
    if status == 401:
        wanted = sent_path(request.scope) + (f"?{request.url.query}" if request.url.query else "")
        return see_other(
            "/sign-in" if request.method != "GET" or wanted == "/" else sign_in_path(wanted)
        )
    if detail == HTTPStatus(status).phrase:
        detail = _BARE_WORDS.get(status, detail)
    title = _ERROR_TITLES.get(
        status, "Something went wrong here" if status >= 500 else "That did not work"
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
    """The same error handlers, with a page instead of problem+json for a person's browser."""
    return {error: _as_page(handler) for error, handler in handlers.items()}


def _as_page(
    handler: Callable[[AnyRequest, Any], Response[Any]],
) -> Callable[[AnyRequest, Any], Response[Any]]:
    def answer(request: AnyRequest, error: Exception) -> Response[Any]:
        problem = handler(request, error)
        if not wants_page(request):
            return problem
        detail = msgspec.json.decode(problem.content).get("detail", "something went wrong here")
        return error_page(request, problem.status_code or 500, detail)

    return answer


def sign_in_path(wanted: str) -> str:
    """The sign-in page that leads on to `wanted`."""
    return f"/sign-in?next={quote(wanted, safe='/')}"


handlers = [static_router()]

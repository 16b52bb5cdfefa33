"""The platform's logo and style sheet, for the pages that suppliers open."""

from litestar import Response, Router, get
from litestar.datastructures import State

from everafter.branding.loading import load_brand
from everafter.branding.rules import page_style
from everafter.core.errors import NotFoundError
from everafter.core.settings import Settings

# an SVG that is opened directly cannot run or load anything
_POLICY = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:"
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "public, max-age=31536000, immutable",
}


@get("/brand/style.css", sync_to_thread=True)
def show_style(state: State) -> Response[str]:
    """Serve the platform's colors. The URL contains their hash."""
    settings: Settings = state.settings
    return Response(page_style(load_brand(settings)), media_type="text/css", headers=_HEADERS)


@get("/brand/logo", sync_to_thread=True)
def show_logo(state: State) -> Response[bytes]:
    """Serve the logo file."""
    settings: Settings = state.settings
    logo = load_brand(settings).logo
    if logo is None or not logo.content:
        raise NotFoundError("no logo is set; set [platform] logo in the playbook")
    return Response(logo.content, media_type=logo.media_type, headers=_HEADERS)


handlers = [Router(path="/", route_handlers=[show_style, show_logo], include_in_schema=False)]

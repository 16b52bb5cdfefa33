"""GET /docs: the API reference, rendered from the OpenAPI document."""

import re
from typing import Any

from litestar import Response, get
from markupsafe import Markup, escape

from everafter.core.pages import AnyRequest, page_headers
from everafter.reference import describe_reference

_CODE = re.compile(r"`([^`]+)`")


@get("/docs", include_in_schema=False, sync_to_thread=True)
def show_reference(request: AnyRequest) -> Response[str]:
    """Show the API reference. It is rendered once and cached."""
    state = request.app.state
    html: str | None = state.get("reference")
    if html is None:
        html = state["reference"] = _render(request)
    headers = page_headers(request) | {"Cache-Control": "public, max-age=300"}
    return Response(html, media_type="text/html", headers=headers)


def _render(request: AnyRequest) -> str:
    app: Any = request.app
    engine: Any = app.template_engine
    template = engine.get_template("templates/reference.html")
    return template.render(
        reference=describe_reference(app.description, app.state.settings.base_url),
        viewer=None,
        path="/docs",
        prose=format_prose,
    )


def format_prose(text: str) -> Markup:
    """Format a description as HTML: `…` is code, an empty line starts a paragraph."""
    paragraphs = re.split(r"\n\s*\n", text.strip())
    return Markup("").join(
        Markup("<p>{}</p>").format(
            Markup(_CODE.sub(r"<code>\1</code>", str(escape(" ".join(one.split())))))  # noqa: S704 escaped
        )
        for one in paragraphs
        if one
    )


handlers = [show_reference]

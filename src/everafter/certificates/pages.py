"""The success certificate: a page to look at and share, the sheet to print, the picture for a
post."""

import asyncio
from typing import Any

from litestar import Response, Router, get
from litestar.datastructures import State
from litestar.di import NamedDependency
from litestar.params import FromPath

from everafter.branding.loading import load_brand
from everafter.branding.model import Brand
from everafter.branding.page_rules import page_brand
from everafter.branding.rules import branded_sender, sender_of
from everafter.certificates.model import Certificate
from everafter.certificates.queries import find_earned
from everafter.certificates.rules import look_of, read_certificate_token, texts_of
from everafter.certificates.typefaces import why_not
from everafter.certificates.typesetting import Sheet, typeset
from everafter.core.db import Connection
from everafter.core.errors import NotFoundError
from everafter.core.formatting import sentence
from everafter.core.pages import page, wants_page
from everafter.core.settings import Settings
from everafter.core.web import AnyRequest
from everafter.core.zones import find_zone

_MEDIA: dict[str, tuple[Sheet, str, str]] = {
    "pdf": ("sheet", "application/pdf", "certificate.pdf"),
    "png": ("picture", "image/png", "certificate.png"),
}
_NO_CERTIFICATE = "there is no certificate at this address; copy the whole link"
_PAGE_HEADERS = {"X-Robots-Tag": "noindex", "Referrer-Policy": "no-referrer"}
_HEADERS = {
    "Cache-Control": "private, max-age=300",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Robots-Tag": "noindex",
}


@get("/certificates/{name:str}")
async def show_certificate(
    request: AnyRequest, name: FromPath[str], state: State, conn: NamedDependency[Connection]
) -> Response[Any]:
    """The page; or, where the address ends in .pdf or .png, the sheet or the picture. The token in
    it means a sign-in."""
    token, _, suffix = name.partition(".")
    certificate = await _find(conn, state.settings, token) if suffix in {"", *_MEDIA} else None
    brand = await asyncio.to_thread(load_brand, state.settings)
    if certificate is None:
        return _not_found(request, state.settings, brand, _NO_CERTIFICATE)
    words = texts_of(certificate)
    if reason := await asyncio.to_thread(why_not, words):
        return _not_found(
            request, state.settings, brand, f"this certificate cannot be shown: {reason}"
        )
    if not suffix:
        settings: Settings = state.settings
        address = f"{settings.base_url}/certificates/{token}"
        look = page_brand(brand, words["sender"])
        return page(
            request,
            "certificates/templates/certificate.html",
            headers=_PAGE_HEADERS,
            words=words,
            address=address,
            brand=look,
        )
    sheet, media_type, file_name = _MEDIA[suffix]
    body = await asyncio.to_thread(typeset, sheet, words, look_of(brand))
    return Response(
        body,
        media_type=media_type,
        headers={**_HEADERS, "Content-Disposition": f'inline; filename="{file_name}"'},
    )


def _not_found(request: AnyRequest, settings: Settings, brand: Brand, reason: str) -> Response[Any]:
    """The answer for people, in the platform's brand and without a link to the dashboard.

    Raises:
        NotFoundError: the client is a program.
    """
    if not wants_page(request):
        raise NotFoundError(reason)
    sender = branded_sender(sender_of(settings.mail_from, settings.base_url), brand)
    return page(
        request,
        "certificates/templates/no_certificate.html",
        status_code=404,
        headers=_PAGE_HEADERS,
        heading="Certificate not found",
        detail=f"{sentence(reason)}.",
        brand=page_brand(brand, sender.display_name or sender.addr_spec),
    )


async def _find(conn: Connection, settings: Settings, token: str) -> Certificate | None:
    supplier_id = read_certificate_token(settings.secret, token)
    found = await find_earned(conn, supplier_id) if supplier_id else None
    if found is None:
        return None
    name, timezone, earned_at = found
    brand = await asyncio.to_thread(load_brand, settings)
    sender = branded_sender(sender_of(settings.mail_from, settings.base_url), brand)
    signed_by = brand.name or sender.display_name or sender.addr_spec
    return Certificate(name, earned_at.astimezone(find_zone(timezone)).date(), signed_by)


handlers = [Router(path="/", route_handlers=[show_certificate], include_in_schema=False)]

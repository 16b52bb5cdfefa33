"""The brand for page templates. Pure."""

import hashlib
from dataclasses import dataclass
from urllib.parse import urlsplit

from everafter.branding.model import Brand
from everafter.branding.rules import page_style


@dataclass(frozen=True, slots=True)
class PageBrand:
    """The brand for a page template.

    logo, style: URLs; empty: none. img_src: the source that the content security policy must allow
    for the logo, besides 'self'.
    """

    name: str
    logo: str = ""
    width: int = 0
    height: int = 0
    style: str = ""
    img_src: str = ""


def page_brand(brand: Brand, sender: str) -> PageBrand:
    """The brand for a page. sender: the name if the platform has none."""
    style = page_style(brand)
    css = f"/brand/style.css?v={_digest(style.encode())}" if style else ""
    logo, name = brand.logo, brand.name or sender
    if logo is None:
        return PageBrand(name, style=css)
    if logo.url:
        origin = f"https://{urlsplit(logo.url).netloc}"
        return PageBrand(name, logo.url, style=css, img_src=origin)
    url = f"/brand/logo?v={_digest(logo.content)}"
    return PageBrand(name, url, logo.width, logo.height, css)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:12]

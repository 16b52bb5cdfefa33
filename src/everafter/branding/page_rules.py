"""The brand as a page's template uses it. Pure."""

import hashlib
from dataclasses import dataclass
from urllib.parse import urlsplit

from everafter.branding.model import Brand
from everafter.branding.rules import page_style


@dataclass(frozen=True, slots=True)
class PageBrand:
    """What a page's template uses. name: above it. logo, style: addresses; empty: there is none.

    img_src: what the content security policy must allow for the logo, beside 'self'.
    """

    name: str
    logo: str = ""
    width: int = 0
    height: int = 0
    style: str = ""
    img_src: str = ""


def page_brand(brand: Brand, sender: str) -> PageBrand:
    """The brand for a page; `sender` is shown where the platform has no name."""
    style = page_style(brand)
    address = f"/brand/style.css?v={_digest(style.encode())}" if style else ""
    logo, name = brand.logo, brand.name or sender
    if logo is None:
        return PageBrand(name, style=address)
    if logo.url:
        return PageBrand(
            name, logo.url, style=address, img_src=f"https://{urlsplit(logo.url).netloc}"
        )
    return PageBrand(
        name, f"/brand/logo?v={_digest(logo.content)}", logo.width, logo.height, address
    )


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:12]

"""How the platform presents itself in emails, on certificates and on suppliers' pages."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

from msgspec import Meta, Struct
from msgspec import field as key

Color = Annotated[str, Meta(pattern="^#[0-9a-fA-F]{6}$")]
Language = Annotated[str, Meta(pattern="^[a-z]{2}(-[A-Z]{2})?$")]
Country = Annotated[str, Meta(pattern="^[A-Z]{2}$")]
ENGLISH = "en"
"""The language of our own emails."""


class PlatformColors(Struct, frozen=True, forbid_unknown_fields=True):
    """Colors of emails and pages.

    accent: links, figures and buttons; null: our colors. on_accent: the text on buttons.
    accent_dark, on_accent_dark: the same in dark mode. Those that are null are computed from
    accent, with enough contrast.
    """

    accent: Color | None = None
    on_accent: Color | None = None
    accent_dark: Color | None = None
    on_accent_dark: Color | None = None


class Platform(Struct, frozen=True, forbid_unknown_fields=True):
    """The table [platform] of a playbook.

    name: shown on emails and pages. logo: a PNG, JPEG or SVG file beside the playbook, or an https
    URL. sender_name: the name in From and in the signature. reply_to: the address for replies.
    language: the language of emails; languages: exceptions by the supplier's country.
    """

    name: str | None = None
    logo: str | None = None
    sender_name: str | None = None
    reply_to: str | None = None
    language: Language = ENGLISH
    languages: dict[Country, Language] = key(default_factory=dict)
    colors: PlatformColors = PlatformColors()


@dataclass(frozen=True, slots=True)
class Colors:
    """The accent color and the color of text on it, in light and in dark mode, as `#rrggbb`."""

    accent: str
    on_accent: str
    accent_dark: str
    on_accent_dark: str


@dataclass(frozen=True, slots=True)
class Logo:
    """A logo.

    url: the address of a hosted logo; all other fields are empty then. content, media_type: the
    file. inline, inline_type: the attachment of emails, never SVG. svg: the file as an SVG
    document, for certificates. width, height: the size on pages and in emails, in pixels.
    """

    url: str = ""
    content: bytes = b""
    media_type: str = ""
    inline: bytes = b""
    inline_type: str = ""
    svg: str = ""
    width: int = 0
    height: int = 0


@dataclass(frozen=True, slots=True)
class Brand:
    """The settings of [platform] and the files beside the playbook. Empty text: not set.

    files: email templates and phrases that override ours, by file name.
    """

    name: str = ""
    sender_name: str = ""
    reply_to: str = ""
    language: str = ENGLISH
    languages: Mapping[str, str] = field(default_factory=dict)
    colors: Colors | None = None
    logo: Logo | None = None
    files: Mapping[str, str] = field(default_factory=dict)

    def language_of(self, country: object) -> str:
        """The language of emails to a supplier in that country (null: unknown)."""
        return (
            self.languages.get(country, self.language)
            if isinstance(country, str)
            else self.language
        )


OURS = Brand()
"""The brand without [platform]."""


@dataclass(frozen=True, slots=True)
class Problem:
    """A mistake in [platform] or in a file beside the playbook.

    file: its path; empty: the playbook. path: the key in the playbook. line, column: from 1, in
    `file`. hint: how to fix it. name: the unknown name that it is about; empty: none.
    """

    message: str
    hint: str = ""
    file: str = ""
    path: tuple[str, ...] = ()
    line: int = 1
    column: int = 1
    level: Literal["error", "warning"] = "error"
    name: str = ""

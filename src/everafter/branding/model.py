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
"""The language of the emails that ship."""


class PlatformColors(Struct, frozen=True, forbid_unknown_fields=True):
    """Colors of emails and pages. accent: links, figures and buttons; null: the ones that ship.

    on_accent: text on a button. accent_dark, on_accent_dark: the same in dark mode. Null: computed
    from accent, with enough contrast.
    """

    accent: Color | None = None
    on_accent: Color | None = None
    accent_dark: Color | None = None
    on_accent_dark: Color | None = None


class Platform(Struct, frozen=True, forbid_unknown_fields=True):
    """The table [platform] of a playbook.

    name: above every email and page. logo: a PNG, JPEG or SVG file beside the playbook, or an https
    URL. sender_name: the name that emails are from and signed with. reply_to: where answers go.
    language: of emails; languages: by the supplier's country, where it differs.
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
    """Four `#rrggbb` values: an accent and the text on it, in light and in dark mode."""

    accent: str
    on_accent: str
    accent_dark: str
    on_accent_dark: str


@dataclass(frozen=True, slots=True)
class Logo:
    """A logo, ready to be shown.

    url: where it is hosted, when it is not a file; then everything else is empty. content and
    media_type: the file. inline and inline_type: what emails carry, which is never SVG. svg: the
    file as an SVG document, for certificates. width, height: how large emails and pages show it,
    in pixels.
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
    """What is used of [platform] and of the files beside the playbook. Empty text: not set.

    files: email templates and word tables that override ours, by file name.
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
"""What is used where the playbook has no [platform]."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong with [platform] or with a file beside the playbook.

    file: its path; empty: the playbook. path: the key of the playbook concerned. line and column:
    from 1, in `file`. hint: how to correct it.
    """

    message: str
    hint: str = ""
    file: str = ""
    path: tuple[str, ...] = ()
    line: int = 1
    column: int = 1
    level: Literal["error", "warning"] = "error"

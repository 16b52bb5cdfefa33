"""Colors with enough contrast, the sender of emails, and checks of [platform]. Pure."""

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from everafter.branding.model import Brand, Colors, PlatformColors, Problem
from everafter.core.email_address import EmailAddress, read_email

LEAST_CONTRAST = 4.5
"""Minimum contrast of normal text with its background: WCAG 2.2, 1.4.3, level AA."""

UNNAMED_SENDER = "Your success team"
"""The sender's name if neither the playbook nor EVERAFTER_MAIL_FROM sets one."""

# backgrounds in mail/templates/layout.css and static/*.css
_LIGHT = ("#ffffff", "#fffefb", "#faf9f7", "#f4f2ed")
_DARK = ("#121516", "#191f22", "#1b1f20")
_TEXT_COLORS = ("#ffffff", "#10201b")
_COLOR = re.compile(r"#[0-9a-fA-F]{6}")
_HTTPS = re.compile(r"https://[A-Za-z0-9.-]+(:\d{1,5})?/[A-Za-z0-9._~/%?=&+-]*")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_LONGEST_NAME = 80


# ── colors ────────────────────────────────────────────────────────────────────────────────────


def contrast(one: str, other: str) -> float:
    """The contrast ratio of two colors (WCAG 2.2), 1–21.

    >>> contrast("#000000", "#ffffff"), round(contrast("#767676", "#ffffff"), 2)
    (21.0, 4.54)
    """
    dark, light = sorted((_luminance(one), _luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def mix(color: str, other: str, share: float) -> str:
    """Mix `color` with a share (0–1) of `other`.

    >>> mix("#000000", "#ffffff", 0.5)
    '#808080'
    """
    pairs = zip(_channels(color), _channels(other), strict=True)
    return "#" + "".join(f"{round(a + (b - a) * share):02x}" for a, b in pairs)


def resolve_colors(colors: PlatformColors) -> Colors | None:
    """All four colors, missing ones computed; null: no accent is set."""
    accent = colors.accent
    if accent is None:
        return None
    dark = colors.accent_dark or legible(accent, _DARK, towards="#ffffff", least=7)
    return Colors(
        accent.lower(),
        (colors.on_accent or _text_color(accent)).lower(),
        dark.lower(),
        (colors.on_accent_dark or _text_color(dark)).lower(),
    )


def legible(
    color: str, backgrounds: tuple[str, ...], *, towards: str, least: float = LEAST_CONTRAST
) -> str:
    """The first color between `color` and `towards` with contrast `least` to each background."""
    for step in range(101):
        found = mix(color, towards, step / 100)
        if min(contrast(found, one) for one in backgrounds) >= least:
            return found
    return towards


def recolor(css: str, colors: Colors | None) -> str:
    """Replace the colors of one of our style sheets by the platform's, if they are set."""
    if colors is None:
        return css
    ours = {
        "#1d5c4b": colors.accent,
        "#ffffff": colors.on_accent,
        "#cfdcd6": mix(colors.accent, _LIGHT[1], 0.75),
        "#7cc7ae": colors.accent_dark,
        "#8fd3bd": colors.accent_dark,
        "#10201b": colors.on_accent_dark,
        "#3a4a45": mix(colors.accent_dark, _DARK[2], 0.7),
    }
    return _COLOR.sub(lambda found: ours.get(found[0], found[0]), css)


def page_style(brand: Brand) -> str:
    """The style sheet loaded after ours on pages for suppliers; empty: no changes."""
    rules: list[str] = []
    if colors := brand.colors:
        light = _variables(colors.accent, colors.on_accent, _LIGHT[1])
        dark = _variables(colors.accent_dark, colors.on_accent_dark, _DARK[2])
        rules += [
            f":root {{ {light} }}",
            f"@media (prefers-color-scheme: dark) {{ :root {{ {dark} }} }}",
        ]
    if brand.logo:
        rules.append(LOGO_STYLE)
    return "\n".join(rules)


LOGO_STYLE = (
    ".logo { display: block; max-width: 240px; max-height: 48px; border: 0; }\n"
    "@media (prefers-color-scheme: dark) { .logo { box-sizing: content-box; background: #fffefb;"
    " padding: 6px 10px; border-radius: 6px; } }"
)
"""Style of a logo on a page. In dark mode it gets a light background, because most logos are made
for light ones."""


def _variables(accent: str, on_accent: str, background: str) -> str:
    wash = mix(accent, background, 0.88)
    pairs = {
        "accent": accent,
        "on-accent": on_accent,
        "accent-ink": on_accent,
        "wash": wash,
        "accent-wash": wash,
    }
    return " ".join(f"--{name}: {value};" for name, value in pairs.items())


def _text_color(color: str) -> str:
    """White or near-black, whichever has more contrast with the color."""
    return max(_TEXT_COLORS, key=lambda text: contrast(text, color))


def _channels(color: str) -> tuple[int, int, int]:
    return int(color[1:3], 16), int(color[3:5], 16), int(color[5:7], 16)


def _luminance(color: str) -> float:
    shares = (channel / 255 for channel in _channels(color))
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in shares)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


# ── the sender ────────────────────────────────────────────────────────────────────────────────


def sender_of(mail_from: EmailAddress | None, base_url: str) -> EmailAddress:
    """Who mail is from: EVERAFTER_MAIL_FROM, else `success@` the host that links lead to."""
    if mail_from:
        return mail_from
    host = urlsplit(base_url).hostname or "localhost"
    return read_email(
        f"success@{host if re.search('[a-z]', host) else 'localhost'}", UNNAMED_SENDER
    )


def branded_sender(address: EmailAddress, brand: Brand) -> EmailAddress:
    """The sender of emails with its display name.

    The address is always the one of the settings, which the mail server accepts. The name is the
    playbook's `sender_name`, else the one of the settings, else the platform's name.
    """
    named = address.display_name if address.display_name != UNNAMED_SENDER else ""
    name = brand.sender_name or named or brand.name or address.display_name
    return read_email(address.addr_spec, name)


# ── checks ────────────────────────────────────────────────────────────────────────────────────


def check_platform(
    platform: dict[str, Any], bad: frozenset[tuple[str | int, ...]] = frozenset()
) -> Iterator[Problem]:
    """All mistakes in the table [platform], except for wrong types.

    Args:
        bad: paths with values of a wrong type, which are skipped.
    """
    for name in ("name", "sender_name"):
        text = platform.get(name)
        if isinstance(text, str) and len(text) > _LONGEST_NAME:
            message = f"{name} has {len(text)} characters; the limit is {_LONGEST_NAME}"
            yield Problem(message, "use a shorter name", path=("platform", name))
    reply_to = platform.get("reply_to")
    if isinstance(reply_to, str):
        try:
            read_email(reply_to)
        except ValueError as error:
            yield Problem(
                f"reply_to: {error}",
                'use an address without a name, such as "care@example.com"',
                path=("platform", "reply_to"),
            )
    logo = platform.get("logo")
    if isinstance(logo, str) and _SCHEME.match(logo) and not _HTTPS.fullmatch(logo):
        hint = "use a file beside the playbook, or an https:// URL"
        yield Problem(f"{logo[:60]!r} cannot be used as a logo", hint, path=("platform", "logo"))
    elif isinstance(logo, str) and _HTTPS.fullmatch(logo):
        message = "a hosted logo is missing on certificates, and mail clients may not load it"
        yield Problem(
            message, "put the file beside the playbook", path=("platform", "logo"), level="warning"
        )
    colors = platform.get("colors")
    if isinstance(colors, dict) and not any(("platform", "colors", key) in bad for key in colors):
        yield from _check_colors(colors)


def is_hosted(logo: str) -> bool:
    """Whether a logo is an https URL, not a file."""
    return _HTTPS.fullmatch(logo) is not None


def _check_colors(table: dict[str, Any]) -> Iterator[Problem]:
    known = {key: value for key, value in table.items() if key in PlatformColors.__struct_fields__}
    if known and "accent" not in known:
        first = next(iter(known))
        hint = "add accent; the other colors are computed from it"
        yield Problem(f"{first} is set without accent", hint, path=("platform", "colors", first))
        return
    colors = resolve_colors(PlatformColors(**known))
    if colors is None:
        return
    yield from _check_text("accent", colors.accent, _LIGHT, "#000000", "the light background")
    yield from _check_text(
        "accent_dark", colors.accent_dark, _DARK, "#ffffff", "the dark background"
    )
    for text, color in (("on_accent", "accent"), ("on_accent_dark", "accent_dark")):
        ratio = contrast(getattr(colors, text), getattr(colors, color))
        if ratio < LEAST_CONTRAST:
            at = text if text in known else color
            message = f"{text} on {color} has contrast {ratio:.1f}; text needs {LEAST_CONTRAST}"
            hint = f"use {_text_color(getattr(colors, color))}, or remove {text}"
            yield Problem(message, hint, path=("platform", "colors", at))


def _check_text(
    name: str, color: str, backgrounds: tuple[str, ...], towards: str, where: str
) -> Iterator[Problem]:
    ratio = min(contrast(color, one) for one in backgrounds)
    if ratio < LEAST_CONTRAST:
        message = f"{name} has contrast {ratio:.1f} with {where}; text needs {LEAST_CONTRAST}"
        nearest = legible(color, backgrounds, towards=towards)
        yield Problem(
            message, f"{nearest} is the nearest legible color", path=("platform", "colors", name)
        )

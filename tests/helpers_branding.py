"""A platform's own folder: a playbook with [platform], a logo, email templates and phrases."""

import struct
import zlib
from pathlib import Path

SVG = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 240 60">'
    '<circle cx="30" cy="30" r="26" fill="#9b2d5c"/>'
    '<path d="M70 15h160v12H70z" fill="#3a1022"/></svg>'
)
PLATFORM = """\
[platform]
name = "Confetti & Co"
logo = "logo.svg"
sender_name = "Ada at Confetti"
reply_to = "care@confetti.example"
languages = { DE = "de" }

[platform.colors]
accent = "#9b2d5c"
"""
PHRASES_DE = """\
[frame]
greeting = "Hallo {name},"
greeting_without_name = "Guten Tag,"
why_success = "Sie bekommen solche Nachrichten, weil Sie Ihre Hochzeiten mit uns verwalten."
why_transactional = "Diese Nachricht betrifft Ihr Konto oder Ihren Termin."
unsubscribe = "Solche Nachrichten abbestellen"
today = "heute"
tomorrow = "morgen"

[numbers]
clients_total = "{n, plural, one {Paar} other {Paare}} bei Ihnen"
limit_ratio = "Ihres Tarifs genutzt"
days_to_next_wedding = "{n, plural, =0 {Ihre nächste Hochzeit} one {Tag bis zur nächsten Hochzeit} other {Tage bis zur nächsten Hochzeit}}"
"""
ONE_YEAR_DE = """\
Subject: Ein Jahr zusammen{% if name %}, {{ name }}{% endif %}
Heading: Ein Jahr zusammen
Button: Ihr Jahr ansehen | home
Numbers: clients_total limit_ratio days_to_next_wedding

{{ greeting }}

Danke.{% if clients_total %} Seitdem waren es {{ clients_total|count('Paar', 'Paare') }}.{% endif %}

[numbers]

[button]
"""
ONE_YEAR = """\
Subject: A whole year, {{ name or 'friend' }}

{{ greeting }}

This sentence is the platform's own.
"""


def png(width: int = 300, height: int = 100) -> bytes:
    """A PNG of one colour."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    rows = (b"\0" + b"\x9b\x2d\x5c" * width) * height
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


SMALL = """\
name = "small"

[segments.default]
title = "Any"
key_features = ["forms"]

[triggers.hello]
when = "tenure_days >= 7"
action = "write"
channel = "email"
template = "check_in"
reason = "a week with us"
success = "login_days_28d >= 1"
"""


def make_platform(
    folder: Path, platform: str = PLATFORM, logo: bytes | str | None = SVG, **files: bytes | str
) -> Path:
    """The playbook's path, in a folder with that logo and those overrides.

    `one_year__de__txt` is the file one_year.de.txt.
    """
    folder.mkdir(parents=True, exist_ok=True)
    playbook = folder / "playbook.toml"
    playbook.write_text(f"{SMALL}\n{platform}", encoding="utf-8")
    if logo is not None:
        (folder / "logo.svg").write_bytes(logo.encode() if isinstance(logo, str) else logo)
    for name, content in files.items():
        add_file(folder, name.replace("__", "."), content)
    return playbook


def add_file(folder: Path, name: str, content: bytes | str) -> Path:
    """An override in the folder of a playbook."""
    path = folder / "templates" / "emails" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path

"""Which typefaces a certificate is set in, and whether they have every sign of its words.

Those that ship cover Latin, Greek, Cyrillic, Arabic, Hebrew, Armenian, Georgian, Devanagari,
Bengali, Gujarati, Tamil, Telugu, Malayalam, Sinhala, Thai, Lao, Khmer, Burmese and common signs.
Other scripts (Chinese, Japanese, Korean, Kannada, Gurmukhi, Ethiopic…) need a typeface that is
installed on the machine."""

import unicodedata
from collections.abc import Iterable, Mapping
from functools import cache, lru_cache
from importlib import resources
from typing import TYPE_CHECKING

from everafter.certificates.rules import clean_name
from everafter.core.formatting import plural

if TYPE_CHECKING:
    import typst

FOLDER = str(resources.files("everafter.certificates") / "fonts")
FIRST = ("Newsreader", "Noto Serif")
_UNSEEN = frozenset({0x00AD, 0x200B, 0x200C, 0x200D})
"""What a line breaks at and what joins letters is not drawn."""
_MOST_SHOWN = 5


@cache
def fonts() -> "typst.Fonts":
    """Return our fonts and the machine's. typst's own are left out, because their characters cannot
    be listed.
    """
    import typst  # a large library, which few commands need

    return typst.Fonts(include_system_fonts=True, include_embedded_fonts=False, font_paths=[FOLDER])


def choose_families(text: str) -> tuple[tuple[str, ...], str]:
    """The families to set a text in, in the order in which they are asked for a sign; and its signs
    that none of them has."""
    needed = frozenset(map(ord, text)) - _UNSEEN
    return _choose(needed)


def choose_first(name: str) -> tuple[str, ...]:
    """The families for a name, whose letters are all of one face where one has them all: words of
    two faces look like a mistake."""
    families = choose_families(name)[0]
    letters = {ord(sign) for sign in name if unicodedata.category(sign)[0] in "LM"}
    known = _ours() | (_others() if set(families) - _ours().keys() else {})
    whole = [family for family in families if letters <= known[family]]
    return tuple(dict.fromkeys([*whole[:1], *families]))


def why_not_for(name: str, sender: str = "") -> str | None:
    """Why a supplier of that name can have no certificate from that sender; null when it can."""
    return why_not({"name": clean_name(name), "sender": clean_name(sender)})


def why_not(words: Mapping[str, str]) -> str | None:
    """Why a certificate with these words cannot be made; null when it can. Blocks for a tenth of a
    second the first time."""
    missing = choose_families("".join(words.values()))[1]
    return f"no typeface here has {_list_signs(missing)}" if missing else None


@lru_cache(maxsize=4096)
def _choose(needed: frozenset[int]) -> tuple[tuple[str, ...], str]:
    chosen: list[str] = []
    left = set(needed)
    for families in (_ours(), _others()):
        for family, covered in families.items():
            if left & covered or family in FIRST:
                chosen.append(family)
                left -= covered
        if not left:
            break
    return tuple(dict.fromkeys(chosen)), "".join(sorted(map(chr, left)))


@cache
def _ours() -> dict[str, frozenset[int]]:
    """Which signs each family has that ships, those for every text first."""
    found = {font.family: _signs(font.path, font.index) for font in fonts().fonts() if _ships(font)}
    return {family: found[family] for family in (*FIRST, *sorted(found.keys() - set(FIRST)))}


@cache
def _others() -> dict[str, frozenset[int]]:
    """The same of the machine's upright text faces; serifs first, as ours have them."""
    faces = [
        font
        for font in fonts().fonts()
        if not _ships(font) and font.path and font.style == "normal" and font.weight == 400
    ]
    faces.sort(
        key=lambda font: (
            "serif" not in font.family.lower() or "sans" in font.family.lower(),
            font.family,
        )
    )
    return {
        font.family: _signs(font.path, font.index) for font in faces if font.family not in _ours()
    }


def _ships(font: "typst.FontInfo") -> bool:
    return bool(font.path) and str(font.path).startswith(FOLDER)


@cache
def _signs(path: str | None, index: int) -> frozenset[int]:
    """The code points that a file's character map has; none when it cannot be read."""
    from fontTools.ttLib import TTFont, TTLibError  # only where a certificate is made

    try:
        with TTFont(str(path), fontNumber=index, lazy=True) as font:
            return frozenset(font.getBestCmap() or ())
    except (TTLibError, OSError, KeyError, ValueError):
        return frozenset()


def _list_signs(signs: Iterable[str]) -> str:
    shown = list(signs)
    names = [
        f"{sign} ({unicodedata.name(sign, f'U+{ord(sign):04X}').lower()})"
        for sign in shown[:_MOST_SHOWN]
    ]
    more = (
        f" and {plural(len(shown) - _MOST_SHOWN, 'more sign')}" if len(shown) > _MOST_SHOWN else ""
    )
    return ", ".join(names) + more

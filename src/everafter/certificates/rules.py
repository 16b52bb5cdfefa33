"""The words of a certificate and the token that shows it. Pure."""

import re
import unicodedata
from itertools import pairwise
from uuid import UUID

from everafter.branding.model import Brand
from everafter.certificates.model import Certificate
from everafter.core.i18n import format_date_long
from everafter.core.signing import make_token, read_token

_PURPOSE = b"everafter certificate 1\0"
LONGEST_NAME = 200
# Pictures with a colour of their own, and what is joined to them. Signs such as ™, ° and ♥ are
# none.
_EMOJI = re.compile(
    "[\U0001f000-\U0001faff](?:[\ufe0f\u20e3\U0001f3fb-\U0001f3ff\U000e0020-\U000e007f]|\u200d.)*",
    re.DOTALL,
)
_LONG_WORD = 14
"""Letters from which on a word may be broken over two lines, where it is too long for one."""
_LEAST_PART = 3
_HYPHENATED = frozenset({"LATIN", "GREEK", "CYRILLIC", "ARMENIAN", "GEORGIAN"})
_VOWELS = frozenset("aeiouyæøœıаеиоуыэюяієαειουηωաեէըիոօუიეაო")
_TWO_FOR_ONE = frozenset({"ch", "ck", "gh", "ph", "qu", "rh", "sh", "th", "wh", "zh"})
_SOFT_HYPHEN, _BREAK = "\u00ad", "\u200b"
_RIGHT_TO_LEFT = frozenset({"R", "AL"})


def sign_certificate(secret: str, supplier_id: UUID) -> str:
    """Make the token that shows this supplier's certificate to whoever has it."""
    return make_token(secret, _PURPOSE, supplier_id)


def read_certificate_token(secret: str, token: str) -> UUID | None:
    """Return whose certificate it shows, or null for any text that `sign_certificate` did not
    make."""
    ids = read_token(secret, _PURPOSE, token, 1)
    return ids[0] if ids else None


def certificate_url(base_url: str, secret: str, supplier_id: UUID) -> str:
    """The address of the certificate's page; with `.pdf` or `.png` after it the sheet or the
    picture."""
    return f"{base_url}/certificates/{sign_certificate(secret, supplier_id)}"


def texts_of(certificate: Certificate) -> dict[str, str]:
    """What the sheets print, each a plain text.

    Emoji are left out of names; all other signs stay. name_broken: the name with marks where long
    words may be broken. direction: of the name, `ltr` or `rtl`."""
    name = clean_name(certificate.name) or "Our supplier"
    day = certificate.earned_on
    return {
        "language": "en",
        "heading": "Certificate of success",
        "before": "This certifies that",
        "name": name,
        "name_broken": " ".join(map(_breakable, name.split(" "))),
        "direction": _direction(name),
        "body": "has set up everything that happy couples need: a first form, couples invited and"
        " active, and journeys that keep them informed.",
        "date": format_date_long(day),
        "date_label": "set up in full",
        "sender": clean_name(certificate.sender),
        "sender_label": "with congratulations",
        "year": str(day.year),
    }


def look_of(brand: Brand) -> tuple[tuple[str, str], ...]:
    """What the sheets take of the platform's look: its accent and its logo as SVG; nothing where
    none is set."""
    accent = brand.colors.accent if brand.colors else ""
    logo = brand.logo.svg if brand.logo else ""
    return tuple((key, value) for key, value in (("accent", accent), ("logo", logo)) if value)


def clean_name(text: str) -> str:
    """A name as it is printed: composed, in one line, without emoji and controls, of at most
    `LONGEST_NAME` signs."""
    name = " ".join(_without_unseen(_EMOJI.sub(" ", unicodedata.normalize("NFC", text))).split())
    return name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1].rstrip() + "…"


def _without_unseen(text: str) -> str:
    return "".join(
        "" if _chooses_form(sign) else sign if not _is_dropped(sign) or _joins(text, place) else " "
        for place, sign in enumerate(text)
    )


def _is_dropped(sign: str) -> bool:
    """What is not drawn: controls, marks of direction, what Unicode has not given a meaning."""
    return unicodedata.category(sign) in {"Cc", "Cf", "Cs", "Co", "Cn"}


def _chooses_form(sign: str) -> bool:
    """Variation selectors, and the frame of a key cap."""
    return 0xFE00 <= ord(sign) <= 0xFE0F or 0xE0100 <= ord(sign) <= 0xE01EF or sign == "\u20e3"


def _breakable(word: str) -> str:
    """A long word with marks where it may be broken: with a hyphen where the script has one, never
    before a mark of its letter."""
    if len(word) < _LONG_WORD:
        return word
    places = [
        place
        for place in range(_LEAST_PART, len(word) - _LEAST_PART + 1)
        if _may_break(word[place - 1], word[place])
    ]
    syllables = [place for place in places if _begins_syllable(word, place)]
    if len(syllables) * _LONG_WORD > len(word):
        places = syllables
    parts = [word[begin:end] for begin, end in pairwise([0, *places, len(word)])]
    return parts[0] + "".join(_mark(before, after) + after for before, after in pairwise(parts))


def _may_break(before: str, after: str) -> bool:
    """Not within a letter and its marks, nor where letters are joined in writing."""
    joined = "AL" in {unicodedata.bidirectional(before), unicodedata.bidirectional(after)}
    part = unicodedata.category(after)[0] in "CM" or unicodedata.category(before)[0] == "C"
    return not joined and not part and not unicodedata.name(before, "").endswith("VIRAMA")


def _begins_syllable(word: str, place: int) -> bool:
    """Where most languages with such letters would hyphenate: before one consonant and a vowel, not
    within ch, sh, th."""
    two = word[place - 1 : place + 1].lower()
    return not _is_vowel(word[place]) and _is_vowel(word[place + 1]) and two not in _TWO_FOR_ONE


def _is_vowel(letter: str) -> bool:
    return unicodedata.normalize("NFD", letter)[0].lower() in _VOWELS


def _mark(before: str, after: str) -> str:
    scripts = {unicodedata.name(sign, "").partition(" ")[0] for sign in (before[-1], after[0])}
    letters = (
        unicodedata.category(before[-1])[0] in "LM" and unicodedata.category(after[0])[0] == "L"
    )
    return _SOFT_HYPHEN if letters and scripts <= _HYPHENATED else _BREAK


def _direction(name: str) -> str:
    """That of its first letter."""
    first = next(
        (kind for kind in map(unicodedata.bidirectional, name) if kind in {"L", *_RIGHT_TO_LEFT}),
        "L",
    )
    return "rtl" if first in _RIGHT_TO_LEFT else "ltr"


def _joins(text: str, place: int) -> bool:
    """Whether this is a joiner or a non-joiner that is between letters, as many scripts need
    them."""
    around = text[place - 1 : place] + text[place + 1 : place + 2]
    return (
        text[place] in "\u200c\u200d"
        and len(around) == 2
        and all(unicodedata.category(sign)[0] in "LM" for sign in around)
    )

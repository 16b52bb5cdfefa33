"""Text from outside, made safe to show: on one line, without characters that control a terminal, a
calendar or the text direction."""

import unicodedata

_CONTROLS = {"Cc", "Cf", "Cs", "Zl", "Zp"}
_JOINERS = "\u200c\u200d"
_JOINED = {"L", "M", "S"}


def clean_line(text: str, longest: int | None = None) -> str:
    """Replace control, format (including bidi) and line-breaking characters by one space, then cut
    at `longest` characters (null: no limit).

    Joiners between letters or pictographs are kept: Persian, Hindi and some emoji need them.

    >>> clean_line("Rosewood\\r\\nBcc: x"), clean_line("a\\u202eb"), clean_line("Golden Hour", 8)
    ('Rosewood Bcc: x', 'a b', 'Golden…')
    """
    kept = "".join(
        " " if unicodedata.category(sign) in _CONTROLS and not _joins(text, place) else sign
        for place, sign in enumerate(text)
    )
    flat = " ".join(kept.split())
    if longest is None or len(flat) <= longest:
        return flat
    return flat[: longest - 1].rstrip() + "…"


def clean_lines(text: str) -> str:
    """The same for several lines, separated by line feeds; empty lines at both ends are removed.

    >>> clean_lines("Forms\\r\\n\\r\\n\\x07the gallery\\u2028rooms")
    'Forms\\n\\nthe gallery\\nrooms'
    """
    return "\n".join(clean_line(line) for line in text.splitlines()).strip("\n")


def like_pattern(text: str) -> str:
    """A pattern for LIKE of texts that contain this one.

    >>> print(like_pattern("50%_off"))
    %50\\%\\_off%
    """
    escaped = text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"%{escaped}%"


def show_controls(text: str) -> str:
    """Write control and format (including bidi) characters as escapes, except line feeds and tabs,
    so that a terminal shows them and does not obey them.

    >>> print(show_controls("x\x1b[31m\u202ey"))
    x\\x1b[31m\\u202ey
    """
    return "".join(
        ascii(sign)[1:-1]
        if sign not in "\n\t"
        and unicodedata.category(sign) in _CONTROLS
        and not _joins(text, place)
        else sign
        for place, sign in enumerate(text)
    )


def has_controls(text: str) -> bool:
    """Whether the text has control, format or line-breaking characters."""
    return any(
        unicodedata.category(sign) in _CONTROLS - {"Cs"} and not _joins(text, place)
        for place, sign in enumerate(text)
    )


def _joins(text: str, place: int) -> bool:
    """Whether the character is a joiner or non-joiner between two characters that it can join."""
    around = text[max(0, place - 1) : place] + text[place + 1 : place + 2]
    if text[place] not in _JOINERS or len(around) != 2:
        return False
    return all(unicodedata.category(sign)[0] in _JOINED for sign in around)

"""Text from outside as it may be shown: on one line, without what steers a terminal, a calendar or
a reader's direction."""

import unicodedata

_STEERING = {"Cc", "Cf", "Cs", "Zl", "Zp"}
_JOINERS = "\u200c\u200d"
_JOINED = {"L", "M", "S"}


def clean_line(text: str, longest: int | None = None) -> str:
    """`text` on one line: control, format (bidi overrides too) and line-breaking characters become
    one space, then it is cut at `longest` characters (null: not at all).

    Joiners between emails or pictographs stay, as Persian, Hindi and family emoji are made with
    them.

    >>> clean_line("Rosewood\\r\\nBcc: x"), clean_line("a\\u202eb"), clean_line("Golden Hour", 8)
    ('Rosewood Bcc: x', 'a b', 'Golden…')
    """
    kept = "".join(
        " " if unicodedata.category(sign) in _STEERING and not _joins(text, place) else sign
        for place, sign in enumerate(text)
    )
    flat = " ".join(kept.split())
    if longest is None or len(flat) <= longest:
        return flat
    return flat[: longest - 1].rstrip() + "…"


def clean_lines(text: str) -> str:
    """The same for text that may have several lines: they are told apart by a line feed alone, and
    the first and the last have words.

    >>> clean_lines("Forms\\r\\n\\r\\n\\x07the gallery\\u2028rooms")
    'Forms\\n\\nthe gallery\\nrooms'
    """
    return "\n".join(clean_line(line) for line in text.splitlines()).strip("\n")


def _joins(text: str, place: int) -> bool:
    """Whether this is a joiner or a non-joiner between two signs that it can join."""
    around = text[max(0, place - 1) : place] + text[place + 1 : place + 2]
    if text[place] not in _JOINERS or len(around) != 2:
        return False
    return all(unicodedata.category(sign)[0] in _JOINED for sign in around)

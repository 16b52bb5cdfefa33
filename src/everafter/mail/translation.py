"""Emails in other languages: the phrases around them, and the filters in that language."""

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Any

from everafter.branding.model import ENGLISH
from everafter.mail import formatting

# Every phrase around an email, and the placeholder that it must have.
FRAME: dict[str, str] = {
    "greeting": "{name}",
    "greeting_without_name": "",
    "why_success": "",
    "why_transactional": "",
    "unsubscribe": "",
    "today": "",
    "tomorrow": "",
}
"""The keys of [frame] in words.LANGUAGE.toml."""

_RIGHT_TO_LEFT = frozenset({"ar", "fa", "he", "ur"})


@dataclass(frozen=True, slots=True)
class Words:
    """A language's phrases.

    frame: by the keys of FRAME. numbers: labels of the numbers block, messages with the number `n`.
    """

    language: str = ENGLISH
    frame: Mapping[str, str] = field(default_factory=dict)
    numbers: Mapping[str, str] = field(default_factory=dict)

    @property
    def labels(self) -> Mapping[str, str]:
        """The labels of the numbers block; in English, ours where the table has none."""
        is_english = self.language[:2] == ENGLISH
        return {**formatting.NUMBER_LABELS, **self.numbers} if is_english else self.numbers

    @property
    def direction(self) -> str:
        """`ltr` or `rtl`."""
        return "rtl" if self.language[:2] in _RIGHT_TO_LEFT else "ltr"


@lru_cache(maxsize=64)
def read_labels(text: str, language: str) -> Words:
    """The word table of a language.

    Raises:
        ValueError: the text is not TOML.
    """
    table = tomllib.loads(text)
    return Words(language, table.get("frame", {}), table.get("numbers", {}))


def filters_of(words: Words) -> dict[str, Callable[..., Any]]:
    """The filters of templates in a language other than English.

    `of_clients` and `vendor_terms` write English sentences, so they are not among them.
    """
    language = words.language
    days = {"today": words.frame.get("today", ""), "tomorrow": words.frame.get("tomorrow", "")}
    return {
        "number": partial(formatting.number, language=language),
        "count": partial(formatting.count, language=language),
        "days": partial(formatting.days, language=language),
        "soon": partial(formatting.soon, language=language, **days),
        "percent": partial(formatting.percent, language=language),
        "first_up": formatting.first_up,
        "moment": partial(formatting.moment, language=language),
    }

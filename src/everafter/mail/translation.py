"""Emails in other languages: the phrases around them, and template filters. Pure."""

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Any

from everafter.branding.model import ENGLISH
from everafter.mail import formatting

FRAME: dict[str, str] = {
    "greeting": "{name}",
    "greeting_without_name": "",
    "why_success": "",
    "why_transactional": "",
    "unsubscribe": "",
    "today": "",
    "tomorrow": "",
}
"""The keys of [frame] in phrases.LANGUAGE.toml, with the placeholder that each must contain."""

_RIGHT_TO_LEFT = frozenset({"ar", "fa", "he", "ur"})


@dataclass(frozen=True, slots=True)
class Phrases:
    """The phrases of a language.

    frame: by the keys of FRAME. numbers: labels of the numbers block, messages with the number `n`.
    """

    language: str = ENGLISH
    frame: Mapping[str, str] = field(default_factory=dict)
    numbers: Mapping[str, str] = field(default_factory=dict)

    @property
    def labels(self) -> Mapping[str, str]:
        """The labels of the numbers block; in English, ours for missing ones."""
        is_english = self.language[:2] == ENGLISH
        return {**formatting.NUMBER_LABELS, **self.numbers} if is_english else self.numbers

    @property
    def direction(self) -> str:
        """`ltr` or `rtl`."""
        return "rtl" if self.language[:2] in _RIGHT_TO_LEFT else "ltr"


@lru_cache(maxsize=64)
def read_phrases(text: str, language: str) -> Phrases:
    """Parse phrases.LANGUAGE.toml.

    Raises:
        ValueError: the text is not TOML, or nested too deeply.
    """
    try:
        table = tomllib.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    return Phrases(language, table.get("frame", {}), table.get("numbers", {}))


def filters_of(phrases: Phrases) -> dict[str, Callable[..., Any]]:
    """The template filters of a language other than English.

    `of_clients` and `vendor_terms` are missing, because they write English sentences.
    """
    language = phrases.language
    days = {"today": phrases.frame.get("today", ""), "tomorrow": phrases.frame.get("tomorrow", "")}
    return {
        "number": partial(formatting.number, language=language),
        "count": partial(formatting.count, language=language),
        "days": partial(formatting.days, language=language),
        "soon": partial(formatting.soon, language=language, **days),
        "percent": partial(formatting.percent, language=language),
        "first_up": formatting.first_up,
        "moment": partial(formatting.moment, language=language),
    }

"""Emails in other languages: the phrases around them, and the filters in that language."""

import math
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Any

from everafter.branding.model import ENGLISH
from everafter.core.i18n import choose_form
from everafter.mail import formatting
from everafter.mail.formatting import number_rows
from everafter.mail.model import RenderError

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
    """A language's phrases. frame: by the keys of FRAME. numbers: labels of the numbers block, each
    with one form for every plural category of the language, in CLDR order."""

    language: str = ENGLISH
    frame: Mapping[str, str] = field(default_factory=dict)
    numbers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

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
    frame, numbers = table.get("frame", {}), table.get("numbers", {})
    labels = {
        name: tuple(forms) if isinstance(forms, list) else (forms,)
        for name, forms in numbers.items()
    }
    return Words(language, frame, labels)


def translated_rows(
    facts: Mapping[str, Any], names: list[str], words: Words
) -> list[tuple[str, str]]:
    """The numbers block in another language: the rows that `number_rows` has, as (figure, label).

    Raises:
        RenderError: the word table has no label for one of them.
    """
    rows: list[tuple[str, str]] = []
    for name in names:
        if not number_rows(facts, [name]):
            continue
        value = facts[name]
        forms = words.numbers.get(name)
        if forms is None:
            raise RenderError(f"words.{words.language}.toml has no label for {name} in [numbers]")
        figure = formatting.number(value, words.language)
        if name == "limit_ratio":
            figure = formatting.percent(value, words.language)
        elif name == "days_to_next_wedding" and value < 1:
            figure = words.frame["today"]
        rows.append((figure, choose_form(math.floor(value), forms, words.language)))
    return rows


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

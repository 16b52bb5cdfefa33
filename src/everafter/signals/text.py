"""Signals put into sentences: each value as its unit and the language have it. Pure."""

import math
from collections.abc import Mapping
from typing import Any

import polars as pl

from everafter.core.i18n import (
    ENGLISH,
    format_number,
    format_share,
    format_small,
    whole_percent,
)
from everafter.core.messages import Kind, Value, format_message
from everafter.signals.model import CLIENT_SIGNALS, SIGNALS, Signal

_SIGNALS = {signal.name: signal for signal in (*SIGNALS, *CLIENT_SIGNALS)}
_INDEXES = frozenset({"churn_risk", "inactivity_probability"})
_RATIOS = frozenset({"limit_ratio"})  # shares of more than one
_WHOLE = frozenset({"days", "0–100"})
# yes, no, unknown: what CLDR has no words for
_WORDS = {
    "en": ("yes", "no", "unknown"),
    "de": ("ja", "nein", "unbekannt"),
    "fr": ("oui", "non", "inconnu"),
    "es": ("sí", "no", "desconocido"),
    "it": ("sì", "no", "sconosciuto"),
    "nl": ("ja", "nee", "onbekend"),
}


def format_sentence(text: str, facts: Mapping[str, Any], language: str = ENGLISH) -> str:
    """A playbook's sentence with a supplier's values in it.

    Args:
        text: in ICU MessageFormat (core/messages.py), its names those of signals.
        facts: by signal; null or absent: not known, which reads `unknown` in a plain placeholder.
        language: the sentence's.

    Raises:
        MessageError: the text does not follow the grammar.

    >>> text = "{days_since_login, plural, =0 {today} one {# day ago} other {# days ago}}"
    >>> [format_sentence(text, {"days_since_login": days}) for days in (0.4, 1.9, 12.7)]
    ['today', '1 day ago', '12 days ago']
    >>> facts = {"form_completion_rate": 0.5}
    >>> format_sentence("{form_completion_rate} von {clients_total}", facts, "de")
    '50\\xa0% von unbekannt'
    """

    def value(name: str) -> Value:
        found = facts.get(name)
        return Value(format_value(name, found, language), number_of(name, found), _key(found))

    return format_message(text, value, language)


def format_value(name: str, value: Any, language: str = ENGLISH) -> str:
    """One signal's value: shares as percent, days and counts whole, others with two decimals.

    >>> format_value("churn_risk", 0.7251), format_value("limit_ratio", 0.9)
    ('0.73', '90%')
    """
    yes, no, unknown = _WORDS.get(language.partition("-")[0], _WORDS[ENGLISH])
    if value is None:
        return unknown
    if isinstance(value, bool):
        return yes if value else no
    if not isinstance(value, int | float):
        return str(value)
    if is_share(name):
        return format_share(value, language)
    if isinstance(value, int) or _unit(name) in _WHOLE:
        return format_number(math.floor(value), language)
    return (
        format_small(value, language)
        if 0 < abs(value) < 0.01
        else format_number(value, language, 2)
    )


def number_of(name: str, value: Any) -> float | None:
    """The number that plural forms go by, which is the one that is written; null: there is none.

    >>> number_of("days_since_login", 1.9), number_of("client_activity", 0.004)
    (1, 1)
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if is_share(name):
        return whole_percent(value)
    return math.floor(value) if _unit(name) in _WHOLE else value


def is_share(name: str) -> bool:
    """Whether a signal is written as a percentage."""
    return name in _RATIOS or (_unit(name) == "0–1" and name not in _INDEXES)


def kinds_of(signals: Mapping[str, pl.DataType]) -> dict[str, Kind]:
    """What sentences may do with each of these signals."""
    return {name: _kind(name, dtype) for name, dtype in signals.items()}


def _kind(name: str, dtype: pl.DataType) -> Kind:
    if dtype == pl.Boolean():
        return "flag"
    if dtype == pl.String():
        return "text"
    return "share" if is_share(name) or name in _INDEXES else "number"


def _key(value: Any) -> str | None:
    """What `select` compares."""
    if value is None or value == "":
        return None
    return str(value).lower() if isinstance(value, bool) else str(value)


def _unit(name: str) -> str:
    signal: Signal | None = _SIGNALS.get(name)
    return signal.unit if signal else ""

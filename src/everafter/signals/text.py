"""Numbers as people say them, put into a playbook's sentences."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from everafter.signals.model import SIGNALS

_PLACE = re.compile(
    r"(?:\b([Ii]n|[Vv]or|[Ss]eit) )?\{([a-z][a-z0-9_]*)\}(?: (days ago|days|Tagen)\b)?"
)
# What no number reads well in: (before it, after it, the number).
_SMALL = {
    (None, "days ago", "0"): "less than a day ago",
    (None, "days ago", "1"): "1 day ago",
    (None, "days", "1"): "1 day",
    ("in", "days", "0"): "today",
    ("in", "days", "1"): "in 1 day",
    ("vor", "Tagen", "0"): "vor weniger als einem Tag",
    ("vor", "Tagen", "1"): "vor einem Tag",
    ("seit", "Tagen", "0"): "seit weniger als einem Tag",
    ("seit", "Tagen", "1"): "seit einem Tag",
    ("in", "Tagen", "0"): "heute",
    ("in", "Tagen", "1"): "in einem Tag",
}
_UNITS = {signal.name: signal.unit for signal in SIGNALS}
_UNKNOWN = "unknown"


def say(text: str, facts: Mapping[str, Any], value: Callable[[str, Any], str] | None = None) -> str:
    """`text` with every `{signal}` replaced by this supplier's number, and the day or none of days
    said as people do.

    Args:
        facts: by signal; what is null or absent reads 'unknown'.
        value: how a signal's value is written; null: `format_value`.

    >>> say("{days_since_login} days, {form_completion_rate} done", {"days_since_login": 12.7, "form_completion_rate": 0.5})
    '12 days, 50 % done'
    >>> say("{days_past_due} days ago", {"days_past_due": 1.4})
    '1 day ago'
    >>> say("Vor {days_past_due} Tagen; the wedding is in {days_to_wedding} days", {"days_past_due": 0.4, "days_to_wedding": 0})
    'Vor weniger als einem Tag; the wedding is today'
    """

    def fill_placeholder(match: re.Match[str]) -> str:
        before, name, after = match.groups()
        said = (value or format_value)(name, facts.get(name))
        small = _SMALL.get((before and before.lower(), after, said))
        if small is None:
            return " ".join(filter(None, (before, said, after)))
        return small[0].upper() + small[1:] if before and before[0].isupper() else small

    return _PLACE.sub(fill_placeholder, text)


def placeholders(text: str) -> list[str]:
    """The names in braces, in order of first use.

    >>> placeholders("{a} of {b}, {a}")
    ['a', 'b']
    """
    return list(dict.fromkeys(match[2] for match in _PLACE.finditer(text)))


def format_value(name: str, value: Any) -> str:
    """One signal's value in words: shares as percent, days and counts whole, the rest with two
    decimals at most.

    >>> format_value("churn_risk", 0.7251), format_value("limit_ratio", 0.9), format_value("payment_past_due", True)
    ('0.73', '90 %', 'yes')
    """
    if value is None:
        return _UNKNOWN
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not isinstance(value, int | float):
        return str(value)
    unit = _UNITS.get(name, "")
    if name == "limit_ratio" or (
        unit == "0–1" and name not in {"churn_risk", "inactivity_probability"}
    ):
        return f"{round(100 * value)} %"
    if isinstance(value, int) or unit == "days" or unit == "0–100":
        return f"{int(value)}"
    return f"{value:.2g}" if 0 < abs(value) < 0.01 else f"{value:.2f}"

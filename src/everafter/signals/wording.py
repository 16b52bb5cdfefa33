"""Numbers as people say them, put into a playbook's sentences."""

import re
from collections.abc import Mapping
from typing import Any

from everafter.signals.model import SIGNALS

_PLACE = re.compile(r"\{([a-z][a-z0-9_]*)\}( days\b)?")
_UNITS = {signal.name: signal.unit for signal in SIGNALS}
_UNKNOWN = "unknown"


def say(text: str, facts: Mapping[str, Any]) -> str:
    """`text` with every `{signal}` replaced by this supplier's number; what is null or absent reads 'unknown'.

    >>> say("{days_since_login} days, {form_completion_rate} done", {"days_since_login": 12.7, "form_completion_rate": 0.5})
    '12 days, 50 % done'
    >>> say("{days_past_due} days ago", {"days_past_due": 1.4})
    '1 day ago'
    """
    return _PLACE.sub(lambda match: _say_place(match, facts), text)


def placeholders(text: str) -> list[str]:
    """The names in braces, in order of first use.

    >>> placeholders("{a} of {b}, {a}")
    ['a', 'b']
    """
    return list(dict.fromkeys(match[1] for match in _PLACE.finditer(text)))


def _say_place(match: re.Match[str], facts: Mapping[str, Any]) -> str:
    said, days = say_value(match[1], facts.get(match[1])), match[2] or ""
    return said + (" day" if days and said == "1" else days)


def say_value(name: str, value: Any) -> str:
    """One signal's value in words: shares as percent, days and counts whole, the rest with two decimals at most.

    >>> say_value("churn_risk", 0.7251), say_value("limit_ratio", 0.9), say_value("payment_past_due", True)
    ('0.73', '90 %', 'yes')
    """
    if value is None:
        return _UNKNOWN
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not isinstance(value, int | float):
        return str(value)
    unit = _UNITS.get(name, "")
    if name == "limit_ratio" or (unit == "0–1" and name not in {"churn_risk", "silence_chance"}):
        return f"{round(100 * value)} %"
    if isinstance(value, int) or unit == "days" or unit == "0–100":
        return f"{int(value)}"
    return f"{value:.2g}" if 0 < abs(value) < 0.01 else f"{value:.2f}"

"""What a check of `everafter doctor` returns. Each slice has its own in `checks.py`."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from everafter.core.db import Connection
from everafter.core.formatting import plural
from everafter.core.settings import Settings

Status = Literal["ok", "warn", "bad"]


@dataclass(frozen=True, slots=True)
class Check:
    """The result of one check. do: what to do about it; empty when nothing."""

    name: str
    status: Status
    found: str
    do: str = ""


TableCheck = Callable[[Connection, Settings, datetime], Awaitable[list[Check]]]
"""Checks of the tables, as of a moment; within a transaction of the caller. Changes nothing."""


def format_age(age: timedelta) -> str:
    """An age in one unit.

    >>> format_age(timedelta(0)), format_age(timedelta(minutes=1)), format_age(timedelta(hours=2))
    ('less than a minute', '1 min', '2 h')
    >>> format_age(timedelta(hours=71)), format_age(timedelta(days=3))
    ('71 h', '3 days')
    """
    minutes = max(0, int(age.total_seconds() // 60))
    if minutes < 120:
        return f"{minutes} min" if minutes else "less than a minute"
    return f"{minutes // 60} h" if minutes < 72 * 60 else plural(minutes // 1440, "day")

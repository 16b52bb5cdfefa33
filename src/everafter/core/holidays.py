"""Public holidays by the `holidays` library, imported when first asked for: that takes 80 ms, and
most commands never ask."""

import re
from datetime import date
from typing import Any


def knows_holidays(code: str) -> bool:
    """Are holidays known for this ISO 3166 code: a country ("GB") or a subdivision ("GB-ENG")?"""
    try:
        _read_calendar(code, [2026])
    except LookupError:
        return False
    return True


def list_holidays(code: str, years: range) -> frozenset[date]:
    """The days that are public holidays there, in these years; years the library knows nothing of
    have none.

    Raises:
        LookupError: the code is not known; `knows_holidays` asks first.
    """
    return frozenset(_read_calendar(code, list(years)))


def _read_calendar(code: str, years: list[int]) -> Any:
    # The library looks a country up among its own attributes, so what cannot be one must not reach
    # it.
    if not _CODE.fullmatch(code):
        raise LookupError(f"{code!r} is no ISO 3166 code")
    from holidays import country_holidays

    country, _, subdivision = code.partition("-")
    try:
        return country_holidays(country, subdiv=subdivision or None, years=years)
    except NotImplementedError as error:
        raise LookupError(str(error)) from None


_CODE = re.compile(r"[A-Z]{2}(-[A-Z0-9]{1,3})?")

"""Public holidays by the `holidays` library. It is imported when first used: that takes 80 ms, and
most commands do not use it."""

import re
from datetime import date
from typing import Any


def knows_holidays(code: str) -> bool:
    """Whether holidays are known for an ISO 3166 code: a country ("GB") or a part ("GB-ENG")."""
    try:
        _read_calendar(code, [2026])
    except LookupError:
        return False
    return True


def list_holidays(code: str, years: range) -> frozenset[date]:
    """The public holidays of a code in these years; none for years that the library does not cover.

    Raises:
        LookupError: the code is not known; check it with `knows_holidays`.
    """
    return frozenset(_read_calendar(code, list(years)))


def _read_calendar(code: str, years: list[int]) -> Any:
    # The library looks a country up among its own attributes, so only valid codes may reach it.
    if not _CODE.fullmatch(code):
        raise LookupError(f"{code!r} is not an ISO 3166 code")
    from holidays import country_holidays

    country, _, subdivision = code.partition("-")
    try:
        return country_holidays(country, subdiv=subdivision or None, years=years)
    except NotImplementedError as error:
        raise LookupError(str(error)) from None


_CODE = re.compile(r"[A-Z]{2}(-[A-Z0-9]{1,3})?")

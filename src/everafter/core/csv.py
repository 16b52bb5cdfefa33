"""CSV for people to download. Pure."""

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Any

_FORMULA = frozenset("=+-@\t\r\n|%")


def write_csv(header: Sequence[str], rows: Iterable[Iterable[Any]]) -> str:
    """The rows as CSV (RFC 4180); text that a spreadsheet would run as a formula is escaped.

    >>> write_csv(["name", "score"], [["=1+1", 7], [None, -2.5]])
    "name,score\\r\\n'=1+1,7\\r\\n,-2.5\\r\\n"
    """
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(header)
    writer.writerows([escape_formula(value) for value in row] for row in rows)
    return out.getvalue()


def escape_formula(value: Any) -> Any:
    """Put an apostrophe before text that begins like a formula, even after spaces; other values
    are returned as they are."""
    if isinstance(value, str) and value.lstrip(" ")[:1] in _FORMULA:
        return "'" + value
    return value

"""Cursors of paged lists: the sort key of a page's last row, as text that clients pass back
unread.

Pure: no I/O, no clock.
"""

import base64
import binascii
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeVar
from uuid import UUID

from everafter.core.errors import InputError

T = TypeVar("T")


def write_cursor(*key: datetime | object) -> str:
    """Encode a sort key. Only the last field may contain spaces.

    >>> write_cursor(7, "inv 1")
    'NyBpbnYgMQ'
    """
    fields = [field.isoformat() if isinstance(field, datetime) else str(field) for field in key]
    return base64.urlsafe_b64encode(" ".join(fields).encode()).decode().rstrip("=")


def read_cursor(cursor: str | None, read: Callable[[str], T]) -> T | None:
    """Decode a cursor; null is the first page.

    >>> read_cursor(write_cursor(7, "inv 1"), lambda text: text.split(" ", 1))
    ['7', 'inv 1']

    Args:
        read: parses the fields, which are separated by spaces; raises ValueError or OverflowError
            when they are not a key of this list.

    Raises:
        InputError: the text is not a cursor of this list.
    """
    if cursor is None:
        return None
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        text = base64.b64decode(padded, altchars=b"-_", validate=True).decode()
        if "\0" in text:
            raise ValueError("PostgreSQL cannot store NUL characters")
        return read(text)
    except (binascii.Error, ValueError, OverflowError):
        raise InputError("cursor: this is not the next_cursor of an earlier page") from None


def read_time_and_id(text: str) -> tuple[datetime, UUID]:
    """Parse the key of a list that is sorted by time and id, for `read_cursor`.

    Raises:
        ValueError, OverflowError: it is not such a key.
    """
    at, _, row_id = text.partition(" ")
    return datetime.fromisoformat(at).astimezone(UTC), UUID(row_id)

"""Ids are the platform's own: which texts are ids, and which UUID a supplier's id becomes.

Pure: no I/O, no clock.
"""

import hashlib
import re
from typing import Any
from uuid import UUID

import polars as pl

from everafter.core.errors import InputError

NAMESPACE = UUID("450c6939-8980-4264-81d6-ffa431a0ace0")
"""Namespace of suppliers' UUIDs. Part of the API (docs/api.md): a change would rename all
suppliers."""

MAX_ID_CHARACTERS = 200

RULE = (
    f"an id is text of 1 to {MAX_ID_CHARACTERS} characters without control characters,"
    " or a whole number (beyond 9007199254740992 only as text)"
)

_UNFIT = re.compile("[\\x00-\\x1f\\x7f-\\x9f\\ud800-\\udfff]")
_EXACT = 2**53  # up to here each whole number has its own floating-point number
_UUID = re.compile(
    r"(?:urn:uuid:)?(\{)?([0-9a-f]{4}(?:-?[0-9a-f]{4}){7})(?(1)\})", re.IGNORECASE | re.ASCII
)
_CANONICAL = r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"
_REPLACEMENT = "\ufffd"


class NotASupplierIdError(InputError, ValueError):
    """A supplier's id is not an id. Also a ValueError, so that msgspec reports the field."""

    code = "not_a_supplier_id"


class NotAnIdError(InputError, ValueError):
    """The id of a client, a form or a ticket is not an id."""

    code = "not_an_id"


class SupplierId(UUID):
    """Type of parameters that identify a supplier; they are read by `read_supplier_id`.

    named: the id as the caller wrote it.
    """

    named: str

    def __init__(self, text: str, named: str | None = None) -> None:
        super().__init__(text)
        object.__setattr__(self, "named", named or text)  # UUIDs are immutable


class TextId(str):
    """Type of parameters that identify a client, a form or a ticket; they are read by `read_id`."""

    __slots__ = ()


def read_id(value: object) -> str | None:
    """The id in a JSON value, as text; null when it is not an id.

    >>> read_id(" inv-7 "), read_id(123), read_id(123.0), read_id(12.5), read_id(True)
    ('inv-7', '123', '123', None, None)
    """
    text = number_text(value) if isinstance(value, int | float) else value
    if not isinstance(text, str):
        return None
    text = text.strip()
    return text if 0 < len(text) <= MAX_ID_CHARACTERS and not _UNFIT.search(text) else None


def number_text(value: float, exact: int = _EXACT) -> str | None:
    """A whole number as text; null for a boolean, a fraction, infinity, and a float beyond `exact`,
    which may represent several whole numbers."""
    if isinstance(value, bool):
        return None
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) <= exact else None
    return str(value) if value.bit_length() <= 700 else None


def read_supplier_id(value: object) -> SupplierId:
    """The UUID of a supplier's id. A UUID in any spelling is used as it is; any other text becomes
    UUIDv5(`NAMESPACE`, text), with its case kept and surrounding whitespace removed.

    >>> read_supplier_id("{F47AC10B-58CC-4372-A567-0E02B2C3D479}")
    SupplierId('f47ac10b-58cc-4372-a567-0e02b2c3d479')
    >>> read_supplier_id(4711)
    SupplierId('85590ce3-d2f4-507d-bbcf-d38da8c53b48')

    Raises:
        NotASupplierIdError: it is not an id.
    """
    found = find_supplier_id(value)
    if found is None:
        raise NotASupplierIdError(f"{_shown(value)} cannot be a supplier's id: {RULE}")
    return found


def find_supplier_id(value: object) -> SupplierId | None:
    """`read_supplier_id`, but null for what is not an id."""
    text = read_id(value)
    found = _resolve(text) if text else None
    return SupplierId(found[0], text) if found else None


def read_text_id(value: object) -> TextId:
    """`read_id` for a parameter.

    Raises:
        NotAnIdError: it is not an id.
    """
    text = read_id(value)
    if text is None:
        raise NotAnIdError(f"{_shown(value)}: {RULE}")
    return TextId(text)


def name_of(supplier_id: UUID | str) -> str:
    """The supplier's id as the caller wrote it, for messages; else its UUID."""
    return supplier_id.named if isinstance(supplier_id, SupplierId) else str(supplier_id)


def resolve_supplier_ids(texts: pl.Series) -> pl.DataFrame:
    """`read_supplier_id` for a column. Lower-case UUIDs are kept; each other text is read once.

    Args:
        texts: ids as text; null where there is none.

    Returns:
        supplier_id: a UUID as text, null where the text is not an id; external_id: the text, null
        where it was a UUID.
    """
    frame = pl.DataFrame({"text": texts})
    is_plain = pl.col("text").str.contains(_CANONICAL)
    others = frame.filter(~is_plain)["text"].unique().to_list()
    if not others:
        return frame.select(supplier_id="text", external_id=pl.lit(None, pl.String))
    found = [_resolve(text) if (text := read_id(given)) else None for given in others]
    table = pl.DataFrame(
        {
            "text": others,
            "supplier_id": [one[0] if one else None for one in found],
            "external_id": [one[1] if one else None for one in found],
        },
        schema={"text": pl.String, "supplier_id": pl.String, "external_id": pl.String},
    )
    return frame.join(table, on="text", how="left", maintain_order="left").select(
        pl.when(is_plain).then("text").otherwise("supplier_id").alias("supplier_id"), "external_id"
    )


def _resolve(text: str) -> tuple[str, str | None] | None:
    """The UUID of an id's text, and the text unless it is a UUID. Null for text with U+FFFD: the
    original characters are lost, and two suppliers could become one."""
    if found := _UUID.fullmatch(text):
        return str(UUID(found[2])), None
    if _REPLACEMENT in text:
        return None
    return _uuid5(text), text


def _uuid5(text: str) -> str:
    """`uuid.uuid5(NAMESPACE, text)` as text, in a third of the time: a file may have 50,000."""
    found = hashlib.sha1(NAMESPACE.bytes + text.encode(), usedforsecurity=False).hexdigest()
    variant = "89ab"[int(found[16], 16) & 3]
    return f"{found[:8]}-{found[8:12]}-5{found[13:16]}-{variant}{found[17:20]}-{found[20:32]}"


def _shown(value: Any) -> str:
    is_word = value is None or isinstance(value, bool)
    text = {None: "null", True: "true", False: "false"}[value] if is_word else repr(value)
    return text if len(text) <= 60 else f"{text[:60]}…"

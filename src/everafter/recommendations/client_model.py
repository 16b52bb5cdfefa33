"""The columns that are read of a client, and the name of a client without one."""

from typing import Any

import polars as pl

RAW_SCHEMA: dict[str, Any] = {
    "supplier_id": pl.String(),
    "client_id": pl.String(),
    "name": pl.String(),
    "wedding_date": pl.Date(),
    "added_at": pl.Datetime("us", "UTC"),
    "last_active_at": pl.Datetime("us", "UTC"),
    "forms_sent": pl.Int64(),
    "forms_unanswered": pl.Int64(),
    "form_sent_at": pl.Datetime("us", "UTC"),
    "emails_unopened": pl.Int64(),
}
"""Columns of `queries.read_clients`."""

UNNAMED = {"en": "a couple", "de": "ein Paar"}
"""What a client without a name is called, by language."""

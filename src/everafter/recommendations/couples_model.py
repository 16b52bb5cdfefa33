"""What is read of a couple, and what one without a name is called."""

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
"""A couple as it is read; see `queries.read_couples`."""

UNNAMED = {"en": "a couple", "de": "ein Paar"}
"""What a couple without a name is called, by language."""

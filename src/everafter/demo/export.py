"""Export a simulated platform as files for `everafter import`."""

import gzip
from pathlib import Path

import polars as pl

from everafter.core.errors import InputError
from everafter.core.files import make_private, open_private
from everafter.demo.model import Market

_SUPPLIER_COLUMNS = (
    "id",
    "name",
    "email",
    "vendor_type",
    "plan",
    "country",
    "timezone",
    "mrr_minor",
    "client_limit",
)


def write_export(market: Market, folder: Path) -> list[Path]:
    """Write suppliers.csv, clients.csv and events.csv.gz. The same market gives the same bytes.

    Returns:
        The files written.

    Raises:
        InputError: the folder cannot be created or written to.
    """
    paths = [folder / name for name in ("suppliers.csv", "clients.csv", "events.csv.gz")]
    try:
        make_private(folder)
        events = events_table(market).write_csv(null_value="").encode()
        bodies = (
            suppliers_table(market).write_csv().encode(),
            clients_table(market).write_csv().encode(),
            gzip.compress(events, compresslevel=6, mtime=0),
        )
        for path, body in zip(paths, bodies, strict=True):
            with open_private(path, "wb") as file:
                file.write(body)
    except OSError as error:
        raise InputError(
            f"--export {folder}: cannot write there: {error.strerror or error}"
        ) from error
    return paths


def suppliers_table(market: Market) -> pl.DataFrame:
    """Return the suppliers with their values on the last day."""
    return market.suppliers.select(
        *_SUPPLIER_COLUMNS, pl.col("created_at").dt.date().alias("created_on")
    )


def clients_table(market: Market) -> pl.DataFrame:
    """Return every client ever added."""

    def value(name: str) -> pl.Expr:
        return pl.col("properties").str.json_path_match(f"$.{name}")

    added = market.events.filter(pl.col("type") == "client_added")
    return added.select(
        value("client_id").alias("id"),
        "supplier_id",
        pl.col("occurred_at").dt.date().alias("added_on"),
        value("wedding_date").alias("wedding_date"),
    )


def events_table(market: Market) -> pl.DataFrame:
    """Return the events with times as text."""
    return market.events.select(
        "message_id",
        "supplier_id",
        "type",
        pl.col("occurred_at").dt.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "properties",
    )

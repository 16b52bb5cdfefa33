"""Import a platform's export chunk by chunk. Repeatable; a bad row is rejected by itself."""

import asyncio
import csv
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, LiteralString

import msgspec
import polars as pl

from everafter.core.db import Connection, read_copy
from everafter.core.errors import InputError
from everafter.core.files import make_ours, make_private, open_private
from everafter.events.csv_rows import Broken
from everafter.events.files import LINE, Chunk, Kind, Source
from everafter.events.ingest import resolve, store_batch, store_waiting
from everafter.events.model import EARLIEST, BadValue, Checked
from everafter.events.queries import ensure_months, list_waiting_suppliers
from everafter.events.rules import check_events
from everafter.suppliers.model import TraitUpdate
from everafter.suppliers.rules import read_traits

_ORDER: tuple[Kind, ...] = ("suppliers", "events", "clients")
_SUFFIXES = (".csv", ".csv.gz", ".parquet")


@dataclass(slots=True)
class FileSummary:
    """The result of one file. rows = new + changed + already_there + rejected.

    bad_values: cells left out of imported rows. ignored_columns: not read. kept_columns: stored as
    additional traits. error: why reading stopped early.
    """

    file: str
    kind: str | None = None
    rows: int = 0
    new: int = 0
    changed: int = 0
    already_there: int = 0
    rejected: int = 0
    bad_values: int = 0
    rejects_file: str | None = None
    ignored_columns: list[str] = field(default_factory=list[str])
    kept_columns: list[str] = field(default_factory=list[str])
    error: str | None = None


@dataclass(slots=True)
class ImportSummary:
    """The result of an import. waited: earlier events whose supplier is known now."""

    files: list[FileSummary] = field(default_factory=list[FileSummary])
    waited: int = 0
    folded: int = 0
    seconds: float = 0


Report = Callable[[Source, FileSummary], None]
Fold = Callable[[Connection], Awaitable[int]]


def find_files(paths: Iterable[Path]) -> list[Path]:
    """The files to import: the named ones, and the importable ones in named folders.

    Raises:
        InputError: a path does not exist, or a folder has nothing to import.
    """
    found: list[Path] = []
    for path in paths:
        if not path.exists():
            raise InputError(f"{path}: there is no such file or folder")
        if path.is_dir():
            inside = sorted(
                file for file in path.iterdir() if file.name.lower().endswith(_SUFFIXES)
            )
            if not inside:
                raise InputError(f"{path}: no .csv, .csv.gz or .parquet file in this folder")
            found += inside
        else:
            found.append(path)
    return list(dict.fromkeys(found))


class Importer:
    """One import. The connection is in autocommit; every chunk is one transaction."""

    def __init__(
        self,
        conn: Connection,
        rejects: Path,
        event_names: dict[str, str],
        report: Report,
        fold: Fold,
    ) -> None:
        self._conn = conn
        self._rejects = rejects
        self._event_names = event_names
        self._report = report
        self._fold_pending = fold
        self._now = datetime.now(UTC)
        self.summary = ImportSummary()

    async def run(self, paths: list[Path]) -> ImportSummary:
        """Import the files, suppliers first, and fold everything. The summary names unreadable
        files."""
        sources: list[tuple[Source, FileSummary]] = []
        for path in paths:
            summary = FileSummary(str(path))
            self.summary.files.append(summary)
            try:
                source = Source(path)
            except InputError as error:
                summary.error = error.message
                continue
            summary.kind, summary.kept_columns = source.kind, source.kept
            sources.append((source, summary))
        for kind in _ORDER:
            for source, summary in sources:
                if source.kind == kind:
                    await self._import(source, summary)
            # also events that a server has stored meanwhile: clients are compared with them
            await self._fold()
        waiting = sorted(await list_waiting_suppliers(self._conn))
        async with self._conn.transaction():
            self.summary.waited += await store_waiting(self._conn, waiting)
        await self._fold()
        self.summary.seconds = (datetime.now(UTC) - self._now).total_seconds()
        return self.summary

    async def _import(self, source: Source, summary: FileSummary) -> None:
        take = {"suppliers": self._suppliers, "events": self._events, "clients": self._clients}[
            source.kind
        ]
        with RejectsFile(self._rejects, source.path, self._now) as rejects:
            chunks = source.chunks()
            try:
                while (chunk := await asyncio.to_thread(next, chunks, None)) is not None:
                    rejects.add_broken(chunk.broken)
                    summary.rejected += len(chunk.broken)
                    summary.rows += chunk.rows.height + len(chunk.broken)
                    if not chunk.rows.is_empty():
                        await take(source, chunk, summary, rejects)
                    self._report(source, summary)
            except InputError as error:
                summary.error = error.message
            finally:
                source.close()
            summary.ignored_columns = source.ignored
            summary.rejects_file = str(rejects.path) if rejects.count else None

    async def _fold(self) -> None:
        while folded := await self._fold_pending(self._conn):
            self.summary.folded += folded

    # ── the three kinds ───────────────────────────────────────────────────────────────────────────

    async def _suppliers(
        self, source: Source, chunk: Chunk, summary: FileSummary, rejects: "RejectsFile"
    ) -> None:
        at = self._date(source)
        # suppliers pass the check of events as messages without an event: one rule for ids
        raw = _raw(chunk.rows, "id", pl.lit("supplier"), None, pl.lit(at.isoformat()), None)
        checked = await asyncio.to_thread(check_events, raw, received_at=self._now)
        updates, bad = await asyncio.to_thread(_read_suppliers, chunk.rows, checked, at)
        self._name_values("bad_trait", bad, chunk, summary, rejects)
        nothing = Checked(checked.good.clear(), checked.rejects)
        async with self._conn.transaction():
            outcome = await store_batch(self._conn, nothing, updates, source=source.path.name)
        repeated = checked.good.height - len({one.supplier_id for one in updates})
        summary.new += outcome.suppliers.new
        summary.changed += outcome.suppliers.changed
        summary.already_there += outcome.suppliers.same + repeated
        self.summary.waited += outcome.waited
        self._refuse(checked.rejects, chunk, summary, rejects)

    def _date(self, source: Source) -> datetime:
        """The date of the file, so that an old export does not overwrite newer traits.

        Dates before EARLIEST are ignored: some archives unpack with a date of 1970 or 1980.
        """
        at = datetime.fromtimestamp(source.path.stat().st_mtime, UTC)
        return at if EARLIEST <= at <= self._now else self._now

    async def _events(
        self, source: Source, chunk: Chunk, summary: FileSummary, rejects: "RejectsFile"
    ) -> None:
        properties = pl.col("properties") if "properties" in chunk.rows.columns else None
        raw = _raw(
            chunk.rows,
            "supplier_id",
            pl.col("message_id"),
            pl.col("type"),
            pl.col("occurred_at"),
            properties,
        )
        checked = await asyncio.to_thread(
            check_events, raw, received_at=self._now, event_names=self._event_names
        )
        await self._take_events(source, checked, chunk, summary, rejects)

    async def _clients(
        self, source: Source, chunk: Chunk, summary: FileSummary, rejects: "RejectsFile"
    ) -> None:
        """Import a client as an event, unless there was already an event for it."""
        properties = await asyncio.to_thread(_client_properties, chunk.rows)
        message_id = pl.format("client:{}", "id")
        raw = _raw(
            chunk.rows,
            "supplier_id",
            message_id,
            pl.lit("client_added"),
            pl.col("added_on"),
            properties,
        )
        checked = await asyncio.to_thread(check_events, raw, received_at=self._now)
        reported = await _list_reported(self._conn, await resolve(self._conn, checked.good))
        summary.already_there += reported.height
        fresh = checked.good.join(reported, on="row", how="anti", maintain_order="left")
        await self._take_events(source, replace(checked, good=fresh), chunk, summary, rejects)

    async def _take_events(
        self,
        source: Source,
        checked: Checked,
        chunk: Chunk,
        summary: FileSummary,
        rejects: "RejectsFile",
    ) -> None:
        months = checked.good["occurred_at"].dt.truncate("1mo").unique().to_list()
        await ensure_months(self._conn, months)
        async with self._conn.transaction():
            outcome = await store_batch(self._conn, checked, [], source=source.path.name)
        summary.new += outcome.stored.new
        summary.already_there += outcome.stored.duplicates
        self.summary.waited += outcome.waited
        self._name_values("bad_value", checked.bad_values, chunk, summary, rejects)
        self._refuse(outcome.rejects, chunk, summary, rejects)
        await self._fold()  # after each chunk, so that few events are pending

    def _name_values(
        self,
        code: str,
        bad: list[BadValue],
        chunk: Chunk,
        summary: FileSummary,
        rejects: "RejectsFile",
    ) -> None:
        """Record the values that were left out of imported rows."""
        for one in bad:
            rejects.add(one.row, code, one.reason, chunk)
        summary.bad_values += len(bad)

    def _refuse(
        self, refused: pl.DataFrame, chunk: Chunk, summary: FileSummary, rejects: "RejectsFile"
    ) -> None:
        for row, code, reason in refused.select("row", "code", "reason").iter_rows():
            rejects.add(row, code, reason, chunk)
        summary.rejected += refused.height


def _raw(
    rows: pl.DataFrame,
    supplier_id: LiteralString,
    message_id: pl.Expr,
    kind: pl.Expr | None,
    occurred_at: pl.Expr,
    properties: pl.Expr | pl.Series | None,
) -> pl.DataFrame:
    """RAW_SCHEMA from a file's columns."""
    return rows.select(
        pl.col(LINE).alias("row"),
        pl.col(supplier_id).alias("supplier_id"),
        message_id.alias("message_id"),
        (pl.lit(None, pl.String) if kind is None else kind).alias("type"),
        occurred_at.alias("occurred_at"),
        (pl.lit(None, pl.String) if properties is None else properties).alias("properties"),
    )


def _read_suppliers(
    rows: pl.DataFrame, checked: Checked, at: datetime
) -> tuple[list[TraitUpdate], list[BadValue]]:
    """The traits of each supplier with a valid id, and the cells that cannot be used, by line."""
    good = {
        row: place
        for row, *place in checked.good.select("row", "supplier_id", "external_id").iter_rows()
    }
    updates: list[TraitUpdate] = []
    bad: list[BadValue] = []
    for row in rows.iter_rows(named=True):
        if row[LINE] not in good:
            continue
        supplier_id, external_id = good[row[LINE]]
        # an empty cell does not remove a trait
        cells = {
            name: value
            for name, value in row.items()
            if name not in {LINE, "id"} and value not in {None, ""}
        }
        traits, refused = read_traits(cells)
        # a later row wins over an earlier one; a repeated import has the same order
        updates.append(TraitUpdate(supplier_id, traits, at, external_id, row=row[LINE]))
        bad += [BadValue(row[LINE], f"column {one.trait}: {one.reason}") for one in refused]
    return updates, bad


def _client_properties(rows: pl.DataFrame) -> pl.Series:
    names = [name for name in ("wedding_date", "name") if name in rows.columns]
    texts = [
        msgspec.json.encode(
            {"client_id": row["id"], **{name: row[name] for name in names if row[name]}}
        ).decode()
        for row in rows.select("id", *names).iter_rows(named=True)
    ]
    return pl.Series("properties", texts, dtype=pl.String)


async def _list_reported(conn: Connection, clients: pl.DataFrame) -> pl.DataFrame:
    """The rows (`row`) of clients that are known from events, with the same wedding date or without
    one in the file."""
    client_id, wedding = (
        pl.col("properties").str.json_path_match(f"$.{name}").alias(name)
        for name in ("client_id", "wedding_date")
    )
    named = clients.select("row", "supplier_id", client_id, wedding)
    known = await read_copy(
        conn,
        """
        SELECT supplier_id, client_id, wedding_date AS known_date
        FROM clients
        JOIN unnest({suppliers}::uuid[], {clients}::text[]) AS named (supplier_id, client_id)
          USING (supplier_id, client_id)
        WHERE added_at IS NOT NULL
        """,
        {"supplier_id": pl.String(), "client_id": pl.String(), "known_date": pl.String()},
        {"suppliers": named["supplier_id"].to_list(), "clients": named["client_id"].to_list()},
    )
    same = pl.col("wedding_date").is_null() | (pl.col("wedding_date") == pl.col("known_date"))
    return (
        named.join(known.unique(["supplier_id", "client_id"]), on=["supplier_id", "client_id"])
        .filter(same)
        .select("row")
    )


class RejectsFile:
    """The file `<folder>/<file>-<time>.csv` with line, code, reason and row of each reject; created
    with the first one."""

    def __init__(self, folder: Path, source: Path, at: datetime) -> None:
        self.path = folder / f"{source.name}-{at:%Y%m%dT%H%M%SZ}.csv"
        self.count = 0
        self._file: Any = None
        self._writer: Any = None
        self._texts: tuple[Chunk | None, dict[int, str]] = (None, {})

    def __enter__(self) -> "RejectsFile":
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def add(self, row: int, code: str, reason: str, chunk: Chunk) -> None:
        if self._texts[0] is not chunk:
            self._texts = (chunk, dict(zip(chunk.rows[LINE], chunk.texts, strict=True)))
        self._write(row, code, reason, self._texts[1][row])

    def add_broken(self, broken: list[Broken]) -> None:
        for one in broken:
            self._write(one.line, one.code, one.reason, one.text)

    def _write(self, line: int, code: str, reason: str, text: str) -> None:
        if self._writer is None:
            make_ours(self.path.parent.parent)
            make_private(self.path.parent).chmod(0o700)
            self._file = open_private(self.path, newline="", encoding="utf-8")
            self._writer = csv.writer(self._file)
            self._writer.writerow(["line", "code", "reason", "row"])
        self._writer.writerow([line, code, reason, text])
        self.count += 1

"""The same events over every route and in files: stored rows, rejects and state are the same."""

import asyncio
import csv
import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from everafter.core.db import connection
from everafter.events.importing import Importer
from everafter.folding import fold_events
from helpers_server import Server
from test_events_http import key as key
from test_events_http import post

_DEEP = "[" * 40 + "]" * 40

# A call each: its name, its time and its properties, both as JSON has them.
EVENTS: list[tuple[str, str, str]] = [
    ("login", '"2026-03-01T10:00:00Z"', "{}"),
    ("login", '"2026-03-01T12:30:00.25+01:00"', "null"),
    ("login", "1772445600", '{"from": "phone"}'),
    ("login", "1772445600500", '"text"'),
    (
        "login",
        '"1772445600000"',
        '{"cut": "\\ud83d", "\\udc00": "whole \\ud83d\\ude00", "nul": "a\\u0000b"}',
    ),
    (
        "price_set",
        '"2026-03-02 08:00:00 UTC"',
        '{"amount": NaN, "before": -Infinity, "note": "NaN", "n": 1e999}',
    ),
    (
        "price_set",
        '"2026-03-02T09:00:00"',
        f'{{"deep": {_DEEP}, "long": {"9" * 400}, "digits": "{"9" * 400}", "n": 2}}',
    ),
    (
        "client_added",
        '"2026-03-03T09:00:00Z"',
        '{"client_id": 17.0, "wedding_date": "2027-06-19T22:00:00.000Z"}',
    ),
    (
        "client_added",
        '"2026-03-03T09:01:00Z"',
        '{"client_id": "b", "wedding_date": "TBD", "name": "G\\t& H\\n"}',
    ),
    (
        "client_added",
        '"2026-03-03T09:02:00Z"',
        '{"client_id": "c", "wedding_date": " 2027-06-21 ", "name": null}',
    ),
    ("client_added", '"2026-03-03T09:03:00Z"', '{"client_id": "d", "wedding_date": 1813442400000}'),
    (
        "client_added",
        '"2026-03-03T09:04:00Z"',
        '{"client_id": "e", "wedding_date": "2027-06-20T00:00:00Z"}',
    ),
    (
        "client_added",
        '"2026-03-03T09:05:00Z"',
        '{"client_id": "f", "wedding_date": "31/12/2027", "name": ["x"]}',
    ),
    (
        "client_added",
        '"2026-03-03T09:06:00Z"',
        '{"client_id": "twice", "wedding_date": "2027-09-09", "name": "Z"}',
    ),
    (
        "client_added",
        '"2026-03-03T09:06:00Z"',
        '{"client_id": "twice", "wedding_date": "2027-08-08", "name": "A"}',
    ),
    ("client_added", '"2026-03-03T09:07:00Z"', '{"wedding_date": "2027-09-09"}'),
    ("form_sent", '"2026-03-04T09:00:00Z"', '{"client_id": 17, "form_id": "contract"}'),
    (
        "form_completed",
        '"2026-03-04T10:00:00Z"',
        '{"client_id": "17", "form_id": "contract", "client_id": 17.0}',
    ),
    (
        "usage_reported",
        '"2026-03-05T09:00:00Z"',
        '{"resource": "seats", "used": "3.0", "limit": null}',
    ),
    (
        "usage_reported",
        '"2026-03-05T09:00:00Z"',
        '{"resource": "forms", "used": 8.0, "limit": 10.0}',
    ),
    (
        "usage_reported",
        '"2026-03-05T09:00:00Z"',
        '{"resource": "mails", "used": 8, "limit": "unlimited"}',
    ),
    ("usage_reported", '"2026-03-05T09:00:00Z"', '{"resource": "rooms", "used": NaN, "limit": 4}'),
    ("subscription_changed", '"2026-03-06T09:00:00Z"', '{"plan": "pro"}'),
    ("subscription_changed", '"2026-03-06T09:00:00Z"', '{"plan": "free"}'),
    (
        "ticket_opened",
        '"2026-03-07T09:00:00Z"',
        '{"ticket_id": 4.0, "subject": "It\\nbroke", "priority": {}}',
    ),
    ("login", '"once upon a time"', "{}"),
    ("feature_used", '"2026-03-08T09:00:00Z"', '"broken'.replace('"broken', "[]")),
]
TRAITS = (
    '{"Name": "Rose\\tStudio", "vendor type": "Hair & Make-up", "timezone": "europe/berlin", "mrr_minor": "2900.0",'
    ' "clientLimit": 40.0, "country": "Atlantis", "created_on": 1746921600, "Style": "rustic", "consent": "true"}'
)


@dataclass(frozen=True)
class Entrance:
    """Where events come in. `send` gives what was named, as (number of the event, code)."""

    name: str
    send: Callable[["Sender"], list[tuple[int, str]]]


@dataclass(frozen=True)
class Sender:
    """One supplier, whose events come in one way."""

    server: Server
    key: str
    supplier: str
    folder: Path

    def call(self, number: int, kind: str = "track") -> str:
        event, at, properties = EVENTS[number]
        return (
            f'{{"type": "{kind}", "userId": "{self.supplier}", "messageId": "m{number}", "event": "{event}",'
            f' "timestamp": {at}, "properties": {properties}}}'
        )

    def identify(self) -> str:
        return f'{{"type": "identify", "userId": "{self.supplier}", "messageId": "i", "traits": {TRAITS}}}'

    def post(self, body: str, path: str) -> list[tuple[int, str]]:
        answer = post(self.server, self.key, body.encode(), path)
        assert answer.status_code == 200, answer.text
        return [(one["index"], one["code"]) for one in answer.json()["rejected"]]

    def load(self, path: Path) -> list[tuple[int, str]]:
        """Import a file: what was named, by the number of its row."""

        async def run() -> Any:
            async with connection(self.server.database, autocommit=True) as conn:
                return await Importer(
                    conn, self.folder / "rejects", {}, lambda *_: None, fold_events
                ).run([path])

        [file] = asyncio.run(run()).files
        assert file.error is None
        if file.rejects_file is None:
            return []
        first = 1 if path.suffix == ".parquet" else 2
        with Path(file.rejects_file).open(newline="") as rejects:
            return [(int(row["line"]) - first, row["code"]) for row in csv.DictReader(rejects)]

    def rows(self) -> dict[str, list[Any]]:
        """The columns of events.csv; of times and properties the text that a file has in their place."""
        times = [json.loads(at) for _, at, _ in EVENTS]
        return {
            "message_id": [f"m{number}" for number in range(len(EVENTS))],
            "supplier_id": [self.supplier] * len(EVENTS),
            "type": [event for event, _, _ in EVENTS],
            "occurred_at": [str(at) for at in times],
            "properties": [properties for _, _, properties in EVENTS],
        }

    def supplier_row(self) -> dict[str, Any]:
        return {"id": self.supplier, **json.loads(TRAITS)}


def send_batch(sender: Sender, path: str = "/v1/batch") -> list[tuple[int, str]]:
    calls = [*(sender.call(number) for number in range(len(EVENTS))), sender.identify()]
    return sender.post(f'{{"batch": [{",".join(calls)}]}}', path)


def send_import(sender: Sender) -> list[tuple[int, str]]:
    return send_batch(sender, "/v1/import")


def send_calls(sender: Sender) -> list[tuple[int, str]]:
    named = [(len(EVENTS), code) for _, code in sender.post(sender.identify(), "/v1/i")]
    for number in range(len(EVENTS)):
        named += [(number, code) for _, code in sender.post(sender.call(number), "/v1/track")]
    return named


def send_posthog(sender: Sender) -> list[tuple[int, str]]:
    events = [
        f'{{"event": "{event}", "distinct_id": "{sender.supplier}", "uuid": "m{number}", "timestamp": {at},'
        f' "properties": {properties}}}'
        for number, (event, at, properties) in enumerate(EVENTS)
    ]
    events.append(
        f'{{"event": "$identify", "distinct_id": "{sender.supplier}", "uuid": "i", "$set": {TRAITS}}}'
    )
    return sender.post(f'{{"batch": [{",".join(events)}]}}', "/batch/")


def load_csv(sender: Sender) -> list[tuple[int, str]]:
    suppliers, events = sender.folder / "suppliers.csv", sender.folder / "events.csv"
    with suppliers.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(sender.supplier_row()))
        writer.writeheader()
        writer.writerow(sender.supplier_row())
    with events.open("w", newline="") as file:
        columns = sender.rows()
        writer = csv.writer(file, delimiter=";")
        writer.writerow(["Message ID", "supplier-id", "TYPE", "occurredAt", "properties"])
        writer.writerows(zip(*columns.values(), strict=True))
    return [*((len(EVENTS), code) for _, code in sender.load(suppliers)), *sender.load(events)]


def load_parquet(sender: Sender) -> list[tuple[int, str]]:
    suppliers, events = sender.folder / "suppliers.parquet", sender.folder / "events.parquet"
    pq.write_table(pa.Table.from_pylist([sender.supplier_row()]), suppliers)
    pl.DataFrame(sender.rows()).write_parquet(events)
    return [*((len(EVENTS), code) for _, code in sender.load(suppliers)), *sender.load(events)]


ENTRANCES = [
    Entrance("batch", send_batch),
    Entrance("import", send_import),
    Entrance("calls", send_calls),
    Entrance("posthog", send_posthog),
    Entrance("csv", load_csv),
    Entrance("parquet", load_parquet),
]
NAMED = [
    (3, "bad_value"),
    (5, "bad_value"),
    (6, "bad_value"),
    (8, "bad_value"),
    (12, "bad_value"),
    (15, "missing_property"),
    (20, "bad_value"),
    (21, "missing_property"),
    (24, "bad_value"),
    (25, "bad_time"),
    (26, "bad_properties"),
    (27, "bad_trait"),
]


def test_every_way_in_stores_the_same_events(server: Server, key: str, tmp_path: Path) -> None:
    def stored(supplier: str) -> list[Any]:
        return [
            server.sql(
                "SELECT message_id, type, occurred_at, properties FROM events WHERE supplier_id = %s"
                " ORDER BY substring(message_id FROM 2)::int",
                supplier,
            ),
            server.sql(
                "SELECT to_jsonb(c) - 'supplier_id' FROM clients c WHERE supplier_id = %s ORDER BY client_id",
                supplier,
            ),
            server.sql(
                "SELECT to_jsonb(t) - 'supplier_id' FROM tickets t WHERE supplier_id = %s ORDER BY ticket_id",
                supplier,
            ),
            server.sql(
                "SELECT to_jsonb(p) - 'supplier_id' - 'folded_at' FROM supplier_activity p WHERE supplier_id = %s",
                supplier,
            ),
            server.sql(
                "SELECT name, email, vendor_type, plan, country, timezone, mrr_minor, client_limit, created_at, consent, traits"
                " FROM suppliers WHERE id = %s",
                supplier,
            ),
        ]

    seen: dict[str, list[Any]] = {}
    for entrance in ENTRANCES:
        folder = tmp_path / entrance.name
        folder.mkdir()
        sender = Sender(server, key, str(uuid.uuid4()), folder)
        named = entrance.send(sender)
        assert sorted(set(named)) == NAMED, entrance.name
        server.wait_folded()
        seen[entrance.name] = stored(sender.supplier)
    for entrance in ENTRANCES[1:]:
        for one, other in zip(seen["batch"], seen[entrance.name], strict=True):
            assert one == other, entrance.name
    events, clients, _, [(activity,)], [supplier] = seen["batch"]
    properties = {message: found for message, _, _, found in events}
    assert properties["m4"] == {"cut": "\ufffd", "\ufffd": "whole 😀", "nul": "a\ufffdb"}
    assert properties["m5"] == {"amount": None, "before": None, "note": "NaN", "n": None}
    assert properties["m6"] == {"long": None, "digits": "9" * 400, "n": 2}
    days = {row["client_id"]: (row["name"], row["wedding_date"]) for (row,) in clients}
    assert days == {
        "17": (None, "2027-06-20"),
        "b": ("G & H", None),
        "c": (None, "2027-06-21"),
        "d": (None, "2027-06-20"),
        "e": (None, "2027-06-20"),
        "f": (None, None),
        "twice": ("A", "2027-08-08"),
    }
    assert activity["plan"] == "free"
    assert activity["usage_ratio"] == pytest.approx(0.8)
    assert supplier[:3] == ("Rose Studio", None, "hair_&_make_up")
    assert supplier[4:8] == (None, "Europe/Berlin", 2900, 40)
    assert supplier[10] == {"Style": "rustic"}

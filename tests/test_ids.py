"""The platform's own ids follow one rule over HTTP, in files and on the command line."""

import csv
import json
import re
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from everafter.cli import main
from everafter.core import ids
from everafter.core.ids import (
    NotASupplierIdError,
    find_supplier_id,
    read_id,
    read_supplier_id,
    resolve_supplier_ids,
)
from helpers_ids import NAMESPACE, REFUSED, SPELLINGS, TEXTS, supplier_of
from helpers_server import Server

ALL = [*TEXTS, *SPELLINGS]


# ── the rule ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_text_is_always_mapped_to_the_same_uuid() -> None:
    assert ids.NAMESPACE == NAMESPACE
    assert str(read_supplier_id("4711")) == "85590ce3-d2f4-507d-bbcf-d38da8c53b48"
    assert [str(read_supplier_id(text)) for text in ALL] == [supplier_of(text) for text in ALL]
    assert len({read_supplier_id(text) for text in TEXTS}) == len(TEXTS)
    assert {read_supplier_id(f"\t {text}\n") for text in TEXTS} == {
        read_supplier_id(text) for text in TEXTS
    }


def test_the_documented_example_is_true() -> None:
    text = (Path(__file__).parent.parent / "docs" / "api.md").read_text(encoding="utf-8")
    [command] = re.findall(r"^\$ python3 -c '(.+uuid5.+)'\n([0-9a-f-]{36})$", text, re.MULTILINE)
    printed = subprocess.run(
        [sys.executable, "-c", command[0]], capture_output=True, text=True, check=True
    ).stdout
    assert printed.strip() == command[1] == str(read_supplier_id("4711"))


@pytest.mark.parametrize(
    "value",
    [
        *REFUSED,
        "",
        None,
        True,
        [],
        {},
        47.5,
        float("nan"),
        float("inf"),
        2.0**53 + 2,
        10**300,
        "\ud83d",
    ],
)
def test_invalid_ids_are_refused_with_the_rule(value: Any) -> None:
    assert find_supplier_id(value) is None
    with pytest.raises(NotASupplierIdError, match="text of 1 to 200 characters"):
        read_supplier_id(value)


def test_whole_numbers_become_their_digits() -> None:
    assert [read_id(value) for value in (0, -0.0, 4711, 4711.0, -5, 2.0**53, 2**64, 12.25)] == [
        "0", "0", "4711", "4711", "-5", "9007199254740992", "18446744073709551616", None,
    ]  # fmt: skip


def test_a_column_follows_the_rule_for_one() -> None:
    column: list[str | None] = [*ALL, None, *REFUSED, *ALL]
    found = resolve_supplier_ids(pl.Series(column, dtype=pl.String))
    assert found["supplier_id"].to_list() == [
        None if (one := find_supplier_id(text)) is None else str(one) for text in column
    ]
    named = [text if text in TEXTS else None for text in column]
    assert found["external_id"].to_list() == named
    assert resolve_supplier_ids(pl.Series([str(uuid.uuid4())]))["external_id"].to_list() == [None]
    assert resolve_supplier_ids(pl.Series([], dtype=pl.String)).height == 0


# ── coming in ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def stored(server: Server) -> dict[str, tuple[str | None, int]]:
    """By supplier: the platform's own id, and how many events it has."""
    rows = server.sql(
        "SELECT id::text, external_id, (SELECT count(*) FROM events WHERE supplier_id = id) FROM suppliers"
    )
    return {supplier_id: (external_id, events) for supplier_id, external_id, events in rows}


def test_every_way_over_http_names_the_same_supplier(server: Server) -> None:
    key = server.key("ingest")

    def post(path: str, body: Any) -> dict[str, Any]:
        answer = httpx.post(
            server.base_url + path,
            json=body,
            headers={"Authorization": f"Bearer {key}"},
            timeout=30,
        )
        assert answer.status_code == 200, answer.text
        return answer.json()

    early = [
        {"type": "track", "event": "login", "userId": text, "messageId": f"early {place}"}
        for place, text in enumerate(ALL)
    ]
    waiting = post("/v1/batch", {"batch": early})["rejected"]
    assert {one["code"] for one in waiting} == {"unknown_supplier"} and len(waiting) == len(ALL)
    assert waiting[TEXTS.index("Studio-A")]["message"].startswith("supplier Studio-A is not known")

    known = [{"type": "identify", "userId": text, "traits": {"name": "A"}} for text in ALL]
    assert post("/v1/batch", {"batch": known})["rejected"] == []
    for place, text in enumerate(ALL):
        post("/v1/track", {"event": "login", "userId": text, "messageId": f"single {place}"})
        post("/v1/batch", {"batch": [
            {"type": "track", "event": "login", "userId": "a person", "groupId": text, "messageId": f"group {place}"},
        ]})  # fmt: skip
        post("/capture/", {"event": "login", "distinct_id": text, "uuid": f"posthog {place}"})
        post("/batch/", {"batch": [
            {"event": "login", "properties": {"distinct_id": "p", "$groups": {"supplier": text}}, "uuid": f"$group {place}"},
        ]})  # fmt: skip
    numbers = [
        {"type": "track", "event": "login", "userId": value, "messageId": f"{value!r}"}
        for value in (4711, 4711.0, 0)
    ]
    assert post("/v1/batch", {"batch": numbers})["accepted"] == 3
    assert post("/capture", {"event": "login", "distinct_id": 0, "uuid": "zero"})["accepted"] == 1

    more = {"4711": 2, "0": 2, SPELLINGS[0]: 5 * (len(SPELLINGS) - 1)}
    assert stored(server) == {
        supplier_of(text): (text if text in TEXTS else None, 5 + more.get(text, 0))
        for text in [*TEXTS, SPELLINGS[0]]
    }


def test_an_invalid_id_rejects_only_its_event(server: Server) -> None:
    values: list[Any] = [*REFUSED[:-1], True, {}, {"id": "4711"}, [], 4711.5, 1e17]
    events = [{"type": "identify", "userId": value, "traits": {"name": "A"}} for value in values]
    events.append({"type": "identify", "userId": "4711", "traits": {"name": "A"}})
    answer = httpx.post(
        f"{server.base_url}/v1/batch",
        json={"batch": events},
        headers={"Authorization": f"Bearer {server.key('ingest')}"},
    ).json()
    assert [(one["index"], one["code"]) for one in answer["rejected"]] == [
        (place, "not_a_supplier_id") for place in range(len(values))
    ]
    assert "text of 1 to 200 characters" in answer["rejected"][0]["message"]
    assert server.sql("SELECT external_id FROM suppliers") == [("4711",)]
    with server.client("read") as client:
        rejects = client.get("/api/rejects", params={"limit": 500}).json()["rejects"]
    assert [one["supplier_id"] for one in rejects if one["payload"]["supplier_id"] in ("true", "{}", "4711.5")] == [
        "4711.5", "{}", "true",
    ]  # fmt: skip


def test_ids_of_clients_and_their_kind_are_text_too(server: Server) -> None:
    def added(value: Any) -> dict[str, Any]:
        return {
            "type": "track",
            "userId": "s",
            "event": "client_added",
            "properties": {"client_id": value},
        }

    values = [123, 123.0, "123", " 123 ", "0123", "a/b", "Ärger 💐", True, 12.5, [], "x" * 201]
    batch = [{"type": "identify", "userId": "s"}, *map(added, values)]
    answer = httpx.post(
        f"{server.base_url}/v1/batch",
        json={"batch": batch},
        headers={"Authorization": f"Bearer {server.key('ingest')}"},
    ).json()
    assert [(one["index"], one["code"]) for one in answer["rejected"]] == [
        (place, "bad_property") for place in range(8, 12)
    ]
    server.wait_folded()
    assert sorted(name for (name,) in server.sql("SELECT client_id FROM clients")) == [
        "0123",
        "123",
        "a/b",
        "Ärger 💐",
    ]


# ── files ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def load(
    server: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Any:
    """`everafter import`: what became of each file, by its name."""
    monkeypatch.setenv("EVERAFTER_DATABASE_URL", server.database)
    monkeypatch.setenv("EVERAFTER_DATA", str(server.settings.data))

    def run(*paths: Path) -> dict[str, dict[str, Any]]:
        monkeypatch.setattr(sys, "argv", ["everafter", "import", "--json", *map(str, paths)])
        with pytest.raises(SystemExit):
            main()
        return {
            Path(file["file"]).name: file for file in json.loads(capsys.readouterr().out)["files"]
        }

    return run


AT = "2026-03-01T10:00:00Z"


def write_csv(path: Path, rows: list[dict[str, Any]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def test_files_name_the_same_suppliers(server: Server, load: Any, tmp_path: Path) -> None:
    suppliers = [{"id": text, "name": "A"} for text in ALL]
    events = [
        {"message_id": f"m{place}", "supplier_id": text, "type": "login", "occurred_at": AT}
        for place, text in enumerate(ALL)
    ]
    clients = [{"id": "123", "supplier_id": text, "added_on": "2026-03-01"} for text in ALL]
    for what, rows in {"events": events, "suppliers": suppliers, "clients": clients}.items():
        write_csv(tmp_path / f"{what}.csv", rows)
        pl.DataFrame(rows).write_parquet(tmp_path / f"{what}.parquet")
    first = load(*(tmp_path / f"{what}.csv" for what in ("events", "suppliers", "clients")))
    assert [file["rejected"] for file in first.values()] == [0, 0, 0]
    again = load(*(tmp_path / f"{what}.parquet" for what in ("events", "suppliers", "clients")))
    assert [(file["rejected"], file["new"]) for file in again.values()] == [(0, 0)] * 3
    assert {supplier_id: name for supplier_id, (name, _) in stored(server).items()} == {
        supplier_of(text): text if text in TEXTS else None for text in ALL
    }
    logins = "SELECT supplier_id::text, count(*) FROM events WHERE type = 'login' GROUP BY 1"
    assert dict(server.sql(logins)) == {supplier_of(text): ALL.count(text) for text in TEXTS} | {
        supplier_of(SPELLINGS[0]): len(SPELLINGS)
    }
    assert server.sql("SELECT count(*) FROM clients WHERE client_id = '123'") == [(len(TEXTS) + 1,)]


def test_columns_of_numbers_are_ids(server: Server, load: Any, tmp_path: Path) -> None:
    at, name = pa.array([AT] * 3), pa.array(["login"] * 3)
    known = uuid.uuid4()
    columns = {
        "int": pa.array([4711, 12, None], pa.int64()),
        "float": pa.array([4711.0, 12.5, float("nan")], pa.float64()),
        "single": pa.array([4711.0, 16777218.0, None], pa.float32()),
        "decimal": pa.array(["4711.00", "12.50", None]).cast(pa.decimal128(10, 2)),
        "bool": pa.array([True, None, False]),
        "bytes": pa.array([known.bytes, None, None], pa.binary(16)),
        "uuid": pa.array([known.bytes, None, None], pa.uuid()),
        "dictionary": pa.array(["4711", "Ä", None]).dictionary_encode(),
    }
    (tmp_path / "suppliers.csv").write_text(f"id,name\n4711,A\n12,B\n{known},C\nÄ,D\n")
    load(tmp_path / "suppliers.csv")
    rejected: dict[str, int] = {}
    for kind, column in columns.items():
        messages = pa.array([f"{kind} {row}" for row in range(3)])
        table = pa.table(
            {"message_id": messages, "supplier_id": column, "type": name, "occurred_at": at}
        )
        pq.write_table(table, tmp_path / f"events-{kind}.parquet")
        rejected[kind] = load(tmp_path / f"events-{kind}.parquet")[f"events-{kind}.parquet"][
            "rejected"
        ]
    assert rejected == {
        "int": 1, "float": 2, "single": 2, "decimal": 2, "bool": 3, "bytes": 2, "uuid": 2, "dictionary": 1,
    }  # fmt: skip
    assert dict(stored(server).values()) == {"4711": 5, "12": 1, None: 2, "Ä": 1}


def test_a_csv_column_of_floats_is_one_of_whole_numbers(
    server: Server, load: Any, tmp_path: Path
) -> None:
    """As pandas writes whole numbers where one is missing."""
    (tmp_path / "suppliers.csv").write_text("id,name\n4711.0,A\n12.0,B\n,C\n")
    (tmp_path / "clients.csv").write_text(
        "id,supplier_id,added_on\n5.0,4711.0,2026-03-01\n6.0,12.0,2026-03-01\n"
    )
    reported = load(tmp_path / "suppliers.csv", tmp_path / "clients.csv")
    assert [file["rejected"] for file in reported.values()] == [1, 0]
    assert {name for name, _ in stored(server).values()} == {"4711", "12"}
    assert server.sql("SELECT client_id FROM clients ORDER BY 1") == [("5",), ("6",)]

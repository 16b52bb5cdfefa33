"""`everafter import` with valid and broken exports."""

import csv
import gzip
import json
import os
import random
import shutil
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import polars as pl
import psycopg
import pytest

from everafter.cli import main
from everafter.core.settings import Settings
from everafter.events.files import LINE, Source
from everafter.events.importing import FileSummary, ImportSummary
from everafter.importer import print_summary

SUPPLIER, OTHER = str(uuid.uuid4()), str(uuid.uuid4())
NO_ID = "x" * 201
EVENTS_HEADER = "message_id,supplier_id,type,occurred_at,properties"
SUPPLIERS_HEADER = (
    "id,name,email,vendor_type,plan,country,timezone,mrr_minor,client_limit,created_on"
)
SUPPLIERS = f"{SUPPLIERS_HEADER}\n{SUPPLIER},Ann,ann@example.com,dj,pro,GB,Europe/London,2900,40,2025-05-11\n"


class Cli:
    """The command line over one database and data folder."""

    def __init__(
        self,
        settings: Settings,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        assert settings.database_url
        self.database = settings.database_url
        self.data = settings.data
        self._patch, self._capture = monkeypatch, capsys
        monkeypatch.setenv("EVERAFTER_DATABASE_URL", settings.database_url)
        monkeypatch.setenv("EVERAFTER_DATA", str(settings.data))
        self.errors = ""

    def run(self, *words: Any) -> tuple[int, str]:
        self._patch.setattr(sys, "argv", ["everafter", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
        out, self.errors = self._capture.readouterr()
        return int(ended.value.code or 0), out

    def load(self, *paths: Path) -> tuple[int, dict[str, Any]]:
        """`import --json`: the exit code, and per file its summary."""
        code, out = self.run("import", "--json", *paths)
        summary = json.loads(out)
        return code, {Path(file["file"]).name: file for file in summary["files"]} | {"all": summary}

    def sql(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        with psycopg.connect(
            self.database, options="-c search_path=everafter -c timezone=UTC"
        ) as conn:
            cursor = conn.execute(statement, values)  # pyright: ignore
            return cursor.fetchall() if cursor.description else []

    def state(self) -> list[Any]:
        """All that an import may change, except when and how often it was folded."""
        return [
            self.sql("SELECT * FROM suppliers ORDER BY id"),
            self.sql(
                "SELECT supplier_id, message_id, type, occurred_at, properties FROM events ORDER BY 1, 2"
            ),
            self.sql("SELECT * FROM clients ORDER BY supplier_id, client_id"),
            self.sql(
                "SELECT to_jsonb(supplier_activity) FROM supplier_activity ORDER BY supplier_id"
            ),
            self.sql("SELECT * FROM event_types ORDER BY type"),
            self.sql("SELECT count(*) FROM events_pending"),
        ]


@pytest.fixture
def cli(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Cli:
    return Cli(settings, monkeypatch, capsys)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An export of one supplier, two clients and twenty events."""
    folder = tmp_path / "export"
    folder.mkdir()
    (folder / "suppliers.csv").write_text(SUPPLIERS)
    rows = [
        EVENTS_HEADER,
        f'a-0,{SUPPLIER},client_added,2026-01-05T10:00:00Z,"{{""client_id"":""c1"",""wedding_date"":""2026-08-01""}}"',
    ]
    rows += [f"a-{day},{SUPPLIER},login,2026-01-{day:02}T10:00:00Z," for day in range(1, 20)]
    with gzip.open(folder / "events.csv.gz", "wt") as file:
        file.write("\n".join(rows) + "\n")
    (folder / "clients.csv").write_text(
        f"id,supplier_id,added_on,wedding_date\nc1,{SUPPLIER},2026-01-05,2026-08-01\nc2,{SUPPLIER},2026-01-06,2026-09-12\n"
    )
    return folder


def events_file(folder: Path, *rows: str, name: str = "events.csv") -> Path:
    path = folder / name
    path.write_text("\n".join([EVENTS_HEADER, *rows]) + "\n")
    return path


def rejected(cli: Cli, summary: dict[str, Any]) -> list[tuple[int, str, str]]:
    with Path(summary["rejects_file"]).open(newline="") as file:
        return [(int(row["line"]), row["code"], row["reason"]) for row in csv.DictReader(file)]


def test_an_import_can_be_repeated(cli: Cli, folder: Path) -> None:
    code, first = cli.load(folder)
    assert code == 0
    assert {name: (file["rows"], file["new"]) for name, file in first.items() if name != "all"} == {
        "suppliers.csv": (1, 1),
        "events.csv.gz": (20, 20),
        "clients.csv": (2, 1),
    }
    assert first["clients.csv"]["already_there"] == 1, "c1 is known from an event"
    assert first["all"]["folded"] == 21
    before = cli.state()
    assert before[0][0][1:8] == ("Ann", "ann@example.com", "dj", "pro", "GB", "Europe/London", 2900)
    code, second = cli.load(folder)
    assert code == 0
    assert [
        file["new"] + file["changed"] + file["rejected"]
        for name, file in second.items()
        if name != "all"
    ] == [0, 0, 0]
    assert cli.state() == before
    assert cli.sql("SELECT message_id FROM events WHERE message_id LIKE 'client:%%'") == [
        ("client:c2",)
    ]
    months = cli.sql("SELECT DISTINCT tableoid::regclass::text FROM events")
    assert months == [("events_2026_01",)]


def test_order_splitting_and_format_of_files_do_not_matter(
    cli: Cli, folder: Path, tmp_path: Path
) -> None:
    cli.load(folder)
    whole = cli.state()
    cli.sql(
        "TRUNCATE suppliers, events, event_ids, supplier_activity, clients, sent_items, tickets, event_types, features CASCADE"
    )
    parts = tmp_path / "parts"
    parts.mkdir()
    rows = gzip.decompress((folder / "events.csv.gz").read_bytes()).decode().splitlines()[1:]
    random.Random(3).shuffle(rows)
    late = events_file(parts, *rows[:11], name="events-late.csv")
    early = parts / "history.parquet"
    pl.read_csv(
        events_file(parts, *rows[8:], name="events-early.csv"),
        schema_overrides={"message_id": pl.String},
    ).with_columns(
        pl.col("occurred_at").str.to_datetime("%Y-%m-%dT%H:%M:%SZ", time_zone="UTC")
    ).write_parquet(early)
    shutil.copystat(folder / "suppliers.csv", folder / "suppliers.csv")
    code, summary = cli.load(late, folder / "clients.csv", early, folder / "suppliers.csv")
    assert code == 0
    assert summary["events-late.csv"]["new"] + summary["history.parquet"]["new"] == 20
    again = cli.state()
    for table, (one, other) in enumerate(zip(whole, again, strict=True)):
        strip = (lambda rows: [row[:11] for row in rows]) if table == 0 else (lambda rows: rows)
        assert strip(one) == strip(other)


def test_invalid_rows_are_reported_by_line_and_the_others_stored(cli: Cli, folder: Path) -> None:
    good = f"{SUPPLIER},login,2026-02-01T10:00:00Z,"
    rows = [
        f"b-1,{good}",
        f"b-2,{good},one,too,many",
        f'b-3,{SUPPLIER},form_sent,2026-02-01T10:00:00Z,"{{""client_id"":""c',
        f"b-4,{good}",
        f'b-5,{SUPPLIER},client_active,2026-02-01T10:00:00Z,"{{""client_id"":""c1"",\n""note"":""two lines""}}"',
        f"b-6,{NO_ID},login,2026-02-01T10:00:00Z,",
        f"b-7,{OTHER},login,2026-02-01T10:00:00Z,",
        f"b-8,{SUPPLIER},login,31/01/2026,",
        f"b-9,{SUPPLIER},login,2031-01-01T00:00:00Z,",
        f'b-10,{SUPPLIER},usage_reported,2026-02-01T10:00:00Z,"{{""resource"":""clients"",""used"":-4,""limit"":40}}"',
        f"b-11,{SUPPLIER},client_lost,2026-02-01T10:00:00Z,",
        f",{good}",
        f"b-13,{SUPPLIER},,2026-02-01T10:00:00Z,",
        f"b-14,{SUPPLIER},login,2026-02-01T10:00:00Z,not json",
        "",
        f'b-15,"{SUPPLIER}"x,login,2026-02-01T10:00:00Z,',
        f"b-16,{SUPPLIER},login,,",
        f"b-17,{good}",
    ]
    cli.load(folder / "suppliers.csv")
    code, summary = cli.load(events_file(folder, *rows))
    assert code == 1
    file = summary["events.csv"]
    assert (file["rows"], file["new"], file["rejected"], file["bad_values"]) == (17, 5, 12, 1)
    found = rejected(cli, file)
    assert sorted((line, kind) for line, kind, _ in found) == [
        (3, "bad_row"),
        (4, "bad_row"),
        (8, "not_a_supplier_id"),
        (9, "unknown_supplier"),
        (10, "bad_time"),
        (11, "future"),
        (12, "bad_property"),
        (13, "missing_property"),
        (14, "no_message_id"),
        (15, "no_type"),
        (16, "bad_value"),
        (18, "bad_row"),
        (19, "bad_time"),
    ]
    reasons = {line: reason for line, _, reason in found}
    assert reasons[3] == "8 fields, but the header has 5"
    assert "property used is not a number, at least 0" in reasons[12]
    assert [row for (row,) in cli.sql("SELECT message_id FROM events ORDER BY message_id")] == [
        "b-1",
        "b-14",
        "b-17",
        "b-4",
        "b-5",
    ]
    assert cli.load(folder / "events.csv")[1]["events.csv"]["new"] == 0
    assert cli.sql("SELECT code, supplier_id FROM rejects") == [("unknown_supplier", OTHER)], (
        "it waits once"
    )
    (folder / "suppliers.csv").write_text(SUPPLIERS + f"{OTHER},Bob,,,,,,,,\n")
    assert cli.load(folder / "suppliers.csv")[1]["all"]["waited"] == 1
    assert cli.sql("SELECT events_total FROM supplier_activity WHERE supplier_id = %s", OTHER) == [
        (1,)
    ]


def test_a_row_that_is_not_utf8_is_rejected_alone(cli: Cli, folder: Path) -> None:
    cli.load(folder / "suppliers.csv")
    line = f"%s,{SUPPLIER},login,2026-02-01T10:00:00Z,\n".encode()
    path = folder / "events.csv"
    path.write_bytes(
        EVENTS_HEADER.encode() + b"\n" + line % b"u-1" + line % b"u-\xe9" + line % b"u-3"
    )
    code, summary = cli.load(path)
    assert (code, summary["events.csv"]["new"]) == (1, 2)
    [(line, kind, reason)] = rejected(cli, summary["events.csv"])
    assert (line, kind) == (3, "bad_utf8")
    assert reason.startswith(
        "byte 3 of the line is not UTF-8 (0xe9); if the file is in Latin-1 or Windows-1252, save it"
    )


def test_rows_before_a_truncated_gzip_end_are_stored(cli: Cli, folder: Path) -> None:
    rows = [
        f"t-{n},{SUPPLIER},login,2026-02-01T10:00:00Z,{uuid.uuid4()}".replace(",{", ",")
        for n in range(2000)
    ]
    text = "\n".join([EVENTS_HEADER, *(row.rsplit(",", 1)[0] + "," for row in rows)]) + "\n"
    (folder / "events.csv.gz").write_bytes(gzip.compress(text.encode())[:-2000])
    code, summary = cli.load(folder)
    file = summary["events.csv.gz"]
    assert code == 2
    assert file["error"].startswith(
        f"{folder / 'events.csv.gz'}: the gzip data ends early, after line "
    )
    kept = cli.sql("SELECT count(*) FROM events WHERE message_id LIKE 't-%%'")[0][0]
    assert 0 < kept < 2000
    assert kept == file["new"]
    assert summary["clients.csv"]["new"] == 2, "the other files are taken"


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        (
            "events.csv",
            b"message_id,supplier_id,type\na,b,c\n",
            "line 1: column occurred_at is missing; found: message_id",
        ),
        (
            "events.csv",
            b"message_id,message_id,supplier_id,type,occurred_at\n",
            "column message_id appears twice",
        ),
        ("data.csv", b"a,b\n1,2\n", "line 1: these columns are neither suppliers"),
        (
            "contacts.csv",
            b"id,supplier_id,name,email,role,added_on\nu1,s1,Ada,a@s1.example,owner,2025-01-01\n",
            "contacts, the people at a supplier, cannot be imported; if these are clients, name",
        ),
        ("events.csv", b"", "the file is empty"),
        (
            "events.csv",
            "message_id,typ\n".encode("utf-16"),
            "not CSV in UTF-8 but text in UTF-16; save it as UTF-8",
        ),
        (
            "events.csv.gz",
            b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff" + b"\xff" * 99,
            "damaged after line 0",
        ),
        ("events.parquet", b"PAR1 and nothing else", "not a readable Parquet file"),
    ],
)
def test_unreadable_files_are_reported_by_name(
    cli: Cli, folder: Path, name: str, content: bytes, said: str
) -> None:
    path = folder / name
    path.write_bytes(content)
    code, summary = cli.load(folder / "suppliers.csv", path)
    assert code == 2
    assert said in summary[name]["error"]
    assert str(path) in summary[name]["error"]
    assert said.split(" ")[0] in cli.errors
    assert summary["suppliers.csv"]["new"] == 1


def test_a_missing_path_is_reported(cli: Cli, tmp_path: Path) -> None:
    assert cli.run("import", tmp_path / "nowhere")[0] == 2
    assert "nowhere: there is no such file or folder" in cli.errors.replace("\n", "")
    (tmp_path / "empty").mkdir()
    assert cli.run("import", tmp_path / "empty")[0] == 2
    assert "no .csv, .csv.gz or .parquet file" in cli.errors


def test_an_invalid_trait_is_reported_and_the_supplier_stored(cli: Cli, folder: Path) -> None:
    (folder / "suppliers.csv").write_text(
        f"id,name,country,timezone,mrr_minor,style\n{SUPPLIER},Ann,XX,Nowhere,-5,rustic\n{NO_ID},Bob,,,,\n"
    )
    code, summary = cli.load(folder / "suppliers.csv")
    file = summary["suppliers.csv"]
    assert (code, file["new"], file["bad_values"], file["rejected"]) == (1, 1, 3, 1)
    assert [(line, kind) for line, kind, _ in rejected(cli, file)] == [(2, "bad_trait")] * 3 + [
        (3, "not_a_supplier_id")
    ]
    assert cli.sql("SELECT name, country, traits FROM suppliers") == [
        ("Ann", None, {"style": "rustic"})
    ]


def test_an_old_export_does_not_overwrite_newer_traits(cli: Cli, folder: Path) -> None:
    path = folder / "suppliers.csv"
    os.utime(path, (1_700_000_000, 1_700_000_000))
    cli.load(path)
    newer = folder / "suppliers-new.csv"
    newer.write_text(f"id,plan\n{SUPPLIER},studio\n")
    assert cli.load(newer)[1]["suppliers-new.csv"]["changed"] == 1
    assert cli.load(path)[1]["suppliers.csv"]["already_there"] == 1
    assert cli.sql("SELECT plan, name FROM suppliers") == [("studio", "Ann")]


def test_a_file_with_an_implausible_date_counts_as_of_now(cli: Cli, folder: Path) -> None:
    path = folder / "suppliers.csv"
    for date in (0, 315_532_800):  # as archives without dates unpack
        path.write_text(f"id,plan\n{SUPPLIER},from {date}\n")
        os.utime(path, (date, date))
        assert cli.load(path)[1]["suppliers.csv"]["rejected"] == 0
        assert cli.sql("SELECT plan FROM suppliers") == [(f"from {date}",)]


def test_ids_rounded_by_excel_are_rejected_by_line(cli: Cli, folder: Path) -> None:
    (folder / "suppliers.csv").write_text("id,name\n1.23E+15,Ann\n1.23E+16,Ben\nnan,Cy\nkept,Di\n")
    code, summary = cli.load(folder / "suppliers.csv")
    named = [(line, kind) for line, kind, _ in rejected(cli, summary["suppliers.csv"])]
    assert (code, named) == (
        1,
        [(2, "not_a_supplier_id"), (3, "not_a_supplier_id"), (4, "no_supplier")],
    )
    assert cli.sql("SELECT external_id FROM suppliers") == [("kept",)]


def test_the_summary_is_a_table(cli: Cli, folder: Path) -> None:
    code, out = cli.run("import", folder)
    assert code == 0
    assert "already there" in out
    assert "21 events folded" in out


@pytest.mark.parametrize(
    ("number", "lines"),
    [
        (0, ["0 events folded; 0.0 s"]),
        (
            1,
            [
                "a.csv: 1 value could not be used; its row was imported without it",
                "1 event that had waited for its supplier was stored",
                "1 event folded; 0.0 s",
            ],
        ),
        (
            2,
            [
                "a.csv: 2 values could not be used; their rows were imported without them",
                "2 events that had waited for their supplier were stored",
                "2 events folded; 0.0 s",
            ],
        ),
        (
            1500,
            [
                "a.csv: 1,500 values could not be used; their rows were imported without them",
                "1,500 events that had waited for their supplier were stored",
                "1,500 events folded; 0.0 s",
            ],
        ),
    ],
)
def test_what_was_imported_is_counted(
    number: int, lines: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    file = FileSummary("a.csv", bad_values=number)
    print_summary(ImportSummary([file], waited=number, folded=number))
    assert capsys.readouterr().out.splitlines()[2:] == lines


def test_clients_that_events_have_added_are_explained(capsys: pytest.CaptureFixture[str]) -> None:
    files = [
        FileSummary("clients.csv", "clients", rows=3, new=2, already_there=1),
        FileSummary("events.csv.gz", "events", rows=3, already_there=3),
    ]
    print_summary(ImportSummary(files))
    assert capsys.readouterr().out.splitlines()[3:-1] == [
        "clients.csv: 1 client was known already, from events (which are imported first) or an"
        " earlier import"
    ]


def test_each_unclosed_quote_rejects_one_row(tmp_path: Path) -> None:
    rng = random.Random(11)
    rows, broken = [], set[int]()
    for line in range(2, 5000):
        if rng.random() < 0.02:
            broken.add(line)
            rows.append(f'{line},s,t,"{{""a"": open')
        else:
            rows.append(f'{line},s,t,"{{""a"": {line}}}"')
    path = tmp_path / "events.csv"
    path.write_text("\n".join(["message_id,supplier_id,type,occurred_at", *rows]))
    with Source(path) as source:
        chunks = list(source.chunks())
    assert {one.line for chunk in chunks for one in chunk.broken} == broken
    assert [line for chunk in chunks for line in chunk.rows[LINE]] == [
        line for line in range(2, 5000) if line not in broken
    ]
    assert all(
        str(row[LINE]) == row["message_id"]
        for chunk in chunks
        for row in chunk.rows.iter_rows(named=True)
    )


def test_the_installed_command_imports_a_folder(cli: Cli, folder: Path) -> None:
    command = [str(Path(sys.executable).parent / "everafter"), "import", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == "", "no progress bar where nobody looks"


def test_a_rejected_parquet_row_is_written_in_full(cli: Cli, folder: Path) -> None:
    cli.load(folder / "suppliers.csv")
    odd = folder / "events-odd.parquet"
    pl.DataFrame(
        {
            "message_id": ["odd-1", "odd-2"],
            "supplier_id": [SUPPLIER, SUPPLIER],
            "type": ["login", "login"],
            "occurred_at": ["2026-01-31T09:30:00Z", "never"],
            "properties": ['{"note":\n"two lines"}', '{"note":\n"a\u2028b"}'],
        }
    ).write_parquet(odd)
    reported = cli.load(odd)[1]["events-odd.parquet"]
    assert (reported["new"], reported["rejected"]) == (1, 1) and reported["error"] is None
    with Path(reported["rejects_file"]).open(newline="", encoding="utf-8") as file:
        [row] = csv.DictReader(file)
    assert (row["line"], row["code"]) == ("2", "bad_time")
    assert next(csv.reader([row["row"]]))[:4] == ["odd-2", SUPPLIER, "login", "never"]

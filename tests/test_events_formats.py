"""Files as spreadsheets, databases and people write them."""

import csv
import gzip
import io
import zipfile
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from everafter.core.errors import InputError
from everafter.events.files import LINE, Source
from everafter.events.formats import describe_format

ROWS = [{"id": "s1", "name": "Ann"}, {"id": "s2", "name": "Ben"}]


def read(path: Path, content: bytes | str) -> tuple[list[dict[str, Any]], Source]:
    """The rows of a file without their line numbers, and its source; no row may be broken."""
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with Source(path) as source:
        chunks = list(source.chunks())
    assert [one for chunk in chunks for one in chunk.broken] == []
    return [row for chunk in chunks for row in chunk.rows.drop(LINE).iter_rows(named=True)], source


def refuse(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        Source(path)
    assert str(path) in caught.value.message
    return caught.value.message


def zipped(*names: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names:
            archive.writestr(name, "id,name\n")
    return buffer.getvalue()


TEXT = "id,name\ns1,Ann\n"


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        (
            "suppliers.csv",
            zipped("[Content_Types].xml", "xl/workbook.xml"),
            "an Excel workbook; save it as CSV",
        ),
        ("suppliers.xlsx", b"PK\x03\x04" + bytes(60), "an Excel workbook; save it as CSV"),
        (
            "suppliers.csv",
            zipped("mimetype", "suppliers.csv").replace(b"id,name", b"id,name"),
            "a ZIP archive; unpack it",
        ),
        ("suppliers.ods", zipped("mimetype"), "an OpenDocument spreadsheet"),
        ("suppliers.csv.gz", gzip.compress(zipped("xl/workbook.xml")), "an Excel workbook"),
        (
            "suppliers.csv",
            b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(99),
            "an old Excel workbook (.xls)",
        ),
        ("suppliers.csv", TEXT.encode("utf-16"), "text in UTF-16; save it as UTF-8"),
        ("suppliers.csv", TEXT.encode("utf-16-le"), "text in UTF-16"),
        ("suppliers.csv", TEXT.encode("utf-16-be"), "text in UTF-16"),
        ("suppliers.csv", TEXT.encode("utf-32"), "text in UTF-32"),
        ("suppliers.csv", TEXT.encode("utf-32-be"), "text in UTF-32"),
        ("suppliers.csv.gz", gzip.compress(TEXT.encode("utf-16")), "text in UTF-16"),
        ("suppliers.csv.gz", gzip.compress(gzip.compress(TEXT.encode())), "packed with gzip twice"),
        ("suppliers.csv", b"BZh91AY&SY" + bytes(9), "packed with bzip2"),
        ("suppliers.csv", b"\xfd7zXZ\x00" + bytes(9), "packed with xz"),
        ("suppliers.csv", b"\x28\xb5\x2f\xfd" + bytes(9), "packed with Zstandard"),
        ("suppliers.csv", bytes(257) + b"ustar" + bytes(200), "a TAR archive"),
        ("suppliers.csv", b"%PDF-1.7\n", "a PDF"),
        (
            "suppliers.csv",
            b"\n <!DOCTYPE html><html><body>Sign in</body></html>",
            "an HTML page, perhaps of a sign-in",
        ),
        ("suppliers.csv", b"<table><tr><td>id</td></tr></table>", "an HTML page"),
        ("suppliers.csv", b'<?xml version="1.0"?><Workbook/>', "XML"),
        ("suppliers.csv", b'{"id": "s1", "name": "Ann"}\n', "JSON"),
        ("suppliers.csv", b'\xef\xbb\xbf[\n {"id": 1}]', "JSON"),
        ("suppliers.csv", b"[]", "JSON"),
        ("suppliers.csv", b"SQLite format 3\x00" + bytes(50), "an SQLite database"),
        ("suppliers.csv", b"id,na\x00me\n", "binary data"),
        (
            "suppliers.csv",
            "id,näme\n".encode("latin-1"),
            "line 1: byte 5 of the line is not UTF-8 (0xe4); if the file is in Latin-1",
        ),
        ("suppliers.csv", b"", "the file is empty"),
        ("suppliers.csv", b"\xef\xbb\xbf \r\n\n", "the file is empty"),
        ("suppliers.csv.gz", gzip.compress(b""), "the file is empty"),
        (
            "suppliers.csv",
            b"id,Name,NAME\n",
            "column Name and NAME are the same column; remove or rename one",
        ),
        (
            "suppliers.csv",
            b"id,created_at,Created On\n",
            "column created_at and Created On are the same column",
        ),
        ("suppliers.csv", b"id,style,style\n", "column style appears twice"),
        ("suppliers.csv", b"name,plan\n", "column id is missing; found: name, plan"),
        (
            "clients.csv",
            b"supplier_id,name\n",
            "columns id, added_on are missing; found: supplier_id, name",
        ),
    ],
    ids=lambda value: "content" if isinstance(value, bytes) else None,  # gzip writes the time
)
def test_unusable_files_are_rejected_with_the_reason(
    tmp_path: Path, name: str, content: bytes, said: str
) -> None:
    assert said in refuse(tmp_path / name, content)


@given(
    st.lists(
        st.lists(
            st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=8),
            min_size=2,
            max_size=4,
        )
    )
)
def test_a_csv_file_is_never_taken_for_another_kind(rows: list[list[str]]) -> None:
    buffer = io.StringIO()
    csv.writer(buffer).writerows([["id", "name", "style"], *rows])
    assert describe_format(buffer.getvalue().encode()[:65536], "suppliers.csv") is None


@pytest.mark.parametrize(
    "content",
    [
        "id,name\ns1,Ann\ns2,Ben\n",
        "id,name\r\ns1,Ann\r\ns2,Ben",
        "id,name\rs1,Ann\rs2,Ben\r",
        "\ufeffid,name\ns1,Ann\ns2,Ben\n",
        '\ufeff"id","name"\n"s1","Ann"\n"s2","Ben"\n',
        "\n\nid,name\ns1,Ann\n\ns2,Ben\n",
        "sep=,\nid,name\ns1,Ann\ns2,Ben\n",
        '"sep=;"\r\nid;name\r\ns1;Ann\r\ns2;Ben\r\n',
        "\ufeffSEP=\t\nid\tname\ns1\tAnn\ns2\tBen\n",
        "sep=;\rid;name\rs1;Ann\rs2;Ben",
        "id;name\ns1;Ann\ns2;Ben\n",
        "id\tname\ns1\tAnn\ns2\tBen\n",
        "id|name\ns1|Ann\ns2|Ben\n",
        "ID,Name\ns1,Ann\ns2,Ben\n".replace("Name", "name"),
        " Id ,name\ns1,Ann\ns2,Ben\n",
        "'id',name\ns1,Ann\ns2,Ben\n",
        "id,name,,\ns1,Ann,,\ns2,Ben,,\n",
        "id,name,,\ns1,Ann\ns2,Ben,\n",
        "id,name\ns1,Ann,,,\ns2,Ben, \n",
        "id,,name\ns1,,Ann\ns2,,Ben\n",
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_csv_variants_are_read_alike(tmp_path: Path, content: str, packed: bool) -> None:
    data = content.encode()
    rows, source = read(
        tmp_path / ("suppliers.csv.gz" if packed else "suppliers.csv"),
        gzip.compress(data) if packed else data,
    )
    assert rows == ROWS
    assert (source.ignored, source.kept) == ([], [])


def test_gzip_and_parquet_are_recognized_by_content(tmp_path: Path) -> None:
    assert read(tmp_path / "suppliers.csv", gzip.compress(b"id,name\ns1,Ann\ns2,Ben\n"))[0] == ROWS
    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "x.parquet")
    assert read(tmp_path / "suppliers-2.csv", (tmp_path / "x.parquet").read_bytes())[0] == ROWS


def test_a_file_with_only_a_header_has_no_rows(tmp_path: Path) -> None:
    assert read(tmp_path / "suppliers.csv", "id;name")[0] == []


def test_known_columns_are_recognized_in_any_spelling(tmp_path: Path) -> None:
    rows, source = read(
        tmp_path / "events.csv",
        "Message-ID,Supplier Id,TYPE,occurredAt,Colour,\nm,s,login,2026-01-01,red,x\n",
    )
    assert rows == [
        {
            "message_id": "m",
            "supplier_id": "s",
            "type": "login",
            "occurred_at": "2026-01-01",
            "Colour": "red",
        }
    ]
    assert source.ignored == ["Colour", "column 6 (without a name)"]
    _, source = read(
        tmp_path / "suppliers.csv",
        "ID,Vendor Type,created_on,Style,timeZone\ns,dj,2026-01-01,rustic,UTC\n",
    )
    assert (source.ignored, source.kept) == ([], ["Style"])


def test_quoted_line_breaks_and_commas_stay_in_their_cell(tmp_path: Path) -> None:
    rows, _ = read(
        tmp_path / "suppliers.csv", 'id,name\ns1,"Ann\r\nBell, ""Studio""\nof York, UK"\ns2,Ben\n'
    )
    assert [row["name"] for row in rows] == ['Ann\r\nBell, "Studio"\nof York, UK', "Ben"]


def test_an_overlong_line_ended_by_cr_is_rejected_alone(tmp_path: Path) -> None:
    path = tmp_path / "suppliers.csv"
    path.write_bytes(b"id,name\rs1,Ann\rs2," + b"x" * 3_000_000 + b"\rs3,Cy")
    with Source(path) as source:
        [chunk] = source.chunks()
    assert chunk.rows["id"].to_list() == ["s1", "s3"]
    assert [(one.line, one.code) for one in chunk.broken] == [(3, "row_too_large")]


def test_parquet_of_every_type_is_read_as_text(tmp_path: Path) -> None:
    at = datetime(2027, 6, 20, 10, 30, 0, 250, UTC)
    berlin = pa.timestamp("ms", "Europe/Berlin")
    columns = {
        "id": pa.array(["s1", "s2"]),
        "naive": pa.array([at.replace(tzinfo=None), None], pa.timestamp("us")),
        "zoned": pa.array([datetime(2027, 6, 19, 22, tzinfo=UTC), None], berlin),
        "utc": pa.array([at, None], pa.timestamp("ns", "UTC")),
        "seconds": pa.array([1795800000, None], pa.int64()),
        "day": pa.array([date(2027, 6, 20), None]),
        "float": pa.array([2900.0, float("nan")]),
        "half": pa.array([0.5, None], pa.float32()),
        "huge": pa.array([1e300, float("inf")]),
        "money": pa.array([Decimal("29.00"), None]),
        "flag": pa.array([True, None]),
        "bytes": pa.array(["Ä".encode(), b"\xff"], pa.binary()),
        "choice": pa.array(["a", None]).dictionary_encode(),
        "list": pa.array([["a", "b"], None]),
        "struct": pa.array([{"a": 1.0, "b": [at]}, None]),
        "map": pa.array([[("k", "v")], None], pa.map_(pa.string(), pa.string())),
        "nothing": pa.nulls(2),
    }
    pq.write_table(pa.table(columns), tmp_path / "suppliers.parquet")
    rows, _ = read(tmp_path / "suppliers.parquet", (tmp_path / "suppliers.parquet").read_bytes())
    assert rows[0] == {
        "id": "s1",
        "naive": "2027-06-20T10:30:00.000250",
        "zoned": "2027-06-20T00:00:00.000000+02:00",
        "utc": "2027-06-20T10:30:00.000250+00:00",
        "seconds": "1795800000",
        "day": "2027-06-20",
        "float": "2900",
        "half": "0.5",
        "huge": "1e+300",
        "money": "29.00",
        "flag": "true",
        "bytes": "Ä",
        "choice": "a",
        "list": '["a","b"]',
        "struct": '{"a":1.0,"b":["2027-06-20T10:30:00.000250Z"]}',
        "map": '{"k":"v"}',
        "nothing": "",
    }
    assert rows[1] == {**dict.fromkeys(columns, ""), "id": "s2", "bytes": "\ufffd"}


def test_null_markers_are_empty_cells(tmp_path: Path) -> None:
    words = [
        "nan",
        "NaN",
        "NaT",
        "<NA>",
        "None",
        "NULL",
        "null",
        r"\N",
        "#N/A",
        "#REF!",
        "#DIV/0!",
        " nan ",
        "N/A",
    ]
    lines = "".join(f"s{place},{word}\n" for place, word in enumerate(words))
    rows, _ = read(tmp_path / "suppliers.csv", "id,name\n" + lines)
    assert {row["name"] for row in rows} == {""}
    table = pa.table({"id": ["a", "nan", "b"], "name": ["NaN", "Ann", "Nan Goldin"]})
    pq.write_table(table, tmp_path / "suppliers.parquet")
    rows, _ = read(tmp_path / "suppliers.parquet", (tmp_path / "suppliers.parquet").read_bytes())
    assert [(row["id"], row["name"]) for row in rows] == [
        ("a", ""),
        ("", "Ann"),
        ("b", "Nan Goldin"),
    ]


def test_a_float_id_column_with_gaps_is_read_as_integers(tmp_path: Path) -> None:
    rows, _ = read(tmp_path / "suppliers.csv", "id,name\n7.0,A\nnan,B\n8.0,C\n")
    assert [row["id"] for row in rows] == ["7", "", "8"]


def test_excel_text_formulas_are_read_as_text(tmp_path: Path) -> None:
    rows, _ = read(tmp_path / "suppliers.csv", 'id,name\n"=""007""","=""Ann"""\n="008",=1+1\n')
    assert [(row["id"], row["name"]) for row in rows] == [("007", "Ann"), ("008", "=1+1")]


@pytest.mark.parametrize("rounded", ["1.23E+15", "1.23457E+11", "1E+20", "1,23E+15", " 4.7E+12 "])
def test_an_id_rounded_by_excel_is_rejected(tmp_path: Path, rounded: str) -> None:
    for column, kept in (("id", rounded), ("name", None)):
        cell = f'"{rounded}"'
        rows, _ = read(
            tmp_path / "suppliers.csv",
            f"id,name\n{cell if kept else 's'},{'x' if kept else cell}\n",
        )
        assert rows[0][column].startswith("\0") == bool(kept)


def test_empty_rows_are_skipped(tmp_path: Path) -> None:
    rows, _ = read(tmp_path / "suppliers.csv", "id,name\ns1,Ann\n,\n,,,,\n \n\ns2,Ben\n\x1a")
    assert rows == ROWS
    rows, _ = read(tmp_path / "suppliers.csv", TEXT.encode() + b"s2,Ben\n" + bytes(4096))
    assert rows == ROWS


def test_a_nul_does_not_stop_the_file(tmp_path: Path) -> None:
    rows, _ = read(tmp_path / "suppliers.csv", b"id,name\ns1,An\0n\ns2,Ben\n")
    assert [row["id"] for row in rows] == ["s1", "s2"]


@pytest.mark.parametrize(
    "content",
    [
        "id,name\ns1,Ann\rs2,Ben\r\n",
        "id,name\r\r\ns1,Ann\r\r\ns2,Ben",
        "id,name\ns1,Ann\r\ns2,Ben\r",
    ],
)
def test_mixed_line_endings_are_read(tmp_path: Path, content: str) -> None:
    assert read(tmp_path / "suppliers.csv", content)[0] == ROWS


def test_carriage_returns_in_a_quoted_cell_are_kept(tmp_path: Path) -> None:
    rows, _ = read(tmp_path / "suppliers.csv", 'id,name\ns1,"A\rB\r\nC"\ns2,Ben\n')
    assert [row["name"] for row in rows] == ["A\rB\r\nC", "Ben"]


def test_a_cell_can_be_as_long_as_a_line(tmp_path: Path) -> None:
    rows, _ = read(tmp_path / "suppliers.csv", f"id,name\ns1,{'x' * 1_000_000}\ns2,Ben\n")
    assert [len(row["name"]) for row in rows] == [1_000_000, 3]


def test_the_index_column_of_pandas_is_ignored(tmp_path: Path) -> None:
    rows, source = read(
        tmp_path / "suppliers.csv", "Unnamed: 0,id,name,Unnamed: 3\n0,s1,Ann,\n1,s2,Ben,\n"
    )
    assert (rows, source.kept, source.ignored) == (ROWS, [], ["column 1 (without a name)"])
    table = pa.table({"id": ["s1", "s2"], "name": ["Ann", "Ben"], "__index_level_0__": [0, 1]})
    pq.write_table(table, tmp_path / "suppliers.parquet")
    rows, source = read(
        tmp_path / "suppliers.parquet", (tmp_path / "suppliers.parquet").read_bytes()
    )
    assert (rows, source.kept) == (ROWS, [])

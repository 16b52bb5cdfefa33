"""Recognize files that are not CSV by their first bytes, and find the delimiter of CSV files."""

import csv
import re

_SEP_LINE = re.compile(r'\s*"?sep=(.)"?\s*', re.IGNORECASE)
_DELIMITERS = ",;\t|"

# The first bytes of other formats, and what to do about them.
_MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Excel workbook (.xls); save it as CSV (UTF-8)"),
    (b"%PDF", "a PDF; export the table itself as CSV (UTF-8)"),
    (b"\x1f\x8b", "packed with gzip twice; unpack it once"),
    (b"BZh", "packed with bzip2; unpack it, or pack it with gzip"),
    (b"\xfd7zXZ\x00", "packed with xz; unpack it, or pack it with gzip"),
    (b"\x28\xb5\x2f\xfd", "packed with Zstandard; unpack it, or pack it with gzip"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive; unpack it"),
    (b"Rar!\x1a\x07", "a RAR archive; unpack it"),
    (b"PAR1", "Parquet packed with gzip; unpack it"),
    (b"SQLite format 3\x00", "an SQLite database; export its table as CSV (UTF-8)"),
    (b"Obj\x01", "an Avro file; save it as CSV or Parquet"),
    (b"ORC", "an ORC file; save it as CSV or Parquet"),
    (b"ARROW1", "an Arrow (Feather) file; save it as CSV or Parquet"),
    (b"\x89PNG", "an image"),
    (b"\xff\xd8\xff", "an image"),
    (b"{\\rtf", "an RTF document; save it as CSV (UTF-8)"),
)


def describe_format(head: bytes, name: str) -> str | None:
    """What a file is, and what to do, if it is not CSV in UTF-8; null if it may be CSV.

    Args:
        head: its first bytes, decompressed.
        name: the file's name, which distinguishes workbooks from other ZIP archives.
    """
    if head[:4] in {b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08"}:
        return _describe_zip(head, name.lower())
    for magic, what in _MAGIC:
        # a CSV header may begin with the same characters
        if head.startswith(magic) and not (magic.isalpha() and _is_text(head)):
            return what
    if head[257:262] == b"ustar":
        return "a TAR archive; unpack it"
    if encoding := _find_wide(head):
        return f"text in {encoding}; save it as UTF-8"
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()[:512].lower()
    if start[:1] == b"<":
        html = b"<html" in start or b"<!doctype html" in start or b"<table" in start
        return (
            "an HTML page, perhaps of a sign-in; download the file itself"
            if html
            else "XML; save it as CSV (UTF-8)"
        )
    if re.match(rb'\{\s*"|\[\s*[\[{]|\[\s*"[^"]*"\s*[,\]]|[\[{]\s*[\]}]', start):
        return "JSON; send it to /v1/batch, or save it as CSV or Parquet"
    # a NUL after the first line is one bad cell, or the padding of an unfinished file
    return "binary data" if b"\0" in re.split(rb"[\r\n]", head, maxsplit=1)[0] else None


def read_sep_line(text: str) -> str | None:
    """The delimiter in a line `sep=;`, which Excel writes above the header; null for other
    lines."""
    found = _SEP_LINE.fullmatch(text.rstrip("\r\n"))
    return found[1] if found else None


def find_delimiter(header: str) -> str:
    """The delimiter of a header: a comma, unless there is none and another character splits it."""
    widths = {sign: _count_cells(header, sign) for sign in _DELIMITERS}
    if widths[","] > 1:
        return ","
    return max(_DELIMITERS, key=lambda sign: widths[sign])


def _count_cells(header: str, sign: str) -> int:
    try:
        return len(next(csv.reader([header], delimiter=sign), []))
    except csv.Error:
        return 0


def _describe_zip(head: bytes, name: str) -> str:
    if b"opendocument.spreadsheet" in head[:200] or name.endswith(".ods"):
        return "an OpenDocument spreadsheet; save it as CSV (UTF-8)"
    if b"xl/" in head or name.endswith((".xlsx", ".xlsm", ".xlsb", ".xltx")):
        return "an Excel workbook; save it as CSV (UTF-8)"
    if name.endswith(".numbers") or b"Index/" in head:
        return "a Numbers spreadsheet; export it as CSV (UTF-8)"
    # a workbook with another file name
    if b"[Content_Types].xml" in head:
        return "an Excel workbook or another Office document; save it as CSV (UTF-8)"
    return "a ZIP archive; unpack it"


def _find_wide(head: bytes) -> str | None:
    """UTF-16 or UTF-32, by the byte order mark or the positions of zeros; null for neither."""
    if head.startswith((b"\xff\xfe\x00\x00", b"\x00\x00\xfe\xff")):
        return "UTF-32"
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "UTF-16"
    start = head[:256]
    zeros = [place for place, byte in enumerate(start) if byte == 0]
    if len(start) < 4 or len(zeros) < len(start) // 3:
        return None
    if len({place % 2 for place in zeros}) == 1:
        return "UTF-16"
    return (
        "UTF-32" if len({place % 4 for place in range(len(start)) if start[place]}) == 1 else None
    )


def _is_text(head: bytes) -> bool:
    return b"\0" not in head and b"," in head[:200]

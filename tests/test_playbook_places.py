"""Places in a TOML text, and reading on after syntax errors."""

import tomllib
from pathlib import Path as FilePath
from typing import Any

import pytest

from everafter.core.settings import Settings
from everafter.playbook.loading import playbook_path, read_playbook
from everafter.playbook.places import Path, Places, find_places, string_offsets
from everafter.playbook.syntax import read_toml

TEXT = '''\
# a comment with [brackets] and a "quote
name = "x" # after
a.b.c = 1
"quoted key"."and.dots" = [1, "two", { three = 3 }]

[top]
one = { two = [ 1,   # inside
  2, ] }
  indented   =   'raw \\ text'
long = """
first \\
   joined
second "" quotes"""
literal = \'\'\'it's\'\'\'
[ top . deep ]
date = 2026-01-01T00:00:00Z
[[many]]
n = 1
[many.inner]
m = 2
[[many]]
n = 3
empty = []
nothing = {}
'''


def value_at(places: Places, path: Path) -> str:
    start, end = places.values[path]
    return places.text[start:end]


def line_and_column(places: Places, path: Path) -> tuple[int, int]:
    return places.line_and_column(places.keys[path][0])


def test_keys_and_values_are_found() -> None:
    places = find_places(TEXT)
    assert value_at(places, ("name",)) == '"x"'
    assert line_and_column(places, ("a",)) == (3, 1)
    assert line_and_column(places, ("a", "b")) == (3, 3)
    assert line_and_column(places, ("a", "b", "c")) == (3, 5)
    assert line_and_column(places, ("quoted key", "and.dots")) == (4, 14)
    assert value_at(places, ("quoted key", "and.dots", 1)) == '"two"'
    assert value_at(places, ("quoted key", "and.dots", 2, "three")) == "3"
    assert line_and_column(places, ("top",)) == (6, 2)
    assert line_and_column(places, ("top", "one", "two")) == (7, 9)
    assert places.line_and_column(places.values["top", "one", "two", 1][0]) == (8, 3)
    assert value_at(places, ("top", "indented")) == r"'raw \ text'"
    assert line_and_column(places, ("top", "indented")) == (9, 3)
    assert value_at(places, ("top", "long")).endswith('quotes"""')
    assert value_at(places, ("top", "literal")) == "'''it's'''"
    assert line_and_column(places, ("top", "deep")) == (15, 9)
    assert line_and_column(places, ("many", 0, "inner", "m")) == (20, 1)
    assert line_and_column(places, ("many", 1, "n")) == (22, 1)
    assert value_at(places, ("many", 1, "empty")) == "[]"
    assert value_at(places, ("many", 1, "nothing")) == "{}"


def leaves(value: Any, path: Path = ()) -> list[tuple[Path, Any]]:
    if isinstance(value, dict):
        return [leaf for key, item in value.items() for leaf in leaves(item, (*path, key))]
    if isinstance(value, list):
        return [leaf for index, item in enumerate(value) for leaf in leaves(item, (*path, index))]
    return [(path, value)]


@pytest.mark.parametrize("text", [TEXT, TEXT.replace("\n", "\r\n"), None])
def test_every_value_reads_the_same_at_its_place(text: str | None) -> None:
    """With None: for the playbook that ships."""
    if text is None:
        text = read_playbook(
            playbook_path(Settings(None, FilePath(), None, None, "http://testserver", "secret"))
        )
    reading = read_toml(text)
    assert not reading.slips
    assert reading.data == tomllib.loads(text.replace("\r\n", "\n"))
    places = find_places(reading.text)
    found = leaves(reading.data)
    assert len(found) > 10
    for path, value in found:
        start, end = places.values[path]
        assert tomllib.loads(f"v = {reading.text[start:end]}")["v"] == value, path


@pytest.mark.parametrize(
    "raw",
    [
        '"plain"',
        "'raw \\ text'",
        r'"a \" b \\ c \n d é 😀 e"',
        '"""\nfirst\nsecond"""',
        '"""a \\\n   b"""',
        "'''\nit's'''",
        '""',
        "''",
        '""""quoted""""',
    ],
)
def test_each_character_of_a_text_has_its_offset(raw: str) -> None:
    value = tomllib.loads(f"v = {raw}")["v"]
    offsets = string_offsets(raw)
    assert len(offsets) == len(value)
    assert offsets == sorted(set(offsets))
    for char, at in zip(value, offsets, strict=True):
        assert raw[at] in (char, "\\")


@pytest.mark.parametrize("raw", ["3", "[1]", "true", "2026-01-01"])
def test_a_value_that_is_not_a_text_has_no_offsets(raw: str) -> None:
    assert string_offsets(raw) == []


@pytest.mark.parametrize(
    ("text", "line", "says", "rest"),
    [
        ("a=1\na=2\nb=3", 2, "overwrite", {"a": 1, "b": 3}),
        ("[a]\nx=1\n[a]\ny=2\n[b]\nz=3", 3, "twice", {"a": {"x": 1}, "b": {"z": 3}}),
        ('a = "x\nb=2', 1, "illegal character", {"b": 2}),
        ("a = yes\nb=2", 1, "invalid value", {"b": 2}),
        ("a b = 2\nb=2", 1, "expected '='", {"b": 2}),
        ("[a\nx=1\n[b]\nz=3", 1, "table declaration", {"b": {"z": 3}}),
        ("a = [1,\nb=2", 1, "list is not closed", {"b": 2}),
        ('a = [\n "x",\n "y",\n[b]\nc=2', 1, "list is not closed", {"b": {"c": 2}}),
        ('a = """x\n[c]\nd=2', 1, "text is not closed", {"c": {"d": 2}}),
        ("a = 5%\nb=2", 1, "newline", {"b": 2}),
        ("a = 20:00\nb=2", 1, "newline", {"b": 2}),
        ("x = {a=1,a=2}\nb=2", 1, "duplicate", {"b": 2}),
        ('a = "\\q"\nb=2', 1, "unescaped", {"b": 2}),
        ("\ufeffa = 1\nb =", 2, "invalid value", {"a": 1}),
    ],
)
def test_a_syntax_error_has_its_place_and_the_rest_is_read(
    text: str, line: int, says: str, rest: dict[str, Any]
) -> None:
    reading = read_toml(text)
    assert [(slip.line, says in slip.message.lower()) for slip in reading.slips] == [(line, True)]
    assert reading.slips[0].hint
    known = {
        key: value for key, value in reading.data.items() if not key.startswith("__unreadable")
    }
    assert known == rest


def test_several_syntax_errors_are_all_found() -> None:
    reading = read_toml('a = yes\nb = 1\nc = "x\nd = [1\n[e\nf = 2\n')
    assert [slip.line for slip in reading.slips] == [1, 3, 4, 5] or {1, 3, 4, 5} == {
        slip.line for slip in reading.slips
    }
    assert reading.data["b"] == 1


def test_a_text_that_is_not_toml_is_reported() -> None:
    assert read_toml("]\n" * 200).slips
    assert read_toml("\x00\x01 {{{{ [[[[").slips
    assert read_toml("").data == {}

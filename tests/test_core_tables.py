"""Tables of the command line: whole values in a pipe, and whole words on a terminal."""

import io

import pytest
from rich.console import Console
from rich.table import Table

from everafter.core.tables import make_console, print_table

ADDRESS = "dana.long.name@customers.example.com"
HOURS = "mon-fri\n09:00-17:00\nAmerica/Argentina/Buenos_Aires"


def sample(*, box: bool) -> Table:
    style = {} if box else {"box": None, "pad_edge": False}
    table = Table("email", "template", "hours", "reason", title="Messages", **style)  # pyright: ignore
    table.add_row(ADDRESS, "boost_client_engagement", HOURS, "the mail server refused it " * 3)
    table.add_section()
    table.add_row("a@b.example", "one_year", "", "")
    return table


def words_of(text: str) -> list[str]:
    return text.translate(dict.fromkeys(map(ord, "┃│┏━┓┡╇┩└┘┳┴─├┼┤"), " ")).split()


@pytest.mark.parametrize("box", [False, True])
@pytest.mark.parametrize("width", [200, 100, 80, 60])
def test_no_word_is_broken_on_a_terminal(width: int, box: bool) -> None:
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, color_system=None, width=width)
    print_table(console, sample(box=box))
    lines = file.getvalue().splitlines()
    assert width == 60 or max(map(len, lines)) <= width
    found = words_of(file.getvalue())
    assert {ADDRESS, "boost_client_engagement", "America/Argentina/Buenos_Aires"} <= {*found}
    assert found.count("server") == 3 and "…" not in file.getvalue()
    assert found.count("Messages") == 1


def test_a_table_that_is_too_wide_is_printed_in_parts() -> None:
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, color_system=None, width=80)
    print_table(console, sample(box=False))
    parts = file.getvalue().split("\n\n")
    assert len(parts) == 2
    assert all(ADDRESS in part and "a@b.example" in part for part in parts)


def test_lines_in_a_pipe_are_as_long_as_the_values(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    console = make_console()
    print_table(console, sample(box=False))
    console.print("a sentence " * 20)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 7 and all(line == line.rstrip() for line in lines[:6])
    assert lines[2].split(maxsplit=3) == [
        ADDRESS,
        "boost_client_engagement",
        "mon-fri",
        ("the mail server refused it " * 3).strip(),
    ]

"""Tables on standard output. No value is shortened, and no word is broken.

Without a terminal, as in a pipe, a table is as wide as its values. On a terminal, texts wrap
between words, and a table that is still too wide is printed in parts, each of which begins with the
first column; on a very narrow one, each value has a line."""

from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

_UNLIMITED = 100_000


def make_console() -> Console:
    """A console for standard output. Without a terminal, lines have no limit."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=_UNLIMITED)


def print_table(console: Console, table: Table) -> None:
    """Print a table as wide as it may be. Without a terminal, lines do not end in spaces."""
    if not console.is_terminal:
        with console.capture() as captured:
            console.print(table)
        console.file.write("".join(f"{line.rstrip()}\n" for line in captured.get().splitlines()))
        return
    sizes = [_measure(console, table, index) for index in range(len(table.columns))]
    least = [size.minimum for size in sizes]
    limit = console.width - (1 if table.box else 0)  # a column has the border on its left
    if least[0] + max(least[1:], default=0) > limit:
        _print_records(console, table)
        return
    for number, group in enumerate(group_columns(least, limit)):
        if number:
            console.print()
        widths = share_width([sizes[index] for index in group], limit)
        console.print(_part_of(table, group, widths, number), crop=False)


def group_columns(least: Sequence[int], width: int) -> Iterator[list[int]]:
    """The columns of each part of a table, by index; every part begins with the first.

    Args:
        least: the least width of each column, with its padding and border.

    >>> list(group_columns([5, 4, 4], 13)), list(group_columns([5, 4, 4], 12))
    ([[0, 1, 2]], [[0, 1], [0, 2]])
    """
    part, used = [0], least[0]
    for index, needed in enumerate(least[1:], 1):
        if len(part) > 1 and used + needed > width:
            yield part
            part, used = [0], least[0]
        part.append(index)
        used += needed
    yield part


def share_width(sizes: Sequence[Measurement], width: int) -> list[int]:
    """The width of each column: at least its minimum, at most its maximum. What is left over goes
    to the narrowest columns first.

    >>> share_width([Measurement(3, 3), Measurement(5, 30), Measurement(4, 10)], 30)
    [3, 17, 10]
    """
    widths = [size.minimum for size in sizes]
    for _ in range(max(0, width - sum(widths))):
        short = [i for i, size in enumerate(sizes) if widths[i] < size.maximum]
        if not short:
            break
        widths[min(short, key=lambda i: widths[i])] += 1
    return widths


def _print_records(console: Console, table: Table) -> None:
    """Print each row as lines of a name and a value, for a terminal too narrow for two columns."""
    if table.title:
        console.print(table.title)
    heads = [column.header for column in table.columns]
    for cells in zip(*(column.cells for column in table.columns), strict=True):
        for head, cell in zip(heads, cells, strict=True):
            value = cell if isinstance(cell, Text) else console.render_str(str(cell))
            line = Text(" ").join(value.split("\n"))
            console.print(Text.assemble((f"{head}: ", "dim") if head else "", line), soft_wrap=True)
        console.print()


def _measure(console: Console, table: Table, index: int) -> Measurement:
    """The width of the longest word of a column, and of its longest text, with padding."""
    column = table.columns[index]
    cells = [*([column.header] if table.show_header else []), *column.cells]
    options = console.options.update(width=_UNLIMITED)
    found = [Measurement.get(console, options, cell) for cell in cells]
    longest = max((one.maximum for one in found), default=1) or 1
    word = longest if column.no_wrap else max((one.minimum for one in found), default=1) or 1
    around = _around(table)
    return Measurement(word + around, longest + around)


def _around(table: Table) -> int:
    """The padding and the border of a column."""
    _, right, _, left = table.padding
    return left + right + (1 if table.box else 0)


def _part_of(table: Table, group: list[int], widths: list[int], number: int) -> Table:
    """Some of the columns, with these widths. number: of the part; the first has the title."""
    part = Table(
        title=None if number else table.title,
        title_justify=table.title_justify,
        box=table.box,
        pad_edge=table.pad_edge,
        show_header=table.show_header,
        header_style=table.header_style,
    )
    around = _around(table)
    for index, width in zip(group, widths, strict=True):
        column = table.columns[index]
        part.add_column(
            column.header,
            justify=column.justify,
            style=column.style,
            width=width - around,
            overflow="fold",
        )
    cells = [list(table.columns[index].cells) for index in group]
    for row, values in zip(table.rows, zip(*cells, strict=True), strict=True):
        part.add_row(*values, style=row.style, end_section=row.end_section)
    return part

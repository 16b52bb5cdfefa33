"""Parse iCalendar text into components and properties, as leniently as possible without losing
events. Pure."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_UTF_16_MARKS = (b"\xff\xfe", b"\xfe\xff")
_EVENTS = frozenset({"VEVENT", "VFREEBUSY"})
_CLOSED = _EVENTS | {"VCALENDAR"}
# possessive quantifiers, so that a line of megabytes takes one pass
_NAME = re.compile(r"\s*+([A-Za-z0-9.-]++)\s*+(?=[;:])")
_PARAMETER = re.compile(r';\s*+([A-Za-z0-9-]++)\s*+=((?:"[^"]*+"|[^";:])*+)')
# some programs omit the quotes around zone names: `TZID=(UTC+01:00) Berlin:20261202T100000`
_TIME_AT_END = re.compile(
    r":\s*((?:[, ]*\d{4}-?\d\d-?\d\d[0-9TZPWDHMS:,/+.\- ]*)?)$", re.IGNORECASE
)
_LONGEST_TIME = 2_000  # characters at the end of a line that are searched for a time
_DEEPEST = 16
_TIMES = frozenset({"DTSTART", "DTEND", "EXDATE", "RDATE", "RECURRENCE-ID"})


class CalendarTextError(ValueError):
    """The text is not a complete calendar; the message has the reason."""


class Property(NamedTuple):
    """A line. Its name and the names of its parameters are in upper case."""

    name: str
    parameters: dict[str, str]
    value: str


@dataclass(slots=True)
class Component:
    """A component: its properties by name, and the components in it."""

    name: str
    properties: dict[str, list[Property]] = field(default_factory=dict[str, list[Property]])
    inside: list["Component"] = field(default_factory=list["Component"])

    def all(self, name: str) -> list[Property]:
        return self.properties.get(name, [])

    def text(self, name: str) -> str:
        """The stripped value of the first property with this name; empty: none."""
        found = self.properties.get(name)
        return found[0].value.strip() if found else ""


def parse_calendar(body: bytes) -> list[Component]:
    """Parse the VCALENDAR components of a file.

    Line ends can be CR LF, LF, CR or mixed, lines can be folded inside a character, and empty lines
    are skipped. An unclosed component in an event (such as an alarm) ends with the event.

    Raises:
        CalendarTextError: it is not a calendar, or incomplete: busy times could be missing.
    """
    if not body.strip(b" \t\r\n\x00"):
        raise CalendarTextError("it is empty")
    root = Component("")
    stack = [root]
    for line in _unfold(_decodable(body)):
        if stack[-1] is root and not root.inside and not _is_begin(line):
            raise CalendarTextError(f"it is not a calendar: it starts with {_beginning(body)}")
        read = _read_line(line)
        if read is None:
            continue
        if read.name == "BEGIN":
            _begin(stack, read.value.strip().upper())
        elif read.name == "END":
            _end(stack, read.value.strip().upper())
        else:
            stack[-1].properties.setdefault(read.name, []).append(read)
    if len(stack) > 1:
        raise CalendarTextError("it is incomplete")
    calendars = [one for one in root.inside if one.name == "VCALENDAR"]
    if not calendars:
        raise CalendarTextError("it is not a valid calendar: it has no BEGIN:VCALENDAR")
    if len(calendars) == 1 and not calendars[0].properties and not calendars[0].inside:
        raise CalendarTextError("it is not a valid calendar: it has no properties")
    return calendars


def walk(component: Component, name: str) -> Iterator[Component]:
    """The components with this name in this one, at any depth."""
    for one in component.inside:
        if one.name == name:
            yield one
        yield from walk(one, name)


def _decodable(body: bytes) -> bytes:
    """The text in UTF-8 without byte order marks, which concatenated files also have inside."""
    if body[:2] in _UTF_16_MARKS:
        body = body.decode("utf-16", "replace").encode()
    return body.replace(_BYTE_ORDER_MARK, b"")


def _unfold(body: bytes) -> Iterator[str]:
    """The unfolded lines. Bytes are unfolded, because a fold can split a character."""
    body = body.replace(b"\r", b"\n").replace(b"\x00", b"")
    line = bytearray()
    for piece in body.split(b"\n"):
        if piece[:1] in (b" ", b"\t"):
            line += piece[1:]
        elif piece:
            if line.strip():
                yield line.decode("utf-8", "replace")
            line = bytearray(piece)
    if line.strip():
        yield line.decode("utf-8", "replace")


def _read_line(line: str) -> Property | None:
    """Parse a line; null: it is not a property, such as text that was broken without folding."""
    head = _NAME.match(line)
    if head is None:
        return None
    name, place = head[1].upper(), head.end()
    parameters: dict[str, str] = {}
    while found := _PARAMETER.match(line, place):
        parameters.setdefault(found[1].upper(), found[2].strip().strip('"').strip())
        place = found.end()
    if line[place : place + 1] == ":":
        value = line[place + 1 :]
        if (
            name in _TIMES
            and not _TIME_AT_END.fullmatch(":" + value)
            and (end := _time_at_end(line))
        ):
            return _unquoted(name, parameters, line, end)
        return Property(name, parameters, value)
    end = _time_at_end(line) if name in _TIMES else None
    return (
        _unquoted(name, parameters, line, end)
        if end
        else Property(name, parameters, line[place + 1 :])
    )


def _unquoted(name: str, parameters: dict[str, str], line: str, end: re.Match[str]) -> Property:
    """Parse a line whose zone has a colon and no quotes. end: the match of the time at its end."""
    at = line.upper().find("TZID=")
    if at >= 0:
        parameters["TZID"] = line[at + 5 : len(line) - len(end[0])].strip().strip('"').strip()
    return Property(name, parameters, end[1])


def _time_at_end(line: str) -> re.Match[str] | None:
    return _TIME_AT_END.search(line[-_LONGEST_TIME:])


def _is_begin(line: str) -> bool:
    return line.lstrip().upper().startswith("BEGIN") and line.replace(" ", "").upper().startswith(
        "BEGIN:VCALENDAR"
    )


def _begin(stack: list[Component], name: str) -> None:
    if len(stack) > _DEEPEST:
        raise CalendarTextError(
            f"it is not a valid calendar: components are nested more than {_DEEPEST} levels deep"
        )
    open_names = {one.name for one in stack}
    if name in _EVENTS and open_names & _EVENTS:
        raise CalendarTextError("it is incomplete: an event is not closed")
    if name == "VCALENDAR" and "VCALENDAR" in open_names:
        raise CalendarTextError("it is incomplete, and a second calendar follows")
    component = Component(name)
    stack[-1].inside.append(component)
    stack.append(component)


def _end(stack: list[Component], name: str) -> None:
    """Close a component and the open ones in it; an END without a BEGIN is ignored."""
    depth = next((place for place in range(len(stack) - 1, 0, -1) if stack[place].name == name), 0)
    if depth == 0:
        if name in _CLOSED:
            raise CalendarTextError("it is incomplete: an event is not closed")
        return
    if any(one.name in _CLOSED for one in stack[depth + 1 :]):
        raise CalendarTextError("it is incomplete: an event is not closed")
    del stack[depth:]


def _beginning(body: bytes) -> str:
    return repr(" ".join(body[:60].decode("utf-8", "replace").split())[:40])

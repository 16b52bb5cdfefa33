"""iCalendar text into components and their properties, as leniently as can be done without losing
an event. Pure."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_UTF_16_MARKS = (b"\xff\xfe", b"\xfe\xff")
_EVENTS = frozenset({"VEVENT", "VFREEBUSY"})
_CLOSED = _EVENTS | {"VCALENDAR"}
# Possessive quantifiers: a line of megabytes costs one pass.
_NAME = re.compile(r"\s*+([A-Za-z0-9.-]++)\s*+(?=[;:])")
_PARAMETER = re.compile(r';\s*+([A-Za-z0-9-]++)\s*+=((?:"[^"]*+"|[^";:])*+)')
# Some write a zone's name without the quotes it needs: `TZID=(UTC+01:00) Berlin:20261202T100000`,
# or `TZID=UTC+01:00:2026…`.
_TIME_AT_END = re.compile(
    r":\s*((?:[, ]*\d{4}-?\d\d-?\d\d[0-9TZPWDHMS:,/+.\- ]*)?)$", re.IGNORECASE
)
_LONGEST_TIME = 2_000  # characters of a line in which that is looked for
_DEEPEST = 16
_TIMES = frozenset({"DTSTART", "DTEND", "EXDATE", "RDATE", "RECURRENCE-ID"})


class CalendarTextError(ValueError):
    """The text is no whole calendar; the message says why."""


class Property(NamedTuple):
    """One line: its name and parameters' names in upper case, its value as written."""

    name: str
    parameters: dict[str, str]
    value: str


@dataclass(slots=True)
class Component:
    """What is between BEGIN and END: its own properties by name, and the components inside it."""

    name: str
    properties: dict[str, list[Property]] = field(default_factory=dict[str, list[Property]])
    inside: list["Component"] = field(default_factory=list["Component"])

    def all(self, name: str) -> list[Property]:
        return self.properties.get(name, [])

    def text(self, name: str) -> str:
        """The value of the first property of that name without blanks around it; empty when there
        is none."""
        found = self.properties.get(name)
        return found[0].value.strip() if found else ""


def parse_calendar(body: bytes) -> list[Component]:
    """The VCALENDAR components of a file.

    Line endings may be CR LF, LF, CR or mixed, lines may be folded inside a character, blank lines
    are passed over. A component within an event that is not closed (an alarm) ends with the event.

    Raises:
        CalendarTextError: it is no calendar, or not whole: what is missing may be a busy time.
    """
    if not body.strip(b" \t\r\n\x00"):
        raise CalendarTextError("it is empty")
    root = Component("")
    stack = [root]
    for line in _unfold(_decodable(body)):
        if stack[-1] is root and not root.inside and not _is_begin(line):
            raise CalendarTextError(f"it is not a calendar: it begins with {_beginning(body)}")
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
        raise CalendarTextError("it ends in the middle")
    calendars = [one for one in root.inside if one.name == "VCALENDAR"]
    if not calendars:
        raise CalendarTextError("it is not a readable calendar: it has no BEGIN:VCALENDAR")
    if len(calendars) == 1 and not calendars[0].properties and not calendars[0].inside:
        raise CalendarTextError("it is not a readable calendar: it has no properties")
    return calendars


def walk(component: Component, name: str) -> Iterator[Component]:
    """The components of that name inside this one, at any depth."""
    for one in component.inside:
        if one.name == name:
            yield one
        yield from walk(one, name)


def _decodable(body: bytes) -> bytes:
    """The same text in UTF-8 without its marks: files that were joined have one in the middle
    too."""
    if body[:2] in _UTF_16_MARKS:
        body = body.decode("utf-16", "replace").encode()
    return body.replace(_BYTE_ORDER_MARK, b"")


def _unfold(body: bytes) -> Iterator[str]:
    """Its content lines. Unfolded as bytes: a fold may split a character."""
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
    """One content line; null when it is none, as text that was broken without a fold."""
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
    """A line whose zone has a colon and no quotes: the value is the time at its end, `end` where
    that is."""
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
            f"it is not a readable calendar: components are nested more than {_DEEPEST} levels deep"
        )
    open_names = {one.name for one in stack}
    if name in _EVENTS and open_names & _EVENTS:
        raise CalendarTextError("its events are not closed: part of it is missing")
    if name == "VCALENDAR" and "VCALENDAR" in open_names:
        raise CalendarTextError("it ends in the middle and begins again")
    component = Component(name)
    stack[-1].inside.append(component)
    stack.append(component)


def _end(stack: list[Component], name: str) -> None:
    """Close that component, and what is open inside it; an END without its BEGIN is passed over."""
    depth = next((place for place in range(len(stack) - 1, 0, -1) if stack[place].name == name), 0)
    if depth == 0:
        if name in _CLOSED:
            raise CalendarTextError("its events are not closed: part of it is missing")
        return
    if any(one.name in _CLOSED for one in stack[depth + 1 :]):
        raise CalendarTextError("its events are not closed: part of it is missing")
    del stack[depth:]


def _beginning(body: bytes) -> str:
    return repr(" ".join(body[:60].decode("utf-8", "replace").split())[:40])

"""Calendars as programs write them and as they should not: for each the exact times its owner is busy, and how many of its events
are counted as not read whole."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from dateutil.rrule import rrulestr
from hypothesis import given, settings
from hypothesis import strategies as st

from everafter.support.calendar_value_rules import list_times, read_rule
from everafter.support.calendars import read_busy_times
from everafter.support.feeds import clean_feed_url
from everafter.support.model import FeedTask, FeedTimes

BERLIN, NEW_YORK = "Europe/Berlin", "America/New_York"
WINTER = datetime(2026, 11, 30, tzinfo=UTC)
SPRING = datetime(2027, 3, 27, tzinfo=UTC)
AUTUMN = datetime(2027, 10, 29, tzinfo=UTC)


def read(text: str, zone: str = BERLIN, start: datetime = WINTER, days: int = 14) -> FeedTimes:
    body = (
        text
        if text.startswith("BEGIN:VCALENDAR")
        else f"BEGIN:VCALENDAR\nVERSION:2.0\n{text}\nEND:VCALENDAR\n"
    )
    return read_busy_times(
        FeedTask(body.encode(), zone, "ada@example.org", start, start + timedelta(days=days))
    )


def event(text: str) -> str:
    return f"BEGIN:VEVENT\n{'' if 'UID' in text else 'UID:one' + chr(10)}{text}\nEND:VEVENT"


def events(*texts: str) -> str:
    return "\n".join(map(event, texts))


def spans(times: FeedTimes) -> list[str]:
    return [f"{one.starts_at:%m-%dT%H:%M}/{one.ends_at:%m-%dT%H:%M}" for one in times.busy]


def at_ten(*days: int, month: int = 12) -> list[str]:
    """10:00 to 11:00 in Berlin in winter."""
    return [f"{month}-{day:02d}T09:00/{month}-{day:02d}T10:00" for day in days]


TEN = "DTSTART;TZID=Europe/Berlin:20261202T100000\nDTEND;TZID=Europe/Berlin:20261202T110000"
TUESDAYS = "DTSTART;TZID=America/New_York:20261117T100000\nDURATION:PT1H\nRRULE:FREQ=WEEKLY"
DAILY = "DTSTART;TZID=Europe/Berlin:20261201T100000\nDTEND;TZID=Europe/Berlin:20261201T110000\nRRULE:FREQ=DAILY;COUNT=4"
TWO_TUESDAYS = ["12-01T15:00/12-01T16:00", "12-08T15:00/12-08T16:00"]
ONE_TUESDAY = TWO_TUESDAYS[:1]
PERTH = """BEGIN:VTIMEZONE
TZID:{}
BEGIN:STANDARD
DTSTART:16010101T000000
TZOFFSETFROM:+0800
TZOFFSETTO:+0800
END:STANDARD
END:VTIMEZONE"""

# name: (calendar, busy, counted as unread). The owner is in Berlin unless the name ends in "NY".
CORPUS: dict[str, tuple[str, list[str], int]] = {
    # ── how far a series goes
    "UNTIL local, west, NY": (event(f"{TUESDAYS};UNTIL=20261208T100000"), TWO_TUESDAYS, 0),
    "UNTIL local, a minute early, NY": (event(f"{TUESDAYS};UNTIL=20261208T095900"), ONE_TUESDAY, 0),
    "UNTIL local, east": (
        event("DTSTART;TZID=Asia/Tokyo:20261124T100000\nDURATION:PT1H\nRRULE:FREQ=WEEKLY;UNTIL=20261208T100000"),
        ["12-01T01:00/12-01T02:00", "12-08T01:00/12-08T02:00"],
        0,
    ),
    "UNTIL in UTC, NY": (event(f"{TUESDAYS};UNTIL=20261208T150000Z"), TWO_TUESDAYS, 0),
    "UNTIL in UTC, a second early, NY": (event(f"{TUESDAYS};UNTIL=20261208T145959Z"), ONE_TUESDAY, 0),
    "UNTIL a day, for times, NY": (event(f"{TUESDAYS};UNTIL=20261208"), TWO_TUESDAYS, 0),
    "UNTIL with an offset, NY": (event(f"{TUESDAYS};UNTIL=20261208T100000-0500"), TWO_TUESDAYS, 0),
    "UNTIL extended, NY": (event(f"{TUESDAYS};UNTIL=2026-12-08T15:00:00Z"), TWO_TUESDAYS, 0),
    "UNTIL first, lower case, NY": (
        event("DTSTART;TZID=America/New_York:20261117T100000\nDURATION:PT1H\nrrule:until=20261208t150000z;freq=weekly;"),
        TWO_TUESDAYS,
        0,
    ),
    "UNTIL unreadable goes on, NY": (event(f"{TUESDAYS};UNTIL=CHRISTMAS"), TWO_TUESDAYS, 1),
    "UNTIL before the start": (event(f"{TEN}\nRRULE:FREQ=DAILY;UNTIL=20261130T000000Z"), [], 0),
    "UNTIL and COUNT": (event(f"{TEN}\nRRULE:FREQ=DAILY;COUNT=1;UNTIL=20261203T090000Z"), at_ten(2, 3), 1),
    "UNTIL local, of a time without a zone": (
        event("DTSTART:20261201T100000\nDURATION:PT1H\nRRULE:FREQ=DAILY;UNTIL=20261202T100000"),
        at_ten(1, 2),
        0,
    ),
    "UNTIL in UTC, of a time without a zone": (
        event("DTSTART:20261201T100000\nDURATION:PT1H\nRRULE:FREQ=DAILY;UNTIL=20261202T090000Z"),
        at_ten(1, 2),
        0,
    ),
    "UNTIL in UTC, whole days": (
        event("DTSTART;VALUE=DATE:20261124\nRRULE:FREQ=WEEKLY;UNTIL=20261207T230000Z"),
        ["11-30T23:00/12-01T23:00", "12-07T23:00/12-08T23:00"],
        0,
    ),
    "UNTIL in UTC, whole days, NY": (
        event("DTSTART;VALUE=DATE:20261124\nRRULE:FREQ=WEEKLY;UNTIL=20261208T000000Z"),
        ["12-01T05:00/12-02T05:00", "12-08T05:00/12-09T05:00"],
        0,
    ),
    "UNTIL local, whole days": (
        event("DTSTART;VALUE=DATE:20261201\nRRULE:FREQ=DAILY;UNTIL=20261202T000000"),
        ["11-30T23:00/12-02T23:00"],
        0,
    ),
    "COUNT counts from the start": (event(f"{TUESDAYS};COUNT=3"), ONE_TUESDAY, 0),
    "COUNT 0 is none": (event(f"{TEN}\nRRULE:FREQ=WEEKLY;COUNT=0"), at_ten(2, 9), 1),
    # ── rules
    "the last workday of a month": (
        event("DTSTART:20260130T090000Z\nDURATION:PT1H\nRRULE:FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-1"),
        ["11-30T09:00/11-30T10:00"],
        0,
    ),
    "every other week from Sunday on": (
        event("DTSTART:19970805T090000Z\nDURATION:PT1H\nRRULE:FREQ=WEEKLY;INTERVAL=2;BYDAY=TU,SU;WKST=SU"),
        ["12-01T09:00/12-01T10:00", "12-13T09:00/12-13T10:00"],
        0,
    ),
    "a part that cannot be read": (event(f"{TEN}\nRRULE:FREQ=WEEKLY;BYDAY=XX"), at_ten(2, 9), 1),
    "INTERVAL 0 is 1": (event(f"{TEN}\nRRULE:FREQ=WEEKLY;INTERVAL=0"), at_ten(2, 9), 1),
    "blanks and a comma too many": (event(f"{TEN}\nRRULE: FREQ=WEEKLY; BYDAY=WE, ;WKST=MO"), at_ten(2, 9), 0),
    "an empty rule": (event(f"{TEN}\nRRULE:"), at_ten(2), 0),
    "a rule that says nothing": (event(f"{TEN}\nRRULE:sometimes"), at_ten(2), 1),
    "another calendar's months": (event(f"{TEN}\nRRULE:RSCALE=HEBREW;FREQ=YEARLY"), at_ten(2), 1),
    "two rules": (event(f"{TEN}\nRRULE:FREQ=WEEKLY;BYDAY=WE\nRRULE:FREQ=WEEKLY;BYDAY=TH"), at_ten(2, 3, 9, 10), 0),
    "a rule of exceptions": (event(f"{DAILY}\nEXRULE:FREQ=DAILY;INTERVAL=2"), at_ten(2, 4), 0),
    "every second for ever": (event(f"{TEN}\nRRULE:FREQ=SECONDLY"), at_ten(2), 1),
    "every day since the year 1": (
        event("DTSTART:00010101T090000\nDURATION:PT1H\nRRULE:FREQ=DAILY;UNTIL=20261201T235959"),
        ["11-30T08:00/11-30T09:00", "12-01T08:00/12-01T09:00"],
        0,
    ),
    "29 February": (event("DTSTART;VALUE=DATE:20240229\nRRULE:FREQ=YEARLY"), [], 0),
    # ── exceptions and additions
    "an empty exception": (event(f"{TEN}\nRRULE:FREQ=DAILY;COUNT=1\nEXDATE:"), at_ten(2), 0),
    "exceptions, an empty one among them": (event(f"{DAILY}\nEXDATE;TZID=Europe/Berlin:20261201T100000,,20261203T100000,"), at_ten(2, 4), 0),
    "exceptions of every kind": (
        event(
            f"{DAILY}\nRDATE:20261205T090000Z\nEXDATE:20261201T090000Z\nEXDATE;TZID=America/New_York:20261202T040000\nEXDATE:20261203T100000\n"
            "EXDATE;VALUE=DATE:20261204"
        ),
        at_ten(5),
        0,
    ),
    "an exception at another hour": (event(f"{DAILY}\nEXDATE;TZID=Europe/Berlin:20261201T103000"), at_ten(1, 2, 3, 4), 0),
    "an exception that cannot be read": (event(f"{DAILY}\nEXDATE:soon"), at_ten(1, 2, 3, 4), 1),
    "exceptions of days as times": (
        event("DTSTART;VALUE=DATE:20261201\nRRULE:FREQ=DAILY;COUNT=4\nEXDATE:20261202T000000Z\nEXDATE:20261202T230000Z"),
        ["11-30T23:00/12-01T23:00", "12-03T23:00/12-04T23:00"],
        0,
    ),
    "additions of every kind": (
        event(f"{TEN}\nRDATE:20261203T090000Z,\nRDATE;VALUE=DATE:20261204\nRDATE:20261205T100000\nRDATE;VALUE=PERIOD:20261206T090000Z/PT1H\nRDATE:"),
        at_ten(2, 3, 4, 5, 6),
        0,
    ),
    "an addition that is excepted": (event(f"{TEN}\nRDATE:20261203T090000Z\nEXDATE:20261203T090000Z"), at_ten(2), 0),
    # ── several of one UID
    "two of one UID": (events(TEN, TEN.replace("1202", "1203")), at_ten(2, 3), 0),
    "the higher sequence": (events(f"{TEN}\nSEQUENCE:1", f"{TEN}\nSEQUENCE:2".replace("1202", "1203")), at_ten(3), 0),
    "the higher sequence is cancelled": (events(f"{TEN}\nSEQUENCE:1", f"{TEN}\nSEQUENCE:2\nSTATUS:CANCELLED"), [], 0),
    "a sequence that cannot be read": (events(f"{TEN}\nSEQUENCE:x", f"{TEN}\nSEQUENCE:2".replace("1202", "1203")), at_ten(2, 3), 0),
    "no UID": (events("UID:\n" + TEN, "UID:\n" + TEN.replace("1202", "1203")), at_ten(2, 3), 0),
    "one moved, by another zone": (
        events(DAILY, "RECURRENCE-ID;TZID=America/New_York:20261201T040000\nDTSTART:20261210T090000Z\nDTEND:20261210T100000Z"),
        at_ten(2, 3, 4, 10),
        0,
    ),
    "one moved, by its day": (
        events(DAILY, "RECURRENCE-ID;VALUE=DATE:20261201\nDTSTART:20261210T090000Z\nDTEND:20261210T100000Z"),
        at_ten(2, 3, 4, 10),
        0,
    ),
    "one moved that is none of them": (
        events(DAILY, "RECURRENCE-ID:20261201T093000Z\nDTSTART:20261210T090000Z\nDTEND:20261210T100000Z"),
        at_ten(1, 2, 3, 4, 10),
        0,
    ),
    "one moved from nobody knows when": (
        events(f"{DAILY}\nSEQUENCE:3", "RECURRENCE-ID:once\nDTSTART:20261210T090000Z\nDTEND:20261210T100000Z"),
        at_ten(1, 2, 3, 4, 10),
        1,
    ),
    "one moved without its series": (event("RECURRENCE-ID:20261201T090000Z\nDTSTART:20261210T090000Z\nDURATION:PT1H"), at_ten(10), 0),
    "one of days moved, by a time": (
        events(
            "DTSTART;VALUE=DATE:20261201\nRRULE:FREQ=DAILY;COUNT=2",
            "RECURRENCE-ID:20261201T000000Z\nDTSTART;VALUE=DATE:20261205",
        ),
        ["12-01T23:00/12-02T23:00", "12-04T23:00/12-05T23:00"],
        0,
    ),
    "one cancelled that does not say when": (events(DAILY, "RECURRENCE-ID:20261201T090000Z\nSTATUS:CANCELLED"), at_ten(2, 3, 4), 0),
    "moved from then on": (
        events(DAILY, "RECURRENCE-ID;RANGE=THISANDFUTURE:20261202T090000Z\nDTSTART:20261202T130000Z\nDTEND:20261202T133000Z"),
        [*at_ten(1), "12-02T13:00/12-02T13:30", "12-03T13:00/12-03T13:30", "12-04T13:00/12-04T13:30"],
        0,
    ),
    "cancelled from then on": (
        events(DAILY, "RECURRENCE-ID;RANGE=THISANDFUTURE:20261202T090000Z\nDTSTART:20261202T090000Z\nSTATUS:CANCELLED"),
        at_ten(1),
        0,
    ),
    "moved from then on, one of them again": (
        events(
            DAILY,
            "RECURRENCE-ID;RANGE=THISANDFUTURE:20261202T090000Z\nDTSTART:20261203T090000Z\nDTEND:20261203T100000Z",
            "RECURRENCE-ID:20261203T090000Z\nDTSTART:20261209T090000Z\nDTEND:20261209T100000Z",
        ),
        at_ten(1, 3, 5, 9),
        0,
    ),
    # ── zones
    "as Exchange shows a zone, NY": (
        event('DTSTART;TZID="(UTC+01:00) Amsterdam, Berlin, Bern, Rome, Stockholm, Vienna":20261202T100000\nDURATION:PT1H'),
        at_ten(2),
        0,
    ),
    "the same without quotes, NY": (
        event("DTSTART;TZID=(UTC+01:00) Brussels, Copenhagen, Madrid, Paris:20261202T100000\nDURATION:PT1H"),
        at_ten(2),
        0,
    ),
    "as Exchange shows American zones": (
        event("DTSTART;TZID=(UTC-05:00) Eastern Time (US & Canada):20261202T040000\nDURATION:PT1H"),
        at_ten(2),
        0,
    ),
    "an offset that is the owner's": (event('DTSTART;TZID="(UTC+01:00) Daheim":20261202T100000\nDURATION:PT1H'), at_ten(2), 1),
    "an offset that is somebody's": (event('DTSTART;TZID="(UTC+02:00) Irgendwo":20261202T110000\nDURATION:PT1H'), at_ten(2), 1),
    "a zone of Windows, NY": (event("DTSTART;TZID=W. Europe Standard Time:20261202T100000\nDURATION:PT1H"), at_ten(2), 0),
    "a zone of Windows in lower case, NY": (event("DTSTART;TZID=w. europe standard time:20261202T100000\nDURATION:PT1H"), at_ten(2), 0),
    "a path before the zone, NY": (
        event("DTSTART;TZID=/freeassociation.sourceforge.net/Tzfile/Europe/Berlin:20261202T100000\nDURATION:PT1H"),
        at_ten(2),
        0,
    ),
    "a zone in another case, quoted, NY": (event('DTSTART;TZID="EUROPE/berlin":20261202T100000\nDURATION:PT1H'), at_ten(2), 0),
    "a blank in the zone": (event("DTSTART;TZID=America/New York:20261202T040000\nDURATION:PT1H"), at_ten(2), 0),
    "an offset as a zone, NY": (event("DTSTART;TZID=GMT+0100:20261202T100000\nDURATION:PT1H"), at_ten(2), 0),
    "an offset with a colon and no quotes, NY": (event("DTSTART;TZID=UTC+01:00:20261202T100000\nDURATION:PT1H"), at_ten(2), 0),
    "a zone nobody knows": (event("DTSTART;TZID=Mars/Base:20261202T100000\nDURATION:PT1H"), at_ten(2), 1),
    "a zone nobody knows, long ago": (event("DTSTART;TZID=Mars/Base:20161202T100000\nDURATION:PT1H"), [], 0),
    "a zone of its own": (PERTH.format("Customized Time Zone") + "\n" + event("DTSTART;TZID=Customized Time Zone:20261202T170000\nDURATION:PT1H"), at_ten(2), 0),
    "a zone of its own named as one of Windows": (
        PERTH.format("Eastern Standard Time") + "\n" + event("DTSTART;TZID=Eastern Standard Time:20261202T170000\nDURATION:PT1H"),
        at_ten(2),
        0,
    ),
    "a zone of its own with a comma in its name": (
        PERTH.format("Perth\\, alone") + "\n" + event('DTSTART;TZID="Perth, alone":20261202T170000\nDURATION:PT1H'),
        at_ten(2),
        0,
    ),
    "a zone of its own that says only where": (
        "BEGIN:VTIMEZONE\nTZID:home\nX-LIC-LOCATION:America/New_York\nEND:VTIMEZONE\n"
        + event("DTSTART;TZID=home:20261202T040000\nDURATION:PT1H"),
        at_ten(2),
        0,
    ),
    "a zone and a Z": (event("DTSTART;TZID=Europe/Berlin:20261202T090000Z\nDTEND;TZID=Europe/Berlin:20261202T100000Z"), at_ten(2), 0),
    "an offset at the time": (event("DTSTART:20261202T040000-0500\nDTEND:20261202T110000+01:00"), at_ten(2), 0),
    "no zone, NY": (event("DTSTART:20261202T040000\nDURATION:PT1H"), at_ten(2), 0),
    "two zones": (event("DTSTART;TZID=Europe/Berlin:20261202T100000\nDTEND;TZID=America/New_York:20261202T050000"), at_ten(2), 0),
    "a day with a zone is the owner's": (event("DTSTART;TZID=America/New_York;VALUE=DATE:20261202"), ["12-01T23:00/12-02T23:00"], 0),
    "a day written as a time": (event("DTSTART;VALUE=DATE:20261202T000000\nDTEND;VALUE=DATE:20261203T000000"), ["12-01T23:00/12-02T23:00"], 0),
    # ── ends
    "an empty end": (event("DTSTART:20261202T090000Z\nDTEND:"), at_ten(2), 1),
    "an empty duration": (event("DTSTART:20261202T090000Z\nDURATION:"), at_ten(2), 1),
    "an empty end of a day": (event("DTSTART;VALUE=DATE:20261202\nDTEND:"), ["12-01T23:00/12-02T23:00"], 0),
    "an end that cannot be read": (event("DTSTART:20261202T090000Z\nDTEND:later"), at_ten(2), 1),
    "an end before the start": (event("DTSTART:20261202T100000Z\nDTEND:20261202T090000Z"), at_ten(2), 1),
    "an end long before the start": (event("DTSTART:20261202T090000Z\nDTEND:20251202T100000Z"), at_ten(2), 1),
    "a duration backwards": (event("DTSTART:20261202T100000Z\nDURATION:-PT1H"), at_ten(2), 1),
    "no duration": (event("DTSTART:20261202T100000Z\nDURATION:PT0S"), [], 0),
    "an end and a duration": (event("DTSTART:20261202T090000Z\nDTEND:20261202T093000Z\nDURATION:PT1H"), at_ten(2), 0),
    "half hours": (event("DTSTART:20261202T090000Z\nDURATION:PT0.5H"), ["12-02T09:00/12-02T09:30"], 0),
    "a day until an hour": (event("DTSTART;VALUE=DATE:20261202\nDTEND:20261202T100000Z"), ["12-01T23:00/12-02T10:00"], 0),
    "from an hour for the day": (event("DTSTART:20261202T090000Z\nDTEND;VALUE=DATE:20261202"), ["12-02T09:00/12-02T23:00"], 0),
    "midnight as 24": (event("DTSTART:20261202T200000Z\nDTEND:20261202T240000Z"), ["12-02T20:00/12-03T00:00"], 0),
    "no start": (event("DTEND:20261202T100000Z"), at_ten(2), 1),
    "no start but a duration": (event("DTEND:20261202T100000Z\nDURATION:PT30M"), ["12-02T09:30/12-02T10:00"], 1),
    "an hour there is not": (event("DTSTART:20261202T990000\nDTEND:20261202T100000"), ["12-01T23:00/12-02T09:00"], 1),
    "a day there is not": (event("DTSTART:20260230T100000"), [], 1),
    "cancelled and confirmed": (event(f"{TEN}\nSTATUS:CANCELLED\nSTATUS:CONFIRMED"), at_ten(2), 0),
    "free and busy": (event(f"{TEN}\nX-MICROSOFT-CDO-BUSYSTATUS:FREE\nX-MICROSOFT-CDO-BUSYSTATUS:BUSY"), at_ten(2), 0),
    "declined and accepted": (
        event(f"{TEN}\nATTENDEE;PARTSTAT=DECLINED:mailto:ada@example.org\nATTENDEE;PARTSTAT=ACCEPTED:mailto:ada@example.org"),
        at_ten(2),
        0,
    ),
    "declined, escaped": (event(f"{TEN}\nATTENDEE;PARTSTAT=DECLINED:mailto:%61da@example.org"), [], 0),
    "days at an hour": (
        event("DTSTART;VALUE=DATE:20261202\nRRULE:FREQ=DAILY;COUNT=1;BYHOUR=10;BYMINUTE=30"),
        ["12-01T23:00/12-02T23:00"],
        0,
    ),
    "a busy time that ends before it starts": (
        "BEGIN:VFREEBUSY\nFREEBUSY:20261202T100000Z/-PT1H,20261203T100000Z/20261203T090000Z\nEND:VFREEBUSY",
        at_ten(2, 3),
        1,
    ),
    "a busy time in a zone nobody knows": (
        "BEGIN:VFREEBUSY\nFREEBUSY;TZID=Mars/Base:20261202T100000/PT1H\nEND:VFREEBUSY",
        at_ten(2),
        1,
    ),
    "nothing readable, but cancelled": (event("DTSTART:never\nSTATUS:CANCELLED"), [], 0),
    "two starts": (event("DTSTART:20261202T090000Z\nDTSTART:20261203T090000Z\nDURATION:PT1H"), at_ten(2, 3), 1),
    "for ever": (event("DTSTART:00010101T000000Z\nDTEND:99991231T235959Z"), ["11-30T00:00/12-14T00:00"], 0),
    # ── free or not
    "free as Outlook says": (event(f"{TEN}\nX-MICROSOFT-CDO-BUSYSTATUS:FREE"), [], 0),
    "free here and not there": (event(f"{TEN}\nTRANSP:OPAQUE\nX-MICROSOFT-CDO-BUSYSTATUS:FREE"), at_ten(2), 0),
    "not free there": (event(f"{TEN}\nTRANSP:TRANSPARENT\nX-MICROSOFT-CDO-BUSYSTATUS:OOF"), at_ten(2), 0),
    "tentative": (event(f"{TEN}\nX-MICROSOFT-CDO-BUSYSTATUS:TENTATIVE"), at_ten(2), 0),
    "transparent in lower case": (event(f"{TEN}\ntransp: transparent "), [], 0),
    "free and busy only": (
        "BEGIN:VFREEBUSY\nDTSTART:20261201T000000Z\nDTEND:20270101T000000Z\nFREEBUSY;FBTYPE=BUSY-TENTATIVE:20261202T090000Z/PT1H,"
        "20261203T090000Z/20261203T100000Z,nonsense\nFREEBUSY;FBTYPE=FREE:20261204T090000Z/PT1H\nEND:VFREEBUSY",
        at_ten(2, 3),
        1,
    ),
    # ── what is around
    "an alarm with times of its own": (
        event(f"BEGIN:VALARM\nTRIGGER:-PT15M\nDTSTART:20261209T090000Z\nDURATION:PT9H\nBEGIN:X-DEEP\nEND:X-DEEP\nEND:VALARM\n{TEN}"),
        at_ten(2),
        0,
    ),
    "an alarm that is not closed": (event(f"{TEN}\nBEGIN:VALARM\nTRIGGER:-PT15M"), at_ten(2), 0),
    "a task and a diary are no events": (f"BEGIN:VTODO\n{TEN}\nEND:VTODO\nBEGIN:VJOURNAL\n{TEN}\nEND:VJOURNAL", [], 0),
    "a line that was broken": (event(f"{TEN}\nDESCRIPTION:first\nsecond line without a fold\n: and a third"), at_ten(2), 0),
}  # fmt: skip


@pytest.mark.parametrize("name", CORPUS)
def test_calendars_have_these_busy_times(name: str) -> None:
    text, busy, unread = CORPUS[name]
    times = read(text, NEW_YORK if name.endswith("NY") else BERLIN)
    assert (times.failure, spans(times), times.unread) == (None, busy, unread), times.reasons
    assert bool(times.reasons) == bool(unread), "what is counted is explained"


# Over the changes of Berlin's clocks: 2027-03-28 02:00 → 03:00, 2027-10-31 03:00 → 02:00.
CLOCKS: dict[str, tuple[str, datetime, list[str]]] = {
    "in the hour left out": (
        "DTSTART;TZID=Europe/Berlin:20270328T023000\nDTEND;TZID=Europe/Berlin:20270328T033000",
        SPRING,
        ["03-28T01:30/03-28T02:30"],
    ),
    "wholly in the hour left out": (
        "DTSTART;TZID=Europe/Berlin:20270328T021500\nDTEND;TZID=Europe/Berlin:20270328T024500",
        SPRING,
        ["03-28T01:15/03-28T01:45"],
    ),
    "each night, once in the hour left out": (
        "DTSTART;TZID=Europe/Berlin:20270327T023000\nDURATION:PT30M\nRRULE:FREQ=DAILY;COUNT=3",
        SPRING,
        ["03-27T01:30/03-27T02:00", "03-28T01:30/03-28T02:00", "03-29T00:30/03-29T01:00"],
    ),
    "24 hours": (
        "DTSTART;TZID=Europe/Berlin:20270327T120000\nDURATION:PT24H",
        SPRING,
        ["03-27T11:00/03-28T11:00"],
    ),
    "a day": (
        "DTSTART;TZID=Europe/Berlin:20270327T120000\nDURATION:P1D",
        SPRING,
        ["03-27T11:00/03-28T10:00"],
    ),
    "a day and an hour": (
        "DTSTART;TZID=Europe/Berlin:20270327T120000\nDURATION:P1DT1H",
        SPRING,
        ["03-27T11:00/03-28T11:00"],
    ),
    "a whole day of 23 hours": ("DTSTART;VALUE=DATE:20270328", SPRING, ["03-27T23:00/03-28T22:00"]),
    "whole days, from one of 25 hours on": (
        "DTSTART;VALUE=DATE:20261025\nDTEND;VALUE=DATE:20261026\nRRULE:FREQ=YEARLY;BYMONTH=3;BYMONTHDAY=28",
        SPRING,
        ["03-27T23:00/03-28T22:00"],
    ),
    "24 hours in autumn": (
        "DTSTART;TZID=Europe/Berlin:20271030T120000\nDURATION:PT24H",
        AUTUMN,
        ["10-30T10:00/10-31T10:00"],
    ),
    "in the hour that comes twice: the first": (
        "DTSTART;TZID=Europe/Berlin:20271031T023000\nDURATION:PT15M",
        AUTUMN,
        ["10-31T00:30/10-31T00:45"],
    ),
    "from the first such hour to the second": (
        "DTSTART;TZID=Europe/Berlin:20271031T024500\nDTEND;TZID=Europe/Berlin:20271031T021500",
        AUTUMN,
        ["10-31T00:45/10-31T01:15"],
    ),
    "every hour, the one that comes twice too": (
        "DTSTART;TZID=Europe/Berlin:20271031T010000\nDURATION:PT10M\nRRULE:FREQ=HOURLY;COUNT=3",
        AUTUMN,
        [
            "10-30T23:00/10-30T23:10",
            "10-31T00:00/10-31T00:10",
            "10-31T01:00/10-31T01:10",
            "10-31T02:00/10-31T02:10",
        ],
    ),
    # exactly eight hours by RFC 5545, until six by the clock as most programs show it: busy until the later
    "a night shift, in autumn": (
        "DTSTART;TZID=Europe/Berlin:20271001T220000\nDTEND;TZID=Europe/Berlin:20271002T060000\nRRULE:FREQ=DAILY;UNTIL=20271030T200000Z",
        AUTUMN + timedelta(days=1),
        ["10-30T00:00/10-30T04:00", "10-30T20:00/10-31T05:00"],
    ),
}


@pytest.mark.parametrize("name", CLOCKS)
def test_busy_times_around_clock_changes(name: str) -> None:
    text, start, busy = CLOCKS[name]
    times = read(event(text), start=start, days=5)
    assert (spans(times), times.unread, times.failure) == (busy, 0, None)


# As Outlook writes Berlin: under a name of its own, from 1601 on.
OWN_BERLIN = """BEGIN:VTIMEZONE
TZID:Mitteleuropa
BEGIN:STANDARD
DTSTART:16011028T030000
RRULE:FREQ=YEARLY;BYDAY=-1SU;BYMONTH=10
TZOFFSETFROM:+0200
TZOFFSETTO:+0100
END:STANDARD
BEGIN:DAYLIGHT
DTSTART:16010325T020000
RRULE:FREQ=YEARLY;BYDAY=-1SU;BYMONTH=3
TZOFFSETFROM:+0100
TZOFFSETTO:+0200
END:DAYLIGHT
END:VTIMEZONE
"""


@pytest.mark.parametrize("name", CLOCKS)
def test_a_zone_defined_by_the_calendar_has_the_same_times(name: str) -> None:
    text, start, busy = CLOCKS[name]
    times = read(
        OWN_BERLIN + event(text.replace("Europe/Berlin", "mitteleuropa")), start=start, days=5
    )
    assert (spans(times), times.unread, times.failure) == (busy, 0, None)


def test_an_owner_without_an_address_declines_nothing() -> None:
    body = f"BEGIN:VCALENDAR\nVERSION:2.0\n{event(TEN + chr(10) + 'ATTENDEE;PARTSTAT=DECLINED:mailto:')}\nEND:VCALENDAR"
    times = read_busy_times(
        FeedTask(body.encode(), BERLIN, "", WINTER, WINTER + timedelta(days=14))
    )
    assert spans(times) == at_ten(2)


# ── the bytes ─────────────────────────────────────────────────────────────────────────────────────────────────────────

PLAIN = f"BEGIN:VCALENDAR\nVERSION:2.0\n{event('SUMMARY:Müller' + chr(10) + TEN)}\nEND:VCALENDAR\n"


@pytest.mark.parametrize(
    "body",
    [
        PLAIN.replace("\n", "\r").encode(),
        PLAIN.replace("\n", "\r\n").encode(),
        PLAIN.replace("\n", "\r\r\n").encode(),
        PLAIN.replace("\nUID", "\r\nUID").replace("\nDTEND", "\rDTEND").encode(),
        b"\xef\xbb\xbf" + PLAIN.encode(),
        PLAIN.encode("utf-16"),
        PLAIN.encode("latin-1"),
        PLAIN.encode().replace(b"\xc3\xbc", b"\xc3\r\n \xbc"),
        PLAIN.replace("DTSTART;TZID=Eur", "DTST\n ART;TZ\n\tID=Eur").encode(),
        PLAIN.replace("\n", "\n\n").encode(),
        PLAIN.lower().replace("europe/berlin:20261202t", "Europe/Berlin:20261202T").encode(),
        b"\n\n  " + PLAIN.encode() + b"\n\n\x00\x00\n",
        PLAIN.encode() + b"<!-- served in 3 ms -->\n",
        PLAIN.encode() + PLAIN.encode(),
        PLAIN.encode("utf-8-sig") + PLAIN.encode("utf-8-sig"),
        b"\xef\xbb\xbf" + PLAIN.encode("utf-8-sig"),
    ],
)
def test_any_line_ends_and_folds_are_parsed(body: bytes) -> None:
    times = read_busy_times(
        FeedTask(body, NEW_YORK, "ada@example.org", WINTER, WINTER + timedelta(days=14))
    )
    assert (times.failure, spans(times), times.unread) == (None, at_ten(2), 0)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (PLAIN.removesuffix("END:VCALENDAR\n"), "it is incomplete"),
        (PLAIN.replace("END:VEVENT\n", ""), "an event is not closed"),
        (
            PLAIN.replace("END:VEVENT\nEND:VCALENDAR", event(TEN) + "\nEND:VCALENDAR"),
            "an event is not closed",
        ),
        (PLAIN.replace("END:VCALENDAR", "BEGIN:VEVENT\nDTSTART:2026"), "it is incomplete"),
        (PLAIN.removesuffix("END:VCALENDAR\n") + PLAIN, "it is incomplete"),
        (PLAIN.replace("BEGIN:VEVENT\n", ""), "an event is not closed"),
        (
            "<html><body>Please sign in</body></html>",
            "it is not a calendar: it starts with '<html>",
        ),
        ('{"error": "token expired"}', "it is not a calendar"),
        ("BEGIN:VCARD\nFN:Ada\nEND:VCARD", "it is not a calendar"),
        (PLAIN[: len(PLAIN) // 2], "it is incomplete"),
        (
            "BEGIN:VCALENDAR\n" + "BEGIN:X\n" * 100_000 + "END:VCALENDAR",
            "nested more than 16 levels",
        ),
    ],
)
def test_an_incomplete_calendar_is_a_failure(body: str, says: str) -> None:
    times = read_busy_times(
        FeedTask(body.encode(), BERLIN, "", WINTER, WINTER + timedelta(days=14))
    )
    assert says in (times.failure or "") and not times.busy


@pytest.mark.parametrize("cut", range(20, len(PLAIN) - 20, 7))
def test_a_calendar_cut_anywhere_is_a_failure(cut: int) -> None:
    body = PLAIN.encode()[:cut]
    assert read_busy_times(FeedTask(body, BERLIN, "", WINTER, WINTER + timedelta(days=14))).failure


@pytest.mark.parametrize(
    ("written", "address"),
    [
        ("webcal://cal.example/a.ics", "https://cal.example/a.ics"),
        ("webcals://cal.example:8443/a.ics?t=1", "https://cal.example:8443/a.ics?t=1"),
        ("WEBCAL://cal.example/a", "https://cal.example/a"),
        (" WebCals://cal.example/a ", "https://cal.example/a"),
        ("feed://cal.example/a", "https://cal.example/a"),
        ("feed:https://cal.example/a", "https://cal.example/a"),
        ("webcal:https://cal.example/a", "https://cal.example/a"),
        ("webcal://https://cal.example/a", "https://cal.example/a"),
        ("feed:webcal://cal.example/a", "https://cal.example/a"),
        ("http://cal.example/webcal://x", "http://cal.example/webcal://x"),
    ],
)
def test_the_schemes_of_calendar_urls(written: str, address: str) -> None:
    assert clean_feed_url(written) == address


@pytest.mark.parametrize(
    "line",
    [
        "DTSTART;TZID=x:" + ":1" * 500_000 + "x",
        'DTSTART;A="' + '"a' * 500_000,
        "DTSTART" + ';A="b"' * 200_000,
    ],
)
def test_a_line_of_a_megabyte_is_parsed_in_linear_time(line: str) -> None:
    times = read(event(line))
    assert (times.busy, times.unread, times.failure) == ([], 1, None)


# ── against a plain count of days ─────────────────────────────────────────────────────────────────────────────────────


@settings(deadline=None, max_examples=150)
@given(
    zone=st.sampled_from(
        [BERLIN, NEW_YORK, "Asia/Tokyo", "Pacific/Auckland", "Asia/Kathmandu", "Atlantic/Azores"]
    ),
    owner=st.sampled_from([BERLIN, NEW_YORK, "Pacific/Kiritimati"]),
    first=st.dates(date(2026, 9, 1), date(2026, 12, 10)),
    minute=st.integers(0, 1439),
    step=st.integers(1, 9),
    last=st.datetimes(datetime(2026, 9, 1), datetime(2027, 1, 1)).map(
        lambda at: at.replace(second=0, microsecond=0)
    ),
    kind=st.sampled_from(["local", "utc", "offset", "day"]),
)
def test_until_in_any_zone(
    zone: str, owner: str, first: date, minute: int, step: int, last: datetime, kind: str
) -> None:
    """Every `step` days at one local time, until a moment written in one of four ways."""
    clocks = ZoneInfo(zone)
    start = datetime(first.year, first.month, first.day) + timedelta(minutes=minute)
    written = {
        "local": f"{last:%Y%m%dT%H%M%S}",
        "utc": f"{last.replace(tzinfo=clocks).astimezone(UTC):%Y%m%dT%H%M%SZ}",
        "offset": f"{last.replace(tzinfo=clocks):%Y%m%dT%H%M%S%z}",
        "day": f"{last:%Y%m%d}",
    }[kind]
    text = f"DTSTART;TZID={zone}:{start:%Y%m%dT%H%M%S}\nDURATION:PT5M\nRRULE:FREQ=DAILY;INTERVAL={step};UNTIL={written}"
    expected: list[datetime] = []
    wall = start
    while wall.year < 2028:
        begins = wall.replace(tzinfo=clocks).astimezone(UTC)
        ends_later = begins.astimezone(ZoneInfo(owner)).date() > last.date() < wall.date()
        if ends_later if kind == "day" else begins > last.replace(tzinfo=clocks).astimezone(UTC):
            break
        if WINTER - timedelta(minutes=5) < begins < WINTER + timedelta(days=14):
            expected.append(max(begins, WINTER))
        wall += timedelta(days=step)
    assert [one.starts_at for one in read(event(text), owner).busy] == expected


@settings(deadline=None, max_examples=120)
@given(
    frequency=st.sampled_from(["HOURLY", "DAILY", "WEEKLY", "MONTHLY", "YEARLY"]),
    interval=st.integers(1, 40),
    days=st.lists(st.sampled_from(["MO", "WE", "SU"]), max_size=2, unique=True),
    week=st.sampled_from(["MO", "SU", "TH"]),
    start=st.datetimes(datetime(2023, 1, 1), datetime(2026, 12, 1)).map(
        lambda at: at.replace(microsecond=0)
    ),
)
def test_skipping_years_of_a_series_gives_the_same_times(
    frequency: str, interval: int, days: list[str], week: str, start: datetime
) -> None:
    text = f"FREQ={frequency};INTERVAL={interval};WKST={week}" + (
        f";BYDAY={','.join(days)}" if days else ""
    )
    rule = read_rule(text, [])
    assert rule
    low, high = datetime(2026, 11, 30), datetime(2026, 12, 20)
    assert list(list_times(rule, start, low, high)) == rrulestr(text, dtstart=start).between(
        low, high, inc=True
    )

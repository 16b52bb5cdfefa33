"""An invalid value is replaced or left out, and the rest of the request is stored."""

import json
import time
import uuid
from datetime import UTC, date, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from everafter.core import lenient
from everafter.core.values import (
    clean_text,
    fold_name,
    read_day,
    read_moment,
    read_number,
    read_whole,
)
from everafter.events.rules import check_events
from everafter.events.segment import decode_request
from everafter.suppliers.rules import read_traits
from helpers_server import Server
from test_events_http import codes, post, track
from test_events_http import key as key
from test_events_http import supplier as supplier
from test_events_rules import NOW, SUPPLIER, frame

DECODER = msgspec.json.Decoder()


# ── JSON ──────────────────────────────────────────────────────────────────────────────────────────────────────────────

plain = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
)
documents = st.recursive(
    plain | st.text(max_size=12),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(documents)
def test_valid_json_is_decoded_unchanged(document: Any) -> None:
    for text in (json.dumps(document), json.dumps(document, ensure_ascii=False, indent=1)):
        assert lenient.repair(text) == text
        assert lenient.decode(text, DECODER) == DECODER.decode(text)


class _Bad:
    """A value in a document that no strict decoder takes: `text` is how a sender writes it, `value` how it is read."""

    def __init__(self, text: str, value: Any) -> None:
        self.text, self.value = text, value

    def __repr__(self) -> str:
        return self.text


LOST = [
    "NaN",
    "Infinity",
    "-Infinity",
    "nan",
    "-inf",
    "1e999",
    "-1E400",
    "9" * 5000,
    "01",
    "0x1F",
    "undefined",
    "None",
    "+1",
]
STRINGS = {
    r'"cut \ud83d"': "cut \ufffd",
    r'"\udc00 other half"': "\ufffd other half",
    r'"\ud83d\ud83d\ude00"': "\ufffd😀",
    r'"NaN \" Infinity \ud800"': 'NaN " Infinity \ufffd',
    r'"C:\\ud83d \ud83d"': "C:\\ud83d \ufffd",
    '"raw\ttab\x01"': "raw\ttab\x01",
    r'"\x41 \' \u12"': r"\x41 \' \u12",
}
bad = st.sampled_from(
    [*(_Bad(text, lenient.LOST + (text if len(text) <= 40 else text[:40] + "…")) for text in LOST)]
    + [_Bad(text, value) for text, value in STRINGS.items()]
)
dirty = st.recursive(
    plain | st.text(max_size=12) | bad,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=20,
)


def write(document: Any) -> str:
    """JSON, with the bad values as their senders write them."""
    if isinstance(document, _Bad):
        return document.text
    if isinstance(document, dict):
        return (
            "{"
            + ", ".join(f"{json.dumps(name)}: {write(item)}" for name, item in document.items())
            + "}"
        )
    return (
        f"[{','.join(map(write, document))}]"
        if isinstance(document, list)
        else json.dumps(document)
    )


def expected(document: Any) -> Any:
    if isinstance(document, dict):
        return {name: expected(item) for name, item in document.items()}
    if isinstance(document, list):
        return [expected(item) for item in document]
    return document.value if isinstance(document, _Bad) else document


@given(st.lists(dirty, max_size=5))
def test_an_invalid_value_does_not_affect_others(document: list[Any]) -> None:
    assert lenient.decode(write(document), DECODER) == expected(document)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "nonsense",
        "NaN",
        '{"a": "open',
        "{'a': 1}",
        "[1,]",
        '{"a" 1}',
        "{a: 1}",
        "[" * 9000,
    ],
)
def test_text_that_is_not_json_is_rejected(text: str) -> None:
    with pytest.raises((msgspec.DecodeError, RecursionError)):
        lenient.decode(text, DECODER)


def test_extreme_nesting_removes_only_the_nested_value() -> None:
    deep = '{"a":' * 5000 + "1" + "}" * 5000
    read = lenient.decode(f'{{"before": 1, "deep": [{deep}, 2], "after": "]"}}', DECODER)
    assert (read["before"], read["deep"][1], read["after"]) == (1, 2, "]")


@pytest.mark.parametrize(
    "body",
    [
        b'\xef\xbb\xbf{"event": "caf\xc3\xa9"}',
        '{"event": "café"}'.encode("utf-16"),
        '{"event": "café"}'.encode("utf-16-le"),
        '{"event": "café"}'.encode("utf-32-be"),
        *(
            b'{"event": "caf\\u00e9"}'.decode().encode(wide)
            for wide in ("utf-16-le", "utf-16-be", "utf-32-le")
        ),
    ],
)
def test_bodies_in_other_encodings_are_decoded(body: bytes) -> None:
    assert decode_request(body, "track").raw["type"].to_list() == ["café"]


# ── values ────────────────────────────────────────────────────────────────────────────────────────────────────────────

NOON = datetime(2026, 11, 27, 17, 20, tzinfo=UTC)


@pytest.mark.parametrize(
    "value",
    [
        1795800000, 1795800000.0, 1795800000000, 1795800000000.0, 1795800000000000, 1795800000000000000,
        "1795800000", "1795800000.0", " 1795800000000 ", "1.7958e9", "1795800000000000",
        "2026-11-27T17:20:00Z", "2026-11-27 17:20:00 UTC", "2026-11-27 18:20:00 +0100", "20261127T172000Z",
        "Fri, 27 Nov 2026 17:20:00 GMT", "Fri, 27 Nov 2026 18:20:00 +0100", "27 Nov 2026 17:20", "27-NOV-2026 17:20:00",
        "Fri Nov 27 2026 18:20:00 GMT+0100 (Central European Standard Time)", "Fri Nov 27 2026 12:20:00 GMT-0500",
        "2026-11-27T18:20:00+01:00[Europe/Berlin]", "2026-11-27T17:20:00Z[UTC]", "2026-11-27 17:20:00 +0000 UTC",
        "2026-11-27 18:20:00.000000000 +0100 CET m=+12.345", "2026-11-27t17:20:00z", "2026-11-27T17:20:00,000Z",
    ],
)  # fmt: skip
def test_all_notations_of_a_time_give_the_same_moment(value: Any) -> None:
    assert read_moment(value) == NOON


@given(st.datetimes(datetime(1974, 1, 1), datetime(2100, 1, 1)), st.sampled_from([0, 3, 6, 9]))
def test_the_size_of_an_epoch_number_decides_its_unit(naive: datetime, exponent: int) -> None:
    at = naive.replace(microsecond=0, tzinfo=UTC)
    number = int(at.timestamp()) * 10**exponent
    assert read_moment(number) == read_moment(str(number)) == at


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("2026-12-31T23:59:60Z", datetime(2027, 1, 1, tzinfo=UTC)),
        ("2026-06-30T23:59:60.5+00:00", datetime(2026, 7, 1, tzinfo=UTC)),
        ("2026-11-27T24:00:00Z", datetime(2026, 11, 28, tzinfo=UTC)),
        ("2026-11-27 24:00", datetime(2026, 11, 28, tzinfo=UTC)),
        *(
            (text, None)
            for text in ("2026-11-27T24:00:01Z", "2026-11-27T23:58:60Z", "9999-12-31T24:00:00Z")
        ),
    ],
)
def test_leap_seconds_and_hour_24_are_read(text: str, at: datetime | None) -> None:
    assert read_moment(text) == at


ODD = (
    "1.79E+12",
    "1.79580E+09",
    "27/11/2026 17:20",
    "27 Foo 2026",
    "Fri, 32 Nov 2026 17:20:00 GMT",
    "Nov 2026",
    "2026-11 CET",
)


@pytest.mark.parametrize(
    "value",
    [0, 17, -5, 1e300, float("nan"), True, None, "", "soon", "2026-W05-1", "17", [], {}, *ODD],
)
def test_invalid_times_are_null(value: Any) -> None:
    assert read_moment(value) is None


JUNE = datetime(2027, 6, 20).date()


@pytest.mark.parametrize(
    ("value", "day"),
    [
        *(
            (text, JUNE)
            for text in (
                "2027-06-20",
                " 2027-06-20 ",
                "20270620",
                "2027-06-20T00:00:00Z",
                "2027-06-20T00:00:00.000Z",
            )
        ),
        *(
            (text, JUNE)
            for text in (
                "2027-06-20T23:59:59",
                "2027-06-20T00:00:00+02:00",
                "2027-06-20T22:00:00-07:00",
            )
        ),
        *(
            (value, JUNE)
            for value in (
                "2027-06-20 00:00:00 UTC",
                1813449600,
                1813449600000,
                "1813449600",
                20270620,
            )
        ),
        *(
            (text, JUNE)
            for text in (
                "20 Jun 2027",
                "Sun Jun 20 2027",
                "Sun Jun 20 2027 00:00:00 GMT+0200 (CEST)",
            )
        ),
        ("2027-06-19T22:00:00.000Z", datetime(2027, 6, 19, 22, tzinfo=UTC)),
        ("Sat, 19 Jun 2027 22:00:00 GMT", datetime(2027, 6, 19, 22, tzinfo=UTC)),
        ("2027-06-19T22:00:00+00:00", datetime(2027, 6, 19, 22, tzinfo=UTC)),
        (1813442400000, datetime(2027, 6, 19, 22, tzinfo=UTC)),
        *(
            (text, None)
            for text in (
                "TBD",
                "2027-06",
                "2027",
                "0000-00-00",
                "20/06/2027",
                "06/20/2027",
                "2027-02-31",
                "2027-W25",
            )
        ),
        *((value, None) for value in ("", True, None, 2027, [], "June 2027", "2027-06-20T25:00")),
    ],
)
def test_dates_are_read(value: Any, day: Any) -> None:
    assert read_day(value) == day


def test_whole_numbers_and_ids_are_read() -> None:
    assert [
        read_whole(value) for value in (2900, 2900.0, "2900", "2900.0", " 2900.00 ", "2.9e3")
    ] == [2900] * 6
    assert [
        read_whole(value)
        for value in (1.5, "1.5", True, None, "", "12a", "1,000", float("inf"), "٣")
    ] == [None] * 9
    assert [repr(read_number(value)) for value in ("1.5", 2.0, "40", ".5")] == [
        "1.5",
        "2",
        "40",
        "0.5",
    ]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (2, "2"),
        (2.0, "2"),
        (2.5, "2.5"),
        (" a\nb ", "a b"),
        *((value, None) for value in ("\t ", True, None, [], float("inf"))),
    ],
)
def test_numbers_are_converted_to_text_where_text_is_expected(value: Any, text: str | None) -> None:
    properties = json.dumps({"ticket_id": 1, "priority": value})
    good = check_events(
        frame({"type": "ticket_opened", "properties": properties}), received_at=NOW
    ).good
    kept = json.loads(good["properties"][0]).get("priority")
    assert (kept, read_traits({"plan": value})[0].get("plan")) == (text, text)


def test_line_breaks_in_texts_become_spaces() -> None:
    lines = [
        "Anna\tBell",
        "Anna\nBell",
        "Anna \r\n Bell",
        "\0Anna\x01\x02Bell\x7f",
        "Anna\u2028Bell",
        "Anna\x85Bell",
        "Anna\ud800Bell",
    ]
    assert {clean_text(text) for text in lines} == {"Anna Bell"}
    names = [
        "Vendor Type",
        "vendor_type",
        "vendorType",
        "VENDOR-TYPE",
        " 'vendor type' ",
        "\ufeffVendor\xa0Type",
    ]
    assert {fold_name(name) for name in names} == {"vendortype"}


# ── events ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@settings(max_examples=60)
@given(
    st.dictionaries(st.sampled_from(["a", "b", "c", "note"]), dirty, max_size=4),
    st.sampled_from(["TBD", "2027-06", 5, [], "31/01/2027", "2027-02-29", "NaN"]),
)
def test_an_invalid_optional_value_does_not_reject_the_event(
    others: dict[str, Any], wedding: Any
) -> None:
    text = write({"client_id": 7.0, "wedding_date": wedding, "name": "E\tF", **others})
    checked = check_events(frame({"type": "client_added", "properties": text}), received_at=NOW)
    assert checked.rejects.is_empty()
    stored = json.loads(checked.good["properties"][0])
    assert (stored["client_id"], stored["name"], "wedding_date" in stored) == ("7", "E F", False)
    assert "wedding_date" in checked.bad_values[0].reason or len(checked.bad_values) > 1
    for name, item in others.items():
        if not repr(item).count("\\x00") and isinstance(item, str | int | float | bool | None):
            assert stored[name] == item


SENT: list[tuple[str, timedelta, timedelta, timedelta]] = [
    # what it is, the call's time and its sending by the sender's clock, and the call's time by ours: all against receipt
    ("a right clock", timedelta(days=-9), timedelta(0), timedelta(days=-9)),
    ("two hours slow", timedelta(hours=-3), timedelta(hours=-2), timedelta(hours=-1)),
    ("two hours fast", timedelta(hours=1), timedelta(hours=2), timedelta(hours=-1)),
    (
        "years slow",
        timedelta(days=-20_000, minutes=-5),
        timedelta(days=-20_000),
        timedelta(minutes=-5),
    ),
    ("a year fast", timedelta(days=365, minutes=-5), timedelta(days=365), timedelta(minutes=-5)),
    ("sent at 0", timedelta(hours=-4), timedelta(days=-20_000), timedelta(hours=-4)),
    ("sent next week", timedelta(hours=-4), timedelta(days=7), timedelta(hours=-4)),
    ("sent in 2100", timedelta(days=-40), timedelta(days=27_000), timedelta(days=-40)),
    (
        "sent before it happened",
        timedelta(minutes=-1),
        timedelta(minutes=-10),
        timedelta(minutes=-1),
    ),
    ("sent in the same moment", timedelta(seconds=-3), timedelta(seconds=-4), timedelta(0)),
]


@pytest.mark.parametrize(("what", "made", "sent", "ours"), SENT)
def test_the_senders_clock_is_corrected(
    what: str, made: timedelta, sent: timedelta, ours: timedelta
) -> None:
    raw = frame({"occurred_at": (NOW + made).isoformat()})
    checked = check_events(raw, received_at=NOW, sent_at=NOW + sent, live=True)
    assert checked.good["occurred_at"].to_list() == [NOW + ours], what


def test_live_events_are_never_in_the_future() -> None:
    ahead = [
        timedelta(seconds=2),
        timedelta(hours=20),
        timedelta(hours=24),
        timedelta(hours=25),
        timedelta(days=4000),
    ]
    raw = frame(
        *({"occurred_at": (NOW + span).isoformat()} for span in ahead), {"occurred_at": None}
    )
    checked = check_events(raw, received_at=NOW, live=True)
    # in the order of the calls, a microsecond apart
    assert checked.good["occurred_at"].to_list() == [
        NOW + timedelta(microseconds=row) for row in range(6)
    ]
    assert [one.row for one in checked.bad_values] == [3, 4]
    filed = check_events(raw[:5], received_at=NOW)
    assert filed.rejects["code"].to_list() == ["future", "future"]
    assert filed.good["occurred_at"].to_list() == [NOW + span for span in ahead[:3]]


def test_original_timestamp_replaces_an_unreadable_timestamp() -> None:
    body = {
        "userId": SUPPLIER,
        "event": "login",
        "timestamp": "broken",
        "originalTimestamp": 1795800000000,
    }
    assert decode_request(json.dumps(body).encode(), "track").raw["occurred_at"].to_list() == [
        "1795800000000"
    ]


# ── over HTTP ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_invalid_json_values_in_a_batch_are_replaced(
    server: Server, supplier: str, key: str
) -> None:
    calls = [
        track(supplier, "price_set", properties={"amount": "BAD NaN", "note": "NaN, Infinity"}),
        track(supplier, "note_saved", properties={"text": "HALF", "KEY": 1}),
        track(
            supplier, "size_set", properties={"size": "BAD 1e999", "of": {"deep": "DEEP"}, "n": 1}
        ),
        track(supplier, context={"screen": {"density": "BAD Infinity"}}),
        track(supplier, timestamp="BAD NaN"),
        {
            "type": "identify",
            "userId": supplier,
            "traits": {"name": "HALF", "mrr_minor": "BAD NaN", "plan": "pro", "x": "a\0b"},
        },
        track(supplier, properties={"latin": "BYTE"}),
        "BAD [[[[",
        track(
            supplier,
            "usage_reported",
            properties={"resource": "seats", "used": "3.0", "limit": None},
        ),
        track(
            supplier,
            "usage_reported",
            properties={"resource": "forms", "used": 2.0, "limit": "BAD NaN"},
        ),
        track(
            supplier, "usage_reported", properties={"resource": "x", "used": "BAD NaN", "limit": 1}
        ),
    ]
    text = json.dumps({"batch": calls, "sentAt": "BAD NaN", "context": "HALF"})
    text = (
        text.replace("HALF", "cut \\ud83d")
        .replace("KEY", "\\udfff")
        .replace('"BAD [[[["', "[" * 5000 + "]" * 5000)
    )
    for word in ("NaN", "1e999", "Infinity"):
        text = text.replace(f'"BAD {word}"', word)
    body = text.replace('"DEEP"', "[" * 5000 + "]" * 5000).encode().replace(b"BYTE", b"caf\xe9")
    answer = post(server, key, b"\xef\xbb\xbf" + body)
    assert answer.status_code == 200
    assert (answer.json()["accepted"], codes(answer)) == (
        9,
        [
            *(
                (0, "bad_value"),
                (2, "bad_value"),
                (2, "bad_value"),
                (5, "bad_trait"),
                (7, "unreadable"),
            ),
            *((9, "bad_value"), (10, "missing_property")),
        ],
    )
    stored = server.sql("SELECT type, properties FROM events ORDER BY received_at")
    assert stored == [
        ("price_set", {"amount": None, "note": "NaN, Infinity"}),
        ("note_saved", {"text": "cut \ufffd", "\ufffd": 1}),
        ("size_set", {"size": None, "n": 1}),
        ("login", None),
        ("login", None),
        ("login", {"latin": "caf\ufffd"}),
        ("usage_reported", {"resource": "seats", "used": 3}),
        ("usage_reported", {"resource": "forms", "used": 2}),
    ]
    assert server.sql("SELECT name, plan, traits FROM suppliers") == [
        ("cut \ufffd", "pro", {"x": "a\ufffdb"})
    ]
    server.wait_folded()
    [(usage, ratio)] = server.sql("SELECT usage, usage_ratio FROM supplier_activity")
    assert {name: report[:2] for name, report in usage.items()} == {
        "seats": [3.0, None],
        "forms": [2.0, None],
    }
    assert ratio is None


def test_posthog_bodies_are_decoded_leniently(server: Server, supplier: str, key: str) -> None:
    def event(name: str, properties: str) -> str:
        return f'{{"event": "{name}", "distinct_id": "{supplier}", "uuid": "{uuid.uuid4()}", "properties": {properties}}}'

    deep = "[" * 2000 + "]" * 2000
    events = [
        event("$identify", r'{"$set": {"name": "B\ud83d", "mrr_minor": NaN}}'),
        event("note_saved", r'{"text": "cut \ud83d", "price": -Infinity}'),
        event("nested", f'{{"deep": {deep}, "n": 1}}'),
        event("login", "{}").replace('"event"', '"offset": 60000, "event"'),
    ]
    answer = post(server, key, f'{{"batch": [{",".join(events)}]}}'.encode(), "/batch/")
    assert (answer.status_code, answer.json()["accepted"]) == (200, 4)
    assert codes(answer) == [(0, "bad_trait"), (1, "bad_value"), (2, "bad_value")]
    stored = server.sql("SELECT properties FROM events ORDER BY received_at")
    assert stored == [({"text": "cut \ufffd", "price": None},), ({"n": 1},), (None,)]
    [(age,)] = server.sql(
        "SELECT extract(epoch FROM received_at - occurred_at)::float FROM events WHERE type = 'login'"
    )
    assert age == pytest.approx(60, abs=0.001)
    single = event("note_saved", r'{"text": "\udc00", "n": NaN}').encode()
    assert post(server, key, single, "/e/").json()["accepted"] == 1


def test_dates_are_those_of_the_suppliers_time_zone(server: Server, key: str) -> None:
    zones = {
        "Europe/Berlin": ("2027-06-19T22:00:00.000Z", "2027-06-20"),
        "America/New_York": ("2027-06-20T04:00:00Z", "2027-06-20"),
        "Pacific/Auckland": (1813406400000, "2027-06-20"),
        "Asia/Kolkata": ("2027-06-19T18:30:00+00:00", "2027-06-20"),
        "America/Los_Angeles": ("2027-06-20T00:00:00Z", "2027-06-20"),
        "Pacific/Kiritimati": ("2027-06-20T23:00:00+05:00", "2027-06-20"),
        "Europe/London": ("2027-03-28T23:30:00Z", "2027-03-29"),
        None: ("2027-06-19T22:00:00.000Z", "2027-06-19"),
    }
    ids = {zone: str(uuid.uuid4()) for zone in zones}

    def added(zone: Any, client: str) -> dict[str, Any]:
        return track(
            ids[zone],
            "client_added",
            properties={"client_id": client, "wedding_date": zones[zone][0]},
        )

    # those that come first wait for their supplier, and are settled with the zone that comes with it
    early = post(server, key, {"batch": [added(zone, "early") for zone in zones]})
    assert {code for _, code in codes(early)} == {"unknown_supplier"}
    known = [
        {"type": "identify", "userId": ids[zone], "traits": {"timezone": zone}} for zone in zones
    ]
    together = post(server, key, {"batch": [*(added(zone, "same") for zone in zones), *known]})
    assert together.json()["rejected"] == []
    assert (
        post(server, key, {"batch": [added(zone, "late") for zone in zones]}).json()["rejected"]
        == []
    )
    server.wait_folded()
    for zone, (_, day) in zones.items():
        found = server.sql(
            "SELECT client_id, wedding_date::text FROM clients WHERE supplier_id = %s ORDER BY 1",
            ids[zone],
        )
        assert found == [("early", day), ("late", day), ("same", day)], zone


def test_dates_are_converted_again_when_the_time_zone_changes(
    server: Server, supplier: str, key: str
) -> None:
    def identify(zone: str) -> Any:
        return post(
            server, key, {"userId": supplier, "traits": {"timezone": zone}}, "/v1/identify"
        ).json()["accepted"]

    def days() -> Any:
        deadline = time.monotonic() + 30
        while server.sql(
            "SELECT (SELECT count(*) FROM events_pending) + (SELECT count(*) FROM zone_changes)"
        ) != [(0,)]:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        [(weddings,)] = server.sql(
            "SELECT weddings FROM supplier_activity WHERE supplier_id = %s", supplier
        )
        found = server.sql(
            "SELECT wedding_date FROM clients WHERE supplier_id = %s ORDER BY client_id", supplier
        )
        assert weddings == sorted((day - date(1970, 1, 1)).days for (day,) in found)
        return [day.isoformat() for (day,) in found]

    def added(client: str, day: Any) -> dict[str, Any]:
        return track(
            supplier, "client_added", properties={"client_id": client, "wedding_date": day}
        )

    given_days = [
        "2027-06-19T22:00:00Z",
        "2027-06-20",
        "2027-06-20T00:00:00Z",
        "2027-06-20T04:00:00.000Z",
    ]
    post(
        server, key, {"batch": [added(f"c{number}", day) for number, day in enumerate(given_days)]}
    )
    assert days() == ["2027-06-19", "2027-06-20", "2027-06-20", "2027-06-20"]
    assert identify("Europe/Berlin") == 1
    assert days() == ["2027-06-20"] * 4
    assert identify("Pacific/Honolulu") == 1
    assert days() == ["2027-06-19", "2027-06-20", "2027-06-20", "2027-06-19"]
    # once the day itself is said, no zone moves it
    post(server, key, {"batch": [added("c0", "2027-07-01")]})
    assert identify("Europe/Berlin") == 1
    assert days() == ["2027-07-01", "2027-06-20", "2027-06-20", "2027-06-20"]


def test_of_two_calls_with_the_same_time_the_later_counts(server: Server, key: str) -> None:
    at = "2026-05-01T10:00:00Z"
    supplier = str(uuid.uuid4())

    def identify(plan: str, name: str, moment: str | None = at) -> dict[str, Any]:
        call = {
            "type": "identify",
            "userId": supplier,
            "messageId": name,
            "traits": {"plan": plan, "colour": plan},
        }
        return call if moment is None else {**call, "timestamp": moment}

    def state() -> Any:
        return server.sql(
            "SELECT plan, traits->>'colour', trait_times FROM suppliers WHERE id = %s", supplier
        )[0]

    for plans in (("pro", "free"), ("free", "pro"), ("studio", "pro", "basic")):
        batch = [identify(plan, f"{plans}{plan}", None) for plan in plans]
        assert post(server, key, {"batch": batch}).json()["rejected"] == []
        assert state()[:2] == (plans[-1], plans[-1])
    supplier = str(uuid.uuid4())
    for plan in ("a", "c", "b"):
        post(server, key, {"batch": [identify(plan, plan)]})
        assert state()[:2] == (plan, plan)
    before = state()
    # an SDK that sends again does not undo what was said after it, nor does a batch that holds a call twice
    assert (
        post(server, key, {"batch": [identify("a", "a"), identify("c", "c")]}).json()["duplicates"]
        == 2
    )
    assert state() == before
    post(server, key, {"batch": [identify("d", "d"), identify("e", "e"), identify("d", "d")]})
    assert state()[:2] == ("e", "e")
    # a value kept by an earlier version, with its hash, gives way to what arrives now about the same moment
    server.sql(
        "UPDATE suppliers SET trait_times = %s WHERE id = %s",
        '{"plan": "2026-05-01T10:00:00.000000 ffffffff"}',
        supplier,
    )
    post(server, key, {"batch": [identify("f", "f")]})
    assert state()[0] == "f"
    post(server, key, {"batch": [identify("old", "old", "2026-04-30T10:00:00Z")]})
    assert state()[0] == "f"


def test_of_two_events_with_the_same_time_the_later_counts(
    server: Server, supplier: str, key: str
) -> None:
    def client(name: str, day: str) -> dict[str, Any]:
        properties = {"client_id": "c", "name": name, "wedding_date": day}
        return track(
            supplier, "client_added", timestamp="2026-05-01T10:00:00Z", properties=properties
        )

    def plan(name: str) -> dict[str, Any]:
        return track(
            supplier,
            "subscription_changed",
            timestamp="2026-05-01T10:00:00Z",
            properties={"plan": name},
        )

    def state() -> Any:
        server.wait_folded()
        return server.sql(
            "SELECT name, wedding_date::text, plan FROM clients JOIN supplier_activity USING (supplier_id) WHERE supplier_id = %s",
            supplier,
        )[0]

    post(
        server,
        key,
        {
            "batch": [
                client("Z", "2027-09-09"),
                client("A", "2027-05-05"),
                plan("pro"),
                plan("free"),
            ]
        },
    )
    assert state() == ("A", "2027-05-05", "free")
    post(server, key, {"batch": [client("M", "2027-07-07"), plan("basic")]})
    assert state() == ("M", "2027-07-07", "basic")


def test_blank_values_count_as_missing(server: Server, supplier: str, key: str) -> None:
    blank = {"messageId": "  ", "timestamp": " ", "groupId": "\t"}
    answer = post(
        server, key, {"batch": [{**track(supplier), **blank}, {**track(supplier), **blank}]}
    )
    assert (answer.json()["accepted"], answer.json()["rejected"]) == (2, [])
    answer = post(
        server,
        key,
        [{"event": "login", "distinct_id": supplier, "timestamp": " ", "uuid": ""}],
        "/e/",
    )
    assert answer.json()["accepted"] == 1


def test_an_events_name_is_one_line(server: Server, supplier: str, key: str) -> None:
    post(
        server, key, {"batch": [track(supplier, "Gallery\r\nopened"), track(supplier, "\tlogin\0")]}
    )
    assert server.sql("SELECT type FROM events ORDER BY type") == [("Gallery opened",), ("login",)]


@pytest.mark.parametrize(
    ("consent", "words"),
    [
        (True, ["t", "TRUE", " Yes ", "y", "on", 1, 1.0, "1"]),
        (False, ["f", "False", "no", "N", "off", 0, 0.0, "0", False]),
    ],
)
def test_consent_is_read_in_every_notation(consent: bool, words: list[Any]) -> None:
    for word in words:
        assert read_traits({"consent": word}) == ({"consent": consent}, [])


@pytest.mark.parametrize("word", ["maybe", 2, -1, [], {}, "null", 0.5])
def test_an_invalid_consent_is_reported(word: Any) -> None:
    good, bad = read_traits({"consent": word})
    assert (good, [one.trait for one in bad]) == ({}, ["consent"])


def test_names_are_stored_on_one_line_and_cut(server: Server, key: str) -> None:
    supplier = str(uuid.uuid4())
    traits = {
        "Name": "Anna\n\tBell\0",
        "vendor type": "Hair\nMake-up",
        "plan": "p" * 300,
        "VendorSize": 3,
        "bio\n": "two\nlines",
        "big": 10**350,
    }
    answer = post(server, key, {"userId": supplier, "traits": traits}, "/v1/identify")
    assert (answer.json()["accepted"], codes(answer)) == (1, [(0, "bad_trait")] * 2)
    said = {one["message"] for one in answer.json()["rejected"]}
    assert said == {
        "plan is longer than 200 characters and was cut",
        "big is a number of 300 digits or more",
    }
    assert server.sql("SELECT name, vendor_type, plan, traits FROM suppliers") == [
        ("Anna Bell", "hair_make_up", "p" * 200, {"VendorSize": 3, "bio": "two\nlines"})
    ]

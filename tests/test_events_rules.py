"""The check of events, and reading of traits, as pure functions."""

import random
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from everafter.core.values import read_moment
from everafter.events import model
from everafter.events.posthog import decode_posthog
from everafter.events.rules import check_events, read_waiting, split_unknown
from everafter.events.segment import decode_request
from everafter.suppliers.model import COUNTRIES, TraitUpdate
from everafter.suppliers.rules import merge_updates, read_traits

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
SUPPLIER = "decbfb99-d3eb-40b6-b029-58078df1497c"

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 10**20)
    | st.floats(allow_nan=False)
    | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)
names = [
    "client_id",
    "form_id",
    "message_id",
    "feature",
    "ticket_id",
    "resource",
    "used",
    "limit",
    "wedding_date",
    "name",
    "x",
]
properties = st.dictionaries(
    st.sampled_from(names),
    json_values | st.sampled_from(["c1", 7, 0, "2026-08-01", "2026-13-01"]),
    max_size=5,
)
rows = st.lists(
    st.fixed_dictionaries(
        {
            "supplier_id": st.sampled_from(
                [SUPPLIER, SUPPLIER.upper(), f" {SUPPLIER}", "x", "", None]
            ),
            "message_id": st.sampled_from(["m1", "m2", "", None, "m" * 201, "a\nb"]),
            "type": st.sampled_from([*model.CANONICAL, "page", "other", "", "Form Sent", None]),
            "occurred_at": st.sampled_from(
                ["2026-01-01T10:00:00Z", "2026-01-01", "x", "", "2027-01-01", "1990-01-01", None]
            ),
            "properties": st.one_of(
                st.none(),
                st.sampled_from(["", "null", "[]", "{", "3"]),
                properties.map(lambda p: msgspec.json.encode(p).decode()),
            ),
        }
    ),
    max_size=30,
)


def frame(*events: dict[str, Any]) -> pl.DataFrame:
    start = {
        "supplier_id": SUPPLIER,
        "message_id": "m",
        "type": "login",
        "occurred_at": "2026-01-01T10:00:00Z",
        "properties": None,
    }
    return pl.DataFrame(
        [{"row": row, **start, **event} for row, event in enumerate(events)],
        schema=model.RAW_SCHEMA,
    )


@settings(max_examples=150)
@given(rows, st.integers(0, 30))
def test_every_row_is_accepted_or_rejected_whatever_the_slicing(
    events: list[dict[str, Any]], cut: int
) -> None:
    raw = pl.DataFrame(
        [{"row": row, **event} for row, event in enumerate(events)], schema=model.RAW_SCHEMA
    )
    whole = check_events(raw, received_at=NOW)
    assert sorted([*whole.good["row"], *whole.rejects["row"]]) == list(range(len(events)))
    assert whole.good.schema == pl.Schema(model.CHECKED_SCHEMA)
    assert whole.rejects.schema == pl.Schema(model.REJECT_SCHEMA)
    parts = [check_events(part, received_at=NOW) for part in (raw[:cut], raw[cut:])]
    assert pl.concat([part.good for part in parts]).equals(whole.good)
    assert pl.concat([part.rejects for part in parts]).equals(whole.rejects)


@settings(max_examples=100)
@given(rows)
def test_checking_is_idempotent(events: list[dict[str, Any]]) -> None:
    good = check_events(
        pl.DataFrame(
            [{"row": row, **event} for row, event in enumerate(events)], schema=model.RAW_SCHEMA
        ),
        received_at=NOW,
    ).good
    raw = good.with_columns(pl.col("occurred_at").dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ")).select(
        list(model.RAW_SCHEMA)
    )
    again = check_events(raw, received_at=NOW)
    assert again.rejects.is_empty()
    assert again.good.drop("external_id").equals(good.drop("external_id"))


@settings(max_examples=50)
@given(rows)
def test_waiting_events_are_restored_unchanged(events: list[dict[str, Any]]) -> None:
    checked = check_events(
        pl.DataFrame(
            [{"row": row, **event} for row, event in enumerate(events)], schema=model.RAW_SCHEMA
        ),
        received_at=NOW,
    )
    waiting = split_unknown(checked, [])
    assert waiting.good.is_empty()
    payloads = waiting.rejects.filter(pl.col("code") == "unknown_supplier")["payload"].to_list()
    assert read_waiting(payloads).equals(checked.good.drop("row", "external_id"))


def test_properties_are_normalized() -> None:
    checked = check_events(
        frame(
            {
                "type": "client_added",
                "properties": '{ "client_id": 7, "wedding_date": "2026-08-01T15:00:00Z", "name": null }',
            },
            {
                "type": "usage_reported",
                "properties": '{"resource": "seats", "used": 0, "limit": 2.5}',
            },
            {"type": "login", "properties": "{}"},
            {"type": "invite_sent_to_client"},
        ),
        received_at=NOW,
    )
    assert checked.good["properties"].to_list() == [
        '{"client_id":"7","wedding_date":"2026-08-01T15:00:00Z"}',
        '{"resource":"seats","used":0,"limit":2.5}',
        None,
        None,
    ]


def test_the_limits_of_accepted_times() -> None:
    edges = [
        ((NOW + timedelta(hours=24)).isoformat(), None),
        ((NOW + timedelta(hours=24, seconds=1)).isoformat(), "future"),
        ("2000-01-01T00:00:00Z", None),
        ("1999-12-31T23:59:59.999999Z", "too_old"),
        ("2026-03-29T02:30:00+02:00", None),
        ("2026-02-29", "bad_time"),
        ("0001-01-01T00:00:00+14:00", "bad_time"),
        ("1767225600", None),
        ("176722560", "too_old"),
        ("17672256", "bad_time"),
    ]
    checked = check_events(frame(*({"occurred_at": text} for text, _ in edges)), received_at=NOW)
    found = dict(zip(checked.rejects["row"], checked.rejects["code"], strict=True))
    assert [found.get(row) for row in range(len(edges))] == [code for _, code in edges]
    sent_at = NOW - timedelta(minutes=5)
    skewed = check_events(
        frame({}, {"occurred_at": None}), received_at=NOW, sent_at=sent_at, live=True
    )
    after = timedelta(microseconds=1)
    assert skewed.good["occurred_at"].to_list() == [
        datetime(2026, 1, 1, 10, 5, tzinfo=UTC),
        NOW + after,
    ]


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-01-02T03:04:05.678901234Z", datetime(2026, 1, 2, 3, 4, 5, 678901, UTC)),
        ("2026-01-02t03:04:05z", datetime(2026, 1, 2, 3, 4, 5, 0, UTC)),
        ("2026-01-02 03:04:05", datetime(2026, 1, 2, 3, 4, 5, 0, UTC)),
        ("2026-01-02T03:04+0530", datetime(2026, 1, 1, 21, 34, 0, 0, UTC)),
        (" 2026-01-02 ", datetime(2026, 1, 2, tzinfo=UTC)),
        ("soon", None),
    ],
)
def test_times_are_parsed(text: str, moment: datetime | None) -> None:
    assert read_moment(text) == moment


@settings(max_examples=200)
@given(
    st.binary(max_size=60) | json_values.map(msgspec.json.encode),
    st.sampled_from([None, "track", "identify", "group", "page"]),
)
def test_any_body_is_decoded_or_rejected_with_a_reason(body: bytes, call: str | None) -> None:
    from everafter.core.errors import InputError

    for decode in (lambda: decode_request(body, call), lambda: decode_posthog(body, NOW)):
        try:
            received = decode()
        except InputError as error:
            assert error.message
        else:
            check_events(received.raw, received_at=NOW, sent_at=received.sent_at, live=True)


traits = st.dictionaries(
    st.sampled_from(
        [
            "name",
            "email",
            "vendorType",
            "plan",
            "country",
            "timezone",
            "mrr_minor",
            "client_limit",
            "createdAt",
            "colour",
        ]
    ),
    json_values | st.sampled_from(["a@example.com", "GB", "Europe/Paris", 5, "2026-01-01", "5"]),
    max_size=5,
)


@settings(max_examples=150)
@given(st.lists(st.tuples(st.integers(0, 5), traits), max_size=8), st.randoms())
def test_the_order_of_trait_updates_does_not_matter(
    messages: list[tuple[int, dict[str, Any]]], rng: random.Random
) -> None:
    said = [
        TraitUpdate(SUPPLIER, read_traits(given)[0], NOW + timedelta(days=day), row=row)
        for row, (day, given) in enumerate(messages)
    ]
    shuffled = [*said]
    rng.shuffle(shuffled)
    assert merge_updates(said) == merge_updates(shuffled)


@given(traits)
@example({"name": 1e200})
@example({"name": "x" * 201, "plan": [1]})
def test_each_trait_is_stored_or_reported(given_traits: dict[str, Any]) -> None:
    """Of a long text, both: what is stored, and that the rest was cut."""
    good, bad = read_traits(given_traits)
    cut = sum(1 for one in bad if one.reason.endswith("was cut"))
    control = sum(
        1 for name, value in given_traits.items() if name == "createdAt" and value in (None, "")
    )
    assert len(good) + len(bad) - cut + control == len(given_traits)


def test_traits_are_normalized() -> None:
    good, bad = read_traits(
        {
            "country": "uk",
            "timezone": "america/new_york",
            "vendor_type": "Hair & Make-up",
            "mrr_minor": "2900",
            "consent": "false",
            "x": [1],
        }
    )
    assert bad == []
    assert good == {
        "country": "GB",
        "timezone": "America/New_York",
        "vendor_type": "hair_&_make_up",
        "mrr_minor": 2900,
        "consent": False,
        "x": [1],
    }
    assert len(COUNTRIES) == 249


def test_the_first_account_created_counts_until_a_date_is_reported() -> None:
    moments = [NOW - timedelta(days=days) for days in (3, 9, 1)]
    [profile] = merge_updates([], [(SUPPLIER, None, at) for at in moments])
    assert profile.traits["created_at"][0] == NOW - timedelta(days=9)
    [profile] = merge_updates(
        [TraitUpdate(SUPPLIER, {"created_at": NOW}, datetime(2001, 1, 1, tzinfo=UTC))],
        [(SUPPLIER, None, at) for at in moments],
    )
    assert profile.traits["created_at"][0] == NOW


def test_uuids_are_recognized_in_every_notation() -> None:
    ids = [
        str(uuid.uuid4()),
        uuid.uuid4().hex,
        "{" + str(uuid.uuid4()) + "}",
        str(uuid.uuid4()) + "\n",
        "g" * 36,
    ]
    good = check_events(frame(*({"supplier_id": one} for one in ids)), received_at=NOW).good
    assert good["supplier_id"].to_list()[:4] == [str(uuid.UUID(one.strip())) for one in ids[:4]]
    assert good["external_id"].to_list() == [None] * 4 + ["g" * 36]

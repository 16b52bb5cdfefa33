"""Simulated responses to interventions: reproducible, and only from suppliers that got one."""

from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest

from everafter.demo.model import EVENT_SCHEMA, Market
from everafter.demo.responses import RESPONSE_DAYS, Responses, Sent
from everafter.demo.simulator import simulate
from everafter.events.model import RAW_SCHEMA
from everafter.events.rules import check_events

TODAY = date(2026, 11, 22)
END = datetime(2026, 11, 23, tzinfo=UTC)
AT = END - timedelta(days=60)
TRIGGERS = (
    "no_login_7_days",
    "low_client_adoption",
    "stuck_onboarding",
    "churn_high_assign",
    "high_usage_no_upgrade",
)


@pytest.fixture(scope="module")
def market() -> Market:
    return simulate(120, TODAY, 6, 7)


def respond(market: Market, sent: list[Sent]) -> pl.DataFrame:
    responses = Responses(market, 7, int(END.timestamp()))
    responses.add(sent)
    return responses.between(None, END)


def to_everyone(market: Market, trigger: str, at: datetime = AT) -> list[Sent]:
    return [Sent(supplier.id, trigger, at) for supplier in market.people]


@pytest.mark.parametrize("trigger", TRIGGERS)
def test_responses_are_reproducible_and_valid_events(market: Market, trigger: str) -> None:
    first = respond(market, to_everyone(market, trigger))
    assert first.schema == pl.Schema(EVENT_SCHEMA) and first["occurred_at"].is_sorted()
    assert (
        respond(market, list(reversed(to_everyone(market, trigger))))
        .sort(first.columns)
        .equals(first.sort(first.columns))
    )
    assert first.select("supplier_id", "message_id").is_unique().all()
    raw = first.with_row_index("row").select(
        pl.col("row").cast(pl.Int64), "supplier_id", "message_id", "type",
        pl.col("occurred_at").dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ"), "properties",
    ).cast(RAW_SCHEMA)  # fmt: skip
    assert check_events(raw, received_at=END).rejects.is_empty()
    if first.height:
        assert first["occurred_at"].min() > AT and first["occurred_at"].max() < AT + timedelta(
            days=RESPONSE_DAYS + 4
        )


def test_only_suppliers_with_an_intervention_respond_and_not_all(market: Market) -> None:
    assert respond(market, []).is_empty()
    half = to_everyone(market, "no_login_7_days")[::2]
    responding = set(respond(market, half)["supplier_id"])
    assert responding <= {one.supplier_id for one in half} and 0.5 < len(responding) / len(half) < 1
    assert respond(market, to_everyone(market, "high_usage_no_upgrade")).is_empty()
    assert respond(market, [Sent("not-a-supplier-of-the-demo", "no_login_7_days", AT)]).is_empty()


def test_churning_suppliers_rarely_respond_and_never_after_cancellation(market: Market) -> None:
    leaving = {
        person.id: person
        for person in market.people
        if person.story.cancels and person.story.cancels <= TODAY.toordinal()
    }
    sent = [
        Sent(
            person.id,
            "no_login_7_days",
            datetime.fromordinal(person.story.cancels or 0).replace(tzinfo=UTC) - timedelta(days=9),
        )
        for person in leaving.values()
    ]
    events = respond(market, sent)
    for supplier_id, at in events.select("supplier_id", "occurred_at").iter_rows():
        assert at.toordinal() <= (leaving[supplier_id].story.cancels or 0)
    assert events.filter(pl.col("type") == "login")["supplier_id"].n_unique() <= 0.3 * len(leaving)


def test_consecutive_periods_add_up_to_the_whole(market: Market) -> None:
    responses = Responses(market, 7, int(END.timestamp()))
    responses.add(to_everyone(market, "no_login_7_days"))
    middle = AT + timedelta(days=5)
    parts = pl.concat([responses.between(None, middle), responses.between(middle, END)])
    assert parts.equals(responses.between(None, END)) and parts.height > 500

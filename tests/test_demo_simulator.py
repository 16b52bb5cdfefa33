"""The simulated platform: reproducible, valid and realistic."""

from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest

from everafter.demo.model import CHURNED, COUNTRIES, PLANS, QUEUE_OUTAGE_DAYS, Archetype, Market
from everafter.demo.simulator import simulate
from everafter.demo.stories import draw_suppliers
from everafter.events.model import CANONICAL, RAW_SCHEMA
from everafter.events.rules import check_events
from everafter.suppliers.rules import read_traits

TODAY = date(2026, 11, 22)
END = datetime(2026, 11, 23, tzinfo=UTC)
SEED = 7


@pytest.fixture(scope="module")
def market() -> Market:
    return simulate(300, TODAY, 16, SEED)


def value(name: str) -> pl.Expr:
    return pl.col("properties").str.json_path_match(f"$.{name}")


def of(market: Market, *types: str) -> pl.DataFrame:
    return market.events.filter(pl.col("type").is_in(types))


def test_the_seed_determines_the_world() -> None:
    first, again, other = (simulate(30, TODAY, 6, seed) for seed in (1, 1, 2))
    assert first.events.equals(again.events) and first.suppliers.equals(again.suppliers)
    assert set(first.suppliers["id"]).isdisjoint(other.suppliers["id"])


@pytest.mark.parametrize("later", [1, 45, 400])
def test_a_later_end_only_adds_events(later: int) -> None:
    then = simulate(60, TODAY, 6, SEED)
    now = simulate(60, TODAY + timedelta(days=later), 6, SEED, anchor=TODAY)
    assert now.events.filter(pl.col("occurred_at") < END).equals(then.events)
    assert now.events["occurred_at"].max() >= END + timedelta(days=later - 1)
    assert set(then.suppliers["id"]) <= set(now.suppliers["id"])


def test_invalid_arguments_raise_an_error() -> None:
    for suppliers, until, months in (
        (0, TODAY, 16),
        (10, TODAY, 3),
        (10, TODAY - timedelta(days=1), 16),
    ):
        with pytest.raises(ValueError, match="suppliers must be at least 1"):
            simulate(suppliers, until, months, SEED, anchor=TODAY)


def test_ids_names_and_addresses_are_unique(market: Market) -> None:
    assert market.events.select("supplier_id", "message_id").is_unique().all()
    for column in ("id", "name", "email"):
        assert market.suppliers[column].is_unique().all()
    assert market.suppliers["email"].str.ends_with("@example.com").all()
    start = TODAY.toordinal() - 480
    many = draw_suppliers(5000, SEED, TODAY.toordinal(), start, TODAY.toordinal())
    assert (
        len({supplier.name for supplier in many})
        == len({supplier.email for supplier in many})
        == 5000
    )


def test_every_event_passes_the_check_of_the_ingest(market: Market) -> None:
    raw = market.events.with_row_index("row").select(
        pl.col("row").cast(pl.Int64), "supplier_id", "message_id", "type",
        pl.col("occurred_at").dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ"), "properties",
    ).cast(RAW_SCHEMA)  # fmt: skip
    checked = check_events(raw, received_at=END)
    assert checked.rejects.is_empty()
    assert checked.good["properties"].equals(market.events["properties"])
    assert set(market.events["type"]) == set(CANONICAL)


def test_every_supplier_has_valid_traits(market: Market) -> None:
    columns = (
        "name",
        "email",
        "vendor_type",
        "plan",
        "country",
        "timezone",
        "mrr_minor",
        "client_limit",
    )
    for row in market.suppliers.select(columns).iter_rows(named=True):
        good, bad = read_traits(row)
        assert good == row and not bad


def test_no_events_after_the_end_or_after_cancellation(market: Market) -> None:
    assert market.events["occurred_at"].max() < END
    churned = of(market, "subscription_cancelled").select("supplier_id", churned_at="occurred_at")
    assert churned["supplier_id"].is_unique().all()
    assert (
        market.events.join(churned, on="supplier_id")
        .filter(pl.col("occurred_at") > pl.col("churned_at"))
        .is_empty()
    )


def test_dependent_events_come_in_order(market: Market) -> None:
    def first(kind: str, item: str) -> pl.DataFrame:
        return of(market, kind).select("supplier_id", value(item).alias("item"), at="occurred_at")

    for before, after, item in (
        ("client_added", "client_active", "client_id"),
        ("client_added", "form_sent", "client_id"),
        ("client_added", "invite_sent_to_client", "client_id"),
        ("client_added", "client_lost", "client_id"),
        ("form_sent", "form_completed", "form_id"),
        ("journey_email_sent", "journey_email_opened", "message_id"),
        ("ticket_opened", "ticket_replied", "ticket_id"),
        ("ticket_replied", "ticket_waiting", "ticket_id"),
        ("ticket_waiting", "ticket_resumed", "ticket_id"),
        ("ticket_opened", "ticket_resolved", "ticket_id"),
    ):
        pairs = first(after, item).join(
            first(before, item), on=["supplier_id", "item"], how="left", suffix="_before"
        )
        assert pairs.height and pairs["at_before"].null_count() == 0, (before, after)
        assert (pairs["at"] > pairs["at_before"]).all(), (before, after)


def test_clients_stay_within_the_plans_limit(market: Market) -> None:
    reports = of(market, "usage_reported").select(
        "supplier_id",
        used=value("used").cast(pl.Int64),
        limit=value("limit").cast(pl.Int64),
    )
    assert (reports["used"] <= reports["limit"]).all()
    assert set(reports["limit"]) == {plan.client_limit for plan in PLANS.values()}
    full = reports.filter(pl.col("used") >= 0.8 * pl.col("limit"))["supplier_id"].n_unique()
    assert 10 <= full <= 150


def test_every_archetype_and_country_occurs(market: Market) -> None:
    counts = dict(market.suppliers["archetype"].value_counts().iter_rows())
    assert set(counts) == {str(kind) for kind in Archetype}
    assert set(market.suppliers["country"]) == set(COUNTRIES)
    churned = of(market, "subscription_cancelled").height
    assert (
        churned == sum(counts[kind] for kind in CHURNED)
        and 0.1 <= churned / market.suppliers.height <= 0.15
    )
    few = simulate(25, TODAY, 6, SEED).suppliers["archetype"].n_unique()
    assert few >= 10


def test_rates_match_the_measured_platform(market: Market) -> None:
    """Per supplier and week, within 34 % of the measured platform (50 % for active clients: more large plans)."""
    window = market.events.filter(pl.col("occurred_at") >= datetime(2025, 7, 23, tzinfo=UTC))
    spans = window.group_by("supplier_id").agg(
        (pl.col("occurred_at").max() - pl.col("occurred_at").min()).dt.total_days().alias("days")
    )
    weeks = spans["days"].sum() / 7
    measured = {
        "login": 3.11,
        "feature_used": 4.67,
        "form_sent": 1.46,
        "form_completed": 0.76,
        "client_added": 0.39,
        "client_lost": 0.042,
    }
    for kind, rate in measured.items():
        assert window.filter(pl.col("type") == kind).height / weeks == pytest.approx(
            rate, rel=0.34
        ), kind
    assert window.filter(pl.col("type") == "client_active").height / weeks == pytest.approx(
        3.14, rel=0.5
    )


def test_churned_suppliers_decline_before_cancellation(market: Market) -> None:
    churned = of(market, "subscription_cancelled").select("supplier_id", churned_at="occurred_at")
    weeks_before = (pl.col("churned_at") - pl.col("occurred_at")).dt.total_days() // 7
    near = (
        of(market, "login", "feature_used")
        .join(churned, on="supplier_id")
        .with_columns(weeks_before.alias("week"))
    )
    last = near.filter(pl.col("week") < 2).height / 2
    usual = near.filter(pl.col("week").is_between(10, 15)).height / 6
    assert last < 0.4 * usual


def test_the_ticket_feed_has_an_outage(market: Market) -> None:
    kinds = (
        "ticket_opened",
        "ticket_replied",
        "ticket_waiting",
        "ticket_resumed",
        "ticket_resolved",
    )
    days = of(market, *kinds).select(
        (pl.lit(TODAY) - pl.col("occurred_at").dt.date()).dt.total_days().alias("ago")
    )["ago"]
    inside = days.is_between(QUEUE_OUTAGE_DAYS.start + 1, QUEUE_OUTAGE_DAYS.stop - 2)
    around = days.is_between(QUEUE_OUTAGE_DAYS.start - 20, QUEUE_OUTAGE_DAYS.stop + 20)
    assert not inside.any() and around.sum() > 20


def test_wedding_seasons_follow_the_country(market: Market) -> None:
    weddings = of(market, "client_added").select(
        "supplier_id", day=value("wedding_date").str.to_date()
    )
    joined = weddings.join(
        market.suppliers.select("id", "country"), left_on="supplier_id", right_on="id"
    )
    months = joined.group_by("country", month=pl.col("day").dt.month()).len()

    def share(country: str, *wanted: int) -> float:
        mine = months.filter(pl.col("country") == country)
        return mine.filter(pl.col("month").is_in(wanted))["len"].sum() / mine["len"].sum()

    assert share("GB", 6, 7, 8) > 2 * share("GB", 12, 1, 2)
    assert share("US", 9, 10, 11) > share("US", 6, 7, 8) > share("US", 12, 1, 2)
    assert share("NZ", 1, 2, 3) > 2 * share("NZ", 6, 7, 8)
    assert share("AU", 10, 11) > 2 * share("AU", 6, 7)
    assert (joined["day"].dt.weekday() == 6).mean() > 0.4


def test_logins_are_in_the_daytime_of_the_supplier(market: Market) -> None:
    logins = of(market, "login").join(
        market.suppliers.select("id", "timezone"), left_on="supplier_id", right_on="id"
    )
    for (zone,), mine in logins.group_by("timezone"):
        hours = mine["occurred_at"].dt.convert_time_zone(str(zone)).dt.hour()
        assert hours.is_between(5, 23).all(), zone


def test_clients_have_two_first_names(market: Market) -> None:
    names = of(market, "client_added").select(value("name").alias("name"))["name"]
    assert names.null_count() == 0 and names.str.contains(r"^\S+ & \S+$").all()
    assert names.n_unique() > 500

"""Fold events into supplier activity. Pure; the result is the same in any order and in any batches.

Each event becomes a row of state that knows only this event. Rows are then merged column by column:
the minimum, the maximum or the latest value. Such merges do not depend on order or grouping, so
late events converge. Only of two values for the same moment, the one that arrived later counts.
Counts (ring buffers, totals) are the merged rows' counts minus their previous counts.
"""

import json
from typing import Any

import numpy as np
import polars as pl

from everafter.activity import model
from everafter.activity.feature_rules import merge_other_features
from everafter.activity.model import State
from everafter.core.zones import find_zone
from everafter.events.model import CANONICAL

IMPLIED_FEATURES = {
    "form_created": "forms",
    "form_sent": "forms",
    "customer_journey_started": "journeys",
    "automation_enabled": "automations",
    "import_clients_started": "client_import",
}
TICKET_TYPES = tuple(name for name, fields in CANONICAL.items() if "ticket_id" in fields)
CLIENT_TYPES = tuple(name for name, fields in CANONICAL.items() if "client_id" in fields)
_NEED_CLIENT = tuple(t for t in CLIENT_TYPES if CANONICAL[t]["client_id"] == "id")
ITEM_TYPES = ("form_sent", "form_completed", "journey_email_sent", "journey_email_opened")
SUBSCRIPTION_STATES = {
    "subscription_changed": "active",
    "subscription_paused": "paused",
    "subscription_cancelled": "cancelled",
}
# A report may have any two numbers, and an infinite ratio has no JSON.
_MAX_RATIO = 1_000_000.0
_FIRSTS: dict[str, tuple[str, ...]] = {
    "account_created_at": ("account_created",),
    "vendor_type_selected_at": ("vendor_type_selected",),
    "completed_wizard_at": ("completed_wizard",),
    "first_login_at": ("login",),
    "import_clients_started_at": ("import_clients_started",),
    "first_form_at": ("form_created", "form_sent"),
    "first_invite_at": ("invite_sent_to_client",),
    "first_journey_at": ("customer_journey_started", "journey_email_sent"),
    "first_automation_at": ("automation_enabled",),
}


def fold(state: State, events: pl.DataFrame, feature_ids: dict[str, int]) -> State:
    """Merge events into a state.

    Args:
        state: the activity rows of at least the suppliers in `events`, and at least those of their
            clients, items and tickets that `events` name; missing rows count as new.
        events: EVENTS_SCHEMA in order of arrival, each event once, all after those in `state`, and
            checked.
        feature_ids: the slot of each feature that a playbook names; the others go to
            `other_features`.

    Returns:
        The new rows of the suppliers, clients, items and tickets in `events`, and of no others.
    """
    facts = read_facts(events)
    clients = _merge_clients(state.clients, facts)
    items = _merge_items(state.items, facts)
    tickets = _merge_tickets(state.tickets, facts)
    before = State(
        state.activity,
        state.clients.join(clients, on=["supplier_id", "client_id"], how="semi"),
        state.items.join(items, on=["supplier_id", "kind", "client_id", "item_id"], how="semi"),
        state.tickets.join(tickets, on=["supplier_id", "ticket_id"], how="semi"),
    )
    activity = _merge_activity(
        before, State(state.activity, clients, items, tickets), facts, feature_ids
    )
    return State(activity, clients, items, tickets)


def split_foldable(events: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Split events into those that can be folded, and those that lack a property, with `reason`.

    Ingest checks this too; but rows written into the table directly, or by an older version, must
    not stop the others.
    """
    facts = read_facts(events)
    kind = pl.col("type")
    used = pl.col("properties").str.json_path_match("$.used").cast(pl.Float64, strict=False)
    limit = pl.col("properties").str.json_path_match("$.limit")
    numbers = used.is_finite().fill_null(False) & (
        limit.is_null() | limit.cast(pl.Float64, strict=False).is_finite().fill_null(False)
    )
    lacks = (
        pl.when(kind.is_in(_NEED_CLIENT) & pl.col("client_id").is_null())
        .then(pl.lit("client_id"))
        .when(kind.is_in(ITEM_TYPES) & pl.coalesce("form_id", "message_id").is_null())
        .then(pl.lit("form_id or message_id"))
        .when(kind.is_in(TICKET_TYPES) & pl.col("ticket_id").is_null())
        .then(pl.lit("ticket_id"))
        .when((kind == "feature_used") & pl.col("feature").is_null())
        .then(pl.lit("feature"))
        .when(
            (kind == "usage_reported")
            & ~(pl.col("properties").str.json_path_match("$.resource").is_not_null() & numbers)
        )
        .then(pl.lit("resource, or numbers for used and limit"))
    )
    marked = events.with_columns(facts.select(("it lacks " + lacks).alias("reason")).to_series())
    return marked.filter(pl.col("reason").is_null()).drop("reason"), marked.filter(
        pl.col("reason").is_not_null()
    )


def read_facts(events: pl.DataFrame) -> pl.DataFrame:
    """Add the events' properties as columns; null where a type has no such property."""
    kind = pl.col("type")

    def text(name: str, *types: str) -> pl.Expr:
        source = pl.when(kind.is_in(list(types))).then(pl.col("properties"))
        return source.str.json_path_match(f"$.{name}").alias(name)

    return events.select("supplier_id", "type", "occurred_at", "properties").with_columns(
        text("client_id", *CLIENT_TYPES),
        text("form_id", "form_sent", "form_completed"),
        text("message_id", "journey_email_sent", "journey_email_opened"),
        text("name", "client_added"),
        text("wedding_date", "client_added").str.slice(0, 10).str.to_date("%Y-%m-%d", strict=False),
        text("wedding_moment", "client_added").str.to_datetime(
            "%Y-%m-%dT%H:%M:%SZ", time_zone="UTC", strict=False
        ),
        text("ticket_id", *TICKET_TYPES),
        text("subject", "ticket_opened"),
        text("priority", "ticket_opened"),
        text("plan", "subscription_changed"),
        text("vendor_type", "vendor_type_selected"),
        pl.coalesce(
            text("feature", "feature_used"), kind.replace_strict(IMPLIED_FEATURES, default=None)
        ).alias("feature"),
    )


def _at(*types: str) -> pl.Expr:
    return pl.when(pl.col("type").is_in(list(types))).then(pl.col("occurred_at"))


def _latest(value: str, at: str, of: str | None = None) -> pl.Expr:
    """The value with the latest `at`, or the one with the latest `of`; for the same moment the one
    in the later row."""
    known = pl.col(of or value).is_not_null()
    return pl.col(value).filter(known).sort_by(pl.col(at).filter(known), maintain_order=True).last()


def _merge_clients(old: pl.DataFrame, facts: pl.DataFrame) -> pl.DataFrame:
    new = facts.filter(pl.col("client_id").is_not_null()).select(
        "supplier_id",
        "client_id",
        "name",
        pl.when(pl.col("name").is_not_null()).then(pl.col("occurred_at")).alias("name_at"),
        _at("client_added").alias("added_at"),
        _at("client_added").alias("readded_at"),
        "wedding_date",
        pl.when(pl.col("wedding_date").is_not_null())
        .then(pl.col("occurred_at"))
        .alias("wedding_date_at"),
        pl.col("wedding_moment").cast(model.TIME),
        _at("client_active", "form_completed").alias("last_active_at"),
        _at("client_archived").alias("archived_at"),
        _at("client_lost").alias("lost_at"),
    )
    keys = ["supplier_id", "client_id"]
    rows = pl.concat(
        [old.select(new.columns).join(new, on=keys, how="semi"), new], how="vertical_relaxed"
    )
    return rows.group_by(keys).agg(
        _latest("name", "name_at"),
        pl.col("name_at").max(),
        pl.col("added_at").min(),
        pl.col("readded_at").max(),
        _latest("wedding_date", "wedding_date_at"),
        pl.col("wedding_date_at").max(),
        _latest("wedding_moment", "wedding_date_at", of="wedding_date"),
        pl.col("last_active_at").max(),
        pl.col("archived_at").max(),
        pl.col("lost_at").max(),
    )


def _merge_items(old: pl.DataFrame, facts: pl.DataFrame) -> pl.DataFrame:
    new = facts.filter(pl.col("type").is_in(ITEM_TYPES)).select(
        "supplier_id",
        pl.when(pl.col("type").str.starts_with("form"))
        .then(pl.lit("form"))
        .otherwise(pl.lit("journey_email"))
        .alias("kind"),
        pl.coalesce("form_id", "message_id").alias("item_id"),
        "client_id",
        _at("form_sent", "journey_email_sent").alias("sent_at"),
        _at("form_completed", "journey_email_opened").alias("answered_at"),
    )
    keys = ["supplier_id", "kind", "client_id", "item_id"]
    rows = pl.concat(
        [old.select(new.columns).join(new, on=keys, how="semi"), new], how="vertical_relaxed"
    )
    return rows.group_by(keys).agg(pl.col("sent_at").min(), pl.col("answered_at").min())


def _merge_tickets(old: pl.DataFrame, facts: pl.DataFrame) -> pl.DataFrame:
    reported = pl.col("type").is_in(["ticket_opened", "ticket_resolved"])
    new = facts.filter(reported & pl.col("ticket_id").is_not_null()).select(
        "supplier_id",
        "ticket_id",
        "subject",
        "priority",
        _at("ticket_opened").alias("opened_at"),
        _at("ticket_opened").alias("last_opened_at"),
        _at("ticket_resolved").alias("resolved_at"),
    )
    keys = ["supplier_id", "ticket_id"]
    rows = pl.concat(
        [old.select(new.columns).join(new, on=keys, how="semi"), new], how="vertical_relaxed"
    )
    return rows.group_by(keys).agg(
        _latest("subject", "last_opened_at"),
        _latest("priority", "last_opened_at"),
        pl.col("opened_at").min(),
        pl.col("last_opened_at").max(),
        pl.col("resolved_at").max(),
    )


def _merge_moments(old: pl.DataFrame, facts: pl.DataFrame) -> pl.DataFrame:
    """Merge the columns of activity that are a minimum, a maximum or a latest value."""
    subscription = pl.col("type").replace_strict(SUBSCRIPTION_STATES, default=None)
    automations = (pl.col("type") == "feature_used") & (pl.col("feature") == "automations")
    new = facts.select(
        "supplier_id",
        pl.lit(1, pl.Int64).alias("events_total"),
        pl.col("occurred_at").alias("first_event_at"),
        pl.col("occurred_at").alias("last_event_at"),
        *(
            (
                pl.when(
                    pl.col("type").is_in(list(types))
                    | (automations if name == "first_automation_at" else pl.lit(False))
                )
                .then(pl.col("occurred_at"))
                .alias(name)
            )
            for name, types in _FIRSTS.items()
        ),
        _at("login").alias("last_login_at"),
        pl.when(pl.col("feature").is_not_null())
        .then(pl.col("occurred_at"))
        .alias("last_feature_at"),
        _at("payment_failed").alias("payment_failed_at"),
        _at("payment_recovered").alias("payment_recovered_at"),
        subscription.alias("subscription"),
        pl.when(subscription.is_not_null()).then(pl.col("occurred_at")).alias("subscription_at"),
        "plan",
        pl.when(pl.col("plan").is_not_null()).then(pl.col("occurred_at")).alias("plan_at"),
        "vendor_type",
        pl.when(pl.col("vendor_type").is_not_null())
        .then(pl.col("occurred_at"))
        .alias("vendor_type_at"),
    )
    rows = pl.concat(
        [old.select(new.columns).join(new, on="supplier_id", how="semi"), new],
        how="vertical_relaxed",
    )
    return (
        rows.group_by("supplier_id")
        .agg(
            pl.col("events_total").sum(),
            pl.col("first_event_at", *_FIRSTS).min(),
            pl.col(
                "last_event_at",
                "last_login_at",
                "last_feature_at",
                "payment_failed_at",
                "payment_recovered_at",
            ).max(),
            _latest("subscription", "subscription_at"),
            pl.col("subscription_at").max(),
            _latest("plan", "plan_at"),
            pl.col("plan_at").max(),
            _latest("vendor_type", "vendor_type_at"),
            pl.col("vendor_type_at").max(),
        )
        .sort("supplier_id")
    )


def is_current() -> pl.Expr:
    """Of client rows: neither archived nor lost since the client was last added."""
    ended = pl.max_horizontal("archived_at", "lost_at")
    return ended.is_null() | (pl.col("readded_at") > ended).fill_null(False)


def is_lost() -> pl.Expr:
    """Of client rows: lost, and not archived after that."""
    return ~is_current() & (
        pl.col("lost_at") > pl.col("archived_at").fill_null(pl.lit(0).cast(model.TIME))
    ).fill_null(False)


def is_open_ticket() -> pl.Expr:
    """Of ticket rows: opened, and not resolved since."""
    return pl.col("last_opened_at").is_not_null() & ~(
        pl.col("resolved_at") >= pl.col("last_opened_at")
    ).fill_null(False)


def _day(column: str) -> pl.Expr:
    return pl.col(column).dt.epoch("d").cast(pl.Int64)


def _merge_activity(
    before: State, after: State, facts: pl.DataFrame, feature_ids: dict[str, int]
) -> pl.DataFrame:
    moments = _merge_moments(before.activity, facts)
    old = moments.select("supplier_id").join(
        before.activity, on="supplier_id", how="left", maintain_order="left"
    )
    index = moments.select("supplier_id").with_row_index("row")
    rings = _Rings(old, moments, index)
    for sign, state in ((-1, before), (1, after)):
        rings.add_clients(sign, state.clients)
        rings.add_items(sign, state.items)
        rings.add_tickets(sign, state.tickets)
    rings.add_events(facts, feature_ids)
    return moments.with_columns(
        *rings.columns(),
        _merge_weddings(old, index, before.clients, after.clients),
        *_merge_usage(old, index, facts),
        *merge_other_features(old, index, _other_uses(facts, feature_ids)),
    ).select(list(model.ACTIVITY_SCHEMA))


class _Rings:
    """The ring buffers and counts of a batch's activity rows, as matrices: (rows, slots)."""

    def __init__(self, old: pl.DataFrame, moments: pl.DataFrame, index: pl.DataFrame) -> None:
        self.index = index
        new_day = moments.select(_day("last_event_at")).to_series().to_numpy()
        old_day = old.select(_day("last_event_at")).to_series().fill_null(0).to_numpy()
        self.day, self.week = new_day, (new_day + 3) // 7
        self.logins = model.unpack_bits(old["login_days"], model.LOGIN_SLOTS) & self._kept(
            old_day, new_day, model.LOGIN_SLOTS
        )
        self.active = model.unpack_ring(old["clients_active_d"], model.ACTIVE_SLOTS) * self._kept(
            old_day, new_day, model.ACTIVE_SLOTS
        )
        self.uses = model.read_daily_uses(old).astype(np.int64) * self._kept(
            old_day, new_day, model.USE_SLOTS
        )
        kept = self._kept((old_day + 3) // 7, self.week, model.WEEK_SLOTS)
        self.weeks = {
            name: model.unpack_ring(old[name], model.WEEK_SLOTS) * kept for name in model.WEEK_RINGS
        }
        self.features = model.unpack_slots(old["feature_days"], model.MAX_FEATURES)
        self.counts = {
            name: old[name].fill_null(0).to_numpy().astype(np.int64)
            for name in ("clients_added", "clients_total", "tickets_open")
        }

    @staticmethod
    def _kept(old_head: Any, new_head: Any, slots: int) -> Any:
        """Which slots of the old buffer are still within its length before the new head."""
        return (old_head[:, None] - model.ring_age(old_head, slots)) > (new_head[:, None] - slots)

    def _add(self, ring: Any, heads: Any, frame: pl.DataFrame, at: pl.Expr, sign: int) -> None:
        """Count each row of `frame` in the slot of its day or week, if the buffer reaches back so
        far."""
        where = frame.join(self.index, on="supplier_id").select("row", at.alias("at")).drop_nulls()
        rows, ats = where["row"].to_numpy(), where["at"].to_numpy()
        inside = ats > heads[rows] - ring.shape[1]
        np.add.at(ring, (rows[inside], ats[inside] % ring.shape[1]), sign)

    def _count(self, name: str, frame: pl.DataFrame, sign: int) -> None:
        rows = frame.join(self.index, on="supplier_id")["row"].to_numpy()
        np.add.at(self.counts[name], rows, sign)

    def add_clients(self, sign: int, clients: pl.DataFrame) -> None:
        current = clients.filter(is_current())
        self._count("clients_added", clients, sign)
        self._count("clients_total", current, sign)
        self._add(self.active, self.day, current, _day("last_active_at"), sign)
        self._add(
            self.weeks["clients_lost_w"],
            self.week,
            clients.filter(is_lost()),
            (_day("lost_at") + 3) // 7,
            sign,
        )

    def add_items(self, sign: int, items: pl.DataFrame) -> None:
        for kind, sent, answered in (
            ("form", "forms_sent_w", "forms_answered_w"),
            ("journey_email", "emails_sent_w", "emails_opened_w"),
        ):
            of_kind = items.filter(pl.col("kind") == kind)
            week = (_day("sent_at") + 3) // 7
            self._add(self.weeks[sent], self.week, of_kind, week, sign)
            self._add(
                self.weeks[answered],
                self.week,
                of_kind.filter(pl.col("answered_at").is_not_null()),
                week,
                sign,
            )

    def add_tickets(self, sign: int, tickets: pl.DataFrame) -> None:
        self._count("tickets_open", tickets.filter(is_open_ticket()), sign)
        self._add(self.weeks["tickets_w"], self.week, tickets, (_day("opened_at") + 3) // 7, sign)

    def add_events(self, facts: pl.DataFrame, feature_ids: dict[str, int]) -> None:
        week = (_day("occurred_at") + 3) // 7
        kind = pl.col("type")
        uses = facts.filter(kind == "feature_used")
        self._add(self.weeks["feature_uses_w"], self.week, uses, week, 1)
        self._add(self.uses, self.day, uses, _day("occurred_at"), 1)
        self._add(
            self.weeks["payments_failed_w"],
            self.week,
            facts.filter(kind == "payment_failed"),
            week,
            1,
        )
        logins = (
            facts.filter(kind == "login")
            .join(self.index, on="supplier_id")
            .select("row", _day("occurred_at").alias("day"))
        )
        rows, days = logins["row"].to_numpy(), logins["day"].to_numpy()
        inside = days > self.day[rows] - model.LOGIN_SLOTS
        self.logins[rows[inside], days[inside] % model.LOGIN_SLOTS] = True
        used = (
            facts.with_columns(
                pl.col("feature")
                .replace_strict(feature_ids, default=None, return_dtype=pl.Int64)
                .alias("slot")
            )
            .filter(pl.col("slot").is_not_null())
            .join(self.index, on="supplier_id")
            .select("row", "slot", _day("occurred_at").alias("day"))
        )
        np.maximum.at(
            self.features, (used["row"].to_numpy(), used["slot"].to_numpy()), used["day"].to_numpy()
        )

    def columns(self) -> list[pl.Series]:
        return [
            model.pack_bits(self.logins).alias("login_days"),
            model.pack_ring(self.active).alias("clients_active_d"),
            model.pack_bytes(self.uses).alias("feature_uses_d"),
            model.pack_slots(self.features).alias("feature_days"),
            *(model.pack_ring(ring).alias(name) for name, ring in self.weeks.items()),
            *(pl.Series(name, values, dtype=pl.Int64) for name, values in self.counts.items()),
        ]


def _other_uses(facts: pl.DataFrame, feature_ids: dict[str, int]) -> pl.DataFrame:
    """Uses of features without a slot, in USES_SCHEMA."""
    other = pl.col("feature").is_not_null() & ~pl.col("feature").is_in(list(feature_ids))
    return facts.filter(other).select("supplier_id", "feature", _day("occurred_at").alias("day"))


def _merge_weddings(
    old: pl.DataFrame, index: pl.DataFrame, before: pl.DataFrame, after: pl.DataFrame
) -> pl.Series:
    """The wedding days of current clients, sorted, with repetitions."""
    day = pl.col("wedding_date").dt.epoch("d").cast(pl.Int32).alias("day")

    def of(clients: pl.DataFrame, sign: int) -> pl.DataFrame:
        current = clients.filter(is_current() & pl.col("wedding_date").is_not_null())
        return current.join(index, on="supplier_id").select(
            "row", day, pl.lit(sign, pl.Int64).alias("n")
        )

    known = (
        old.select(pl.col("weddings").alias("day"))
        .with_row_index("row")
        .explode("day", empty_as_null=True, keep_nulls=True)
    )
    rows = pl.concat(
        [
            known.drop_nulls().with_columns(pl.lit(1, pl.Int64).alias("n")),
            of(before, -1),
            of(after, 1),
        ]
    )
    counted = rows.group_by("row", "day").agg(pl.col("n").sum()).filter(pl.col("n") > 0)
    lists = (
        counted.with_columns(pl.col("day").repeat_by("n"))
        .explode("day")
        .sort("row", "day")
        .group_by("row")
        .agg("day")
    )
    joined = index.select("row").join(lists, on="row", how="left", maintain_order="left")["day"]
    return (
        joined.fill_null(pl.Series([[]], dtype=pl.List(pl.Int32)))
        .cast(pl.List(pl.Int32))
        .alias("weddings")
    )


def resolve_weddings(
    activity: pl.DataFrame, clients: pl.DataFrame, zones: dict[str, str | None]
) -> State:
    """The rows that change with suppliers' time zones: clients whose wedding date was given as a
    moment, and their suppliers' activity.

    Args:
        activity: the rows of these suppliers.
        clients: their clients with a `wedding_moment`.
        zones: supplier id → IANA name; UTC where it is null or missing.
    """
    days = [
        at.astimezone(find_zone(zones.get(supplier_id))).date()
        for supplier_id, at in clients.select("supplier_id", "wedding_moment").iter_rows()
    ]
    resolved = clients.with_columns(pl.Series("wedding_date", days, dtype=pl.Date))
    moved = resolved["wedding_date"] != clients["wedding_date"]
    before, after = clients.filter(moved), resolved.filter(moved)
    old = activity.join(after, on="supplier_id", how="semi")
    weddings = _merge_weddings(old, old.select("supplier_id").with_row_index("row"), before, after)
    empty = model.empty_state()
    return State(old.with_columns(weddings), after, empty.items, empty.tickets)


def _merge_usage(old: pl.DataFrame, index: pl.DataFrame, facts: pl.DataFrame) -> list[pl.Series]:
    """The latest report of each resource, as JSON {resource: [used, limit, epoch microseconds]}
    with sorted keys; and the greatest ratio of used to limit.

    limit: null when the plan has none; the resource then has no ratio. Of each supplier the
    MAX_RESOURCES resources reported last are stored.
    """
    usage = old["usage"].to_list()
    ratios: list[float | None] = old["usage_ratio"].to_list()
    reports = facts.filter(pl.col("type") == "usage_reported").join(
        index, on="supplier_id", maintain_order="left"
    )
    touched: dict[int, dict[str, Any]] = {}
    for row, at, text in reports.select(
        "row", pl.col("occurred_at").dt.epoch("us"), "properties"
    ).iter_rows():
        report = json.loads(text)
        if row not in touched:
            touched[row] = json.loads(usage[row] or "{}")
        known = touched[row]
        limit = report.get("limit")
        last = known.get(report["resource"])
        if last is None or last[2] <= at:
            known[report["resource"]] = [
                float(report["used"]),
                None if limit is None else float(limit),
                at,
            ]
    for row, known in touched.items():
        latest = sorted(known.items(), key=lambda one: (one[1][2], one[0]))[-model.MAX_RESOURCES :]
        usage[row] = json.dumps(dict(latest), sort_keys=True)
        ratios[row] = max(
            (min(used / limit, _MAX_RATIO) for _, (used, limit, _) in latest if limit),
            default=None,
        )
    usage = [value or "{}" for value in usage]
    return [
        pl.Series("usage", usage, dtype=pl.String),
        pl.Series("usage_ratio", ratios, dtype=pl.Float64),
    ]

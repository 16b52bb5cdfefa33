"""One row per supplier with everything the signals are made from."""

from datetime import datetime

import polars as pl

from everafter.activity import model
from everafter.activity.rules import fold
from everafter.core.db import FrameReader

# COALESCE in SQL, not in frames: a supplier without a activity row has null there, and zero where a
# count is asked.
_COLUMNS = """
    s.id::text AS supplier_id, s.external_id, s.name, s.email, coalesce(p.vendor_type, s.vendor_type) AS vendor_type,
    coalesce(p.plan, s.plan) AS plan, s.country, coalesce(s.timezone, 'UTC') AS timezone, s.mrr_minor, s.client_limit::bigint,
    s.created_at, s.added_at, s.consent"""

_ACTIVITY_COLUMNS = """
    coalesce(p.events_total, 0) AS events_total, p.first_event_at, p.last_event_at, p.account_created_at,
    p.vendor_type_selected_at, p.completed_wizard_at, p.first_login_at, p.import_clients_started_at, p.first_form_at,
    p.first_invite_at, p.first_journey_at, p.first_automation_at, p.last_login_at, p.login_days, p.feature_days,
    p.last_feature_at,
    p.clients_active_d, p.feature_uses_w, p.clients_lost_w, p.forms_sent_w, p.forms_answered_w, p.emails_sent_w,
    p.emails_opened_w, p.tickets_w, p.payments_failed_w, coalesce(p.clients_added, 0)::bigint AS clients_added,
    coalesce(p.clients_total, 0)::bigint AS clients_total, p.weddings, coalesce(p.tickets_open, 0)::bigint AS tickets_open,
    p.payment_failed_at, p.payment_recovered_at, p.usage_ratio, p.subscription"""


async def read_inputs(reader: FrameReader, *, after: str, last: str) -> pl.DataFrame:
    """The suppliers of a slice in the order of their ids, cancelled ones included.

    Bounds and not a number: a supplier that signs up during the run must not push another out of
    its slice.

    Args:
        after, last: bounds of the supplier ids, the first excluded, the last included.
    """
    frame = await reader.fetch(
        "SELECT"
        + _COLUMNS
        + ","
        + _ACTIVITY_COLUMNS
        + " FROM suppliers s LEFT JOIN supplier_activity p ON p.supplier_id = s.id"
        " AND p.supplier_id > {after}::uuid AND p.supplier_id <= {last}::uuid"
        " WHERE s.id > {after}::uuid AND s.id <= {last}::uuid ORDER BY s.id",
        after=after,
        last=last,
    )
    return _typed(frame)


def read_inputs_of(reader: FrameReader, supplier_ids: list[str]) -> pl.DataFrame:
    """The same for these suppliers, in no order; unknown ids have no row. Blocks; call it in a
    thread."""
    frame = reader.read(
        "SELECT"
        + _COLUMNS
        + ","
        + _ACTIVITY_COLUMNS
        + " FROM suppliers s LEFT JOIN supplier_activity p ON p.supplier_id = s.id"
        " WHERE s.id = ANY ({ids}::uuid[])",
        ids=supplier_ids,
    )
    return _typed(frame)


def read_inputs_began(
    reader: FrameReader, since: datetime, until: datetime, *, vendor_type: str, plan: str, most: int
) -> pl.DataFrame:
    """The same for those whose account began in a period, the latest first, cancelled ones
    included. Blocks; call it in a thread.

    `subscription_at` beside the rest: since when the subscription is what it is, null: not known.

    Args:
        since, until: the first included, the last excluded.
        vendor_type, plan: '' means all.
        most: rows at most.
    """
    frame = reader.read(
        "SELECT"
        + _COLUMNS
        + ","
        + _ACTIVITY_COLUMNS
        + ", p.subscription_at FROM supplier_activity p JOIN suppliers s ON s.id = p.supplier_id"
        " WHERE p.account_created_at >= {since} AND p.account_created_at < {until}"
        " AND ({vendor_type} = '' OR coalesce(p.vendor_type, s.vendor_type, '-') = {vendor_type})"
        " AND ({plan} = '' OR coalesce(p.plan, s.plan, '-') = {plan})"
        " ORDER BY p.account_created_at DESC LIMIT {most}",
        since=since,
        until=until,
        vendor_type=vendor_type,
        plan=plan,
        most=most,
    )
    return _typed(frame)


async def read_past_inputs(
    reader: FrameReader, feature_ids: dict[str, int], as_of: datetime, *, after: str, last: str
) -> pl.DataFrame:
    """The same as they stood at a past moment: the supplier's activity is folded again from the
    events before it.

    Args:
        after, last: bounds of the supplier ids, the first excluded, the last included.
    """
    suppliers = await reader.fetch(
        "SELECT"
        + _COLUMNS
        + " FROM suppliers s CROSS JOIN (SELECT NULL::text AS vendor_type, NULL::text AS plan) p"
        " WHERE s.id > {after}::uuid AND s.id <= {last}::uuid AND (s.created_at IS NULL OR s.created_at < {as_of}) ORDER BY s.id",
        after=after,
        last=last,
        as_of=as_of,
    )
    events = await reader.fetch(
        "SELECT supplier_id::text, type, occurred_at, properties::text, received_at FROM events"
        " WHERE supplier_id > {after}::uuid AND supplier_id <= {last}::uuid AND occurred_at < {as_of}",
        after=after,
        last=last,
        as_of=as_of,
    )
    events = events.sort("received_at").drop("received_at")
    activity = fold(
        model.empty_state(), events.cast(pl.Schema(model.EVENTS_SCHEMA)), feature_ids
    ).activity
    joined = suppliers.join(
        activity, on="supplier_id", how="left", suffix="_said", maintain_order="left"
    )
    return _typed(
        joined.with_columns(
            pl.coalesce("vendor_type_said", "vendor_type").alias("vendor_type"),
            pl.coalesce("plan_said", "plan").alias("plan"),
            pl.col("events_total", "clients_added", "clients_total", "tickets_open").fill_null(0),
        ).drop(
            "vendor_type_said",
            "plan_said",
            "vendor_type_at",
            "plan_at",
            "usage",
            "subscription_at",
            "other_features",
            "features_beyond",
        )
    )


def _typed(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.with_columns(pl.col("weddings").cast(pl.List(pl.Int32)))

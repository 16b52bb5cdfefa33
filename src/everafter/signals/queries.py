"""Reads of the rows that signals are computed from: one per supplier."""

from datetime import datetime
from typing import LiteralString

import polars as pl

from everafter.activity import model
from everafter.activity.rules import fold
from everafter.core.db import FrameReader

_SUPPLIER: LiteralString = """
  s.id::text AS supplier_id,
  s.external_id,
  s.name,
  s.email,
  coalesce(p.vendor_type, s.vendor_type) AS vendor_type,
  coalesce(p.plan, s.plan) AS plan,
  s.country,
  coalesce(s.timezone, 'UTC') AS timezone,
  s.mrr_minor,
  s.client_limit::bigint,
  s.created_at,
  s.added_at,
  s.consent
"""

# Counts are coalesced here: a supplier without a row in supplier_activity has no events.
_ACTIVITY: LiteralString = """
  coalesce(p.events_total, 0) AS events_total,
  p.first_event_at,
  p.last_event_at,
  p.account_created_at,
  p.vendor_type_selected_at,
  p.completed_wizard_at,
  p.first_login_at,
  p.import_clients_started_at,
  p.first_form_at,
  p.first_invite_at,
  p.first_journey_at,
  p.first_automation_at,
  p.last_login_at,
  p.login_days,
  p.feature_days,
  p.last_feature_at,
  p.clients_active_d,
  p.feature_uses_d,
  p.feature_uses_w,
  p.clients_lost_w,
  p.forms_sent_w,
  p.forms_answered_w,
  p.emails_sent_w,
  p.emails_opened_w,
  p.tickets_w,
  p.payments_failed_w,
  coalesce(p.clients_added, 0)::bigint AS clients_added,
  coalesce(p.clients_total, 0)::bigint AS clients_total,
  p.weddings,
  coalesce(p.tickets_open, 0)::bigint AS tickets_open,
  p.payment_failed_at,
  p.payment_recovered_at,
  p.usage_ratio,
  p.subscription
"""

# The bounds are repeated in the join, where they choose the rows of supplier_activity.
_SLICE: LiteralString = f"""
SELECT {_SUPPLIER}, {_ACTIVITY}
FROM suppliers s
LEFT JOIN supplier_activity p
  ON p.supplier_id = s.id
  AND p.supplier_id > {{after}}::uuid
  AND p.supplier_id <= {{last}}::uuid
WHERE s.id > {{after}}::uuid
  AND s.id <= {{last}}::uuid
ORDER BY s.id
"""

_BY_ID: LiteralString = f"""
SELECT {_SUPPLIER}, {_ACTIVITY}
FROM suppliers s
LEFT JOIN supplier_activity p ON p.supplier_id = s.id
WHERE s.id = ANY ({{ids}}::uuid[])
"""

_SIGNED_UP: LiteralString = f"""
SELECT {_SUPPLIER}, {_ACTIVITY}, p.subscription_at
FROM supplier_activity p
JOIN suppliers s ON s.id = p.supplier_id
WHERE p.account_created_at >= {{since}}
  AND p.account_created_at < {{until}}
  AND ({{vendor_type}} = '' OR coalesce(p.vendor_type, s.vendor_type, '-') = {{vendor_type}})
  AND ({{plan}} = '' OR coalesce(p.plan, s.plan, '-') = {{plan}})
ORDER BY p.account_created_at DESC
LIMIT {{most}}
"""

_PAST_SLICE: LiteralString = f"""
SELECT {_SUPPLIER}
FROM suppliers s
CROSS JOIN (SELECT NULL::text AS vendor_type, NULL::text AS plan) p
WHERE s.id > {{after}}::uuid
  AND s.id <= {{last}}::uuid
  AND (s.created_at IS NULL OR s.created_at < {{as_of}})
ORDER BY s.id
"""


async def read_inputs(reader: FrameReader, *, after: str, last: str) -> pl.DataFrame:
    """Read a slice of suppliers in the order of their ids, including cancelled ones.

    The slice is given by bounds instead of a number of rows, so that a supplier that signs up
    during the run does not push another out of its slice.

    Args:
        after, last: bounds of the supplier ids, the first excluded, the last included.
    """
    return _typed(await reader.fetch(_SLICE, after=after, last=last))


def read_inputs_of(reader: FrameReader, supplier_ids: list[str]) -> pl.DataFrame:
    """Read these suppliers, in no order; unknown ids have no row. Blocks; call it in a thread."""
    return _typed(reader.read(_BY_ID, ids=supplier_ids))


def read_inputs_began(
    reader: FrameReader, since: datetime, until: datetime, *, vendor_type: str, plan: str, most: int
) -> pl.DataFrame:
    """Read suppliers whose account began in a period, the latest first, including cancelled ones.
    Blocks; call it in a thread.

    Args:
        since, until: the first included, the last excluded.
        vendor_type, plan: '' means all.
        most: the number of rows at most.

    Returns:
        The columns of the other reads, and subscription_at: since when the subscription has its
        state; null: unknown.
    """
    frame = reader.read(
        _SIGNED_UP, since=since, until=until, vendor_type=vendor_type, plan=plan, most=most
    )
    return _typed(frame)


async def read_past_inputs(
    reader: FrameReader, feature_ids: dict[str, int], as_of: datetime, *, after: str, last: str
) -> pl.DataFrame:
    """Read a slice as it was at a past moment, with the activity folded again from the events
    before it.

    Traits that are not events (country, time zone, consent) have their current value.

    Args:
        feature_ids: slots to give the features in `feature_days`.
        after, last: bounds of the supplier ids, the first excluded, the last included.
    """
    suppliers = await reader.fetch(_PAST_SLICE, after=after, last=last, as_of=as_of)
    events = await reader.fetch(
        """
        SELECT
          supplier_id::text,
          type,
          occurred_at,
          properties::text,
          received_at
        FROM events
        WHERE supplier_id > {after}::uuid
          AND supplier_id <= {last}::uuid
          AND occurred_at < {as_of}
        """,
        after=after,
        last=last,
        as_of=as_of,
    )
    events = events.sort("received_at").drop("received_at")
    activity = fold(
        model.empty_state(), events.cast(pl.Schema(model.EVENTS_SCHEMA)), feature_ids
    ).activity
    joined = suppliers.join(
        activity, on="supplier_id", how="left", suffix="_folded", maintain_order="left"
    )
    return _typed(
        joined.with_columns(
            pl.coalesce("vendor_type_folded", "vendor_type").alias("vendor_type"),
            pl.coalesce("plan_folded", "plan").alias("plan"),
            pl.col("events_total", "clients_added", "clients_total", "tickets_open").fill_null(0),
        ).drop(
            "vendor_type_folded",
            "plan_folded",
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

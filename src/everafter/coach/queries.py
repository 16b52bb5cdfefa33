"""The coach in the database. Nothing here commits."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
import polars as pl

from everafter.coach.model import CoachState, TipImpression, TipResponse
from everafter.core.db import Connection
from everafter.core.errors import NotFoundError
from everafter.core.ids import name_of
from everafter.core.locks import Lock
from everafter.onboarding.model import CoachMilestones
from everafter.onboarding.queries import NEXT_CELEBRATION

_IMPRESSIONS = msgspec.json.Decoder(list[TipImpression])


async def get_state(
    conn: Connection,
    supplier_id: UUID,
    milestones: CoachMilestones,
    *,
    since: datetime,
    now: datetime,
) -> CoachState:
    """What may have changed about a supplier since its last request; see `list_states`.

    Raises:
        NotFoundError: no such supplier.
    """
    found = await list_states(conn, [supplier_id], milestones, since=since, now=now)
    if not found:
        raise NotFoundError(f"there is no supplier {name_of(supplier_id)}")
    return found[0]


async def list_states(
    conn: Connection,
    supplier_ids: list[UUID],
    milestones: CoachMilestones,
    *,
    since: datetime,
    now: datetime,
) -> list[CoachState]:
    """What may have changed about these suppliers, in no order, by one statement of look-ups by
    key. Unknown suppliers have no state.

    Args:
        milestones: those to look for; the one that is next is in `uncelebrated`.
        since: a tip shown before then does not matter any more.
    """
    cursor = await conn.execute(
        f"""
        SELECT
          s.id,
          s.name,
          s.timezone,
          coalesce(a.events_total, 0)
            + (SELECT count(*) FROM onboarding_progress o WHERE o.supplier_id = s.id)
            + (
              SELECT count(*)
              FROM success_milestones c
              WHERE c.supplier_id = s.id AND c.celebrated_in_coach_at IS NOT NULL
            ) AS changes,
          s.updated_at,
          (
            SELECT json_agg(json_build_object(
              'tip_id', t.tip_id,
              'shown_at', t.shown_at,
              'response', t.response,
              'snoozed_until', t.snoozed_until,
              'snoozed_in', t.snoozed_in
            ))::text
            FROM tip_impressions t
            WHERE t.supplier_id = s.id
          ) AS tips,
          (
            SELECT max(i.evaluated_at)
            FROM interventions i
            WHERE i.supplier_id = s.id
              AND i.evaluated_on >= %(since)s::date
              AND i.channel = 'tip'
              AND i.status <> 'skipped'
              AND NOT i.replay
          ) AS last_tip_at,
          EXISTS (
            SELECT 1
            FROM support_interactions c
            WHERE c.supplier_id = s.id
              AND c.ends_at > %(now)s
              AND c.cancelled_at IS NULL
              AND c.outcome IS DISTINCT FROM 'cancelled'
          ) AS call_ahead,
          ({NEXT_CELEBRATION}) AS uncelebrated,
          s.external_id
        FROM suppliers s
        LEFT JOIN supplier_activity a ON a.supplier_id = s.id
        WHERE s.id = ANY (%(ids)s::uuid[])
        """,
        {"ids": supplier_ids, "since": since, "now": now, **milestones.as_parameters()},
    )
    return [_to_state(row) for row in await cursor.fetchall()]


def _to_state(row: tuple[Any, ...]) -> CoachState:
    return CoachState(
        supplier_id=row[0],
        name=row[1],
        timezone=row[2],
        changes=row[3],
        updated_at=row[4],
        tips=_read_impressions(row[5]),
        last_tip_at=row[6],
        call_ahead=row[7],
        uncelebrated=row[8],
        external_id=row[9],
    )


def _read_impressions(text: str | None) -> dict[str, TipImpression]:
    return {tip.tip_id: tip for tip in _IMPRESSIONS.decode(text)} if text else {}


# ── tips ──────────────────────────────────────────────────────────────────────────────────────────


async def lock_tips(conn: Connection, supplier_ids: list[str]) -> None:
    """Choose tips for these suppliers alone, until the end of the transaction.

    Args:
        supplier_ids: sorted, so that two transactions that share some cannot deadlock.
    """
    await conn.execute(
        """
        SELECT pg_advisory_xact_lock(hashtextextended('tips ' || id, 2))
        FROM unnest(%s::text[]) AS id
        """,
        [supplier_ids],
    )


async def try_share_frequency_cap(conn: Connection) -> bool:
    """Whether this transaction may show tips that count toward the frequency cap. Many may at the
    same time, but none during a daily run, which reads what is left before it writes
    (daily.queries.lock_runs)."""
    cursor = await conn.execute("SELECT pg_try_advisory_xact_lock_shared(%s)", [Lock.FREQUENCY_CAP])
    row = await cursor.fetchone()
    return bool(row and row[0])


async def insert_tip_interventions(conn: Connection, results: pl.DataFrame) -> None:
    """Append what the eligibility check returned for tips to the intervention log."""
    rows = results.select(
        "id",
        "supplier_id",
        "trigger",
        "action",
        "channel",
        "status",
        "reason",
        "priority",
        pl.col("evaluated_at").dt.to_string("%Y-%m-%dT%H:%M:%S%.6fZ"),
        pl.col("evaluated_on", "success_by").dt.to_string("%Y-%m-%d"),
        "facts",
        "playbook_version",
    )
    await conn.execute(
        """
        INSERT INTO interventions (
          id, supplier_id, trigger, action, channel, status, reason, priority,
          evaluated_at, evaluated_on, success_by, facts, playbook_version
        )
        SELECT
          id, supplier_id, trigger, action, channel, status, reason, priority,
          evaluated_at, evaluated_on, success_by, facts::jsonb, playbook_version
        FROM jsonb_to_recordset(%s::jsonb) AS r (
          id uuid,
          supplier_id uuid,
          trigger text,
          action text,
          channel text,
          status text,
          reason text,
          priority integer,
          evaluated_at timestamptz,
          evaluated_on date,
          success_by date,
          facts text,
          playbook_version integer
        )
        """,
        [msgspec.json.encode(rows.to_dicts()).decode()],
    )


async def upsert_impressions(
    conn: Connection, impressions: Sequence[tuple[str, str, str, str | None, datetime]]
) -> None:
    """Store the impressions of tips, without a response: (supplier, tip, its intervention, page,
    when) of each."""
    supplier_ids, tip_ids, intervention_ids, pages, times = zip(*impressions, strict=True)
    await conn.execute(
        """
        INSERT INTO tip_impressions (supplier_id, tip_id, intervention_id, page, shown_at)
        SELECT *
        FROM unnest(%s::uuid[], %s::text[], %s::uuid[], %s::text[], %s::timestamptz[])
        ON CONFLICT (supplier_id, tip_id) DO UPDATE SET
          intervention_id = excluded.intervention_id,
          page = excluded.page,
          shown_at = excluded.shown_at,
          response = NULL,
          responded_at = NULL,
          snoozed_until = NULL,
          snoozed_in = NULL
        """,
        [list(supplier_ids), list(tip_ids), list(intervention_ids), list(pages), list(times)],
    )


async def reopen_tip(
    conn: Connection, supplier_id: UUID, tip_id: str, page: str | None, now: datetime
) -> None:
    """Show a tip again whose snooze is over. Nothing happens if it got another response since."""
    await conn.execute(
        """
        UPDATE tip_impressions
        SET response = NULL,
          responded_at = NULL,
          snoozed_until = NULL,
          shown_at = %(now)s,
          page = %(page)s
        WHERE supplier_id = %(supplier)s
          AND tip_id = %(tip)s
          AND response = 'snoozed'
          AND snoozed_in IS NULL
          AND snoozed_until <= %(now)s
        """,
        {"supplier": supplier_id, "tip": tip_id, "page": page, "now": now},
    )


async def save_response(
    conn: Connection,
    supplier_id: UUID,
    tip_id: str,
    response: TipResponse,
    now: datetime,
    snoozed_until: datetime | None,
    snoozed_in: str | None,
) -> tuple[TipResponse, datetime | None]:
    """Store the response to a tip. A later one replaces it, except that "dismissed" stays.

    Returns:
        The response that is stored now, and until when the tip is snoozed.

    Raises:
        NotFoundError: this tip was never shown to this supplier.
    """
    cursor = await conn.execute(
        """
        UPDATE tip_impressions
        SET response = CASE WHEN response = 'dismissed' THEN response ELSE %(response)s END,
          responded_at = CASE WHEN response = 'dismissed' THEN responded_at ELSE %(now)s END,
          snoozed_until = CASE
            WHEN response = 'dismissed' THEN NULL
            ELSE %(until)s::timestamptz
          END,
          snoozed_in = CASE WHEN response = 'dismissed' THEN NULL ELSE %(season)s END
        WHERE supplier_id = %(supplier)s AND tip_id = %(tip)s
        RETURNING response, snoozed_until
        """,
        {
            "supplier": supplier_id,
            "tip": tip_id,
            "response": response,
            "now": now,
            "until": snoozed_until,
            "season": snoozed_in,
        },
    )
    row = await cursor.fetchone()
    if row is None:
        raise NotFoundError(f"no tip {tip_id[:100]!r} was shown to this supplier")
    found: tuple[Any, Any] = (row[0], row[1])
    return found


async def has_cancelled(conn: Connection, supplier_id: UUID) -> bool:
    """Whether the supplier has cancelled."""
    cursor = await conn.execute(
        """
        SELECT EXISTS (
          SELECT 1
          FROM supplier_activity
          WHERE supplier_id = %s AND subscription = 'cancelled'
        )
        """,
        [supplier_id],
    )
    row = await cursor.fetchone()
    return bool(row and row[0])

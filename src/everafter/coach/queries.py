"""The coach in the database. Nothing here commits."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
import polars as pl

from everafter.coach.model import Answer, Celebrated, CoachState, ShownTip
from everafter.core.db import Connection, read_copy
from everafter.core.errors import NotFoundError
from everafter.core.ids import name_of
from everafter.core.locks import Lock
from everafter.interventions.model import HISTORY_SCHEMA

_SHOWN = msgspec.json.Decoder(list[ShownTip])


async def get_state(
    conn: Connection, supplier_id: UUID, milestones: Celebrated, since: datetime
) -> CoachState:
    """All that may have changed about a supplier since the last request; see `list_states`.

    Raises:
        NotFoundError: no such supplier.
    """
    found = await list_states(conn, [supplier_id], milestones, since)
    if not found:
        raise NotFoundError(f"there is no supplier {name_of(supplier_id)}")
    return found[0]


async def list_states(
    conn: Connection, supplier_ids: list[UUID], milestones: Celebrated, since: datetime
) -> list[CoachState]:
    """All that may have changed about these suppliers, in no order; one statement, by keys alone.
    Unknown ones have none.

    Args:
        milestones: those that are celebrated in the coach; the one that waits is chosen as
            onboarding.queries.next_celebration chooses it.
        since: tips decided before then cannot matter any more.
    """
    cursor = await conn.execute(
        "SELECT s.id, s.name, s.timezone,"
        " coalesce(p.events_total, 0) + (SELECT count(*) FROM onboarding_progress o WHERE o.supplier_id = s.id)"
        " + (SELECT count(*) FROM success_milestones c WHERE c.supplier_id = s.id AND c.celebrated_in_coach_at IS NOT NULL),"
        " s.updated_at,"
        " (SELECT json_agg(json_build_object('tip_id', t.tip_id, 'shown_at', t.shown_at, 'answer', t.answer,"
        " 'snoozed_until', t.snoozed_until, 'snoozed_in', t.snoozed_in))::text FROM tips_shown t WHERE t.supplier_id = s.id),"
        " (SELECT max(i.evaluated_at) FROM interventions i WHERE i.supplier_id = s.id AND i.evaluated_on >= %(since)s::date"
        " AND i.channel = 'tip' AND i.status <> 'skipped' AND NOT i.replay),"
        " EXISTS (SELECT 1 FROM support_interactions c WHERE c.supplier_id = s.id AND c.ends_at > now()"
        " AND c.cancelled_at IS NULL AND c.outcome IS DISTINCT FROM 'cancelled'),"
        " (SELECT m.milestone_type FROM success_milestones m"
        " JOIN unnest(%(names)s::text[], %(days)s::integer[], %(certificates)s::boolean[]) AS kind (name, days, certificate)"
        " ON kind.name = m.milestone_type"
        " WHERE m.supplier_id = s.id AND m.celebrated_in_coach_at IS NULL AND m.fresh"
        " AND m.achieved_at > now() - make_interval(days => kind.days)"
        " ORDER BY kind.certificate DESC, m.achieved_at DESC, m.milestone_type LIMIT 1), s.external_id"
        " FROM suppliers s LEFT JOIN supplier_activity p ON p.supplier_id = s.id WHERE s.id = ANY (%(ids)s::uuid[])",
        {
            "ids": supplier_ids,
            "since": since,
            "names": milestones.names,
            "days": milestones.days,
            "certificates": milestones.certificates,
        },
    )
    return [
        CoachState(
            row[0],
            row[1],
            row[2],
            row[3],
            row[4],
            _read_shown(row[5]),
            row[6],
            row[7],
            row[8],
            row[9],
        )
        for row in await cursor.fetchall()
    ]


def _read_shown(text: str | None) -> dict[str, ShownTip]:
    return {tip.tip_id: tip for tip in _SHOWN.decode(text)} if text else {}


# ── tips ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def lock_tips(conn: Connection, supplier_ids: list[str]) -> None:
    """One decision about a supplier's tips at a time, until the end of the transaction.

    Args:
        supplier_ids: sorted, so that two that share some wait in one direction only.
    """
    await conn.execute(
        "SELECT pg_advisory_xact_lock(hashtextextended('tips ' || id, 2)) FROM unnest(%s::text[]) AS id",
        [supplier_ids],
    )


async def may_spend(conn: Connection) -> bool:
    """Whether this transaction may spend of the week's attention; many may side by side, and none
    while a daily run is at work, which reads what is left before it writes. See
    daily.queries.lock_runs."""
    cursor = await conn.execute("SELECT pg_try_advisory_xact_lock_shared(%s)", [Lock.FREQUENCY_CAP])
    row = await cursor.fetchone()
    return bool(row and row[0])


async def read_history_of(
    conn: Connection, supplier_ids: list[str], as_of: datetime, cooldown_days: int
) -> pl.DataFrame:
    """What the eligibility check must know of these suppliers' past, as
    interventions.queries.read_history reads it for a slice: HISTORY_SCHEMA.

    On the caller's connection, so inside the transaction that holds the suppliers' locks.
    """
    return await read_copy(
        conn,
        "SELECT supplier_id::text, trigger, max(evaluated_at) FILTER (WHERE status <> 'skipped') AS last_acted_at,"
        " count(*) FILTER (WHERE status <> 'skipped' AND channel <> 'task' AND evaluated_on > {week_ago}) AS messages_7d,"
        " bool_or(evaluated_on = {today}) AS scored_today,"
        " substr(max(evaluated_on::text || CASE WHEN status = 'skipped' THEN reason ELSE '' END), 11) AS last_reason"
        " FROM interventions WHERE supplier_id = ANY ({ids}::uuid[]) AND evaluated_on >= {since} AND NOT replay"
        " GROUP BY supplier_id, trigger",
        HISTORY_SCHEMA,
        {
            "ids": supplier_ids,
            "since": as_of.date() - timedelta(days=max(cooldown_days, 7) + 1),
            "week_ago": as_of.date() - timedelta(days=7),
            "today": as_of.date(),
        },
    )


async def insert_tip_interventions(conn: Connection, results: pl.DataFrame) -> None:
    """Append what was decided about tips to the intervention log."""
    rows = results.select(
        "id", "supplier_id", "trigger", "action", "channel", "status", "reason", "priority",
        pl.col("evaluated_at").dt.to_string("%Y-%m-%dT%H:%M:%S%.6fZ"), pl.col("evaluated_on", "success_by").dt.to_string("%Y-%m-%d"),
        pl.col("facts"), "playbook_version",
    )  # fmt: skip
    await conn.execute(
        "INSERT INTO interventions (id, supplier_id, trigger, action, channel, status, reason, priority, evaluated_at, evaluated_on,"
        " success_by, facts, playbook_version)"
        " SELECT id, supplier_id, trigger, action, channel, status, reason, priority, evaluated_at, evaluated_on, success_by,"
        " facts::jsonb, playbook_version FROM jsonb_to_recordset(%s::jsonb) AS said (id uuid, supplier_id uuid, trigger text,"
        " action text, channel text, status text, reason text, priority integer, evaluated_at timestamptz, evaluated_on date,"
        " success_by date, facts text, playbook_version integer)",
        [msgspec.json.encode(rows.to_dicts()).decode()],
    )


async def upsert_shown(
    conn: Connection, showings: Sequence[tuple[str, str, str, str | None, datetime]]
) -> None:
    """Note what is shown from now on, without an answer: (supplier, tip, its intervention, page,
    when) of each."""
    supplier_ids, tip_ids, intervention_ids, pages, times = zip(*showings, strict=True)
    await conn.execute(
        "INSERT INTO tips_shown (supplier_id, tip_id, intervention_id, page, shown_at)"
        " SELECT * FROM unnest(%s::uuid[], %s::text[], %s::uuid[], %s::text[], %s::timestamptz[])"
        " ON CONFLICT (supplier_id, tip_id) DO UPDATE SET intervention_id = excluded.intervention_id, page = excluded.page,"
        " shown_at = excluded.shown_at, answer = NULL, answered_at = NULL, snoozed_until = NULL, snoozed_in = NULL",
        [list(supplier_ids), list(tip_ids), list(intervention_ids), list(pages), list(times)],
    )


async def show_again(
    conn: Connection, supplier_id: UUID, tip_id: str, page: str | None, now: datetime
) -> None:
    """A tip that was put off is back; nothing happens when it was answered meanwhile."""
    await conn.execute(
        "UPDATE tips_shown SET answer = NULL, answered_at = NULL, snoozed_until = NULL, shown_at = %(now)s, page = %(page)s"
        " WHERE supplier_id = %(supplier)s AND tip_id = %(tip)s AND answer = 'later' AND snoozed_in IS NULL"
        " AND snoozed_until <= %(now)s",
        {"supplier": supplier_id, "tip": tip_id, "page": page, "now": now},
    )


async def answer_tip(
    conn: Connection,
    supplier_id: UUID,
    tip_id: str,
    answer: Answer,
    now: datetime,
    snoozed_until: datetime | None,
    snoozed_in: str | None,
) -> tuple[Answer, datetime | None]:
    """Note the answer; the last one counts, except that "never" stays.

    Returns:
        The answer that is, and until when it puts the tip off.

    Raises:
        NotFoundError: this tip was never shown to this supplier.
    """
    cursor = await conn.execute(
        "UPDATE tips_shown SET answer = CASE WHEN answer = 'never' THEN answer ELSE %(answer)s END,"
        " answered_at = CASE WHEN answer = 'never' THEN answered_at ELSE %(now)s END,"
        " snoozed_until = CASE WHEN answer = 'never' THEN NULL ELSE %(until)s::timestamptz END,"
        " snoozed_in = CASE WHEN answer = 'never' THEN NULL ELSE %(season)s END"
        " WHERE supplier_id = %(supplier)s AND tip_id = %(tip)s RETURNING answer, snoozed_until",
        {
            "supplier": supplier_id,
            "tip": tip_id,
            "answer": answer,
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
    """Whether the supplier has left."""
    cursor = await conn.execute(
        "SELECT EXISTS (SELECT 1 FROM supplier_activity WHERE supplier_id = %s AND subscription = 'cancelled')",
        [supplier_id],
    )
    row = await cursor.fetchone()
    return bool(row and row[0])

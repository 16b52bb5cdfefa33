"""The supplier page."""

import asyncio
import uuid
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import Any, cast
from zoneinfo import ZoneInfo

import polars as pl
from litestar import Response, get
from litestar.datastructures import State
from litestar.di import NamedDependency
from litestar.params import FromPath

from everafter.accounts.model import Viewer
from everafter.certificates.rules import certificate_url
from everafter.certificates.typefaces import why_not_for
from everafter.core import charts
from everafter.core.db import Connection
from everafter.core.errors import InputError, NotFoundError
from everafter.core.ids import SupplierId
from everafter.core.pages import page
from everafter.core.settings import Settings
from everafter.core.web import AnyRequest
from everafter.feeds.notice_rules import describe_notices
from everafter.feeds.queries import list_outages
from everafter.funnel.model import STATE_LABELS
from everafter.interventions import log_queries, log_rules
from everafter.interventions.log_model import STATUS_LABELS, LogEntry
from everafter.learning.queries import get_models
from everafter.learning.text_rules import describe_chance, find_probabilities
from everafter.mail import outbox_queries
from everafter.mail.model import STATUS_TITLES
from everafter.metrics.benchmark_rules import describe_peers, find_peers
from everafter.metrics.benchmarks import PeerScoresCache
from everafter.onboarding.queries import list_progress
from everafter.onboarding.rules import answer_of
from everafter.playbook.labels import DIMENSION_LABELS, vendor_type_title
from everafter.playbook.model import Playbook, Support
from everafter.portfolio import supplier_queries, supplier_rules
from everafter.portfolio.event_labels import group_timeline
from everafter.portfolio.message_pages import list_subjects
from everafter.portfolio.model import BAND_LABELS
from everafter.portfolio.supplier_model import (
    CHURN_LABELS,
    HISTORY_DAYS,
    LOG_SHOWN,
    MIN_DAYS,
    TICKETS_SHOWN,
    TIMELINE_DAYS,
    Entry,
    ScoreDetails,
    StoredDay,
    Supplier,
)
from everafter.recommendations import page_rules
from everafter.recommendations.live import recommend_live
from everafter.scoring.live import LiveScorer
from everafter.signals.row_model import LiveRow
from everafter.tickets.hours import evaluate_tickets
from everafter.tickets.model import CLOCK_LABELS
from everafter.tickets.page_model import TicketLine
from everafter.tickets.page_rules import describe_ticket
from everafter.tickets.queries import list_of_supplier
from everafter.tickets.rules import by_urgency

_FIRST_DAY = date(1971, 1, 1)
_LABELS: dict[str, Any] = {
    "band_labels": BAND_LABELS,
    "dimension_labels": DIMENSION_LABELS,
    "churn_labels": CHURN_LABELS,
    "status_labels": STATUS_LABELS,
    "describe_trigger": log_rules.describe_trigger,
    "message_labels": STATUS_TITLES,
}


@get("/suppliers/{supplier_id:str}")
async def show_supplier(
    request: AnyRequest,
    supplier_id: FromPath[SupplierId],
    state: State,
    conn: NamedDependency[Connection],
    viewer: NamedDependency[Viewer],
) -> Response[Any]:
    """Show the score, its reasons and changes, interventions, and the timeline of a supplier."""
    now = datetime.now(UTC)
    asked = _until(request.query_params.get("until", ""), now.date())
    supplier = await supplier_queries.find_supplier(conn, supplier_id)
    if supplier is None:
        raise NotFoundError("there is no such supplier")
    latest = _latest_day(supplier, now.date())
    history = await supplier_queries.list_history(conn, supplier_id, latest, HISTORY_DAYS)
    row = await _live_row(state, supplier_id)
    score_details = await _score(state, conn, supplier, history, row)
    entries = await log_queries.list_of_supplier(conn, supplier_id, limit=LOG_SHOWN)
    messages = await outbox_queries.list_outbox(conn, supplier_id=supplier_id, limit=LOG_SHOWN)
    clients, clients_total = await supplier_queries.list_coming_weddings(
        conn, supplier_id, now.date()
    )
    return page(
        request,
        "portfolio/templates/supplier.html",
        viewer=viewer,
        supplier=supplier,
        vendor_type=vendor_type_title(supplier.vendor_type, state.playbook),
        charts=_charts(
            history,
            entries,
            score_details.at.date() if score_details else now.date(),
            state.playbook,
        ),
        tasks=await supplier_queries.list_open_tasks(conn, supplier_id),
        calls=await supplier_queries.list_calls(conn, supplier_id, now),
        entries=entries,
        messages=messages,
        subjects=await list_subjects(conn, messages, state.settings),
        explain=partial(
            log_rules.explain_entry, cooldowns=log_rules.list_cooldowns(state.playbook)
        ),
        clients=clients,
        clients_total=clients_total,
        feeds=describe_notices(await list_outages(conn), now),
        tickets=await _tickets(conn, supplier_id, state.playbook.support, now),
        clock_labels=CLOCK_LABELS,
        may_act=viewer.may_act,
        milestones=await supplier_queries.list_milestones(conn, supplier_id),
        **await _path(state, conn, row, supplier),
        **_scored(score_details, history),
        chances=await _describe_chances(conn, row, now),
        peers=await _describe_peers(state, conn, supplier, score_details, now),
        recommendations=await _recommendations(state, conn, supplier, row),
        **await _timeline(conn, supplier_id, entries, min(asked or latest, latest), latest),
        **_LABELS,
    )


async def _tickets(
    conn: Connection, supplier_id: uuid.UUID, support: Support, now: datetime
) -> list[TicketLine]:
    """List the supplier's tickets with their clocks: open ones first, most urgent on top. Times
    are in UTC, like the others of the page.
    """
    zone = ZoneInfo("UTC")
    tickets = evaluate_tickets(
        await list_of_supplier(conn, supplier_id, TICKETS_SHOWN), support, now
    )
    opened = by_urgency(one for one in tickets if one.course.state != "resolved")
    return [
        describe_ticket(one, zone, now)
        for one in (*opened, *(one for one in tickets if one.course.state == "resolved"))
    ]


def _scored(score_details: ScoreDetails | None, history: list[StoredDay]) -> dict[str, Any]:
    """Return the score and its change, for the template."""
    parts = score_details.parts if score_details else []
    return {
        "score_details": score_details,
        "history": history,
        "main_part": supplier_rules.main_part(score_details) if score_details else None,
        "shown_points": supplier_rules.shown_points(score_details) if score_details else [],
        "shown_most": supplier_rules.shown_most(score_details.parts) if score_details else [],
        "shown_causes": supplier_rules.shown_causes(score_details) if score_details else [],
        "widest": max((part.most for part in parts), default=0) or 1,
        "change": supplier_rules.change_of(score_details, history) if score_details else None,
        "trend_labels": supplier_rules.describe_trend(history),
    }


async def _describe_chances(conn: Connection, row: LiveRow | None, now: datetime) -> list[str]:
    """Return a sentence on each probability of churning; none without a model."""
    if row is None:
        return []
    found = find_probabilities(cast(Mapping[str, Any], row), await get_models(conn, now))
    return [describe_chance(one.probability, one.base_rate, one.horizon) for one in found]


async def _describe_peers(
    state: State,
    conn: Connection,
    supplier: Supplier,
    score_details: ScoreDetails | None,
    now: datetime,
) -> str:
    """Return the score among the suppliers of the same vendor type and region; empty without a
    score, and while there are too few peers."""
    if score_details is None or score_details.score is None or not score_details.live:
        return ""
    cache: PeerScoresCache = state.peer_scores
    scores = await cache.get(conn)
    if scores is None:
        return ""
    peers = find_peers(scores, supplier.vendor_type, supplier.country)
    return describe_peers(peers, score_details.score, scores.day, now.date()) if peers else ""


async def _recommendations(
    state: State, conn: Connection, supplier: Supplier, row: LiveRow | None
) -> list[dict[str, Any]]:
    """Return the recommendations; none for a churned supplier."""
    if row is None:
        return []
    scored = pl.DataFrame([row], infer_schema_length=None)
    recommendations = await recommend_live(
        state, [str(supplier.id)], most=page_rules.SHOWN, scored=scored, conn=conn
    )
    return page_rules.describe_recommendations(
        recommendations,
        vendor_type_title(supplier.vendor_type, state.playbook),
        DIMENSION_LABELS,
    )


async def _timeline(
    conn: Connection, supplier_id: uuid.UUID, entries: list[LogEntry], until: date, latest: date
) -> dict[str, Any]:
    """Return the part of the timeline that ends on `until`, for the template."""
    since = until - timedelta(days=TIMELINE_DAYS - 1)
    events, older = await supplier_queries.list_events(conn, supplier_id, since, until)
    return {
        "timeline": group_timeline(events, _ours(entries, since, until)),
        "since": since,
        "until": until,
        "older": since - timedelta(days=1) if older else None,
        "is_latest": until == latest,
    }


def _until(text: str, today: date) -> date | None:
    try:
        return max(_FIRST_DAY, min(date.fromisoformat(text), today)) if text else None
    except ValueError as error:
        raise InputError(f"until: {text[:20]!r} is not a date such as 2026-11-22") from error


def _latest_day(supplier: Supplier, today: date) -> date:
    """Return today, or the day of the last event if that was long ago, so that the page of a
    churned supplier starts there.
    """
    last = supplier.last_event_at.date() if supplier.last_event_at else today
    return today if last > today - timedelta(days=TIMELINE_DAYS) else last


async def _live_row(state: State, supplier_id: uuid.UUID) -> LiveRow | None:
    """Score the supplier as of now, by the same rules as the daily run; null if churned."""
    live: LiveScorer = state.live
    try:
        return await live.score(str(supplier_id))
    except NotFoundError:
        return None


async def _score(
    state: State,
    conn: Connection,
    supplier: Supplier,
    history: list[StoredDay],
    row: LiveRow | None,
) -> ScoreDetails | None:
    """Return the current score; for a churned supplier, the last stored one."""
    if row is not None:
        return supplier_rules.score_details_of_live(row, state.playbook)
    if not history:
        return None
    churn = await supplier_queries.find_stored_churn(conn, supplier.id, history[-1].calculated_on)
    return supplier_rules.score_details_of_stored(supplier, history[-1], churn, state.playbook)


async def _path(
    state: State, conn: Connection, row: LiveRow | None, supplier: Supplier
) -> dict[str, Any]:
    """Return the onboarding path, for the template.

    Null if it never started, its time is over, or the supplier churned.
    """
    settings: Settings = state.settings
    if row is None or row["onboarding_state"] is None:
        return {
            "onboarding": None,
            "state_labels": STATE_LABELS,
            "certificate": None,
            "no_certificate": None,
        }
    no_certificate = (
        await asyncio.to_thread(why_not_for, supplier.name) if row["activated_at"] else None
    )
    in_utc: LiveRow = {**row, "timezone": "UTC"}  # due days are those of the page
    has_certificate = row["activated_at"] and not no_certificate
    return {
        "onboarding": answer_of(in_utc, state.playbook, await list_progress(conn, supplier.id)),
        "state_labels": STATE_LABELS,
        "certificate": certificate_url(settings.base_url, settings.secret, supplier.id)
        if has_certificate
        else None,
        "no_certificate": no_certificate,
    }


def _charts(
    history: list[StoredDay], entries: list[LogEntry], last: date, playbook: Playbook
) -> list[charts.Trend]:
    """Draw the chart for wide and for narrow windows; the style sheet shows one of them."""
    known = {
        day.calculated_on: charts.Day(day.calculated_on, day.score, day.season_index)
        for day in history
    }
    span = (last - history[0].calculated_on).days + 1 if history else MIN_DAYS
    days = charts.fill_days(known, last, max(span, MIN_DAYS))
    marks = [
        (entry.evaluated_on, log_rules.describe_trigger(entry.trigger))
        for entry in entries
        if entry.status == "triggered"
    ]
    return [
        charts.trend(
            days,
            marks,
            critical_below=playbook.health.critical_below,
            at_risk_below=playbook.health.at_risk_below,
            off_season_below=playbook.season.off_season_below,
            width=width,
            height=height,
        )
        for width, height in ((900, 230), (380, 210))
    ]


def _ours(entries: list[LogEntry], since: date, until: date) -> list[Entry]:
    return [
        Entry(
            entry.evaluated_at,
            "ours",
            f"Triggered: {log_rules.describe_trigger(entry.trigger)}",
            entry.reason,
        )
        for entry in entries
        if entry.status == "triggered" and since <= entry.evaluated_on <= until
    ]


routes = [show_supplier]

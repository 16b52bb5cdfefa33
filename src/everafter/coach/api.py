"""The coach's JSON API for suppliers' browsers. The token says which supplier a request is about;
the address never does."""

import contextlib
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any
from uuid import UUID

from litestar import Response, Router, get, post
from litestar.connection import ASGIConnection
from litestar.datastructures import Headers, MutableScopeHeaders, State
from litestar.di import NamedDependency
from litestar.enums import ScopeType
from litestar.handlers import BaseRouteHandler
from litestar.middleware import ASGIMiddleware
from litestar.params import FromPath, JSONBody, QueryParameter
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from everafter.certificates.rules import certificate_url
from everafter.certificates.typefaces import why_not_for
from everafter.coach import queries, rules
from everafter.coach.live import CoachCache, Scored
from everafter.coach.messages import help_messages, interface_messages, pick_language
from everafter.coach.model import (
    CelebrateAnswer,
    CoachAnswer,
    CoachCallRequest,
    CoachCelebration,
    CoachState,
    CoachSupplier,
    CoachTexts,
    CoachTip,
    TipAnswer,
    TipRequest,
    TokenAnswer,
    TokenRequest,
)
from everafter.coach.text_rules import coach_help, coach_recommendation, coach_tip
from everafter.coach.tip_batches import NotNowError, TipBatcher, TipQuery
from everafter.coach.token_rules import Claims
from everafter.coach.tokens import KeyRing, mint_token
from everafter.core.bodies import BODY_ERRORS
from everafter.core.db import Connection, Pool
from everafter.core.errors import (
    NotFoundError,
    OverloadedError,
    UnauthorizedError,
    UnprocessableError,
)
from everafter.core.idempotency import IdempotencyKey, answer_once
from everafter.core.openapi import problems
from everafter.core.origins import permit_headers
from everafter.core.settings import Settings
from everafter.core.web import AnyRequest, read_bearer, scope
from everafter.core.zones import find_zone
from everafter.onboarding.celebration_rules import coach_milestones
from everafter.onboarding.model import NO_MILESTONES
from everafter.onboarding.queries import claim_celebration, next_celebration
from everafter.onboarding.rules import celebration_of, checklist
from everafter.playbook.model import Playbook
from everafter.playbook.translation_rules import list_languages
from everafter.recommendations.queries import mark_clicked
from everafter.support.booking import answer_slots, book_call, find_slots, get_call_type
from everafter.support.model import (
    DEFAULT_DAYS,
    HORIZON_DAYS,
    MAX_DAYS,
    BookedAnswer,
    CallRequest,
    Contact,
    SlotsAnswer,
)
from everafter.support.queries import get_contact
from everafter.support.rules import read_from

TAGS = ["Coach"]
_MOST_CALLS = 3
"""Calls that one supplier may have ahead: a stolen token must not fill the CSMs' calendars."""
NO_SUPPLIER = "there is no such supplier, or it has cancelled"

# ── headers of every answer ───────────────────────────────────────────────────────────────────────

_ANY_ORIGIN = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Expose-Headers": "Retry-After, Idempotency-Replayed",
    "Cache-Control": "no-store",
}
_PREFLIGHT = {
    "Access-Control-Allow-Methods": "GET, POST",
    "Access-Control-Max-Age": "7200",
}


class AnyOrigin(ASGIMiddleware):
    """Lets scripts of any site read the answers, including errors, and answers preflight requests.

    There are no cookies here. A site without a token learns nothing."""

    scopes = (ScopeType.HTTP,)

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        headers = _ANY_ORIGIN
        if scope["type"] == "http" and scope["method"] == "OPTIONS":
            # A platform's monitoring may add its own headers to every request; the browser drops
            # requests whose headers are not all permitted.
            asked = Headers.from_scope(scope).get("access-control-request-headers", "")
            permitted = permit_headers(asked) or "Authorization, Content-Type, Idempotency-Key"
            headers = _ANY_ORIGIN | _PREFLIGHT | {"Access-Control-Allow-Headers": permitted}

        async def send_open(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableScopeHeaders.from_message(message).update(headers)
            await send(message)

        await next_app(scope, receive, send_open)


async def _verify_token(
    connection: ASGIConnection[Any, Any, Any, State], _: BaseRouteHandler
) -> None:
    """Guard of the browser's routes: verify the token, and keep its claims for `_claims`."""
    token = read_bearer(connection.headers.get("authorization", ""))
    if token is None:
        raise UnauthorizedError(
            "send the supplier's coach token as Authorization: Bearer …; docs/coach.md says how to"
            " make one"
        )
    ring: KeyRing = connection.app.state.coach_keys
    connection.state.claims = await ring.read_token(
        connection.app.state.pool, token, datetime.now(UTC)
    )


def _claims(request: AnyRequest) -> Claims:
    return request.state.claims


# ── what the coach shows ──────────────────────────────────────────────────────────────────────────

Locale = Annotated[
    str | None,
    QueryParameter(
        max_length=35,
        description="The reader's language, such as `de-AT`; overrides the token's.",
        schema_extra={"examples": ["de-AT"]},
    ),
]


@get(
    "/",
    guards=[_verify_token],
    tags=TAGS,
    operation_id="getCoach",
    summary="What the coach shows",
    responses=problems(not_found=NO_SUPPLIER),
)
async def get_coach(
    request: AnyRequest,
    state: State,
    page: Annotated[
        str | None,
        QueryParameter(
            max_length=500,
            description="Path of the page that the supplier is on; tips are chosen by it.",
        ),
    ] = None,
    locale: Locale = None,
    messages: Annotated[
        bool, QueryParameter(description="Whether to include the coach's own texts.")
    ] = False,
) -> CoachAnswer:
    """A tip for the page, the offer of a call, the onboarding checklist, a celebration, and
    recommendations.

    A tip stays until it gets a response, its condition is no longer true, or the supplier leaves
    its pages. A new tip must pass the eligibility check; one that does not is in the intervention
    log.
    """
    claims, now, playbook = _claims(request), datetime.now(UTC), state.playbook
    cache: CoachCache = state.coach
    languages = tuple(list_languages([locale, claims.locale], playbook.coach.language))
    reads: Pool = state.coach_reads
    async with reads.connection() as conn:
        found = await queries.get_state(
            conn,
            claims.sub,
            coach_milestones(playbook),
            since=rules.pause_start(playbook, now),
            now=now,
        )
    scored, is_new = await cache.find(found)
    tip = (
        await _find_tip(state, found, scored, page, now, languages)
        if playbook.coach.enabled
        else None
    )
    milestone = found.uncelebrated
    if is_new and scored.row["onboarding_news"]:  # recorded since the state was read
        async with reads.connection() as conn:
            newest = await next_celebration(conn, claims.sub, playbook, now)
        milestone = newest.milestone_type if newest else None
    celebration = (
        None if milestone is None else _describe_celebration(state, scored, milestone, languages[0])
    )
    texts = scored.get_texts(languages, lambda: _make_texts(playbook, scored, languages, now))
    return CoachAnswer(
        locale=pick_language(languages),
        supplier=CoachSupplier(found.supplier_id, found.external_id, found.name),
        tip=tip,
        help=None if found.call_ahead else texts.help,
        checklist=texts.checklist,
        celebration=celebration,
        recommendations=texts.recommendations,
        messages=interface_messages(languages) if messages else None,
    )


def _make_texts(
    playbook: Playbook, scored: Scored, languages: tuple[str, ...], now: datetime
) -> CoachTexts:
    call = None
    if playbook.coach.enabled and scored.needs_call:
        kind = get_call_type(playbook.coach.call_type)
        call = coach_help(
            kind.name, kind.minutes, help_messages(languages), scored.row, pick_language(languages)
        )
    recommendations = [
        coach_recommendation(one, playbook, scored.row, languages[0])
        for one in scored.recommendations
    ]
    return CoachTexts(call, checklist(scored.row, playbook, now, languages[0]), recommendations)


async def _find_tip(
    state: State,
    found: CoachState,
    scored: Scored,
    page: str | None,
    now: datetime,
    languages: tuple[str, ...],
) -> CoachTip | None:
    """The tip to show on this page: the open one, one whose snooze is over, or a new one that
    passes the eligibility check."""
    playbook: Playbook = state.playbook
    here = tuple(name for name in scored.tips if rules.is_page(page, playbook.tips[name].pages))
    name = rules.find_open_tip(here, found.tips, playbook.tips, now)
    if name is not None:
        if found.tips[name].response is not None:
            async with state.pool.connection() as conn:
                await queries.reopen_tip(conn, found.supplier_id, name, page, now)
    elif not rules.is_paused(found.last_tip_at, playbook.coach.hours_between_tips, now):
        new = rules.find_new_tips(
            here, found.tips, playbook.tips, now, off_season=bool(scored.row["off_season"])
        )
        question, anything = (*new, found.last_tip_at, now.date()), (now.date(),)
        if new and not {question, anything} & scored.refused:
            batcher: TipBatcher = state.tip_batcher
            with contextlib.suppress(NotNowError, OverloadedError):
                choice = await batcher.choose(TipQuery(found, scored.row, here, page))
                name = choice.tip
                if name is None:
                    scored.refused.add(anything if choice.is_capped else question)
    return None if name is None else coach_tip(name, playbook, scored.row, languages)


def _describe_celebration(
    state: State, scored: Scored, milestone: str, language: str
) -> CoachCelebration | None:
    settings: Settings = state.settings
    celebration = celebration_of(state.playbook, milestone, scored.row, language)
    if celebration is None:
        return None
    has_certificate = celebration.certificate and why_not_for(scored.row["name"]) is None
    link = (
        certificate_url(settings.base_url, settings.secret, UUID(scored.row["supplier_id"]))
        if has_certificate
        else None
    )
    return CoachCelebration(milestone, celebration.title, celebration.body, link)


# ── what the supplier does ────────────────────────────────────────────────────────────────────────


@post(
    "/tips/{tip_id:str}",
    guards=[_verify_token],
    status_code=200,
    tags=TAGS,
    operation_id="respondToTip",
    exception_handlers=BODY_ERRORS,
    summary="Respond to a tip",
    responses=problems(
        not_found="this tip was not shown to this supplier",
        conflict="a request with this Idempotency-Key is in progress",
        unprocessable_entity='`until` without "snoozed"; or the Idempotency-Key was used with'
        " another body",
    ),
)
async def post_tip(
    request: AnyRequest,
    state: State,
    tip_id: FromPath[str],
    data: JSONBody[TipRequest],
    idempotency_key: IdempotencyKey = None,
) -> Response[TipAnswer]:
    """Store that a tip was completed, snoozed or dismissed. A later response replaces it, except
    that "dismissed" stays."""
    claims, now, pool = _claims(request), datetime.now(UTC), state.pool
    if data.until is not None and data.response != "snoozed":
        raise UnprocessableError(f'until: only allowed with "snoozed", not with "{data.response}"')
    until = season = None
    if data.response == "snoozed":
        # No connection is held while waiting for the score, which needs some itself.
        async with pool.connection() as conn:
            found = await queries.get_state(conn, claims.sub, NO_MILESTONES, since=now, now=now)
        scored, _ = await state.coach.find(found)
        off = bool(scored.row["off_season"])
        until, season = rules.snooze(data.until or "day", now, found.timezone, off_season=off)
    async with pool.connection() as conn:

        async def effect() -> tuple[int, TipAnswer]:
            response, snoozed_until = await queries.save_response(
                conn, claims.sub, _clean_id(tip_id), data.response, now, until, season
            )
            return 200, TipAnswer(response, snoozed_until)

        return await answer_once(
            request, conn, idempotency_key, effect, caller=f"supplier {claims.sub}"
        )


@post(
    "/celebrations/{milestone_type:str}",
    guards=[_verify_token],
    status_code=200,
    tags=TAGS,
    operation_id="claimCelebration",
    summary="Claim a celebration",
    responses=problems(),
)
async def post_celebration(
    request: AnyRequest, conn: NamedDependency[Connection], milestone_type: FromPath[str]
) -> CelebrateAnswer:
    """True exactly once for each milestone, however many tabs ask. The tab that gets it shows the
    celebration."""
    claims = _claims(request)
    return CelebrateAnswer(
        await claim_celebration(conn, claims.sub, _clean_id(milestone_type), datetime.now(UTC))
    )


@post(
    "/recommendations/{recommendation_id:str}/click",
    guards=[_verify_token],
    status_code=204,
    tags=TAGS,
    operation_id="recordRecommendationClick",
    summary="Record a click on a recommendation",
    responses=problems(),
)
async def post_click(
    request: AnyRequest, conn: NamedDependency[Connection], recommendation_id: FromPath[str]
) -> None:
    """Record that the supplier followed a recommendation. One that was not shown to it lately is
    ignored."""
    await mark_clicked(
        conn, _claims(request).sub, _clean_id(recommendation_id), datetime.now(UTC).date()
    )


def _clean_id(text: str) -> str:
    """PostgreSQL's text cannot hold a null character."""
    return text.replace("\0", "\ufffd")


async def _get_contact(conn: Connection, supplier_id: UUID) -> Contact:
    """The contact for a call.

    Raises:
        NotFoundError: no such supplier, or it has cancelled.
    """
    contact = await get_contact(conn, supplier_id)
    if await queries.has_cancelled(conn, supplier_id):
        raise NotFoundError(NO_SUPPLIER)
    return contact


# ── calls ─────────────────────────────────────────────────────────────────────────────────────────


@get(
    "/slots",
    guards=[_verify_token],
    tags=TAGS,
    operation_id="listCoachSlots",
    summary="Free times for the call that is offered",
    responses=problems(not_found=NO_SUPPLIER, unprocessable_entity="`from` is not a date"),
)
async def get_slots(
    request: AnyRequest,
    conn: NamedDependency[Connection],
    state: State,
    start: Annotated[
        str | None,
        QueryParameter(
            name="from",
            max_length=40,
            description="A date or a time; a date starts at the supplier's midnight. Default: now.",
        ),
    ] = None,
    days: Annotated[
        int, QueryParameter(ge=1, le=MAX_DAYS, description="The number of days.")
    ] = DEFAULT_DAYS,
) -> SlotsAnswer:
    """Like `GET /api/support/slots`, for the supplier of the token and the call type that the
    playbook offers in the coach."""
    now = datetime.now(UTC)
    contact = await _get_contact(conn, _claims(request).sub)
    call, zone = get_call_type(state.playbook.coach.call_type), find_zone(contact.timezone)
    begin = now if start is None else read_from(start, contact.timezone)
    if not now - timedelta(days=MAX_DAYS) <= begin < now + timedelta(days=HORIZON_DAYS):
        raise UnprocessableError(
            f"from: {start} is too far ahead: calls are booked at most {HORIZON_DAYS} days ahead"
        )
    slots = await find_slots(conn, contact, call, max(begin, now), now, days=days)
    slots = [slot for slot in slots if slot.starts_at < begin + timedelta(days=days)]
    return SlotsAnswer(
        contact.id,
        contact.external_id,
        call.name,
        call.minutes,
        zone.key,
        answer_slots(slots, zone.key),
    )


@post(
    "/calls",
    guards=[_verify_token],
    tags=TAGS,
    operation_id="bookCoachCall",
    exception_handlers=BODY_ERRORS,
    summary="Book the call that is offered",
    responses=problems(
        not_found=NO_SUPPLIER,
        conflict="the time is taken: `next_free` has the next free ones; or the Idempotency-Key is"
        " in flight",
        unprocessable_entity="the time cannot be booked: `reason` says why, `next_free` has times"
        " that can; or the Idempotency-Key was used with another body",
    ),
)
async def post_call(
    request: AnyRequest,
    conn: NamedDependency[Connection],
    state: State,
    data: JSONBody[CoachCallRequest],
    idempotency_key: IdempotencyKey = None,
) -> Response[BookedAnswer]:
    """Like `POST /api/support/schedule-call`, for the supplier of the token."""
    claims = _claims(request)
    await _get_contact(conn, claims.sub)

    async def effect() -> tuple[int, BookedAnswer]:
        call = CallRequest(claims.sub, state.playbook.coach.call_type, data.starts_at, data.topic)
        return 201, await book_call(
            conn, state.settings, call, datetime.now(UTC), most_coming=_MOST_CALLS
        )

    return await answer_once(
        request, conn, idempotency_key, effect, caller=f"supplier {claims.sub}"
    )


# ── tokens, from server to server ─────────────────────────────────────────────────────────────────


@post(
    "/api/coach/tokens",
    guards=[scope("coach")],
    tags=TAGS,
    operation_id="createCoachToken",
    exception_handlers=BODY_ERRORS,
    summary="Create a token for a supplier's browser",
    responses=problems(not_found=NO_SUPPLIER),
)
async def post_token(
    request: AnyRequest,
    conn: NamedDependency[Connection],
    state: State,
    data: JSONBody[TokenRequest],
) -> Response[TokenAnswer]:
    """For platforms that request tokens rather than sign them. The coach key stays on the
    platform's server: browsers may not read this answer."""
    now = datetime.now(UTC)
    contact = await _get_contact(conn, data.supplier_id)
    key = read_bearer(request.headers["authorization"]) or ""
    token = mint_token(
        state.settings.secret, key, contact.id, now, minutes=data.minutes, locale=data.locale
    )
    expires_at = now.replace(microsecond=0) + timedelta(minutes=data.minutes)
    return Response(
        TokenAnswer(token, contact.id, contact.external_id, expires_at),
        status_code=201,
        headers={"Cache-Control": "no-store"},
    )


handlers = [
    Router(
        path="/api/coach",
        middleware=[AnyOrigin()],
        security=[{"coachToken": []}],
        route_handlers=[get_coach, post_tip, post_celebration, post_click, get_slots, post_call],
    ),
    post_token,
]

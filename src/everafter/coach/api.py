"""The coach's JSON, for suppliers' browsers: whom it is about is in the token, never in the
address."""

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
from everafter.coach.live import CoachScorer, Scored
from everafter.coach.messages import help_messages, interface_messages, pick_language
from everafter.coach.model import (
    NO_MILESTONES,
    CelebrateAnswer,
    CoachAnswer,
    CoachCallRequest,
    CoachCelebration,
    CoachState,
    CoachSupplier,
    CoachTip,
    Said,
    TipAnswer,
    TipRequest,
    TokenAnswer,
    TokenRequest,
)
from everafter.coach.text_rules import coach_help, coach_step, coach_tip
from everafter.coach.tip_batches import Ask, NotNowError, TipBatcher
from everafter.coach.token_rules import Claims
from everafter.coach.tokens import KeyRing, mint_token
from everafter.core.bodies import BODY_ERRORS
from everafter.core.db import Connection, Pool
from everafter.core.errors import NotFoundError, UnauthorizedError, UnprocessableError
from everafter.core.idempotency import IdempotencyKey, answer_once
from everafter.core.openapi import problems
from everafter.core.origins import permit_headers
from everafter.core.settings import Settings
from everafter.core.web import AnyRequest, read_bearer, scope
from everafter.core.zones import find_zone
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
"""A supplier's browser may have so many calls ahead: one token must not fill everybody's diary."""
NO_SUPPLIER = "there is no such supplier, or it has cancelled"

# ── what every answer carries ─────────────────────────────────────────────────────────────────────────────────────────

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
    """Lets scripts of any site read the answers, errors too, and answers what browsers ask before
    they send a token elsewhere.

    There are no cookies here: the token is all there is to steal, and a site that does not have it
    learns nothing."""

    scopes = (ScopeType.HTTP,)

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        headers = _ANY_ORIGIN
        if scope["type"] == "http" and scope["method"] == "OPTIONS":
            # a platform's monitoring adds headers of its own to every request, and a browser drops
            # what does not permit them
            asked = Headers.from_scope(scope).get("access-control-request-headers", "")
            permitted = permit_headers(asked) or "Authorization, Content-Type, Idempotency-Key"
            headers = _ANY_ORIGIN | _PREFLIGHT | {"Access-Control-Allow-Headers": permitted}

        async def send_open(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableScopeHeaders.from_message(message).update(headers)
            await send(message)

        await next_app(scope, receive, send_open)


async def _know_supplier(
    connection: ASGIConnection[Any, Any, Any, State], _: BaseRouteHandler
) -> None:
    """The guard of the browser's routes: puts the token's claims where `_claims` finds them."""
    token = read_bearer(connection.headers.get("authorization", ""))
    if token is None:
        raise UnauthorizedError(
            "send the coach token of the supplier as Authorization: Bearer …; docs/coach.md says how it is made"
        )
    ring: KeyRing = connection.app.state.coach_keys
    connection.state.claims = await ring.read_token(
        connection.app.state.pool, token, datetime.now(UTC)
    )


def _claims(request: AnyRequest) -> Claims:
    return request.state.claims


# ── what the coach shows ──────────────────────────────────────────────────────────────────────────────────────────────

Locale = Annotated[
    str | None,
    QueryParameter(
        max_length=35,
        description="Of the reader, as a browser names it (de-AT); goes before the token's.",
        schema_extra={"examples": ["de-AT"]},
    ),
]


@get(
    "/",
    guards=[_know_supplier],
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
            description="The path of the page that the supplier is on; tips are chosen by it.",
        ),
    ] = None,
    locale: Locale = None,
    words: Annotated[
        bool, QueryParameter(description="Whether the interface's words are wanted too.")
    ] = False,
) -> CoachAnswer:
    """A tip that fits the page, a call where it is needed, the set-up's checklist, a celebration,
    and what pays off next.

    The same tip stays until it is answered, no longer true, or the page is not its own. A new one
    passes the eligibility check of all interventions; what is kept back is in the intervention log.
    """
    claims, now, playbook = _claims(request), datetime.now(UTC), state.playbook
    score: CoachScorer = state.coach
    languages = tuple(list_languages([locale, claims.locale], playbook.coach.language))
    reads: Pool = state.coach_reads
    async with reads.connection() as conn:
        found = await queries.get_state(
            conn, claims.sub, score.milestones, rules.rest_since(playbook, now)
        )
    scored, is_new = await score.find(found)
    tip = (
        await _find_tip(state, found, scored, page, now, languages)
        if playbook.coach.enabled
        else None
    )
    waiting = found.uncelebrated
    if is_new and scored.row["onboarding_news"]:  # recorded since the state was read
        async with reads.connection() as conn:
            newest = await next_celebration(conn, claims.sub, playbook, now)
        waiting = newest.milestone_type if newest else None
    celebration = (
        None if waiting is None else _describe_celebration(state, scored, waiting, languages[0])
    )
    said = scored.say(languages, lambda: _say(playbook, scored, languages, now))
    return CoachAnswer(
        locale=pick_language(languages),
        supplier=CoachSupplier(found.supplier_id, found.external_id, found.name),
        tip=tip,
        help=None if found.call_ahead else said.help,
        checklist=said.checklist,
        celebration=celebration,
        next_steps=said.next_steps,
        words=interface_messages(languages) if words else None,
    )


def _say(playbook: Playbook, scored: Scored, languages: tuple[str, ...], now: datetime) -> Said:
    call = None
    if playbook.coach.enabled and scored.needs_call:
        kind = get_call_type(playbook.coach.call_type)
        call = coach_help(
            kind.name, kind.minutes, help_messages(languages), scored.row, pick_language(languages)
        )
    steps = [coach_step(one, playbook, scored.row, languages[0]) for one in scored.recommendations]
    return Said(call, checklist(scored.row, playbook, now, languages[0]), steps)


async def _find_tip(
    state: State,
    found: CoachState,
    scored: Scored,
    page: str | None,
    now: datetime,
    languages: tuple[str, ...],
) -> CoachTip | None:
    """The tip to show on this page: the open one, one that has come again, or a new one that the
    eligibility check lets pass."""
    playbook: Playbook = state.playbook
    here = tuple(name for name in scored.tips if rules.is_page(page, playbook.tips[name].pages))
    name = rules.find_open_tip(here, found.tips, playbook.tips, now)
    if name is not None:
        if found.tips[name].answer is not None:
            async with state.pool.connection() as conn:
                await queries.show_again(conn, found.supplier_id, name, page, now)
    elif not rules.is_resting(found.last_tip_at, playbook.coach.hours_between_tips, now):
        new = rules.find_new_tips(
            here, found.tips, playbook.tips, now, off_season=bool(scored.row["off_season"])
        )
        question, anything = (*new, found.last_tip_at, now.date()), (now.date(),)
        if new and not {question, anything} & scored.refused:
            desk: TipBatcher = state.tip_batcher
            with contextlib.suppress(NotNowError):
                decision = await desk.decide(Ask(found, scored.row, here, page))
                name = decision.tip
                if name is None:
                    scored.refused.add(anything if decision.is_full else question)
    return None if name is None else coach_tip(name, playbook, scored.row, languages)


def _describe_celebration(
    state: State, scored: Scored, milestone: str, language: str
) -> CoachCelebration | None:
    settings: Settings = state.settings
    said = celebration_of(state.playbook, milestone, scored.row, language)
    if said is None:
        return None
    has_certificate = said.certificate and why_not_for(scored.row["name"]) is None
    link = (
        certificate_url(settings.base_url, settings.secret, UUID(scored.row["supplier_id"]))
        if has_certificate
        else None
    )
    return CoachCelebration(milestone, said.title, said.body, link)


# ── what the supplier answers ─────────────────────────────────────────────────────────────────────────────────────────


@post(
    "/tips/{tip_id:str}",
    guards=[_know_supplier],
    status_code=200,
    tags=TAGS,
    operation_id="answerTip",
    exception_handlers=BODY_ERRORS,
    summary="Answer a tip",
    responses=problems(
        not_found="this tip was not shown to this supplier",
        conflict="the Idempotency-Key is in flight",
        unprocessable_entity='`until` without "later"; or the Idempotency-Key came with another body',
    ),
)
async def post_tip(
    request: AnyRequest,
    state: State,
    tip_id: FromPath[str],
    data: JSONBody[TipRequest],
    idempotency_key: IdempotencyKey = None,
) -> Response[TipAnswer]:
    """Done, put off, or never again. The last answer counts, but "never" stays."""
    claims, now, pool = _claims(request), datetime.now(UTC), state.pool
    if data.until is not None and data.answer != "later":
        raise UnprocessableError(f'until: goes with "later", not with "{data.answer}"')
    until = season = None
    if data.answer == "later":
        # no connection is held while the score is waited for, since it needs some itself
        async with pool.connection() as conn:
            found = await queries.get_state(conn, claims.sub, NO_MILESTONES, now)
        scored, _ = await state.coach.find(found)
        off = bool(scored.row["off_season"])
        until, season = rules.snooze(data.until or "day", now, found.timezone, off_season=off)
    async with pool.connection() as conn:

        async def effect() -> tuple[int, TipAnswer]:
            answer, stands = await queries.answer_tip(
                conn, claims.sub, tip_id.replace("\0", "\ufffd"), data.answer, now, until, season
            )
            return 200, TipAnswer(answer, stands)

        return await answer_once(
            request, conn, idempotency_key, effect, caller=f"supplier {claims.sub}"
        )


@post(
    "/celebrations/{milestone_type:str}",
    guards=[_know_supplier],
    status_code=200,
    tags=TAGS,
    operation_id="claimCelebration",
    summary="Take the right to celebrate",
    responses=problems(),
)
async def post_celebration(
    request: AnyRequest, conn: NamedDependency[Connection], milestone_type: FromPath[str]
) -> CelebrateAnswer:
    """True exactly once for each milestone, however many tabs ask: who hears it shows it."""
    claims = _claims(request)
    return CelebrateAnswer(
        await claim_celebration(
            conn, claims.sub, milestone_type.replace("\0", "\ufffd"), datetime.now(UTC)
        )
    )


@post(
    "/steps/{recommendation_id:str}",
    guards=[_know_supplier],
    status_code=204,
    tags=TAGS,
    operation_id="takeStep",
    summary="A next step's button was pressed",
    responses=problems(),
)
async def post_step(
    request: AnyRequest, conn: NamedDependency[Connection], recommendation_id: FromPath[str]
) -> None:
    """Noted, so that it can be seen what recommendations is followed. Recommendations that was not
    given is passed over."""
    await mark_clicked(
        conn,
        _claims(request).sub,
        recommendation_id.replace("\0", "\ufffd"),
        datetime.now(UTC).date(),
    )


async def _contact(conn: Connection, supplier_id: UUID) -> Contact:
    """Whom a call is with; who has cancelled gets none by the coach."""
    contact = await get_contact(conn, supplier_id)
    if await queries.has_cancelled(conn, supplier_id):
        raise NotFoundError(NO_SUPPLIER)
    return contact


# ── calls ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


@get(
    "/slots",
    guards=[_know_supplier],
    tags=TAGS,
    operation_id="listCoachSlots",
    summary="Free times for the call that is offered",
    responses=problems(not_found=NO_SUPPLIER, unprocessable_entity="a `from` that is no date"),
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
            description="A date or a time; a date begins at the supplier's midnight. Default: now.",
        ),
    ] = None,
    days: Annotated[
        int, QueryParameter(ge=1, le=MAX_DAYS, description="How many days from there.")
    ] = DEFAULT_DAYS,
) -> SlotsAnswer:
    """As `GET /api/support/slots`, for the supplier of the token and the kind of call that the
    playbook offers in the coach."""
    now = datetime.now(UTC)
    contact = await _contact(conn, _claims(request).sub)
    call, zone = get_call_type(state.playbook.coach.call_type), find_zone(contact.timezone)
    begin = now if start is None else read_from(start, contact.timezone)
    if not now - timedelta(days=MAX_DAYS) <= begin < now + timedelta(days=HORIZON_DAYS):
        raise UnprocessableError(
            f"from: {start} is too far off: calls are booked at most {HORIZON_DAYS} days ahead"
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
    guards=[_know_supplier],
    tags=TAGS,
    operation_id="bookCoachCall",
    exception_handlers=BODY_ERRORS,
    summary="Book the call that is offered",
    responses=problems(
        not_found=NO_SUPPLIER,
        conflict="the time is taken: `next_free` has the next free ones; or the Idempotency-Key is in flight",
        unprocessable_entity="a time that can never be had: `reason` says why, `next_free` has times that can; or the"
        " Idempotency-Key came with another body",
    ),
)
async def post_call(
    request: AnyRequest,
    conn: NamedDependency[Connection],
    state: State,
    data: JSONBody[CoachCallRequest],
    idempotency_key: IdempotencyKey = None,
) -> Response[BookedAnswer]:
    """As `POST /api/support/schedule-call`, for the supplier of the token."""
    claims = _claims(request)
    await _contact(conn, claims.sub)

    async def effect() -> tuple[int, BookedAnswer]:
        call = CallRequest(claims.sub, state.playbook.coach.call_type, data.starts_at, data.topic)
        return 201, await book_call(
            conn, state.settings, call, datetime.now(UTC), most_coming=_MOST_CALLS
        )

    return await answer_once(
        request, conn, idempotency_key, effect, caller=f"supplier {claims.sub}"
    )


# ── tokens, from server to server ─────────────────────────────────────────────────────────────────────────────────────


@post(
    "/api/coach/tokens",
    guards=[scope("coach")],
    tags=TAGS,
    operation_id="makeCoachToken",
    exception_handlers=BODY_ERRORS,
    summary="Make a token for a supplier's browser",
    responses=problems(not_found=NO_SUPPLIER),
)
async def post_token(
    request: AnyRequest,
    conn: NamedDependency[Connection],
    state: State,
    data: JSONBody[TokenRequest],
) -> Response[TokenAnswer]:
    """For a platform that would rather ask than sign. The coach key stays on its server: no browser
    may read this answer."""
    now = datetime.now(UTC)
    contact = await _contact(conn, data.supplier_id)
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
        route_handlers=[get_coach, post_tip, post_celebration, post_step, get_slots, post_call],
    ),
    post_token,
]

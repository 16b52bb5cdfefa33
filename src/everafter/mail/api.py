"""What a recipient can do from a message: stop such notes, and follow its button."""

import base64
import hashlib
import re
from datetime import UTC, datetime
from functools import cache
from importlib import resources
from typing import Any
from urllib.parse import urlsplit

from jinja2 import Environment, StrictUndefined
from litestar import Response, get, post
from litestar.datastructures import State
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, JSONBody
from litestar.response import Redirect

from everafter.branding.loading import load_brand
from everafter.branding.page_rules import page_brand
from everafter.branding.rules import LOGO_STYLE, branded_sender, recolor, sender_of
from everafter.core.bodies import BODY_ERRORS
from everafter.core.db import Connection
from everafter.core.email_address import travelling_form
from everafter.core.errors import InputError
from everafter.core.openapi import problems
from everafter.core.settings import Settings
from everafter.core.texts import clean_line
from everafter.core.values import read_moment
from everafter.core.web import scope
from everafter.mail import queries
from everafter.mail.events_model import (
    MOST_EVENTS,
    MailEventAnswer,
    MailEventRequest,
    MailEvents,
    MailEventsAnswer,
)
from everafter.mail.formatting import is_platform_path
from everafter.mail.report_queries import find_sent
from everafter.mail.report_rules import EventType
from everafter.mail.reports import take_event
from everafter.mail.rules import message_row, one_click_token_key

_ACTIONS = {
    "home": "your overview",
    "clients": "your couples",
    "forms": "your forms",
    "plans": "your plan and what it includes",
    "billing": "how you pay",
    "pause": "pausing your subscription",
    "call": "booking a call",
    "video": "the introduction video",
}


_EVENT_TYPES: dict[str, EventType] = {
    "bounce": "bounce",
    "delayed": "delayed",
    "complaint": "complaint",
    "delivered": "delivered",
}
_EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
_CODE = re.compile(r"[245]\.\d{1,3}\.\d{1,3}")


@get("/u/{token:str}", include_in_schema=False, sync_to_thread=False)
def show_unsubscribe(token: FromPath[str], state: State) -> Response[str]:
    """Ask. Mail scanners open every link, so looking at this page changes nothing."""
    settings: Settings = state.settings
    if one_click_token_key(settings.secret, token) is None:
        return _unknown_link(settings)
    return _page(settings, "ask", token=token)


@post("/u/{token:str}", status_code=200, include_in_schema=False, exclude_from_csrf=True)
async def unsubscribe(
    token: FromPath[str], state: State, conn: NamedDependency[Connection]
) -> Response[str]:
    """Stop such notes at once, what is queued included (RFC 8058).

    The token is the authority: no cookie, no body and no content type matter, and there is no
    redirect."""
    settings: Settings = state.settings
    key = one_click_token_key(settings.secret, token)
    message = await queries.get_message(conn, key.supplier_id, key.id) if key else None
    if message is None:
        return _unknown_link(settings)
    await queries.suppress(conn, message.to_email, message.topic, "unsubscribed")
    return _page(settings, "done")


@get("/go/step", include_in_schema=False, sync_to_thread=False)
def follow_step(to: FromQuery[str], state: State) -> Response[Any]:
    """To the page of the platform where a next step is done. Only the platform's own host is ever
    led to."""
    settings: Settings = state.settings
    if not is_platform_path(to):
        return _unknown_link(settings)
    if app := settings.app_url:
        parts = urlsplit(app)
        return Redirect(
            f"{parts.scheme}://{parts.netloc}{to}",
            status_code=302,
            headers={"Referrer-Policy": "no-referrer"},
        )
    return _page(settings, "where", where="the page that the email names")


@get("/go/{action:str}", include_in_schema=False, sync_to_thread=False)
def follow_button(action: FromPath[str], state: State) -> Response[Any]:
    """To the place in the platform that a message's button names; a page that names it, when the
    platform's address is not set."""
    settings: Settings = state.settings
    if action not in _ACTIONS:
        return _unknown_link(settings)
    if app := settings.app_url:
        return Redirect(
            app.replace("{action}", action),
            status_code=302,
            headers={"Referrer-Policy": "no-referrer"},
        )
    return _page(settings, "where", where=_ACTIONS[action])


@post(
    "/api/mail/events",
    guards=[scope("write")],
    tags=["Mail"],
    status_code=200,
    operation_id="recordMailEvents",
    exception_handlers=BODY_ERRORS,
    summary="Report bounces, complaints and deliveries",
    response_description="What became of each event, in their order.",
    responses=problems(),
)
async def record_events(
    conn: NamedDependency[Connection], state: State, data: JSONBody[MailEvents]
) -> MailEventsAnswer:
    """For an email provider's events, passed on by the platform. An event sent again changes
    nothing; one that cannot be used is answered with the reason, and the others are still taken. It
    counts only for a message that was sent to that address."""
    settings: Settings = state.settings
    sender = sender_of(settings.mail_from, settings.base_url).addr_spec
    now = datetime.now(UTC)
    if len(data) > MOST_EVENTS:
        raise InputError(f"{len(data)} events: at most {MOST_EVENTS} are taken at once")
    return MailEventsAnswer([await _record(conn, one, sender, now) for one in data])


async def _record(
    conn: Connection, one: MailEventRequest, sender: str, now: datetime
) -> MailEventAnswer:
    kind, message, problem = _EVENT_TYPES.get(one.type), message_row(one.message_id), ""
    if kind is None:
        problem = f"type: expected one of {', '.join(_EVENT_TYPES)}"
    elif message is None:
        problem = "message_id: expected the Message-ID of a message that was sent from here"
    elif one.code and not _CODE.fullmatch(one.code):
        problem = "code: expected an enhanced status code such as 5.1.1"
    if kind is None or message is None or problem:
        return MailEventAnswer("refused", problem)
    sent = await find_sent(conn, message, travelling_form(clean_line(one.email)))
    if sent is None:
        return MailEventAnswer("unmatched", "no such message was sent to this address")
    code, at = one.code or "", _moment(one.at, now)
    return MailEventAnswer(
        await take_event(conn, sent, kind, code, one.reason, "provider", sender, at)
    )


def _moment(text: str | None, now: datetime) -> datetime:
    """The time given, if it can be read and is plausible; else now."""
    at = read_moment(text)
    return at if at is not None and _EARLIEST <= at <= now else now


def _unknown_link(settings: Settings) -> Response[str]:
    return _page(settings, "unknown", status=404)


def _page(settings: Settings, what: str, status: int = 200, **context: str) -> Response[str]:
    brand = load_brand(settings)
    sender = branded_sender(sender_of(settings.mail_from, settings.base_url), brand)
    look = page_brand(brand, sender.display_name or sender.addr_spec)
    ours, html = _template()
    style = recolor(ours, brand.colors) + (LOGO_STYLE if look.logo else "")
    body = html.render(
        what=what, style=style, brand=look, email=brand.reply_to or sender.addr_spec, **context
    )
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    images = f" img-src 'self' {look.img_src};" if look.logo else ""
    policy = f"default-src 'none'; style-src 'sha256-{digest}';{images} form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    headers = {
        "Content-Security-Policy": policy,
        "Cache-Control": "no-store",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
        "X-Robots-Tag": "noindex",
    }
    return Response(
        body, status_code=status, media_type="text/html; charset=utf-8", headers=headers
    )


@cache
def _template() -> tuple[str, Any]:
    folder = resources.files("everafter.mail") / "templates"
    env = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    style = (folder / "recipient.css").read_text(encoding="utf-8")
    return style, env.from_string((folder / "recipient.html").read_text(encoding="utf-8"))


handlers: list[Any] = [record_events, show_unsubscribe, unsubscribe, follow_step, follow_button]

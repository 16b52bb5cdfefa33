"""Links in emails (unsubscribe, buttons), and events reported by email providers."""

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
from everafter.mail import outbox_queries, suppression_queries
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
from everafter.mail.reports import record_event
from everafter.mail.rules import message_row, one_click_token_key

_ACTIONS = {
    "home": "your overview",
    "clients": "your couples",
    "forms": "your forms",
    "plans": "your plan and what it includes",
    "billing": "your payment details",
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
    """Ask for confirmation: mail scanners open every link, so GET changes nothing."""
    settings: Settings = state.settings
    if one_click_token_key(settings.secret, token) is None:
        return _unknown_link(settings)
    return _page(settings, "ask", token=token)


@post("/u/{token:str}", status_code=200, include_in_schema=False, exclude_from_csrf=True)
async def unsubscribe(
    token: FromPath[str], state: State, conn: NamedDependency[Connection]
) -> Response[str]:
    """Unsubscribe the recipient, also from queued messages (RFC 8058).

    The token authorizes the request. Cookies, body and content type are ignored, and the response
    is not a redirect.
    """
    settings: Settings = state.settings
    key = one_click_token_key(settings.secret, token)
    message = await outbox_queries.get_message(conn, key.supplier_id, key.id) if key else None
    if message is None:
        return _unknown_link(settings)
    await suppression_queries.suppress(conn, message.to_email, message.topic, "unsubscribed")
    return _page(settings, "done")


@get("/go/step", include_in_schema=False, sync_to_thread=False)
def follow_step(to: FromQuery[str], state: State) -> Response[Any]:
    """Redirect to a page of the platform. `to` is a path: other hosts are never redirected to."""
    settings: Settings = state.settings
    if not is_platform_path(to):
        return _unknown_link(settings)
    if app := settings.app_url:
        parts = urlsplit(app)
        return _redirect(f"{parts.scheme}://{parts.netloc}{to}")
    return _page(settings, "where", where="the page that the email names")


@get("/go/{action:str}", include_in_schema=False, sync_to_thread=False)
def follow_button(action: FromPath[str], state: State) -> Response[Any]:
    """Redirect to the page of the platform that a button names. Without EVERAFTER_APP_URL, show
    where to find it."""
    settings: Settings = state.settings
    if action not in _ACTIONS:
        return _unknown_link(settings)
    if app := settings.app_url:
        return _redirect(app.replace("{action}", action))
    return _page(settings, "where", where=_ACTIONS[action])


def _redirect(url: str) -> Redirect:
    return Redirect(url, status_code=302, headers={"Referrer-Policy": "no-referrer"})


@post(
    "/api/mail/events",
    guards=[scope("write")],
    tags=["Mail"],
    status_code=200,
    operation_id="recordMailEvents",
    exception_handlers=BODY_ERRORS,
    summary="Report bounces, complaints and deliveries",
    response_description="The result of each event, in the order of the request.",
    responses=problems(),
)
async def record_events(
    conn: NamedDependency[Connection], state: State, data: JSONBody[MailEvents]
) -> MailEventsAnswer:
    """Record events of an email provider that the platform forwards. Repeated events change
    nothing. An event with an unknown type, Message-ID or code is rejected with a reason, and the
    others are still recorded; one with a missing field or a value of another JSON type fails the
    request, and the error has its index. An event only counts if the message was sent to that
    address."""
    settings: Settings = state.settings
    sender = sender_of(settings.mail_from, settings.base_url).addr_spec
    now = datetime.now(UTC)
    if len(data) > MOST_EVENTS:
        raise InputError(f"{len(data)} events: the limit is {MOST_EVENTS} per request")
    return MailEventsAnswer([await _record(conn, one, sender, now) for one in data])


async def _record(
    conn: Connection, one: MailEventRequest, sender: str, now: datetime
) -> MailEventAnswer:
    kind, message, problem = _EVENT_TYPES.get(one.type), message_row(one.message_id), ""
    if kind is None:
        problem = f"type: expected one of {', '.join(_EVENT_TYPES)}"
    elif message is None:
        problem = "message_id: expected the Message-ID of a message that Everafter sent"
    elif one.code and not _CODE.fullmatch(one.code):
        problem = "code: expected an enhanced status code such as 5.1.1"
    if kind is None or message is None or problem:
        return MailEventAnswer("rejected", problem)
    sent = await find_sent(conn, message, travelling_form(clean_line(one.email)))
    if sent is None:
        return MailEventAnswer("unmatched", "no such message was sent to this address")
    code, at = one.code or "", _read_time(one.at, now)
    return MailEventAnswer(
        await record_event(conn, sent, kind, code, one.reason, "provider", sender, at)
    )


def _read_time(text: str | None, now: datetime) -> datetime:
    """The given time if it is valid and plausible, else now."""
    at = read_moment(text)
    return at if at is not None and _EARLIEST <= at <= now else now


def _unknown_link(settings: Settings) -> Response[str]:
    return _page(settings, "unknown", status=404)


def _page(settings: Settings, what: str, status: int = 200, **context: str) -> Response[str]:
    brand = load_brand(settings)
    sender = branded_sender(sender_of(settings.mail_from, settings.base_url), brand)
    shown = page_brand(brand, sender.display_name or sender.addr_spec)
    css, html = _template()
    style = recolor(css, brand.colors) + (LOGO_STYLE if shown.logo else "")
    body = html.render(
        what=what, style=style, brand=shown, email=brand.reply_to or sender.addr_spec, **context
    )
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    images = f" img-src 'self' {shown.img_src};" if shown.logo else ""
    policy = (
        f"default-src 'none'; style-src 'sha256-{digest}';{images} form-action 'self';"
        " base-uri 'none'; frame-ancestors 'none'"
    )
    headers = {
        "Content-Security-Policy": policy,
        "Cache-Control": "no-store",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
        "X-Robots-Tag": "noindex",
    }
    return Response(body, status_code=status, media_type="text/html", headers=headers)


@cache
def _template() -> tuple[str, Any]:
    folder = resources.files("everafter.mail") / "templates"
    env = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    style = (folder / "recipient.css").read_text(encoding="utf-8")
    return style, env.from_string((folder / "recipient.html").read_text(encoding="utf-8"))


handlers: list[Any] = [record_events, show_unsubscribe, unsubscribe, follow_step, follow_button]

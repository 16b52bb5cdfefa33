"""The outbox page, and the page of one message."""

import asyncio
import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from litestar import Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath

from everafter.accounts.access import check_form
from everafter.accounts.model import Viewer
from everafter.branding.loading import load_brand
from everafter.branding.model import OURS
from everafter.core.cursor import read_cursor, read_time_and_id, write_cursor
from everafter.core.db import Connection
from everafter.core.errors import ConflictError, ForbiddenError, InputError, NotFoundError
from everafter.core.formatting import humanize, sentence
from everafter.core.ids import SupplierId
from everafter.core.pages import message_page, page, see_other
from everafter.core.settings import Settings
from everafter.core.web import AnyRequest
from everafter.mail import outbox_queries, sending_queries
from everafter.mail.model import (
    STATUS_MEANING,
    STATUS_TITLES,
    Key,
    Message,
    OutboxLine,
    Rendered,
    RenderError,
    Status,
)
from everafter.mail.overrides import check_overrides
from everafter.mail.rules import preview, render_subject

_ROWS = 50


@get("/messages")
async def show_messages(
    request: AnyRequest, conn: NamedDependency[Connection], viewer: NamedDependency[Viewer]
) -> Response[Any]:
    """Show messages, newest first, filtered by the `status` parameter."""
    status = _status(request.query_params.get("status", ""))
    lines = await outbox_queries.list_outbox(
        conn, status=status, before=_before(request.query_params.get("before", "")), limit=_ROWS + 1
    )
    more = lines[_ROWS - 1] if len(lines) > _ROWS else None
    return page(
        request,
        "portfolio/templates/messages.html",
        viewer=viewer,
        lines=lines[:_ROWS],
        subjects=await list_subjects(conn, lines[:_ROWS], request.app.state.settings),
        status=status,
        counts=await outbox_queries.count_by_status(conn),
        paused=await sending_queries.get_pause(conn),
        trouble=await sending_queries.get_trouble(conn),
        has_server=request.app.state.settings.smtp_url is not None,
        cursor=write_cursor(more.created_at, more.id) if more else None,
        is_first="before" not in request.query_params,
        status_labels=STATUS_TITLES,
        status_meaning=STATUS_MEANING,
    )


@get("/messages/{supplier_id:str}/{message_id:uuid}")
async def show_message(
    request: AnyRequest,
    supplier_id: FromPath[SupplierId],
    message_id: FromPath[uuid.UUID],
    conn: NamedDependency[Connection],
    viewer: NamedDependency[Viewer],
) -> Response[Any]:
    """Show one message: its text and HTML parts, and its delivery."""
    message = await _find(conn, supplier_id, message_id)
    rendered, problem = await asyncio.to_thread(_render, message, request.app.state.settings)
    return page(
        request,
        "portfolio/templates/message.html",
        viewer=viewer,
        message=message,
        rendered=rendered,
        problem=problem,
        status_labels=STATUS_TITLES,
        status_meaning=STATUS_MEANING,
    )


@get("/messages/{supplier_id:str}/{message_id:uuid}/html")
async def show_message_html(
    request: AnyRequest,
    supplier_id: FromPath[SupplierId],
    message_id: FromPath[uuid.UUID],
    conn: NamedDependency[Connection],
    viewer: NamedDependency[Viewer],
) -> Response[Any]:
    """Serve the HTML part alone, for the frame on the message's page; requires a signed-in user."""
    message = await _find(conn, supplier_id, message_id)
    rendered, problem = await asyncio.to_thread(_render, message, request.app.state.settings)
    if rendered is None:
        raise NotFoundError(f"message {message_id} has no HTML part: {problem}")
    return message_page(rendered.html)


@post(
    "/messages/{supplier_id:str}/{message_id:uuid}/resolve",
    status_code=303,
    request_max_body_size=16_384,
)
async def resolve_message(
    request: AnyRequest,
    supplier_id: FromPath[SupplierId],
    message_id: FromPath[uuid.UUID],
    conn: NamedDependency[Connection],
    viewer: NamedDependency[Viewer],
) -> Response[Any]:
    """Record what became of a message in doubt."""
    form = await check_form(request, viewer)
    if not viewer.may_act:
        raise ForbiddenError("observers cannot change messages")
    key, outcome = Key(supplier_id, message_id), form.get("outcome")
    if outcome not in {"sent", "resend"}:
        raise InputError("outcome: expected sent or resend")
    resolve = outbox_queries.resolve_sent if outcome == "sent" else outbox_queries.resolve_resend
    if not await resolve(conn, key, viewer.name):
        raise ConflictError("this message is no longer in doubt: somebody else resolved it")
    return see_other(f"/messages/{supplier_id}/{message_id}")


async def list_subjects(
    conn: Connection, lines: Sequence[OutboxLine], settings: Settings
) -> dict[uuid.UUID, str]:
    """The subject of each message: as it was sent, or as it would be sent now.

    If it cannot be rendered, the name of its template.
    """
    unsent = [line for line in lines if line.subject is None]
    facts = await outbox_queries.list_facts(
        conn, [Key(line.supplier_id, line.id) for line in unsent]
    )
    rendered = await asyncio.to_thread(_render_subjects, unsent, facts, settings)
    return {line.id: line.subject or rendered[line.id] for line in lines}


def _render_subjects(
    lines: Sequence[OutboxLine],
    facts: Mapping[uuid.UUID, tuple[str, dict[str, Any]]],
    settings: Settings,
) -> dict[uuid.UUID, str]:
    if not lines:
        return {}
    try:
        brand = load_brand(settings, check_overrides)
    except InputError:
        brand = OURS
    found: dict[uuid.UUID, str] = {}
    for line in lines:
        to_name, known = facts.get(line.id, ("", {}))
        try:
            named = {**known, "name": known.get("name") or to_name}
            found[line.id] = render_subject(line.template, named, brand)
        except RenderError:
            found[line.id] = sentence(humanize(line.template))
    return found


async def _find(conn: Connection, supplier_id: uuid.UUID, message_id: uuid.UUID) -> Message:
    message = await outbox_queries.get_message(conn, supplier_id, message_id)
    if message is None:
        raise NotFoundError("there is no such message")
    return message


def _render(message: Message, settings: Settings) -> tuple[Rendered | None, str]:
    try:
        brand = load_brand(settings, check_overrides)
        return preview(
            message,
            mail_from=settings.mail_from,
            base_url=settings.base_url,
            secret=settings.secret,
            brand=brand,
        ), ""
    except (RenderError, InputError) as error:
        return None, error.message


def _status(text: str) -> Status | None:
    if not text:
        return None
    for status in STATUS_MEANING:
        if status == text:
            return status
    raise InputError(f"status: {text[:40]!r} is not one of {', '.join(STATUS_MEANING)}")


def _before(text: str) -> tuple[datetime, uuid.UUID] | None:
    try:
        return read_cursor(text or None, read_time_and_id)
    except InputError as error:
        raise InputError(
            f"before: {text[:80]!r} is not a valid cursor; start at /messages"
        ) from error


routes = [show_messages, show_message, show_message_html, resolve_message]

"""Rules of sending: when to retry, Message-IDs, senders, links and their tokens, previews. Pure.

`render_message`, `render_subject` and `list_templates` are exported from here for other slices.
"""

import base64
import uuid
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from everafter.branding.model import OURS, Brand
from everafter.branding.rules import branded_sender, sender_of
from everafter.certificates.rules import certificate_url
from everafter.core.email_address import EmailAddress
from everafter.core.errors import SettingsError
from everafter.core.signing import make_token, read_token
from everafter.mail.model import LOGO_ID, Claim, Key, Links, Message, Rendered, Topic
from everafter.mail.render import list_templates as list_templates  # for other slices
from everafter.mail.render import render_message as render_message
from everafter.mail.render import render_subject as render_subject

MAX_ATTEMPTS = 10
_UNSUBSCRIBING = b"everafter one-click unsubscribe 1\0"
_BOUNCES = b"everafter message of a bounce 1\0"
_OPTIONS = ("bounces", "lease", "timeout")
_BACK_OFF_SECONDS = (60, 300, 900, 1800, 3600, 7200, 14400)


# ── retries ───────────────────────────────────────────────────────────────────────────────────


def retry_seconds(attempt: int, jitter: float) -> float:
    """Seconds to wait after attempt number `attempt` (from 1) was deferred: one minute at first, at
    most four hours.

    Args:
        jitter: 0–1; adds up to a quarter, so that messages that failed together are retried apart.
    """
    return _BACK_OFF_SECONDS[min(attempt, len(_BACK_OFF_SECONDS)) - 1] * (1 + jitter / 4)


# ── senders and ids ───────────────────────────────────────────────────────────────────────────


def message_id(row: uuid.UUID, sender: str) -> str:
    """The Message-ID of an outbox row: the same at every attempt, so that receivers can detect
    copies."""
    return f"<{row}@{sender.rpartition('@')[2]}>"


def message_row(text: str) -> uuid.UUID | None:
    """The id of the outbox row in a Message-ID; null: it is not one of ours."""
    try:
        return uuid.UUID(text.strip().strip("<>").partition("@")[0])
    except ValueError:
        return None


def url_options(smtp_url: str) -> dict[str, str]:
    """The query parameters of EVERAFTER_SMTP_URL.

    bounces: the Maildir or mbox file that receives bounces. lease, timeout: seconds.

    Raises:
        SettingsError: an unknown parameter.
    """
    options = dict(parse_qsl(urlsplit(smtp_url).query))
    if unknown := sorted(set(options) - set(_OPTIONS)):
        raise SettingsError(
            f"EVERAFTER_SMTP_URL: unknown option {unknown[0]!r}; expected {', '.join(_OPTIONS)}"
        )
    return options


# ── links ─────────────────────────────────────────────────────────────────────────────────────


def links_of(base_url: str, secret: str, key: Key, topic: Topic, sender: EmailAddress) -> Links:
    """The links and the signature of a message. Transactional email has no unsubscribe link."""
    unsubscribe = f"{base_url}/u/{one_click_token(secret, key)}" if topic == "success" else None
    return Links(
        go=f"{base_url}/go/",
        unsubscribe=unsubscribe,
        sender=sender.display_name or sender.addr_spec,
        certificate=certificate_url(base_url, secret, key.supplier_id),
        token=message_token(secret, key),
    )


def preview(
    message: Message,
    *,
    mail_from: EmailAddress | None,
    base_url: str,
    secret: str,
    brand: Brand = OURS,
) -> Rendered:
    """Render a message as it was sent, or as it would be sent now. The attached logo becomes a
    `data:` URL in the HTML part.

    Raises:
        RenderError: it cannot be rendered; the worker would end it with the same reason.
    """
    if (
        message.subject is not None
        and message.body_text is not None
        and message.body_html is not None
    ):
        return _with_logo(Rendered(message.subject, message.body_text, message.body_html), brand)
    key = Key(message.supplier_id, message.id)
    sender = branded_sender(sender_of(mail_from, base_url), brand)
    links = links_of(base_url, secret, key, message.topic, sender)
    return _with_logo(render_message(message.template, describe(message), links, brand), brand)


def _with_logo(rendered: Rendered, brand: Brand) -> Rendered:
    logo = brand.logo
    if logo is None or not logo.inline:
        return rendered
    data = f"data:{logo.inline_type};base64,{base64.b64encode(logo.inline).decode()}"
    return replace(rendered, html=rendered.html.replace(f"cid:{LOGO_ID}", data))


def describe(message: Message | Claim) -> dict[str, Any]:
    """The facts to render with. name: the supplier's at the time of the intervention, else the
    recipient's."""
    return {**message.facts, "name": message.facts.get("name") or message.to_name}


def message_token(secret: str, key: Key) -> str:
    """64 characters that identify an outbox row, for a header that bounces return.

    Unlike a Message-ID it cannot be guessed, and it authorizes nothing else.
    """
    return make_token(secret, _BOUNCES, key.supplier_id, key.id)


def message_token_key(secret: str, token: str) -> Key | None:
    """The row of a token of `message_token`; null: invalid."""
    return _read_token(secret, token, _BOUNCES)


def one_click_token(secret: str, key: Key) -> str:
    """64 characters that identify an outbox row with a 128-bit HMAC-SHA256. The holder can
    unsubscribe the recipient.

    They contain the row instead of the address, so that no address appears in access logs.
    """
    return make_token(secret, _UNSUBSCRIBING, key.supplier_id, key.id)


def one_click_token_key(secret: str, token: str) -> Key | None:
    """The row of a token of `one_click_token`; null: invalid."""
    return _read_token(secret, token, _UNSUBSCRIBING)


def _read_token(secret: str, token: str, purpose: bytes) -> Key | None:
    ids = read_token(secret, purpose, token, 2)
    return Key(*ids) if ids else None

"""The mail server's settings, the bytes of a message, and an SMTP session in two steps.

In SMTP (RFC 5321) a client knows that a message was rejected (4xx or 5xx) or accepted (250 after
the final dot). Between DATA and the reply it cannot know. `Session.offer` ends before this gap;
`Session.hand_over` covers it.
"""

import asyncio
import datetime as dt
import re
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from email.utils import format_datetime
from urllib.parse import unquote, urlsplit

import aiosmtplib
from aiosmtplib import SMTPException, SMTPResponse, SMTPResponseException

from everafter.branding.model import OURS, Brand
from everafter.branding.rules import sender_of
from everafter.core.email_address import EmailAddress, read_email
from everafter.core.errors import EverafterError, SettingsError
from everafter.core.settings import Settings
from everafter.mail.formatting import clean_text
from everafter.mail.mime import (
    Entity,
    address_header,
    attachment,
    check_bytes,
    literal_header,
    multipart,
    related,
    text_header,
    text_part,
)
from everafter.mail.model import LOGO_ID, Claim, Links, Rendered
from everafter.mail.reply_rules import Step
from everafter.mail.rules import message_id, url_options

_PORTS = {"smtp": 25, "smtps": 465, "smtp+starttls": 587}
_LONGEST_REPLY = 500


@dataclass(frozen=True, slots=True)
class MailServer:
    """The mail server, from EVERAFTER_SMTP_URL and EVERAFTER_MAIL_FROM.

    lease_seconds: a message that was sent without a reply counts as in doubt after this time. It
    must be longer than the server's own timeout (5 minutes in RFC 5321). timeout_seconds: for each
    reply; five times as long for the reply after the message.
    """

    scheme: str
    host: str
    port: int
    username: str | None
    password: str | None
    sender: EmailAddress
    lease_seconds: float
    timeout_seconds: float

    @property
    def place(self) -> str:
        """The URL without credentials."""
        return f"{self.scheme}://{self.host}:{self.port}"


def mail_server(settings: Settings) -> MailServer | None:
    """Read the mail server from the settings; null: none is set, and mail stays in the outbox.

    Raises:
        SettingsError: an unknown option, an invalid value, or a password that would be sent over a
            network without encryption.
    """
    if not settings.smtp_url:
        return None
    parts = urlsplit(settings.smtp_url)
    options = url_options(settings.smtp_url)
    try:
        port = parts.port or _PORTS[parts.scheme]
        lease, timeout = float(options.get("lease", 900)), float(options.get("timeout", 60))
    except ValueError as error:
        raise SettingsError(f"EVERAFTER_SMTP_URL: {error}") from error
    if not 0 < timeout <= lease:
        raise SettingsError("EVERAFTER_SMTP_URL: timeout must be greater than 0 and at most lease")
    host = parts.hostname or ""
    if parts.username and parts.scheme == "smtp" and not _is_loopback(host):
        raise SettingsError(
            f"EVERAFTER_SMTP_URL: smtp:// would send the password for {host} unencrypted;"
            " use smtp+starttls:// or smtps://"
        )
    return MailServer(
        scheme=parts.scheme,
        host=host,
        port=port,
        username=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password else None,
        sender=sender_of(settings.mail_from, settings.base_url),
        lease_seconds=lease,
        timeout_seconds=timeout,
    )


def _is_loopback(host: str) -> bool:
    return host in {"localhost", "::1"} or host.startswith("127.")


# ── the message ───────────────────────────────────────────────────────────────────────────────


def build_message(
    claimed: Claim,
    rendered: Rendered,
    links: Links,
    sender: EmailAddress,
    at: dt.datetime,
    brand: Brand = OURS,
) -> bytes:
    """Write the message as bytes: text and HTML parts, an invitation if the facts have one (`ics`),
    headers for one-click unsubscription, and the platform's logo if the HTML part shows it.

    Raises:
        ValueError: the recipient is not an address, or the bytes do not parse as this message.
    """
    recipient = read_email(claimed.to_email, claimed.to_name)
    headers = [
        address_header("From", sender),
        address_header("To", recipient),
        text_header("Subject", clean_text(rendered.subject)),
        text_header("Date", format_datetime(at)),
        literal_header("Message-ID", message_id(claimed.id, sender.addr_spec)),
        literal_header("Auto-Submitted", "auto-generated"),
        literal_header("X-Auto-Response-Suppress", "All"),
        literal_header("X-Everafter", links.token),
    ]
    if links.unsubscribe:
        headers += [
            literal_header("List-Unsubscribe", f"<{links.unsubscribe}>"),
            literal_header("List-Unsubscribe-Post", "List-Unsubscribe=One-Click"),
        ]
    if brand.reply_to:
        headers.insert(1, address_header("Reply-To", read_email(brand.reply_to)))
    headers.append(literal_header("MIME-Version", "1.0"))
    parts = [text_part(rendered.text), _html_part(claimed, rendered, brand)]
    ics = claimed.facts.get("ics")
    if not isinstance(ics, str):
        whole = multipart("alternative", f"a{claimed.id.hex}", parts, *headers)
    else:
        parts.append(text_part(ics, "calendar", method=_method(ics)))
        inner = multipart("alternative", f"a{claimed.id.hex}", parts)
        file = attachment(ics.encode("utf-8", "replace"), "application/ics", "invite.ics")
        whole = multipart("mixed", f"m{claimed.id.hex}", [inner, file], *headers)
    raw = whole.write()
    check_bytes(raw, whole, sender, recipient)
    return raw


def _html_part(claimed: Claim, rendered: Rendered, brand: Brand) -> Entity:
    part, logo = text_part(rendered.html, "html"), brand.logo
    if logo is None or not logo.inline or f"cid:{LOGO_ID}" not in rendered.html:
        return part
    file_name = f"logo.{logo.inline_type.removeprefix('image/')}"
    return related(f"r{claimed.id.hex}", part, logo.inline, logo.inline_type, LOGO_ID, file_name)


def _method(ics: str) -> str:
    found = re.search(r"^METHOD:([A-Z]+)\r?$", ics, re.MULTILINE)
    return found[1] if found else "REQUEST"


# ── the session ───────────────────────────────────────────────────────────────────────────────


class MailServerError(EverafterError):
    """The mail server cannot be reached or rejects our mail; no single message is the cause."""

    status = 503
    code = "mail_server"


class RefusedError(Exception):
    """The server rejected one message (4xx or 5xx)."""

    def __init__(self, step: Step, code: int, text: str) -> None:
        super().__init__(f"{code} {text}")
        self.step: Step = step
        self.code, self.text = code, text


class NotOfferedError(Exception):
    """The server cannot transport this message; it was not offered."""


class NotHandedError(Exception):
    """The session broke before the message was started; it was certainly not sent."""


class UnknownOutcomeError(Exception):
    """The session broke after the message was started; it may have been sent."""


class _Client(aiosmtplib.SMTP):
    """Closes immediately: a server that stops reading, or does not answer the end of TLS, would
    keep the connection open."""

    def close(self) -> None:
        transport = self.transport
        super().close()
        if isinstance(transport, asyncio.WriteTransport):
            transport.abort()


class Session:
    """One connection, reused for several messages."""

    def __init__(self, server: MailServer) -> None:
        self._server = server
        self._smtp: _Client | None = None
        self._used = False

    async def open(self) -> None:
        """Connect, encrypt and sign in, unless the session is open.

        Raises:
            MailServerError: one of these steps failed.
        """
        if self._smtp is not None and self._smtp.is_connected:
            return
        server = self._server
        self._used = False
        self._smtp = _Client(
            hostname=server.host,
            port=server.port,
            username=server.username,
            password=server.password,
            local_hostname=_own_name(server.sender),
            timeout=server.timeout_seconds,
            use_tls=server.scheme == "smtps",
            start_tls=server.scheme == "smtp+starttls",
        )
        try:
            await self._smtp.connect()
            if self._smtp.is_ehlo_or_helo_needed:
                await self._smtp.ehlo()
        except (SMTPException, OSError, ValueError) as error:
            self._drop()
            refused = isinstance(error, SMTPResponseException) and 400 <= error.code <= 599
            what = (
                "the mail server rejects our mail" if refused else "the mail server cannot be used"
            )
            raise MailServerError(f"{what}: {_one_line(error)} ({server.place})") from error

    async def offer(self, recipient: EmailAddress) -> None:
        """Send MAIL and RCPT. Reconnect once if the connection broke since the last message.

        Raises:
            MailServerError: no connection.
            NotOfferedError: the recipient needs SMTPUTF8, which the server does not offer.
            RefusedError: the server rejected the sender or the recipient.
            NotHandedError: the session broke.
        """
        await self.open()
        if recipient.needs_smtputf8 and not self._offers_smtputf8():
            raise NotOfferedError(
                f"the mail server at {self._server.place} does not offer SMTPUTF8,"
                f" which {recipient.addr_spec} requires"
            )
        try:
            await self._mail(recipient)
        except NotHandedError:
            if not self._used:
                raise
            self._drop()
            await self.open()
            await self._mail(recipient)
        except RefusedError as refused:
            if refused.code != 421 or not self._used:
                raise
            self._drop()  # 421: idle for too long, or too many messages on one connection
            await self.open()
            await self._mail(recipient)
        self._used = True
        await self._send(
            "recipient", lambda smtp: _command(smtp, b"RCPT TO:", recipient, {250, 251})
        )

    async def hand_over(self, message: bytes) -> str:
        """Send DATA and the message.

        Returns:
            The reply with its 250.

        Raises:
            RefusedError: the server rejected the message.
            NotHandedError: the session broke before the first byte of the message.
            UnknownOutcomeError: the session broke later, without a valid reply.
        """
        smtp = self._smtp
        if smtp is None or not smtp.is_connected:
            self._drop()
            raise NotHandedError("the connection was lost before the message was started")
        await self._send("data", _begin_data)
        protocol = smtp.protocol
        if protocol is None:
            raise NotHandedError("the connection was lost before the message was started")
        try:
            protocol.write(_dot_stuffed(message))
            response = await protocol.read_response(timeout=self._server.timeout_seconds * 5)
        except (SMTPException, OSError) as error:
            self._drop()
            raise UnknownOutcomeError(_one_line(error)) from error
        if 400 <= response.code <= 599:
            raise RefusedError("data", response.code, _one_line(response.message))
        if response.code != 250:
            self._drop()
            raise UnknownOutcomeError(f"unexpected reply: {_one_line(response)}")
        return _one_line(response)

    async def reset(self) -> None:
        """Send RSET; close the connection if that fails."""
        try:
            if self._smtp is not None and self._smtp.is_connected:
                await self._smtp.rset()
                return
        except (SMTPException, OSError):
            pass
        self._drop()

    async def close(self) -> None:
        """Send QUIT, and close the connection after at most two seconds."""
        try:
            if self._smtp is not None and self._smtp.is_connected:
                await self._smtp.quit(timeout=2)
        except (SMTPException, OSError):
            pass
        self._drop()

    def _offers_smtputf8(self) -> bool:
        return self._smtp is not None and self._smtp.supports_extension("smtputf8")

    async def _mail(self, recipient: EmailAddress) -> None:
        sender = self._server.sender
        more = b" SMTPUTF8" if recipient.needs_smtputf8 or sender.needs_smtputf8 else b""
        await self._send("sender", lambda smtp: _command(smtp, b"MAIL FROM:", sender, {250}, more))

    async def _send(
        self, step: Step, command: Callable[[aiosmtplib.SMTP], Awaitable[object]]
    ) -> None:
        assert self._smtp is not None  # noqa: S101 open() came before
        try:
            await command(self._smtp)
        except SMTPResponseException as error:
            if not 400 <= error.code <= 599:
                self._drop()
                raise NotHandedError(f"invalid reply: {_one_line(error)}") from error
            raise RefusedError(step, error.code, _one_line(error.message)) from error
        except (SMTPException, OSError, ValueError) as error:
            self._drop()
            raise NotHandedError(_one_line(error)) from error

    def _drop(self) -> None:
        if self._smtp is not None:
            self._smtp.close()
        self._smtp = None


def _own_name(sender: EmailAddress) -> str:
    """The name for EHLO. Without a fully qualified host name it is the sender's domain, because a
    DNS lookup can hang."""
    name = socket.gethostname()
    return name if "." in name and re.fullmatch(r"[A-Za-z0-9.-]+", name) else sender.domain


async def _command(
    smtp: aiosmtplib.SMTP, verb: bytes, address: EmailAddress, good: set[int], more: bytes = b""
) -> None:
    """Send MAIL or RCPT. The library would parse the address and write it differently."""
    response = await smtp.execute_command(verb + f"<{address.addr_spec}>".encode() + more)
    if response.code not in good:
        raise SMTPResponseException(response.code, response.message)


async def _begin_data(smtp: aiosmtplib.SMTP) -> None:
    response = await smtp.execute_command(b"DATA")
    if response.code != 354:
        raise SMTPResponseException(response.code, response.message)


def _dot_stuffed(message: bytes) -> bytes:
    """The message with CRLF line ends and escaped dots (RFC 5321, 4.5.2), so that no line can end
    it early."""
    lines = re.sub(rb"\r\n|\r|\n", b"\r\n", message)
    if not lines.endswith(b"\r\n"):
        lines += b"\r\n"
    return re.sub(rb"(?m)^\.", b"..", lines) + b".\r\n"


def _one_line(what: object) -> str:
    text = (
        f"{what.code} {what.message}"
        if isinstance(what, SMTPResponseException | SMTPResponse)
        else str(what)
    )
    return clean_text(text.encode("utf-8", "replace").decode(), _LONGEST_REPLY)

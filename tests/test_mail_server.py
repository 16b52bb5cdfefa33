"""The mail server: unreachable, stale, with TLS and sign-in, and invalid settings."""

import asyncio
import datetime as dt
import ipaddress
import ssl
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from everafter.core.email_address import read_email
from everafter.core.errors import SettingsError
from everafter.core.settings import Settings
from everafter.mail.jobs import send_due
from everafter.mail.model import Tally
from everafter.mail.smtp import MailServerError, mail_server
from helpers_mail import (
    add_message,
    get,
    raw_server,
    sending,
    sink,
    wait_until,
    with_pool,
)
from test_mail_send import send


def test_an_unreachable_server_uses_no_attempt(settings: Settings, database: str) -> None:
    key = add_message(database)
    for answer in (
        b"554 go away\r\n",
        b"421 not now\r\n",
        b"",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
    ):

        async def refused(pool: Any, answer: bytes = answer) -> None:
            async with raw_server(answer) as port:
                with pytest.raises(
                    MailServerError,
                    match=r"the mail server (rejects our mail: (554 go away|421 not now)|cannot be used)",
                ):
                    await send_due(pool, replace(settings, smtp_url=f"smtp://127.0.0.1:{port}"))

        with_pool(database, refused)
    nobody_there = replace(settings, smtp_url="smtp://127.0.0.1:1")
    with pytest.raises(
        MailServerError, match=r"the mail server cannot be used: .*smtp://127\.0\.0\.1:1"
    ):
        with_pool(database, lambda pool: send_due(pool, nobody_there))
    row = get(database, key)
    assert (row.status, row.attempt) == ("queued", 0)


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[ssl.SSLContext, Path]:
    """The TLS context of a server, and the certificate that clients must trust."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "loopback")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder(
            name,
            name,
            key.public_key(),
            x509.random_serial_number(),
            now,
            now + dt.timedelta(days=1),
        )
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    trust, both = tmp_path / "trust.pem", tmp_path / "both.pem"
    trust.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    both.write_bytes(
        trust.read_bytes() + key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(both)
    return context, trust


def test_starttls_and_sign_in(
    settings: Settings,
    database: str,
    certificate: tuple[ssl.SSLContext, Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    key = add_message(database)
    context, trust = certificate
    with sink(users={"nora": "open sesame"}, tls=context, starttls=True) as inbox:
        with pytest.raises(MailServerError, match="certificate"):
            send(settings, inbox, scheme="smtp+starttls", user="nora:open%20sesame@")
        monkeypatch.setenv("SSL_CERT_FILE", str(trust))
        with pytest.raises(MailServerError, match="535"):
            send(settings, inbox, scheme="smtp+starttls", user="nora:wrong@")
        assert get(database, key).attempt == 0
        assert (
            send(settings, inbox, scheme="smtp+starttls", user="nora:open%20sesame@").accepted == 1
        )
    assert inbox.logins[-1] == b"nora"


def test_a_server_without_starttls_gets_nothing_unencrypted(
    settings: Settings, database: str
) -> None:
    key = add_message(database)
    with sink() as inbox, pytest.raises(MailServerError, match="STARTTLS"):
        send(settings, inbox, scheme="smtp+starttls")
    assert (get(database, key).status, inbox.messages) == ("queued", [])


def test_implicit_tls(
    settings: Settings,
    database: str,
    certificate: tuple[ssl.SSLContext, Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    add_message(database)
    context, trust = certificate
    monkeypatch.setenv("SSL_CERT_FILE", str(trust))
    with sink(tls=context) as inbox:
        assert send(settings, inbox, scheme="smtps").accepted == 1


def test_a_stale_connection_is_reopened(settings: Settings, database: str) -> None:
    add_message(database, "first@example.com")

    async def two(pool: Any) -> Tally:
        stop = asyncio.Event()
        work = asyncio.create_task(send_due(pool, sending(settings, inbox), senders=1, stop=stop))
        await asyncio.to_thread(wait_until, lambda: len(inbox.messages) == 1)
        await asyncio.sleep(1.5)  # the server hangs up on who is idle for a second
        await asyncio.to_thread(add_message, database, "second@example.com")
        await asyncio.to_thread(wait_until, lambda: len(inbox.messages) == 2)
        stop.set()
        return await work

    with sink(timeout=1) as inbox:
        assert with_pool(database, two) == Tally(accepted=2)


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("smtp://mail.example?sender=a@example.com", "unknown option 'sender'"),
        ("smtp://mail.example?lease=soon", "could not convert"),
        ("smtp://mail.example?lease=1&timeout=60", "at most lease"),
        ("smtp://nora:secret@mail.example", "unencrypted"),
        ("smtp://mail.example:99999", "range"),
    ],
)
def test_an_invalid_setting_is_explained(settings: Settings, url: str, what: str) -> None:
    with pytest.raises(SettingsError, match="EVERAFTER_SMTP_URL") as caught:
        mail_server(replace(settings, smtp_url=url))
    assert what in caught.value.message
    assert "secret" not in caught.value.message


def test_the_sender_comes_from_the_settings(settings: Settings) -> None:
    server = mail_server(
        replace(
            settings,
            smtp_url="smtps://u:p%40ss@mail.example",
            mail_from=read_email("care@example.com"),
            base_url="https://x.example",
        )
    )
    assert server is not None
    assert (server.port, server.password, server.sender.addr_spec) == (
        465,
        "p@ss",
        "care@example.com",
    )
    assert server.place == "smtps://mail.example:465"
    default = mail_server(
        replace(settings, smtp_url="smtp://127.0.0.1", base_url="https://success.platform.example")
    )
    assert (
        default is not None
        and str(default.sender) == "Your success team <success@success.platform.example>"
    )
    bare = mail_server(
        replace(settings, smtp_url="smtp://127.0.0.1", base_url="http://127.0.0.1:8000")
    )
    assert bare is not None and bare.sender.addr_spec == "success@localhost"

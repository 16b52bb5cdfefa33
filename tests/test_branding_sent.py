"""The platform's name, logo, colors and templates in sent emails, on pages and on certificates."""

import base64
import io
import json
import logging
import os
from collections.abc import Iterator
from dataclasses import replace
from email.message import EmailMessage
from pathlib import Path

import httpx
import pypdf
import pytest
from typer.testing import CliRunner

from everafter.app import create_app
from everafter.branding.loading import load_brand
from everafter.certificates.rules import certificate_url
from everafter.cli import app as cli
from everafter.core.email_address import read_email
from everafter.core.errors import InputError
from everafter.core.settings import Settings
from everafter.mail.jobs import send_due
from everafter.mail.overrides import check_overrides
from everafter.mail.rules import one_click_token
from helpers_branding import (
    ONE_YEAR,
    ONE_YEAR_DE,
    PHRASES_DE,
    PLATFORM,
    SVG,
    add_file,
    make_platform,
    png,
)
from helpers_mail import TYPICAL, Sink, add_message, get, sending, sink, with_pool
from helpers_pages import HTML, add_supplier, signed_in
from helpers_server import Server, serving
from test_certificates import text_of


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A playbook with all of [platform] set."""
    files = {
        "one_year__txt": ONE_YEAR,
        "one_year__de__txt": ONE_YEAR_DE,
        "phrases__de__toml": PHRASES_DE,
    }
    return make_platform(tmp_path_factory.mktemp("platform"), **files)


@pytest.fixture(scope="module")
def branded(module_settings: Settings, platform: Path) -> Iterator[Server]:
    with serving(replace(module_settings, playbook=platform)) as running:
        yield running


def send(settings: Settings, **options: object) -> Sink:
    """Send due messages to a server that accepts everything."""
    with sink() as inbox:
        with_pool(
            str(settings.database_url),
            lambda pool: send_due(pool, sending(settings, inbox, **options), senders=1),
        )
    return inbox


def sent(settings: Settings, **options: object) -> EmailMessage:
    """The one message that is due."""
    inbox = send(settings, **options)
    assert len(inbox.messages) == 1
    return inbox.messages[0][1]


def html_of(message: EmailMessage) -> str:
    part = message.get_body(("html",))
    assert part is not None
    return str(part.get_content())


def at(settings: Settings, playbook: Path) -> Settings:
    return replace(settings, playbook=playbook)


# ── emails ────────────────────────────────────────────────────────────────────────────────────


def test_an_email_has_the_platforms_name_logo_colors_and_reply_address(branded: Server) -> None:
    key = add_message(branded.database, template="check_in")
    message = sent(branded.settings)
    assert str(message["From"]) == "Ada at Confetti <nora@care.example>", (
        "the address is the one that the server accepts"
    )
    assert str(message["Reply-To"]) == "care@confetti.example"
    html = html_of(message)
    assert "#9b2d5c" in html and "#1d5c4b" not in html
    assert (
        'src="cid:platform-logo@everafter"' in html
        and 'alt="Confetti &amp; Co"' in html
        and 'width="160"' in html
    )
    text = message.get_body(("plain",))
    assert text is not None and "\r\nAda at Confetti\r\n" in text.get_content()
    assert [part.get_content_type() for part in message.walk()] == [
        "multipart/alternative", "text/plain", "multipart/related", "text/html", "image/png",
    ]  # fmt: skip
    picture = list(message.walk())[-1]
    assert (
        picture["Content-ID"] == "<platform-logo@everafter>"
        and picture.get_content_disposition() == "inline"
    )
    assert picture.get_content() == load_brand(branded.settings).logo.inline  # pyright: ignore
    row = get(branded.database, key)
    assert row.status == "accepted" and row.body_html is not None and "base64" not in row.body_html


def test_without_a_platform_nothing_changes(settings: Settings) -> None:
    add_message(str(settings.database_url), template="check_in")
    message = sent(settings)
    assert str(message["From"]) == "Nora Lind <nora@care.example>" and message["Reply-To"] is None
    assert "#1d5c4b" in html_of(message) and "<img" not in html_of(message)
    assert [part.get_content_type() for part in message.walk()] == [
        "multipart/alternative",
        "text/plain",
        "text/html",
    ]


def test_overrides_and_translations_are_sent(branded: Server) -> None:
    for country in ("GB", "DE"):
        facts = TYPICAL | {"country": country}
        add_message(
            branded.database, f"{country.lower()}@example.com", template="one_year", facts=facts
        )
    inbox = send(branded.settings)
    by_recipient = dict(inbox.messages)
    english, german = by_recipient["gb@example.com"], by_recipient["de@example.com"]
    assert str(english["Subject"]) == "A whole year, Golden Hour Photography"
    assert "This sentence is the platform's own." in english.get_body(("plain",)).get_content()  # pyright: ignore
    assert str(german["Subject"]) == "Ein Jahr zusammen, Golden Hour Photography"
    assert "14 Paare" in html_of(german) and "Solche Nachrichten abbestellen" in html_of(german)
    assert '<html lang="de" dir="ltr">' in html_of(german)
    assert german["List-Unsubscribe"].strip("<>") in html_of(german)


def test_a_hosted_logo_is_linked_not_attached(settings: Settings, tmp_path: Path) -> None:
    url = "https://cdn.confetti.example/logo.png"
    playbook = make_platform(tmp_path / "p", PLATFORM.replace("logo.svg", url), logo=None)
    add_message(str(settings.database_url), template="check_in")
    message = sent(at(settings, playbook))
    assert f'src="{url}"' in html_of(message)
    assert "image/png" not in [part.get_content_type() for part in message.walk()]


def test_an_invitation_can_have_a_logo(settings: Settings, tmp_path: Path) -> None:
    ics = "BEGIN:VCALENDAR\r\nMETHOD:REQUEST\r\nEND:VCALENDAR\r\n"
    playbook = make_platform(tmp_path / "p", logo=png())
    add_message(
        str(settings.database_url),
        template="call_booked",
        topic="transactional",
        facts={"ics": ics},
    )
    message = sent(at(settings, playbook))
    assert [part.get_content_type() for part in message.walk()] == [
        "multipart/mixed", "multipart/alternative", "text/plain", "multipart/related", "text/html", "image/png",
        "text/calendar", "application/ics",
    ]  # fmt: skip
    assert "List-Unsubscribe" not in message


def test_only_sender_name_overrides_the_name_in_the_settings(
    settings: Settings, tmp_path: Path
) -> None:
    playbook = make_platform(tmp_path / "p", '[platform]\nname = "Confetti"\n', logo=None)
    for sender, shown in (
        (read_email("nora@care.example", "Nora Lind"), "Nora Lind"),
        (read_email("nora@care.example"), None),
    ):
        add_message(str(settings.database_url), template="check_in")
        message = sent(replace(at(settings, playbook), mail_from=sender))
        assert str(message["From"]) == (
            f"{shown} <nora@care.example>" if shown else "Confetti <nora@care.example>"
        )
        assert ">Confetti</p>" in html_of(message), "the platform's name is above every email"


# ── files that break while the worker runs ────────────────────────────────────────────────────


def test_the_last_valid_files_stay_in_use(
    settings: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    playbook = make_platform(
        tmp_path / "p",
        one_year__txt=ONE_YEAR,
        one_year__de__txt=ONE_YEAR_DE,
        phrases__de__toml=PHRASES_DE,
    )
    with_platform = at(settings, playbook)
    database = str(settings.database_url)
    add_message(database, "first@example.com", template="one_year")
    assert str(sent(with_platform)["Subject"]).startswith("A whole year")
    path = add_file(
        playbook.parent, "one_year.txt", ONE_YEAR.replace("{{ greeting }}", "{{ greting }}")
    )
    for number in range(3):
        add_message(database, f"broken{number}@example.com", template="one_year")
    with caplog.at_level(logging.ERROR, logger="everafter.branding"):
        inbox = send(with_platform)
    assert [str(message["Subject"])[:12] for _, message in inbox.messages] == ["A whole year"] * 3
    output = [record.getMessage() for record in caplog.records]
    assert (
        len(output) == 1
        and f"{path}:3:1: unknown variable 'greting' (did you mean greeting?)" in output[0]
    )
    add_file(playbook.parent, "one_year.txt", ONE_YEAR.replace("A whole year", "Fixed"))
    add_message(database, "last@example.com", template="one_year")
    assert str(sent(with_platform)["Subject"]).startswith("Fixed")


def test_a_worker_does_not_start_with_invalid_files(settings: Settings, tmp_path: Path) -> None:
    playbook = make_platform(tmp_path / "p", check_in__txt="Subject: {{ ''.__class__ }}\n\nText.\n")
    key = add_message(str(settings.database_url), template="check_in")
    with pytest.raises(InputError, match="__class__ cannot be used in templates"):
        send(at(settings, playbook))
    assert get(str(settings.database_url), key).status == "queued", "nothing was claimed"
    with pytest.raises(InputError, match="__class__"):
        create_app(at(settings, playbook), str(settings.database_url))
    environment = {
        "EVERAFTER_PLAYBOOK": str(playbook),
        "EVERAFTER_SECRET": "s" * 32,
        "EVERAFTER_DATA": str(tmp_path),
    }
    result = CliRunner(env=environment).invoke(cli, ["playbook", "show"])
    assert result.exit_code != 0


def test_an_email_that_cannot_be_rendered_is_not_sent(settings: Settings, tmp_path: Path) -> None:
    """The check only uses sample suppliers; an override can still fail for another one."""
    body = "{% if vendor_type == 'dj' %}{{ plan }}{% endif %}"
    playbook = make_platform(
        tmp_path / "p", check_in__txt=f"Subject: Hello\n\n{{{{ greeting }}}}\n\n{body}\n"
    )
    key = add_message(str(settings.database_url), template="check_in", facts={"vendor_type": "dj"})
    assert send(at(settings, playbook)).messages == []
    row = get(str(settings.database_url), key)
    assert row.status == "dead" and "check_in.txt:5: the template prints an unknown value" in (
        row.status_reason or ""
    )


def test_any_exception_of_a_template_ends_its_message_and_no_other(
    settings: Settings, tmp_path: Path
) -> None:
    """None of the sample suppliers of the check has 22 couples."""
    body = "{% if clients_total %}{{ 1 / (clients_total - 22) }}{% endif %}"
    playbook = make_platform(
        tmp_path / "p", check_in__txt=f"Subject: Hello\n\n{{{{ greeting }}}}\n\n{body}\n"
    )
    database = str(settings.database_url)
    failing = add_message(database, template="check_in", facts={"clients_total": 22})
    others = [add_message(database, template="check_in", facts={}) for _ in range(2)]
    assert len(send(at(settings, playbook)).messages) == 2
    assert [get(database, key).status for key in others] == ["accepted", "accepted"]
    row = get(database, failing)
    problem = "check_in.txt:5: division by zero"
    assert (row.status, row.status_reason) == ("dead", f"cannot be rendered: {problem}")
    environment = {
        "EVERAFTER_PLAYBOOK": str(playbook),
        "EVERAFTER_SECRET": settings.secret,
        "EVERAFTER_DATABASE_URL": database,
        "COLUMNS": "200",
    }
    shown = CliRunner(env=environment).invoke(cli, ["mail", "show", str(failing.id)])
    assert shown.exit_code == 0, shown.output
    assert "dead: " in shown.output and f"cannot be rendered: {problem}" in shown.output
    listed = CliRunner(env=environment).invoke(cli, ["mail", "show", str(failing.id), "--json"])
    assert json.loads(listed.output)["problem"] == problem
    with serving(at(settings, playbook)) as running, signed_in(running) as person:
        page = person.get(f"/messages/{failing.supplier_id}/{failing.id}", headers=HTML)
        assert page.status_code == 200 and problem in page.text
        frame = person.get(f"/messages/{failing.supplier_id}/{failing.id}/html", headers=HTML)
        assert frame.status_code == 404


def test_unchanged_files_are_read_once(platform: Path, settings: Settings) -> None:
    first = load_brand(at(settings, platform), check_overrides)
    assert load_brand(at(settings, platform), check_overrides) is first
    os.utime(platform)
    again = load_brand(at(settings, platform), check_overrides)
    assert again is not first and again == first


# ── pages and certificates ────────────────────────────────────────────────────────────────────


def test_the_unsubscribe_page(branded: Server) -> None:
    key = add_message(branded.database, template="check_in")
    page = httpx.get(f"{branded.base_url}/u/{one_click_token(branded.settings.secret, key)}")
    policy = page.headers["content-security-policy"]
    assert "--accent: #9b2d5c" in page.text and "#1d5c4b" not in page.text
    assert (
        'alt="Confetti &amp; Co"' in page.text
        and "img-src 'self'" in policy
        and "default-src 'none'" in policy
    )
    source = page.text.partition('<img class="logo" src="')[2].partition('"')[0]
    logo = httpx.get(branded.base_url + source)
    assert logo.text == SVG and logo.headers["content-type"] == "image/svg+xml"
    assert (
        "sandbox" in logo.headers["content-security-policy"]
        and logo.headers["x-content-type-options"] == "nosniff"
    )
    done = httpx.post(f"{branded.base_url}/u/{one_click_token(branded.settings.secret, key)}")
    assert "mailto:care@confetti.example" in done.text


def test_the_page_of_a_call(branded: Server) -> None:
    page = httpx.get(f"{branded.base_url}/calls/none", headers=HTML)
    style = page.text.partition('<link rel="stylesheet" href="/brand')[2].partition('"')[0]
    answer = httpx.get(f"{branded.base_url}/brand{style}")
    assert "--accent: #9b2d5c" in answer.text and "prefers-color-scheme: dark" in answer.text
    assert (
        answer.headers["content-type"].startswith("text/css")
        and "max-age" in answer.headers["cache-control"]
    )
    assert (
        'alt="Confetti &amp; Co"' in page.text
        and "style-src 'self'" in page.headers["content-security-policy"]
    )


def test_the_certificate(branded: Server) -> None:
    supplier = add_supplier(branded, "Golden Hour")
    branded.sql(
        "INSERT INTO success_milestones (supplier_id, milestone_type, achieved_at)"
        " VALUES (%s, 'fully_activated', '2026-03-13T23:30:00Z')",
        supplier,
    )
    path = certificate_url("", branded.settings.secret, supplier)
    page, sheet, picture = (
        httpx.get(branded.base_url + path + suffix) for suffix in ("", ".pdf", ".png")
    )
    assert (
        "Confetti &amp; Co" in page.text
        and "Everafter" not in page.text
        and "/brand/style.css" in page.text
    )
    text = text_of(sheet.content)
    assert "Confetti & Co" in text and "Golden Hour" in text
    drawn = pypdf.PdfReader(io.BytesIO(sheet.content)).pages[0].get_contents()
    assert drawn is not None
    # 9b2d5c and 3a1022 as shares: the accent of the frame, and the bar that only the logo has
    data = drawn.get_data() + b"".join(_forms(sheet.content))
    assert b"0.60784" in data and b"0.22745" in data
    assert picture.content.startswith(b"\x89PNG")


def _forms(pdf: bytes) -> Iterator[bytes]:
    """The images that a page uses."""
    reader = pypdf.PdfReader(io.BytesIO(pdf))
    for number in range(1, len(reader.xref[0]) + 1 if reader.xref else 400):
        found = reader.get_object(number)
        if isinstance(found, pypdf.generic.StreamObject) and found.get("/Subtype") == "/Form":
            yield found.get_data()


def test_the_preview_shows_the_override_and_the_logo(branded: Server, platform: Path) -> None:
    key = add_message(branded.database, template="one_year", send_after="1 day", expires="2 days")
    with signed_in(branded) as person:
        page = person.get(f"/messages/{key.supplier_id}/{key.id}/html")
    assert "This sentence is the platform" in page.text and "cid:" not in page.text
    logo = load_brand(branded.settings).logo
    assert (
        logo is not None
        and f"data:image/png;base64,{base64.b64encode(logo.inline).decode()}" in page.text
    )
    assert "img-src data:" in page.headers["content-security-policy"]
    environment = {
        "EVERAFTER_PLAYBOOK": str(platform),
        "EVERAFTER_SECRET": branded.settings.secret,
        "EVERAFTER_DATABASE_URL": branded.database,
    }
    shown = CliRunner(env=environment).invoke(cli, ["mail", "show", str(key.id)])
    assert "This sentence is the platform's own." in shown.output


def test_without_a_logo_its_url_is_not_found(server: Server) -> None:
    assert httpx.get(f"{server.base_url}/brand/logo").status_code == 404
    page = httpx.get(f"{server.base_url}/u/{'A' * 64}")
    assert "<img" not in page.text and "img-src" not in page.headers["content-security-policy"]

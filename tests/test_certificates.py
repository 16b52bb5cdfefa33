"""The success certificate: earned, shown by its link alone, whatever the name."""

import io
import struct
import uuid
from datetime import date

import httpx
import pypdf
import pytest
from hypothesis import given
from hypothesis import strategies as st

from everafter.certificates.model import Certificate
from everafter.certificates.rules import certificate_url, read_certificate_token, sign_certificate, words_of
from everafter.certificates.typesetting import typeset
from helpers_pages import HTML, XSS, add_supplier
from helpers_server import Server

SECRET = "a-secret-for-tests-and-for-nothing-else"


def earned(server: Server, name: str, **more: str) -> str:
    """The path of the certificate of a new supplier."""
    supplier = add_supplier(server, name, **more)
    server.sql(
        "INSERT INTO success_milestones (supplier_id, milestone_type, achieved_at)"
        " VALUES (%s, 'fully_activated', '2026-03-13T23:30:00Z')",
        supplier,
    )
    return certificate_url("", server.settings.secret, supplier)


def text_of(pdf: bytes) -> str:
    reader = pypdf.PdfReader(io.BytesIO(pdf))
    assert len(reader.pages) == 1
    return " ".join(reader.pages[0].extract_text().split())


def test_the_page_the_sheet_and_the_picture(server: Server) -> None:
    path = earned(server, "Hartmann & Söhne", timezone="Europe/Berlin")
    with httpx.Client(base_url=server.base_url) as anyone:
        page, sheet, picture = (anyone.get(path + suffix) for suffix in ("", ".pdf", ".png"))
    assert page.status_code == 200 and "Hartmann &amp; Söhne" in page.text
    assert f'content="{server.settings.base_url}{path}.png"' in page.text and 'name="robots" content="noindex"' in page.text
    assert sheet.headers["content-type"] == "application/pdf"
    text = text_of(sheet.content)
    assert "Hartmann & Söhne" in text and "14 March 2026" in text, "the day is the supplier's own"
    a4_across = [float(edge) * 25.4 / 72 for edge in pypdf.PdfReader(io.BytesIO(sheet.content)).pages[0].mediabox[2:]]
    assert a4_across == pytest.approx([297, 210], abs=0.5)
    assert struct.unpack(">II", picture.content[16:24]) == (1200, 630)
    for answer in (page, sheet, picture):
        assert answer.headers["x-robots-tag"] == "noindex" and answer.headers["referrer-policy"] == "no-referrer"


def test_who_has_not_earned_it_has_none(server: Server) -> None:
    supplier = add_supplier(server, "Not yet")
    path = certificate_url("", server.settings.secret, supplier)
    for address in (path, path + ".pdf", path + ".png"):
        assert httpx.get(server.base_url + address, headers=HTML).status_code == 404


def test_only_the_whole_link_shows_it(server: Server) -> None:
    path = earned(server, "Whole")
    token = path.rpartition("/")[2]
    turned = token[:-1] + ("A" if token[-1] != "A" else "B")
    other = sign_certificate("another secret", uuid.uuid4())
    for name in (token[:-4], turned, token + "x", other, "x", "%00", "..%2f..%2fetc", token + ".exe", token + ".pdf.png", "é"):
        answer = httpx.get(f"{server.base_url}/certificates/{name}", headers=HTML)
        assert answer.status_code == 404, name
    assert httpx.get(server.base_url + path).status_code == 200


@pytest.mark.parametrize(
    "name",
    [
        '#read("/etc/passwd")',
        '#import "x.typ": *',
        '"); panic("',
        "$ x^2 $ \\ [a] <b> @c ~ * _ ` //",
        XSS,
        "Любовь и Ко",
        "W" * 400,
        "花嫁フォト",
        "\u202eabc\u2066",
        "💍",
    ],
)
def test_a_name_is_never_more_than_a_name(server: Server, name: str) -> None:
    path = earned(server, name)
    page, sheet, picture = (httpx.get(server.base_url + path + suffix) for suffix in ("", ".pdf", ".png"))
    assert page.status_code == sheet.status_code == picture.status_code == 200
    assert "<script>" not in page.text and "root:" not in text_of(sheet.content)
    assert len(pypdf.PdfReader(io.BytesIO(sheet.content)).pages) == 1


def test_markup_in_a_name_is_printed_as_it_is() -> None:
    words = words_of(Certificate('#read("a") *b* $c$', date(2026, 3, 14), "Us"))
    assert '#read("a") *b* $c$' in text_of(typeset("sheet", words))


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("💍 Rosa  &\nTom 👰🏽‍♀️", "Rosa & Tom"),
        ("Cafe\u0301 Blanc", "Café Blanc"),
        ("💍", "Our supplier"),
        ("", "Our supplier"),
        ("ශ්\u200dරී \u200d", "ශ්\u200dරී"),
        ("گل\u200cفروشی", "گل\u200cفروشی"),
    ],
)
def test_what_no_typeface_has_is_left_out(name: str, shown: str) -> None:
    assert words_of(Certificate(name, date(2026, 3, 14), "Us"))["name"] == shown


@given(st.uuids(), st.uuids())
def test_a_token_names_its_supplier_and_no_other(one: uuid.UUID, other: uuid.UUID) -> None:
    token = sign_certificate(SECRET, one)
    assert read_certificate_token(SECRET, token) == one
    assert read_certificate_token("another", token) is None
    forged = sign_certificate(SECRET, other)[:21] + token[21:]
    assert read_certificate_token(SECRET, forged) in {None, one}


@given(st.text(max_size=60))
def test_no_other_text_is_a_token(text: str) -> None:
    assert read_certificate_token(SECRET, text) is None

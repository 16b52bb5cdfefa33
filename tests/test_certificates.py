"""The success certificate: who gets it, its link, and how names are printed."""

import asyncio
import io
import struct
import uuid
import zlib
from datetime import UTC, date, datetime

import httpx
import numpy as np
import pypdf
import pytest
from hypothesis import given
from hypothesis import strategies as st

from everafter.certificates.model import Certificate
from everafter.certificates.rules import (
    certificate_url,
    read_certificate_token,
    sign_certificate,
    texts_of,
)
from everafter.certificates.typefaces import choose_first, why_not, why_not_for
from everafter.certificates.typesetting import UnprintableError, compile_sheet, typeset
from everafter.core.settings import Settings
from everafter.doctor import examine
from everafter.mail.jobs import send_due
from helpers_coach import Browser
from helpers_mail import TYPICAL, add_message, get, sending, sink, with_pool
from helpers_pages import HTML, XSS, add_supplier, signed_in
from helpers_server import Server
from test_coach_api import start

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


def test_the_page_pdf_and_picture_are_served(server: Server) -> None:
    path = earned(server, "Hartmann & Söhne", timezone="Europe/Berlin")
    with httpx.Client(base_url=server.base_url) as anyone:
        page, sheet, picture = (anyone.get(path + suffix) for suffix in ("", ".pdf", ".png"))
    assert page.status_code == 200 and "Hartmann &amp; Söhne" in page.text
    assert (
        f'content="{server.settings.base_url}{path}.png"' in page.text
        and 'name="robots" content="noindex"' in page.text
    )
    assert sheet.headers["content-type"] == "application/pdf"
    text = text_of(sheet.content)
    assert "Hartmann & Söhne" in text and "14 March 2026" in text, "the day is the supplier's own"
    a4_across = [
        float(edge) * 25.4 / 72
        for edge in pypdf.PdfReader(io.BytesIO(sheet.content)).pages[0].mediabox[2:]
    ]
    assert a4_across == pytest.approx([297, 210], abs=0.5)
    assert struct.unpack(">II", picture.content[16:24]) == (1200, 630)
    for answer in (page, sheet, picture):
        assert (
            answer.headers["x-robots-tag"] == "noindex"
            and answer.headers["referrer-policy"] == "no-referrer"
        )


def test_a_supplier_who_has_not_earned_it_gets_404(server: Server) -> None:
    supplier = add_supplier(server, "Not yet")
    path = certificate_url("", server.settings.secret, supplier)
    for address in (path, path + ".pdf", path + ".png"):
        assert httpx.get(server.base_url + address, headers=HTML).status_code == 404


def test_an_incomplete_or_changed_link_answers_404(server: Server) -> None:
    path = earned(server, "Whole")
    token = path.rpartition("/")[2]
    turned = token[:-1] + ("A" if token[-1] != "A" else "B")
    other = sign_certificate("another secret", uuid.uuid4())
    for name in (
        token[:-4],
        turned,
        token + "x",
        other,
        "x",
        "%00",
        "..%2f..%2fetc",
        token + ".exe",
        token + ".pdf.png",
        "é",
    ):
        answer = httpx.get(f"{server.base_url}/certificates/{name}", headers=HTML)
        assert answer.status_code == 404, name
        assert "portfolio" not in answer.text and "Everafter" not in answer.text, name
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
        "\u202eabc\u2066",
        "💍",
    ],
)
def test_hostile_names_are_printed_as_text(server: Server, name: str) -> None:
    path = earned(server, name)
    page, sheet, picture = (
        httpx.get(server.base_url + path + suffix) for suffix in ("", ".pdf", ".png")
    )
    assert page.status_code == sheet.status_code == picture.status_code == 200
    assert "<script>" not in page.text and "root:" not in text_of(sheet.content)
    assert len(pypdf.PdfReader(io.BytesIO(sheet.content)).pages) == 1


def test_typesetting_markup_in_a_name_is_printed_literally() -> None:
    words = texts_of(Certificate('#read("a") *b* $c$', date(2026, 3, 14), "Us"))
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
        ("Rosewood™ & Café №5 54° ♥", "Rosewood™ & Café №5 54° ♥"),
        ("ª º ½ § † • ‘a’ “b” — © ® ℠", "ª º ½ § † • ‘a’ “b” — © ® ℠"),
        ("1\ufe0f\u20e3 \U0001f1e9\U0001f1ea Love\ufe0e", "1 Love"),
        ("x" * 200, "x" * 200),
        ("x" * 201, "x" * 199 + "…"),
    ],
)
def test_emoji_are_removed_and_symbols_kept(name: str, shown: str) -> None:
    assert texts_of(Certificate(name, date(2026, 3, 14), "Us"))["name"] == shown


@given(st.uuids(), st.uuids())
def test_a_token_is_valid_only_for_its_supplier(one: uuid.UUID, other: uuid.UUID) -> None:
    token = sign_certificate(SECRET, one)
    assert read_certificate_token(SECRET, token) == one
    assert read_certificate_token("another", token) is None
    forged = sign_certificate(SECRET, other)[:21] + token[21:]
    assert read_certificate_token(SECRET, forged) in {None, one}


@given(st.text(max_size=60))
def test_arbitrary_text_is_not_a_token(text: str) -> None:
    assert read_certificate_token(SECRET, text) is None


# ── the name on the sheet ─────────────────────────────────────────────────────────────────────────────────────────────

KANJI = "\u82b1\u5ac1 \u6771\u4eac"
LONG = [
    "Rechtsschutzversicherungsgesellschaftshochzeitsplanungsb\u00fcrogemeinschaftsniederlassungsverwaltung",
    "W" * 200,
    "i" * 200,
    "of a " * 40,
    "The Orchard House Company of Wedding Florists, Confectioners, Musicians and Marquee Makers to the Four Counties",
    "\u0421\u0432\u0430\u0434\u0435\u0431\u043d\u043e\u0435" * 20,
    "\u0e2a\u0e15\u0e39\u0e14\u0e34\u0e42\u0e2d" * 25,
    "\u0623\u0632\u0647\u0627\u0631 " * 30,
    "\u0623\u0632\u0647\u0627\u0631" * 40,
    "\u0936\u0941\u092d\u0935\u093f\u0935\u093e\u0939" * 20,
    "a\u0323\u0302\u0301" * 50,
    "x " + "M" * 90 + " y",
]
SCRIPTS = {
    "Latin": "Ch\u00e2teau d\u2019\u00c9t\u00e9 & \u0141\u00f3d\u017a \u0130stanbul",
    "Vietnamese": "Ti\u1ec7m \u1ea3nh c\u01b0\u1edbi H\u1ea1nh Ph\u00fac",
    "Greek": "\u0393\u03ac\u03bc\u03bf\u03c2 & \u0391\u03b3\u03ac\u03c0\u03b7",
    "Cyrillic": "\u041b\u044e\u0431\u043e\u0432\u044c \u0456 \u041a\u0457\u0432",
    "Hebrew": "\u05d7\u05ea\u05d5\u05e0\u05d5\u05ea",
    "Arabic": "\u0623\u0632\u0647\u0627\u0631 \u0627\u0644\u0631\u0628\u064a\u0639",
    "Persian": "\u06af\u0644\u200c\u0641\u0631\u0648\u0634\u06cc",
    "Armenian": "\u0540\u0561\u0580\u057d\u0561\u0576\u056b\u0584",
    "Georgian": "\u10e5\u10dd\u10e0\u10ec\u10d8\u10da\u10d8",
    "Devanagari": "\u0935\u093f\u0935\u093e\u0939 \u0936\u094d\u0930\u0940",
    "Bengali": "\u09ac\u09bf\u09af\u09bc\u09c7",
    "Tamil": "\u0ba4\u0bbf\u0bb0\u0bc1\u0bae\u0ba3\u0bae\u0bcd",
    "Telugu": "\u0c2a\u0c46\u0c33\u0c4d\u0c32\u0c3f",
    "Malayalam": "\u0d15\u0d32\u0d4d\u0d2f\u0d3e\u0d23\u0d02",
    "Gujarati": "\u0ab2\u0a97\u0acd\u0aa8",
    "Sinhala": "\u0dc1\u0dca\u200d\u0dbb\u0dd3",
    "Thai": "\u0e41\u0e15\u0e48\u0e07\u0e07\u0e32\u0e19",
    "Lao": "\u0e87\u0eb2\u0e99\u0ec1\u0e95\u0ec8\u0e87",
    "Khmer": "\u1798\u1784\u17d2\u1782\u179b",
    "Burmese": "\u1019\u1002\u103a\u101c\u102c",
}
A_CERTIFICATE = date(2026, 3, 14)


def words(name: str) -> dict[str, str]:
    return texts_of(Certificate(name, A_CERTIFICATE, "Us"))


def glyphs(pdf: bytes) -> list[int]:
    """The numbers of all glyphs that a page draws, in fonts of two bytes a glyph; 0 is the box of a sign that is missing."""
    page = pypdf.PdfReader(io.BytesIO(pdf)).pages[0]
    contents = page.get_contents()
    assert contents is not None
    drawn: list[int] = []
    for operands, operator in contents.operations:
        pieces = operands[0] if operator == b"TJ" else operands[:1] if operator == b"Tj" else []
        for piece in pieces:
            if isinstance(piece, (str, bytes)):
                raw = piece if isinstance(piece, bytes) else piece.original_bytes  # pyright: ignore
                drawn += struct.unpack(f">{len(raw) // 2}H", raw)
    return drawn


def pixels(png: bytes) -> "np.ndarray":
    """The colours of a PNG: rows × columns × channels."""
    place, packed, width, height, step = 8, b"", 0, 0, 4
    while place < len(png):
        length, kind = struct.unpack(">I4s", png[place : place + 8])
        body = png[place + 8 : place + 8 + length]
        if kind == b"IHDR":
            width, height, depth, colours = struct.unpack(">IIBB", body[:10])
            assert depth == 8
            step = {2: 3, 6: 4}[colours]
        packed += body if kind == b"IDAT" else b""
        place += 12 + length
    raw, size = zlib.decompress(packed), width * step
    above, rows = bytes(size), bytearray()
    for begin in range(0, len(raw), size + 1):
        above = unfiltered(raw[begin], raw[begin + 1 : begin + 1 + size], above, step)
        rows += above
    return np.frombuffer(bytes(rows), dtype=np.uint8).reshape(height, width, step)


def unfiltered(kind: int, line: bytes, above: bytes, step: int) -> bytes:
    """A row by its filter: none, left, above, their mean, or Paeth's nearest of the three neighbours."""
    if kind == 0:
        return line
    if kind == 2:
        return (np.frombuffer(line, np.uint8) + np.frombuffer(above, np.uint8)).tobytes()
    out = bytearray(line)
    for place in range(len(out)):
        left, corner = (out[place - step], above[place - step]) if place >= step else (0, 0)
        up = above[place]
        if kind == 1:
            guess = left
        elif kind == 3:
            guess = (left + up) // 2
        else:
            guess = min((left, up, corner), key=lambda one: abs(left + up - corner - one))
        out[place] = (out[place] + guess) & 255
    return bytes(out)


@pytest.mark.parametrize("script", SCRIPTS)
def test_names_in_the_shipped_scripts_have_all_glyphs(script: str) -> None:
    drawn = glyphs(typeset("sheet", words(SCRIPTS[script])))
    assert len(drawn) > 150 and 0 not in drawn
    assert why_not(words(SCRIPTS[script])) is None


def test_missing_glyphs_are_detected() -> None:
    """Check that the test above can fail: a character that no typeface has is drawn as glyph 0."""
    assert 0 in glyphs(compile_sheet("sheet", words("A \U0001d11e\U00010a60 B"), "pdf"))


def test_each_name_is_set_in_one_typeface() -> None:
    assert choose_first("Hartmann & S\u00f6hne \u2116 5")[0] == "Newsreader"
    assert choose_first(SCRIPTS["Vietnamese"])[0] == "Noto Serif"


def test_symbols_are_printed() -> None:
    text = text_of(typeset("sheet", words("Rosewood\u2122 & Caf\u00e9 \u21165 54\u00b0")))
    assert "Rosewood\u2122 & Caf\u00e9 \u21165 54\u00b0" in text


@pytest.mark.parametrize("name", LONG)
def test_a_long_name_is_complete_and_inside_the_frame(name: str) -> None:
    said = words(name)
    text = text_of(typeset("sheet", said))
    if name.isascii() or name.startswith("Rechts"):
        bare = "".join(sign for sign in text if sign.isalnum())
        assert "".join(sign for sign in said["name"] if sign.isalnum()) in bare
    # At 36 dots an inch. edge: where the inner line of the frame has ended; foot: where date, seal and sender begin.
    for sheet, edge, foot in (("sheet", 19, 226), ("picture", 13, 208)):
        picture = pixels(compile_sheet(sheet, said, "png", 36))[:, :, :3].astype(int)
        inked = np.abs(picture - picture[edge + 1, edge + 1]).sum(axis=2) > 60
        sides = inked[edge:-edge, [*range(edge, edge + 6), *range(-edge - 6, -edge)]]
        assert not sides.any(), f"{sheet}: the name comes close to the frame"
        assert not inked[foot - 2 : foot, edge:-edge].any(), (
            f"{sheet}: the name pushes the text into the foot"
        )


# A sign that no typeface of this machine has: of the oldest cuneiform, or of one of the scripts for Vai, Bamum…
NOWHERE = next(
    sign
    for sign in map(chr, [*range(0x12480, 0x12540), *range(0x16800, 0x16A39)])
    if why_not_for(sign)
)


def test_a_name_that_no_typeface_has_is_not_printed() -> None:
    name = f"Rosa {NOWHERE} Ada"
    for sheet in ("sheet", "picture"):
        with pytest.raises(UnprintableError, match=r"no typeface here has . \(.*\)$"):
            typeset(sheet, words(name))
    assert 0 in glyphs(compile_sheet("sheet", words(name), "pdf"))


def test_japanese_is_printed_completely_or_not_at_all() -> None:
    """The result depends on the typefaces of the machine, but there is never a box."""
    if why_not(words(KANJI)):
        with pytest.raises(UnprintableError):
            typeset("picture", words(KANJI))
    else:
        assert 0 not in glyphs(typeset("sheet", words(KANJI)))


def test_an_unprintable_certificate_is_not_offered_and_the_reason_is_shown(
    server: Server,
) -> None:
    name = f"Rosa {NOWHERE}"
    supplier = start(server)
    with server.client("write") as client:
        path = f"/api/success/onboarding/{supplier}"
        for step in client.get(path).json()["steps"]:
            for action in step["actions"]:
                client.post(path + "/actions", json={"action": action["id"]})
    server.sql("UPDATE suppliers SET name = %s WHERE id = %s", name, supplier)
    shown = Browser(server, supplier).look("/")["celebration"]
    assert shown["id"] == "fully_activated" and shown["certificate_url"] is None
    link = certificate_url("", server.settings.secret, uuid.UUID(supplier))
    for suffix in ("", ".pdf", ".png"):
        answer = httpx.get(server.base_url + link + suffix, headers=HTML)
        assert answer.status_code == 404 and "no typeface here has" in answer.text
    with signed_in(server) as client:
        page = client.get(f"/suppliers/{supplier}").text
    assert f"no certificate: no typeface here has {NOWHERE}" in page and link not in page
    checks = asyncio.run(
        examine(
            datetime.now(UTC),
            {
                "EVERAFTER_DATABASE_URL": server.database,
                "EVERAFTER_DATA": str(server.settings.data),
            },
        )
    )
    [check] = [check for check in checks if check.name == "certificates"]
    assert check.status == "warn" and name in check.found and "no typeface here has" in check.found
    server.sql("UPDATE suppliers SET name = 'Rosa' WHERE id = %s", supplier)
    assert httpx.get(server.base_url + link + ".png", headers=HTML).status_code == 200


def test_an_email_with_an_unprintable_certificate_is_not_sent(
    settings: Settings, database: str
) -> None:
    lost = add_message(
        database, template="success_certificate", facts={**TYPICAL, "name": f"Rosa {NOWHERE}"}
    )
    good = add_message(
        database, template="success_certificate", facts={**TYPICAL, "name": "Rosa\u2122"}
    )
    other = add_message(database, facts={**TYPICAL, "name": f"Rosa {NOWHERE}"})
    with sink() as inbox:
        sending_to = sending(settings, inbox)
        with_pool(database, lambda pool: send_due(pool, sending_to, senders=1))
    assert [get(database, key).status for key in (lost, good, other)] == [
        "dead",
        "accepted",
        "accepted",
    ]
    assert "the linked certificate cannot be printed: no typeface here has" in (
        get(database, lost).status_reason or ""
    )

"""Every email on narrow screens, in a browser: nothing is wider than the screen, with any text."""

import html
import re
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Page

from everafter.mail.model import Links
from everafter.mail.rules import list_templates, render_message
from helpers_mail import TYPICAL
from helpers_visit import chromium as chromium
from helpers_visit import needs_chromium

pytestmark = needs_chromium
WORD = "Donaudampfschifffahrtsgesellschaftskapitänshochzeitsfotografie"
ADDRESS = "https://care.example/" + "path-without-an-end/" * 8 + "?" + "token=0123456789abcdef&" * 8
RTL = "צלמי־חתונות־" * 9
ACTION = {"action_label": WORD, "action_url": "/" + "clients" * 30}

TEXTS = {
    "a long word": WORD,
    "an address": ADDRESS[:190],
    "right to left": RTL,
    "no breaks at all": "婚" * 90 + "W" * 90,
}


def facts(text: str) -> dict[str, Any]:
    """Facts in which every text is `text` and every number is large."""
    numbers = {
        name: 1_234_567_890 if isinstance(value, int) else value
        for name, value in TYPICAL.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }
    call = {
        "starts_at": "2026-11-24T14:30:00Z",
        "ends_at": "2026-11-24T14:45:00Z",
        "was_starts_at": "2026-11-20T14:30:00Z",
        "timezone": "America/Argentina/ComodRivadavia",
        "manage_url": ADDRESS,
        "ics_url": ADDRESS,
        "supplier_url": ADDRESS,
    }
    texts = dict.fromkeys(
        ("name", "csm_name", "topic", "call_title", "reason", "supplier_name", "plan"), text
    )
    step = {"title": text, "body": text, "reason": text, **ACTION}
    return {
        **TYPICAL,
        **numbers,
        **call,
        **texts,
        "change": "moved",
        "next_steps": [step, {**step, "action_url": "/x"}],
    }


@pytest.fixture(scope="module")
def page(chromium: Any) -> Iterator[Page]:
    context = chromium.new_context()
    yield context.new_page()
    context.close()


WIDER = """() => {
  const limit = document.documentElement.clientWidth;
  const wide = [...document.querySelectorAll("body *")].filter((one) => {
    const { right, left } = one.getBoundingClientRect();
    return right > limit + 0.5 || left < -0.5;
  });
  return [document.documentElement.scrollWidth - limit, wide.map((one) => one.outerHTML.slice(0, 90))];
}"""


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("width", [375, 320])
def test_no_element_is_wider_than_the_screen(page: Page, width: int, text: str) -> None:
    page.set_viewport_size({"width": width, "height": 700})
    wide: dict[str, Any] = {}
    for unsubscribe in (ADDRESS, None):
        links = Links("https://care.example/go/", unsubscribe, TEXTS[text])
        for template in list_templates():
            page.set_content(render_message(template, facts(TEXTS[text]), links).html)
            found = page.evaluate(WIDER)
            if found != [0, []]:
                wide[template] = found
    assert wide == {}


def test_right_to_left_names_are_isolated_from_the_sentence(page: Page) -> None:
    """Without isolation the number after the name would be shown before it."""
    page.set_viewport_size({"width": 700, "height": 700})
    name = "סטודיו Rosa צילום 2000"
    step = {
        "title": "Write to שרה לוי (2)",
        "body": "Now.",
        "reason": "Late.",
        "action_label": "Open",
        "action_url": "https://care.example/שרה",
    }
    rendered = render_message(
        "call_reminder", facts(name), Links("https://care.example/go/", None, name)
    )
    page.set_content(rendered.html)
    found = page.evaluate(
        """() => [...document.querySelectorAll("bdi")].map((one) => [one.textContent, getComputedStyle(one).direction])"""
    )
    assert found and {tuple(one) for one in found} == {(name, "rtl")}
    assert {
        page.evaluate("one => getComputedStyle(one).direction", one)
        for one in page.query_selector_all("p, h1")
    } == {"ltr"}
    for text in (
        rendered.subject,
        rendered.text,
        html.unescape(re.sub("<[^>]*>", "", rendered.html)),
    ):
        assert not re.search("[\u2066-\u2069]", text), "no marks are left"
    assert f"Hi {name}," in rendered.text
    steps = render_message(
        "boost_client_engagement",
        facts("Rosewood") | {"next_steps": [step]},
        Links("https://care.example/go/", None, "Nora"),
    )
    assert (
        'href="https://care.example/שרה"' in steps.html
        and "https://care.example/שרה\n" in steps.text
    )
    assert "Write to <bdi>שרה לוי</bdi> (2)" in steps.html and "Write to שרה לוי (2)" in steps.text

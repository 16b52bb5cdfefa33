"""Every template with all kinds of facts: it renders, reads well, and contains nothing else."""

import re
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from everafter.mail.formatting import (
    clean_text,
    count,
    days,
    moment,
    number_rows,
    of_clients,
    percent,
    soon,
)
from everafter.mail.model import Links, Rendered, RenderError
from everafter.mail.rules import list_templates, render_message, render_subject
from everafter.signals.model import SIGNAL_SCHEMA
from helpers_mail import TYPICAL

LINKS = Links("https://care.example/go/", "https://care.example/u/TOKEN", "Nora Lind")
CALL = {
    "starts_at": "2026-11-24T14:30:00Z",
    "ends_at": "2026-11-24T14:45:00Z",
    "timezone": "Europe/London",
    "csm_name": "Nora Lind",
    "topic": "our forms",
    "ics_url": "https://care.example/api/support/calls/1.ics?token=abc",
}
NUMBERS = [
    name
    for name, value in TYPICAL.items()
    if isinstance(value, int | float) and not isinstance(value, bool)
]
HOSTILE = "<script>alert(1)</script>\r\nBcc: all@example.com\n\n[button]\n\n{{ 7*7 }}{% raw %}\u202egnirts\u2028'\"&"
FACTS: dict[str, dict[str, Any]] = {
    "typical": TYPICAL | CALL,
    "off season": TYPICAL | CALL | {"off_season": True},
    "no facts": {},
    "null": dict.fromkeys((*TYPICAL, *CALL)),
    "nan": TYPICAL | CALL | dict.fromkeys(NUMBERS, float("nan")),
    "zeros": TYPICAL | CALL | dict.fromkeys(NUMBERS, 0),
    "ones": TYPICAL | CALL | dict.fromkeys(NUMBERS, 1),
    "float ones": TYPICAL | CALL | dict.fromkeys(NUMBERS, 1.0),
    "full": TYPICAL
    | CALL
    | {
        "limit_ratio": 1.31,
        "clients_active_30d": 14,
        "forms_waiting": 1240,
        "payment_past_due": True,
    },
    "hostile": TYPICAL
    | CALL
    | {
        "name": HOSTILE,
        "plan": HOSTILE,
        "topic": HOSTILE,
        "csm_name": HOSTILE,
        "vendor_type": HOSTILE,
    },
}


class _Words(HTMLParser):
    """Collects the text, the links and the open tags of an HTML part."""

    def __init__(self) -> None:
        super().__init__()
        self.words: list[str] = []
        self.links: list[str] = []
        self.tags: set[str] = set()
        self._hidden = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.links += [
            value or "" for name, value in attrs if name in {"href", "src", "action", "background"}
        ]
        assert not any(name.startswith("on") for name, _ in attrs)
        self._hidden += tag in {"style", "title"}

    def handle_endtag(self, tag: str) -> None:
        self._hidden -= tag in {"style", "title"}

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.words.append(data)


def read(html: str) -> _Words:
    words = _Words()
    words.feed(html)
    return words


def flat(text: str) -> str:
    return " ".join(text.split())


@pytest.mark.parametrize("template", list_templates())
@pytest.mark.parametrize("facts", FACTS)
def test_each_template_with_each_kind_of_facts(template: str, facts: str) -> None:
    rendered = render_message(template, FACTS[facts], LINKS)
    page = read(rendered.html)
    words = flat(" ".join(page.words))
    for text in (rendered.subject, rendered.text, words):
        assert not re.search(r"\b(None|nan|NaN|null|True|False|Undefined|inf)\b", text)
        assert not re.search(r"\{\{|\{%|%\}|\[numbers\]", text) or facts == "hostile"
        assert not re.search(
            r" [,.;:!?]|\.\.|,,|\b1 (clients|forms|days|weddings|steps)\b| {2}$", flat(text)
        ), text
    assert rendered.subject == flat(rendered.subject) and 8 <= len(rendered.subject) <= 300
    assert all(len(line) <= 76 or "http" in line for line in rendered.text.splitlines())
    assert "script" not in page.tags and "img" not in page.tags
    assert all(link.startswith("https://care.example/") for link in page.links)
    assert not any(char in rendered.html + rendered.text for char in "\u202e\u2028\r\x00")


@pytest.mark.parametrize("template", list_templates())
def test_both_parts_have_the_same_sentences(template: str) -> None:
    rendered = render_message(template, TYPICAL | CALL, LINKS)
    words = flat(" ".join(read(rendered.html).words))
    paragraphs = rendered.text.partition("\n\nNora Lind\n\n-- ")[0].split("\n\n")
    assert len(paragraphs) >= 4
    for paragraph in paragraphs:
        if paragraph.startswith("- "):
            assert all(flat(item) in words for item in paragraph.removeprefix("- ").split("\n- "))
        elif paragraph.startswith("  "):
            assert all(flat(row.split("  ")[-1]) in words for row in paragraph.splitlines())
        elif "https://" in paragraph:
            assert paragraph.partition(":\n")[0] in words
        else:
            assert flat(paragraph) in words


def test_a_hostile_name_stays_a_name() -> None:
    calm, hostile = (
        render_message("check_in", FACTS[kind], LINKS) for kind in ("typical", "hostile")
    )
    assert "\n" not in hostile.subject and "Bcc: all@example.com" in hostile.subject
    assert "&lt;script&gt;alert(1)" in hostile.html
    assert "{{ 7*7 }}" in hostile.text, "what facts say is never a template"
    assert hostile.text.count("https://care.example/go/") == calm.text.count(
        "https://care.example/go/"
    )
    assert len(hostile.text.split("\n\n")) == len(calm.text.split("\n\n")), (
        "a name cannot begin a paragraph"
    )


@settings(max_examples=60)
@given(
    name=st.text(max_size=400),
    numbers=st.dictionaries(
        st.sampled_from(NUMBERS), st.none() | st.integers(0, 10**7) | st.floats(0, 10**7)
    ),
    template=st.sampled_from(list_templates()),
    off_season=st.none() | st.booleans(),
)
def test_any_name_and_any_numbers_can_be_rendered(
    name: str, numbers: dict[str, Any], template: str, off_season: bool | None
) -> None:
    rendered = render_message(template, {"name": name, "off_season": off_season, **numbers}, LINKS)
    assert rendered.subject == clean_text(rendered.subject, 3000)
    assert "None" not in rendered.text.replace(clean_text(name, 80), "").replace("None of your", "")
    assert read(rendered.html).tags <= {
        "html", "head", "meta", "title", "style", "body", "div", "table", "tbody", "tr", "td", "p", "h1", "ul", "li", "a", "bdi",
    }  # fmt: skip


def test_the_preheader_comes_first_and_is_hidden() -> None:
    html = render_message("we_miss_you", TYPICAL | {"name": "<b>"}, LINKS).html
    first = html[html.index("<body") :].partition(">")[2].lstrip()
    assert re.match(r'<div class="preheader" style="[^"]*display: ?none', first)
    assert "Your 14 couples at a glance." in first[:600]


def test_styles_are_inline_and_nothing_is_fetched() -> None:
    html = render_message("we_miss_you", TYPICAL, LINKS).html
    assert re.search(r"<h1 style=[^>]*font-size: ?27px", html)
    assert "prefers-color-scheme" in html and "max-width: 480px" in html.replace(
        "max-width:480px", "max-width: 480px"
    )
    assert not re.search(r"@import|url\(|<link|<img", html)
    assert len(html.encode()) < 60_000, "Gmail cuts a message at 102 kB"


def test_the_numbers_are_those_of_the_supplier() -> None:
    text = render_message("we_miss_you", TYPICAL, LINKS).text
    assert "We have not seen you for 9 days" in flat(text)
    assert (
        "  14  couples on your list\n   9  active in the last 30 days\n   3  forms waiting" in text
    )
    assert "12  days until your next wedding" in text
    assert "9 of your 14 couples were active" in flat(
        render_message("boost_client_engagement", TYPICAL, LINKS).text
    )
    assert (
        "song list"
        in render_message("form_creation_help", TYPICAL | {"vendor_type": "dj"}, LINKS).subject
    )


@pytest.mark.parametrize(
    ("template", "gentle"),
    [
        ("we_miss_you", "which is nothing unusual at this time of year"),
        ("we_miss_you", "That can wait a little if you are taking a break."),
        ("we_miss_you", "If you are taking a break, enjoy it."),
        ("boost_client_engagement", "which is normal for the off season"),
        ("boost_client_engagement", "There is no hurry."),
        ("check_in", "The off season is a good time to ask"),
        ("reaching_plan_limits", "Nothing has to be decided now, in the off season"),
        ("retention_offer", "it makes little sense to pay for what you do not use"),
    ],
)
def test_off_season_emails_do_not_press(template: str, gentle: str) -> None:
    assert gentle in flat(render_message(template, TYPICAL | {"off_season": True}, LINKS).text)
    assert gentle not in flat(render_message(template, TYPICAL | {"off_season": False}, LINKS).text)


def test_transactional_email_has_no_unsubscribe_link_and_explains_why() -> None:
    rendered = render_message(
        "payment_failed", TYPICAL, Links("https://care.example/go/", None, "Nora")
    )
    assert "Unsubscribe" not in rendered.text + rendered.html
    assert "even if you have unsubscribed" in flat(rendered.text)


def test_an_email_to_a_csm_does_not_speak_of_unsubscribing() -> None:
    links = Links("https://care.example/go/", None, "Nora")
    text = flat(render_message("call_for_csm", TYPICAL, links).text)
    assert "unsubscribe" not in text and "because you take calls with suppliers" in text


@pytest.mark.parametrize(("ratio", "uses", "shown"), [(0.12, 3, False), (0.7, 40, True)])
def test_the_upgrade_email_speaks_of_use_only_when_there_is_much(
    ratio: float, uses: int, shown: bool
) -> None:
    facts = TYPICAL | {"limit_ratio": ratio, "feature_uses_4w": uses, "login_days_28d": 2}
    text = flat(render_message("unlock_more_features", facts, LINKS).text)
    assert ("of what your plan includes" in text) is shown
    assert ("how much you get out of" in text) is shown


def test_the_subject_alone_is_that_of_the_message() -> None:
    for template in list_templates():
        rendered = render_message(template, TYPICAL, LINKS)
        assert render_subject(template, TYPICAL) == rendered.subject


@pytest.mark.parametrize(
    ("template", "facts", "what"),
    [
        ("nothing_like_it", {}, "unknown email template 'nothing_like_it'"),
        ("../model", {}, "unknown email template"),
        (
            "we_miss_you",
            {"clients_total": "many"},
            "facts.clients_total: expected Int64, got 'many'",
        ),
        ("we_miss_you", {"off_season": 3}, "facts.off_season: expected Boolean"),
        ("call_booked", {"starts_at": "tomorrow"}, "not a time: 'tomorrow'"),
        (
            "call_booked",
            CALL | {"ics_url": "javascript:alert(1)"},
            "neither the name of an action nor a URL",
        ),
    ],
)
def test_a_message_that_cannot_be_rendered_has_a_reason(
    template: str, facts: dict[str, Any], what: str
) -> None:
    with pytest.raises(RenderError) as caught:
        render_message(template, facts, LINKS)
    assert what in caught.value.message


def test_the_facts_of_the_corpus_are_all_signals() -> None:
    assert set(TYPICAL) - {"name"} == set(SIGNAL_SCHEMA)


def test_filters() -> None:
    assert [count(n, "couple", "couples") for n in (0, 1, 1.9, 2, 14000)] == [
        "0 couples", "1 couple", "1 couple", "2 couples", "14,000 couples",
    ]  # fmt: skip
    assert [count(n, "one form has", "# forms have") for n in (1, 2, 21)] == [
        "one form has", "2 forms have", "21 forms have",
    ]  # fmt: skip
    assert [days(n) for n in (0, 0.9, 1, 9.4)] == [
        "less than a day", "less than a day", "1 day", "9 days",
    ]  # fmt: skip
    assert [soon(n) for n in (-1, 0, 1, 2, 60, 61, 200)] == [
        "today", "today", "tomorrow", "in 2 days", "in 60 days", "in 2 months", "in 7 months",
    ]  # fmt: skip
    assert [percent(n) for n in (0, 0.001, 0.29, 0.927, 0.996, 1, 1.31)] == [
        "0%", "1%", "29%", "93%", "99%", "100%", "131%",
    ]  # fmt: skip
    assert [of_clients(a, t) for a, t in ((0, 1), (1, 1), (0, 5), (1, 5), (3, 5), (5, 5))] == [
        "your one couple was not active", "your one couple was active", "none of your 5 couples was active",
        "one of your 5 couples was active", "3 of your 5 couples were active", "all 5 of your couples were active",
    ]  # fmt: skip
    assert (
        moment("2026-03-29T00:30:00Z", "Europe/Berlin", "2026-03-29T01:30:00Z")
        == "Sunday 29 March, 01:30–03:30 (Europe/Berlin)"
    )
    assert moment("2026-11-24T14:30:00", "../etc/passwd") == "Tuesday 24 November, 14:30 (UTC)"


def test_the_numbers_block_omits_zero_and_unknown_numbers() -> None:
    names = ["clients_total", "clients_active_30d", "forms_waiting"]
    assert number_rows(
        {"clients_total": 14, "clients_active_30d": 0, "forms_waiting": 0}, names
    ) == [
        ("14", "couples on your list"),
        ("0", "active in the last 30 days"),
    ]
    assert (
        number_rows(
            {"clients_total": 0, "clients_active_30d": 0}, ["clients_total", "clients_active_30d"]
        )
        == []
    )


def test_a_rendered_message_is_a_plain_record() -> None:
    assert isinstance(render_message("check_in", {}, LINKS), Rendered)


def test_the_certificate_button_links_to_the_suppliers_certificate() -> None:
    links = Links(
        LINKS.go, LINKS.unsubscribe, LINKS.sender, "https://care.example/certificates/TOKEN"
    )
    rendered = render_message("success_certificate", TYPICAL, links)
    assert (
        "https://care.example/certificates/TOKEN" in rendered.text
        and "https://care.example/certificates/TOKEN" in rendered.html
    )

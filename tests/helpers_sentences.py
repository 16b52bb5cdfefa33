"""Every sentence that ships, rendered in each of its languages at 0, 1, 2, 5, 21 and unknown.

`python tests/helpers_sentences.py` prints the list, for reading.
"""

import re
import sys
import tomllib
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, meta

from everafter.certificates.model import Certificate
from everafter.certificates.rules import texts_of
from everafter.core.formatting import format_period, plural
from everafter.core.i18n import format_weekday
from everafter.core.messages import placeholders
from everafter.core.settings import Settings
from everafter.mail.formatting import FILTERS
from everafter.mail.model import Links
from everafter.mail.rules import list_templates, render_message
from everafter.onboarding.model import CHECKLIST_TITLES
from everafter.playbook.loading import load_playbook
from everafter.playbook.model import Playbook
from everafter.recommendations.rules import render_recommendation
from everafter.signals.model import CLIENT_SCHEMA, SIGNAL_SCHEMA
from everafter.signals.text import format_sentence, kinds_of
from helpers_mail import TYPICAL
from helpers_source import SRC

GRID = (0, 1, 2, 5, 21, None)
SETTINGS = Settings(None, Path(), None, None, "http://testserver", "secret")
LINKS = Links("https://care.example/go/", "https://care.example/u/TOKEN", "Nora Lind")
KINDS = {**kinds_of(SIGNAL_SCHEMA), **kinds_of(CLIENT_SCHEMA), "name": "text"}
TEXTS = {
    "name": ("Alder Films", None),
    "client_name": ("Anna & Tom", None),
    "plan": ("basic", None),
}
PARSER = Environment()
PARSER.filters.update(FILTERS)
STEP = {
    "title": "Send a reminder",
    "body": "It takes a minute.",
    "reason": "One form is waiting.",
    "action_label": "Remind them",
    "action_url": "/forms",
}


class Sentence(NamedTuple):
    """One rendering. source: where the text is; values: what was put in; kind: what it is for."""

    source: str
    language: str
    values: str
    text: str
    kind: str = "text"


@cache
def shipped() -> Playbook:
    return load_playbook(SETTINGS)


def list_sentences() -> Iterator[Sentence]:
    """Every sentence of the product that suppliers read, and the reasons that the team reads."""
    for source, language, kind, text in playbook_texts():
        for values in combine(text):
            made = render(source, text, values, language)
            yield Sentence(source, language, describe(values), made, kind)
    yield from coach_sentences()
    yield from email_sentences()
    yield from page_sentences()


# ── playbook ──────────────────────────────────────────────────────────────────────────────────


def playbook_texts() -> Iterator[tuple[str, str, str, str]]:
    """Source, language, kind and text of each sentence."""
    playbook = shipped()
    yield from (
        (f"triggers.{name}.reason", "en", "team", trigger.reason)
        for name, trigger in playbook.triggers.items()
    )
    keys = {
        "onboarding": ("title",),
        "onboarding_actions": ("title", "hint"),
        "milestones": ("title", "celebration"),
        "client_recommendations": ("title", "body", "reason", "action_label"),
        "recommendations": ("title", "body", "reason", "action_label"),
        "tips": ("title", "body", "reason", "action_label"),
    }
    for group, texts in keys.items():
        for name, item in getattr(playbook, group).items():
            for key in texts:
                kind = "label" if key in ("title", "action_label") else "text"
                own = getattr(item, key)
                if own:
                    yield f"{group}.{name}.{key}", "en", kind, own
                for language, table in item.translations.items():
                    if key in table:
                        yield f"{group}.{name}.{key}", language, kind, table[key]
    for language, title in CHECKLIST_TITLES.items():
        yield "checklist.title", language, "label", title


def render(source: str, text: str, values: Mapping[str, Any], language: str) -> str:
    """As the product renders it; recommendations have a rule for clients without a name."""
    group, name, *key = source.split(".")
    if not group.endswith("recommendations"):
        return format_sentence(text, values, language)
    is_client = group.startswith("client")
    about = {**dict.fromkeys(CLIENT_SCHEMA), **values} if is_client else None
    row = {"id": name, "about": about}
    return render_recommendation(row, values, shipped(), language)[key[0]]


def combine(text: str) -> Iterator[dict[str, Any]]:
    """Values for the names in a text: every combination for up to two numbers, and for more each
    number at every value with the others at 5."""
    names = placeholders(text)
    numbers = [name for name in names if KINDS[name] in ("number", "share")]
    others = [name for name in names if name not in numbers]
    choices = [TEXTS.get(name) or (*VENDOR_TYPES, None) for name in others]
    for words in product(*choices):
        for figures in figures_for(len(numbers)):
            pairs = zip(numbers, figures, strict=True)
            values = {name: scale(name, number) for name, number in pairs}
            yield {**values, **dict(zip(others, words, strict=True))}


VENDOR_TYPES = ("photographer", "dj", "venue", "cake", "hair_makeup", "transport")


def figures_for(count: int) -> Iterator[tuple[float | None, ...]]:
    if count <= 2:
        yield from product(GRID, repeat=count)
        return
    for place in range(count):
        for number in GRID:
            yield tuple(number if place == at else 5 for at in range(count))


def scale(name: str, number: float | None) -> float | None:
    """A share is that many percent."""
    return number if number is None or KINDS[name] == "number" else number / 100


def describe(values: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{name}={'unknown' if value is None else value}" for name, value in values.items()
    )


# ── coach ─────────────────────────────────────────────────────────────────────────────────────


def coach_sentences() -> Iterator[Sentence]:
    tables = tomllib.loads((SRC / "coach" / "messages.toml").read_text(encoding="utf-8"))
    for language, texts in tables["help"].items():
        for key, text in texts.items():
            for values in combine(text):
                said = format_sentence(text, values, language)
                yield Sentence(f"coach.help.{key}", language, describe(values), said)
    for language, texts in tables["words"].items():
        for key, text in texts.items():
            for values in browser_values(text):
                said = re.sub(r"\{(\w+)\}", lambda found, v=values: str(v[found[1]]), text)
                yield Sentence(f"coach.words.{key}", language, describe(values), said, "label")


def browser_values(text: str) -> Iterator[dict[str, Any]]:
    """What coach.js puts into an interface text; a call has at least five minutes."""
    names = re.findall(r"\{(\w+)\}", text)
    fixed = {"day": "24 Nov", "name": "Nora Lind", "zone": "Europe/Berlin"}
    ranges = {"done": (0, 1, 2, 5, 21), "total": (1, 2, 5, 21), "minutes": (5, 15, 30)}
    for figures in product(*(ranges.get(name, (fixed.get(name),)) for name in names)):
        yield dict(zip(names, figures, strict=True))


# ── emails ────────────────────────────────────────────────────────────────────────────────────


def email_sentences() -> Iterator[Sentence]:
    """Subject, preheader and text of each email, for each fact that it asks for."""
    for template in list_templates():
        for facts in email_facts(template):
            made = render_message(template, facts, LINKS)
            values = describe({key: facts[key] for key in facts if facts[key] != BASE.get(key)})
            yield Sentence(f"{template}: subject", "en", values, made.subject, "label")
            preheader = re.search(r'class="preheader"[^>]*>([^<&\u00a0]*)', made.html)
            if preheader:
                yield Sentence(
                    f"{template}: preheader", "en", values, preheader[1].strip(), "label"
                )
            for paragraph in made.text.split("\n\n"):
                for block in _blocks(paragraph):
                    yield Sentence(f"{template}: text", "en", values, block, "block")


def _blocks(paragraph: str) -> Iterator[str]:
    if paragraph.startswith(("  ", "- ")):  # the numbers, and lists
        yield from (" ".join(line.split()) for line in paragraph.splitlines())
    elif "https://" not in paragraph:
        yield " ".join(paragraph.split())


BASE: dict[str, Any] = {
    **TYPICAL,
    "starts_at": "2026-11-24T14:30:00Z",
    "ends_at": "2026-11-24T14:45:00Z",
    "was_starts_at": "2026-11-23T09:00:00Z",
    "timezone": "Europe/London",
    "csm_name": "Nora Lind",
    "topic": "our forms",
    "call_title": "Success call",
    "supplier_name": "Alder Films",
    "manage_url": "https://care.example/calls/1",
    "supplier_url": "https://care.example/suppliers/1",
}


def email_facts(template: str) -> Iterator[dict[str, Any]]:
    """Facts for one email: typical ones with each number that it asks for at every value, in season
    and off season, with and without next steps."""
    source = (SRC / "mail" / "templates" / f"{template}.txt").read_text(encoding="utf-8")
    named = meta.find_undeclared_variables(PARSER.parse(source))
    head = source.partition("\n\n")[0]
    block = re.search(r"^Numbers: (.*)$", head, re.MULTILINE)
    asked = sorted(named | set(block[1].split() if block else ()))
    numbers = [name for name in asked if KINDS.get(name) in ("number", "share")]
    for off_season, steps in product((False, True), (0, 1, 2)):
        if (off_season and "off_season" not in asked) or (steps and "next_steps" not in asked):
            continue
        base = {**BASE, "off_season": off_season, "next_steps": [STEP] * steps}
        yield base
        yield {**base, "name": None, "plan": None, "csm_name": None, "starts_at": None}
        for name, number in product(numbers, GRID):
            yield {**base, name: scale(name, number)}
        for number in GRID:
            yield {**base, **{name: scale(name, number) for name in numbers}}
    for name in ("topic", "manage_url", "supplier_name", "csm_name"):
        if name in asked:
            yield {**BASE, name: None}
    for change in ("booked", "moved", "cancelled", "passed_on"):
        if "change" in asked:
            yield {**BASE, "change": change}
    for flag in ("payment_past_due",):
        if flag in asked:
            yield {**BASE, flag: True}
    for vendor_type in (*VENDOR_TYPES, None):
        if "vendor_type" in asked:
            yield {**BASE, "vendor_type": vendor_type, "forms_sent_13w": 0, "forms_waiting": 0}


# ── certificates and the page of a call ───────────────────────────────────────────────────────


def page_sentences() -> Iterator[Sentence]:
    for day in (date(2026, 3, 1), date(2026, 11, 21)):
        texts = texts_of(Certificate("Alder Films", day, "Nora Lind"))
        for key in ("heading", "before", "body", "date", "date_label", "sender_label"):
            yield Sentence(f"certificate.{key}", "en", str(day), texts[key], "label")
    start = datetime(2026, 11, 24, 14, 30, tzinfo=UTC)
    zone = start.tzinfo
    assert zone is not None
    yield Sentence("call.day", "en", "", format_weekday(start), "label")
    span = format_period(start, start + timedelta(minutes=15), zone)  # type: ignore[arg-type]
    yield Sentence("call.span", "en", "", span, "label")
    for number in (1, 2, 5, 21):
        yield Sentence("call.times", "en", f"times={number}", plural(number, "time"), "label")
    for name in ("call", "no_call"):
        page = (SRC / "support" / "templates" / f"{name}.html").read_text(encoding="utf-8")
        for text in visible(page):
            yield Sentence(f"page.{name}", "en", "", text, "label")
    page = (SRC / "mail" / "templates" / "recipient.html").read_text(encoding="utf-8")
    for text in visible(page):
        yield Sentence("page.unsubscribe", "en", "", text, "label")


def visible(page: str) -> Iterator[str]:
    """The fixed texts of a page's template."""
    bare = re.sub(r"\{%.*?%\}|\{\{.*?\}\}|<style.*?</style>", "…", page, flags=re.DOTALL)
    for text in re.split(r"<[^>]+>", bare):
        if re.search(r"[A-Za-z]{2}", text) and "doctype" not in text.lower():
            yield " ".join(text.split())


def main() -> None:
    last = ""
    seen: set[tuple[str, str, str]] = set()
    for sentence in list_sentences():
        key = (sentence.source, sentence.language, sentence.text)
        if key in seen:
            continue
        seen.add(key)
        head = f"{sentence.source} ({sentence.language})"
        if head != last:
            sys.stdout.write(f"\n{head}\n")
            last = head
        sys.stdout.write(f"  {sentence.text}    [{sentence.values}]\n")


if __name__ == "__main__":
    main()

"""The ledger over real HTTP: why something happened, and why nothing did."""

import html
import re
import uuid
from collections.abc import Iterator
from datetime import timedelta

import httpx
import pytest

from everafter.interventions.model import WITHHELD_REASONS
from everafter.portfolio.ledger_rules import count_triggers, say_reason
from helpers_pages import TODAY, XSS, add_message, add_supplier, add_verdict, signed_in
from helpers_server import Server


@pytest.fixture
def client(server: Server) -> Iterator[httpx.Client]:
    with signed_in(server) as made:
        yield made


@pytest.fixture
def ledger(server: Server) -> dict[str, uuid.UUID]:
    suppliers = {name: add_supplier(server, name) for name in ("Ash", "Birch", "Cedar")}
    add_verdict(server, suppliers["Ash"], "no_login_7_days", "decided", "no login for 9 days")
    add_verdict(server, suppliers["Birch"], "no_login_7_days", "withheld", "budget")
    add_verdict(server, suppliers["Cedar"], "no_login_7_days", "withheld", "cooldown")
    add_verdict(server, suppliers["Ash"], "early_silence", "held_out", "held_out", decided_on=TODAY - timedelta(days=1))
    add_verdict(server, suppliers["Birch"], "early_silence", "withheld", "budget", decided_on=TODAY - timedelta(days=2))
    add_verdict(server, suppliers["Cedar"], "early_silence", "decided", "long ago", decided_on=TODAY - timedelta(days=40))
    return suppliers


def lines(client: httpx.Client, query: str = "") -> list[tuple[str, ...]]:
    """(supplier, trigger, outcome, why) of each line."""
    answer = client.get(f"/interventions?{query}")
    assert answer.status_code == 200, answer.text
    found: list[tuple[str, ...]] = []
    for row in re.findall(r'<tr>\s*<th scope="row"><a class="row".*?</tr>', answer.text, re.S):
        cells = [
            html.unescape(re.sub(r"<[^>]+>", "", cell)).strip() for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.S)
        ]
        found.append((cells[0], cells[1], cells[3], cells[4]))
    return found


def test_by_day_with_the_reason_in_words(client: httpx.Client, ledger: dict[str, uuid.UUID]) -> None:
    assert set(lines(client)) == {
        ("Ash", "No login 7 days", "Decided", "No login for 9 days"),
        ("Birch", "No login 7 days", "Withheld", "The week's messages are used up by more important ones"),
        ("Cedar", "No login 7 days", "Withheld", "The same was done, or held out, within the trigger's cooldown"),
        ("Ash", "Early silence", "Held out", "Left alone on purpose, so that the difference we make can be seen"),
        ("Birch", "Early silence", "Withheld", "The week's messages are used up by more important ones"),
    }
    assert len(lines(client, "days=90")) == 6 and len(lines(client, "days=1")) == 3


def test_filters(client: httpx.Client, ledger: dict[str, uuid.UUID]) -> None:
    assert [line[0] for line in lines(client, "trigger=early_silence")] == ["Ash", "Birch"]
    assert [line[2] for line in lines(client, "status=held_out")] == ["Held out"]
    assert sorted(line[0] for line in lines(client, "reason=budget")) == ["Birch", "Birch"]
    assert lines(client, "reason=budget&trigger=no_login_7_days") == [
        ("Birch", "No login 7 days", "Withheld", "The week's messages are used up by more important ones")
    ]
    assert lines(client, "trigger=never_heard_of") == []
    for nonsense in ("status=x", "days=2", "page=0", "page=x"):
        assert client.get(f"/interventions?{nonsense}").status_code == 400


def test_counts_by_trigger(client: httpx.Client, ledger: dict[str, uuid.UUID]) -> None:
    page = client.get("/interventions?status=decided").text
    row = re.search(r'<th scope="row" class="sticky"><a [^>]*>No login 7 days</a>.*?</tr>', page, re.S)
    assert row
    numbers = re.findall(r'data-label="(?:Decided|Held out|Withheld)"><a [^>]*>([\d,]+)</a>', row[0])
    assert numbers == ["1", "0", "2"], "the counts hold all that was proposed, whatever is filtered below"
    assert "budget <b>1</b>" in row[0] and "cooldown <b>1</b>" in row[0]


def test_a_decision_leads_to_its_message(server: Server, client: httpx.Client) -> None:
    supplier = add_supplier(server, XSS)
    verdict = add_verdict(server, supplier, "no_login_7_days", "decided", XSS)
    add_message(server, supplier, id=verdict, intervention_id=verdict)
    page = client.get("/interventions").text
    assert f'href="/messages/{supplier}/{verdict}">e-mail, queued</a>' in page
    assert XSS not in page and html.escape(XSS, quote=False).split("&gt;")[0] in page


def test_pages_of_a_long_ledger(server: Server, client: httpx.Client) -> None:
    for place in range(101):
        add_verdict(server, add_supplier(server, f"S{place:03d}"), "early_silence", "withheld", "budget")
    first, second = lines(client), lines(client, "page=2")
    assert (len(first), len(second)) == (100, 1) and len({*first, *second}) == 101


def test_nothing_yet(client: httpx.Client) -> None:
    assert "Nothing decided yet" in client.get("/interventions").text


def test_every_reason_of_the_gate_has_words() -> None:
    for code, words in WITHHELD_REASONS.items():
        assert say_reason("withheld", code) == words != code
    assert say_reason("withheld", "brand_new") == "brand new"


def test_counts_are_summed() -> None:
    counted = count_triggers(
        [("a", "decided", "", 2), ("b", "withheld", "x", 5), ("b", "withheld", "y", 7), ("a", "held_out", "", 1)]
    )
    assert [(count.trigger, count.total, count.withheld) for count in counted] == [("b", 12, [("y", 7), ("x", 5)]), ("a", 3, [])]

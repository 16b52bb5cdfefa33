"""The intervention log over HTTP: results and reasons."""

import html
import re
import uuid
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta

import httpx
import pytest

from everafter.interventions.log_model import LogEntry
from everafter.interventions.log_rules import count_triggers, describe_reason, explain_entry
from everafter.interventions.model import SKIP_REASONS
from helpers_pages import TODAY, XSS, add_conclusion, add_message, add_supplier, signed_in
from helpers_server import Server


@pytest.fixture
def client(server: Server) -> Iterator[httpx.Client]:
    with signed_in(server) as made:
        yield made


@pytest.fixture
def history(server: Server) -> dict[str, uuid.UUID]:
    suppliers = {name: add_supplier(server, name) for name in ("Ash", "Birch", "Cedar")}
    add_conclusion(server, suppliers["Ash"], "no_login_7_days", "triggered", "no login for 9 days")
    add_conclusion(server, suppliers["Birch"], "no_login_7_days", "skipped", "frequency_cap")
    add_conclusion(server, suppliers["Cedar"], "no_login_7_days", "skipped", "cooldown")
    add_conclusion(
        server,
        suppliers["Cedar"],
        "no_login_7_days",
        "triggered",
        "no login for 7 days",
        evaluated_on=TODAY - timedelta(days=3),
    )
    add_conclusion(
        server,
        suppliers["Ash"],
        "early_inactivity",
        "holdout",
        "holdout",
        evaluated_on=TODAY - timedelta(days=1),
    )
    add_conclusion(
        server,
        suppliers["Birch"],
        "early_inactivity",
        "skipped",
        "frequency_cap",
        evaluated_on=TODAY - timedelta(days=2),
    )
    add_conclusion(
        server,
        suppliers["Cedar"],
        "early_inactivity",
        "triggered",
        "long ago",
        evaluated_on=TODAY - timedelta(days=40),
    )
    return suppliers


def lines(client: httpx.Client, query: str = "") -> list[tuple[str, ...]]:
    """(supplier, trigger, result, reason) of each line."""
    answer = client.get(f"/interventions?{query}")
    assert answer.status_code == 200, answer.text
    found: list[tuple[str, ...]] = []
    for row in re.findall(r'<tr>\s*<th scope="row"><a class="row".*?</tr>', answer.text, re.S):
        cells = [
            html.unescape(re.sub(r"<[^>]+>", "", cell)).strip()
            for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.S)
        ]
        found.append((cells[0], cells[1], cells[3], cells[4]))
    return found


def test_entries_are_listed_by_day_with_reasons(
    client: httpx.Client, history: dict[str, uuid.UUID]
) -> None:
    assert set(lines(client)) == {
        ("Ash", "No login 7 days", "Triggered", "No login for 9 days"),
        ("Cedar", "No login 7 days", "Triggered", "No login for 7 days"),
        (
            "Birch",
            "No login 7 days",
            "Skipped",
            "This week's messages went to more urgent triggers",
        ),
        (
            "Cedar",
            "No login 7 days",
            "Skipped",
            "Acted 3 days ago; cooldown 30 days",
        ),
        (
            "Ash",
            "Early inactivity",
            "Holdout",
            "Control group: not treated, so that the effect can be measured",
        ),
        (
            "Birch",
            "Early inactivity",
            "Skipped",
            "This week's messages went to more urgent triggers",
        ),
    }
    assert len(lines(client, "days=90")) == 7 and len(lines(client, "days=1")) == 3


def test_filters(client: httpx.Client, history: dict[str, uuid.UUID]) -> None:
    assert [line[0] for line in lines(client, "trigger=early_inactivity")] == ["Ash", "Birch"]
    assert [line[2] for line in lines(client, "status=holdout")] == ["Holdout"]
    assert sorted(line[0] for line in lines(client, "reason=frequency_cap")) == ["Birch", "Birch"]
    assert lines(client, "reason=frequency_cap&trigger=no_login_7_days") == [
        (
            "Birch",
            "No login 7 days",
            "Skipped",
            "This week's messages went to more urgent triggers",
        )
    ]
    assert lines(client, "trigger=never_heard_of") == []
    for nonsense in ("status=x", "days=2", "page=0", "page=x"):
        assert client.get(f"/interventions?{nonsense}").status_code == 400


def test_counts_by_trigger(client: httpx.Client, history: dict[str, uuid.UUID]) -> None:
    page = client.get("/interventions?status=triggered").text
    row = re.search(
        r'<th scope="row" class="sticky"><a [^>]*>No login 7 days</a>.*?</tr>', page, re.S
    )
    assert row
    numbers = re.findall(
        r'data-label="(?:Triggered|Holdout|Skipped)"><a [^>]*>([\d,]+)</a>', row[0]
    )
    assert numbers == ["2", "0", "2"], "the counts cover all entries, whatever the filter"
    assert "frequency cap <b>1</b>" in row[0] and "cooldown <b>1</b>" in row[0]


def test_a_triggered_email_links_to_its_message(server: Server, client: httpx.Client) -> None:
    supplier = add_supplier(server, XSS)
    result = add_conclusion(server, supplier, "no_login_7_days", "triggered", XSS)
    add_message(server, supplier, id=result, intervention_id=result)
    page = client.get("/interventions").text
    assert f'href="/messages/{supplier}/{result}">email, queued</a>' in page
    assert XSS not in page and html.escape(XSS, quote=False).split("&gt;")[0] in page


def test_a_long_log_has_pages(server: Server, client: httpx.Client) -> None:
    for place in range(101):
        add_conclusion(
            server,
            add_supplier(server, f"S{place:03d}"),
            "early_inactivity",
            "skipped",
            "frequency_cap",
        )
    first, second = lines(client), lines(client, "page=2")
    assert (len(first), len(second)) == (100, 1) and len({*first, *second}) == 101


def test_an_empty_log_has_a_message(client: httpx.Client) -> None:
    assert "No interventions yet" in client.get("/interventions").text


@pytest.mark.parametrize(
    ("acted", "in_holdout", "known", "expected"),
    [
        (9, None, True, "acted 9 days ago; cooldown 30 days"),
        (1, 9, True, "acted 1 day ago; cooldown 30 days"),
        (9, 1, True, "in the holdout 1 day ago; cooldown 30 days"),
        (9, None, False, "acted 9 days ago; still in its cooldown"),
        (None, None, True, "the trigger acted on this supplier too recently"),
    ],
)
def test_a_cooldown_is_explained(
    acted: int | None, in_holdout: int | None, known: bool, expected: str
) -> None:
    def day(ago: int | None) -> date | None:
        return None if ago is None else TODAY - timedelta(days=ago)

    entry = LogEntry(
        uuid.uuid4(),
        uuid.uuid4(),
        "Ash",
        "early_inactivity",
        "",
        "email",
        "skipped",
        "cooldown",
        1,
        datetime.now(UTC),
        TODAY,
        None,
        None,
        day(acted),
        day(in_holdout),
    )
    assert explain_entry(entry, {"early_inactivity": 30} if known else {}) == expected


def test_every_skip_reason_has_a_label() -> None:
    for code, words in SKIP_REASONS.items():
        assert describe_reason("skipped", code) == words != code
    assert describe_reason("skipped", "brand_new") == "brand new"


def test_counts_are_summed() -> None:
    counted = count_triggers(
        [
            ("a", "triggered", "", 2),
            ("b", "skipped", "x", 5),
            ("b", "skipped", "y", 7),
            ("a", "holdout", "", 1),
        ]
    )
    assert [(count.trigger, count.total, count.skipped) for count in counted] == [
        ("b", 12, [("y", 7), ("x", 5)]),
        ("a", 3, []),
    ]

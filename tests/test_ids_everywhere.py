"""A supplier by its own id and by its UUID, on every face: the API, the coach, pages, the command line."""

import csv
import io
import json
import sys
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from everafter.cli import main
from everafter.core.settings import Settings
from helpers_coach import claims, sign
from helpers_ids import REFUSED, SPELLINGS, TEXTS, supplier_of
from helpers_pages import add_user, browser, signed_in, try_sign_in
from helpers_server import Server, serving

ALL = [*TEXTS, *SPELLINGS]
Cli = Callable[..., tuple[int, str]]


@pytest.fixture(scope="module")
def world(module_settings: Settings) -> Iterator[Server]:
    """A server that knows every supplier of the corpus, by its own id."""
    with serving(module_settings) as server, server.client("ingest") as client:
        batch = [
            {"type": "identify", "userId": text, "traits": {"name": f"Studio {place}"}}
            for place, text in enumerate(ALL)
        ]
        batch += [
            {"type": "track", "event": "account_created", "userId": text, "messageId": f"a{n}"}
            for n, text in enumerate(TEXTS)
        ]
        assert client.post("/v1/batch", json={"batch": batch}).json()["rejected"] == []
        server.wait_folded()
        yield server


@pytest.fixture(scope="module")
def api(world: Server) -> Iterator[httpx.Client]:
    with world.client("write") as client:
        yield client


def in_path(text: str) -> str:
    return quote(text, safe="")


def named(answer: httpx.Response, *status: int) -> tuple[str, str | None]:
    """The two ids of an answer."""
    assert answer.status_code in (status or (200,)), answer.text
    body = answer.json()
    return body["supplier_id"], body["external_id"]


@pytest.mark.parametrize("text", ALL)
def test_the_api_knows_a_supplier_by_its_id(api: httpx.Client, text: str) -> None:
    whose = (supplier_of(text), text if text in TEXTS else None)
    inside, query = in_path(text), {"supplier_id": text}
    for path in (
        "/api/health/score/{}",
        "/api/success/onboarding/{}",
        "/api/success/recommendations/{}",
    ):
        assert named(api.get(path.format(inside))) == whose
    milestone = {"supplier_id": text, "milestone_type": "of_our_own"}
    assert named(api.post("/api/success/milestone", json=milestone), 201, 200) == whose
    kept = api.get(f"/api/success/milestones/{inside}").json()["milestones"][0]
    assert (kept["supplier_id"], kept["external_id"]) == whose
    ticket_id = f"T/{text}"[:200].strip()
    ticket = {"supplier_id": text, "ticket_id": ticket_id, "subject": "Help"}
    assert named(api.post("/api/support/tickets", json=ticket), 201) == whose
    assert (
        api.get(f"/api/support/tickets/{in_path(ticket_id)}", params=query).json()["ticket_id"]
        == ticket_id
    )
    assert named(api.post(f"/api/support/tickets/{in_path(ticket_id)}/reply", json=query)) == whose
    assert [
        one["ticket_id"] for one in api.get("/api/support/tickets", params=query).json()["tickets"]
    ][:1] == [ticket_id]
    said = {**query, "type": "check_in", "notes": "A chat"}
    assert named(api.post("/api/support/interactions", json=said), 201) == whose
    talks = api.get("/api/support/interactions", params=query).json()["interactions"]
    assert (talks[0]["supplier_id"], talks[0]["external_id"]) == whose
    assert named(api.get("/api/support/slots", params={**query, "type": "check_in"})) == whose
    assert api.get("/api/events", params=query).status_code == 200


@pytest.mark.parametrize("text", REFUSED)
def test_what_is_no_id_is_refused_by_name(api: httpx.Client, text: str) -> None:
    answers = [
        api.get(f"/api/health/score/{in_path(text)}"),
        api.get("/api/events", params={"supplier_id": text}),
        api.post("/api/success/milestone", json={"supplier_id": text, "milestone_type": "x"}),
    ]
    for answer in answers[text == " " :]:  # a path has no segment of spaces alone
        assert (answer.status_code, answer.json()["code"]) == (400, "not_a_supplier_id"), (
            answer.text
        )
        assert answer.json()["detail"].startswith("supplier_id: ")
        assert "text of 1 to 200 characters" in answer.json()["detail"]


def test_numbers_in_a_body_are_ids_and_other_values_are_none(api: httpx.Client) -> None:
    def record(value: Any) -> httpx.Response:
        return api.post(
            "/api/success/milestone", json={"supplier_id": value, "milestone_type": "by_number"}
        )

    assert named(record(4711), 201) == named(record(4711.0)) == (supplier_of("4711"), "4711")
    for value in (True, None, 47.5, [], {"id": 1}):
        assert (record(value).status_code, record(value).json()["code"]) == (
            400,
            "not_a_supplier_id",
        )
    tickets = [
        api.post(
            "/api/support/tickets",
            json={"supplier_id": "Studio-A", "ticket_id": value, "subject": "x"},
        ).json()
        for value in (900, 901.0, " 902 ")
    ]
    assert [ticket["ticket_id"] for ticket in tickets] == ["900", "901", "902"]


def test_two_ids_that_differ_by_case_are_two_suppliers(api: httpx.Client) -> None:
    assert named(api.get("/api/health/score/Studio-A")) != named(
        api.get("/api/health/score/studio-a")
    )
    missing = api.get("/api/health/score/STUDIO-A")
    assert (missing.status_code, "STUDIO-A is not known" in missing.json()["detail"]) == (404, True)


def test_a_slash_stays_in_its_segment(api: httpx.Client) -> None:
    assert api.get("/api/health/score/a/b").status_code == 404
    for path in (
        "/api/health/score/a%1Fb",
        "/api/health/score/a%1eb",
        "/api/health/score/a%1F%2Fb",
    ):
        assert api.get(path).json()["code"] == "not_a_supplier_id", (
            "a slash is written %2F and in no other way"
        )
    for _ in range(2):  # the router keeps what it has read of a path
        assert named(api.get("/api/health/score/a%2fb"))[1] == "a/b"
    assert named(api.get("/api/health/score/a%252Fb"))[1] == "a%2Fb"


def test_an_idempotency_key_is_one_for_both_names(api: httpx.Client) -> None:
    body = {"action": "completed_wizard"}
    sent = [
        api.post(
            f"/api/success/onboarding/{in_path(name)}/actions",
            json=body,
            headers={"Idempotency-Key": "once"},
        )
        for name in ("a/b", supplier_of("a/b"), supplier_of("a/b").upper(), "a%2Fb")
    ]
    assert [one.headers.get("Idempotency-Replayed") for one in sent] == [None, "true", "true", None]
    assert [one.json()["external_id"] for one in sent] == ["a/b", "a/b", "a/b", "a%2Fb"]


@pytest.mark.parametrize(
    "text", ["4711", "a/b", "Blüten & Söhne", "💐🎩", "x" * 200, SPELLINGS[2], SPELLINGS[1]]
)
def test_a_coach_token_names_the_supplier_by_either(world: Server, text: str) -> None:
    key = world.key("coach")
    for name in (text, supplier_of(text)):
        answer = httpx.get(
            f"{world.base_url}/api/coach",
            headers={"Authorization": f"Bearer {sign(key, claims(name))}"},
            timeout=30,
        )
        assert answer.status_code == 200, answer.text
        supplier = answer.json()["supplier"]
        assert (supplier["id"], supplier["external_id"]) == (
            supplier_of(text),
            text if text in TEXTS else None,
        )
    asked = httpx.post(
        f"{world.base_url}/api/coach/tokens",
        json={"supplier_id": text},
        headers={"Authorization": f"Bearer {key}"},
        timeout=30,
    )
    assert named(asked, 201)[0] == supplier_of(text)
    refused = httpx.get(
        f"{world.base_url}/api/coach",
        headers={"Authorization": f"Bearer {sign(key, claims('a' * 201))}"},
    )
    assert (refused.status_code, refused.json()["code"]) == (401, "token_claims")
    assert "text of 1 to 200 characters" in refused.json()["detail"]


@pytest.fixture
def cli(world: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    """The command line over the world: the exit code, and what it printed."""
    monkeypatch.setenv("EVERAFTER_DATABASE_URL", world.database)
    monkeypatch.setenv("EVERAFTER_DATA", str(world.settings.data))

    def run(*words: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["everafter", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        out = capsys.readouterr()
        return int(ended.value.code or 0), out.out + out.err

    return run


def test_pages_and_files_show_and_find_the_id(world: Server, cli: Cli) -> None:
    assert cli("run", "--json")[0] == 0
    with signed_in(world) as client:
        for text in ALL:
            shown = client.get(f"/suppliers/{in_path(text)}")
            assert shown.status_code == 200, text
        assert "<bdi>a/b</bdi>" in client.get(f"/suppliers/{supplier_of('a/b')}").text
        assert "<bdi>&lt;script&gt;</bdi>" in client.get("/suppliers/%3Cscript%3E").text
        for text in (
            "4711",
            "a/b",
            "a%2Fb",
            "Studio-A",
            "花屋さん",
            "x" * 200,
            SPELLINGS[2],
            supplier_of("007"),
        ):
            found = client.get("/", params={"q": text}).text
            assert f'href="/suppliers/{supplier_of(text) if text in ALL else text}"' in found, text
        rows = list(csv.DictReader(io.StringIO(client.get("/portfolio.csv").text)))
        assert {row["id"]: row["external_id"].removeprefix("'") for row in rows} == {
            supplier_of(text): text if text in TEXTS else "" for text in ALL
        }
    with httpx.Client(base_url=world.base_url, headers={"accept": "text/html"}) as stranger:
        led = stranger.get("/suppliers/a%2Fb").headers["location"]
        assert led == "/sign-in?next=/suppliers/a%252Fb"
    with browser(world) as client:
        back = try_sign_in(client, add_user(world), next="/suppliers/a%2Fb").headers["location"]
        assert back == "/suppliers/a%2Fb"


def test_the_command_line_takes_either(cli: Cli) -> None:
    for text in ("4711", "a/b", "Studio-A", "studio-a", "💐🎩", SPELLINGS[2], supplier_of("4711")):
        code, out = cli("explain", "--json", text)
        assert code == 0, out
        reported = json.loads(out)
        wanted = text if text not in TEXTS and text not in SPELLINGS else supplier_of(text)
        assert reported["supplier_id"] == wanted
        assert reported["external_id"] == (
            text if text in TEXTS else "4711" if text == supplier_of("4711") else None
        )
        assert cli("mail", "list", "--json", "--supplier", text)[0] == 0
    code, out = cli("mail", "list", "--supplier", "x" * 201)
    assert (code, "text of 1 to 200 characters" in out.replace("\n", " ")) == (2, True)

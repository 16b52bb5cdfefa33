"""What the platform answers when its session is over or it is broken: nothing of it is sent on as a token."""

import pytest
from playwright.sync_api import Page, expect

from helpers_foreign import Answer, Reply, foreign_site, json_answer
from helpers_host import Host
from helpers_host import chromium as chromium
from helpers_host import host as host
from helpers_host import site as site
from helpers_platform import sign, wait_until
from helpers_visit import coach, heard, needs_chromium, opener, panel

pytestmark = needs_chromium
JWT = "eyJhbGciOiJub25lIn0.eyJzdWIiOiIxIn0."

# what the address of the token says when nobody is signed in
ENDED: dict[str, Reply | Answer] = {
    "a page with umlauts": (
        "text/html",
        "<!doctype html>\n<title>Anmeldung nötig – bitte</title>\n<form><input></form>",
    ),
    "a page in one line of ASCII": (
        "text/html",
        "<!doctype html><title>Sign in</title><form><input name=email></form>",
    ),
    "an error in JSON": json_answer({"error": "session_expired", "login": "/sign-in"}),
    "a token of null": json_answer({"token": None}),
    "a token of a number": json_answer({"token": 5}),
    "a token in a token": json_answer({"token": {"token": JWT + "abc"}}),
    "null": json_answer(None),
    "a list": json_answer([JWT + "abc"]),
    "a word": ("text/plain", "unauthorised"),
    "two dots, and blanks": ("text/plain", "please sign. in. again"),
    "nothing": ("text/plain", ""),
    "blanks": ("text/plain", " \r\n\t "),
    "no content": Reply(204),
    "a broken token": ("text/plain", JWT + "ab\ncd"),
    "a token with a header behind it": json_answer({"token": JWT + "abc\r\nX-Other: 1"}),
    "no signature": ("text/plain", JWT),
    "characters beyond ASCII": json_answer({"token": JWT + "größe"}),
    "a zero": json_answer({"token": JWT + "abc\0"}),
    "a token of 5,000 characters": ("text/plain", JWT + "a" * 5000),
    "a page of three million characters": ("text/html", "<p>Sign in</p>" + "a.b.c " * 500_000),
    "bytes": ("application/octet-stream", bytes(range(256)) * 4),
    "half a JSON": ("application/json", '{"token": "' + JWT),
    "refused": Reply(401, "text/html", "<title>Sign in</title>"),
    "away to this site's page": Reply(302, headers={"Location": "/"}),
    "away for good": Reply(308, headers={"Location": "/"}),
}


def settle(page: Page) -> None:
    """Let anything that is still to be asked be asked: two turns of the clock in the browser's own time."""
    page.clock.run_for(300_000)


@pytest.mark.parametrize("answer", ENDED)
def test_a_session_that_is_over_ends_the_coach_in_inactivity(host: Host, answer: str) -> None:
    host.token = ENDED[answer]
    page = host.page(clock=True)
    wait_until(page, lambda: bool(heard(page, "error")), "the page is notified")
    settle(page)
    assert [one["status"] for one in heard(page, "error")] == [401], "notified once"
    expect(opener(page)).to_be_hidden()
    expect(panel(page)).to_be_hidden()
    redirected = answer.startswith("away")
    assert host.bearers == [] and host.asked == 1 + redirected, (
        "nothing is sent on, and nobody insists"
    )
    host.token = None
    coach(page).evaluate("coach => coach.refresh()")
    expect(opener(page)).to_have_accessible_name("Your coach, 1 of 5 done")


def test_signing_in_on_another_site_is_an_ended_session(host: Host) -> None:
    """The browser lets nobody read what lies behind; to the coach it must not look like a broken line."""
    with foreign_site(
        {"/*": ("text/html", "<title>Sign in</title>")}, "default-src 'self'"
    ) as elsewhere:
        host.token = Reply(302, headers={"Location": elsewhere + "/sign-in"})
        page = host.page(clock=True)
        wait_until(page, lambda: bool(heard(page, "error")), "the page is notified")
        settle(page)
    assert [one["status"] for one in heard(page, "error")] == [401] and host.bearers == []
    expect(opener(page)).to_be_hidden()


def test_a_token_that_moved_or_has_blanks_around_it_is_taken(host: Host) -> None:
    good = sign(host.key, host.supplier)
    for reply in (
        ("text/plain", f"\ufeff {good}\r\n"),
        json_answer(good),
        json_answer({"token": good + "\n"}),
    ):
        host.token = reply
        page = host.ready()
        assert set(host.bearers) == {f"Bearer {good}"} and heard(page, "error") == []
        host.clear()
    host.token = Reply(307, headers={"Location": "/moved"})
    host.moved = json_answer({"token": good})
    page = host.ready()
    assert set(host.bearers) == {f"Bearer {good}"} and heard(page, "error") == []


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("(await fetch('/')).json().then((answer) => answer.token)", 401),
        ("Promise.reject(Object.assign(new Error('expired'), { status: 403 }))", 403),
        ("Promise.reject(Object.assign(new Error('expired'), { response: { status: 401 } }))", 401),
        ("undefined", 401),
        ("({ token: 'a.b.c' })", 401),
        ("'<title>Sign in</title>'", 401),
    ],
)
def test_a_function_that_gives_no_token_is_the_same(host: Host, code: str, status: int) -> None:
    page = host.page(body="", clock=True)
    page.evaluate(
        f"""() => {{
          const one = document.createElement("everafter-coach");
          globalThis.calls = 0;
          one.getToken = async () => {{ calls++; return await {code}; }};
          document.body.append(one);
        }}"""
    )
    wait_until(page, lambda: bool(heard(page, "error")), "the page is notified")
    settle(page)
    assert [one["status"] for one in heard(page, "error")] == [status]
    assert page.evaluate("calls") == 1 and host.bearers == []
    expect(opener(page)).to_be_hidden()


@pytest.mark.parametrize(
    "answer", [Reply(500), Reply(503, "text/html", "<title>Soon</title>"), Reply(429), None]
)
def test_what_is_broken_for_a_while_is_asked_again_ever_more_seldom(
    host: Host, answer: Reply | None
) -> None:
    host.token = answer
    page = host.page(clock=True, broken=answer is None)
    wait_until(page, lambda: bool(heard(page, "error")), "the page is notified")
    for _ in range(40):
        page.clock.run_for(15_000)
        wait_until(
            page, lambda: len(heard(page, "error")) == host.sent, "each question has its answer"
        )
    reported = len(heard(page, "error"))
    assert 5 <= reported <= 22, "ten minutes: at most each minute, after the first few"
    assert {one.get("status") for one in heard(page, "error")} == {
        answer.status if answer else None
    }
    expect(opener(page)).to_be_visible()
    assert host.bearers == []
    host.token = None
    host.repair(page)
    coach(page).evaluate("coach => coach.refresh()")
    expect(opener(page)).to_have_accessible_name("Your coach, 1 of 5 done")

"""Signing in and out over real HTTP: cookies, sessions, forms, throttling."""

import re
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import httpx
import psycopg
import pytest

from everafter.accounts import passwords
from everafter.accounts.model import ACCOUNT_FAILURES, ADDRESS_FAILURES
from everafter.core.settings import Settings
from helpers_pages import HTML, PASSWORD, add_user, browser, form_token, signed_in, try_sign_in
from helpers_server import Server, serving


@pytest.fixture
def client(server: Server) -> Iterator[httpx.Client]:
    add_user(server)
    with browser(server) as made:
        yield made


def is_in(client: httpx.Client) -> bool:
    return client.get("/").status_code == 200


@pytest.fixture
def hashes(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Counts the real verifications, and the most at once."""
    seen = {"made": 0, "now": 0, "most": 0}
    lock, real = threading.Lock(), passwords._is_correct

    def watched(password: str, password_hash: str) -> bool:
        with lock:
            seen["made"] += 1
            seen["now"] += 1
            seen["most"] = max(seen["most"], seen["now"])
        try:
            return real(password, password_hash)
        finally:
            with lock:
                seen["now"] -= 1

    monkeypatch.setattr(passwords, "_is_correct", watched)
    return seen


def test_pages_require_sign_in(client: httpx.Client) -> None:
    for path in (
        "/",
        "/?band=critical",
        "/portfolio.csv",
        "/interventions",
        "/messages",
        f"/suppliers/{'0' * 8}-0000-0000-0000-{'0' * 12}",
    ):
        answer = client.get(path)
        assert answer.status_code == 303 and answer.headers["location"].startswith("/sign-in")
    assert client.get("/?band=critical").headers["location"] == "/sign-in?next=/%3Fband%3Dcritical"
    program = client.get("/", headers={"accept": "application/json"})
    assert (
        program.status_code == 401 and program.headers["content-type"] == "application/problem+json"
    )


def test_signing_in_and_out(server: Server, client: httpx.Client) -> None:
    answer = try_sign_in(client, " MIA@example.com ", next="/messages?status=queued")
    assert answer.status_code == 303 and answer.headers["location"] == "/messages?status=queued"
    cookie = next(
        line
        for line in answer.headers.get_list("set-cookie")
        if line.startswith("everafter-session=")
    )
    assert (
        "HttpOnly" in cookie
        and "SameSite=lax" in cookie
        and "Path=/" in cookie
        and "Secure" not in cookie
    )
    page = client.get("/")
    assert page.status_code == 200 and "Mia Member" in page.text
    token = client.cookies["everafter-session"]
    assert len(token) >= 43
    assert token.encode() not in b"".join(
        bytes(row[0]) for row in server.sql("SELECT token_hash FROM sessions")
    )
    out = client.post("/sign-out", data={"csrf": form_token(page.text)})
    assert out.status_code == 303
    assert server.sql("SELECT count(*) FROM sessions") == [(0,)]
    client.cookies.set("everafter-session", token, domain="127.0.0.1", path="/")
    assert not is_in(client)


def test_sign_in_returns_to_paths_with_any_characters(client: httpx.Client) -> None:
    for wanted, location in (
        ("/☃?q=Zoë", "/%E2%98%83?q=Zo%C3%AB"),
        ("/?q=Zo%C3%AB&b=1#x", "/?q=Zo%C3%AB&b=1#x"),
        ("/a\nb", "/"),
    ):
        answer = try_sign_in(client, "mia@example.com", next=wanted)
        assert (answer.status_code, answer.headers.get("location")) == (303, location)


def test_every_page_has_security_headers_and_no_inline_script(client: httpx.Client) -> None:
    try_sign_in(client, "mia@example.com")
    for path in ("/", "/interventions", "/messages", "/nowhere", "/sign-in"):
        answer = client.get(path)
        policy = answer.headers["content-security-policy"]
        assert (
            "default-src 'none'" in policy
            and "unsafe" not in policy
            and "frame-ancestors 'none'" in policy
        )
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert not re.search(r"<script(?![^>]* src=)|\son[a-z]+=|\sstyle=|javascript:", answer.text)


def test_each_sign_in_creates_a_new_session(server: Server, client: httpx.Client) -> None:
    client.cookies.set("everafter-session", "chosen-by-an-attacker", domain="127.0.0.1", path="/")
    try_sign_in(client, "mia@example.com")
    first = client.cookies["everafter-session"]
    assert first != "chosen-by-an-attacker"
    try_sign_in(client, "mia@example.com")
    assert client.cookies["everafter-session"] != first
    assert server.sql("SELECT count(*) FROM sessions") == [(1,)], "the old session is no more"


def test_https_cookies_have_the_host_prefix(settings: Settings) -> None:
    with serving(replace(settings, base_url="https://cs.example.com")) as server:
        add_user(server)
        with browser(server) as client:
            form = client.get("/sign-in")
            assert "max-age" in form.headers["strict-transport-security"]
            nonce = re.search(
                r"__Host-everafter-form=([^;]+); .*Secure", form.headers["set-cookie"]
            )
            assert nonce
            # http over loopback: the client would not send back a Secure cookie, a browser over https does
            answer = client.post(
                "/sign-in",
                data={
                    "csrf": form_token(form.text),
                    "email": "mia@example.com",
                    "password": PASSWORD,
                },
                headers={"cookie": f"__Host-everafter-form={nonce[1]}"},
            )
            assert answer.status_code == 303
            cookie = next(
                line
                for line in answer.headers.get_list("set-cookie")
                if "everafter-session" in line
            )
            assert cookie.startswith("__Host-everafter-session=")
            assert "Secure" in cookie and "Path=/" in cookie and "Domain" not in cookie


def test_wrong_passwords_and_unknown_addresses_get_the_same_answer(
    server: Server, client: httpx.Client, hashes: dict[str, int]
) -> None:
    server.sql(
        "INSERT INTO users (email, name, role) VALUES ('nologin@example.com', 'No Login', 'member')"
    )
    texts: set[str] = set()
    for email in (
        "mia@example.com",
        "nobody@example.com",
        "nologin@example.com",
        "success@everafter.invalid",
    ):
        before = hashes["made"]
        answer = try_sign_in(client, email, "not the password")
        assert answer.status_code == 401 and "everafter-session" not in client.cookies
        assert hashes["made"] == before + 1, (
            "the same work is done whether there is such a user or not"
        )
        texts.add(answer.text.replace(email, "…"))
    assert len(texts) == 1


def test_sign_in_requires_the_csrf_token_of_the_same_browser(
    server: Server, client: httpx.Client
) -> None:
    token = form_token(client.get("/sign-in").text)
    good = {"csrf": token, "email": "mia@example.com", "password": PASSWORD}
    for fields, headers in (
        ({**good, "csrf": ""}, {}),
        ({**good, "csrf": "x" * 64}, {}),
        (good, {"sec-fetch-site": "cross-site"}),
        (good, {"origin": "http://evil.example"}),
    ):
        assert client.post("/sign-in", data=fields, headers=headers).status_code == 403
    with browser(server) as other:
        assert other.post("/sign-in", data=good).status_code == 403, (
            "a token is of one browser only"
        )
    assert (
        client.post("/sign-in", data=good, headers={"sec-fetch-site": "same-origin"}).status_code
        == 303
    )


def test_another_site_cannot_sign_a_user_out(client: httpx.Client) -> None:
    try_sign_in(client, "mia@example.com")
    token = form_token(client.get("/").text)
    for fields, headers in (
        ({}, {}),
        ({"csrf": "wrong"}, {}),
        ({"csrf": token}, {"sec-fetch-site": "cross-site"}),
        ({"csrf": token}, {"origin": "http://evil.example"}),
    ):
        answer = client.post("/sign-out", data=fields, headers=headers)
        assert answer.status_code == 403 and "text/html" in answer.headers["content-type"]
    assert is_in(client)


@pytest.mark.parametrize(
    "aged",
    [
        "last_seen_at = now() - interval '12 hours 1 minute'",
        "expires_at = now() - interval '1 second'",
    ],
)
def test_sessions_end_when_idle_and_at_their_maximum_age(
    server: Server, client: httpx.Client, aged: str
) -> None:
    try_sign_in(client, "mia@example.com")
    assert is_in(client)
    ((seconds,),) = server.sql("SELECT extract(epoch FROM expires_at - created_at) FROM sessions")
    assert seconds == 7 * 86400
    server.sql("UPDATE sessions SET " + aged)
    assert not is_in(client)


def test_a_request_renews_the_idle_limit_of_a_session(server: Server, client: httpx.Client) -> None:
    try_sign_in(client, "mia@example.com")
    server.sql("UPDATE sessions SET last_seen_at = now() - interval '11 hours'")
    assert is_in(client)
    assert server.sql("SELECT last_seen_at > now() - interval '1 minute' FROM sessions") == [
        (True,)
    ]


def test_changes_and_removal_of_a_user_apply_at_once(server: Server, client: httpx.Client) -> None:
    try_sign_in(client, "mia@example.com")
    server.sql("UPDATE users SET name = 'Mia Renamed'")
    assert "Mia Renamed" in client.get("/").text
    server.sql("DELETE FROM users WHERE email = 'mia@example.com'")
    assert not is_in(client)


def test_an_account_is_throttled_until_the_window_ends(
    server: Server, client: httpx.Client, hashes: dict[str, int]
) -> None:
    add_user(server, "other@example.com")
    for _ in range(ACCOUNT_FAILURES):
        assert try_sign_in(client, "mia@example.com", "wrong").status_code == 401
    made = hashes["made"]
    answer = try_sign_in(client, "mia@example.com")
    assert answer.status_code == 429 and 0 < int(answer.headers["retry-after"]) <= 900
    assert "15 min" in answer.text and hashes["made"] == made, (
        "nothing is hashed for one who is throttled"
    )
    with browser(server) as elsewhere:
        assert try_sign_in(elsewhere, "other@example.com").status_code == 303
    server.sql("UPDATE sign_in_failures SET until = now() - interval '1 second'")
    assert try_sign_in(client, "mia@example.com").status_code == 303


def test_a_successful_sign_in_resets_the_accounts_failures(
    server: Server, client: httpx.Client
) -> None:
    for _ in range(3):
        for _ in range(ACCOUNT_FAILURES - 1):
            assert try_sign_in(client, "mia@example.com", "wrong").status_code == 401
        server.sql("DELETE FROM sign_in_failures WHERE bucket LIKE 'address:%%'")
        assert try_sign_in(client, "mia@example.com").status_code == 303


def test_an_address_is_throttled_across_accounts(server: Server, client: httpx.Client) -> None:
    server.sql(
        "INSERT INTO sign_in_failures VALUES ('address:127.0.0.1', %s, now() + interval '10 minutes')",
        ADDRESS_FAILURES,
    )
    for email in ("mia@example.com", "stranger@example.com"):
        assert try_sign_in(client, email).status_code == 429


def test_at_most_two_passwords_are_hashed_at_once(
    server: Server, client: httpx.Client, hashes: dict[str, int]
) -> None:
    emails = [add_user(server, f"m{place}@example.com") for place in range(12)]

    def enter(email: str) -> int:
        with browser(server) as one:
            return try_sign_in(one, email).status_code

    with ThreadPoolExecutor(12) as threads:
        assert set(threads.map(enter, emails)) == {303}
    assert hashes["most"] <= 2


def test_parallel_guesses_do_not_exceed_the_limit(server: Server, client: httpx.Client) -> None:
    def guess(_: int) -> int:
        with browser(server) as one:
            return try_sign_in(one, "mia@example.com", "wrong").status_code

    with ThreadPoolExecutor(16) as threads:
        answers = list(threads.map(guess, range(24)))
    assert answers.count(401) == ACCOUNT_FAILURES and answers.count(429) == 24 - ACCOUNT_FAILURES


def test_large_and_malformed_forms_are_rejected(client: httpx.Client) -> None:
    token = form_token(client.get("/sign-in").text)
    assert (
        client.post("/sign-in", data={"csrf": token, "password": "x" * 100_000}).status_code == 413
    )
    for body in (b"\xff\xfe=%zz&csrf", b"", b"email=a&email=b"):
        answer = client.post(
            "/sign-in", content=body, headers={"content-type": "application/x-www-form-urlencoded"}
        )
        assert answer.status_code == 403
    try_sign_in(client, "mia@example.com")
    for kind, value in ((b"", b"\xff"), (b"Content-Type: text/plain; charset=nobodys\r\n", b"x"),
                        (b"Content-Type: text/plain; charset=unicode_escape\r\n", b"\\ud800")):  # fmt: skip
        part = (
            b'--x\r\nContent-Disposition: form-data; name="email"\r\n'
            + kind
            + b"\r\n"
            + value
            + b"\r\n--x--\r\n"
        )
        for path in ("/sign-in", "/sign-out"):
            answer = client.post(
                path, content=part, headers={"content-type": "multipart/form-data; boundary=x"}
            )
            assert answer.status_code == 400 and "This form cannot be read" in answer.text
    nul = try_sign_in(client, "mia@example.com\0", "x")
    assert nul.status_code == 401


def test_errors_are_html_for_browsers_and_problem_json_for_programs(server: Server) -> None:
    with signed_in(server) as client:
        for path, status in (
            ("/nowhere", 404),
            ("/?sort=nonsense", 400),
            ("/suppliers/not-a-uuid", 404),
        ):
            page = client.get(path)
            assert (
                page.status_code == status
                and page.headers["content-type"].startswith("text/html")
                and "<h1>" in page.text
            )
            program = client.get(path, headers={"accept": "*/*"})
            assert (
                program.status_code == status
                and program.headers["content-type"] == "application/problem+json"
            )
        assert client.get("/api/nowhere").headers["content-type"] == "application/problem+json"


def test_an_internal_error_page_shows_no_details(server: Server) -> None:
    with signed_in(server) as client:
        server.sql("ALTER TABLE runs RENAME TO runs_away")
        page = client.get("/")
        assert page.status_code == 500 and "Something went wrong" in page.text
        assert "runs" not in page.text and "Traceback" not in page.text


def test_without_a_database_pages_answer_503(server: Server) -> None:
    with signed_in(server) as client:
        name = server.sql("SELECT current_database()")[0][0]
        with psycopg.connect(
            psycopg.conninfo.make_conninfo(server.database, dbname="postgres"), autocommit=True
        ) as conn:
            conn.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
            conn.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name]
            )
            try:
                began = time.monotonic()
                page = client.get("/")
                assert page.status_code == 503 and "The database does not answer" in page.text
                assert page.headers["retry-after"] == "5" and time.monotonic() - began < 10
                assert (
                    client.get("/", headers={"accept": "*/*"}).json()["code"]
                    == "database_unavailable"
                )
            finally:
                conn.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')


def test_static_files_are_immutable_and_no_other_file_is_served(server: Server) -> None:
    with browser(server) as client:
        sheet = re.search(
            r'href="(/static/everafter\.css\?v=[0-9a-f]{12})"', client.get("/sign-in").text
        )
        assert sheet
        answer = client.get(sheet[1])
        assert answer.status_code == 200 and "immutable" in answer.headers["cache-control"]
        assert (
            client.get("/static/fonts/newsreader-latin.woff2").headers["content-type"]
            == "font/woff2"
        )
        for path in (
            "/static/../app.py",
            "/static/%2e%2e/app.py",
            "/static/..%2fapp.py",
            "/static/fonts",
            "/static/nothing",
        ):
            assert client.get(path, headers=HTML).status_code == 404

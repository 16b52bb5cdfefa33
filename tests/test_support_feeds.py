"""An advisor's calendar over HTTP: what is fetched, what is refused, what stays when it breaks; and the commands that set it."""

import asyncio
import gzip
import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, date, datetime, time, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from everafter.cli import app as cli
from everafter.core.addresses import is_public
from everafter.core.db import connection
from everafter.core.settings import Settings
from everafter.doctor import examine
from everafter.support import feeds
from everafter.support.calendar_queries import get_feed, upsert_feed
from everafter.support.feeds import FeedError, fetch_calendar
from everafter.support.jobs import read_calendar, read_due_calendars
from everafter.support.model import Feed, FeedReport
from helpers_mail import sql, with_pool
from helpers_server import Server
from test_support_calendars import calendar
from test_support_calls import add_supplier, slots, working_day

ADVISOR = "success@everafter.invalid"
EVENT = "DTSTART:{:%Y%m%dT%H%M%SZ}\nDURATION:PT1H"


class Site:
    """What a calendar's address answers: status, headers, body; and what it was asked."""

    def __init__(self) -> None:
        self.status, self.headers, self.body = 200, {"Content-Type": "text/calendar"}, calendar()
        self.asked: list[dict[str, str]] = []
        self.wait = threading.Event()
        self.slow = self.cut = False
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/private-abc/basic.ics"


@contextmanager
def serve_site(tls: ssl.SSLContext | None = None) -> Iterator[Site]:
    site = Site()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            site.asked.append({name.lower(): value for name, value in self.headers.items()} | {"path": self.path})
            if site.headers.get("ETag") and self.headers.get("If-None-Match") == site.headers["ETag"]:
                self.send_response(304)
                self.end_headers()
                return
            self.send_response(site.status)
            for name, value in site.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(site.body) + (50 if site.cut else 0)))
            self.end_headers()
            self.wfile.write(site.body[:10])
            self.wfile.flush()
            if site.slow:
                site.wait.wait(20)
            self.wfile.write(site.body[10:])

        def log_message(self, *_: Any) -> None:
            """Silent."""

        def handle(self) -> None:
            with suppress(ConnectionError, ssl.SSLError):  # who asks may hang up when it has heard enough
                super().handle()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if tls:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    site.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield site
    finally:
        site.wait.set()
        server.shutdown()
        thread.join(10)
        server.server_close()


@pytest.fixture
def site() -> Iterator[Site]:
    with serve_site() as running:
        yield running


def set_feed(database: str, url: str, *, allow_private: bool = True) -> None:
    async def run() -> None:
        async with connection(database) as conn:
            cursor = await conn.execute("SELECT id FROM users WHERE email = %s", [ADVISOR])
            row = await cursor.fetchone()
            assert row
            await upsert_feed(conn, row[0], url, allow_private=allow_private)

    asyncio.run(run())


def read(database: str, now: datetime | None = None) -> FeedReport:
    async def run() -> FeedReport:
        async with connection(database) as conn:
            feed = await get_feed(conn, ADVISOR)
        return await read_calendar(lambda: connection(database), feed, now)

    return asyncio.run(run())


def busy(database: str) -> list[tuple[datetime, datetime]]:
    return [(a, b) for a, b in sql(database, "SELECT starts_at, ends_at FROM busy_times ORDER BY 1")]


def at(hour: float, days_ahead: int = 3) -> datetime:
    return working_day(days_ahead) + timedelta(hours=hour)


# ── reading ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_busy_times_are_not_offered_nor_booked(server: Server, site: Site) -> None:
    supplier = add_supplier(server)
    site.body = calendar(EVENT.format(at(10)), f"DTSTART;VALUE=DATE:{at(0, 4):%Y%m%d}")
    set_feed(server.database, site.url)
    report = read(server.database)
    assert (report.busy, report.events, report.unread, report.failure) == (2, 2, 0, None)
    with server.client("write") as client:
        starts = {datetime.fromisoformat(slot["starts_at"]) for slot in slots(client, supplier)}
        body = {"supplier_id": supplier, "type": "check_in", "starts_at": at(10.5).isoformat()}
        taken = client.post("/api/support/schedule-call", json=body)
    assert {at(9.5), at(11)} <= starts and not starts & {at(9.75), at(10), at(10.75)}
    assert not any(at(0, 4) <= start < at(24, 4) for start in starts)
    assert (taken.status_code, taken.json()["reason"]) == (409, "taken") and taken.json()["next_free"]


def test_our_own_call_that_comes_back_does_not_stand_in_its_own_way(server: Server, site: Site) -> None:
    supplier = add_supplier(server)
    with server.client("write") as client:
        body = {"supplier_id": supplier, "type": "check_in", "starts_at": at(10).isoformat()}
        call = client.post("/api/support/schedule-call", json=body).json()
        invitation = client.get(call["ics_url"].removeprefix(server.settings.base_url)).text
        event = invitation[invitation.index("UID:") : invitation.index("END:VEVENT")].strip()
        site.body = calendar(event.replace("\r\n", "\n"), EVENT.format(at(14)))
        set_feed(server.database, site.url)
        assert (read(server.database).busy, busy(server.database)) == (1, [(at(14), at(15))])
        address = f"/api/support/calls/{call['interaction_id']}"
        moved = client.post(f"{address}/reschedule", json={"supplier_id": supplier, "starts_at": at(10.25).isoformat()})
        client.post(f"{address}/cancel", json={"supplier_id": supplier})
        read(server.database)  # the advisor's calendar shows the cancelled call still
        again = client.post("/api/support/schedule-call", json=body)
    assert moved.status_code == 200, moved.text
    assert again.status_code == 201


def test_only_a_calendar_that_changed_is_read_again_and_all_of_them_once_a_day(database: str, site: Site) -> None:
    site.body, site.headers = calendar(EVENT.format(at(10))), {"ETag": '"one"', "Last-Modified": "Sun, 22 Nov 2026 10:00:00 GMT"}
    set_feed(database, site.url)
    assert read(database).changed
    assert not read(database).changed
    assert site.asked[1]["if-none-match"] == '"one"' and site.asked[1]["if-modified-since"].startswith("Sun")
    assert len(busy(database)) == 1
    assert read(database, datetime.now(UTC) + timedelta(hours=21)).changed, "its repeated events reach further every day"
    assert "if-none-match" not in site.asked[2]


def test_a_mark_that_cannot_be_sent_back_is_not_kept(database: str, site: Site) -> None:
    site.body, site.headers = calendar(EVENT.format(at(10))), {"ETag": '"caf\u00e9"', "Last-Modified": "l\u00fcgt"}
    set_feed(database, site.url)
    assert [read(database).failure, read(database).failure] == [None, None]
    assert "if-none-match" not in site.asked[1] and "if-modified-since" not in site.asked[1]


def broken(body: bytes = b"", status: int = 200, **headers: str) -> Callable[[Site], None]:
    def breaks(site: Site) -> None:
        site.status, site.body = status, body
        site.headers = {name.replace("_", "-"): value for name, value in headers.items()}

    return breaks


def cut(site: Site) -> None:
    site.cut = True


@pytest.mark.parametrize(
    ("breaks", "says"),
    [
        (broken(b"<html>sign in</html>"), "it is no calendar: it begins with '<html>"),
        (broken(b"\x00\xff" * 500), "it is no calendar"),
        (broken(), "it is empty"),
        (broken(calendar(EVENT.format(at(10)))[:-30]), "it ends in the middle"),
        (broken(gzip.compress(calendar())[:-12], Content_Encoding="gzip"), "it ends in the middle"),
        (broken(b"not gzip", Content_Encoding="gzip"), "cannot be unpacked"),
        (broken(b"x", Content_Encoding="br"), "it comes packed as br"),
        (broken(gzip.compress(b" " * 11_000_000), Content_Encoding="gzip"), "it is larger than 10 MB"),
        (broken(b"no", 404), "127.0.0.1 answered 404 Not Found"),
        (broken(b"no", 500), "127.0.0.1 answered 500"),
        (broken(b"", 304), "127.0.0.1 answered 304 Not Modified though nothing was known of it"),
        (broken(b"", 302, Location="/private-abc/basic.ics"), "leads on to other addresses more than 3 times"),
        (broken(b"", 302, Location="file:///etc/passwd"), "no http or https address"),
        (broken(b"", 302, Location="gopher://127.0.0.1/"), "no http or https address"),
        (broken(b"", 302, Location="http://[bad"), "no address"),
        (broken(b"", 302, Location="http://127.0.0.1:99999/"), "no http or https address"),
        (broken(b"", 302, Location="http://xn--a/"), "127.0.0.1: "),
        (cut, "127.0.0.1: "),
    ],
)
def test_a_broken_calendar_keeps_what_was_known(database: str, site: Site, breaks: Callable[[Site], None], says: str) -> None:
    site.body = calendar(EVENT.format(at(10)))
    set_feed(database, site.url)
    read(database)
    sql(database, "UPDATE calendar_feeds SET worked_out_at = NULL")
    breaks(site)
    report = read(database)
    assert says in (report.failure or ""), report
    assert "private-abc" not in (report.failure or ""), "the address is a secret"
    assert busy(database) == [(at(10), at(11))]
    assert sql(database, "SELECT failure, read_at IS NOT NULL FROM calendar_feeds") == [(report.failure, True)]
    site.status, site.headers, site.body, site.cut = 200, {}, calendar(EVENT.format(at(12))), False
    assert read(database).failure is None
    assert busy(database) == [(at(12), at(13))]
    assert sql(database, "SELECT failure FROM calendar_feeds") == [(None,)]


def test_a_calendar_that_never_comes_is_given_up(database: str, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeds, "FETCH_SECONDS", 0.5)
    site.slow = True
    set_feed(database, site.url)
    assert read(database).failure == "127.0.0.1 did not give it within 0 s"


def test_nobody_there(database: str) -> None:
    set_feed(database, "http://127.0.0.1:9/x.ics")
    assert (read(database).failure or "").startswith("127.0.0.1: ")


def test_the_worker_reads_each_calendar_once_in_ten_minutes_and_tells_of_trouble_once(database: str, site: Site) -> None:
    site.body = calendar(EVENT.format(at(10)))
    set_feed(database, site.url)

    async def four(pool: Any) -> list[str | None]:
        return list(await asyncio.gather(*(read_due_calendars(pool) for _ in range(4))))

    assert with_pool(database, four) == [None] * 4
    assert len(site.asked) == 1 and len(busy(database)) == 1
    assert with_pool(database, read_due_calendars) is None and len(site.asked) == 1
    site.status = 500
    told: list[str | None] = []
    for _ in range(2):
        sql(database, "UPDATE calendar_feeds SET tried_at = now() - interval '11 minutes'")
        told.append(with_pool(database, read_due_calendars))
    assert told[0] and "the calendar of success@everafter.invalid cannot be read: 127.0.0.1 answered 500" in told[0]
    assert told[1] is None
    assert len(busy(database)) == 1


def test_a_calendar_that_was_replaced_meanwhile_does_not_count(database: str, site: Site) -> None:
    site.body = calendar(EVENT.format(at(10)))
    set_feed(database, site.url)

    async def late() -> FeedReport:
        async with connection(database) as conn:
            feed = await get_feed(conn, ADVISOR)
            await conn.execute("UPDATE calendar_feeds SET url = 'https://elsewhere.example/x.ics'")
        return await read_calendar(lambda: connection(database), feed)

    asyncio.run(late())
    assert busy(database) == []


# ── where an address may lead ─────────────────────────────────────────────────────────────────────────────────────────

INSIDE = (
    *("127.0.0.1", "127.9.9.9", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1"),
    *("198.18.0.1", "224.0.0.1", "255.255.255.255", "::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "ff02::1"),
    *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "2002:7f00:1::", "2002:0a00:0001::1", "64:ff9b::7f00:1", "::127.0.0.1", "2001:db8::1"),
    *("64:ff9b:1::7f00:1", "64:ff9b:1:a00:0:1::", "::ffff:0:127.0.0.1", "::ffff:0:1.1.1.1", "::1.1.1.1", "fec0::1", "feff::1"),
    *("2001:0:a00:1::", "5f00::1", "64:ff9b::a9fe:a9fe"),
)


@pytest.mark.parametrize("address", INSIDE)
def test_addresses_inside_a_network_are_known(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["93.184.215.14", "1.1.1.1", "2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101"])
def test_addresses_of_the_internet_are_known(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:{port}/",
        "http://localhost:{port}/",
        "http://[::1]:{port}/",
        "http://2130706433:{port}/",
        "http://0x7f.1:{port}/",
        "http://[::ffff:127.0.0.1]:{port}/",
        "http://0.0.0.0:{port}/",
        "http://user:password@127.0.0.1:{port}/",
    ],
)
def test_no_request_goes_into_the_own_network_unless_allowed(database: str, site: Site, url: str) -> None:
    set_feed(database, url.format(port=site.port), allow_private=False)
    failure = read(database).failure or ""
    assert "an address inside a network" in failure or "no address" in failure
    assert "password" not in failure
    assert site.asked == []


def feed(url: str, *, allow_private: bool) -> Feed:
    return Feed(None, ADVISOR, "UTC", url, allow_private)  # type: ignore[arg-type]


def test_a_name_is_looked_up_once_and_that_very_address_is_asked(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that is public when it is checked and private when it is connected to (DNS rebinding) is connected to as checked."""
    looked_up: list[str] = []

    async def resolve(host: str, port: int, *, allow_private: bool) -> list[str]:
        looked_up.append(host)
        return ["127.0.0.1"]

    monkeypatch.setattr(feeds, "resolve_address", resolve)
    url = f"http://user:pass@calendar.example:{site.port}/a%20b.ics?token=1#x"
    got = asyncio.run(fetch_calendar(feed(url, allow_private=False), conditional=False))
    assert got.body == site.body and looked_up == ["calendar.example"]
    [asked] = site.asked
    assert (asked["host"], asked["path"]) == (f"calendar.example:{site.port}", "/a%20b.ics?token=1")
    assert asked["authorization"] == "Basic dXNlcjpwYXNz"


def test_each_redirect_is_checked_anew(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    real = feeds.resolve_address

    async def resolve(host: str, port: int, *, allow_private: bool) -> list[str]:
        return ["127.0.0.1"] if host == "calendar.example" else await real(host, port, allow_private=allow_private)

    monkeypatch.setattr(feeds, "resolve_address", resolve)
    site.status, site.headers = 302, {"Location": f"http://169.254.169.254:{site.port}/latest/meta-data"}
    with pytest.raises(FeedError, match=r"169\.254\.169\.254, an address inside a network"):
        url = f"http://user:pass@calendar.example:{site.port}/"
        asyncio.run(fetch_calendar(feed(url, allow_private=False), conditional=False))
    assert len(site.asked) == 1


def test_an_address_that_never_answers_is_passed_over_for_the_next(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    async def resolve(host: str, port: int, *, allow_private: bool) -> list[str]:
        return ["127.0.0.2", "127.0.0.1"]

    monkeypatch.setattr(feeds, "resolve_address", resolve)
    monkeypatch.setattr(feeds, "CONNECT_SECONDS", 0.5)
    site.body = calendar()
    with socket.socket() as deaf, ExitStack() as waiting:
        deaf.bind(("127.0.0.2", site.port))
        deaf.listen(0)
        for _ in range(3):  # the queue of those who are not yet let in is full: nobody hears of the next
            one = waiting.enter_context(socket.socket())
            one.setblocking(False)
            one.connect_ex(("127.0.0.2", site.port))
        found = asyncio.run(fetch_calendar(feed(f"http://calendar.example:{site.port}/", allow_private=True), conditional=False))
    assert found.body == site.body


def test_a_certificate_must_be_of_the_name_though_the_address_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key, certificate = make_certificate(tmp_path, "calendar.example")
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(certificate, key)
    trusting = ssl.create_default_context(cafile=str(certificate))

    async def resolve(host: str, port: int, *, allow_private: bool) -> list[str]:
        return ["127.0.0.1"]

    monkeypatch.setattr(feeds, "resolve_address", resolve)
    with serve_site(serving) as site:
        good = feed(f"https://calendar.example:{site.port}/", allow_private=False)
        other = feed(f"https://other.example:{site.port}/", allow_private=False)
        assert asyncio.run(fetch_calendar(good, conditional=False, tls=trusting)).body == site.body
        with pytest.raises(FeedError, match=r"(?i)certificate"):
            asyncio.run(fetch_calendar(other, conditional=False, tls=trusting))
        with pytest.raises(FeedError, match=r"(?i)certificate"):
            asyncio.run(fetch_calendar(good, conditional=False))


def make_certificate(folder: Path, name: str) -> tuple[Path, Path]:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    who = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(who)
        .issuer_name(who)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    key_file, certificate_file = folder / "key.pem", folder / "certificate.pem"
    plain = serialization.NoEncryption()
    key_file.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain))
    certificate_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return key_file, certificate_file


# ── the commands ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def run(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    monkeypatch.setenv("EVERAFTER_DATABASE_URL", str(settings.database_url))
    monkeypatch.setenv("EVERAFTER_DATA", str(settings.data))

    def invoke(*words: str) -> Any:
        return CliRunner().invoke(cli, ["advisor", *words])

    return invoke


def test_an_advisor_is_set_and_listed(run: Callable[..., Any], database: str) -> None:
    changed = run("set", ADVISOR, "--hours", "08:30-16:15", "--days", "mon-thu", "--timezone", "Europe/London",
                  "--buffer", "30", "--holidays", "gb-eng")  # fmt: skip
    assert changed.exit_code == 0, changed.output
    assert "takes calls mon-thu 08:30-16:15 Europe/London, 30 min free after each, holidays of GB-ENG." in changed.output
    off = run("off", ADVISOR, "2027-02-01", "2027-02-03", "--reason", "Skiing")
    assert "is off for 3 days" in off.output
    assert run("off", ADVISOR, "2027-02-03", "--remove").exit_code == 0
    [listed] = json.loads(run("list", "--json").output)
    assert listed["days_off"] == ["2027-02-01", "2027-02-02"]
    assert {name: listed[name] for name in ("email", "takes_calls", "work_days", "buffer_minutes", "holidays")} == {
        "email": ADVISOR, "takes_calls": True, "work_days": "mon-thu", "buffer_minutes": 30, "holidays": "GB-ENG",
    }  # fmt: skip
    assert listed["next_holidays"]
    assert "GB-ENG" in run("list").output
    assert run("set", ADVISOR, "--no-calls", "--holidays", "none").exit_code == 0
    assert sql(database, "SELECT takes_calls, holidays, buffer_minutes, work_from FROM users") == [(False, None, 30, time(8, 30))]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["set", ADVISOR, "--timezone", "Europe/Berln"], "'Europe/Berln' is not known; did you mean Europe/Berlin"),
        (["set", ADVISOR, "--timezone", "berlin"], "did you mean Europe/Berlin"),
        (["set", ADVISOR, "--holidays", "GB-ENGL"], "did you mean GB-ENG"),
        (["set", ADVISOR, "--holidays", "DE-XX"], "DE has DE-B"),
        (["set", ADVISOR, "--holidays", "England"], "it is ISO 3166"),
        (["set", ADVISOR, "--hours", "9-5"], "not like 09:00-17:00"),
        (["set", ADVISOR, "--days", "weekdays"], "not like mon-fri"),
        (["set", ADVISOR, "--buffer", "20"], "quarters of an hour"),
        (["set", ADVISOR, "--buffer", "135"], "quarters of an hour"),
        (["set", "nobody@example.org", "--buffer", "30"], "there is no user nobody@example.org"),
        (["off", ADVISOR, "24.12.2026"], "is not a day like 2026-12-24"),
        (["off", ADVISOR, "2026-12-24", "2026-12-20"], "is not within a year after"),
        (["calendar", ADVISOR], "give an address"),
        (["calendar", ADVISOR, "ftp://example.org/x"], "not an http or https address"),
        (["calendar", ADVISOR, "https://example.org:99999/x"], "not an http or https address"),
        (["calendar", ADVISOR, "https://xn--a/x"], "is not an address"),
        (["calendar", ADVISOR, "--read"], "no calendar is set"),
    ],
)
def test_what_cannot_be_is_named(run: Callable[..., Any], words: list[str], says: str) -> None:
    done = run(*words)
    assert done.exit_code != 0
    assert says in str(getattr(done.exception, "message", "")), done


def test_a_calendar_is_set_read_shown_and_removed(run: Callable[..., Any], settings: Settings, site: Site) -> None:
    database = str(settings.database_url)
    site.body = calendar(EVENT.format(at(10)), "DTSTART:never")
    refused = run("calendar", ADVISOR, site.url)
    assert refused.exit_code == 1 and "--allow-private permits it" in refused.output
    done = run("calendar", ADVISOR, site.url, "--allow-private")
    assert done.exit_code == 0, done.output
    assert "has 2 events: 1 busy time in the next 100 days; 1 event could not be understood." in done.output
    assert "private-abc" not in run("list").output + run("list", "--json").output, "who has the address reads the calendar"
    site.status = 410
    again = run("calendar", ADVISOR, "--read", "--json")
    assert again.exit_code == 1 and "410" in json.loads(again.output)["failure"]
    checks = asyncio.run(examine(datetime.now(UTC), {"EVERAFTER_DATABASE_URL": database, "EVERAFTER_DATA": str(settings.data)}))
    [calls] = [check for check in checks if check.name == "calls"]
    assert calls.status == "warn" and "410" in calls.found and "private-abc" not in calls.found
    assert f"{ADVISOR}: the calendar cannot be read: " in (listed := run("list").output) and "410" in listed
    assert len(busy(database)) == 1
    assert run("calendar", ADVISOR, "--remove").exit_code == 0
    assert busy(database) == [] and sql(database, "SELECT count(*) FROM calendar_feeds") == [(0,)]


def test_holidays_and_days_off_are_not_offered(server: Server, run: Callable[..., Any]) -> None:
    supplier = add_supplier(server)
    assert run("set", ADVISOR, "--holidays", "DE", "--days", "mon-sun").exit_code == 0
    off = datetime.now(UTC).date() + timedelta(days=40)
    assert run("off", ADVISOR, off.isoformat()).exit_code == 0
    days: set[date] = set()
    with server.client("read") as client:
        for step in range(0, 62, 31):
            start = (datetime.now(UTC) + timedelta(days=step)).date().isoformat()
            days |= {
                datetime.fromisoformat(slot["starts_at"]).date() for slot in slots(client, supplier, **{"from": start, "days": 31})
            }
    christmas = {date(year, 12, day) for year in range(2025, 2100) for day in (25, 26)}
    new_year = {date(year, 1, 1) for year in range(2025, 2100)}
    assert len(days) > 50 and off not in days and not days & (christmas | new_year)


def test_days_off_name_the_calls_booked_for_them(server: Server, run: Callable[..., Any]) -> None:
    supplier = add_supplier(server)
    with server.client("write") as client:
        body = {"supplier_id": supplier, "type": "check_in", "starts_at": at(10).isoformat()}
        assert client.post("/api/support/schedule-call", json=body).status_code == 201
    done = run("off", ADVISOR, at(0).date().isoformat())
    assert f"There is a call booked at {at(10):%Y-%m-%d %H:%M} UTC" in done.output

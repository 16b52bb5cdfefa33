"""Calendar URLs cannot lead into private networks unless that is allowed."""

import asyncio
import socket
import ssl
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from everafter.core.addresses import is_public
from everafter.support import feeds
from everafter.support.feeds import FeedError, fetch_calendar
from everafter.support.model import Feed
from helpers_feeds import CSM, Site, read, serve_site, set_feed
from helpers_feeds import site as site
from test_support_calendars import calendar

INSIDE = (
    *(
        "127.0.0.1",
        "127.9.9.9",
        "0.0.0.0",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
    ),
    *(
        "198.18.0.1",
        "224.0.0.1",
        "255.255.255.255",
        "::1",
        "::",
        "fe80::1",
        "fe80::1%eth0",
        "fc00::1",
        "ff02::1",
    ),
    *(
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "2002:7f00:1::",
        "2002:0a00:0001::1",
        "64:ff9b::7f00:1",
        "::127.0.0.1",
        "2001:db8::1",
    ),
    *(
        "64:ff9b:1::7f00:1",
        "64:ff9b:1:a00:0:1::",
        "::ffff:0:127.0.0.1",
        "::ffff:0:1.1.1.1",
        "::1.1.1.1",
        "fec0::1",
        "feff::1",
    ),
    *("2001:0:a00:1::", "5f00::1", "64:ff9b::a9fe:a9fe"),
)


@pytest.mark.parametrize("address", INSIDE)
def test_private_addresses_are_recognized(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    "address", ["93.184.215.14", "1.1.1.1", "2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101"]
)
def test_public_addresses_are_recognized(address: str) -> None:
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
def test_private_networks_are_not_requested_unless_allowed(
    database: str, site: Site, url: str
) -> None:
    set_feed(database, url.format(port=site.port), allow_private=False)
    failure = read(database).failure or ""
    assert "a private address" in failure or "no address" in failure
    assert "password" not in failure
    assert site.asked == []


def feed(url: str, *, allow_private: bool) -> Feed:
    return Feed(None, CSM, "UTC", url, allow_private)  # type: ignore[arg-type]


def test_a_name_is_resolved_once_and_that_address_is_requested(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DNS rebinding: the checked address is the one that is connected to."""
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


def test_each_redirect_is_checked_again(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    real = feeds.resolve_address

    async def resolve(host: str, port: int, *, allow_private: bool) -> list[str]:
        return (
            ["127.0.0.1"]
            if host == "calendar.example"
            else await real(host, port, allow_private=allow_private)
        )

    monkeypatch.setattr(feeds, "resolve_address", resolve)
    site.status, site.headers = (
        302,
        {"Location": f"http://169.254.169.254:{site.port}/latest/meta-data"},
    )
    with pytest.raises(FeedError, match=r"169\.254\.169\.254, a private address"):
        url = f"http://user:pass@calendar.example:{site.port}/"
        asyncio.run(fetch_calendar(feed(url, allow_private=False), conditional=False))
    assert len(site.asked) == 1


def test_an_unresponsive_address_is_skipped_for_the_next(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def resolve(host: str, port: int, *, allow_private: bool) -> list[str]:
        return ["127.0.0.2", "127.0.0.1"]

    monkeypatch.setattr(feeds, "resolve_address", resolve)
    monkeypatch.setattr(feeds, "CONNECT_SECONDS", 0.5)
    site.body = calendar()
    with socket.socket() as deaf, ExitStack() as waiting:
        deaf.bind(("127.0.0.2", site.port))
        deaf.listen(0)
        for _ in range(
            3
        ):  # the queue of those who are not yet let in is full: nobody hears of the next
            one = waiting.enter_context(socket.socket())
            one.setblocking(False)
            one.connect_ex(("127.0.0.2", site.port))
        found = asyncio.run(
            fetch_calendar(
                feed(f"http://calendar.example:{site.port}/", allow_private=True), conditional=False
            )
        )
    assert found.body == site.body


def test_a_certificate_must_match_the_name_not_the_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
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
    key_file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    )
    certificate_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return key_file, certificate_file

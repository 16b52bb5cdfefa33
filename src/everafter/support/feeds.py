"""Fetching a CSM's calendar from an address they gave: bounded in time, size and redirects, and
never into the own network unless that was allowed. What came is worked out in a process of its own
(calendars.py)."""

import asyncio
import os
import re
import ssl
import sys
import zlib
from dataclasses import dataclass
from urllib.parse import urljoin

import httpx
import msgspec

from everafter.core.addresses import resolve_address
from everafter.core.errors import InputError
from everafter.support.model import Feed, FeedTask, FeedTimes

MOST_BYTES = 10_000_000
FETCH_SECONDS = 30.0
CONNECT_SECONDS = 5.0
WORK_SECONDS = 60.0  # by the clock; the time it computes is bounded by itself, at a quarter of this
_MOST_REDIRECTS = 3
_REDIRECTS = {301, 302, 303, 307, 308}
# The child needs Python's own places and nothing of ours: no database, no secret.
_KEPT_ENVIRONMENT = (
    "PATH",
    "PYTHONPATH",
    "PYTHONHOME",
    "VIRTUAL_ENV",
    "LD_LIBRARY_PATH",
    "SYSTEMROOT",
    "LANG",
    "TZDIR",
)


_BEFORE_SCHEME = re.compile(
    r"^(?:(?:webcals?|feed):(?://)?)(?=(?:webcals?|https?):)", re.IGNORECASE
)
_CALENDAR_SCHEME = re.compile(r"^(?:webcals?|feed):", re.IGNORECASE)


class FeedError(InputError):
    """A calendar cannot be read; the message says why, without its address, which is a secret."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """What an address gave. body: null when it says that nothing changed since the time we know."""

    body: bytes | None
    etag: str | None = None
    last_modified: str | None = None


def clean_feed_url(text: str) -> str:
    """The address as it is stored.

    Calendars write `webcal:`, `webcals:` or `feed:` for `https:`, in any case, or before the whole
    address.

    Raises:
        InputError: not an http or https address.
    """
    url = _CALENDAR_SCHEME.sub("https:", _BEFORE_SCHEME.sub("", text.strip()))
    try:
        parsed = httpx.URL(url)
        good = (
            parsed.scheme in {"http", "https"} and bool(parsed.host) and _port(parsed) is not None
        )
    except (
        httpx.InvalidURL,
        ValueError,
    ) as error:  # the second: a name in Punycode that means nothing
        raise InputError(f"{text!r} is not an address: {error}") from error
    if not good:
        raise InputError(f"{text!r} is not an http or https address")
    return url


async def fetch_calendar(
    feed: Feed, *, conditional: bool, tls: ssl.SSLContext | None = None
) -> Fetched:
    """Ask the address for the calendar, `conditional`ly only for one that changed.

    Args:
        tls: which authorities to trust; null: those everybody does.

    Raises:
        FeedError: nothing came, or not what can be a calendar.
    """
    try:
        url = httpx.URL(clean_feed_url(feed.url))
    except InputError:
        raise FeedError("it is at no http or https address") from None
    host = url.host
    try:
        async with asyncio.timeout(FETCH_SECONDS), _client(tls) as client:
            for _ in range(_MOST_REDIRECTS + 1):
                answer = await _ask(client, url, feed, conditional=conditional)
                if isinstance(answer, Fetched):
                    return answer
                url = answer
            raise FeedError(f"it leads on to other addresses more than {_MOST_REDIRECTS} times")
    except TimeoutError:
        raise FeedError(f"{host} did not give it within {FETCH_SECONDS:.0f} s") from None
    except FeedError:
        raise
    except InputError as error:
        raise FeedError(error.message) from error
    except (
        Exception
    ) as error:  # what a stranger answers makes the library raise more than its own errors
        raise FeedError(f"{host}: {str(error) or type(error).__name__}") from error


async def work_out(task: FeedTask) -> FeedTimes:
    """The busy times of a calendar, worked out in a process of its own that is ended when it takes
    too long.

    A rule can be written in a line that repeats for ever, or takes for ever to expand.

    Raises:
        FeedError: it is no calendar, or too much.
    """
    environment = {name: os.environ[name] for name in _KEPT_ENVIRONMENT if name in os.environ}
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "everafter.support.calendars"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment,
    )
    try:
        async with asyncio.timeout(WORK_SECONDS):
            out, _ = await child.communicate(msgspec.json.encode(task))
    except TimeoutError:
        raise FeedError(
            f"its events could not be worked out within {WORK_SECONDS:.0f} s: does one repeat"
            " every second?"
        ) from None
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
    try:
        times = msgspec.json.decode(out, type=FeedTimes)
    except msgspec.DecodeError:
        raise FeedError(
            "its events could not be worked out: they need too much time or memory"
        ) from None
    if times.failure:
        raise FeedError(times.failure)
    return times


def _client(tls: ssl.SSLContext | None) -> httpx.AsyncClient:
    # No proxy out of the environment: it would connect for us, to where it likes.
    return httpx.AsyncClient(
        verify=tls or True,
        trust_env=False,
        timeout=httpx.Timeout(10.0, connect=CONNECT_SECONDS),
        headers={
            "User-Agent": "Everafter (calendar)",
            "Accept": "text/calendar, */*;q=0.1",
            "Accept-Encoding": "gzip",
        },
    )


async def _ask(
    client: httpx.AsyncClient, url: httpx.URL, feed: Feed, *, conditional: bool
) -> Fetched | httpx.URL:
    """What one address gives: the calendar, or where to look instead."""
    port = _port(url)
    if url.scheme not in {"http", "https"} or not url.host or port is None:
        raise FeedError("it leads on to something that is no http or https address")
    headers = {"Host": url.netloc.decode("ascii").rpartition("@")[2]}
    if conditional and feed.etag:
        headers["If-None-Match"] = feed.etag
    if conditional and feed.last_modified:
        headers["If-Modified-Since"] = feed.last_modified
    own = url.host == httpx.URL(feed.url).host
    auth = httpx.BasicAuth(url.username, url.password) if own and url.username else None
    addresses = await resolve_address(url.host, port, allow_private=feed.allow_private)
    for place, address in enumerate(addresses[:4]):
        request = client.build_request(
            "GET",
            url.copy_with(host=address, username=None, password=None, fragment=None),
            headers=headers,
            # the name the certificate must be of
            extensions={"sni_hostname": url.host},
        )
        try:
            response = await client.send(request, stream=True, auth=auth, follow_redirects=False)
        except (httpx.ConnectError, httpx.ConnectTimeout):
            if place + 1 == len(addresses[:4]):
                raise
            continue
        try:
            return await _take(
                response,
                url,
                asked_for_changes=bool(conditional and (feed.etag or feed.last_modified)),
            )
        finally:
            await response.aclose()
    raise FeedError(f"{url.host} has no address")


def _port(url: httpx.URL) -> int | None:
    """Where to connect; null when there is no such port."""
    port = (443 if url.scheme == "https" else 80) if url.port is None else url.port
    return port if 0 < port < 65536 else None


async def _take(
    response: httpx.Response, url: httpx.URL, *, asked_for_changes: bool
) -> Fetched | httpx.URL:
    status = response.status_code
    if status in _REDIRECTS and (to := response.headers.get("location")):
        try:
            return httpx.URL(urljoin(str(url), _CALENDAR_SCHEME.sub("https:", to)))
        except (httpx.InvalidURL, ValueError):
            raise FeedError("it leads on to something that is no address") from None
    etag, modified = _mark(response, "etag"), _mark(response, "last-modified")
    if status == 304 and not asked_for_changes:
        raise FeedError(f"{url.host} answered 304 Not Modified though nothing was known of it")
    if status == 304:
        return Fetched(None, etag, modified)
    if status != 200:
        raise FeedError(f"{url.host} answered {status} {response.reason_phrase}".rstrip())
    return Fetched(await _read(response), etag, modified)


def _mark(response: httpx.Response, name: str) -> str | None:
    """What is sent back at the next look; only ASCII can be."""
    said = response.headers.get(name)
    return said if said and said.isascii() else None


async def _read(response: httpx.Response) -> bytes:
    """The body, unpacked by ourselves: a small answer may unpack to gigabytes."""
    packed = response.headers.get("content-encoding", "identity").strip().lower()
    if packed not in {"identity", "", "gzip"}:
        raise FeedError(f"it comes packed as {packed[:40]}, which was not asked for")
    unpack = zlib.decompressobj(wbits=31) if packed == "gzip" else None
    body = bytearray()
    async for chunk in response.aiter_raw():
        try:
            body += unpack.decompress(chunk, MOST_BYTES + 1 - len(body)) if unpack else chunk
        except zlib.error as error:
            raise FeedError("what came cannot be unpacked") from error
        if len(body) > MOST_BYTES:
            raise FeedError(f"it is larger than {MOST_BYTES // 1_000_000} MB")
    if unpack and not unpack.eof:
        raise FeedError("it ends in the middle")
    return bytes(body)

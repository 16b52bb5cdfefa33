"""Fetch the calendar of a CSM, with limits of time, size and redirects, and not from private
networks unless that is allowed. calendars.py parses it in a separate process.
"""

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
COMPUTE_SECONDS = 60.0  # wall-clock time; the process limits its CPU time to a quarter of it
_MOST_REDIRECTS = 3
_REDIRECTS = {301, 302, 303, 307, 308}
# the child process gets no settings and no secrets
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
    """A calendar cannot be read. The message does not contain its URL, which is secret."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """A response. body: null if the calendar did not change since the last read."""

    body: bytes | None
    etag: str | None = None
    last_modified: str | None = None


def clean_feed_url(text: str) -> str:
    """Normalize a calendar's URL.

    `webcal:`, `webcals:` and `feed:` stand for `https:`, in any case, or precede the whole URL.

    Raises:
        InputError: not an http or https URL.
    """
    url = _CALENDAR_SCHEME.sub("https:", _BEFORE_SCHEME.sub("", text.strip()))
    try:
        parsed = httpx.URL(url)
        good = (
            parsed.scheme in {"http", "https"} and bool(parsed.host) and _port(parsed) is not None
        )
    except (httpx.InvalidURL, ValueError) as error:  # ValueError: invalid Punycode
        raise InputError(f"{text!r} is not a URL: {error}") from error
    if not good:
        raise InputError(f"{text!r} is not an http or https URL")
    return url


async def fetch_calendar(
    feed: Feed, *, conditional: bool, tls: ssl.SSLContext | None = None
) -> Fetched:
    """Fetch a calendar.

    Args:
        conditional: send a conditional request.
        tls: the trusted authorities; null: the default ones.

    Raises:
        FeedError: no response, or not a calendar.
    """
    try:
        url = httpx.URL(clean_feed_url(feed.url))
    except InputError:
        raise FeedError("it is not at an http or https URL") from None
    host = url.host
    try:
        async with asyncio.timeout(FETCH_SECONDS), _client(tls) as client:
            for _ in range(_MOST_REDIRECTS + 1):
                answer = await _ask(client, url, feed, conditional=conditional)
                if isinstance(answer, Fetched):
                    return answer
                url = answer
            raise FeedError(f"it redirects more than {_MOST_REDIRECTS} times")
    except TimeoutError:
        raise FeedError(f"{host} did not respond within {FETCH_SECONDS:.0f} s") from None
    except FeedError:
        raise
    except InputError as error:
        raise FeedError(error.message) from error
    except Exception as error:  # the library can raise other errors than its own
        raise FeedError(f"{host}: {str(error) or type(error).__name__}") from error


async def compute_times(task: FeedTask) -> FeedTimes:
    """Compute the busy times of a calendar in a child process, which is killed if it takes too
    long: one line of a calendar can repeat for ever.

    Raises:
        FeedError: it is not a calendar, or too expensive.
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
        async with asyncio.timeout(COMPUTE_SECONDS):
            out, _ = await child.communicate(msgspec.json.encode(task))
    except TimeoutError:
        raise FeedError(
            f"its events could not be computed within {COMPUTE_SECONDS:.0f} s:"
            " does one repeat every second?"
        ) from None
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
    try:
        times = msgspec.json.decode(out, type=FeedTimes)
    except msgspec.DecodeError:
        raise FeedError(
            "its events could not be computed: they need too much time or memory"
        ) from None
    if times.failure:
        raise FeedError(times.failure)
    return times


def _client(tls: ssl.SSLContext | None) -> httpx.AsyncClient:
    # no proxy from the environment, which could connect to private networks
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
    """Request one URL; return the calendar, or the URL to follow."""
    port = _port(url)
    if url.scheme not in {"http", "https"} or not url.host or port is None:
        raise FeedError("it redirects to something other than an http or https URL")
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
            # verify the certificate of this name
            extensions={"sni_hostname": url.host},
        )
        try:
            response = await client.send(request, stream=True, auth=auth, follow_redirects=False)
        except (httpx.ConnectError, httpx.ConnectTimeout):
            if place + 1 == len(addresses[:4]):
                raise
            continue
        try:
            return await _handle(
                response,
                url,
                asked_for_changes=bool(conditional and (feed.etag or feed.last_modified)),
            )
        finally:
            await response.aclose()
    raise FeedError(f"{url.host} has no address")


def _port(url: httpx.URL) -> int | None:
    """The port to connect to; null: invalid."""
    port = (443 if url.scheme == "https" else 80) if url.port is None else url.port
    return port if 0 < port < 65536 else None


async def _handle(
    response: httpx.Response, url: httpx.URL, *, asked_for_changes: bool
) -> Fetched | httpx.URL:
    status = response.status_code
    if status in _REDIRECTS and (to := response.headers.get("location")):
        try:
            return httpx.URL(urljoin(str(url), _CALENDAR_SCHEME.sub("https:", to)))
        except (httpx.InvalidURL, ValueError):
            raise FeedError("it redirects to an invalid URL") from None
    etag, modified = _validator(response, "etag"), _validator(response, "last-modified")
    if status == 304 and not asked_for_changes:
        raise FeedError(f"{url.host} answered 304 Not Modified to an unconditional request")
    if status == 304:
        return Fetched(None, etag, modified)
    if status != 200:
        raise FeedError(f"{url.host} answered {status} {response.reason_phrase}".rstrip())
    return Fetched(await _read(response), etag, modified)


def _validator(response: httpx.Response, name: str) -> str | None:
    """A header to send back with the next request; null: missing or not ASCII."""
    value = response.headers.get(name)
    return value if value and value.isascii() else None


async def _read(response: httpx.Response) -> bytes:
    """Decompress the body with a limit: a small response can decompress to gigabytes."""
    packed = response.headers.get("content-encoding", "identity").strip().lower()
    if packed not in {"identity", "", "gzip"}:
        raise FeedError(f"it has the content encoding {packed[:40]}, which was not requested")
    unpack = zlib.decompressobj(wbits=31) if packed == "gzip" else None
    body = bytearray()
    async for chunk in response.aiter_raw():
        try:
            body += unpack.decompress(chunk, MOST_BYTES + 1 - len(body)) if unpack else chunk
        except zlib.error as error:
            raise FeedError("the response cannot be decompressed") from error
        if len(body) > MOST_BYTES:
            raise FeedError(f"it is larger than {MOST_BYTES // 1_000_000} MB")
    if unpack and not unpack.eof:
        raise FeedError("the response is incomplete")
    return bytes(body)

"""Limits on what callers may use of the server, and a rate limit with bounded memory."""

import ipaddress
from dataclasses import dataclass
from math import inf

from everafter.core.errors import OverloadedError, SettingsError

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

LOOPBACK = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128"))


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one `everafter serve` process (docs/operations.md lists them).

    connections: open at once, in total.
    connections_per_address: open at once from one address (IPv6: one /64); proxies are exempt.
    head_seconds: for a whole request head, from its first byte or from the connection.
    body_seconds: for a whole body, on every route.
    anonymous_seconds: the same without a key or token in the headers.
    unsent_seconds: how long a client may read almost nothing of its response.
    key_rate, address_rate: ingest requests per second of one key and one address; 0: no limit.
    trusted_proxies: networks whose X-Forwarded-For is trusted.
    """

    connections: int = 2_000
    connections_per_address: int = 256
    head_seconds: float = 10
    body_seconds: float = 30
    anonymous_seconds: float = 10
    unsent_seconds: float = 20
    key_rate: int = 1_000
    address_rate: int = 500
    trusted_proxies: tuple[Network, ...] = LOOPBACK

    def is_proxy(self, address: str) -> bool:
        """Whether this is the address of a reverse proxy."""
        try:
            ip = _plain_address(address)
        except ValueError:
            return False
        return any(ip in network for network in self.trusted_proxies)


def read_networks(text: str, name: str) -> tuple[Network, ...]:
    """Read addresses and networks separated by commas; `none` means that there are none.

    >>> [str(network) for network in read_networks("10.0.0.7, fd00::/8", "X")]
    ['10.0.0.7/32', 'fd00::/8']

    Args:
        name: the setting, for the error message.

    Raises:
        SettingsError: one of them is neither an address nor a network.
    """
    found: list[Network] = []
    for part in text.split(","):
        if not (word := part.strip()) or word.lower() == "none":
            continue
        try:
            found.append(ipaddress.ip_network(word, strict=False))
        except ValueError:
            raise SettingsError(
                f"{name}: {word!r} is neither an IP address nor a network such as 10.0.0.0/8;"
                " list the addresses of your reverse proxies, or set it to none"
            ) from None
    return tuple(found)


def read_count(text: str, name: str, least: int) -> int:
    """Read a whole number of at least `least`.

    Raises:
        SettingsError: it is not one.
    """
    if text.isascii() and text.isdigit() and len(text) < 10 and int(text) >= least:
        return int(text)
    raise SettingsError(f"{name}: {text!r} is not a whole number of at least {least}")


def network_of(address: str) -> str:
    """What limits per address count: an IPv4 address, or the /64 of an IPv6 client.

    >>> network_of("192.0.2.7"), network_of("::ffff:192.0.2.7"), network_of("2001:db8::7%eth0")
    ('192.0.2.7', '192.0.2.7', '2001:db8::/64')
    >>> network_of("")
    'unknown'
    """
    try:
        ip = _plain_address(address)
    except ValueError:
        return "unknown"
    return str(ipaddress.ip_network((ip, 64), strict=False)) if ip.version == 6 else str(ip)


def _plain_address(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped:
        return ip.ipv4_mapped
    return ip


class RateLimitedError(OverloadedError):
    """More requests than one caller may send; `retry_after` (seconds) says when to retry."""

    status = 429
    code = "rate_limited"


class RateLimit:
    """Requests per second of each caller, in bursts of up to `burst_seconds` worth of requests.

    Stores one number for each caller: the time at which its granted requests are used up (GCRA).
    A caller whose time has passed has its full allowance, like an unknown one, and can be
    forgotten, so at most `MAX_CALLERS` are stored.
    """

    MAX_CALLERS = 20_000

    def __init__(self, rate: float, burst_seconds: float = 2) -> None:
        self._cost = 1 / rate if rate else 0.0
        self._burst = max(burst_seconds, self._cost)
        self._used_up_at: dict[str, float] = {}

    def take(self, caller: str, now: float, cost: float = 1) -> None:
        """Count a request of a caller.

        Args:
            now: seconds of a monotonic clock.
            cost: how many requests it counts for; 0 only checks.

        Raises:
            RateLimitedError: the caller has none left; nothing was counted.
        """
        wait = self.charge(caller, now, cost)
        if wait > 0:
            seconds = max(1, int(-(-wait // 1)))
            raise RateLimitedError(f"too many requests; retry in {seconds} s", retry_after=seconds)

    def charge(self, caller: str, now: float, cost: float = 1) -> float:
        """Count a request of a caller; return the seconds to wait, 0 when it is granted."""
        if not self._cost:
            return 0
        before = max(self._used_up_at.pop(caller, -inf), now)
        if (wait := before + self._cost - now - self._burst) > 0:
            self._used_up_at[caller] = before
            return wait
        if len(self._used_up_at) >= self.MAX_CALLERS:
            self._forget(now)
        self._used_up_at[caller] = before + cost * self._cost
        return 0

    def __len__(self) -> int:
        return len(self._used_up_at)

    def _forget(self, now: float) -> None:
        """Forget callers with their full allowance, or else the half not seen for longest."""
        kept = [(caller, at) for caller, at in self._used_up_at.items() if at > now]
        if len(kept) >= self.MAX_CALLERS:
            kept = kept[self.MAX_CALLERS // 2 :]
        self._used_up_at = dict(kept)

"""Limits on what callers may use of the server, and the bounded bookkeeping behind them."""

import ipaddress
from dataclasses import dataclass
from math import inf

from everafter.core.errors import OverloadedError, SettingsError

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

LOOPBACK = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128"))


@dataclass(frozen=True, slots=True)
class Limits:
    """What one process of `everafter serve` grants its callers (docs/operations.md lists them).

    connections: open at once, in total.
    connections_per_address: open at once from one address (IPv6: one /64); proxies are exempt.
    head_seconds: for a whole request head, from its first byte or from the connection.
    body_seconds: for a whole body, on every route.
    unproven_seconds: the same without a key or token in the headers.
    unsent_seconds: a client that reads next to nothing of its answer for so long is cut off.
    key_rate, address_rate: ingest requests per second of one key and of one address; 0: no limit.
    trusted_proxies: networks whose X-Forwarded-For is trusted.
    """

    connections: int = 2_000
    connections_per_address: int = 256
    head_seconds: float = 10
    body_seconds: float = 30
    unproven_seconds: float = 10
    unsent_seconds: float = 20
    key_rate: int = 1_000
    address_rate: int = 500
    trusted_proxies: tuple[Network, ...] = LOOPBACK

    def is_proxy(self, address: str) -> bool:
        """Whether a connection from this address is a reverse proxy's."""
        try:
            ip = _plain_address(address)
        except ValueError:
            return False
        return any(ip in network for network in self.trusted_proxies)


def read_networks(text: str, name: str) -> tuple[Network, ...]:
    """Addresses and networks separated by commas; `none` means that there are none.

    >>> [str(network) for network in read_networks("10.0.0.7, fd00::/8", "X")]
    ['10.0.0.7/32', 'fd00::/8']

    Args:
        name: the setting, for the message.

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
                " list the addresses of your reverse proxies, or write none"
            ) from None
    return tuple(found)


def read_count(text: str, name: str, least: int) -> int:
    """A whole number of at least `least`.

    Raises:
        SettingsError: it is not one.
    """
    if text.isascii() and text.isdigit() and len(text) < 10 and int(text) >= least:
        return int(text)
    raise SettingsError(f"{name}: {text!r} is not a whole number from {least} on")


def network_of(address: str) -> str:
    """What limits by address count: an IPv4 address, or the /64 that one IPv6 client owns.

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
    """So many requests a second of each caller, in bursts of up to `burst_seconds` worth of them.

    Each caller is one number: the moment at which all that was granted is used up (GCRA). Callers
    whose moment is past are as good as unknown, so what is kept is bounded by `MOST`.
    """

    MOST = 20_000

    def __init__(self, rate: float, burst_seconds: float = 2) -> None:
        self._cost = 1 / rate if rate else 0.0
        self._burst = max(burst_seconds, self._cost)
        self._used_up: dict[str, float] = {}

    def take(self, who: str, now: float, cost: float = 1) -> None:
        """Count requests of a caller.

        Args:
            now: seconds of a monotonic clock.
            cost: how many requests this one counts for.

        Raises:
            RateLimitedError: it has none left; nothing was counted.
        """
        wait = self.charge(who, now, cost)
        if wait > 0:
            seconds = max(1, int(-(-wait // 1)))
            raise RateLimitedError(f"too many requests; retry in {seconds} s", retry_after=seconds)

    def charge(self, who: str, now: float, cost: float = 1) -> float:
        """Count requests of a caller; the seconds to wait, 0 when they are granted."""
        if not self._cost:
            return 0
        before = max(self._used_up.pop(who, -inf), now)
        if (wait := before + self._cost - now - self._burst) > 0:
            self._used_up[who] = before
            return wait
        if len(self._used_up) >= self.MOST:
            self._forget(now)
        self._used_up[who] = before + cost * self._cost
        return 0

    def __len__(self) -> int:
        return len(self._used_up)

    def _forget(self, now: float) -> None:
        """Make room: all that are as good as unknown, else the half that was longest not seen."""
        kept = [(who, at) for who, at in self._used_up.items() if at > now]
        if len(kept) >= self.MOST:
            kept = kept[self.MOST // 2 :]
        self._used_up = dict(kept)

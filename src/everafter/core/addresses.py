"""Check the addresses behind a URL that somebody entered, before connecting to one of them.

The caller must connect to an address returned here and not look the name up again: a name may
resolve to another address each time (DNS rebinding)."""

import asyncio
import ipaddress
import socket

from everafter.core.errors import InputError

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")


def is_public(address: str) -> bool:
    """Whether an IP address is on the public internet: not private, loopback, link-local, shared,
    reserved or multicast, and not an IPv6 address that embeds such an IPv4 address.

    >>> is_public("93.184.215.14"), is_public("10.0.0.1"), is_public("169.254.169.254")
    (True, False, False)
    >>> is_public("::ffff:127.0.0.1")
    False
    """
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        embedded = [ip.ipv4_mapped, ip.sixtofour, *(ip.teredo or ())]
        if ip in _NAT64:
            embedded.append(ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF))
        if any(one is not None and not is_public(str(one)) for one in embedded):
            return False
        if ip.ipv4_mapped is not None or ip in _NAT64:
            return True
        # All other public addresses are global unicast. `is_global` accepts some that are not:
        # IPv4-compatible ::a.b.c.d, IPv4-translated ::ffff:0:a.b.c.d, local NAT64
        # (64:ff9b:1::/48) and site-local fec0::/10.
        if ip not in _GLOBAL_UNICAST:
            return False
    return ip.is_global and not ip.is_multicast


async def resolve_address(host: str, port: int, *, allow_private: bool) -> list[str]:
    """Resolve a host to the addresses that may be connected to.

    Raises:
        InputError: it has no address, or only private ones.
    """
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise InputError(
            f"{host} has no address: {getattr(error, 'strerror', None) or error}"
        ) from error
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    allowed = [address for address in addresses if allow_private or is_public(address)]
    if not allowed:
        raise InputError(f"{host} is {addresses[0]}, a private address")
    return allowed

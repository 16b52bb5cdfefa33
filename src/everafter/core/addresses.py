"""Where a URL that somebody typed may lead: addresses are looked up, checked, and then connected to
as they were checked.

A name may answer with another address each time it is asked (DNS rebinding), so a check before the
connection that lets the library ask again would check nothing."""

import asyncio
import ipaddress
import socket

from everafter.core.errors import InputError

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")


def is_public(address: str) -> bool:
    """Whether an IP address is of the open internet: not private, loopback, link-local, shared,
    reserved, multicast, nor an IPv6 address that wraps such an IPv4 one.

    >>> is_public("93.184.215.14"), is_public("10.0.0.1"), is_public("169.254.169.254"), is_public("::ffff:127.0.0.1")
    (True, False, False, False)
    """
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        wrapped = [ip.ipv4_mapped, ip.sixtofour, *(ip.teredo or ())]
        if ip in _NAT64:
            wrapped.append(ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF))
        if any(one is not None and not is_public(str(one)) for one in wrapped):
            return False
        if ip.ipv4_mapped is not None or ip in _NAT64:
            return True
        # The rest of the open internet is here. Elsewhere lie ::a.b.c.d of old, ::ffff:0:a.b.c.d
        # (IPv4-translated), a network's own NAT64 (64:ff9b:1::/48) and site-local fec0::/10, of
        # which `is_global` knows not all.
        if ip not in _GLOBAL_UNICAST:
            return False
    return ip.is_global and not ip.is_multicast


async def resolve_address(host: str, port: int, *, allow_private: bool) -> list[str]:
    """The addresses of a host that may be connected to.

    Raises:
        InputError: the name has none, or only such as lie inside a network.
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
        raise InputError(
            f"{host} is {addresses[0]}, an address inside a network, not on the internet"
        )
    return allowed

"""What is checked before anything is read or written: passwords, addresses, and where a form came from."""

import hashlib
import hmac
import ipaddress
import re
from collections.abc import Mapping
from urllib.parse import urlsplit

from everafter.accounts.model import ACCOUNT_FAILURES, ADDRESS_FAILURES, MAX_PASSWORD, MIN_PASSWORD, ROLES, Role, Throttle
from everafter.core.email_address import EmailError, read_email
from everafter.core.errors import InputError


def clean_email(text: str) -> str:
    """The address as it is stored: trimmed and in lower case.

    Raises:
        InputError: it is not an email address.
    """
    email = text.strip().lower()
    try:
        read_email(email)
    except EmailError as error:
        raise InputError(str(error)) from error
    return email


def clean_role(text: str) -> Role:
    """One of the four roles.

    Raises:
        InputError: there is no such role; the message names those there are.
    """
    for role in ROLES:
        if role == text:
            return role
    raise InputError(f"there is no role {text!r}; choose one of {', '.join(ROLES)}")


def check_password(password: str, email: str) -> None:
    """Refuse what is guessed first: length is what counts (OWASP ASVS 5.0, V6.2), so no rules on kinds of characters.

    Raises:
        InputError: too short, too long, or the address itself.
    """
    if len(password) < MIN_PASSWORD:
        raise InputError(f"a password needs at least {MIN_PASSWORD} characters; this one has {len(password)}")
    if len(password) > MAX_PASSWORD:
        raise InputError(f"a password may have at most {MAX_PASSWORD} characters; this one has {len(password)}")
    if password.lower() in {email, email.partition("@")[0]} or len(set(password)) < 4:
        raise InputError("this password is too easy to guess")


def failure_buckets(email: str, address: str) -> list[str]:
    """The two counters a failed sign-in adds to, in a fixed order so that two sign-ins never wait for each other.

    The account is what was typed, whether there is such a user or not: a stranger learns nothing from being throttled.
    An IPv6 client owns its whole /64, so that is what is counted.
    """
    account = hashlib.sha256(email.strip().lower().encode()).hexdigest()[:32]
    try:
        ip = ipaddress.ip_address(address)
        network = str(ipaddress.ip_network((ip, 64), strict=False)) if ip.version == 6 else str(ip)
    except ValueError:
        network = "unknown"
    return [f"account:{account}", f"address:{network}"]


def is_throttled(throttles: list[Throttle]) -> Throttle | None:
    """The counter that is over its limit and ends last, or null."""
    over = [
        throttle
        for throttle in throttles
        if throttle.failures > (ACCOUNT_FAILURES if throttle.bucket.startswith("account:") else ADDRESS_FAILURES)
    ]
    return max(over, key=lambda throttle: throttle.until, default=None)


def came_from_here(headers: Mapping[str, str]) -> bool:
    """Did a form post come from a page of this server? `headers` by lower-case name.

    Browsers say so in Sec-Fetch-Site; over plain http to another machine they leave it out, and Origin must then name the host.
    Neither one: not a browser, which has no cookies to abuse.
    """
    if site := headers.get("sec-fetch-site"):
        return site == "same-origin"
    if origin := headers.get("origin"):
        return urlsplit(origin).netloc.lower() == headers.get("host", "").lower()
    return True


def form_token(secret: str, nonce: str) -> str:
    """The token of a form shown before anyone has signed in, bound to the browser by a cookie that holds `nonce`."""
    return hmac.new(secret.encode(), f"form:{nonce}".encode(), hashlib.sha256).hexdigest()


def local_path(wanted: str | None) -> str:
    """Where to go after signing in: a path of this server, else the first page."""
    if not wanted or not wanted.startswith("/") or wanted.startswith(("//", "/\\")) or re.search(r"[\x00-\x1f\\]", wanted):
        return "/"
    return wanted

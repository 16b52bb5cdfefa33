"""Rules for passwords, email addresses, sign-in limits and forms. Pure."""

import hashlib
import re
from collections.abc import Mapping
from urllib.parse import urlsplit

from everafter.accounts.model import (
    ACCOUNT_FAILURES,
    ADDRESS_FAILURES,
    MAX_PASSWORD,
    MIN_PASSWORD,
    ROLES,
    UNKNOWN_BROWSER_FAILURES,
    UNKNOWN_BROWSER_INTERVAL,
    Bucket,
    Role,
)
from everafter.core.email_address import EmailError, read_email
from everafter.core.errors import InputError
from everafter.core.signing import sign


def clean_email(text: str) -> str:
    """The address as stored: trimmed, in lower case.

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
    """Read a role.

    Raises:
        InputError: there is no such role; the message lists them.
    """
    for role in ROLES:
        if role == text:
            return role
    raise InputError(f"there is no role {text!r}; choose one of {', '.join(ROLES)}")


def check_password(password: str, email: str) -> None:
    """Refuse passwords that are easy to guess. Length counts (OWASP ASVS 5.0, V6.2), and not kinds
    of characters.

    Raises:
        InputError: too short, too long, or the address itself.
    """
    if len(password) < MIN_PASSWORD:
        raise InputError(
            f"a password needs at least {MIN_PASSWORD} characters; this one has {len(password)}"
        )
    if len(password) > MAX_PASSWORD:
        raise InputError(
            f"a password may have at most {MAX_PASSWORD} characters; this one has {len(password)}"
        )
    if password.lower() in {email, email.partition("@")[0]} or len(set(password)) < 4:
        raise InputError("this password is too easy to guess")


def unknown_browser_buckets(email: str, network: str) -> tuple[Bucket, Bucket, Bucket, Bucket]:
    """The counters of an attempt in a browser that the account does not know, in order.

    Attempts are counted for the entered address whether or not there is such a user, so that
    throttling reveals nothing. The last counter slows down guessing from many addresses.

    Args:
        network: as `core.limits.network_of` gives it, an IPv6 client's whole /64.
    """
    account = _hash_of(email.strip().lower())
    return (
        Bucket(f"address:{network}", ADDRESS_FAILURES),
        Bucket(f"pair:{account}:{network}", ACCOUNT_FAILURES),
        Bucket(f"account:{account}", UNKNOWN_BROWSER_FAILURES),
        Bucket(f"interval:{account}", 1, UNKNOWN_BROWSER_INTERVAL),
    )


def known_browser_bucket(email: str, browser: str) -> Bucket:
    """The counter of an attempt in a browser known to the account; others do not count there."""
    account = _hash_of(email.strip().lower())
    return Bucket(f"browser:{account}:{_hash_of(browser)}", ACCOUNT_FAILURES)


def _hash_of(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def came_from_here(headers: Mapping[str, str]) -> bool:
    """Whether a form was sent from a page of this server; `headers` by lower-case name.

    Browsers send Sec-Fetch-Site. Over plain http to another machine they do not, and then Origin
    must name the host. Without both, the client is not a browser, and has no cookies to abuse.
    """
    if site := headers.get("sec-fetch-site"):
        return site == "same-origin"
    if origin := headers.get("origin"):
        return urlsplit(origin).netloc.lower() == headers.get("host", "").lower()
    return True


def form_token(secret: str, nonce: str) -> str:
    """The token of a form shown before signing in, bound to the browser by a cookie with
    `nonce`."""
    return sign(secret, f"form:{nonce}".encode()).hex()


def local_path(wanted: str | None) -> str:
    """Where to go after signing in: a path of this server; / for anything else."""
    if (
        not wanted
        or not wanted.startswith("/")
        or wanted.startswith(("//", "/\\"))
        or re.search(r"[\x00-\x1f\\]", wanted)
    ):
        return "/"
    return wanted

"""What is checked before anything is read or written: passwords, addresses, and where a form came
from."""

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
    STRANGER_FAILURES,
    UNKNOWN_SEASON_INDEX,
    Bucket,
    Role,
)
from everafter.core.email_address import EmailError, read_email
from everafter.core.errors import InputError
from everafter.core.signing import sign


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
    """Refuse what is guessed first: length is what counts (OWASP ASVS 5.0, V6.2), so no rules on
    kinds of characters.

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


def strangers_buckets(email: str, network: str) -> tuple[Bucket, Bucket, Bucket, Bucket]:
    """The counters of a try in a browser not known to the account, in the order they are asked.

    The account is what was typed, whether there is such a user or not: a stranger learns nothing
    from being throttled. The last one is the season index of an account that is guessed from
    everywhere.

    Args:
        network: as `core.limits.network_of` gives it, an IPv6 client's whole /64.
    """
    account = _hash_of(email.strip().lower())
    return (
        Bucket(f"address:{network}", ADDRESS_FAILURES),
        Bucket(f"pair:{account}:{network}", ACCOUNT_FAILURES),
        Bucket(f"account:{account}", STRANGER_FAILURES),
        Bucket(f"season_index:{account}", 1, UNKNOWN_SEASON_INDEX),
    )


def browsers_bucket(email: str, browser: str) -> Bucket:
    """The one counter of a try in a browser known to the account: strangers add nothing to it."""
    account = _hash_of(email.strip().lower())
    return Bucket(f"browser:{account}:{_hash_of(browser)}", ACCOUNT_FAILURES)


def _hash_of(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def came_from_here(headers: Mapping[str, str]) -> bool:
    """Did a form post come from a page of this server? `headers` by lower-case name.

    Browsers say so in Sec-Fetch-Site; over plain http to another machine they leave it out, and
    Origin must then name the host. Neither one: not a browser, which has no cookies to abuse."""
    if site := headers.get("sec-fetch-site"):
        return site == "same-origin"
    if origin := headers.get("origin"):
        return urlsplit(origin).netloc.lower() == headers.get("host", "").lower()
    return True


def form_token(secret: str, nonce: str) -> str:
    """The token of a form shown before anyone has signed in, bound to the browser by a cookie that
    holds `nonce`."""
    return sign(secret, f"form:{nonce}".encode()).hex()


def local_path(wanted: str | None) -> str:
    """Where to go after signing in: a path of this server, else the first page."""
    if (
        not wanted
        or not wanted.startswith("/")
        or wanted.startswith(("//", "/\\"))
        or re.search(r"[\x00-\x1f\\]", wanted)
    ):
        return "/"
    return wanted

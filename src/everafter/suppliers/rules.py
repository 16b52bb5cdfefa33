"""Traits: reading them strictly, and letting the latest word count whatever the order of arrival."""

import hashlib
import math
import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

import msgspec

from everafter.core.email_address import EmailError, read_email
from everafter.core.zones import list_zones
from everafter.suppliers import model
from everafter.suppliers.model import BadTrait, Profile, Said

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# Any moment that was said is greater: times begin with a year from 2000 on.
_WEAK = "0"


def read_traits(traits: dict[str, Any]) -> tuple[dict[str, Any], list[BadTrait]]:
    """The traits that can be kept, in canonical form, and those that cannot, with the reason.

    Args:
        traits: as they came; null means that the platform took the value back.

    Returns:
        Canonical name → value (created_at as a datetime in UTC, all else as JSON knows it), and the refused ones.
    """
    good: dict[str, Any] = {}
    bad: list[BadTrait] = []
    others = 0
    for given, value in traits.items():
        trait = model.ALIASES.get(given, given)
        reader = _READERS.get(trait)
        if reader is None:
            others += 1
            reason = _refuse_other(given, value, others)
            if reason is None:
                good[trait] = value
        elif value is None or value == "":
            reason = None if trait not in {"consent", "created_at"} else ""
            if reason is None:
                good[trait] = None
        else:
            read, expected = reader
            canonical = read(value)
            reason = None if canonical is not None else f"{given} {_shown(value)} is not {expected}"
            if canonical is not None:
                good[trait] = canonical
        if reason:
            bad.append(BadTrait(given, reason))
    return good, bad


def fold_said(said: Iterable[Said], created: Iterable[tuple[str, str | None, datetime]] = ()) -> list[Profile]:
    """What was said of each supplier, one profile a supplier, sorted by id.

    Args:
        said: canonical traits by message; of two words about one trait the later counts, of two at once the one whose value has
            the greater hash, so that order of arrival never matters.
        created: suppliers whose account_created was seen, with the platform's own id (as in Profile) and the moment: the
            earliest is `created_at` until one is said.
    """
    profiles: dict[str, Profile] = {}
    for one in said:
        profile = profiles.setdefault(one.supplier_id, Profile(one.supplier_id))
        profile.external_id = profile.external_id or one.external_id
        for trait, value in one.traits.items():
            _say(profile, trait, value, time_key(one.at, value))
    for supplier_id, external_id, at in created:
        profile = profiles.setdefault(supplier_id, Profile(supplier_id))
        profile.external_id = profile.external_id or external_id
        # counted down, so that the earliest has the greatest key
        _say(profile, "created_at", at, f"{_WEAK}{10**18 - (at - _EPOCH) // timedelta(microseconds=1):019d}")
    return sorted(profiles.values(), key=lambda profile: profile.supplier_id)


def time_key(at: datetime, value: Any) -> str:
    """A text that sorts by moment, then by the value's hash."""
    digest = hashlib.md5(msgspec.json.encode(value, order="sorted"), usedforsecurity=False).hexdigest()[:8]
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f} {digest}"


def _say(profile: Profile, trait: str, value: Any, key: str) -> None:
    there = profile.said.get(trait)
    if there is None or key >= there[1]:
        profile.said[trait] = (value, key)


# ── one trait ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def _shown(value: Any) -> str:
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= 60 else f"{text[:60]}…"


def _refuse_other(name: str, value: Any, count: int) -> str | None:
    if count > model.OTHER_TRAITS:
        return f"more than {model.OTHER_TRAITS} traits in one message"
    if not name or len(name) > 200 or _CONTROL.search(name):
        return "a trait's name must have 1 to 200 characters and no control character"
    text = msgspec.json.encode(value)
    if len(text) > 4096:
        return f"{name} is larger than 4096 bytes"
    return f"{name} holds a NUL character" if b"\\u0000" in text else None


def _read_text(value: Any) -> str | None:
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or len(value) > 200 or _CONTROL.search(value):
        return None
    return value.strip() or None


def _read_word(value: Any) -> str | None:
    text = _read_text(value)
    return re.sub(r"[\s-]+", "_", text.lower()) if text else None


def _read_email(value: Any) -> str | None:
    """The address in the form that travels; its domain has a dot."""
    try:
        address = read_email(value) if isinstance(value, str) else None
    except EmailError:
        return None
    return address.addr_spec if address and re.search(r"\.[^.]{2,}$", address.domain) else None


def _read_country(value: Any) -> str | None:
    code = value.strip().upper() if isinstance(value, str) else ""
    code = "GB" if code == "UK" else code  # not in ISO 3166-1 but reserved for it, and what people write
    return code if code in model.COUNTRIES else None


@lru_cache
def _timezones() -> dict[str, str]:
    return {name.lower(): name for name in list_zones()}


def _read_timezone(value: Any) -> str | None:
    return _timezones().get(value.strip().lower()) if isinstance(value, str) else None


def _read_whole(most: int) -> Callable[[Any], int | None]:
    def read(value: Any) -> int | None:
        if isinstance(value, str) and re.fullmatch(r"\d{1,18}", value.strip()):
            value = int(value)
        if isinstance(value, float) and math.isfinite(value) and value.is_integer():
            value = int(value)
        return value if type(value) is int and 0 <= value <= most else None

    return read


def _read_moment(value: Any) -> datetime | None:
    if not isinstance(value, str):
        return None
    try:
        at = datetime.fromisoformat(value.strip().upper())
        at = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return at if 1990 <= at.year <= 2100 else None


def _read_consent(value: Any) -> bool | None:
    if isinstance(value, str):
        return {"true": True, "false": False}.get(value.strip().lower())
    return value if isinstance(value, bool) else None


_READERS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "name": (_read_text, "text of at most 200 characters"),
    "email": (_read_email, "an email address that mail can be sent to"),
    "vendor_type": (_read_word, "text of at most 200 characters"),
    "plan": (_read_text, "text of at most 200 characters"),
    "country": (_read_country, "an ISO 3166-1 country code (GB, NZ, US …)"),
    "timezone": (_read_timezone, "an IANA time zone (Europe/London)"),
    "mrr_minor": (_read_whole(10**15), "a whole number of minor units from 0 on"),
    "client_limit": (_read_whole(2**31 - 1), "a whole number from 0 on"),
    "created_at": (_read_moment, "an ISO 8601 time between 1990 and 2100"),
    "consent": (_read_consent, "true or false"),
}

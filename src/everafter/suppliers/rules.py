"""Read traits, and keep the latest value of each, in whatever order they arrive."""

import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

import msgspec

from everafter.core import lenient
from everafter.core.email_address import EmailError, read_email
from everafter.core.values import clean_text, depth, fold_name, read_moment, read_text, read_whole
from everafter.core.zones import list_zones
from everafter.suppliers import model
from everafter.suppliers.model import BadTrait, Profile, TraitUpdate

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# Less than every time key, which begins with a year from 2000 on.
_WEAK = "0"
_DEPTH = 32


def read_traits(traits: dict[str, Any]) -> tuple[dict[str, Any], list[BadTrait]]:
    """Read traits into their canonical form; list those that cannot be used, with the reason.

    Args:
        traits: as sent; null removes the value.

    Returns:
        Canonical name → value (created_at is a datetime in UTC, all others JSON values), and the
        rejected traits.
    """
    good: dict[str, Any] = {}
    bad: list[BadTrait] = []
    others = 0
    # the exact spelling is read last, so that it wins over other spellings of the same trait
    for given, value in sorted(traits.items(), key=lambda item: item[0] in _READERS):
        trait = model.SPELLINGS.get(fold_name(given), given)
        if (token := lenient.lost(value)) is not None:
            bad.append(BadTrait(given, f"{given} is {token}, which is not a JSON value"))
        elif trait not in _READERS:
            others += 1
            name, kept, reason = _read_other(given, value, others)
            if reason is None:
                good[name] = kept
            else:
                bad.append(BadTrait(given, reason))
        elif value is None or value == "":
            if trait not in {"consent", "created_at"}:
                good[trait] = None
        else:
            read, expected = _READERS[trait]
            canonical = read(value)
            if canonical is None:
                bad.append(BadTrait(given, f"{given} {_shown(value)} is not {expected}"))
                continue
            if trait in _TEXTS and len(canonical) > model.TEXT_CHARACTERS:
                canonical = canonical[: model.TEXT_CHARACTERS].rstrip()
                bad.append(
                    BadTrait(
                        given,
                        f"{given} is longer than {model.TEXT_CHARACTERS} characters and was cut",
                    )
                )
            good[trait] = canonical
    return good, bad


def merge_updates(
    updates: Iterable[TraitUpdate], created: Iterable[tuple[str, str | None, datetime]] = ()
) -> list[Profile]:
    """Merge updates into one profile for each supplier, sorted by id.

    Args:
        updates: canonical traits by message; the later value of a trait counts (see
            `TraitUpdate`).
        created: supplier id, external id (as in Profile) and time of account_created events. The
            earliest is the supplier's `created_at` until one is reported.
    """
    profiles: dict[str, Profile] = {}
    for one in updates:
        profile = profiles.setdefault(one.supplier_id, Profile(one.supplier_id))
        profile.external_id = profile.external_id or one.external_id
        key = time_key(one)
        for trait, value in one.traits.items():
            _set(profile, trait, value, key)
    for supplier_id, external_id, at in created:
        profile = profiles.setdefault(supplier_id, Profile(supplier_id))
        profile.external_id = profile.external_id or external_id
        # counts down, so that the earliest has the greatest key
        remaining = 10**18 - (at - _EPOCH) // timedelta(microseconds=1)
        _set(profile, "created_at", at, f"{_WEAK}{remaining:019d}")
    return sorted(profiles.values(), key=lambda profile: profile.supplier_id)


def time_key(update: TraitUpdate) -> str:
    """A text that sorts by the reported time, then by arrival.

    Up to version 0.2.0 a hash of the value (hexadecimal) was in place of the arrival. `r` sorts
    after it, so an update that arrives now wins over one of the same time that was stored then.
    """
    received = update.at if update.received_at is None else update.received_at
    at = f"{update.at.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}"
    return f"{at} r{received.astimezone(UTC):%Y%m%d%H%M%S%f} {update.row:09d}"


def _set(profile: Profile, trait: str, value: Any, key: str) -> None:
    stored = profile.traits.get(trait)
    if stored is None or key >= stored[1]:
        profile.traits[trait] = (value, key)


# ── one trait ─────────────────────────────────────────────────────────────────────────────────────


def _shown(value: Any) -> str:
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= 60 else f"{text[:60]}…"


def _read_other(name: str, value: Any, count: int) -> tuple[str, Any, str | None]:
    """A trait without a column: its name and value as they are stored, and why it is rejected (null
    when it is not)."""
    kept = clean_text(name)
    if count > model.OTHER_TRAITS:
        return kept, None, f"more than {model.OTHER_TRAITS} traits in one message"
    if not 0 < len(kept) <= model.TEXT_CHARACTERS:
        return kept, None, f"a trait's name must have 1 to {model.TEXT_CHARACTERS} characters"
    if depth(value) > _DEPTH:
        return kept, None, f"{kept} is nested deeper than {_DEPTH} levels"
    if isinstance(value, int) and abs(value) >= 10**299:
        return kept, None, f"{kept} is a number of 300 digits or more"
    value, lost = lenient.clean(value)
    if lost:
        return kept, None, f"{kept} contains {lost[0]}, which is not a JSON value"
    size = len(msgspec.json.encode(value))
    return kept, value, f"{kept} is larger than 4096 bytes" if size > 4096 else None


def _read_word(value: Any) -> str | None:
    text = read_text(value)
    return re.sub(r"[\s-]+", "_", text.lower()) if text else None


def _read_email(value: Any) -> str | None:
    """The address as it is sent; its domain must have a dot."""
    try:
        address = read_email(value) if isinstance(value, str) else None
    except EmailError:
        return None
    return address.addr_spec if address and re.search(r"\.[^.]{2,}$", address.domain) else None


def _read_country(value: Any) -> str | None:
    code = value.strip().upper() if isinstance(value, str) else ""
    # UK is reserved in ISO 3166-1, and often used
    code = "GB" if code == "UK" else code
    return code if code in model.COUNTRIES else None


@lru_cache
def _timezones() -> dict[str, str]:
    return {name.lower(): name for name in list_zones()}


def _read_timezone(value: Any) -> str | None:
    return _timezones().get(value.strip().lower()) if isinstance(value, str) else None


def _read_whole(most: int) -> Callable[[Any], int | None]:
    def read(value: Any) -> int | None:
        number = read_whole(value)
        return number if number is not None and 0 <= number <= most else None

    return read


def _read_created(value: Any) -> datetime | None:
    at = read_moment(value)
    return at if at is not None and 1990 <= at.year <= 2100 else None


def _read_consent(value: Any) -> bool | None:
    """A yes or no in any common spelling: a missed refusal would allow email."""
    if isinstance(value, bool):
        return value
    word = value.strip().lower() if isinstance(value, str) else str(read_whole(value))
    return True if word in _YES else False if word in _NO else None


_READERS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "name": (read_text, "text"),
    "email": (_read_email, "an email address that mail can be sent to"),
    "vendor_type": (_read_word, "text"),
    "plan": (read_text, "text"),
    "country": (_read_country, "an ISO 3166-1 country code (GB, NZ, US …)"),
    "timezone": (_read_timezone, "an IANA time zone (Europe/London)"),
    "mrr_minor": (_read_whole(10**15), "a whole number of minor units, at least 0"),
    "client_limit": (_read_whole(2**31 - 1), "a whole number, at least 0"),
    "created_at": (_read_created, "a time between 1990 and 2100 (ISO 8601, or seconds since 1970)"),
    "consent": (_read_consent, "true or false (or yes, no, 1, 0)"),
}
# t and f: PostgreSQL's COPY; 1.0: pandas; the others: programs and people
_YES = {"true", "t", "yes", "y", "on", "1", "1.0"}
_NO = {"false", "f", "no", "n", "off", "0", "0.0"}
_TEXTS = {"name", "vendor_type", "plan"}

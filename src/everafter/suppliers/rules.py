"""Traits: reading them, and keeping the value for the latest moment, in whatever order they
arrive."""

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
from everafter.suppliers.model import BadTrait, Profile, Said

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# Any moment that was said is greater: times begin with a year from 2000 on.
_WEAK = "0"
_DEPTH = 32


def read_traits(traits: dict[str, Any]) -> tuple[dict[str, Any], list[BadTrait]]:
    """The traits that can be kept, in canonical form, and those that cannot, with the reason.

    Args:
        traits: as they came; null means that the platform took the value back.

    Returns: Canonical name → value (created_at as a datetime in UTC, all else as JSON knows it),
        and the refused ones."""
    good: dict[str, Any] = {}
    bad: list[BadTrait] = []
    others = 0
    # spelt exactly comes last, so that it counts where two spellings of one trait are given
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


def fold_said(
    said: Iterable[Said], created: Iterable[tuple[str, str | None, datetime]] = ()
) -> list[Profile]:
    """What was said of each supplier, one profile a supplier, sorted by id.

    Args: said: canonical traits by message; of two words about one trait the later counts (see
        `Said`). created: suppliers whose account_created was seen, with the platform's own id (as
        in Profile) and the moment: the earliest is `created_at` until one is said."""
    profiles: dict[str, Profile] = {}
    for one in said:
        profile = profiles.setdefault(one.supplier_id, Profile(one.supplier_id))
        profile.external_id = profile.external_id or one.external_id
        key = time_key(one)
        for trait, value in one.traits.items():
            _say(profile, trait, value, key)
    for supplier_id, external_id, at in created:
        profile = profiles.setdefault(supplier_id, Profile(supplier_id))
        profile.external_id = profile.external_id or external_id
        # counted down, so that the earliest has the greatest key
        _say(
            profile,
            "created_at",
            at,
            f"{_WEAK}{10**18 - (at - _EPOCH) // timedelta(microseconds=1):019d}",
        )
    return sorted(profiles.values(), key=lambda profile: profile.supplier_id)


def time_key(said: Said) -> str:
    """A text that sorts by the moment spoken of, then by arrival.

    Up to 0.2.0 a hash of the value (hexadecimal) stood where the arrival is; `r` sorts after it, so
    that what arrives now counts against a word of the same moment that was kept then."""
    received = said.at if said.received_at is None else said.received_at
    return (
        f"{said.at.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f} r{received.astimezone(UTC):%Y%m%d%H%M%S%f}"
        f" {said.row:09d}"
    )


def _say(profile: Profile, trait: str, value: Any, key: str) -> None:
    there = profile.said.get(trait)
    if there is None or key >= there[1]:
        profile.said[trait] = (value, key)


# ── one trait ─────────────────────────────────────────────────────────────────────────────────────


def _shown(value: Any) -> str:
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= 60 else f"{text[:60]}…"


def _read_other(name: str, value: Any, count: int) -> tuple[str, Any, str | None]:
    """A trait without a column: its name and value as they are kept, and why it cannot be (null
    when it can)."""
    kept = clean_text(name)
    if count > model.OTHER_TRAITS:
        return kept, None, f"more than {model.OTHER_TRAITS} traits in one message"
    if not 0 < len(kept) <= model.TEXT_CHARACTERS:
        return kept, None, f"a trait's name must have 1 to {model.TEXT_CHARACTERS} characters"
    if depth(value) > _DEPTH:
        return kept, None, f"{kept} is nested deeper than {_DEPTH} levels"
    if isinstance(value, int) and abs(value) >= 10**299:
        return kept, None, f"{kept} is a number of 300 digits or more"
    value, gone = lenient.clean(value)
    if gone:
        return kept, None, f"{kept} contains {gone[0]}, which is not a JSON value"
    size = len(msgspec.json.encode(value))
    return kept, value, f"{kept} is larger than 4096 bytes" if size > 4096 else None


def _read_word(value: Any) -> str | None:
    text = read_text(value)
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
    code = (
        "GB" if code == "UK" else code
    )  # not in ISO 3166-1 but reserved for it, and what people write
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
    """Yes or no as programs write it: a refusal that was not understood would let mail through."""
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
    "mrr_minor": (_read_whole(10**15), "a whole number of minor units from 0 on"),
    "client_limit": (_read_whole(2**31 - 1), "a whole number from 0 on"),
    "created_at": (_read_created, "a time between 1990 and 2100 (ISO 8601, or seconds since 1970)"),
    "consent": (_read_consent, "true or false (or yes, no, 1, 0)"),
}
# true, True, TRUE from programs; t and f from PostgreSQL's COPY; 1.0 from pandas; the others from
# people
_YES = {"true", "t", "yes", "y", "on", "1", "1.0"}
_NO = {"false", "f", "no", "n", "off", "0", "0.0"}
_TEXTS = {"name", "vendor_type", "plan"}

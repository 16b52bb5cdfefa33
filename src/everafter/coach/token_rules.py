"""Check the header and the claims of a coach token. Pure: `now` is an argument."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from everafter.coach.errors import (
    TokenAlgorithmError,
    TokenAudienceError,
    TokenClaimsError,
    TokenEarlyError,
    TokenExpiredError,
    TokenLifetimeError,
    TokenTypeError,
)
from everafter.core.ids import SupplierId, read_supplier_id

ALGORITHM, TYPE, AUDIENCE = "HS256", "coach+jwt", "everafter-coach"
MOST_MINUTES = 15
LEEWAY_SECONDS = 10
"""Allowed difference between two clocks."""
CLOCK_AHEAD_SECONDS = 60


Moment = Annotated[float, Meta(ge=0)]
"""Seconds since 1970."""


class Claims(Struct, frozen=True):
    """The claims of a verified token. locale: of the reader; null: unknown."""

    sub: SupplierId
    aud: str | list[str]
    iat: Moment
    exp: Moment
    nbf: Moment | None = None
    locale: str | None = None


def check_header(header: Mapping[str, Any]) -> None:
    """Check the header of a token before its signature.

    Raises:
        TokenAlgorithmError: another algorithm than HS256, `none` among them.
        TokenTypeError: `typ` is not coach+jwt: a token made for something else.
    """
    if header.get("alg") != ALGORITHM:
        raise TokenAlgorithmError(
            f"alg is {_shown(header.get('alg'))}: sign with {ALGORITHM}; nothing else is accepted"
        )
    kind = header.get("typ")
    if not isinstance(kind, str) or kind.lower().removeprefix("application/") != TYPE:
        raise TokenTypeError(
            f'typ is {_shown(kind)}: set the header "typ": "{TYPE}", so that no other token is'
            " accepted as one"
        )


def check_claims(payload: bytes, now: datetime) -> Claims:
    """Check and return the claims of a token with a valid signature.

    Args:
        payload: the JSON between the token's dots, decoded.
        now: aware.

    Raises:
        TokenClaimsError: not JSON, or a claim is missing or has the wrong type.
        TokenAudienceError: `aud` does not name the coach.
        TokenLifetimeError: it is valid for longer than 15 minutes, or ends before it starts.
        TokenEarlyError: `iat` or `nbf` is in the future.
        TokenExpiredError: `exp` has passed.
    """
    try:
        claims = msgspec.json.decode(
            payload, type=Claims, dec_hook=lambda _, value: read_supplier_id(value)
        )
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise TokenClaimsError(
            f"the claims cannot be used: {error}. Needed: sub (the supplier's id), aud, iat and"
            " exp (numbers)"
        ) from None
    if AUDIENCE not in ([claims.aud] if isinstance(claims.aud, str) else claims.aud):
        raise TokenAudienceError(f'aud must be "{AUDIENCE}"')
    seconds = claims.exp - claims.iat
    if not 0 < seconds <= MOST_MINUTES * 60 + LEEWAY_SECONDS:
        raise TokenLifetimeError(
            f"exp − iat is {seconds:.0f} s, but must be above 0 and at most {MOST_MINUTES * 60};"
            " times are in seconds, not milliseconds"
        )
    at = now.timestamp()
    if claims.iat > at + CLOCK_AHEAD_SECONDS:
        raise TokenEarlyError(
            f"iat is {claims.iat - at:.0f} s in the future: the clock of the signing server is fast"
        )
    if claims.nbf is not None and claims.nbf > at + CLOCK_AHEAD_SECONDS:
        raise TokenEarlyError(
            f"nbf is {claims.nbf - at:.0f} s in the future: the token is not valid before then"
        )
    if claims.exp <= at - LEEWAY_SECONDS:
        raise TokenExpiredError(
            f"the token expired {at - claims.exp:.0f} s ago: fetch a new one and repeat the request"
        )
    return claims


def _shown(value: Any) -> str:
    return "missing" if value is None else repr(value)[:60]

"""Who works here: users, their sessions, and the limits both live under."""

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, get_args

Role = Literal["admin", "lead", "member", "observer"]
ROLES: tuple[Role, ...] = get_args(Role)

IDLE_LIMIT = timedelta(hours=12)
ABSOLUTE_LIMIT = timedelta(days=7)
BROWSER_LIMIT = timedelta(days=90)
"""A browser stays known to an account for so long after signing in."""
MAX_BROWSERS = 20
"""Known browsers of one account; the one that signed in longest ago goes."""

FAILURE_WINDOW = timedelta(minutes=15)
ACCOUNT_FAILURES = 10
"""Of one account from one address, or from one known browser."""
ADDRESS_FAILURES = 30
"""From one address, over all accounts, in browsers not known to them."""
STRANGER_FAILURES = 50
"""Of one account in browsers not known to it, from all addresses; then they share a slow season
index."""
UNKNOWN_SEASON_INDEX = timedelta(seconds=30)
MAX_BUCKETS = 100_000
"""Counters that are kept; those that end first go."""

MIN_PASSWORD = 12
MAX_PASSWORD = 256


@dataclass(frozen=True, slots=True)
class Viewer:
    """The person who looks at a page; `csrf_token` goes into every form of theirs."""

    user_id: uuid.UUID
    email: str
    name: str
    role: Role
    csrf_token: str


@dataclass(frozen=True, slots=True)
class User:
    """One row of the users table, without the password's hash."""

    id: uuid.UUID
    email: str
    name: str
    role: Role
    can_sign_in: bool
    last_seen_at: datetime | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Credentials:
    """What signing in needs; password_hash null: this user cannot sign in."""

    user_id: uuid.UUID
    password_hash: str | None


@dataclass(frozen=True, slots=True)
class Bucket:
    """A counter of tries: up to `most` of them in a window."""

    name: str
    most: int
    window: timedelta = FAILURE_WINDOW


@dataclass(frozen=True, slots=True)
class Try:
    """A try to sign in that was counted.

    buckets: where, by name.
    wait_until: it is one too many, and when the window ends; null: the password may be looked at.
    is_known: it came from a browser that this account has signed in with.
    """

    buckets: tuple[str, ...]
    wait_until: datetime | None
    is_known: bool

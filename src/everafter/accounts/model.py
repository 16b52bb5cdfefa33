"""Users, sessions and API keys: types and limits. Pure."""

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, get_args

Role = Literal["admin", "lead", "member", "observer"]
ROLES: tuple[Role, ...] = get_args(Role)

IDLE_LIMIT = timedelta(hours=12)
ABSOLUTE_LIMIT = timedelta(days=7)
BROWSER_LIMIT = timedelta(days=90)
"""How long a browser stays known to an account after signing in."""
MAX_BROWSERS = 20
"""Known browsers of one account; the oldest is dropped."""

FAILURE_WINDOW = timedelta(minutes=15)
ACCOUNT_FAILURES = 10
"""For one account, from one address or one known browser."""
ADDRESS_FAILURES = 30
"""From one address to all accounts, in unknown browsers."""
UNKNOWN_BROWSER_FAILURES = 50
"""For one account from all addresses, in unknown browsers; beyond that, they are limited to one
attempt in UNKNOWN_BROWSER_INTERVAL."""
UNKNOWN_BROWSER_INTERVAL = timedelta(seconds=30)
MAX_BUCKETS = 100_000
"""Counters that are stored; those whose window ends first are dropped."""

MIN_PASSWORD = 12
MAX_PASSWORD = 256


@dataclass(frozen=True, slots=True)
class Viewer:
    """The signed-in user of a page; `csrf_token` is part of every form."""

    user_id: uuid.UUID
    email: str
    name: str
    role: Role
    csrf_token: str

    @property
    def may_act(self) -> bool:
        """Whether the user may change anything; observers only look."""
        return self.role != "observer"


@dataclass(frozen=True, slots=True)
class User:
    """A user without the password's hash."""

    id: uuid.UUID
    email: str
    name: str
    role: Role
    can_sign_in: bool
    last_seen_at: datetime | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Credentials:
    """What signing in needs. password_hash: null when the user cannot sign in."""

    user_id: uuid.UUID
    password_hash: str | None


@dataclass(frozen=True, slots=True)
class Bucket:
    """A counter that allows `most` attempts in a window."""

    name: str
    most: int
    window: timedelta = FAILURE_WINDOW


@dataclass(frozen=True, slots=True)
class Attempt:
    """A counted attempt to sign in.

    buckets: the names of its counters.
    wait_until: when the window ends, if it is one too many; null: the password may be checked.
    is_known: the account has signed in with this browser before.
    """

    buckets: tuple[str, ...]
    wait_until: datetime | None
    is_known: bool

"""Who works here: users, their sessions, and the limits both live under."""

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, get_args

Role = Literal["admin", "lead", "member", "observer"]
ROLES: tuple[Role, ...] = get_args(Role)

IDLE_LIMIT = timedelta(hours=12)
ABSOLUTE_LIMIT = timedelta(days=7)
FAILURE_WINDOW = timedelta(minutes=15)
ACCOUNT_FAILURES = 10
ADDRESS_FAILURES = 30

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
class Throttle:
    """How many sign-ins failed in the present window, and when it ends."""

    bucket: str
    failures: int
    until: datetime

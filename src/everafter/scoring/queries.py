"""Recorded scores, and looking up the supplier that a command names."""

from dataclasses import dataclass
from datetime import date, datetime
from typing import NamedTuple

from everafter.core.db import Connection
from everafter.core.email_address import travelling_form
from everafter.core.errors import InputError, NotFoundError
from everafter.core.ids import find_supplier_id
from everafter.core.texts import like_pattern
from everafter.playbook.model import DIMENSIONS, Dimension
from everafter.signals.row_model import RiskLevel


class Found(NamedTuple):
    """A supplier that was looked up. external_id: the platform's own id; null where the platform
    uses the UUID."""

    supplier_id: str
    external_id: str | None
    name: str


async def find_supplier(conn: Connection, text: str) -> Found:
    """Find the one supplier that `text` names: by its id (the platform's own, or the UUID), an
    email address, or a part of its name.

    An id is tried first, so whatever suppliers call themselves, an id finds its own supplier.

    Raises:
        NotFoundError: no supplier matches.
        InputError: several match; the message lists them.
    """
    found: list[Found] = []
    if (supplier_id := find_supplier_id(text)) is not None:
        cursor = await conn.execute(
            "SELECT id::text, external_id, name FROM suppliers WHERE id = %s", [supplier_id]
        )
        found = [Found(*row) for row in await cursor.fetchall()]
    if not found:
        cursor = await conn.execute(
            """
            SELECT id::text, external_id, name
            FROM suppliers
            WHERE lower(email) = ANY (%(emails)s)
               OR name ILIKE %(pattern)s
            ORDER BY
              lower(name) = lower(%(text)s) DESC,
              lower(email) = ANY (%(emails)s) DESC,
              name
            LIMIT 6
            """,
            {
                "text": text,
                "emails": [text.lower(), travelling_form(text).lower()],
                "pattern": like_pattern(text),
            },
        )
        found = [Found(*row) for row in await cursor.fetchall()]
    if not found:
        raise NotFoundError(
            f"no supplier matches {text!r}: give an id, an email address or part of a name"
        )
    exact = [one for one in found if one.name.lower() == text.lower()]
    if len(found) > 1 and len(exact) != 1:
        several = "; ".join(
            f"{one.name} ({one.external_id or one.supplier_id})" for one in found[:5]
        )
        raise InputError(f"{text!r} matches several suppliers: {several}")
    return (exact or found)[0]


@dataclass(frozen=True, slots=True)
class RecordedScore:
    """A score as a daily run stored it. points: by dimension; null where unknown."""

    calculated_at: datetime
    score: float
    risk_level: RiskLevel
    points: dict[Dimension, float | None]
    coverage: float
    season_index: float
    playbook_version: int


async def get_recorded(conn: Connection, supplier_id: str, day: date) -> RecordedScore | None:
    """The score that the run of that day stored; null: none."""
    cursor = await conn.execute(
        """
        SELECT
          calculated_at,
          score,
          risk_level,
          login_points,
          feature_adoption_points,
          client_activity_points,
          form_completion_points,
          journey_performance_points,
          coverage,
          season_index,
          playbook_version
        FROM customer_health
        WHERE calculated_on = %s AND supplier_id = %s
        """,
        [day, supplier_id],
    )
    row = await cursor.fetchone()
    if row is None:
        return None
    at, score, risk, *points, coverage, season_index, version = row
    by_dimension = dict(zip(DIMENSIONS, points, strict=True))
    return RecordedScore(at, score, risk, by_dimension, coverage, season_index, version)

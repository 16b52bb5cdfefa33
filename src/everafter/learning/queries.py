"""Trainings and model versions in the database."""

import logging
from collections.abc import Iterable
from datetime import datetime
from typing import Any, LiteralString

import msgspec
import polars as pl
from psycopg.types.json import Jsonb

from everafter import __version__
from everafter.activity.model import TIME
from everafter.core.db import Connection, FrameReader, read_copy
from everafter.learning.fault_rules import find_fault
from everafter.learning.model import (
    HORIZONS,
    ChurnModels,
    Fitted,
    Kind,
    Metrics,
    ModelVersion,
    Parameters,
    Status,
    Training,
)

log = logging.getLogger("everafter.learning")


async def begin_training(conn: Connection, as_of: datetime) -> None:
    """Record that a training has begun."""
    await conn.execute(
        """
        INSERT INTO model_trainings (trained_as_of)
        VALUES (%(as_of)s)
        ON CONFLICT (trained_as_of) DO UPDATE SET
          started_at = clock_timestamp(),
          finished_at = NULL,
          snapshots = 0,
          error = ''
        """,
        {"as_of": as_of},
    )


async def finish_training(
    conn: Connection, as_of: datetime, *, snapshots: int = 0, error: str = ""
) -> None:
    """Record how a training ended."""
    await conn.execute(
        """
        UPDATE model_trainings
        SET
          finished_at = clock_timestamp(),
          snapshots = %s,
          error = %s
        WHERE trained_as_of = %s
        """,
        [snapshots, error, as_of],
    )


async def list_trained(conn: Connection) -> set[datetime]:
    """The moments as of which a training came to its end."""
    cursor = await conn.execute(
        """
        SELECT trained_as_of
        FROM model_trainings
        WHERE finished_at IS NOT NULL
          AND error = ''
        """
    )
    return {moment for (moment,) in await cursor.fetchall()}


async def get_training(conn: Connection) -> Training | None:
    """The latest training; null: none."""
    cursor = await conn.execute(
        """
        SELECT
          trained_as_of,
          started_at,
          finished_at,
          snapshots,
          coalesce(extract(epoch FROM finished_at - started_at), 0)::float8,
          error
        FROM model_trainings
        ORDER BY trained_as_of DESC
        LIMIT 1
        """
    )
    row = await cursor.fetchone()
    return Training(*row) if row else None


_VERSION: LiteralString = """
  id,
  trained_as_of,
  kind,
  horizon,
  parameters::text AS parameters,
  metrics::text AS metrics,
  status,
  promoted_at,
  reason
"""

_VERSION_SCHEMA: dict[str, Any] = {
    "id": pl.Int64(),
    "trained_as_of": TIME,
    "kind": pl.String(),
    "horizon": pl.Int64(),
    "parameters": pl.String(),
    "metrics": pl.String(),
    "status": pl.String(),
    "promoted_at": TIME,
    "reason": pl.String(),
}


async def list_versions(conn: Connection, since: datetime, until: datetime) -> list[ModelVersion]:
    """The versions trained as of a moment from `since` (included) up to `until` (included), the
    latest training first."""
    cursor = await conn.execute(
        f"""
        SELECT {_VERSION}
        FROM model_versions
        WHERE trained_as_of >= %s
          AND trained_as_of <= %s
        ORDER BY
          trained_as_of DESC,
          horizon,
          id
        """,
        [since, until],
    )
    return [_version(*row) for row in await cursor.fetchall()]


_SPEAKING: LiteralString = f"""
SELECT {_VERSION}
FROM model_versions
WHERE promoted_at IS NOT NULL
  AND trained_as_of = (
    SELECT max(trained_as_of)
    FROM model_versions
    WHERE promoted_at IS NOT NULL
      AND trained_as_of < {{as_of}}
  )
"""


def read_models(reader: FrameReader, as_of: datetime) -> ChurnModels:
    """The models that spoke at a moment: those of the latest training before it. Blocks.

    A training as of the moment itself followed the run of that moment, which did not know it.
    """
    return _models(reader.read(_SPEAKING, as_of=as_of))


async def get_models(conn: Connection, as_of: datetime) -> ChurnModels:
    """The same over another kind of connection."""
    return _models(await read_copy(conn, _SPEAKING, _VERSION_SCHEMA, {"as_of": as_of}))


def _models(versions: pl.DataFrame) -> ChurnModels:
    found = [_version(*row) for row in versions.iter_rows()]
    for version in found:
        if version.fault:
            log.warning(
                "model %s cannot be used, and no probability is shown: %s; train again with"
                " `everafter churn train`",
                version.name,
                version.fault,
            )
    return ChurnModels({one.horizon: one for one in found if one.horizon in HORIZONS})


def _version(
    number: int,
    trained_as_of: datetime,
    kind: Kind,
    horizon: int,
    parameters: str | None,
    metrics: str,
    status: Status,
    promoted_at: datetime | None,
    reason: str,
) -> ModelVersion:
    found, measured, fault = _decode(parameters, metrics)
    if fault:
        reason = f"Cannot be used, {fault}. To train again: everafter churn train"
    return ModelVersion(
        number,
        trained_as_of,
        kind,
        horizon,
        found,
        measured,
        status,
        promoted_at,
        reason,
        fault,
    )


def _decode(parameters: str | None, metrics: str) -> tuple[Parameters | None, Metrics, str]:
    """The numbers of a version, and why they cannot be used; they were written by another version
    or changed by hand, and no row may stop the runs."""
    try:
        measured = msgspec.json.decode(metrics, type=Metrics)
        found = msgspec.json.decode(parameters, type=Parameters) if parameters else None
    except msgspec.DecodeError as error:
        return None, Metrics(), f"not readable: {error}"
    fault = "" if found is None else find_fault(found)
    return (None if fault else found), measured, fault


async def save_versions(
    conn: Connection,
    as_of: datetime,
    models: Iterable[Fitted],
    speaking: dict[int, Kind],
    reasons: dict[tuple[int, Kind], str],
) -> None:
    """Write the versions of a training, replacing those of the same moment, and retire those that
    spoke before it.

    Args:
        speaking: by horizon.
        reasons: by horizon and kind.
    """
    await conn.execute("DELETE FROM model_versions WHERE trained_as_of = %s", [as_of])
    for one in models:
        speaks = speaking[one.horizon] == one.kind
        parameters = None if one.parameters is None else msgspec.to_builtins(one.parameters)
        await conn.execute(
            """
            INSERT INTO model_versions (
              trained_as_of,
              kind,
              horizon,
              parameters,
              metrics,
              status,
              promoted_at,
              reason,
              code_version
            )
            VALUES (
              %(as_of)s,
              %(kind)s,
              %(horizon)s,
              %(parameters)s,
              %(metrics)s,
              %(status)s,
              CASE WHEN %(speaks)s THEN clock_timestamp() END,
              %(reason)s,
              %(code)s
            )
            """,
            {
                "as_of": as_of,
                "kind": one.kind,
                "horizon": one.horizon,
                "parameters": None if parameters is None else Jsonb(parameters),
                "metrics": Jsonb(msgspec.to_builtins(one.metrics)),
                "status": "promoted" if speaks else "candidate",
                "speaks": speaks,
                "reason": reasons[one.horizon, one.kind],
                "code": __version__,
            },
        )
    await _retire(conn)


async def _retire(conn: Connection) -> None:
    """Only the latest training's models are promoted; those that spoke before it are retired."""
    cursor = await conn.execute(
        "SELECT max(trained_as_of) FROM model_versions WHERE promoted_at IS NOT NULL"
    )
    row = await cursor.fetchone()
    await conn.execute(
        """
        UPDATE model_versions
        SET status = CASE WHEN trained_as_of = %s THEN 'promoted' ELSE 'retired' END
        WHERE promoted_at IS NOT NULL
        """,
        [row[0] if row else None],
    )

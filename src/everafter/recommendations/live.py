"""Recommendations as of now, for the few suppliers that are asked about: the API, a supplier's
page."""

import asyncio
from datetime import UTC, datetime
from time import monotonic

import polars as pl
from litestar.datastructures import State

from everafter.core.db import Connection, Pool
from everafter.recommendations.client_rules import describe_clients
from everafter.recommendations.queries import get_effects, read_clients
from everafter.recommendations.rules import recommend
from everafter.scoring.live import score_live

_EFFECTS_KEPT_SECONDS = 60.0  # they change once a day


async def recommend_live(
    state: State,
    supplier_ids: list[str],
    language: str | None = None,
    *,
    most: int | None = None,
    scored: pl.DataFrame | None = None,
    conn: Connection | None = None,
) -> pl.DataFrame:
    """What these suppliers should do next, as of now; see `rules.recommend`.

    Args:
        state: the application's.
        language: of the texts ("de", "de-AT"); null: the playbook's own.
        most: see `rules.recommend`; null: all.
        scored: rows of `score_live`, if you have them; null: they are scored now.
        conn: to read on, if you hold one: waiting for a second connection of the pool while holding
            the first could block everybody. Null: one of the pool, given back before anything is
            computed.

    Raises:
        NotFoundError: a supplier is not known, or has cancelled.
        OverloadedError: too many requests are waiting for a score.
    """
    frame = await score_live(state, supplier_ids) if scored is None else scored
    now = datetime.now(UTC)
    if conn is not None:
        raw, effects = await _read(state, conn, supplier_ids, now)
    else:
        pool: Pool = state.pool
        async with pool.connection() as own:
            raw, effects = await _read(state, own, supplier_ids, now)

    def compute() -> pl.DataFrame:
        return recommend(frame, state.playbook, describe_clients(raw, now), effects, language, most)

    return await asyncio.to_thread(compute)  # 9 ms


async def _read(
    state: State, conn: Connection, supplier_ids: list[str], now: datetime
) -> tuple[pl.DataFrame, pl.DataFrame]:
    raw = await read_clients(conn, supplier_ids, now)
    read_at, effects = state.get("recommendation_effects") or (0.0, None)
    if effects is None or monotonic() - read_at > _EFFECTS_KEPT_SECONDS:
        effects, _ = await get_effects(conn)
        state.recommendation_effects = (monotonic(), effects)
    return raw, effects

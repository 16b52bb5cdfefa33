"""What scores make of a damaged platform: a feed that stops for ten days, and a platform that sends
nothing but logins."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from benchmarks.replay.market import Market
from benchmarks.replay.record import Record, score_with_signs
from benchmarks.replay.replay import Replay, start

OUTAGE_DAYS = 10
_MEDIUM_ABOVE = 0.4
_LOGIN_ONLY_EVERY = 10


@dataclass(frozen=True, slots=True)
class Outage:
    """Ten days without logins of all suppliers, or of half of them. Numbers of suppliers that were
    there before and after: healthy before and not after; critical after and not before; churn risk
    above 0.4 after and not before; alarms of inactivity begun meanwhile. `usual_…`: the same in
    the same ten days as they were. `only_…`: those that are so after the damaged days, and would
    not be after the same days as they were."""

    suppliers: int
    newly_at_risk: int
    newly_critical: int
    newly_churn: int
    inactive_alarms: int
    usual_at_risk: int
    usual_critical: int
    usual_churn: int
    usual_alarms: int
    only_at_risk: int
    only_critical: int
    only_churn: int


def play_outage(replay: Replay, affected: NDArray[np.bool_] | None = None) -> Outage:
    """Replay the coming ten days twice, with the logins and without.

    Args:
        affected: (suppliers,); null: all.
    """
    market = replay.market
    names = market.suppliers["supplier_id"]
    dark = names if affected is None else names.filter(pl.Series(affected))
    missing = (pl.col("type") == "login") & pl.col("supplier_id").is_in(dark.implode())
    before = score_with_signs(replay)
    after: list[tuple[pl.DataFrame, int]] = []
    for damaged in (True, False):
        aside, alarms = replay.copy(), 0
        last = before
        for _ in range(OUTAGE_DAYS):
            events = market.days[aside.day]
            aside.advance(events.filter(~missing) if damaged else events)
            scored = score_with_signs(aside)
            began = scored.join(
                last.filter(pl.col("_inactive") == 0), on="supplier_id", how="semi"
            ).filter(pl.col("_inactive") == 1)
            alarms, last = alarms + began.height, scored
        after.append((last, alarms))
    (damaged, alarms), (usual, usual_alarms) = (
        (_newly(before, last), alarms) for last, alarms in after
    )
    only = damaged.join(usual, on="supplier_id", suffix="_usual").select(
        (pl.col(name) & ~pl.col(f"{name}_usual")).sum() for name in _CHANGES
    )
    newly = {
        f"{prefix}_{name}": int(frame[name].sum())
        for prefix, frame in (("newly", damaged), ("usual", usual), ("only", only))
        for name in _CHANGES
    }
    return Outage(
        suppliers=before.height, inactive_alarms=alarms, usual_alarms=usual_alarms, **newly
    )


_CHANGES = ("at_risk", "critical", "churn")


def _newly(before: pl.DataFrame, after: pl.DataFrame) -> pl.DataFrame:
    """supplier_id, and for each of _CHANGES whether it has come about."""
    columns = ["supplier_id", "_health", "churn_risk"]
    both = before.select(columns).join(after.select(columns), on="supplier_id", suffix="_after")
    return both.select(
        "supplier_id",
        at_risk=(pl.col("_health") == 0) & (pl.col("_health_after") > 0),
        critical=(pl.col("_health") < 2) & (pl.col("_health_after") == 2),
        churn=(pl.col("churn_risk") <= _MEDIUM_ABOVE)
        & (pl.col("churn_risk_after") > _MEDIUM_ABOVE),
    ).fill_null(False)


def login_only_shares(
    market: Market, full: Record, progress: Callable[[str], None]
) -> tuple[float, float]:
    """The share at risk or critical, of suppliers of the market: when only logins are ever sent,
    and with all events."""
    replay = start(market.only("login"))
    rows = {name: n for n, name in enumerate(market.suppliers["supplier_id"])}
    only: list[float] = []
    whole: list[float] = []
    begin, end = int(full.days[0]), int(full.days[-1])
    while replay.day <= end:
        place = replay.day - begin
        if place >= 0 and place % _LOGIN_ONLY_EVERY == 0:
            scored = score_with_signs(replay)
            numbers = scored["supplier_id"].replace_strict(rows, return_dtype=pl.Int64).to_numpy()
            level = np.full(len(rows), np.nan)
            level[numbers] = scored["_health"].fill_null(np.nan).to_numpy()
            usual = full.values["_health"][place]
            there = full.there[place] & ~np.isnan(usual)
            whole += (usual[there] > 0).tolist()
            known = there & ~np.isnan(level)
            only += (level[known] > 0).tolist()
        if replay.day % 60 == 0:
            progress(f"{market.name}, logins only: day {replay.day} of {end}")
        replay.advance()
    return float(np.mean(only)) if only else float("nan"), float(np.mean(whole))

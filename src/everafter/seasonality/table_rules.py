"""The history of the peer activity index as rows of `season_index` and `vendor_type_norms`, and
back. Pure."""

from datetime import date, timedelta

import numpy as np
import polars as pl

from everafter.seasonality.history_rules import Day, History
from everafter.seasonality.model import (
    GROUPS,
    HEMISPHERES,
    TYPES,
    Channel,
    ChannelDay,
    ChannelState,
    Floats,
    Norms,
)

_EPOCH = date(1970, 1, 1)
_ROWS = GROUPS + len(HEMISPHERES)
_PREFIX: dict[Channel, str] = {"logins": "login", "uses": "use"}
_COLUMNS = ("activity", "state", "precision", "seen", "expected", "usual", "counted")
_NORMS = (
    "login_burst",
    "login_drift",
    "use_burst",
    "use_drift",
    "inactivity_share",
    "inactivity_power",
)
_KEYS = [
    *((hemisphere, vendor_type) for hemisphere in HEMISPHERES for vendor_type in TYPES),
    *((hemisphere, "") for hemisphere in HEMISPHERES),
]

INDEX_SCHEMA: dict[str, pl.DataType] = {
    "day": pl.Date(),
    "hemisphere": pl.String(),
    "vendor_type": pl.String(),
    "season_index": pl.Float64(),
    **{
        f"{prefix}_{name}": pl.Boolean() if name == "stopped" else pl.Float64()
        for prefix in _PREFIX.values()
        for name in (*_COLUMNS, "stopped")
    },
}
NORMS_SCHEMA: dict[str, pl.DataType] = {
    "day": pl.Date(),
    "vendor_type": pl.String(),
    **dict.fromkeys(("gaps", "rare_gaps", "rarity", *_NORMS), pl.Float64()),
}


def to_date(day: int) -> date:
    """The date of a day number."""
    return _EPOCH + timedelta(days=day)


def to_day(of: date) -> int:
    """The number of a date: days since 1970-01-01."""
    return (of - _EPOCH).days


def index_rows(history: History, first: int) -> pl.DataFrame:
    """The rows of `season_index` (INDEX_SCHEMA) from a day on."""
    frames = [
        _index_of_day(to_date(history.first_day + number), day)
        for number, day in enumerate(history.days)
        if history.first_day + number >= first
    ]
    return pl.concat(frames) if frames else pl.DataFrame(schema=INDEX_SCHEMA)


def _index_of_day(on: date, day: Day) -> pl.DataFrame:
    none = np.full(len(HEMISPHERES), np.nan)
    columns: dict[str, Floats] = {"season_index": np.concatenate([day.season_index, none])}
    for channel, prefix in _PREFIX.items():
        one = day.channels[channel]
        state = one.state
        values = {
            "activity": (one.activity, one.level_that_day),
            "state": (state.deviation, state.level),
            "precision": (state.deviation_precision, state.level_precision),
            "seen": (one.seen, one.seen.reshape(len(HEMISPHERES), -1).sum(axis=1)),
            "expected": (one.expected, one.expected.reshape(len(HEMISPHERES), -1).sum(axis=1)),
            "usual": (one.usual, none),
            "counted": (np.full(GROUPS, np.nan), one.counted),
            "stopped": (
                np.repeat(one.stopped, len(TYPES)).astype(float),
                one.stopped.astype(float),
            ),
        }
        columns |= {f"{prefix}_{name}": np.concatenate(pair) for name, pair in values.items()}
    return pl.DataFrame(
        {
            "day": [on] * _ROWS,
            "hemisphere": [hemisphere for hemisphere, _ in _KEYS],
            "vendor_type": [vendor_type for _, vendor_type in _KEYS],
            **columns,
        },
        nan_to_null=True,
    ).cast(pl.Schema(INDEX_SCHEMA))


def norms_rows(history: History, first: int) -> pl.DataFrame:
    """The rows of `vendor_type_norms` (NORMS_SCHEMA) from a day on."""
    frames = [
        pl.DataFrame(
            {
                "day": [to_date(history.first_day + number)] * len(TYPES),
                "vendor_type": list(TYPES),
                "gaps": day.gaps[:, 0],
                "rare_gaps": day.gaps[:, 1],
                "rarity": day.gaps[:, 2],
                **{name: getattr(day.norms, name) for name in _NORMS},
            },
            schema=NORMS_SCHEMA,
        )
        for number, day in enumerate(history.days)
        if history.first_day + number >= first
    ]
    return pl.concat(frames) if frames else pl.DataFrame(schema=NORMS_SCHEMA)


def read_history(index: pl.DataFrame, norms: pl.DataFrame) -> History:
    """The history from its rows: the last days without a gap between them.

    Args:
        index, norms: INDEX_SCHEMA and NORMS_SCHEMA, in any order.
    """
    order = pl.DataFrame(
        {
            "hemisphere": [hemisphere for hemisphere, _ in _KEYS],
            "vendor_type": [vendor_type for _, vendor_type in _KEYS],
            "place": list(range(_ROWS)),
        }
    )
    index = index.join(order, on=["hemisphere", "vendor_type"]).sort("day", "place")
    kinds = pl.DataFrame({"vendor_type": list(TYPES), "place": list(range(len(TYPES)))})
    norms = norms.join(kinds, on="vendor_type").sort("day", "place")
    days = _last_run(index, norms)
    if not days:
        return History(0, [])
    index = index.filter(pl.col("day").is_between(days[0], days[-1]))
    norms = norms.filter(pl.col("day").is_between(days[0], days[-1]))
    by_day = {name: _by_day(index, name, _ROWS) for name in INDEX_SCHEMA if name not in _TEXT}
    learned = {name: _by_day(norms, name, len(TYPES)) for name in NORMS_SCHEMA if name not in _TEXT}
    return History(to_day(days[0]), [_day(by_day, learned, number) for number in range(len(days))])


_TEXT = {"day", "hemisphere", "vendor_type"}


def _last_run(index: pl.DataFrame, norms: pl.DataFrame) -> list[date]:
    """The last days in a row of which all rows are there."""
    whole = set(_complete(index, _ROWS)) & set(_complete(norms, len(TYPES)))
    days: list[date] = []
    for day in sorted(whole, reverse=True):
        if days and (days[-1] - day).days != 1:
            break
        days.append(day)
    return days[::-1]


def _complete(frame: pl.DataFrame, size: int) -> list[date]:
    return frame.group_by("day").len().filter(pl.col("len") == size)["day"].to_list()


def _by_day(frame: pl.DataFrame, name: str, size: int) -> Floats:
    return frame[name].cast(pl.Float64).fill_null(np.nan).to_numpy().reshape(-1, size)


def _day(index: dict[str, Floats], learned: dict[str, Floats], number: int) -> Day:
    channels: dict[Channel, ChannelDay] = {}
    for channel, prefix in _PREFIX.items():
        group = {name: index[f"{prefix}_{name}"][number, :GROUPS] for name in _COLUMNS}
        half = {name: index[f"{prefix}_{name}"][number, GROUPS:] for name in _COLUMNS}
        channels[channel] = ChannelDay(
            ChannelState(half["state"], half["precision"], group["state"], group["precision"]),
            group["activity"],
            half["activity"],
            group["seen"],
            group["expected"],
            index[f"{prefix}_stopped"][number, GROUPS:] > 0,
            group["usual"],
            half["counted"],
        )
    gaps = np.column_stack([learned[name][number] for name in ("gaps", "rare_gaps", "rarity")])
    norms = Norms(**{name: learned[name][number] for name in _NORMS})
    return Day(channels, index["season_index"][number, :GROUPS], norms, gaps)

"""What the measured season adds to a daily run: CPU seconds for 200,000 suppliers."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from time import process_time

import numpy as np
import polars as pl

from benchmarks.table import Row
from everafter.activity import model
from everafter.core.settings import load_settings
from everafter.playbook.loading import load_playbook
from everafter.seasonality.count_rules import to_counts
from everafter.seasonality.frame_rules import add_season
from everafter.seasonality.history_rules import History, advance, to_peer_activity

_SLICE = 20_000
_AS_OF = datetime(2026, 11, 28, 5, tzinfo=UTC)
_TURNS = 3


def measure(server: str, suppliers: int = 200_000) -> list[Row]:
    """Measure an evening: counting yesterday, advancing the index, and the signals of every
    supplier; the least of three turns. It needs no database."""
    frame = _make_rows(suppliers)
    today = int(_AS_OF.timestamp() // 86_400)
    playbook = load_playbook(load_settings(make=False))
    history = advance(History(today - 128, []), to_counts(frame[:2000], today - 1), today - 2)
    peers = to_peer_activity(history)
    counts = to_counts(frame, today - 1)
    parts: list[tuple[str, Callable[[], object]]] = [
        ("ring buffers by day", lambda: to_counts(frame, today - 1)),
        ("the evening's index", lambda: advance(history, counts, today - 1)),
        (
            "signals",
            lambda: [
                add_season(frame[start : start + _SLICE], playbook, _AS_OF, peers)
                for start in range(0, suppliers, _SLICE)
            ],
        ),
    ]
    seconds = {name: min(_seconds(do) for _ in range(_TURNS)) for name, do in parts}
    total = sum(seconds.values())
    spent = ", ".join(f"{name} {value:.2f}" for name, value in seconds.items())
    return [
        Row(
            "season, CPU seconds",
            f"{suppliers:,} suppliers: {spent}",
            f"{total:.2f} s",
            "≤ 2 s",
            total <= 2,
        )
    ]


def _seconds(do: Callable[[], object]) -> float:
    started = process_time()
    do()
    return process_time() - started


def _make_rows(suppliers: int) -> pl.DataFrame:
    """Rows as signals.queries and seasonality.queries read them, with random activity."""
    random = np.random.default_rng(1)
    began = _AS_OF - timedelta(days=300)
    hours_ago = random.integers(1, 120, suppliers)
    logins = random.random((suppliers, model.LOGIN_SLOTS)) < random.beta(1, 3, (suppliers, 1))
    rates = random.gamma(1, 1, (suppliers, 1))
    moments = ("began_at", "account_created_at", "created_at", "first_event_at")
    return pl.DataFrame(
        {
            "vendor_type": random.choice(["photographer", "dj", "venue", "florist"], suppliers),
            "country": random.choice(["GB", "US", "AU", "ZZ"], suppliers),
        }
    ).with_columns(
        *(pl.lit(began).cast(model.TIME).alias(name) for name in moments),
        pl.lit(None, model.TIME).alias("ended_at"),
        pl.lit(_AS_OF).cast(model.TIME).alias("last_event_at"),
        (pl.lit(_AS_OF).cast(model.TIME) - pl.duration(hours=pl.lit(pl.Series(hours_ago)))).alias(
            "last_login_at"
        ),
        model.pack_bits(logins).alias("login_days"),
        model.pack_bytes(random.poisson(rates, (suppliers, model.USE_SLOTS))).alias(
            "feature_uses_d"
        ),
        model.pack_ring(random.poisson(7 * rates, (suppliers, model.WEEK_SLOTS))).alias(
            "feature_uses_w"
        ),
    )

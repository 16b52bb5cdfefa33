"""From what the supplier's activity holds to the signals, for one supplier or a million. Pure: the
moment is an argument."""

from datetime import datetime

import numpy as np
import numpy.typing as npt
import polars as pl

from everafter.activity import model
from everafter.activity.model import Ages, Matrix, sum_window
from everafter.playbook.model import Playbook

RHYTHM_DAYS = 84
# Prior of a day having a login: worth half a login day in a week, so that a handful of own days
# outweighs it.
_PRIOR_DAYS = 7.0
_PRIOR_LOGINS = 0.5
_LEAST_LOGINS = 4
_LEAST_USES = 8


def compute_signals(
    frame: pl.DataFrame, playbook: Playbook, as_of: datetime, feature_ids: dict[str, int]
) -> pl.DataFrame:
    """Add the signals of activity, clients, forms, journeys, features, support and money.

    Args: frame: a row per supplier as signals.queries reads it, with `season_index` and
        `season_trend` from the season. as_of: the moment scored; nothing later is counted.

    Returns: The frame with `segment` and the columns the registry (signals/model.py) names for
        those groups; rings are dropped, but for feature_days, of which the onboarding path asks.
    """
    now = model.moment(as_of)
    began = pl.coalesce("account_created_at", "created_at")
    frame = frame.with_columns(
        _days_between(began, now).alias("tenure_days"),
        _days_between(pl.coalesce("last_login_at", began), now).alias("days_since_login"),
        pl.when(pl.col("vendor_type").is_in(list(playbook.segments)))
        .then(pl.col("vendor_type"))
        .otherwise(pl.lit("default"))
        .alias("segment"),
    )
    # nothing used in 12 weeks by someone who did use something before: the decline is complete, not
    # unknown
    dormant = (pl.col("feature_uses_4w") + pl.col("_uses_before") == 0) & (
        pl.col("_days_unused") > RHYTHM_DAYS
    )
    counted = _counted(frame, as_of)
    past_due = pl.col("payment_failed_at").is_not_null() & ~(
        pl.col("payment_recovered_at") >= pl.col("payment_failed_at")
    ).fill_null(False)
    return (
        frame.with_columns(
            *counted,
            *_adopted(frame, playbook, as_of, feature_ids),
            _inactivity_probability(frame, counted),
        )
        .with_columns(
            (pl.col("days_since_login") * pl.col("season_index")).alias("days_inactive"),
            pl.when(pl.col("events_total") > 0)
            .then(pl.col("features_adopted") / pl.col("_key_features"))
            .alias("feature_adoption"),
            _ratio("clients_active_30d", pl.col("clients_total")).alias("client_activity"),
            _ratio("clients_lost_13w", pl.col("clients_total") + pl.col("clients_lost_13w")).alias(
                "client_loss_rate"
            ),
            _ratio("forms_answered_13w", pl.col("forms_sent_13w")).alias("form_completion_rate"),
            _ratio("_emails_opened", pl.col("journey_emails_13w")).alias("journey_open_rate"),
            pl.when(pl.col("_uses_before") >= _LEAST_USES)
            .then(2 * pl.col("feature_uses_4w") / (pl.col("_uses_before") * pl.col("season_trend")))
            .when(dormant)
            .then(0.0)
            .alias("feature_use_ratio"),
            past_due.alias("payment_past_due"),
            pl.when(past_due)
            .then(_days_between(pl.col("payment_failed_at"), now))
            .alias("days_past_due"),
            pl.max_horizontal(
                pl.when(pl.col("client_limit") > 0).then(
                    pl.col("clients_total") / pl.col("client_limit")
                ),
                "usage_ratio",
            ).alias("limit_ratio"),
        )
        .drop(
            "_emails_opened",
            "_uses_before",
            "_rhythm_logins",
            "_key_features",
            "_days_unused",
            "last_feature_at",
            "login_days",
            "clients_active_d",
            *model.WEEK_RINGS,
            "weddings",
        )
    )


def _days_between(start: pl.Expr, end: pl.Expr) -> pl.Expr:
    return ((end - start).dt.total_microseconds() / 86_400_000_000).clip(lower_bound=0)


def _ratio(part: str, whole: pl.Expr) -> pl.Expr:
    return pl.when(whole > 0).then(pl.col(part) / whole)


def _inactivity_probability(frame: pl.DataFrame, counted: list[pl.Series]) -> pl.Series:
    """P(no login for so long) when each day has a login with the supplier's own chance, which is
    Beta-distributed.

    Beta(a, b) after n login days of the D up to the last login (12 weeks, or the account's life
    when that is shorter); t days of silence, shortened where the season slows, have the chance B(a,
    b + t) / B(a, b). Days and not logins are counted: someone who comes daily is then certain to
    come, where a Poisson process would still skip one day in three (docs/decisions/0012). Source:
    the spec's notes 2 and 4; docs/methods.md, early warning."""
    logins = next(series for series in counted if series.name == "_rhythm_logins").to_numpy()
    silent = frame["days_since_login"].to_numpy()
    tenure = frame["tenure_days"].to_numpy()
    seen = np.maximum(
        np.clip(np.where(np.isnan(tenure), RHYTHM_DAYS, tenure - silent), 1, RHYTHM_DAYS), logins
    )
    a, b = _PRIOR_LOGINS + logins, _PRIOR_DAYS - _PRIOR_LOGINS + seen - logins
    t = silent * np.minimum(frame["season_trend"].to_numpy(), 1.0)
    chance = np.exp(_log_gamma(b + t) - _log_gamma(b) + _log_gamma(a + b) - _log_gamma(a + b + t))
    known = (logins >= _LEAST_LOGINS) & ~np.isnan(silent)
    return pl.Series("inactivity_probability", np.where(known, chance, np.nan), nan_to_null=True)


def _log_gamma(x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """ln Γ(x) for x > 0, by Stirling's series eight steps up; the error is under 1e-10."""
    up = x + 8.0
    series = (
        (up - 0.5) * np.log(up)
        - up
        + 0.5 * np.log(2 * np.pi)
        + 1 / (12 * up)
        - 1 / (360 * up**3)
        + 1 / (1260 * up**5)
    )
    return series - sum(np.log(x + step) for step in range(8))


def _counted(frame: pl.DataFrame, as_of: datetime) -> list[pl.Series]:
    """What is read from the rings and the list of weddings."""
    today = int(as_of.timestamp() // 86_400)
    week = (today + 3) // 7
    days = frame.select(
        pl.col("last_event_at", "last_login_at").dt.epoch("d").cast(pl.Int64).fill_null(0)
    )
    head, last_login = days["last_event_at"].to_numpy(), days["last_login_at"].to_numpy()
    head_week = (head + 3) // 7
    logins = model.unpack_bits(frame["login_days"], model.LOGIN_SLOTS)
    login_ages = Ages(head, model.LOGIN_SLOTS)
    active = sum_window(
        model.read_ring(frame["clients_active_d"], model.ACTIVE_SLOTS),
        Ages(head, model.ACTIVE_SLOTS).window(today, 30),
    )
    ages = Ages(head_week, model.WEEK_SLOTS)
    weeks13, weeks4, week12_before = (
        ages.window(week, 13),
        ages.window(week, 4),
        ages.window(week, 12, skip=1),
    )
    ring = {name: model.read_ring(frame[name], model.WEEK_SLOTS) for name in model.WEEK_RINGS}
    counts: dict[str, Matrix] = {
        "login_days_28d": (logins & login_ages.window(today, 28)).sum(axis=1),
        "login_days_84d": (logins & login_ages.window(today, 84)).sum(axis=1),
        "_rhythm_logins": (logins & login_ages.window(last_login, RHYTHM_DAYS)).sum(axis=1),
        "clients_active_30d": active,
        "clients_lost_13w": sum_window(ring["clients_lost_w"], weeks13),
        "forms_sent_13w": sum_window(ring["forms_sent_w"], weeks13),
        "forms_answered_13w": sum_window(ring["forms_answered_w"], weeks13),
        "forms_waiting": sum_window(ring["forms_sent_w"] - ring["forms_answered_w"], week12_before),
        "journey_emails_13w": sum_window(ring["emails_sent_w"], weeks13),
        "_emails_opened": sum_window(ring["emails_opened_w"], weeks13),
        "feature_uses_4w": sum_window(ring["feature_uses_w"], weeks4),
        "_uses_before": sum_window(ring["feature_uses_w"], ages.window(week, 8, skip=4)),
        "tickets_4w": sum_window(ring["tickets_w"], weeks4),
        "payments_failed_13w": sum_window(ring["payments_failed_w"], weeks13),
    }
    return [pl.Series(name, values) for name, values in counts.items()] + _weddings(
        frame["weddings"], today
    )


def _weddings(weddings: pl.Series, today: int) -> list[pl.Series]:
    parts = pl.select(n=pl.lit(weddings).list.len().fill_null(0))
    lengths = parts["n"].to_numpy()
    rows = np.repeat(np.arange(len(lengths)), lengths)
    ahead = (
        weddings.drop_nulls()
        .explode(empty_as_null=False, keep_nulls=False)
        .to_numpy()
        .astype(np.int64)
        - today
    )
    coming = ahead >= 0
    rows, ahead = rows[coming], ahead[coming]
    nearest = np.full(len(lengths), np.inf)
    np.minimum.at(nearest, rows, ahead)
    return [
        pl.Series("weddings_90d", np.bincount(rows[ahead <= 90], minlength=len(lengths))),
        pl.Series("weddings_365d", np.bincount(rows[ahead <= 365], minlength=len(lengths))),
        pl.Series(
            "days_to_next_wedding",
            [None if at == np.inf else int(at) for at in nearest.tolist()],
            dtype=pl.Int64,
        ),
    ]


def _adopted(
    frame: pl.DataFrame, playbook: Playbook, as_of: datetime, feature_ids: dict[str, int]
) -> list[pl.Series]:
    """Key features of the segment used within the playbook's window."""
    today = int(as_of.timestamp() // 86_400)
    slots = max(feature_ids.values(), default=0) + 1
    last_used = model.unpack_slots(frame["feature_days"], slots)
    used = last_used > today - playbook.health.feature_window_days
    segments = frame["segment"].to_numpy()
    adopted = np.zeros(frame.height, dtype=np.int64)
    keys = np.ones(frame.height, dtype=np.int64)
    for name, segment in playbook.segments.items():
        rows = np.flatnonzero(segments == name)
        ids = [feature_ids[feature] for feature in segment.key_features if feature in feature_ids]
        adopted[rows] = used[rows][:, ids].sum(axis=1)
        keys[rows] = len(segment.key_features)
    last = np.maximum(
        last_used.max(axis=1), frame["last_feature_at"].dt.epoch("d").fill_null(0).to_numpy()
    )
    return [
        pl.Series("features_adopted", adopted),
        pl.Series("_key_features", keys),
        pl.Series("_days_unused", np.where(last > 0, today - last, 0)),
    ]

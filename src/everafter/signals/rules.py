"""Computing signals from a supplier's activity, for one supplier or a million. Pure."""

from datetime import datetime

import numpy as np
import polars as pl

from everafter.activity import model
from everafter.activity.model import Ages, Matrix, sum_window
from everafter.playbook.model import Playbook
from everafter.signals.model import WEDDINGS_DAYS, WEDDINGS_YEAR_DAYS

RHYTHM_DAYS = 84
"""Days before the last login in which a supplier's rhythm is measured."""

# Prior of a login on a day: half a login day in a week, which a handful of own days outweighs.
_PRIOR_DAYS = 7.0
_PRIOR_LOGINS = 0.5

_MIN_LOGIN_DAYS = 4
_MIN_USES = 8
_ACTIVE_DAYS = 30

# Columns that only the computation needs.
_DROPPED = (
    "_emails_opened",
    "_uses_before",
    "_key_features",
    "_days_unused",
    "last_feature_at",
    "login_days",
    "clients_active_d",
    "feature_uses_d",
    *model.WEEK_RINGS,
    "weddings",
)


def compute_signals(
    frame: pl.DataFrame, playbook: Playbook, as_of: datetime, feature_ids: dict[str, int]
) -> pl.DataFrame:
    """Compute the signals of profile, activity, clients, forms, journeys, features, support and
    money.

    Args:
        frame: a row per supplier, as signals.queries reads it, with the columns of
            seasonality.frame_rules.add_season.
        as_of: the moment scored; nothing later is counted.
        feature_ids: slots of the features in `feature_days`.

    Returns:
        The frame with `segment` and the signals of those groups. The ring buffers are dropped,
        except feature_days, which the onboarding path needs.
    """
    now = model.moment(as_of)
    frame = _add_profile(frame, playbook, now)
    counted = _counted(frame, as_of)
    past_due = _past_due()
    return (
        frame.with_columns(
            *counted,
            *_adopted(frame, playbook, as_of, feature_ids),
        )
        .with_columns(
            pl.when(pl.col("events_total") > 0)
            .then(pl.col("features_adopted") / pl.col("_key_features"))
            .alias("feature_adoption"),
            _ratio("clients_active_30d", pl.col("clients_total")).alias("client_activity"),
            _ratio("clients_lost_13w", pl.col("clients_total") + pl.col("clients_lost_13w")).alias(
                "client_loss_rate"
            ),
            _ratio("forms_answered_13w", pl.col("forms_sent_13w")).alias("form_completion_rate"),
            _ratio("_emails_opened", pl.col("journey_emails_13w")).alias("journey_open_rate"),
            _feature_use_ratio().alias("feature_use_ratio"),
            past_due.alias("payment_past_due"),
            pl.when(past_due)
            .then(_days_between(pl.col("payment_failed_at"), now))
            .alias("days_past_due"),
            _limit_ratio().alias("limit_ratio"),
        )
        .drop(_DROPPED)
    )


def _add_profile(frame: pl.DataFrame, playbook: Playbook, now: pl.Expr) -> pl.DataFrame:
    began = pl.coalesce("account_created_at", "created_at")
    return frame.with_columns(
        _days_between(began, now).alias("tenure_days"),
        _days_between(pl.coalesce("last_login_at", began), now).alias("days_since_login"),
        pl.when(pl.col("vendor_type").is_in(list(playbook.segments)))
        .then(pl.col("vendor_type"))
        .otherwise(pl.lit("default"))
        .alias("segment"),
    )


def _past_due() -> pl.Expr:
    recovered = pl.col("payment_recovered_at") >= pl.col("payment_failed_at")
    return pl.col("payment_failed_at").is_not_null() & ~recovered.fill_null(False)


def _feature_use_ratio() -> pl.Expr:
    """Uses in the last 4 weeks ÷ half the uses of the 8 weeks before, adjusted for the season."""
    uses, before = pl.col("feature_uses_4w"), pl.col("_uses_before")
    # A supplier that used features before and none in 12 weeks has declined completely: 0, not
    # unknown.
    has_stopped = (uses + before == 0) & (pl.col("_days_unused") > RHYTHM_DAYS)
    return (
        pl.when(before >= _MIN_USES)
        .then(2 * uses / (before * pl.col("season_trend")))
        .when(has_stopped)
        .then(0.0)
    )


def _limit_ratio() -> pl.Expr:
    of_clients = pl.col("clients_total") / pl.col("client_limit")
    return pl.max_horizontal(pl.when(pl.col("client_limit") > 0).then(of_clients), "usage_ratio")


def _days_between(start: pl.Expr, end: pl.Expr) -> pl.Expr:
    return ((end - start).dt.total_microseconds() / 86_400_000_000).clip(lower_bound=0)


def _ratio(part: str, whole: pl.Expr) -> pl.Expr:
    return pl.when(whole > 0).then(pl.col(part) / whole)


def _counted(frame: pl.DataFrame, as_of: datetime) -> list[pl.Series]:
    """The counts in the ring buffers and in the list of weddings. Names with an underscore are
    needed for other signals and dropped later."""
    today = int(as_of.timestamp() // 86_400)
    week = (today + 3) // 7
    head = frame["last_event_at"].dt.epoch("d").cast(pl.Int64).fill_null(0).to_numpy()
    head_week = (head + 3) // 7
    logins = model.unpack_bits(frame["login_days"], model.LOGIN_SLOTS)
    login_ages = Ages(head, model.LOGIN_SLOTS)
    active = sum_window(
        model.read_ring(frame["clients_active_d"], model.ACTIVE_SLOTS),
        Ages(head, model.ACTIVE_SLOTS).window(today, _ACTIVE_DAYS),
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
    """The signals of coming weddings.

    Args:
        weddings: List(Int32), days since 1970; null counts as empty.
    """
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
        pl.Series("weddings_90d", np.bincount(rows[ahead < WEDDINGS_DAYS], minlength=len(lengths))),
        pl.Series(
            "weddings_365d", np.bincount(rows[ahead < WEDDINGS_YEAR_DAYS], minlength=len(lengths))
        ),
        pl.Series(
            "days_to_next_wedding",
            [None if at == np.inf else int(at) for at in nearest.tolist()],
            dtype=pl.Int64,
        ),
    ]


def _adopted(
    frame: pl.DataFrame, playbook: Playbook, as_of: datetime, feature_ids: dict[str, int]
) -> list[pl.Series]:
    """features_adopted, the number of key features of the segment, and the days since any feature
    was used (0 where none ever was)."""
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

"""Computing signals from a supplier's activity, for one supplier or a million. Pure."""

from datetime import datetime
from functools import cache

import numpy as np
import numpy.typing as npt
import polars as pl

from everafter.activity import model
from everafter.activity.model import Ages, Matrix, sum_window
from everafter.feeds.model import DIMENSION_EVENTS, UNKNOWN_FEEDS, Feeds
from everafter.playbook.model import Playbook
from everafter.signals.clock_rules import Clock
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
    "_clients_held",
    "_forms_held",
    "_emails_held",
    "last_feature_at",
    "login_days",
    "clients_active_d",
    "feature_uses_d",
    *model.WEEK_RINGS,
    "weddings",
)


def compute_signals(
    frame: pl.DataFrame,
    playbook: Playbook,
    as_of: datetime,
    feature_ids: dict[str, int],
    feeds: Feeds = UNKNOWN_FEEDS,
) -> pl.DataFrame:
    """Compute the signals of profile, activity, clients, forms, journeys, features, support and
    money.

    Args:
        frame: a row per supplier, as signals.queries reads it, with the columns of
            seasonality.frame_rules.add_season.
        as_of: the moment scored; nothing later is counted.
        feature_ids: slots of the features in `feature_days`.
        feeds: what depends on a stopped feed is counted up to its last good day; a dimension whose
            events were never sent is null.

    Returns:
        The frame with `segment` and the signals of those groups. The ring buffers are dropped,
        except feature_days, which the onboarding path needs.
    """
    clock = Clock(as_of, feeds)
    frame = _add_profile(frame, playbook, clock)
    past_due = _past_due()
    return (
        frame.with_columns(
            *_counted(frame, clock, feeds),
            *_adopted(frame, playbook, clock.day(*_uses_of(feeds)), feature_ids),
        )
        .with_columns(
            pl.when(pl.col("events_total") > 0)
            .then(pl.col("features_adopted") / pl.col("_key_features"))
            .alias("feature_adoption"),
            _ratio("clients_active_30d", pl.col("clients_total"), "_clients_held").alias(
                "client_activity"
            ),
            _ratio("clients_lost_13w", pl.col("clients_total") + pl.col("clients_lost_13w")).alias(
                "client_loss_rate"
            ),
            _ratio("forms_answered_13w", pl.col("forms_sent_13w"), "_forms_held").alias(
                "form_completion_rate"
            ),
            _ratio("_emails_opened", pl.col("journey_emails_13w"), "_emails_held").alias(
                "journey_open_rate"
            ),
            _feature_use_ratio().alias("feature_use_ratio"),
            past_due.alias("payment_past_due"),
            pl.when(past_due)
            .then(
                _days_between(
                    pl.col("payment_failed_at"), model.moment(clock.moment("payment_recovered"))
                )
            )
            .alias("days_past_due"),
            _limit_ratio().alias("limit_ratio"),
        )
        .with_columns(_unsent(feeds))
        .drop(_DROPPED)
    )


def _add_profile(frame: pl.DataFrame, playbook: Playbook, clock: Clock) -> pl.DataFrame:
    began = pl.coalesce("account_created_at", "created_at")
    until = model.moment(clock.moment("login"))
    if clock.day("login") != clock.today:
        # of an account that began after logins stopped arriving, nothing is known
        known = (began < until).fill_null(True)
        frame = frame.with_columns(pl.when(known).then("days_inactive").alias("days_inactive"))
        since = pl.when(known).then(pl.coalesce("last_login_at", began))
    else:
        since = pl.coalesce("last_login_at", began)
    return frame.with_columns(
        _days_between(began, model.moment(clock.moment())).alias("tenure_days"),
        _days_between(since, until).alias("days_since_login"),
        pl.when(pl.col("vendor_type").is_in(list(playbook.segments)))
        .then(pl.col("vendor_type"))
        .otherwise(pl.lit("default"))
        .alias("segment"),
    )


def _uses_of(feeds: Feeds) -> tuple[str, ...]:
    return feeds.dimension_types("feature_adoption")


def _unsent(feeds: Feeds) -> list[pl.Expr]:
    """Nulls for what the platform has never sent."""
    signals = {
        "login": ("days_since_login", "days_inactive"),
        "feature_adoption": ("feature_adoption",),
        "client_activity": ("client_activity",),
        "form_completion": ("form_completion_rate",),
        "journey_performance": ("journey_open_rate",),
    }
    return [
        pl.lit(None, pl.Float64).alias(name)
        for dimension, names in signals.items()
        if not feeds.is_known(dimension)
        for name in names
    ]


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


def _ratio(part: str, whole: pl.Expr, held: str | None = None) -> pl.Expr:
    """part ÷ whole; null where whole is 0, or `held` is false."""
    known = whole > 0 if held is None else (whole > 0) & pl.col(held)
    return pl.when(known).then(pl.col(part) / whole)


def _counted(frame: pl.DataFrame, clock: Clock, feeds: Feeds) -> list[pl.Series]:
    """The counts in the ring buffers and in the list of weddings. Names with an underscore are
    needed for other signals and dropped later."""
    head = frame["last_event_at"].dt.epoch("d").cast(pl.Int64).fill_null(0).to_numpy()
    head_week = (head + 3) // 7
    logins = model.unpack_bits(frame["login_days"], model.LOGIN_SLOTS)
    login_ages = Ages(head, model.LOGIN_SLOTS)
    login_day = clock.day("login")
    client_day = clock.day(*DIMENSION_EVENTS["client_activity"])
    form_week = clock.week_of_sending(*DIMENSION_EVENTS["form_completion"])
    email_week = clock.week_of_sending(*DIMENSION_EVENTS["journey_performance"])
    use_week = clock.week(*_uses_of(feeds))
    active = sum_window(
        model.read_ring(frame["clients_active_d"], model.ACTIVE_SLOTS),
        # who was active then and was seen again since has moved to a later slot
        Ages(head, model.ACTIVE_SLOTS).window(clock.today, _ACTIVE_DAYS + clock.today - client_day),
    )
    ages = Ages(head_week, model.WEEK_SLOTS)

    @cache
    def weeks(week: int, length: int, skip: int = 0) -> npt.NDArray[np.bool_]:
        return ages.window(week, length, skip=skip)

    ring = {name: model.read_ring(frame[name], model.WEEK_SLOTS) for name in model.WEEK_RINGS}
    counts: dict[str, Matrix] = {
        "login_days_28d": (logins & login_ages.window(login_day, 28)).sum(axis=1),
        "login_days_84d": (logins & login_ages.window(login_day, 84)).sum(axis=1),
        "clients_active_30d": active,
        "clients_lost_13w": sum_window(
            ring["clients_lost_w"], weeks(clock.week("client_lost"), 13)
        ),
        "forms_sent_13w": sum_window(ring["forms_sent_w"], weeks(form_week, 13)),
        "forms_answered_13w": sum_window(ring["forms_answered_w"], weeks(form_week, 13)),
        "forms_waiting": sum_window(
            ring["forms_sent_w"] - ring["forms_answered_w"], weeks(form_week, 12, 1)
        ),
        "journey_emails_13w": sum_window(ring["emails_sent_w"], weeks(email_week, 13)),
        "_emails_opened": sum_window(ring["emails_opened_w"], weeks(email_week, 13)),
        "feature_uses_4w": sum_window(ring["feature_uses_w"], weeks(use_week, 4)),
        "_uses_before": sum_window(ring["feature_uses_w"], weeks(use_week, 8, 4)),
        "tickets_4w": sum_window(ring["tickets_w"], weeks(clock.week("ticket_opened"), 4)),
        "payments_failed_13w": sum_window(
            ring["payments_failed_w"], weeks(clock.week("payment_failed"), 13)
        ),
    }
    # a window that ends long ago is no longer complete in a ring buffer that other events turn on
    held = {
        "_clients_held": head - client_day <= model.ACTIVE_SLOTS - _ACTIVE_DAYS,
        "_forms_held": head_week - form_week <= model.WEEK_SLOTS - 13,
        "_emails_held": head_week - email_week <= model.WEEK_SLOTS - 13,
    }
    columns = [pl.Series(name, values) for name, values in (counts | held).items()]
    return columns + _weddings(frame["weddings"], clock.today)


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
    frame: pl.DataFrame, playbook: Playbook, today: int, feature_ids: dict[str, int]
) -> list[pl.Series]:
    """features_adopted, the number of key features of the segment, and the days since any feature
    was used (0 where none ever was), as of a day."""
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
        pl.Series("_days_unused", np.where(last > 0, np.maximum(today - last, 0), 0)),
    ]

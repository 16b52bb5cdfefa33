"""A population for benchmarks: suppliers with the activity rows of a year of events, generated in
columns, loaded by COPY."""

import uuid
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl

from everafter.activity import model
from everafter.core import db

FEATURES = (
    "automations",
    "reviews",
    "client_import",
    "calendar",
    "gallery",
    "journeys",
    "invoices",
    "forms",
)
VENDOR_TYPES = ("photographer", "florist", "planner", "dj", "venue", "caterer")
PLACES = (
    ("GB", "Europe/London"),
    ("US", "America/New_York"),
    ("IE", "Europe/Dublin"),
    ("AU", "Australia/Sydney"),
    ("NZ", "Pacific/Auckland"),
)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def make_suppliers(count: int, now: datetime, seed: int = 7) -> pl.DataFrame:
    """Make rows of `suppliers`, with sorted ids spread over the whole range."""
    random = np.random.default_rng(seed)
    ids = np.sort(random.integers(0, 2**62, count, dtype=np.int64))
    place = random.integers(0, len(PLACES), count)
    plan = random.choice(3, count, p=(0.35, 0.5, 0.15))
    created = random.integers(3, 900, count)
    return pl.DataFrame(
        {
            "id": [
                str(uuid.UUID(int=(int(value) << 64) | index)) for index, value in enumerate(ids)
            ],
            "name": [f"Supplier {index}" for index in range(count)],
            "email": [f"supplier{index}@example.com" for index in range(count)],
            "vendor_type": np.array(VENDOR_TYPES)[random.integers(0, len(VENDOR_TYPES), count)],
            "plan": np.array(("free", "pro", "studio"))[plan],
            "country": np.array([country for country, _ in PLACES])[place],
            "timezone": np.array([zone for _, zone in PLACES])[place],
            "mrr_minor": np.array((0, 2900, 7900))[plan],
            "client_limit": np.array((15, 60, 400))[plan],
            "created_at": [now - timedelta(days=int(days)) for days in created],
        }
    ).with_columns(pl.col("created_at").cast(model.TIME))


def make_activity(suppliers: pl.DataFrame, now: datetime, seed: int = 11) -> pl.DataFrame:
    """Make their rows of `supplier_activity`: own rhythms, about 18 clients each, some declining."""
    random = np.random.default_rng(seed)
    count = suppliers.height
    today = int(now.timestamp() // 86_400)
    rate = random.gamma(1.5, 0.35, count)  # logins a day
    declining = random.random(count) < 0.12
    inactive_days = np.minimum(
        random.exponential(np.where(declining, 25.0, 1.0) / np.maximum(rate, 0.05)), 180.0
    )
    last_login = pl.Series([now - timedelta(days=float(days)) for days in inactive_days]).cast(
        model.TIME
    )
    head_day = today - random.integers(0, 2, count)
    days = np.arange(model.LOGIN_SLOTS)
    age = np.mod(head_day[:, None] - days[None, :], model.LOGIN_SLOTS)
    logins = (random.random((count, model.LOGIN_SLOTS)) < np.minimum(rate, 0.95)[:, None]) & (
        age >= inactive_days[:, None]
    )
    clients = random.negative_binomial(3, 0.15, count)
    spread = random.poisson(
        np.maximum(clients, 1)[:, None] / model.ACTIVE_SLOTS, (count, model.ACTIVE_SLOTS)
    )

    def weekly(mean: np.ndarray) -> np.ndarray:
        return random.poisson(mean[:, None], (count, model.WEEK_SLOTS)).astype(np.int64)

    sent, mails = weekly(clients / 12), weekly(clients / 16)
    uses = weekly(rate * 9 * np.where(declining, 0.5, 1.0))
    created = suppliers["created_at"]
    first = created + pl.Series(
        [timedelta(hours=int(hours)) for hours in random.integers(0, 72, count)]
    )
    weddings = [
        sorted((today + random.integers(-20, 500, int(n))).tolist())
        for n in np.minimum(clients, 80)
    ]
    features = np.where(
        random.random((count, len(FEATURES))) < 0.6,
        today - random.integers(0, 120, (count, len(FEATURES))),
        0,
    )
    failed = random.random(count) < 0.02
    return pl.DataFrame(
        {
            "supplier_id": suppliers["id"],
            "events_total": (rate * 900).astype(np.int64) + 10,
            "first_event_at": created,
            "last_event_at": pl.Series([EPOCH + timedelta(days=int(day)) for day in head_day]).cast(
                model.TIME
            ),
            **{name: (first if random.random() < 0.8 else created) for name in model.FIRST_TIMES},
            "last_login_at": last_login,
            "login_days": model.pack_bits(logins),
            "feature_days": model.pack_slots(features.astype(np.int64)),
            "clients_active_d": model.pack_ring(spread.astype(np.int64)),
            "feature_uses_w": model.pack_ring(uses),
            "clients_lost_w": model.pack_ring(weekly(clients / 900)),
            "forms_sent_w": model.pack_ring(sent),
            "forms_answered_w": model.pack_ring(random.binomial(sent, 0.6).astype(np.int64)),
            "emails_sent_w": model.pack_ring(mails),
            "emails_opened_w": model.pack_ring(random.binomial(mails, 0.5).astype(np.int64)),
            "tickets_w": model.pack_ring(weekly(np.full(count, 0.06))),
            "payments_failed_w": model.pack_ring(weekly(np.full(count, 0.01))),
            "clients_added": (clients * 1.6).astype(np.int64),
            "clients_total": np.maximum(clients, spread.sum(axis=1)).astype(np.int64),
            "weddings": pl.Series(weddings, dtype=pl.List(pl.Int32)),
            "tickets_open": random.binomial(1, 0.1, count).astype(np.int64),
            "payment_failed_at": [now - timedelta(days=4) if bad else None for bad in failed],
            "subscription": np.where(random.random(count) < 0.02, "paused", "active"),
        },
        schema_overrides={"payment_failed_at": model.TIME},
    )


async def load(url: str, count: int, now: datetime) -> None:
    """Fill a new, migrated database."""
    suppliers = make_suppliers(count, now)
    async with db.connection(url) as conn:
        await conn.execute(
            """
            INSERT INTO features (feature, feature_id)
            SELECT feature, feature_id
            FROM unnest(%s::text[], %s::smallint[]) AS new (feature, feature_id)
            """,
            [list(FEATURES), list(range(len(FEATURES)))],
        )
        for part in suppliers.iter_slices(50_000):
            await db.copy_frame(conn, "suppliers", part)
            await db.copy_frame(conn, "supplier_activity", make_activity(part, now))
    async with db.connection(url, autocommit=True) as conn:
        await conn.execute("VACUUM ANALYZE suppliers, supplier_activity")

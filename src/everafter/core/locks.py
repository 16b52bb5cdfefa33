"""Keys of all advisory locks, in one place so that no two jobs share one by accident."""

from enum import IntEnum


class Lock(IntEnum):
    """Keys of PostgreSQL advisory locks."""

    MIGRATE = 7_305_001
    FOLD = 7_305_002
    RUN = 7_305_003
    EVENT_MONTH = 7_305_004  # repeated in migrations/0001_spine.sql
    SWEEP_OUTBOX = 7_305_005
    TICKET_TASKS = 7_305_008
    MEASURE_IMPRESSIONS = 7_305_009
    FREQUENCY_CAP = 7_305_010
    SWEEP_SIGN_INS = 7_305_011
    FEEDS = 7_305_015
    TRAIN = 7_305_016

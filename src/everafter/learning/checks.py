"""What `everafter doctor` checks of the learned models."""

from datetime import datetime, timedelta

from everafter.core.checks import Check, format_age
from everafter.core.db import Connection
from everafter.core.settings import Settings
from everafter.learning.model import ModelVersion, Training
from everafter.learning.queries import get_models, get_training

_LATE = timedelta(hours=2)


async def check_training(conn: Connection, settings: Settings, now: datetime) -> list[Check]:
    """Whether the last training came to its end, and its models can be used. No line before the
    first."""
    training = await get_training(conn)
    if training is None:
        return []
    models = await get_models(conn, now)
    return [
        describe_training(training, now),
        *(describe_fault(one) for one in models.by_horizon.values() if one.fault),
    ]


def describe_fault(version: ModelVersion) -> Check:
    """The line on a model that should speak and cannot."""
    return Check(
        "churn models",
        "warn",
        f"model {version.name} cannot be used, and no probability is shown: {version.fault}",
        "everafter churn train",
    )


def describe_training(training: Training, now: datetime) -> Check:
    """The line on the last training."""
    name, again = "churn models", "everafter churn train"
    if training.error:
        return Check(name, "warn", f"the last training failed: {training.error}", again)
    if training.finished_at is None:
        age = now - training.started_at
        if age > _LATE:
            return Check(
                name, "warn", f"a training began {format_age(age)} ago and did not end", again
            )
        return Check(name, "ok", "being trained")
    age = format_age(now - training.trained_as_of)
    return Check(name, "ok", f"trained as of {age} ago, on {training.snapshots:,} snapshots")

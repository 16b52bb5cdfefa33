"""What goes into a health score and what comes out."""

from dataclasses import dataclass
from datetime import date
from typing import Literal

from everafter.playbook.model import ChurnSignal
from everafter.signals.row_model import RiskLevel

ChurnCause = Literal["base"] | ChurnSignal
"""What a churn risk is the sum of. base: the index without evidence."""


@dataclass(frozen=True, slots=True)
class HealthMetrics:
    """The spec's five metrics. None means unknown: that dimension is left out of the score instead
    of counting as 0.

    Attributes:
        login_frequency: days since the last login.
        feature_adoption: key features used ÷ key features.
        client_activity: active clients ÷ clients.
        form_completion_rate: forms completed ÷ forms sent.
        journey_performance: journey emails opened ÷ sent.
    """

    login_frequency: float | None
    feature_adoption: float | None
    client_activity: float | None
    form_completion_rate: float | None
    journey_performance: float | None


@dataclass(frozen=True, slots=True)
class Component:
    """One dimension of a score: `points` of `max`, and the `value` measured. Unknown: points and
    value are None, max is 0.

    as_of: the last good day, while events that the dimension depends on have stopped arriving: it
    is computed as of that day. None: it is current.
    """

    points: float | None
    max: float
    value: float | None
    as_of: date | None = None


@dataclass(frozen=True, slots=True)
class HealthScore:
    """A health score. The components' points sum to `score`.

    Attributes:
        score: 0–100, not yet floored; None when nothing is known.
        coverage: share of the weights that was known, 0–1.
    """

    score: float | None
    risk: RiskLevel | None
    components: dict[str, Component]
    coverage: float

"""What goes into a health score and what comes out."""

from dataclasses import dataclass
from typing import Literal

Risk = Literal["healthy", "at_risk", "critical"]


@dataclass(frozen=True, slots=True)
class HealthMetrics:
    """The spec's five metrics. None means unknown: that dimension is left out, not counted as bad.

    login_frequency: days since the last login. feature_adoption: key features used ÷ key features.
    client_activity: active clients ÷ clients. form_completion_rate, journey_performance: 0–1."""

    login_frequency: float | None
    feature_adoption: float | None
    client_activity: float | None
    form_completion_rate: float | None
    journey_performance: float | None


@dataclass(frozen=True, slots=True)
class Component:
    """One dimension's part: points of max; value is what was measured. Unknown: points and value
    null, max 0."""

    points: float | None
    max: float
    value: float | None


@dataclass(frozen=True, slots=True)
class HealthScore:
    """score: 0–100 before flooring; null when nothing is known. The components' points sum to it;
    coverage is 0–1."""

    score: float | None
    risk: Risk | None
    components: dict[str, Component]
    coverage: float

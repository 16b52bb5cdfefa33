"""The spec's health score as a Python function: `calculate_health_score(HealthMetrics(...))`."""

from everafter.scoring.health_rules import calculate_health_score
from everafter.scoring.model import HealthMetrics, HealthScore

__all__ = ["HealthMetrics", "HealthScore", "calculate_health_score"]

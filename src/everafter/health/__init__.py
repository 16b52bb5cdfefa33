"""Health: how a supplier is doing, 0 to 100, and why."""

from everafter.health.model import HealthMetrics, HealthScore
from everafter.health.score import calculate_health_score

__all__ = ["HealthMetrics", "HealthScore", "calculate_health_score"]

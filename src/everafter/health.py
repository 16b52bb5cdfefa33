"""Health: how a supplier is doing, 0 to 100, and why."""

from everafter.scoring.health_rules import calculate_health_score
from everafter.scoring.model import HealthMetrics, HealthScore

__all__ = ["HealthMetrics", "HealthScore", "calculate_health_score"]

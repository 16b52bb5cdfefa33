"""The table that scripts/measure_scoring.py prints."""

from collections.abc import Mapping
from typing import Any

Figures = Mapping[str, Any]

# heading, bar, key, format
_ROWS: tuple[tuple[str, str, str, str], ...] = (
    ("suppliers scored, in years", "", "supplier_years", ".0f"),
    ("churned within 45 days", "", "base_45", ".3f"),
    ("AUC 45 days", "mean ≥ .634", "auc_45", ".3f"),
    ("AUC 90 days", "", "auc_90", ".3f"),
    ("risk > .7: precision of alarms", "≥ .35 a, .18 b", "precision_high", ".3f"),
    ("risk > .7: alarms a supplier-year", "", "alarms_high", ".2f"),
    ("risk > .7: fades seen", "", "seen_high", ".2f"),
    ("risk > .7: precision by days", "", "days_precision_high", ".3f"),
    ("risk > .4: precision of alarms", "", "precision_medium", ".3f"),
    ("risk > .4: alarms a supplier-year", "", "alarms_medium", ".2f"),
    ("risk > .4: fades seen", "≥ now", "seen_medium", ".2f"),
    ("risk > .4: fades seen 7 days before", "", "early_medium", ".2f"),
    ("risk > .4: precision by days", "", "days_precision_medium", ".3f"),
    ("fades", "", "fades", ".0f"),
    ("at the same number of warnings: precision", "≥ .14 a, .10 b", "precision_matched", ".3f"),
    ("at the same number of warnings: fades seen", "≥ now", "seen_matched", ".2f"),
    ("at the same number of warnings: above", "", "matched_threshold", ".3f"),
    ("churn alarms, healthy, off season", "", "alarms_off", ".2f"),
    ("churn alarms, healthy, in season", "", "alarms_in", ".2f"),
    ("off ÷ in season", "≤ 1.25", "alarms_ratio", ".2f"),
    ("inactivity off season: share < .05", ".03–.06", "inactive_off_0.05", ".3f"),
    ("inactivity off season: share < .01", "≤ .015", "inactive_off_0.01", ".3f"),
    ("inactivity in season: share < .05", "", "inactive_in_0.05", ".3f"),
    ("inactivity in season: share < .01", "", "inactive_in_0.01", ".3f"),
    ("after a day or more, off season: share < .05", "", "gaps_off_0.05", ".3f"),
    ("after a day or more, off season: share < .01", "", "gaps_off_0.01", ".3f"),
    ("after a day or more, in season: share < .05", "", "gaps_in_0.05", ".3f"),
    ("after a day or more, in season: share < .01", "", "gaps_in_0.01", ".3f"),
    ("daily user stops in season: day (inactivity)", "≤ 4; c ≤ 8", "stopped_in_inactive", ".0f"),
    ("… by day 4", "", "stopped_in_inactive_by_4", ".2f"),
    ("… never in 30 days", "", "stopped_in_inactive_never", ".2f"),
    ("… day of any sign", "", "stopped_in_any", ".0f"),
    ("… day (inactivity), if daily until then", "", "stopped_in_still", ".0f"),
    ("… stopped", "", "stopped_in_count", ".0f"),
    ("daily user stops off season: day (inactivity)", "", "stopped_off_inactive", ".0f"),
    ("… never in 30 days", "", "stopped_off_inactive_never", ".2f"),
    ("… day of any sign", "", "stopped_off_any", ".0f"),
    ("… day (inactivity), if daily until then", "", "stopped_off_still", ".0f"),
    ("… stopped", "", "stopped_off_count", ".0f"),
    ("daily user, false alarms a year in season", "≤ 1.5", "stopped_in_false", ".2f"),
    ("daily user, false alarms a year off season", "≤ in season", "stopped_off_false", ".2f"),
    ("healthy northern at risk, November", "≤ .33 a, .44 b", "at_risk_november", ".3f"),
    ("healthy northern at risk, in season", "November − .02", "at_risk_in", ".3f"),
    ("ten days without logins: suppliers", "", "outage_suppliers", ".0f"),
    ("… newly at risk or critical", "", "outage_newly_at_risk", ".0f"),
    ("… newly critical", "≤ 9", "outage_newly_critical", ".0f"),
    ("… newly churn > .4", "≤ 16", "outage_newly_churn", ".0f"),
    ("… alarms of inactivity", "", "outage_inactive_alarms", ".0f"),
    ("the same days undamaged: newly at risk", "", "outage_usual_at_risk", ".0f"),
    ("… newly critical", "", "outage_usual_critical", ".0f"),
    ("… newly churn > .4", "", "outage_usual_churn", ".0f"),
    ("… alarms of inactivity", "", "outage_usual_alarms", ".0f"),
    ("only because of the outage: newly at risk", "", "outage_only_at_risk", ".0f"),
    ("… newly critical", "", "outage_only_critical", ".0f"),
    ("… newly churn > .4", "", "outage_only_churn", ".0f"),
    ("half of the logins missing: newly at risk", "", "half_newly_at_risk", ".0f"),
    ("… newly critical", "", "half_newly_critical", ".0f"),
    ("… newly churn > .4", "", "half_newly_churn", ".0f"),
    ("… alarms of inactivity", "", "half_inactive_alarms", ".0f"),
    ("the same days undamaged: newly at risk", "", "half_usual_at_risk", ".0f"),
    ("… alarms of inactivity", "", "half_usual_alarms", ".0f"),
    ("only because of it: newly at risk", "", "half_only_at_risk", ".0f"),
    ("… newly churn > .4", "", "half_only_churn", ".0f"),
    ("only logins sent: at risk or critical", "full + .10", "login_only", ".3f"),
    ("the same suppliers with all events", "", "login_only_full", ".3f"),
    ("P(45 days): log loss − base, × 1000", "< 0", "loss_45", "×1000"),
    ("P(45 days): calibration slope", ".7–1.3", "slope_45", ".2f"),
    ("P(45 days): expected ÷ seen", "", "expected_45", ".2f"),
    ("P(90 days): log loss − base, × 1000", "< 0", "loss_90", "×1000"),
    ("P(90 days): calibration slope", "", "slope_90", ".2f"),
    ("seconds", "", "seconds", ".0f"),
)  # fmt: skip


def print_table(
    markets: Mapping[str, Figures],
    against: Mapping[str, Figures],
    first_day: Mapping[str, object],
) -> None:
    """Print a line per figure and a column per market, and the mean AUC; figures of the other
    version in brackets."""
    names = list(markets)
    width = max(20, *(len(name) for name in names)) + 2
    print(f"{'':46}{'bar':>16}  " + "".join(f"{name:>{width}}" for name in names))
    for heading, bar, key, form in _ROWS:
        cells = [_cell(markets[name], against.get(name, {}), key, form) for name in names]
        print(f"{heading:46}{bar:>16}  " + "".join(f"{cell:>{width}}" for cell in cells))
    areas = [figures["auc_45"][0] for figures in markets.values() if figures.get("auc_45")]
    if areas:
        print(f"\nmean AUC 45 days of {len(areas)} markets: {sum(areas) / len(areas):.3f}")
    score = first_day["health_score"]
    text = "none" if score is None else f"{score:.0f}"
    print(f"a perfect first day: {first_day['risk_level']}, score {text}")


def _cell(figures: Figures, other: Figures, key: str, form: str) -> str:
    text = format_figure(figures.get(key), form)
    before = other.get(key)
    if before is None or key in {"seconds"}:
        return text
    first = before[0] if isinstance(before, list | tuple) else before
    return f"{text} ({format_figure(first, form)})"


def format_figure(value: Any, form: str) -> str:
    """A figure as text; an interval in brackets.

    >>> format_figure((0.6123, 0.58, 0.65), ".3f")
    '.612 [.58,.65]'
    >>> format_figure(None, ".3f")
    'not measured'
    """
    if value is None:
        return "not measured"
    if isinstance(value, list | tuple):
        number, low, high = (format_figure(part, ".2f") for part in value)
        return f"{format_figure(value[0], form)} [{low},{high}]" if number else ""
    if form == "×1000":
        return f"{1000 * value:+.1f}"
    text = format(value, form)
    return text.replace("0.", ".", 1) if text.startswith(("0.", "-0.")) else text

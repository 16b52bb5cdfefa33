"""Checks of segments, and of numbers that must fit each other. Pure."""

from collections.abc import Iterator
from difflib import get_close_matches
from typing import Any

from everafter.activity.model import MAX_FEATURES
from everafter.playbook.findings import Finding, table, texts_in
from everafter.playbook.model import (
    CHURN_SIGNALS,
    DIMENSIONS,
    Churn,
    Health,
    Messaging,
    Season,
    Weights,
)
from everafter.playbook.places import Path


def check_segments(segments: dict[str, Any], *, complete: bool) -> Iterator[Finding]:
    """Check [segments.*].

    Args:
        complete: whether the whole text could be read; else a missing segment may have been lost.
    """
    if segments and "default" not in segments and complete:
        near = get_close_matches("default", list(segments), n=1, cutoff=0.7)
        hint = "is it this one?" if near else "it is for vendor types without their own segment"
        yield Finding(("segments", *near), "there is no segment 'default'", hint)
    for name in segments:
        path, segment = ("segments", name), table(segments, name)
        features = segment.get("key_features")
        if features == []:
            message = "key_features is empty, so feature adoption cannot be measured"
            yield Finding((*path, "key_features"), message, "name at least one feature")
        else:
            yield from _repeated((*path, "key_features"), features)
        yield from _weights(path, table(segment, "weights"))
        yield from _login_days(path, segment.get("login_days"))


def _repeated(path: Path, items: Any) -> Iterator[Finding]:
    seen: set[str] = set()
    for index, item in texts_in(items):
        if item in seen:
            yield Finding((*path, index), f"{item!r} is listed twice", "remove one")
        seen.add(item)


def _weights(path: Path, weights: dict[str, Any]) -> Iterator[Finding]:
    defaults = Weights()
    values = [_number(weights, name, getattr(defaults, name)) for name in DIMENSIONS]
    if all(value == 0 for value in values):
        hint = "give at least one dimension a weight above 0"
        yield Finding((*path, "weights"), "all weights are 0", hint)


def _login_days(path: Path, days: Any) -> Iterator[Finding]:
    numbers = [day for day in days if isinstance(day, int | float)] if _is_list(days) else []
    if numbers != sorted(set(numbers)):
        hint = (
            "for example [3, 7, 14]: all points below 3 days, two thirds below 7, one third"
            " below 14"
        )
        yield Finding((*path, "login_days"), "login_days must increase", hint)


def check_features(data: dict[str, Any]) -> Iterator[Finding]:
    """Check the number of features named: each has a slot in every supplier's row."""
    segments, actions = table(data, "segments"), table(data, "onboarding_actions")
    key_features = {
        feature
        for name in segments
        for _, feature in texts_in(table(segments, name).get("key_features"))
    }
    of_actions = [table(actions, name).get("feature") for name in actions]
    named = key_features | {feature for feature in of_actions if isinstance(feature, str)}
    if len(named) > MAX_FEATURES:
        message = f"{len(named)} features are named; the maximum is {MAX_FEATURES}"
        yield Finding(("segments",), message, "keep those that say most about a supplier's success")


def check_numbers(data: dict[str, Any], bad: frozenset[Path]) -> Iterator[Finding]:
    """Check pairs of numbers that must be in an order.

    Args:
        bad: numbers that are wrong by themselves, which are not compared with others.
    """
    health, churn, season = Health(), Churn(), Season()
    critical, at_risk = _pair(data, bad, "health", health, "critical_below", "at_risk_below")
    if critical >= at_risk:
        message = f"critical_below ({critical:g}) must be less than at_risk_below ({at_risk:g})"
        path = _written(data, "health", "critical_below", "at_risk_below")
        yield Finding(path, message, "critical scores are below those at risk")
    medium, high = _pair(data, bad, "churn", churn, "medium_above", "high_above")
    if medium >= high:
        message = f"medium_above ({medium:g}) must be less than high_above ({high:g})"
        path = _written(data, "churn", "medium_above", "high_above")
        yield Finding(path, message, "a high risk is above a medium one")
    written = table(data, "churn")
    if written and all(_number(written, s, getattr(churn, s)) == 0 for s in CHURN_SIGNALS):
        message = "all five signals of churn have the weight 0"
        yield Finding(("churn",), message, "give at least one a weight above 0")
    floor, off = _pair(data, bad, "season", season, "floor", "off_season_below")
    if off <= floor:
        message = f"season_index is never below floor ({floor:g}), so nobody is ever off season"
        path = _written(data, "season", "off_season_below", "floor")
        yield Finding(path, message, "set off_season_below above floor", "warning")
    yield from _quiet_hours(table(data, "messaging"))


def _quiet_hours(messaging: dict[str, Any]) -> Iterator[Finding]:
    default = Messaging()
    start = messaging.get("quiet_from", default.quiet_from)
    if start == messaging.get("quiet_until", default.quiet_until):
        key = "quiet_from" if "quiet_from" in messaging else "quiet_until"
        message = "quiet hours start and end at the same time, so there are none"
        yield Finding(("messaging", key), message, level="warning")


def _pair(
    data: dict[str, Any], bad: frozenset[Path], group: str, default: Any, low: str, high: str
) -> tuple[float, float]:
    """Two numbers of a table, or their defaults when one of them is in `bad`."""
    defaults = getattr(default, low), getattr(default, high)
    if (group, low) in bad or (group, high) in bad:
        return defaults
    written = table(data, group)
    return float(written.get(low, defaults[0])), float(written.get(high, defaults[1]))


def _written(data: dict[str, Any], group: str, *keys: str) -> Path:
    """The first of the keys that is in the text; the others have their default."""
    written = table(data, group)
    return (group, next((key for key in keys if key in written), keys[0]))


def _number(values: dict[str, Any], key: str, default: float) -> float | None:
    """The number at a key, or its default; null when it is not a number."""
    value = values.get(key, default)
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _is_list(value: Any) -> bool:
    return isinstance(value, list)

"""Which tip may be shown where and when. Pure: `now` is an argument."""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Literal

import msgspec
import polars as pl

from everafter.coach.model import SEASON_DAYS, TipImpression, Until
from everafter.core.zones import find_zone
from everafter.playbook.model import TIP_PREFIX, Playbook, Tip, Trigger
from everafter.playbook.rules import compile_condition

# ── tips as triggers ──────────────────────────────────────────────────────────────────────────────


def tip_triggers(playbook: Playbook) -> dict[str, Trigger]:
    """The enabled tips as triggers of channel "tip", by their names in the intervention log:
    `tip_<name>`.

    Tips then pass the same eligibility check, and their outcomes are measured in the same way.
    """
    return {
        TIP_PREFIX + name: Trigger(
            when=tip.when,
            action="show_tip",
            channel="tip",
            reason=tip.reason,
            success=tip.success,
            priority=tip.priority,
            cooldown_days=tip.cooldown_days,
            success_days=tip.success_days,
            holdout=tip.holdout,
        )
        for name, tip in playbook.tips.items()
        if tip.enabled
    }


def with_tips_as_triggers(playbook: Playbook) -> Playbook:
    """The playbook with its tips in place of its triggers, for the eligibility check."""
    return msgspec.structs.replace(playbook, triggers=tip_triggers(playbook))


def tip_order(playbook: Playbook) -> list[str]:
    """The enabled tips by priority, then by name, as the eligibility check orders them."""
    enabled = [name for name, tip in playbook.tips.items() if tip.enabled]
    return sorted(enabled, key=lambda name: (-playbook.tips[name].priority, name))


def tip_conditions(playbook: Playbook) -> dict[str, pl.Expr]:
    """For each enabled tip, whether it applies on any page: condition, vendor types, season.

    The expressions need a frame with all signals and are never null.
    """
    found: dict[str, pl.Expr] = {}
    for name in tip_order(playbook):
        tip = playbook.tips[name]
        applies = compile_condition(tip.when)
        if tip.vendor_types:
            applies &= pl.col("vendor_type").is_in(tip.vendor_types).fill_null(False)
        if tip.season != "any":
            applies &= pl.col("off_season") == (tip.season == "off")
        found[name] = applies
    return found


# ── where and when ────────────────────────────────────────────────────────────────────────────────


def is_page(page: str | None, patterns: Sequence[str]) -> bool:
    """Whether the page matches one of the patterns (`*` matches anything), or there are none.

    Query, fragment and trailing slashes are ignored, in patterns too.

    >>> is_page("/forms/12/edit?tab=2", ["/forms*"]), is_page("/forms/", ["/forms"])
    (True, True)
    >>> is_page("/", ["/forms"]), is_page(None, [])
    (False, True)
    """
    if not patterns:
        return True
    path = _strip_slash(re.split(r"[?#]", page or "", maxsplit=1)[0])
    return any(_matches(path, _strip_slash(pattern)) for pattern in patterns)


def _strip_slash(path: str) -> str:
    return path.rstrip("/") or "/"


def _matches(path: str, pattern: str) -> bool:
    """Search for the parts between the stars from left to right. A regular expression with many
    stars could take exponential time."""
    first, *others = pattern.split("*")
    if not others:
        return path == first
    *between, last = others
    if not path.startswith(first) or len(path) < len(first) + len(last) or not path.endswith(last):
        return False
    place, end = len(first), len(path) - len(last)
    for part in between:
        place = path.find(part, place, end)
        if place < 0:
            return False
        place += len(part)
    return True


def find_open_tip(
    here: Sequence[str], shown: Mapping[str, TipImpression], tips: Mapping[str, Tip], now: datetime
) -> str | None:
    """The tip to show without an eligibility check: one that was shown and has no response yet, or
    one whose snooze is over.

    A tip without a response is repeated for its `success_days`, until its outcome is measured.

    Args:
        here: the tips that apply on this page, the most important first.
        shown: the latest impression of each.
    """
    for name in here:
        last = shown.get(name)
        if last is None:
            continue
        is_open = last.response is None
        if is_open and now < last.shown_at + timedelta(days=tips[name].success_days):
            return name
        if is_snooze_over(last, tips[name], now):
            return name
    return None


def is_snooze_over(last: TipImpression, tip: Tip, now: datetime) -> bool:
    """Whether a tip snoozed for a day or a week is due again. It passed the eligibility check
    before and need not pass it again."""
    if last.response != "snoozed" or last.snoozed_until is None or last.snoozed_in is not None:
        return False
    return last.snoozed_until <= now < last.snoozed_until + timedelta(days=tip.success_days)


def find_new_tips(
    here: Sequence[str],
    shown: Mapping[str, TipImpression],
    tips: Mapping[str, Tip],
    now: datetime,
    *,
    off_season: bool,
) -> list[str]:
    """The tips to propose to the eligibility check, the most important first.

    Left out: tips that were dismissed, that are snoozed, or that are open. The eligibility check
    applies the cooldown of the others.
    """
    return [
        name
        for name in here
        if name not in shown or _may_be_new(shown[name], tips[name], now, off_season=off_season)
    ]


def _may_be_new(last: TipImpression, tip: Tip, now: datetime, *, off_season: bool) -> bool:
    if last.response == "dismissed":
        return False
    if last.response == "snoozed" and last.snoozed_until is not None:
        turned = last.snoozed_in is not None and (last.snoozed_in == "off") != off_season
        return turned or last.snoozed_until <= now
    if last.response is None:
        return now >= last.shown_at + timedelta(days=tip.success_days)
    return True


def is_paused(last_tip_at: datetime | None, hours: float, now: datetime) -> bool:
    """Whether the last new tip is too recent for another. A tip kept back by the holdout counts
    like one that was shown, so that both groups stay comparable."""
    return last_tip_at is not None and now < last_tip_at + timedelta(hours=hours)


def pause_start(playbook: Playbook, now: datetime) -> datetime:
    """The moment before which the last tip does not matter any more."""
    return now - timedelta(hours=playbook.coach.hours_between_tips)


def snooze(
    until: Until, now: datetime, timezone: str | None, *, off_season: bool
) -> tuple[datetime, Literal["in", "off"] | None]:
    """Until when a tip is snoozed; for "season", also whether it is in or off season now.

    A day and a week end at 04:00 in the supplier's time zone: "tomorrow", said in the evening,
    means the next morning."""
    if until == "season":
        return now + timedelta(days=SEASON_DAYS), "off" if off_season else "in"
    local = now.astimezone(find_zone(timezone)) + timedelta(days=1 if until == "day" else 7)
    return local.replace(hour=4, minute=0, second=0, microsecond=0).astimezone(now.tzinfo), None

"""Which tip may be shown where and when. Pure: the moment is an argument."""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Literal

import msgspec
import polars as pl

from everafter.coach.model import SEASON_DAYS, Celebrated, ShownTip, Until
from everafter.core.zones import find_zone
from everafter.playbook.model import TIP_PREFIX, Playbook, Tip, Trigger
from everafter.playbook.rules import compile_condition

# ── tips as the eligibility check sees them ────────────────────────────────────────────────────────────────────────────────────────


def tip_triggers(playbook: Playbook) -> dict[str, Trigger]:
    """The enabled tips as triggers of channel "tip", by the names they have in the intervention
    log: `tip_<name>`.

    So one eligibility check serves both, and whoever asks what a trigger's success is finds a tip's
    as well."""
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
    """The playbook with its tips in place of its triggers, to be handed to the eligibility
    check."""
    return msgspec.structs.replace(playbook, triggers=tip_triggers(playbook))


def tip_order(playbook: Playbook) -> list[str]:
    """The enabled tips, the most important first; equal ones by name, as the eligibility check has
    them."""
    enabled = [name for name, tip in playbook.tips.items() if tip.enabled]
    return sorted(enabled, key=lambda name: (-playbook.tips[name].priority, name))


def tip_conditions(playbook: Playbook) -> dict[str, pl.Expr]:
    """For each enabled tip whether it applies, wherever the supplier is: its condition, its vendor
    types, its season. Never null.

    The frame must hold all signals.
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


def celebrated(playbook: Playbook) -> Celebrated:
    """The milestones that the coach celebrates."""
    ours = {
        name: milestone
        for name, milestone in playbook.milestones.items()
        if "coach" in milestone.celebrate
    }
    return Celebrated(
        list(ours),
        [one.fresh_days for one in ours.values()],
        [one.certificate for one in ours.values()],
    )


# ── where and when ────────────────────────────────────────────────────────────────────────────────────────────────────


def is_page(page: str | None, patterns: Sequence[str]) -> bool:
    """Whether the page is one of the patterns' (`*` means anything); without patterns every page
    is.

    Query, fragment and a last slash do not count, the slash in patterns neither.

    >>> is_page("/forms/12/edit?tab=2", ["/forms*"]), is_page("/forms/", ["/forms"]), is_page("/", ["/forms"]), is_page(None, [])
    (True, True, False, True)
    """
    if not patterns:
        return True
    path = re.split(r"[?#]", page or "", maxsplit=1)[0]
    path = _without_last_slash(path)
    return any(_fits(path, _without_last_slash(pattern)) for pattern in patterns)


def _without_last_slash(path: str) -> str:
    return path.rstrip("/") or "/"


def _fits(path: str, pattern: str) -> bool:
    """By searching for the parts between the stars from left to right; a regular expression of many
    stars would take for ever."""
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
    here: Sequence[str], shown: Mapping[str, ShownTip], tips: Mapping[str, Tip], now: datetime
) -> str | None:
    """The tip that is to be shown because it was shown already and waits for its answer, or because
    its day has come again.

    After its `success_days` without an answer a tip is not repeated any more: what it may have done
    has been measured by then.

    Args:
        here: the tips that apply on this page, the most important first.
        shown: the latest showing of each.
    """
    for name in here:
        last = shown.get(name)
        if last is None:
            continue
        if last.answer is None and now < last.shown_at + timedelta(days=tips[name].success_days):
            return name
        if has_come_again(last, tips[name], now):
            return name
    return None


def has_come_again(last: ShownTip, tip: Tip, now: datetime) -> bool:
    """Whether a tip put off by a day or a week is due; it was let through once and is not asked
    about again."""
    if last.answer != "later" or last.snoozed_until is None or last.snoozed_in is not None:
        return False
    return last.snoozed_until <= now < last.snoozed_until + timedelta(days=tip.success_days)


def find_new_tips(
    here: Sequence[str],
    shown: Mapping[str, ShownTip],
    tips: Mapping[str, Tip],
    now: datetime,
    *,
    off_season: bool,
) -> list[str]:
    """The tips that may be proposed to the eligibility check, the most important first.

    Never what was answered "never"; what was put off when its time has come; the rest, where the
    eligibility check asks for its cooldown."""
    return [
        name
        for name in here
        if name not in shown or _may_be_new(shown[name], tips[name], now, off_season=off_season)
    ]


def _may_be_new(last: ShownTip, tip: Tip, now: datetime, *, off_season: bool) -> bool:
    if last.answer == "never":
        return False
    if last.answer == "later" and last.snoozed_until is not None:
        turned = last.snoozed_in is not None and (last.snoozed_in == "off") != off_season
        return turned or last.snoozed_until <= now
    if last.answer is None:
        return now >= last.shown_at + timedelta(days=tip.success_days)
    return True


def is_resting(last_tip_at: datetime | None, hours: float, now: datetime) -> bool:
    """Whether the last new tip is too fresh for another; one that was in the holdout rests as one
    that was shown, to stay comparable."""
    return last_tip_at is not None and now < last_tip_at + timedelta(hours=hours)


def rest_since(playbook: Playbook, now: datetime) -> datetime:
    """How far back the last tip matters."""
    return now - timedelta(hours=playbook.coach.hours_between_tips)


def snooze(
    until: Until, now: datetime, timezone: str | None, *, off_season: bool
) -> tuple[datetime, Literal["in", "off"] | None]:
    """Until when a tip is put off, and for "season" the season it must outlast.

    A day and a week end with the night, in the supplier's zone: who says "tomorrow" in the evening
    means the next morning."""
    if until == "season":
        return now + timedelta(days=SEASON_DAYS), "off" if off_season else "in"
    local = now.astimezone(find_zone(timezone)) + timedelta(days=1 if until == "day" else 7)
    return local.replace(hour=4, minute=0, second=0, microsecond=0).astimezone(now.tzinfo), None

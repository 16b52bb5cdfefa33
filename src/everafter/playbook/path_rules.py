"""What is wrong with a playbook's onboarding path and milestones. Pure."""

import re
from collections.abc import Iterator
from typing import Any

from everafter.playbook.conditions import signals_in
from everafter.playbook.findings import Found, table
from everafter.playbook.model import (
    CELEBRATION_PREFIX,
    FULLY_ACTIVATED,
    MAX_MASK_BITS,
    OnboardingTiming,
)
from everafter.playbook.places import Path
from everafter.playbook.recommendation_rules import check_url
from everafter.playbook.sentence_rules import SUPPLIER_KINDS, check_translations
from everafter.playbook.shape import did_you_mean
from everafter.signals.model import SIGNALS

_LATER = {signal.name for signal in SIGNALS if signal.group in {"onboarding", "score"}}
_MISSED = re.compile(
    r"onboarding_missed(?:\s*,\s*''\s*\))?\s*(?:=|<>|!=|(?:NOT\s+)?IN\b)\s*(?P<names>\([^)]*\)|'[^']*')",
    re.IGNORECASE,
)
_NAME = re.compile(r"'([^']*)'")


def check_path(
    data: dict[str, Any],
    actions: frozenset[str] | None,
    templates: frozenset[str] | None,
    bad: frozenset[Path] = frozenset(),
) -> Iterator[Found]:
    """Every mistake in the steps, their actions, their season index and the milestones.

    Args:
        data: the playbook's tables.
        actions: those known without being declared; null: names of actions are not checked.
        templates: of messages; null: their names are not checked.
        bad: what is of the wrong type or out of range, which is not held against anything else.
    """
    for name in table(data, "onboarding"):
        yield from _step(data, name, actions)
    yield from _same_day(table(data, "onboarding"), bad)
    yield from _season_index(data, bad)
    yield from _actions(data, actions)
    yield from _missed(data)
    for name in table(data, "milestones"):
        yield from _milestone(data, name, templates)
    yield from _too_many(table(data, "onboarding"))
    for group in ("onboarding", "milestones"):
        if len(names := list(table(data, group))) > MAX_MASK_BITS:
            yield (
                (group, names[MAX_MASK_BITS]),
                None,
                f"more than {MAX_MASK_BITS} are in [{group}]",
                "leave some out",
                "error",
            )


def _too_many(steps: dict[str, Any]) -> Iterator[Found]:
    """Each action that a step asks for takes a bit, declared or not; full activation follows from
    the others and takes none."""
    asked: set[str] = set()
    for name in steps:
        for index, action in enumerate(_asked(table(steps, name)) or []):
            if not isinstance(action, str) or action == FULLY_ACTIVATED or action in asked:
                continue
            asked.add(action)
            if len(asked) == MAX_MASK_BITS + 1:
                message = f"the path asks for more than {MAX_MASK_BITS} actions"
                yield (
                    ("onboarding", name, "actions", index),
                    None,
                    message,
                    "leave some out",
                    "error",
                )


def _step(data: dict[str, Any], name: str, actions: frozenset[str] | None) -> Iterator[Found]:
    path, step = ("onboarding", name), table(data, "onboarding", name)
    asked = _asked(step)
    if asked == []:
        yield (
            (*path, "actions"),
            None,
            "a step without actions is always done",
            "name what is expected",
            "error",
        )
    known = None if actions is None else actions | set(table(data, "onboarding_actions"))
    for index, action in enumerate(asked or []):
        if isinstance(action, str) and known is not None and action not in known:
            hint = (
                did_you_mean(action, known)
                or f"known: {', '.join(sorted(known))}; or declare [onboarding_actions.{action}]"
            )
            yield (
                (*path, "actions", index),
                None,
                f"there is no onboarding action {action!r}",
                hint,
                "error",
            )
    done = [table(data, "triggers", trigger).get("action") for trigger in table(data, "triggers")]
    helps = {action for action in done if isinstance(action, str)}
    help_ = step.get("if_missed")
    if isinstance(help_, str) and help_ not in helps:
        hint = did_you_mean(help_, helps) or f'a trigger must do it: action = "{help_}"'
        yield (*path, "if_missed"), None, f"no trigger has the action {help_!r}", hint, "error"
    metric = step.get("success_metric")
    if isinstance(metric, str) and asked is not None and metric not in asked:
        hint = (
            did_you_mean(metric, [a for a in asked if isinstance(a, str)])
            or "add it to the step's actions"
        )
        yield (
            (*path, "success_metric"),
            None,
            f"{metric!r} is none of the step's actions",
            hint,
            "error",
        )
    milestones = table(data, "milestones")
    milestone = step.get("milestone")
    if isinstance(milestone, str) and milestone not in milestones:
        hint = did_you_mean(milestone, milestones) or f"declare [milestones.{milestone}]"
        yield (*path, "milestone"), None, f"there is no milestone {milestone!r}", hint, "error"
    if "celebration" in step and milestone is None:
        yield (
            (*path, "celebration"),
            None,
            "there is no milestone to celebrate",
            "name it: milestone = …",
            "error",
        )
    yield from _vendor_types(
        (*path, "vendor_types"), step.get("vendor_types"), table(data, "segments")
    )
    yield from _asked_too_early((*path, "when"), step.get("when"))
    yield from check_translations(path, step, ("title",), {})


def _asked(step: dict[str, Any]) -> list[Any] | None:
    actions = step.get("actions")
    return actions if isinstance(actions, list) else None


def _vendor_types(
    path: tuple[str, ...], vendor_types: Any, segments: dict[str, Any]
) -> Iterator[Found]:
    for index, vendor_type in enumerate(vendor_types if isinstance(vendor_types, list) else []):
        if isinstance(vendor_type, str) and vendor_type not in segments:
            hint = did_you_mean(vendor_type, segments) or f"segments: {', '.join(sorted(segments))}"
            yield (*path, index), None, f"there is no segment {vendor_type!r}", hint, "error"


def _asked_too_early(path: tuple[str, ...], sql: Any) -> Iterator[Found]:
    """The path is read before the score is made, and cannot ask for it."""
    for name in signals_in(sql) if isinstance(sql, str) else []:
        if name in _LATER:
            start = sql.find(name)
            message = f"{name} is known only after the path was read"
            yield (
                path,
                (start, start + len(name)),
                message,
                "ask for what the supplier did",
                "error",
            )


def _same_day(steps: dict[str, Any], bad: frozenset[Path]) -> Iterator[Found]:
    days: dict[int, str] = {}
    for name in steps:
        step = table(steps, name)
        day = step.get("day")
        if (
            not isinstance(day, int)
            or ("onboarding", name, "day") in bad
            or step.get("vendor_types")
            or step.get("when")
        ):
            continue
        if day in days:
            message = f"{name!r} and {days[day]!r} are both expected by day {day}"
            yield ("onboarding", name, "day"), None, message, "make them one step", "warning"
        days.setdefault(day, name)


def _season_index(data: dict[str, Any], bad: frozenset[Path]) -> Iterator[Found]:
    written, default = table(data, "onboarding_timing"), OnboardingTiming()
    behind = written.get("behind_after_days", default.behind_after_days)
    stuck = written.get("stuck_after_days", default.stuck_after_days)
    if (
        not {("onboarding_timing", "behind_after_days"), ("onboarding_timing", "stuck_after_days")}
        & bad
        and behind >= stuck
    ):
        key = "stuck_after_days" if "stuck_after_days" in written else "behind_after_days"
        message = f"behind_after_days ({behind:g}) must be under stuck_after_days ({stuck:g})"
        yield (
            ("onboarding_timing", key),
            None,
            message,
            "one falls behind before one is stuck",
            "error",
        )


def _actions(data: dict[str, Any], actions: frozenset[str] | None) -> Iterator[Found]:
    declared, steps = table(data, "onboarding_actions"), table(data, "onboarding")
    asked = {
        action
        for name in steps
        for action in _asked(table(steps, name)) or []
        if isinstance(action, str)
    }
    for name in declared:
        path, action = ("onboarding_actions", name), table(declared, name)
        if name not in asked:
            hint = did_you_mean(name, asked) or "add it to a step's actions, or leave it out"
            yield path, None, f"no step asks for {name!r}", hint, "warning"
        if name == FULLY_ACTIVATED and ("done_when" in action or "feature" in action):
            key = "done_when" if "done_when" in action else "feature"
            yield (
                (*path, key),
                None,
                f"{name} follows from all other actions",
                "leave it out",
                "error",
            )
        yield from check_url((*path, "url"), action.get("url"))
        yield from _asked_too_early((*path, "done_when"), action.get("done_when"))
        yield from check_translations(path, action, ("title", "hint"), {})


def _missed(data: dict[str, Any]) -> Iterator[Found]:
    """A trigger that waits for a step of another name waits for ever."""
    steps = table(data, "onboarding")
    for name in table(data, "triggers"):
        for key in ("when", "success"):
            sql = table(data, "triggers", name).get(key)
            for match in _MISSED.finditer(sql) if isinstance(sql, str) else ():
                for step in _NAME.finditer(match["names"]):
                    if step[1] not in steps:
                        part = (
                            match.start("names") + step.start(1),
                            match.start("names") + step.end(1),
                        )
                        hint = did_you_mean(step[1], steps) or f"steps: {', '.join(steps)}"
                        yield (
                            ("triggers", name, key),
                            part,
                            f"the path has no step {step[1]!r}",
                            hint,
                            "error",
                        )


def _milestone(
    data: dict[str, Any], name: str, templates: frozenset[str] | None
) -> Iterator[Found]:
    path, milestone = ("milestones", name), table(data, "milestones", name)
    celebrate, template = milestone.get("celebrate"), milestone.get("template")
    by_email = isinstance(celebrate, list) and "email" in celebrate
    if by_email and template is None:
        hint = (
            f"templates: {', '.join(sorted(templates))}"
            if templates
            else 'template = "ten_clients"'
        )
        yield (
            path,
            None,
            f"milestone {name!r} is celebrated by email and has no template",
            hint,
            "error",
        )
    elif isinstance(template, str) and not by_email:
        message = "it is not celebrated by email, so the template is never used"
        yield (
            (*path, "template"),
            None,
            message,
            'celebrate = ["coach", "email"], or no template',
            "warning",
        )
    elif isinstance(template, str) and templates is not None and template not in templates:
        hint = did_you_mean(template, templates) or f"templates: {', '.join(sorted(templates))}"
        yield (*path, "template"), None, f"there is no template {template!r}", hint, "error"
    if milestone.get("certificate") is True and name != FULLY_ACTIVATED:
        message = f"the certificate is for {FULLY_ACTIVATED}"
        yield (*path, "certificate"), None, message, "leave it out", "error"
    if (email := CELEBRATION_PREFIX + name) in table(data, "triggers"):
        message = f"{email!r} is the name under which the milestone's own email is in the intervention log"
        yield ("triggers", email), None, message, "give the trigger another name", "error"
    yield from check_translations(path, milestone, ("title", "celebration"), SUPPLIER_KINDS)

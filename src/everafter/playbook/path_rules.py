"""Checks of the onboarding path and the milestones. Pure."""

import re
from collections.abc import Iterator
from typing import Any

from everafter.playbook.coach_rules import check_vendor_types
from everafter.playbook.conditions import signals_in
from everafter.playbook.findings import Finding, list_names, table, texts_in
from everafter.playbook.hints import did_you_mean
from everafter.playbook.model import (
    CELEBRATION_PREFIX,
    FULLY_ACTIVATED,
    MAX_MASK_BITS,
    OnboardingTiming,
)
from everafter.playbook.places import Path
from everafter.playbook.recommendation_rules import check_template, check_url
from everafter.playbook.sentence_rules import SUPPLIER_KINDS, check_translations
from everafter.signals.model import SIGNALS

_COMPUTED_LATER = {s.name for s in SIGNALS if s.group in {"onboarding", "score"}}

# onboarding_missed, or coalesce(onboarding_missed, ''), compared with names of steps.
_MISSED = re.compile(
    r"onboarding_missed(?:\s*,\s*''\s*\))?"
    r"\s*(?:=|<>|!=|(?:NOT\s+)?IN\b)\s*"
    r"(?P<names>\([^)]*\)|'[^']*')",
    re.IGNORECASE,
)
_QUOTED = re.compile(r"'([^']*)'")


def check_path(
    data: dict[str, Any],
    actions: frozenset[str] | None,
    templates: frozenset[str] | None,
    bad: frozenset[Path] = frozenset(),
) -> Iterator[Finding]:
    """Check the onboarding steps, their actions and timing, and the milestones.

    Args:
        data: the playbook's tables.
        actions: those that need not be declared; null: names of actions are not checked.
        templates: the email templates that exist; null: not checked.
        bad: values of a wrong type or out of range, which are not compared with others.
    """
    steps, milestones = table(data, "onboarding"), table(data, "milestones")
    for name in steps:
        yield from _step(data, name, actions)
    yield from _same_day(steps, bad)
    yield from _timing(table(data, "onboarding_timing"), bad)
    yield from _actions(data)
    yield from _missed_steps(data)
    for name in milestones:
        yield from _milestone(data, name, templates)
    yield from _too_many_actions(steps)
    for group, entries in (("onboarding", steps), ("milestones", milestones)):
        if len(names := list(entries)) > MAX_MASK_BITS:
            message = f"more than {MAX_MASK_BITS} entries in [{group}]"
            yield Finding((group, names[MAX_MASK_BITS]), message, "remove some")


def _too_many_actions(steps: dict[str, Any]) -> Iterator[Finding]:
    """Each action that a step names takes a bit of the mask, declared or not; full activation
    follows from the others and takes none."""
    seen: set[str] = {FULLY_ACTIVATED}
    for name in steps:
        for index, action in texts_in(table(steps, name).get("actions")):
            if action in seen:
                continue
            seen.add(action)
            if len(seen) == MAX_MASK_BITS + 2:
                message = f"the path has more than {MAX_MASK_BITS} actions"
                yield Finding(("onboarding", name, "actions", index), message, "remove some")


def _step(data: dict[str, Any], name: str, actions: frozenset[str] | None) -> Iterator[Finding]:
    path, step = ("onboarding", name), table(data, "onboarding", name)
    yield from _step_actions(path, step, actions, table(data, "onboarding_actions"))
    yield from _if_missed(path, step, table(data, "triggers"))
    metric, named = step.get("success_metric"), step.get("actions")
    if isinstance(metric, str) and isinstance(named, list) and metric not in named:
        near = did_you_mean(metric, [action for _, action in texts_in(named)])
        message = f"{metric!r} is not one of the step's actions"
        hint = near or "add it to the step's actions"
        yield Finding((*path, "success_metric"), message, hint)
    milestone, milestones = step.get("milestone"), table(data, "milestones")
    if isinstance(milestone, str) and milestone not in milestones:
        hint = did_you_mean(milestone, milestones) or f"declare [milestones.{milestone}]"
        yield Finding((*path, "milestone"), f"there is no milestone {milestone!r}", hint)
    if "celebration" in step and milestone is None:
        message = "the step has no milestone to celebrate"
        yield Finding((*path, "celebration"), message, "name one: milestone = …")
    yield from check_vendor_types(path, step, table(data, "segments"))
    yield from _computed_later((*path, "when"), step.get("when"))
    yield from check_translations(path, step, ("title",), {})


def _step_actions(
    path: Path, step: dict[str, Any], actions: frozenset[str] | None, declared: dict[str, Any]
) -> Iterator[Finding]:
    named = step.get("actions")
    if named == []:
        message = "a step without actions is always done"
        yield Finding((*path, "actions"), message, "name the actions that it expects")
    known = None if actions is None else actions | set(declared)
    for index, action in texts_in(named):
        if known is not None and action not in known:
            hint = did_you_mean(action, known)
            hint = hint or f"known: {list_names(known)}; or declare [onboarding_actions.{action}]"
            where = (*path, "actions", index)
            yield Finding(where, f"there is no onboarding action {action!r}", hint)


def _if_missed(path: Path, step: dict[str, Any], triggers: dict[str, Any]) -> Iterator[Finding]:
    action = step.get("if_missed")
    of_triggers = [table(triggers, name).get("action") for name in triggers]
    known = {one for one in of_triggers if isinstance(one, str)}
    if isinstance(action, str) and action not in known:
        hint = did_you_mean(action, known) or f'add a trigger with action = "{action}"'
        yield Finding((*path, "if_missed"), f"no trigger has the action {action!r}", hint)


def _computed_later(path: Path, sql: Any) -> Iterator[Finding]:
    """The path is computed before the score, so its conditions cannot name signals of it."""
    for name in signals_in(sql) if isinstance(sql, str) else []:
        if name in _COMPUTED_LATER:
            start = sql.find(name)
            message = f"{name} is computed only after the onboarding path"
            hint = "use signals of what the supplier did"
            yield Finding(path, message, hint, part=(start, start + len(name)))


def _same_day(steps: dict[str, Any], bad: frozenset[Path]) -> Iterator[Finding]:
    days: dict[int, str] = {}
    for name in steps:
        path, step = ("onboarding", name, "day"), table(steps, name)
        day = step.get("day")
        if not isinstance(day, int) or path in bad or step.get("vendor_types") or step.get("when"):
            continue
        if day in days:
            message = f"{name!r} and {days[day]!r} are both expected by day {day}"
            yield Finding(path, message, "make them one step", "warning")
        days.setdefault(day, name)


def _timing(timing: dict[str, Any], bad: frozenset[Path]) -> Iterator[Finding]:
    keys, default = ("behind_after_days", "stuck_after_days"), OnboardingTiming()
    if any(("onboarding_timing", key) in bad for key in keys):
        return
    behind, stuck = (timing.get(key, getattr(default, key)) for key in keys)
    if behind >= stuck:
        key = "stuck_after_days" if "stuck_after_days" in timing else "behind_after_days"
        message = f"behind_after_days ({behind:g}) must be less than stuck_after_days ({stuck:g})"
        hint = "a supplier is behind before it is stuck"
        yield Finding(("onboarding_timing", key), message, hint)


def _actions(data: dict[str, Any]) -> Iterator[Finding]:
    declared, steps = table(data, "onboarding_actions"), table(data, "onboarding")
    named = {action for name in steps for _, action in texts_in(table(steps, name).get("actions"))}
    for name in declared:
        path, action = ("onboarding_actions", name), table(declared, name)
        if name not in named:
            hint = did_you_mean(name, named) or "add it to a step's actions, or remove it"
            yield Finding(path, f"no step has the action {name!r}", hint, "warning")
        if name == FULLY_ACTIVATED and ("done_when" in action or "feature" in action):
            key = "done_when" if "done_when" in action else "feature"
            yield Finding((*path, key), f"{name} follows from all other actions", "remove it")
        yield from check_url((*path, "url"), action.get("url"))
        yield from _computed_later((*path, "done_when"), action.get("done_when"))
        yield from check_translations(path, action, ("title", "hint"), {})


def _missed_steps(data: dict[str, Any]) -> Iterator[Finding]:
    """Names of steps that triggers compare onboarding_missed with: one that does not exist is never
    missed."""
    steps, triggers = table(data, "onboarding"), table(data, "triggers")
    for name in triggers:
        for key in ("when", "success"):
            sql = table(triggers, name).get(key)
            for match in _MISSED.finditer(sql) if isinstance(sql, str) else ():
                for step in _QUOTED.finditer(match["names"]):
                    if step[1] not in steps:
                        offset = match.start("names")
                        hint = did_you_mean(step[1], steps) or f"steps: {', '.join(steps)}"
                        yield Finding(
                            ("triggers", name, key),
                            f"the path has no step {step[1]!r}",
                            hint,
                            part=(offset + step.start(1), offset + step.end(1)),
                        )


def _milestone(
    data: dict[str, Any], name: str, templates: frozenset[str] | None
) -> Iterator[Finding]:
    path, milestone = ("milestones", name), table(data, "milestones", name)
    yield from _milestone_template(path, milestone, templates)
    if milestone.get("certificate") is True and name != FULLY_ACTIVATED:
        message = f"only {FULLY_ACTIVATED} has a certificate"
        yield Finding((*path, "certificate"), message, "remove it")
    if (trigger := CELEBRATION_PREFIX + name) in table(data, "triggers"):
        message = f"{trigger!r} is the name of the milestone's own email in the intervention log"
        yield Finding(("triggers", trigger), message, "give the trigger another name")
    yield from check_translations(path, milestone, ("title", "celebration"), SUPPLIER_KINDS)


def _milestone_template(
    path: Path, milestone: dict[str, Any], templates: frozenset[str] | None
) -> Iterator[Finding]:
    celebrate, template = milestone.get("celebrate"), milestone.get("template")
    by_email = isinstance(celebrate, list) and "email" in celebrate
    if by_email and template is None:
        message = f"milestone {path[-1]!r} is celebrated by email and has no template"
        hint = f"templates: {list_names(templates)}" if templates else 'template = "ten_clients"'
        yield Finding(path, message, hint)
    elif isinstance(template, str) and not by_email:
        message = "the milestone is not celebrated by email, so the template is never used"
        hint = 'celebrate = ["coach", "email"], or no template'
        yield Finding((*path, "template"), message, hint, "warning")
    elif isinstance(template, str) and templates is not None:
        yield from check_template((*path, "template"), template, templates)

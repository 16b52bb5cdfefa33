"""The onboarding path as the supplier sees it, and milestones. Pure."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from uuid import UUID

import polars as pl

from everafter.activity.model import moment
from everafter.core.errors import UnprocessableError
from everafter.core.formatting import humanize, sentence
from everafter.core.zones import find_zone
from everafter.onboarding.model import (
    ACTION_TIMES,
    CHECKLIST_TITLES,
    KEPT_SCHEMA,
    MILESTONE_TIMES,
    MILESTONES_SCHEMA,
    TEN,
    TIME,
    ActionState,
    Celebration,
    Checklist,
    ChecklistAction,
    ChecklistStep,
    NextAction,
    OnboardingAnswer,
    StepState,
    Watch,
)
from everafter.onboarding.path_rules import (
    add_onboarding as add_onboarding,
)
from everafter.onboarding.path_rules import path_of
from everafter.playbook.model import (
    FULLY_ACTIVATED,
    Milestone,
    OnboardingAction,
    OnboardingStep,
    Playbook,
)
from everafter.playbook.rules import compile_condition
from everafter.playbook.translation_rules import list_languages, translate
from everafter.signals.model import SIGNAL_SCHEMA
from everafter.signals.row_model import SignalRow
from everafter.signals.text import format_sentence

_TYPE = re.compile(r"[a-z][a-z0-9_]{0,63}")
_EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
_CLOCK_SKEW = timedelta(minutes=5)


def checklist(
    row: SignalRow, playbook: Playbook, as_of: datetime, language: str = "en"
) -> Checklist | None:
    """The path as one supplier sees it.

    Args:
        row: one scored row (scoring.live, or a row of `add_onboarding`): the onboarding signals,
            onboarding_actions, onboarding_asked, account_created_at; optional timezone,
            activated_at, activation_shown.
        language: of the reader ("de", "de-AT"); untranslated texts are in the playbook's language.

    Returns:
        Null if this supplier has no path, or its time is over; and once the path is done, after it
        was celebrated in the coach or is too old to be celebrated.
    """
    state = row["onboarding_state"]
    if state is None or (state == "done" and _is_over(row, playbook, as_of)):
        return None
    steps = steps_of(row, playbook, language)
    title = CHECKLIST_TITLES.get(language.partition("-")[0], CHECKLIST_TITLES["en"])
    return Checklist(title, sum(step.done for step in steps), len(steps), state, steps)


def steps_of(row: SignalRow, playbook: Playbook, language: str = "en") -> list[ChecklistStep]:
    """The steps of this supplier's path by day, with their actions; `row` as for `checklist`."""
    path = path_of(playbook)
    activated = bool(row["fully_activated"])
    began: datetime | None = row["account_created_at"]
    began = began.astimezone(find_zone(row.get("timezone"))) if began is not None else None
    steps: list[ChecklistStep] = []
    for bit, (name, step) in enumerate(path.steps):
        if not row["onboarding_asked"] & (1 << bit):
            continue
        done = {
            action: activated or bool(row["onboarding_actions"] & path.bits_of([action]))
            for action in step.actions
        }
        due_on = (began + timedelta(days=step.day)).date() if began is not None else None
        actions = [
            _describe_action(action, is_done, playbook, language)
            for action, is_done in done.items()
        ]
        title, _ = _translate(step, "title", playbook, language)
        steps.append(ChecklistStep(name, title, all(done.values()), due_on, actions))
    return steps


def answer_of(
    row: SignalRow, playbook: Playbook, kept: Mapping[str, datetime], language: str = "en"
) -> OnboardingAnswer:
    """The whole path of one supplier, for the API and for the team.

    Args:
        row: as for `checklist`.
        kept: when each action was reported or first noticed (queries.list_progress).
    """
    declared = dict(path_of(playbook).steps)
    steps = [
        _state_of(step, declared[step.id], row, kept) for step in steps_of(row, playbook, language)
    ]
    undone = (
        (step, action)
        for step in steps
        for action in step.actions
        if not action.done and action.id != FULLY_ACTIVATED
    )
    first = next(undone, None)
    return OnboardingAnswer(
        supplier_id=UUID(row["supplier_id"]),
        external_id=row["external_id"],
        state=row["onboarding_state"],
        started_at=row["account_created_at"],
        activated_at=row["activated_at"],
        done=sum(step.done for step in steps),
        total=len(steps),
        missed=row["onboarding_missed"],
        days_behind=row["onboarding_days_behind"],
        next=first
        and NextAction(first[0].id, first[1].id, first[1].title, first[1].hint, first[1].url),
        steps=steps,
    )


def _state_of(
    step: ChecklistStep,
    declared: OnboardingStep,
    row: SignalRow,
    kept: Mapping[str, datetime],
) -> StepState:
    def done_at(action: ChecklistAction) -> datetime | None:
        if not action.done:
            return None
        seen = cast(Mapping[str, Any], row).get(ACTION_TIMES.get(action.id, ""))
        times = [at for at in (seen, kept.get(action.id)) if at is not None]
        return min(times, default=row["activated_at"])

    actions = [ActionState(a.id, a.title, a.hint, a.url, a.done, done_at(a)) for a in step.actions]
    return StepState(
        step.id,
        step.title,
        declared.day,
        step.due_on,
        step.done,
        declared.success_metric,
        declared.if_missed,
        actions,
    )


def with_action(row: SignalRow, playbook: Playbook, action: str, as_of: datetime) -> pl.DataFrame:
    """The scored row with one more action done.

    Raises:
        UnprocessableError: the path has no such action.
    """
    path = path_of(playbook)
    if action not in path.actions:
        raise UnprocessableError(
            f"action: the path has no {action!r}; it has {', '.join(path.actions)}"
        )
    kept = row["onboarding_actions"] | row["onboarding_kept"] | path.bits_of([action])
    return add_onboarding(frame_of({**row, "onboarding_kept": kept}), playbook, as_of)


def check_done_at(done_at: datetime | None, now: datetime) -> datetime:
    """The time to store, in UTC.

    Raises:
        UnprocessableError: a time in the future or before 2000.
    """
    return _check_time("done_at", done_at, now)


def _translate(
    item: OnboardingStep | OnboardingAction | Milestone, key: str, playbook: Playbook, language: str
) -> tuple[str, str]:
    """A text of the playbook, and the language it is in."""
    own = playbook.coach.language
    languages = list_languages([language], own)
    return translate(getattr(item, key), key, item.translations, languages, own)


def _is_over(row: SignalRow, playbook: Playbook, as_of: datetime) -> bool:
    milestone = playbook.milestones.get(FULLY_ACTIVATED)
    at: datetime | None = row.get("activated_at")
    fresh = timedelta(days=milestone.fresh_days if milestone else 14)
    return bool(row.get("activation_shown")) or (at is not None and as_of - at > fresh)


def _describe_action(action: str, done: bool, playbook: Playbook, language: str) -> ChecklistAction:
    declared = playbook.onboarding_actions.get(action)
    if declared is None:
        return ChecklistAction(action, sentence(humanize(action)), "", None, done)
    title, _ = _translate(declared, "title", playbook, language)
    hint, _ = _translate(declared, "hint", playbook, language)
    return ChecklistAction(action, title, hint, declared.url, done)


def find_milestones(frame: pl.DataFrame, playbook: Playbook, as_of: datetime) -> pl.DataFrame:
    """The playbook's milestones that these suppliers have reached by `as_of` and that are not
    recorded yet.

    A milestone with `when` is reached when that is true; one without, by its own event, and
    `ten_clients` by the tenth client ever added. Its time is that of the event if there is one,
    else `as_of`, when it was first noticed.

    Args:
        frame: supplier_id, the signals, the columns of `MILESTONE_TIMES`, and clients_added Int64
            (clients ever added). Optional: `recorded` Int64, with bit n set if the n-th of the
            playbook's milestones is recorded (null: none). Most of what a run finds was found the
            day before; the mask is one number per supplier, where the rows took 0.8 s a run.

    Returns:
        supplier_id String, milestone_type String, achieved_at Datetime us UTC; sorted by supplier
        and type.
    """
    new = _new_milestones(frame, playbook, as_of)
    # One pass over the wide frame, then narrow ones.
    at = frame.select(
        pl.col("supplier_id").cast(pl.String),
        *(moment_of.alias(f"_{name}") for name, moment_of in new.items()),
    )
    found = [
        at.filter(pl.col(f"_{name}").is_not_null()).select(
            "supplier_id",
            pl.lit(name).alias("milestone_type"),
            pl.col(f"_{name}").alias("achieved_at"),
        )
        for name in new
    ]
    return pl.concat([pl.DataFrame(schema=MILESTONES_SCHEMA), *found]).sort(
        "supplier_id", "milestone_type"
    )


def _new_milestones(frame: pl.DataFrame, playbook: Playbook, as_of: datetime) -> dict[str, pl.Expr]:
    """When each milestone was reached; null: not yet, or recorded already."""
    recorded = (
        pl.col("recorded").fill_null(0) if "recorded" in frame.columns else pl.lit(0, pl.Int64)
    )
    return {
        name: pl.when(recorded & (1 << bit) == 0).then(_reached(name, milestone, as_of).cast(TIME))
        for bit, (name, milestone) in enumerate(playbook.milestones.items())
        if milestone.when is not None or name in MILESTONE_TIMES or name == "ten_clients"
    }


def find_fresh(
    found: pl.DataFrame, frame: pl.DataFrame, playbook: Playbook, watch: Watch, as_of: datetime
) -> pl.DataFrame:
    """Add `fresh`: whether the milestone was certainly reached lately, and may be celebrated.

    A milestone with an event is as old as the event. One that was only noticed now (`as_of`) may
    have been reached years ago: on the first run over a platform's history, after the milestone
    was added to the playbook, or for a supplier that was just imported. It is new if the run before
    looked for it and did not find it, or if the account (for full activation: its latest action
    with an event) is younger than the milestone's fresh_days.

    Args:
        found: from `find_milestones`.
        frame: the frame it was found in. Optional: added_at, since when the supplier is known here;
            without it no supplier was known to the run before.
    """
    if found.is_empty():
        return found.with_columns(pl.lit(True).alias("fresh"))
    added = pl.col("added_at") if "added_at" in frame.columns else pl.lit(None, TIME)
    since = pl.lit(watch.since).cast(TIME)
    known = frame.select(
        pl.col("supplier_id").cast(pl.String),
        (added < since).fill_null(False).alias("_watched"),
        pl.col("account_created_at").alias("_began"),
        pl.max_horizontal(ACTION_TIMES.values()).alias("_latest"),
    )
    days = {name: milestone.fresh_days for name, milestone in playbook.milestones.items()}
    of_type = pl.col("milestone_type")
    oldest = moment(as_of) - pl.duration(
        days=of_type.replace_strict(days, default=0, return_dtype=pl.Int64)
    )
    cannot_be_older = (
        pl.when(of_type == FULLY_ACTIVATED)
        .then(pl.max_horizontal("_began", "_latest"))
        .otherwise("_began")
    )
    seen_before = of_type.is_in(list(watch.names)) & pl.col("_watched")
    return (
        found.join(known, on="supplier_id", how="left", maintain_order="left")
        .with_columns(
            ((pl.col("achieved_at") < moment(as_of)) | seen_before | (cannot_be_older >= oldest))
            .fill_null(False)
            .alias("fresh")
        )
        .drop("_watched", "_began", "_latest")
    )


def find_progress(frame: pl.DataFrame, playbook: Playbook, as_of: datetime) -> pl.DataFrame:
    """Actions of the path that are done, have no event of their own, and are not stored yet: first
    noticed at `as_of`. Suppliers that have completed the path are left out.

    Args:
        frame: from `add_onboarding`.

    Returns:
        KEPT_SCHEMA: supplier_id, action, done_at.
    """
    new = _new_actions(playbook, as_of)
    at = frame.select(
        pl.col("supplier_id").cast(pl.String),
        *(is_new.alias(f"_{action}") for action, is_new in new.items()),
    )
    found = [
        at.filter(f"_{action}").select(
            "supplier_id", pl.lit(action).alias("action"), pl.lit(as_of).cast(TIME).alias("done_at")
        )
        for action in new
    ]
    return pl.concat([pl.DataFrame(schema=KEPT_SCHEMA), *found]).sort("supplier_id", "action")


def _new_actions(playbook: Playbook, as_of: datetime) -> dict[str, pl.Expr]:
    """For each action that signals can show, whether it is done and not stored; never null."""
    path, declared = path_of(playbook), playbook.onboarding_actions
    began = (pl.col("account_created_at") <= moment(as_of)).fill_null(False) & pl.col(
        "activated_at"
    ).is_null()
    new: dict[str, pl.Expr] = {}
    for action in path.actions:
        column = ACTION_TIMES.get(action)
        if column and not (
            action in declared and (declared[action].done_when or declared[action].feature)
        ):
            continue
        asking = sum(1 << n for n, (_, step) in enumerate(path.steps) if action in step.actions)
        done = (
            pl.col("onboarding_actions") & ~pl.col("onboarding_kept") & path.bits_of([action])
        ) != 0
        undated = (
            pl.lit(True) if column is None else (pl.col(column) > moment(as_of)).fill_null(True)
        )
        new[action] = began & done & undated & ((pl.col("onboarding_asked") & asking) != 0)
    return new


def find_news(frame: pl.DataFrame, playbook: Playbook, as_of: datetime) -> pl.DataFrame:
    """Add onboarding_news Boolean: whether `find_milestones` or `find_progress` would find
    something. The coach asks about a supplier many times; without news there is nothing to record.
    """
    milestones = [at.is_not_null() for at in _new_milestones(frame, playbook, as_of).values()]
    news = pl.any_horizontal([pl.lit(False), *milestones, *_new_actions(playbook, as_of).values()])
    return frame.with_columns(news.alias("onboarding_news"))


def frame_of(*rows: Mapping[str, Any]) -> pl.DataFrame:
    """Scored rows as a frame of the registered types, with all columns that this slice needs."""
    times = dict.fromkeys(
        [*ACTION_TIMES.values(), *MILESTONE_TIMES.values(), "activated_at", "added_at"], TIME
    )
    masks = dict.fromkeys(
        ["recorded", "clients_added", "onboarding_kept", "onboarding_actions", "onboarding_asked"],
        pl.Int64(),
    )
    schema: dict[str, Any] = {"supplier_id": pl.String(), **SIGNAL_SCHEMA, **times, **masks}
    return pl.DataFrame([{name: row.get(name) for name in schema} for row in rows], schema=schema)


def celebration_of(
    playbook: Playbook, milestone_type: str, facts: Mapping[str, Any], language: str = "en"
) -> Celebration | None:
    """The texts of a celebration; null if the playbook does not have this milestone.

    Args:
        facts: the supplier's name and signals, for the placeholders; null or absent: not known.
        language: of the reader.
    """
    milestone = playbook.milestones.get(milestone_type)
    if milestone is None:
        return None
    title, body = (
        format_sentence(text, facts, spoken)
        for text, spoken in (
            _translate(milestone, key, playbook, language) for key in ("title", "celebration")
        )
    )
    return Celebration(milestone_type, title, body, milestone.certificate)


def check_milestone(milestone_type: str, achieved_at: datetime | None, now: datetime) -> datetime:
    """The time to record, in UTC.

    Raises:
        UnprocessableError: not a name, or a time before 2000 or more than five minutes (the
            tolerance for a clock that is fast) in the future.
    """
    if not _TYPE.fullmatch(milestone_type):
        raise UnprocessableError(
            f"milestone_type: {milestone_type!r} is not a name: start with a to z; at most 63 of"
            " a to z, digits and _ can follow"
        )
    return _check_time("achieved_at", achieved_at, now)


def _check_time(name: str, at: datetime | None, now: datetime) -> datetime:
    if at is None:
        return now
    if at.tzinfo is None:
        at = at.replace(tzinfo=UTC)
    if at > now + _CLOCK_SKEW:
        raise UnprocessableError(f"{name}: {at.isoformat()} is in the future")
    if at < _EARLIEST:
        raise UnprocessableError(f"{name}: {at.isoformat()} is before 2000")
    return min(at.astimezone(UTC), now)


def _reached(name: str, milestone: Milestone, as_of: datetime) -> pl.Expr:
    """When the milestone was reached; null: not yet."""
    noticed = moment(as_of)
    if name in MILESTONE_TIMES:
        at = pl.when(pl.col(MILESTONE_TIMES[name]) <= noticed).then(pl.col(MILESTONE_TIMES[name]))
        at = at if milestone.when is None else pl.coalesce(at, noticed)
    else:
        at = noticed
    if milestone.when is not None:
        return pl.when(compile_condition(milestone.when)).then(at)
    return pl.when(pl.col("clients_added") >= TEN).then(at) if name == "ten_clients" else at

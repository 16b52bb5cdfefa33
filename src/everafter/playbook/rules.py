"""What a playbook's text means: its mistakes, and its conditions as expressions. Pure."""

from collections.abc import Callable, Iterator
from difflib import get_close_matches
from typing import Any

import msgspec
import polars as pl

from everafter.activity.model import MAX_FEATURES
from everafter.branding.rules import check_platform
from everafter.playbook import model
from everafter.playbook.coach_rules import check_coach
from everafter.playbook.conditions import check_condition
from everafter.playbook.findings import Found as _Found
from everafter.playbook.findings import table as _table
from everafter.playbook.model import DIMENSIONS, Mistake, Playbook
from everafter.playbook.path_rules import check_path
from everafter.playbook.places import Path, Places, find_places
from everafter.playbook.recommendation_rules import check_recommendations
from everafter.playbook.sentence_rules import SUPPLIER_KINDS, check_sentence, language_of
from everafter.playbook.shape import check_shape, did_you_mean
from everafter.playbook.support_rules import check_support
from everafter.playbook.syntax import Reading, read_toml
from everafter.signals.model import SIGNAL_SCHEMA

_CHURN_WEIGHTS = ("login", "support_tickets", "feature_usage", "client_churn", "billing")


def compile_condition(when: str) -> pl.Expr:
    """One condition over signals as a Boolean expression; an unknown answer (null) is "no"."""
    return pl.sql_expr(when).fill_null(False)


def compile_conditions(playbook: Playbook) -> dict[str, pl.Expr]:
    """The conditions of the enabled triggers, by trigger name, each Boolean and never null."""
    return {name: compile_condition(t.when) for name, t in playbook.triggers.items() if t.enabled}


def check_playbook(
    text: str,
    templates: frozenset[str] | None = None,
    actions: frozenset[str] | None = None,
    event_types: frozenset[str] | None = None,
    knows_holidays: Callable[[str], bool] | None = None,
    call_types: frozenset[str] | None = None,
) -> list[Mistake]:
    """Every mistake in a playbook's text, in the order of its lines.

    A text without a mistake of level "error" can be made a Playbook; warnings are for what is
    surely not meant.

    Args:
        text: TOML.
        templates: the message templates there are; null: their names are not checked.
        actions: what an onboarding step may ask for without declaring it; null: not checked.
        event_types: canonical event types, which `event_names` may point to; null: not checked.
        knows_holidays: whether holidays are known for an ISO 3166 code; null: not checked.
        call_types: kinds of calls that the coach may offer; null: not checked.
    """
    reading = read_toml(text)
    places = find_places(reading.text)
    shape = list(_shape(reading, places))
    bad = frozenset(path for path, *_ in shape)
    found = [
        *shape,
        *_segments(_table(reading.data, "segments"), complete=not reading.slips),
        *_numbers(reading.data, bad),
        *_triggers(_table(reading.data, "triggers"), templates),
        *_said_and_asked(reading.data),
        *check_recommendations(reading.data, templates),
        *check_path(reading.data, actions, templates, bad),
        *(
            one
            for one in check_support(_table(reading.data, "support"), knows_holidays, bad)
            if one[0] not in bad
        ),
        *_tips(_table(reading.data, "tips")),
        *check_coach(reading.data, call_types),
        *_platform(_table(reading.data, "platform"), bad),
        *_event_names(_table(reading.data, "event_names"), event_types),
        *_features(reading.data),
    ]
    mistakes = [_placed(one, places) for one in dict.fromkeys(found)]
    mistakes += [
        Mistake(slip.line, slip.column, "", slip.message, slip.hint) for slip in reading.slips
    ]
    return sorted(mistakes, key=lambda m: (m.line, m.column, m.level, m.message))


def to_playbook(text: str) -> Playbook:
    """The playbook that a text without errors means."""
    return msgspec.convert(read_toml(text).data, Playbook)


def _placed(found: _Found, places: Places) -> Mistake:
    path, part, message, hint, level = found
    start, end = places.of_value(path) if part is None else places.in_string(path, *part)
    line, column = places.line_and_column(start)
    first_line_end = places.text.find("\n", start)
    end = min(end, first_line_end) if first_line_end >= 0 else end
    return Mistake(line, column, _dotted(path), message, hint, max(1, end - start), level)


def _dotted(path: Path) -> str:
    return "".join(
        f"[{part}]" if isinstance(part, int) else f".{part}" for part in path
    ).removeprefix(".")


def _number(table: dict[str, Any], key: str, default: float) -> float | None:
    """The number there, the default when it is absent, null when it is something else."""
    value = table.get(key, default)
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


# ── types and ranges ──────────────────────────────────────────────────────────────────────────────────────────────────


def _shape(reading: Reading, places: Places) -> Iterator[_Found]:
    if not reading.data and reading.slips:
        return
    lost: set[Path] = set()
    for slip in reading.slips:
        lost.update(_table_at(places, slip.line))
    for path, message, hint, is_key in check_shape(reading.data, frozenset(lost)):
        yield path, None, message, hint, "error"
        if is_key and path in places.values:  # a key's mistake is shown at the key
            places.values[path] = places.of_key(path)


def _table_at(places: Places, line: int) -> list[Path]:
    """The table a line belongs to and those around it, any of which may have lost a key on it."""
    above = [
        (places.line_and_column(start)[0], path)
        for path, (start, _) in places.values.items()
        if places.text[start : start + 1] == "["
        and places.text[:start].rpartition("\n")[2].strip() == ""
        and places.line_and_column(start)[0] < line
    ]
    path = max(above, default=(0, ()))[1]
    return [path[:length] for length in range(len(path) + 1)]


# ── segments and numbers that must fit each other ─────────────────────────────────────────────────────────────────────


def _segments(segments: dict[str, Any], *, complete: bool) -> Iterator[_Found]:
    if segments and "default" not in segments and complete:
        near = get_close_matches("default", list(segments), n=1, cutoff=0.7)
        path = ("segments", *near)
        hint = (
            "is this the one?"
            if near
            else "it scores every vendor type that has no segment of its own"
        )
        yield path, None, "there is no segment 'default'", hint, "error"
    for name, segment in segments.items():
        path = ("segments", name)
        features = _table(segments, name).get("key_features")
        if features == []:
            hint = "name at least one feature that this vendor type needs"
            yield (
                (*path, "key_features"),
                None,
                "key_features is empty, so adoption cannot be told",
                hint,
                "error",
            )
        elif isinstance(features, list):
            yield from _repeated((*path, "key_features"), features)
        yield from _weights(path, _table(segments, name, "weights"))
        days = segment.get("login_days") if isinstance(segment, dict) else None
        numbers = [d for d in days if isinstance(d, int | float)] if isinstance(days, list) else []
        if numbers != sorted(set(numbers)):
            hint = "for example [3, 7, 14]: under 3 days all points, under 7 two thirds, under 14 a third"
            yield (*path, "login_days"), None, "login_days must rise", hint, "error"


def _features(data: dict[str, Any]) -> Iterator[_Found]:
    """Each feature that is named has a slot in every supplier's row."""
    segments, actions = _table(data, "segments"), _table(data, "onboarding_actions")
    lists = [_table(segments, name).get("key_features") for name in segments]
    keys = {
        item
        for items in lists
        if isinstance(items, list)
        for item in items
        if isinstance(item, str)
    }
    asked = [_table(actions, name).get("feature") for name in actions]
    named = keys | {feature for feature in asked if isinstance(feature, str)}
    if len(named) > MAX_FEATURES:
        message = f"{len(named)} features are named; at most {MAX_FEATURES} can be followed"
        yield ("segments",), None, message, "keep those that tell who is doing well", "error"


def _repeated(path: Path, items: list[Any]) -> Iterator[_Found]:
    before: set[str] = set()
    for index, item in enumerate(items):
        if isinstance(item, str) and item in before:
            yield (*path, index), None, f"{item!r} is named twice", "leave one out", "error"
        elif isinstance(item, str):
            before.add(item)


def _weights(path: Path, weights: dict[str, Any]) -> Iterator[_Found]:
    defaults = model.Weights()
    values = [_number(weights, name, getattr(defaults, name)) for name in DIMENSIONS]
    if all(value == 0 for value in values):
        hint = "they are shares of one another: give at least one dimension more than 0"
        yield (*path, "weights"), None, "all weights are 0", hint, "error"


def _numbers(data: dict[str, Any], bad: frozenset[Path]) -> Iterator[_Found]:
    """Pairs that must be in an order; a number that is wrong by itself (`bad`) is not held against
    its neighbour."""
    churn, messaging = _table(data, "churn"), _table(data, "messaging")
    critical, at_risk = _pair(data, "health", ("critical_below", 40), ("at_risk_below", 70), bad)
    if critical >= at_risk:
        message = f"critical_below ({critical:g}) must be under at_risk_below ({at_risk:g})"
        path = _written(data, "health", "critical_below", "at_risk_below")
        yield path, None, message, "a critical score is lower than one at risk", "error"
    medium, high = _pair(data, "churn", ("medium_above", 0.4), ("high_above", 0.7), bad)
    if medium >= high:
        message = f"medium_above ({medium:g}) must be under high_above ({high:g})"
        path = _written(data, "churn", "medium_above", "high_above")
        yield path, None, message, "a high risk is higher than a medium one", "error"
    defaults = model.Churn()
    if churn and all(_number(churn, name, getattr(defaults, name)) == 0 for name in _CHURN_WEIGHTS):
        yield (
            ("churn",),
            None,
            "all five signals of churn weigh 0",
            "give at least one more than 0",
            "error",
        )
    floor, off = _pair(data, "season", ("floor", 0.25), ("off_season_below", 0.6), bad)
    if off <= floor:
        message = f"season index is never under its floor ({floor:g}), so nobody is ever off season"
        path = _written(data, "season", "off_season_below", "floor")
        yield path, None, message, "let off_season_below be above floor", "warning"
    if messaging.get("quiet_from", "20:00") == messaging.get("quiet_until", "08:00"):
        message = "quiet hours begin and end at the same time, so there are none"
        yield _written(data, "messaging", "quiet_from", "quiet_until"), None, message, "", "warning"


def _pair(
    data: dict[str, Any],
    group: str,
    low: tuple[str, float],
    high: tuple[str, float],
    bad: frozenset[Path],
) -> tuple[float, float]:
    """Two numbers of a table with their defaults; a pair in good order when one of them cannot be
    used."""
    if (group, low[0]) in bad or (group, high[0]) in bad:
        return low[1], high[1]
    table = _table(data, group)
    return float(table.get(*low)), float(table.get(*high))


def _written(data: dict[str, Any], group: str, *keys: str) -> Path:
    """The first of the keys that is written in the text, for what their defaults have a part in."""
    table = _table(data, group)
    return (group, next((key for key in keys if key in table), keys[0]))


def _platform(platform: dict[str, Any], bad: frozenset[Path]) -> Iterator[_Found]:
    for one in check_platform(platform, bad):
        if one.path not in bad:
            yield one.path, None, one.message, one.hint, one.level


# ── triggers and sentences ────────────────────────────────────────────────────────────────────────────────────────────


def _triggers(triggers: dict[str, Any], templates: frozenset[str] | None) -> Iterator[_Found]:
    for name in triggers:
        path, trigger = ("triggers", name), _table(triggers, name)
        channel, template = trigger.get("channel"), trigger.get("template")
        if channel == "email" and template is None:
            hint = (
                f"templates: {', '.join(sorted(templates))}"
                if templates
                else 'template = "we_miss_you"'
            )
            yield path, None, f"trigger {name!r} sends email and has no template", hint, "error"
        elif isinstance(template, str) and channel in ("task", "tip", "call"):
            message = f"channel {channel!r} sends no email, so the template is never used"
            yield (*path, "template"), None, message, 'channel = "email", or no template', "warning"
        elif isinstance(template, str) and templates is not None and template not in templates:
            hint = did_you_mean(template, templates) or f"templates: {', '.join(sorted(templates))}"
            yield (*path, "template"), None, f"there is no template {template!r}", hint, "error"
        yield from _proof(path, trigger)
        if trigger.get("enabled") is not False:
            yield from _fires_on_nothing(path, trigger.get("when"))


def _tips(tips: dict[str, Any]) -> Iterator[_Found]:
    for name in tips:
        path, tip = ("tips", name), _table(tips, name)
        yield from _proof(path, tip)
        if tip.get("enabled") is not False:
            yield from _fires_on_nothing(path, tip.get("when"))


def _proof(path: Path, trigger: dict[str, Any]) -> Iterator[_Found]:
    """Whether one will ever be able to tell what the trigger has done."""
    essential, holdout = trigger.get("essential") is True, trigger.get("holdout")
    if holdout == 0 and not essential and trigger.get("enabled") is not False:
        hint = (
            "keep a few out (0.05), or say essential = true for billing and what a person must see"
        )
        yield (
            (*path, "holdout"),
            None,
            "nobody is in the holdout, so its effect can never be told",
            hint,
            "warning",
        )
    if essential and isinstance(holdout, int | float) and holdout > 0:
        yield (
            (*path, "holdout"),
            None,
            "what is essential is never in the holdout",
            "leave holdout out",
            "warning",
        )
    if holdout == 1 and not essential:
        yield (
            (*path, "holdout"),
            None,
            "everybody is in the holdout, so it never acts",
            "enabled = false says that",
            "warning",
        )
    when, success = trigger.get("when"), trigger.get("success")
    if (
        isinstance(when, str)
        and isinstance(success, str)
        and " ".join(when.split()) == " ".join(success.split())
    ):
        message = "success is what set it off, so it is reached at once"
        yield (
            (*path, "success"),
            None,
            message,
            "name what should be different afterwards",
            "warning",
        )


def _fires_on_nothing(path: Path, when: Any) -> Iterator[_Found]:
    if not isinstance(when, str) or any(
        remark.level == "error" for remark in check_condition(when)
    ):
        return
    if _STRANGER.select(compile_condition(when)).to_series()[0]:
        message = "it is true of a supplier of whom nothing is known"
        hint = "ask for something that must be known, such as tenure_days >= 7"
        yield (*path, "when"), None, message, hint, "warning"


# A supplier on the day it was added, before any event: what can be unknown is, counts are 0.
_NEVER_NULL = {"coverage": 0.0, "season_index": 1.0, "churn_risk": 0.0, "churn_level": "low"}
_STRANGER = pl.DataFrame(
    {
        name: [
            _NEVER_NULL.get(
                name, False if dtype == pl.Boolean() else 0 if dtype == pl.Int64() else None
            )
        ]
        for name, dtype in SIGNAL_SCHEMA.items()
    },
    schema=SIGNAL_SCHEMA,
).with_columns(
    pl.lit(None, pl.Int64).alias(name)
    for name in ("mrr_minor", "days_to_next_wedding", "onboarding_steps_due")
)

_CONDITIONS = (
    ("triggers", "when"),
    ("triggers", "success"),
    ("onboarding", "when"),
    ("onboarding_actions", "done_when"),
    ("milestones", "when"),
    ("recommendations", "when"),
    ("tips", "when"),
    ("tips", "success"),
)
_SENTENCES = (
    ("triggers", "reason"),
    ("milestones", "title"),
    ("milestones", "celebration"),
    ("recommendations", "title"),
    ("recommendations", "body"),
    ("recommendations", "reason"),
    ("recommendations", "action_label"),
    ("tips", "title"),
    ("tips", "body"),
    ("tips", "reason"),
    ("tips", "action_label"),
)


def _said_and_asked(data: dict[str, Any]) -> Iterator[_Found]:
    language = language_of(data)
    for group, key in _CONDITIONS:
        for name in _table(data, group):
            sql = _table(data, group, name).get(key)
            if isinstance(sql, str):
                for remark in check_condition(sql):
                    part = (remark.start, remark.end)
                    yield (group, name, key), part, remark.message, remark.hint, remark.level
    for group, key in _SENTENCES:
        for name in _table(data, group):
            sentence = _table(data, group, name).get(key)
            if isinstance(sentence, str):
                yield from check_sentence((group, name, key), sentence, SUPPLIER_KINDS, language)


# ── event names ───────────────────────────────────────────────────────────────────────────────


def _event_names(names: dict[str, Any], event_types: frozenset[str] | None) -> Iterator[_Found]:
    for name, canonical in names.items():
        if isinstance(canonical, str) and event_types is not None and canonical not in event_types:
            hint = did_you_mean(canonical, event_types) or "docs list the event types"
            yield (
                ("event_names", name),
                None,
                f"there is no event type {canonical!r}",
                hint,
                "error",
            )

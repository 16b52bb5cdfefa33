"""Checking a playbook's text: every mistake, at its place. Pure."""

from collections.abc import Callable, Iterator
from typing import Any

from everafter.branding.rules import check_platform
from everafter.playbook.coach_rules import check_coach
from everafter.playbook.conditions import check_condition
from everafter.playbook.findings import Finding, at, shorten, table
from everafter.playbook.hints import did_you_mean
from everafter.playbook.model import Mistake
from everafter.playbook.number_rules import check_features, check_numbers, check_segments
from everafter.playbook.path_rules import check_path
from everafter.playbook.places import Path, Places, find_places
from everafter.playbook.recommendation_rules import check_recommendations
from everafter.playbook.renames import apply_key_renames, drop_removed
from everafter.playbook.sentence_rules import SUPPLIER_KINDS, check_sentence, language_of
from everafter.playbook.shape import check_shape
from everafter.playbook.support_rules import check_support
from everafter.playbook.syntax import Reading, read_toml
from everafter.playbook.translation_rules import check_country, check_language
from everafter.playbook.trigger_rules import check_tips, check_triggers

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


def check_playbook(
    text: str,
    templates: frozenset[str] | None = None,
    actions: frozenset[str] | None = None,
    event_types: frozenset[str] | None = None,
    knows_holidays: Callable[[str], bool] | None = None,
    call_types: frozenset[str] | None = None,
) -> list[Mistake]:
    """Find every mistake in a playbook's text, in the order of its lines.

    A text without errors can be made a Playbook (`rules.to_playbook`). Warnings are for what is
    valid and surely not meant.

    Args:
        text: TOML.
        templates: the email templates that exist.
        actions: the onboarding actions that need not be declared.
        event_types: the canonical event types, which `event_names` may name.
        knows_holidays: whether the holidays of an ISO 3166 code are known.
        call_types: the call types that the coach may offer.
            Each of these is not checked when it is null.
    """
    reading = read_toml(text)
    places = find_places(reading.text)
    data = reading.data
    renamed = [*apply_key_renames(data, places), *drop_removed(data)]
    shape = _check_shape(reading, places)
    bad = frozenset(finding.path for finding in shape)
    support = check_support(table(data, "support"), knows_holidays, bad)
    findings = [
        *renamed,
        *shape,
        *check_segments(table(data, "segments"), complete=not reading.slips),
        *check_numbers(data, bad),
        *check_triggers(table(data, "triggers"), templates),
        *_check_conditions(data),
        *_check_sentences(data),
        *check_recommendations(data, templates),
        *check_path(data, actions, templates, bad),
        *(finding for finding in support if finding.path not in bad),
        *check_tips(table(data, "tips")),
        *check_coach(data, call_types),
        *_check_platform(table(data, "platform"), bad),
        *(finding for finding in _check_languages(data) if finding.path not in bad),
        *_check_event_names(table(data, "event_names"), event_types),
        *check_features(data),
    ]
    mistakes = [_place(finding, places) for finding in dict.fromkeys(findings)]
    mistakes += [
        Mistake(slip.line, slip.column, "", slip.message, slip.hint) for slip in reading.slips
    ]
    return sorted(mistakes, key=lambda m: (m.line, m.column, m.level, m.message))


def _place(finding: Finding, places: Places) -> Mistake:
    """The finding with its line and column; of several lines the first."""
    path = finding.path
    if finding.at_key:
        start, end = places.of_key(path)
    elif finding.part is not None:
        start, end = places.in_string(path, *finding.part)
    else:
        start, end = places.of_value(path)
    line, column = places.line_and_column(start)
    line_end = places.text.find("\n", start)
    end = min(end, line_end) if line_end >= 0 else end
    width = max(1, end - start)
    dotted = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    message, hint, level = shorten(finding.message), shorten(finding.hint), finding.level
    return Mistake(line, column, shorten(dotted.removeprefix(".")), message, hint, width, level)


def _check_shape(reading: Reading, places: Places) -> list[Finding]:
    if not reading.data and reading.slips:
        return []
    incomplete: set[Path] = set()
    for slip in reading.slips:
        incomplete.update(_tables_at(places, slip.line))
    return check_shape(reading.data, frozenset(incomplete))


def _tables_at(places: Places, line: int) -> list[Path]:
    """The table that a line belongs to and those around it, any of which may have lost a key on
    it."""
    above = [
        (places.line_and_column(start)[0], path)
        for path, (start, _) in places.values.items()
        if places.text[start : start + 1] == "["
        and places.text[:start].rpartition("\n")[2].strip() == ""
        and places.line_and_column(start)[0] < line
    ]
    path = max(above, default=(0, ()))[1]
    return [path[:length] for length in range(len(path) + 1)]


def _check_conditions(data: dict[str, Any]) -> Iterator[Finding]:
    for group, key in _CONDITIONS:
        for name in table(data, group):
            sql = table(data, group, name).get(key)
            if isinstance(sql, str):
                for remark in check_condition(sql):
                    yield at((group, name, key), remark)


def _check_sentences(data: dict[str, Any]) -> Iterator[Finding]:
    language = language_of(data)
    for group, key in _SENTENCES:
        for name in table(data, group):
            sentence = table(data, group, name).get(key)
            if isinstance(sentence, str):
                yield from check_sentence((group, name, key), sentence, SUPPLIER_KINDS, language)


def _check_platform(platform: dict[str, Any], bad: frozenset[Path]) -> Iterator[Finding]:
    for problem in check_platform(platform, bad):
        if problem.path not in bad:
            yield Finding(problem.path, problem.message, problem.hint, problem.level)


def _check_languages(data: dict[str, Any]) -> Iterator[Finding]:
    """The languages and countries of [platform] and [coach]."""
    languages = table(data, "platform", "languages")
    named = [
        (("coach", "language"), table(data, "coach").get("language")),
        (("platform", "language"), table(data, "platform").get("language")),
        *((("platform", "languages", country), tag) for country, tag in languages.items()),
    ]
    for path, tag in named:
        if isinstance(tag, str) and (wrong := check_language(tag)) is not None:
            yield Finding(path, *wrong)
    for country in languages:
        if (wrong := check_country(country)) is not None:
            yield Finding(("platform", "languages", country), *wrong, at_key=True)


def _check_event_names(
    names: dict[str, Any], event_types: frozenset[str] | None
) -> Iterator[Finding]:
    for name, event_type in names.items():
        if (
            isinstance(event_type, str)
            and event_types is not None
            and event_type not in event_types
        ):
            hint = (
                did_you_mean(event_type, event_types)
                or "the API reference, at /docs of the server, lists the event types"
            )
            message = f"there is no event type {event_type!r}"
            yield Finding(("event_names", name), message, hint)

"""Odd values at every key of a playbook: each is reported at its line, or can be loaded."""

import tomllib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import inspect

from everafter.core.settings import Settings
from everafter.playbook.loading import find_mistakes, playbook_path, read_playbook
from everafter.playbook.model import Playbook
from everafter.playbook.rules import to_playbook
from everafter.playbook.syntax import read_toml

SHIPPED = read_playbook(
    playbook_path(Settings(None, Path(), None, None, "http://testserver", "secret"))
)
HUGE = "1" + "0" * 400
HEX = "0x1" + "0" * 5000  # read without a limit, but never written in decimals
ODD = [
    "5", "-1", "true", "nan", "inf", "1e308", "5e-324", HUGE, HEX, "[]", "{}", '"x"', '""', '"\\u0000"', "[5]", "[[]]",
    '[["x"], [[true]]]', "[{}]", '{ x = 5 }', "{ x = { y = [] } }", '{ x = "y" }', "2026-11-22", "2026-11-22T07:30:00Z",
    f"[{HEX}, {HEX}]", f"[{HUGE}, {HUGE}, {HUGE}]",
]  # fmt: skip

# One small entry in every table, so that each key can be compared with its neighbours.
WHOLE = """\
name = "whole"
[segments.default]
title = "Any"
key_features = ["forms"]
[triggers.rare]
when = "days_inactive >= 7"
action = "write"
channel = "task"
reason = "rare"
success = "days_inactive < 7"
[onboarding.day1]
day = 1
title = "Start"
actions = ["first_login", "own"]
if_missed = "write"
[onboarding.day2]
day = 2
title = "Go on"
actions = ["first_form_created"]
[onboarding_actions.own]
title = "Own"
[milestones.ten]
title = "Ten"
celebration = "Ten!"
when = "clients_total >= 10"
[recommendations.ask]
when = "clients_total >= 1"
title = "Ask"
body = "b"
reason = "r"
action_label = "a"
action_url = "/a"
[client_recommendations.song]
when = "form_waiting_days >= 12"
title = "Ask {client_name}"
body = "b"
reason = "r"
action_label = "a"
action_url = "/a"
[tips.try_it]
when = "clients_total >= 1"
title = "t"
body = "b"
reason = "r"
action_label = "a"
action_url = "/a"
success = "clients_total >= 5"
[support.clocks.normal]
reply_hours = 8
resolve_hours = 24
[event_names]
signed_in = "login"
"""
ENTRIES = {
    "segments": "default", "triggers": "rare", "onboarding": "day1", "onboarding_actions": "own", "milestones": "ten",
    "recommendations": "ask", "client_recommendations": "song", "tips": "try_it", "event_names": "signed_in",
}  # fmt: skip


def numbers_in(
    type_: inspect.Type, path: str
) -> Iterator[tuple[str, inspect.IntType | inspect.FloatType]]:
    match type_:
        case inspect.IntType() | inspect.FloatType():
            yield path, type_
        case inspect.StructType():
            for field in type_.fields:
                yield from numbers_in(field.type, f"{path}.{field.encode_name}")
        case inspect.DictType():
            yield from numbers_in(type_.value_type, f"{path}.*")
        case inspect.ListType():
            yield from numbers_in(type_.item_type, f"{path}[]")
        case inspect.TupleType() | inspect.UnionType():
            for inner in type_.item_types if isinstance(type_, inspect.TupleType) else type_.types:
                yield from numbers_in(inner, f"{path}[]")
        case _:
            return


def keys_of(type_: inspect.Type, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every key of every table of the model, including the tables themselves."""
    if path:
        yield path
    if isinstance(type_, inspect.StructType):
        for field in type_.fields:
            yield from keys_of(field.type, (*path, field.encode_name))
    elif isinstance(type_, inspect.DictType):
        name = {"clocks": "normal", "translations": "de"}.get(path[-1]) or ENTRIES.get(
            path[-1], "title"
        )
        yield from keys_of(type_.value_type, (*path, name))


KEYS = list(keys_of(inspect.type_info(Playbook)))


def with_value(path: tuple[str, ...], value: str) -> str:
    """WHOLE as TOML with `value` at `path`."""
    data = tomllib.loads(WHOLE)
    table: dict[str, Any] = data
    for name in path[:-1]:
        table = table.setdefault(name, {})
    table[path[-1]] = Raw(value)
    return "".join(f"{key} = {written(item)}\n" for key, item in data.items())


class Raw(str):
    """Text that is written as it is."""


def written(value: Any) -> str:
    match value:
        case Raw():
            return value
        case dict():
            inner: dict[str, Any] = value
            return (
                "{ " + ", ".join(f"{key} = {written(item)}" for key, item in inner.items()) + " }"
            )
        case list():
            items: list[Any] = value
            return "[" + ", ".join(map(written, items)) + "]"
        case str():
            return f'"{value}"'
        case _:
            return str(value)


def is_loaded_or_refused(text: str) -> None:
    mistakes = find_mistakes(text)
    assert all(one.message and 1 <= one.line <= text.count("\n") + 1 for one in mistakes)
    if not any(one.level == "error" for one in mistakes):
        to_playbook(text)


def test_the_whole_playbook_has_no_error_and_an_entry_in_every_table() -> None:
    assert [one for one in find_mistakes(WHOLE) if one.level == "error"] == []
    groups = {path[0] for path in KEYS}
    assert groups == {field.encode_name for field in inspect.type_info(Playbook).fields}  # pyright: ignore[reportAttributeAccessIssue]
    assert len(KEYS) > 120


@pytest.mark.parametrize("path", KEYS, ids=".".join)
def test_every_odd_value_at_every_key_is_loaded_or_refused(path: tuple[str, ...]) -> None:
    for value in ODD:
        is_loaded_or_refused(with_value(path, value))


@settings(max_examples=150)
@given(st.lists(st.tuples(st.sampled_from(KEYS), st.sampled_from(ODD)), min_size=2, max_size=6))
def test_several_odd_values_at_once_are_loaded_or_refused(
    slips: list[tuple[tuple[str, ...], str]],
) -> None:
    data = tomllib.loads(WHOLE)
    for path, value in slips:
        table: Any = data
        for name in path[:-1]:
            table = table.setdefault(name, {}) if isinstance(table, dict) else None
        if isinstance(table, dict):
            table[path[-1]] = Raw(value)
    is_loaded_or_refused("".join(f"{key} = {written(item)}\n" for key, item in data.items()))


@pytest.mark.parametrize(
    "lines",
    [
        [
            f"[onboarding.a]\nday = {HEX}\ntitle = 'a'\nactions = ['first_login']\n",
            f"[onboarding.b]\nday = {HEX}\ntitle = 'b'\n",
        ],
        [f"[onboarding_timing]\nbehind_after_days = {HUGE}\nstuck_after_days = {HUGE}\n"],
        [f"[support]\nwork_days = [{HEX}, {HEX}]\n"],
        [f"[support.clocks.normal]\nreply_hours = {HUGE}1\nresolve_hours = {HUGE}\n"],
        [f"[health]\ncritical_below = {HUGE}\nat_risk_below = {HUGE}\n"],
    ],
)
def test_numbers_of_many_digits_in_keys_that_are_compared(lines: list[str]) -> None:
    mistakes = find_mistakes("".join(lines))
    assert any("many digits" in one.message for one in mistakes)


def test_every_number_has_a_minimum_and_a_maximum() -> None:
    found = list(numbers_in(inspect.type_info(Playbook), ""))
    assert len(found) > 40
    for path, number in found:
        assert number.ge is not None or number.gt is not None, path
        assert number.le is not None, path


def test_every_duration_can_be_added_to_any_date() -> None:
    units = {"days": timedelta(days=1), "day": timedelta(days=1), "hours": timedelta(hours=1)}
    for path, number in numbers_in(inspect.type_info(Playbook), ""):
        unit = next(
            (step for word, step in units.items() if word in path.rpartition(".")[2].split("_")),
            None,
        )
        if unit is not None and number.le is not None:
            assert datetime(2999, 1, 1, tzinfo=UTC) + float(number.le) * unit > datetime(
                1970, 1, 1, tzinfo=UTC
            ), path
            assert number.le <= (8760 if unit == units["hours"] else 3650), path


@pytest.mark.parametrize(
    ("table", "key", "value", "said"),
    [
        ("onboarding.day14", "day", "4000000", "from 0 to 3650"),
        ("onboarding_timing", "lasts_days", "4000000", "from 1 to 3650"),
        ("onboarding_timing", "stuck_after_days", "1e300", "at most 3650"),
        ("coach", "hours_between_tips", "99999999999", "from 0 to 8760"),
        ("support", "remind_hours", "[99999999999]", "at most 720"),
        ("messaging", "messages_per_week", "99999999999999999999", "from 0 to 1000"),
    ],
)
def test_a_value_out_of_range_is_reported_with_the_range(
    table: str, key: str, value: str, said: str
) -> None:
    head, _, tail = SHIPPED.partition(f"[{table}]\n")
    assert tail
    body, bracket, rest = tail.partition("\n[")
    lines = [line for line in body.split("\n") if not line.startswith(f"{key} =")]
    text = f"{head}[{table}]\n{key} = {value}\n" + "\n".join(lines) + bracket + rest
    errors = [one for one in find_mistakes(text) if one.level == "error"]
    assert len(errors) == 1, errors
    assert errors[0].path.startswith(f"{table}.{key}") and said in errors[0].message
    assert errors[0].line == head.count("\n") + 2


@pytest.mark.parametrize("value", ["5", "true", "nan", "2026-11-22"])
def test_actions_that_are_not_a_list_are_reported(value: str) -> None:
    mistakes = find_mistakes(with_value(("onboarding", "day1", "actions"), value))
    assert any(
        one.path == "onboarding.day1.actions" and "must be a list" in one.message
        for one in mistakes
    )


DIGITS = "1" * 5000


def test_a_number_of_5000_digits_has_its_line_and_hides_no_other_mistake() -> None:
    text = WHOLE.replace("day = 1\n", f"day = {DIGITS}\n").replace("day = 2", "day = -2")
    line = WHOLE.split("\n").index("day = 1") + 1
    mistakes = [one for one in find_mistakes(text) if one.level == "error"]
    assert [(one.line, one.column) for one in mistakes] == [(line, 7), (line + 5, 7)]
    assert "digits" in mistakes[0].message


@pytest.mark.parametrize(
    "before",
    [
        f"# {DIGITS}\n",
        f"a = '{DIGITS}'\n",
        f'a = """\n{DIGITS}\n"""\n',
        f"a = ['{DIGITS}', # {DIGITS}\n]\n",
        "",
    ],
)
@pytest.mark.parametrize(
    "number",
    [f"b = {DIGITS}", f"b = -{'1_' * 5000}1", f"b = [\n1,\n{DIGITS}\n]", f"b = {{ c = {DIGITS} }}"],
)
def test_digits_in_a_text_or_a_comment_are_not_reported(before: str, number: str) -> None:
    [slip] = read_toml(f"{before}{number}\nc = 1\n").slips
    place = (before + number).split("\n")
    assert slip.line == next(
        n for n in range(len(place), 0, -1) if "1" * 3000 in place[n - 1].replace("_", "")
    )


@pytest.mark.parametrize(
    "character", ["\\u0000", "\\u0007", "\\u001b", "\\u007f", "\\u0085", "\\r"]
)
@pytest.mark.parametrize(
    "path",
    [
        ("name",),
        ("segments", "default", "title"),
        ("onboarding", "day1", "title"),
        ("onboarding_actions", "own", "hint"),
        ("milestones", "ten", "celebration"),
        ("recommendations", "ask", "translations", "de", "body"),
        ("tips", "try_it", "body"),
        ("triggers", "rare", "reason"),
        ("holdout", "salt"),
    ],
    ids=".".join,
)
def test_a_control_character_is_refused(path: tuple[str, ...], character: str) -> None:
    mistakes = find_mistakes(with_value(path, f'"Wel{character}come"'))
    [error] = [one for one in mistakes if one.level == "error"]
    assert error.path == ".".join(path) and "control character (U+" in error.message


def test_only_longer_texts_may_have_line_breaks() -> None:
    def errors(*path: str) -> list[str]:
        return [
            one.path
            for one in find_mistakes(with_value(path, '"one\\n\\ttwo"'))
            if one.level == "error"
        ]

    assert errors("tips", "try_it", "body") == errors("recommendations", "ask", "reason") == []
    assert errors("tips", "try_it", "title") == ["tips.try_it.title"]
    assert errors("tips", "try_it", "translations", "de", "action_label") == [
        "tips.try_it.translations.de.action_label"
    ]


def test_a_name_cannot_end_with_a_line_break() -> None:
    assert any(
        "control character" in one.message
        for one in find_mistakes(with_value(("triggers", "rare", "action"), '"write\\n"'))
    )


@pytest.mark.parametrize(
    "url", ["javascript:alert(1)", "JavaScript:alert(1)", "data:text/html,x", "vbscript:x", "ftp://a.example", "//a.example", "forms",
            "/forms/{clients_total}", "/a b", "/\\\\a.example"],
)  # fmt: skip
def test_an_actions_url_is_a_path_or_a_web_url(url: str) -> None:
    errors = [
        one
        for one in find_mistakes(with_value(("onboarding_actions", "own", "url"), f'"{url}"'))
        if one.level == "error"
    ]
    assert errors and {one.path for one in errors} == {"onboarding_actions.own.url"}


@pytest.mark.parametrize("url", ["/forms/new?template=song-list", "https://help.example/first"])
def test_a_path_and_an_https_url_are_accepted(url: str) -> None:
    assert not [
        one
        for one in find_mistakes(with_value(("onboarding_actions", "own", "url"), f'"{url}"'))
        if one.level == "error"
    ]

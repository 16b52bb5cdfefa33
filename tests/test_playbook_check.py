"""Checking a playbook: each mistake at its place, with a hint."""

import random
import re
from pathlib import Path

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from everafter.core.settings import Settings
from everafter.playbook.checking import check_playbook
from everafter.playbook.loading import find_mistakes, playbook_path, read_playbook
from everafter.playbook.model import Mistake
from everafter.playbook.rules import compile_condition, compile_conditions, to_playbook
from everafter.signals.model import SIGNAL_SCHEMA

WEDDINGS = read_playbook(
    playbook_path(Settings(None, Path(), None, None, "http://testserver", "secret"))
)

SMALL = """\
name = "small"

[segments.default]
title = "Any"
key_features = ["forms", "calendar"]
weights = { login = 30, feature_adoption = 25 }
login_days = [3, 7, 14]

[health]
critical_below = 40
at_risk_below = 70

[triggers.rare]
when = "days_inactive >= 7 AND plan = 'pro'"
action = "write"
channel = "email"
template = "we_miss_you"
reason = "days without a login: {days_since_login}"
success = "days_since_login < 7"

[onboarding.day1]
day = 1
title = "Start"
actions = ["first_login"]
if_missed = "write"
"""
TEMPLATES = frozenset(["we_miss_you", "check_in"])
ACTIONS = frozenset(["first_login", "first_form_created"])
EVENTS = frozenset(["login", "form_created"])


def check(text: str) -> list[Mistake]:
    return check_playbook(text, TEMPLATES, ACTIONS, EVENTS)


def only(text: str) -> Mistake:
    mistakes = check(text)
    assert len(mistakes) == 1, mistakes
    return mistakes[0]


def pointed_at(text: str, mistake: Mistake) -> str:
    line = text.split("\n")[mistake.line - 1]
    return line[mistake.column - 1 : mistake.column - 1 + mistake.width]


def test_a_playbook_without_mistakes_has_none() -> None:
    assert check(SMALL) == []
    assert to_playbook(SMALL).segments["default"].weights.client_activity == 25


# original, replacement, text pointed at, part of the message, part of the hint
CASES = [
    # names
    ('title = "Any"', 'titel = "Any"', "titel", "unknown key", "did you mean title?"),
    ("[health]", "[heath]", "heath", "unknown key", "did you mean health?"),
    ("[segments.default]", "[segmnts.default]", "segmnts", "unknown key", "did you mean segments?"),
    ("login = 30", "logins = 30", "logins", "unknown key", "did you mean login?"),
    ("[segments.default]", "[segments.defalt]", "[segments.defalt]", "no segment 'default'", "is it this one?"),
    ("[triggers.rare]", "[triggers.Rare]", "Rare", "lower-case letters", "write rare"),
    ('"calendar"]', '"Calendar view"]', '"Calendar view"', "lower-case letters", "write calendar_view"),
    # types
    ('title = "Any"', "title = 3", "3", "must be a text", "put it in quotes"),
    ("critical_below = 40", 'critical_below = "40"', '"40"', "must be a number from 0 to 100", "write 40 without quotes"),
    ('key_features = ["forms", "calendar"]', 'key_features = "forms"', '"forms"', "must be a list", "["),
    ("weights = { login = 30, feature_adoption = 25 }", "weights = 30", "30", "must be a table", "[segments.default.weights]"),
    ("login_days = [3, 7, 14]", "login_days = [3, 7]", "[3, 7]", "exactly 3", ""),
    ('action = "write"', 'action = "write"\nenabled = "yes"', '"yes"', "true or false", "without quotes"),
    ("day = 1\n", "day = 1.5\n", "1.5", "whole number", ""),
    ("day = 1\n", "day = true\n", "true", "must be a whole number", ""),
    ("critical_below = 40", "critical_below = nan", "nan", "must be a number", ""),
    ("critical_below = 40", "critical_below = 2026-01-01", "2026-01-01", "a date or time", ""),
    # ranges
    ("at_risk_below = 70", "at_risk_below = 170", "170", "from 0 to 100", ""),
    ('action = "write"', 'action = "write"\nholdout = 5', "5", "from 0 to 1", "5 % is written 0.05"),
    ("login = 30", "login = -1", "-1", "from 0 to 1000", ""),
    ("[3, 7, 14]", "[0, 7, 14]", "0", "above 0", ""),
    ('channel = "email"', 'channel = "e-mail"', '"e-mail"', 'one of "call", "email"', "did you mean email?"),
    ("[health]", '[messaging]\nquiet_from = "8pm"\n[health]', '"8pm"', "time of day", ""),
    ('title = "Any"', 'title = " "', '" "', "is empty", ""),
    # what must fit
    ("critical_below = 40", "critical_below = 70", "70", "must be less than at_risk_below", ""),
    ("[health]", "[churn]\nmedium_above = 0.8\n[health]", "0.8", "must be less than high_above", ""),
    ("[3, 7, 14]", "[3, 14, 7]", "[3, 14, 7]", "must increase", ""),
    ("[3, 7, 14]", "[3, 3, 14]", "[3, 3, 14]", "must increase", ""),
    ('["forms", "calendar"]', "[]", "[]", "empty", ""),
    ('["forms", "calendar"]', '["forms", "forms"]', '"forms"', "listed twice", ""),
    (
        "weights = { login = 30, feature_adoption = 25 }",
        "weights = { login = 0, feature_adoption = 0, client_activity = 0, form_completion = 0, journey_performance = 0.0 }",
        "{ login = 0, feature_adoption = 0, client_activity = 0, form_completion = 0, journey_performance = 0.0 }",
        "all weights are 0",
        "",
    ),
    # conditions
    ("days_inactive >= 7 AND", "days_inactiv >= 7 AND", "days_inactiv", "no signal 'days_inactiv'", "did you mean days_inactive?"),
    ("plan = 'pro'", "plan = pro", "pro", "no signal 'pro'", "'pro'"),
    ("plan = 'pro'", r"plan = \"pro\"", r"\"pro\"", "no signal 'pro'", "single quotes"),
    ("days_inactive >= 7 AND plan = 'pro'", "days_inactive", "days_inactive", "a number, not true or false", "compare"),
    ("days_inactive >= 7 AND plan = 'pro'", "vendor_type", "vendor_type", "a text, not true or false", "compare"),
    ("days_inactive >= 7 AND plan", "sum(days_inactive) >= 7 AND plan", "sum", "several suppliers", "evaluated for one supplier"),
    ("days_inactive >= 7 AND", "abbs(days_inactive) >= 7 AND", "abbs", "no function 'abbs'", "did you mean abs?"),
    ("days_inactive >= 7", "days_inactive >= '7'", "days_inactive >= '7' AND plan = 'pro'", "text is compared with a number", ""),
    ("days_inactive >= 7", "days_inactive == 7", "==", "no meaning", "single ="),
    ("days_inactive >= 7", "(days_inactive >= 7", "(", "never closed", ""),
    ("plan = 'pro'", "plan =", "days_inactive >= 7 AND plan =", "cannot be read", "last ="),
    ("plan = 'pro'", "plan = 'pro", "'", "no meaning", "single quotes"),
    ("plan = 'pro'", "subscription = 'canceled'", "'canceled'", "never 'canceled'", "did you mean cancelled?"),
    ("plan = 'pro'", "client_activity < 30", "30", "never above 1", "30 % is written 0.3"),
    ("plan = 'pro'", "payment_past_due = 1", "1", "true or false", "NOT payment_past_due"),
    ("plan = 'pro'", "days_inactive > 0,5", "days_inactive >= 7 AND days_inactive > 0,5", "cannot be read", "0.5"),
    ("plan = 'pro'", "plan IN (SELECT 1)", "SELECT", "cannot be used", ""),
    ("plan = 'pro'", "cast(plan AS int) = 1", "days_inactive >= 7 AND cast(plan AS int) = 1", "cannot be converted to a number", ""),
    ("days_since_login < 7", "days_since_login < 7 dayz", "dayz", "no signal 'dayz'", "numbers have no unit"),
    # sentences
    ("{days_since_login}", "{days_since_logn}", "{days_since_logn}", "is no signal", "did you mean days_since_login?"),
    ("{days_since_login}", "{days_since_login:.0f}", "{days_since_login:.0f}", "is no signal", "write {days_since_login}"),
    ("{days_since_login}", "{days_since_login", "{days_since_login", "brace is alone", "both braces"),
    ("{days_since_login}", "{days_since_login days}", "{days_since_login days}", "is no signal", "did you mean days_since_login?"),
    ("{days_since_login}", "{days_since_login, plural, one {# day}}", "{days_since_login, plural, one {# day}}", "no branch other", "no branch"),
    ("{days_since_login}", "{days_since_login, plural one {#} other {#}}", "o", "is missing here", "{# form} other {# forms}"),
    ("{days_since_login}", "{days_since_login, number, integer}", "{days_since_login, number, integer}", "not a kind of placeholder", "plural"),
    ("{days_since_login}", "{plan, plural, one {#} other {#}}", "{plan, plural, one {#} other {#}}", "not a number", "select"),
    ("{days_since_login}", "{days_since_login, plural, once {#} other {#}}", "{days_since_login, plural, once {#} other {#}}", "not a branch", "one, other"),
    # names of other things
    ('template = "we_miss_you"', 'template = "we_mis_you"', '"we_mis_you"', "no template", "did you mean we_miss_you?"),
    ('template = "we_miss_you"\n', "", "[triggers.rare]", "has no template", "templates: check_in, we_miss_you"),
    ('if_missed = "write"', 'if_missed = "wrote"', '"wrote"', "no trigger has the action", "did you mean write?"),
    ('["first_login"]', '["first_login", "first_form"]', '"first_form"', "no onboarding action", "first_form_created?"),
    ('["first_login"]', "[]", "[]", "without actions", ""),
    ("[health]", '[event_names]\nsigned_in = "logn"\n[health]', '"logn"', "no event type", "did you mean login?"),
    # missing
    ('name = "small"', "", 'n', "has no 'name'", "a text"),
    ('action = "write"', "", "rare", "has no 'action'", "a name of lower-case letters"),
    # TOML
    ('title = "Any"', "title = Any", "A", "not TOML", "quotes"),
    ('title = "Any"', 'title = "Any"\ntitle = "Other"', '"', "not TOML", "twice"),
    ("[health]", "[segments.default]\n[health]", "]", "not TOML", "twice"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("right", "wrong", "at", "says", "means"), CASES, ids=[f"{c[1][:40]!r}" for c in CASES]
)
def test_a_mistake_is_reported_at_its_place_with_a_hint(
    right: str, wrong: str, at: str, says: str, means: str
) -> None:
    assert SMALL.count(right) == 1 or right in {"[health]", "login = 30"}
    text = SMALL.replace(right, wrong, 1)
    mistakes = [m for m in check(text) if m.level == "error"]
    named = [m for m in mistakes if says in m.message]
    assert named, mistakes
    mistake = named[0]
    assert means in mistake.hint
    shown = pointed_at(text, mistake)
    if says.startswith("has no 'name'"):
        assert mistake.line == 1
    elif says == "not TOML":
        changed = next(
            i
            for i, (a, b) in enumerate(zip(SMALL.split("\n"), text.split("\n"), strict=False), 1)
            if a != b
        )
        assert mistake.line - changed in {0, 1}
    else:
        assert shown == at
    # no other mistake is reported, except those that follow from the same one
    follow_ups = {"heath", "segmnts"}
    assert len(mistakes) == 1 or at in follow_ups or "if_missed" in str(mistakes), mistakes


def test_every_mistake_is_reported_not_only_the_first() -> None:
    text = SMALL
    for right, wrong in (
        ('title = "Any"', "titel = 3"),
        ("login = 30", "login = -30"),
        ("critical_below = 40", "critical_below = 90"),
        ("days_inactive >= 7 AND plan", "days_inactiv >= 7 AND plann"),
        ('channel = "email"', 'channel = "e-mail"'),
        ("{days_since_login}", "{x} and {y}"),
        ('["first_login"]', '["first_logout", "nothing"]'),
    ):
        text = text.replace(right, wrong, 1)
    text += "\n[season]\nfloor = 2\nfloor = 3\n[holdout]\nsalt = yes\n"
    mistakes = check(text)
    paths = [m.path for m in mistakes]
    assert paths.count("triggers.rare.when") == 2
    assert paths.count("triggers.rare.reason") == 2
    assert {
        "segments.default.titel",
        "segments.default.weights.login",
        "health.critical_below",
        "triggers.rare.channel",
        "onboarding.day1.actions[0]",
        "onboarding.day1.actions[1]",
        "season.floor",
    } <= set(paths)
    assert sum(m.message.startswith("not TOML") for m in mistakes) == 2
    assert [m.line for m in mistakes] == sorted(m.line for m in mistakes)


def test_a_syntax_error_does_not_make_keys_missing() -> None:
    """The key that seems to be missing may be on the line that could not be read."""
    mistakes = check(SMALL.replace('action = "write"', "action = write"))
    assert [m.message[:8] for m in mistakes if "if_missed" not in m.path] == ["not TOML"]


def test_an_empty_text_reports_the_required_keys() -> None:
    messages = " ".join(m.message for m in check(""))
    assert "'name'" in messages
    assert "'segments'" in messages
    assert "'triggers'" in messages


@pytest.mark.parametrize(
    ("addition", "says"),
    [
        ("holdout = 0", "cannot be measured"),
        ("holdout = 1", "everybody is in the holdout"),
        ("essential = true\nholdout = 0.1", "have no holdout"),
    ],
)
def test_a_holdout_that_makes_no_sense_is_a_warning(addition: str, says: str) -> None:
    mistake = only(SMALL.replace('action = "write"', f'action = "write"\n{addition}'))
    assert mistake.level == "warning"
    assert says in mistake.message


@pytest.mark.parametrize(
    ("right", "wrong", "says"),
    [
        ("success = \"days_since_login < 7\"", "success = \"days_inactive >= 7 AND  plan = 'pro'\"", "reached at once"),
        ("days_inactive >= 7 AND plan = 'pro'", "clients_total = 0", "nothing is known"),
        ("days_inactive >= 7 AND plan = 'pro'", "plan IS NULL", "nothing is known"),
        ("days_inactive >= 7 AND plan = 'pro'", "1 = 2", "same for every supplier"),
        ("plan = 'pro'", "plan = NULL", "equal or unequal to NULL"),
        ("plan = 'pro'", "clients_total IS NOT NULL", "never NULL"),
        ('channel = "email"', 'channel = "task"', "never used"),
        ("[health]", "[season]\noff_season_below = 0.2\n[health]", "nobody is ever off season"),
        ("[health]", '[messaging]\nquiet_from = "08:00"\n[health]', "there are none"),
        ("[onboarding.day1]", '[onboarding.also]\nday = 1\ntitle = "B"\nactions = ["first_login"]\n[onboarding.day1]', "both"),
    ],
)  # fmt: skip
def test_what_is_surely_not_meant_is_a_warning(right: str, wrong: str, says: str) -> None:
    mistakes = check(SMALL.replace(right, wrong, 1))
    assert [m for m in mistakes if says in m.message], mistakes
    assert {m.level for m in mistakes} == {"warning"}
    to_playbook(SMALL.replace(right, wrong, 1))


def test_names_are_not_checked_without_a_list_of_them() -> None:
    text = SMALL.replace("we_miss_you", "anything").replace("first_login", "whatever")
    assert check_playbook(text) == []
    assert len(check(text)) == 2


def test_an_unknown_condition_is_false() -> None:
    nothing = pl.DataFrame({name: [None] for name in SIGNAL_SCHEMA}, schema=SIGNAL_SCHEMA)
    assert nothing.select(compile_condition("days_inactive >= 7")).item() is False
    assert nothing.select(compile_condition("NOT days_inactive >= 7")).item() is False
    assert nothing.select(compile_condition("days_inactive IS NULL")).item() is True


def test_only_enabled_triggers_are_compiled() -> None:
    off = SMALL.replace('action = "write"', 'action = "write"\nenabled = false')
    assert list(compile_conditions(to_playbook(SMALL))) == ["rare"]
    assert compile_conditions(to_playbook(off)) == {}


def mutate(text: str, seed: int) -> str:
    """The shipped playbook with a few mistakes of the kind people make."""
    chance = random.Random(seed)
    for _ in range(chance.randint(1, 4)):
        kind = chance.randrange(6)
        at = chance.randrange(len(text))
        if kind == 0:
            text = text[:at] + text[at + chance.randint(1, 3) :]
        elif kind == 1:
            text = text[:at] + chance.choice("\"'[]{}=,.#\n 0aé\\") + text[at:]
        elif kind == 2:
            lines = text.split("\n")
            del lines[chance.randrange(len(lines))]
            text = "\n".join(lines)
        elif kind == 3:
            lines = text.split("\n")
            lines.insert(chance.randrange(len(lines)), chance.choice(lines))
            text = "\n".join(lines)
        elif kind == 4:
            numbers = list(re.finditer(r"= (\d+\.?\d*)", text))
            match = chance.choice(numbers)
            value = chance.choice(["-1", '"3"', "true", "1e9", "[]", "{}", "0", "0.5"])
            text = text[: match.start(1)] + value + text[match.end(1) :]
        else:
            words = list(re.finditer(r"\b(AND|OR|>=|<|[a-z]+_[a-z_]+)", text))
            match = chance.choice(words)
            text = (
                text[: match.start()]
                + chance.choice(["AND", "days_inactive", "'x'", "", "("])
                + text[match.end() :]
            )
    return text


@settings(max_examples=60)
@given(st.integers(0, 10**9))
@example(3841)
def test_any_edit_of_the_playbook_is_checked_and_what_passes_can_be_loaded(seed: int) -> None:
    text = mutate(WEDDINGS, seed)
    mistakes = find_mistakes(text)
    lines = text.split("\n")
    for mistake in mistakes:
        assert 1 <= mistake.line <= len(lines) + 1
        assert mistake.column >= 1
        assert mistake.message
    if not any(m.level == "error" for m in mistakes):
        playbook = to_playbook(text)
        sample = pl.DataFrame({name: [None, None] for name in SIGNAL_SCHEMA}, schema=SIGNAL_SCHEMA)
        compiled = sample.select(**compile_conditions(playbook))
        assert all(dtype == pl.Boolean for dtype in compiled.dtypes)


@settings(max_examples=200)
@given(st.text(max_size=60))
@example("'\n")
@example("a = '''\n")
def test_any_text_is_checked(text: str) -> None:
    assert any(m.level == "error" for m in check(text))
    assert isinstance(check(SMALL.replace("plan = 'pro'", text.replace("\n", " "))), list)

"""Checking the onboarding path and the milestones: each mistake at its place, with a hint."""

from datetime import UTC, datetime

import pytest

from everafter.onboarding.rules import add_onboarding, frame_of
from everafter.playbook.checking import check_playbook
from everafter.playbook.model import Mistake
from everafter.playbook.rules import to_playbook
from test_playbook_check import EVENTS, WEDDINGS

PATH = """\
name = "small"

[segments.default]
title = "Any"
key_features = ["forms"]

[segments.venue]
title = "Venue"
key_features = ["calendar"]

[triggers.help]
when = "onboarding_missed = 'day1' AND onboarding_state IN ('behind', 'stuck')"
action = "write"
channel = "task"
reason = "waits"
success = "fully_activated"

[onboarding.day1]
day = 1
title = "Start"
actions = ["first_login", "calendar_filled"]
success_metric = "first_login"
if_missed = "write"
vendor_types = ["venue"]
when = "clients_total >= 1"

[onboarding.day14]
day = 14
title = "Done"
actions = ["fully_activated"]
milestone = "fully_activated"
celebration = "send_it"

[onboarding_actions.calendar_filled]
title = "Fill the calendar"
done_when = "clients_total >= 3"
translations.de.title = "Kalender"

[onboarding_timing]
behind_after_days = 1
stuck_after_days = 3

[milestones.fully_activated]
title = "Done"
celebration = "Well done, {name}"
when = "fully_activated"
celebrate = ["coach", "email"]
template = "cheers"
certificate = true
"""
TEMPLATES, ACTIONS = frozenset(["cheers"]), frozenset(["first_login", "fully_activated"])


def check(text: str) -> list[Mistake]:
    return check_playbook(text, TEMPLATES, ACTIONS, EVENTS)


def test_a_path_without_mistakes_has_none() -> None:
    assert check(PATH) == []
    assert [
        m for m in check_playbook(WEDDINGS) if m.path.startswith(("onboarding", "milestones"))
    ] == []


@pytest.mark.parametrize(
    ("old", "new", "path", "message", "hint"),
    [
        ('"first_login", "calendar_filled"]', '"first_login", "calender_filled"]', "onboarding.day1.actions[1]", "no onboarding action 'calender_filled'", "calendar_filled"),
        ('success_metric = "first_login"', 'success_metric = "dance"', "onboarding.day1.success_metric", "not one of the step's actions", "add it"),
        ('if_missed = "write"', 'if_missed = "wrote"', "onboarding.day1.if_missed", "no trigger has the action 'wrote'", "write"),
        ('vendor_types = ["venue"]', 'vendor_types = ["venu"]', "onboarding.day1.vendor_types[0]", "no segment 'venu'", "venue"),
        ('when = "clients_total >= 1"', 'when = "health_score < 40"', "onboarding.day1.when", "health_score is computed only after", "what the supplier did"),
        ('when = "clients_total >= 1"', 'when = "client_total >= 1"', "onboarding.day1.when", "no signal 'client_total'", "clients_total"),
        ('done_when = "clients_total >= 3"', 'done_when = "fully_activated"', "onboarding_actions.calendar_filled.done_when", "computed only after", ""),
        ('milestone = "fully_activated"', 'milestone = "full_activated"', "onboarding.day14.milestone", "no milestone 'full_activated'", "fully_activated"),
        ('milestone = "fully_activated"\n', "", "onboarding.day14.celebration", "no milestone to celebrate", "name one"),
        ("stuck_after_days = 3", "stuck_after_days = 0.5", "onboarding_timing.stuck_after_days", "must be less than stuck_after_days", "behind before"),
        ("'day1' AND", "'day2' AND", "triggers.help.when", "the path has no step 'day2'", "day1"),
        ('template = "cheers"\n', "", "milestones.fully_activated", "has no template", "cheers"),
        ('template = "cheers"', 'template = "chears"', "milestones.fully_activated.template", "no template 'chears'", "cheers"),
        ("translations.de.title", "translations.de.titel", "onboarding_actions.calendar_filled.translations.de.titel", "'titel' cannot be translated here", "title"),
        ("[triggers.help]", "[triggers.celebrate_fully_activated]", "triggers.celebrate_fully_activated", "own email in the intervention log", "another name"),
        ("[milestones.fully_activated]", "[milestones.ten_clients]\ntitle = 'Ten'\ncelebration = '!'\ncertificate = true\n[milestones.fully_activated]", "milestones.ten_clients.certificate", "only fully_activated has a certificate", ""),
    ],
)  # fmt: skip
def test_a_mistake_is_reported_at_its_place_with_a_hint(
    old: str, new: str, path: str, message: str, hint: str
) -> None:
    assert PATH.count(old) == 1, old
    text = PATH.replace(old, new)
    found = [mistake for mistake in check(text) if mistake.path == path]
    assert len(found) == 1, check(text)
    assert found[0].level == "error" and message in found[0].message and hint in found[0].hint
    line = text.splitlines()[found[0].line - 1]
    assert line[found[0].column - 1 :][: found[0].width].strip(), "it points at something"


def test_what_is_surely_not_meant_is_a_warning() -> None:
    twice = PATH + '[onboarding.again]\nday = 14\ntitle = "x"\nactions = ["first_login"]\n'
    assert [(m.level, m.path) for m in check(twice)] == [("warning", "onboarding.again.day")]
    vendor_types = (
        PATH
        + '[onboarding.again]\nday = 14\ntitle = "x"\nactions = ["first_login"]\nvendor_types = ["venue"]\n'
    )
    assert check(vendor_types) == [], "two vendor types may have each their own step on one day"
    unused = PATH + '[onboarding_actions.contract_signed]\ntitle = "Sign"\n'
    assert [(m.level, m.path) for m in check(unused)] == [
        ("warning", "onboarding_actions.contract_signed")
    ]


def test_more_milestones_than_bits_are_refused() -> None:
    many = "".join(f'[milestones.m{n}]\ntitle = "x"\ncelebration = "x"\n' for n in range(60))
    [mistake] = check(PATH + many)
    assert "more than 60" in mistake.message and mistake.path == "milestones.m59"


def test_actions_are_counted_whether_declared_or_not() -> None:
    def path(count: int) -> str:
        names = [f"own_{n}" for n in range(count)]
        step = f'[onboarding.own]\nday = 20\ntitle = "Own"\nactions = [{", ".join(map(repr, names))}]\n'
        return (
            PATH
            + step
            + "".join(
                f'[onboarding_actions.{name}]\ntitle = "x"\ndone_when = "true"\n' for name in names
            )
        )

    def errors(text: str) -> list[tuple[str, str]]:
        return [(m.path, m.message) for m in check(text) if m.level == "error"]

    fits = path(58)  # with calendar_filled and first_login, which nobody declares
    assert errors(fits) == []
    scored = add_onboarding(
        frame_of({"supplier_id": "s", "clients_total": 0}),
        to_playbook(fits),
        datetime(2026, 3, 1, tzinfo=UTC),
    )
    assert scored["onboarding_actions"].item() == 2**60 - 4, "all but the two of the first step"
    assert errors(path(59)) == [("onboarding.own.actions[58]", "the path has more than 60 actions")]

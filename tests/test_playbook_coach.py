"""Checking [coach] and [tips.*]: each mistake at its place."""

import pytest

from everafter.core.settings import load_settings
from everafter.playbook.loading import find_mistakes, playbook_path, read_playbook

SHIPPED = read_playbook(
    playbook_path(
        load_settings({"EVERAFTER_DATA": "/nowhere-needed", "EVERAFTER_SECRET": "s" * 32})
    )
)
GOOD = """
[tips.good]
when = "clients_total >= 1"
title = "{name}"
body = "b"
reason = "{clients_total, plural, one {# client} other {# clients}}"
action_label = "a"
action_url = "/a"
success = "clients_total >= 5"
"""


def test_the_shipped_coach_has_no_mistake_and_neither_has_a_good_tip() -> None:
    assert not find_mistakes(SHIPPED) and not find_mistakes(SHIPPED + GOOD)


@pytest.mark.parametrize(
    ("old", "new", "message", "level"),
    [
        ('when = "clients_total >= 1"', 'when = "client_total >= 1"', "client_total", "error"),
        (
            'when = "clients_total >= 1"',
            'when = "clients_total >= 0"',
            "of whom nothing is known",
            "warning",
        ),
        ('success = "clients_total >= 5"', 'success = "clients_total >="', "", "error"),
        (
            'success = "clients_total >= 5"',
            'success = "clients_total >= 1"',
            "is the same as when",
            "warning",
        ),
        ('body = "b"', 'body = "{clients}"', "{clients} is no signal", "error"),
        ('action_label = "a"', 'action_label = "{wedding}"', "{wedding} is no signal", "error"),
        ('action_url = "/a"', 'action_url = "javascript:alert(1)"', "is not a URL", "error"),
        ('action_url = "/a"', 'action_url = "//elsewhere.example"', "is not a URL", "error"),
        ('body = "b"', 'body = "b"\npages = ["forms"]', "'forms' is not a path", "error"),
        ('body = "b"', 'body = "b"\npages = ["/forms?new=1"]', "compared by its path", "error"),
        ('body = "b"', 'body = "b"\nvendor_types = ["djs"]', "there is no segment 'djs'", "error"),
        ('body = "b"', 'body = "b"\nseason = "winter"', "", "error"),
        ('body = "b"', 'body = "b"\nholdout = 0', "nobody is in the holdout", "warning"),
        ('body = "b"', 'body = "b"\nholdout = 1', "everybody is in the holdout", "warning"),
        (
            'body = "b"',
            'body = "b"\ntranslations.de.titel = "x"',
            "'titel' cannot be translated here",
            "error",
        ),
        (
            'body = "b"',
            'body = "b"\ntranslations.de.body = "{clients}"',
            "{clients} is no signal",
            "error",
        ),
        ('body = "b"', "", "body", "error"),
    ],
)
def test_a_mistake_in_a_tip_is_reported_at_its_place(
    old: str, new: str, message: str, level: str
) -> None:
    assert old in GOOD
    mistakes = find_mistakes(SHIPPED + GOOD.replace(old, new))
    found = [one for one in mistakes if one.level == level and message in one.message]
    assert found, [one.message for one in mistakes]
    assert all(one.path.startswith("tips.good") for one in found)
    assert all(one.line > SHIPPED.count("\n") for one in found)


@pytest.mark.parametrize(
    ("old", "new", "path", "message"),
    [
        (
            "call_when = \"risk_level IN ('at_risk', 'critical')",
            "call_when = \"risk IN ('at_risk', 'critical')",
            "coach.call_when",
            "risk",
        ),
        (
            'call_type = "success_call"',
            'call_type = "sucess_call"',
            "coach.call_type",
            "there is no call type 'sucess_call'",
        ),
        ("recommendations = 3", "recommendations = 11", "coach.recommendations", ""),
        ("hours_between_tips = 20", "hours_between_tips = -1", "coach.hours_between_tips", ""),
        ('language = "en"', 'language = "english"', "coach.language", ""),
    ],
)
def test_a_mistake_in_the_coach_is_reported_at_its_place(
    old: str, new: str, path: str, message: str
) -> None:
    assert SHIPPED.count(old) == 1
    mistakes = find_mistakes(SHIPPED.replace(old, new))
    assert [
        one
        for one in mistakes
        if one.path == path and message in one.message and one.level == "error"
    ], mistakes


def test_a_trigger_cannot_have_a_tips_name() -> None:
    text = SHIPPED.replace("[triggers.early_inactivity]", "[triggers.tip_early_inactivity]")
    [mistake] = [one for one in find_mistakes(text) if one.level == "error"]
    assert mistake.path == "triggers.tip_early_inactivity" and "tips" in mistake.message

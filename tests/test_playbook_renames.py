"""Names of earlier versions in a playbook: each is reported with its replacement."""

import re

import pytest

from everafter.core.settings import load_settings
from everafter.mail.rules import list_templates
from everafter.playbook.loading import find_mistakes, playbook_path, read_playbook
from everafter.playbook.model import Mistake
from everafter.playbook.renames import RENAMES, Rename
from everafter.signals.model import CLIENT_SCHEMA, SIGNAL_SCHEMA

SHIPPED = read_playbook(playbook_path(load_settings({"EVERAFTER_SECRET": "s" * 32})))
SMALL = """
name = "small"
[segments.default]
title = "Any"
key_features = ["forms"]
[triggers.write]
when = "days_inactive >= 7"
action = "write"
channel = "email"
template = "we_miss_you"
reason = "no login for a week"
success = "days_inactive < 7"
"""
CLIENT = """
[client_recommendations.ring]
when = "days_to_wedding <= 3"
title = "Ring {client_name}"
body = "Soon."
reason = "Soon."
action_label = "Open"
action_url = "/a"
"""
# One playbook for each old key.
KEYS = {
    "attention": SMALL + "[attention]\nmessages_per_week = 3\n",
    "couples": SMALL + CLIENT.replace("client_recommendations", "couples"),
    "onboarding_pace": SMALL + "[onboarding_pace]\nstuck_after_days = 5\n",
    "onboarding_timing.least_pace": SMALL + "[onboarding_timing]\nleast_pace = 0.4\n",
    "holdout.advice_share": SMALL + "[holdout]\nadvice_share = 0.2\n",
    "coach.next_steps": SMALL + "[coach]\nnext_steps = 2\n",
    "client_recommendations.*.left_out_of": SMALL + CLIENT + 'left_out_of = ["check_in"]\n',
    "recommendations.*.left_out_of": SMALL
    + CLIENT.replace("client_recommendations", "recommendations")
    .replace("days_to_wedding <= 3", "clients_total >= 3")
    .replace(" {client_name}", "")
    + 'left_out_of = ["check_in"]\n',
    "triggers.early_silence": SMALL.replace("triggers.write", "triggers.early_silence"),
    "milestones.five_active_couples": SMALL
    + "[milestones.five_active_couples]\ntitle = 'Five'\ncelebration = 'Five.'\n",
    "onboarding.many_couples": SMALL
    + "[onboarding.many_couples]\nday = 1\ntitle = 'Log in'\nactions = ['first_login']\n",
    **{
        rename.old: SMALL
        + CLIENT.replace("client_recommendations.ring", rename.old)
        .replace("days_to_wedding <= 3", "clients_total >= 3")
        .replace(" {client_name}", "")
        for rename in RENAMES
        if re.fullmatch(r"recommendations\.\w+", rename.old)
    },
    **{
        rename.old: SMALL + CLIENT.replace("client_recommendations.ring", rename.old)
        for rename in RENAMES
        if re.fullmatch(r"client_recommendations\.\w+", rename.old)
    },
}
SIGNALS = [rename for rename in RENAMES if rename.kind == "signal"]
TEMPLATES = [rename for rename in RENAMES if rename.kind == "template"]


def errors(text: str) -> list[Mistake]:
    return [one for one in find_mistakes(text) if one.level == "error"]


def pointed_at(text: str, mistake: Mistake) -> str:
    line = text.split("\n")[mistake.line - 1]
    return line[mistake.column - 1 :][: mistake.width]


def test_the_playbooks_below_have_no_mistake() -> None:
    assert find_mistakes(SMALL) == [] and errors(SMALL + CLIENT) == []


@pytest.mark.parametrize(
    "rename", [one for one in RENAMES if one.kind == "key"], ids=lambda r: r.old
)
def test_a_renamed_key_is_reported_at_its_place(rename: Rename) -> None:
    text = KEYS[rename.old]
    old = rename.old.rpartition(".")[2]
    [mistake] = errors(text)
    assert mistake.message == f"'{old}' is now called '{rename.new}'"
    assert mistake.hint == f"write {rename.new}" and pointed_at(text, mistake) == old


@pytest.mark.parametrize(
    ("old", "new", "value"),
    [
        ("attention", "messaging", "messages_per_week = 3"),
        ("onboarding_pace", "onboarding_timing", "stuck_after_days = 5"),
    ],
)
def test_a_renamed_key_beside_its_new_name_is_reported(old: str, new: str, value: str) -> None:
    text = f"{SMALL}[{new}]\n{value}\n[{old}]\n{value}\n"
    [mistake] = errors(text)
    assert mistake.message == f"'{old}' is now called '{new}', which is here too"
    assert f"remove {old}" in mistake.hint and pointed_at(text, mistake) == old


@pytest.mark.parametrize("rename", SIGNALS, ids=lambda rename: rename.old)
def test_a_renamed_signal_is_reported_in_a_condition(rename: Rename) -> None:
    assert rename.old not in SIGNAL_SCHEMA | CLIENT_SCHEMA
    if rename.new in SIGNAL_SCHEMA:
        text = SMALL.replace('when = "', f'when = "{rename.old} >= 1 AND ')
    else:
        text = SMALL + CLIENT.replace('when = "', f'when = "{rename.old} >= 1 AND ')
    [mistake] = errors(text)
    assert mistake.message == f"there is no signal {rename.old!r}"
    assert mistake.hint == f"it is now called {rename.new}"
    assert pointed_at(text, mistake) == rename.old


@pytest.mark.parametrize("rename", SIGNALS, ids=lambda rename: rename.old)
def test_a_renamed_signal_is_reported_in_a_sentence(rename: Rename) -> None:
    if rename.new in SIGNAL_SCHEMA:
        text = SMALL.replace('reason = "', f'reason = "{{{rename.old}}} ')
    else:
        text = SMALL + CLIENT.replace('reason = "', f'reason = "{{{rename.old}}} ')
    [mistake] = errors(text)
    assert mistake.hint == f"it is now called {rename.new}"
    assert pointed_at(text, mistake) == f"{{{rename.old}}}"


@pytest.mark.parametrize("rename", TEMPLATES, ids=lambda rename: rename.old)
def test_a_renamed_template_is_reported(rename: Rename) -> None:
    assert rename.new in list_templates() and rename.old not in list_templates()
    text = SMALL.replace("we_miss_you", rename.old)
    [mistake] = errors(text)
    assert mistake.message == f"there is no template {rename.old!r}"
    assert mistake.hint == f"it is now called {rename.new}"


def test_what_is_in_a_renamed_table_is_checked_too() -> None:
    text = SMALL + "[onboarding_pace]\nleast_pace = 7\n[attention]\nmessages_per_weak = 1\n"
    assert [(one.path, one.message) for one in errors(text)] == [
        ("onboarding_timing", "'onboarding_pace' is now called 'onboarding_timing'"),
        ("onboarding_timing.min_season_index", "'least_pace' is now called 'min_season_index'"),
        ("onboarding_timing.min_season_index", "must be a number above 0 and at most 1, but is 7"),
        ("messaging", "'attention' is now called 'messaging'"),
        ("messaging.messages_per_weak", "unknown key 'messages_per_weak'"),
    ]


def test_the_playbook_of_the_last_release_needs_renames_only() -> None:
    """The shipped playbook with its old names, all of them reported and nothing else."""
    old = SHIPPED
    for new, before in (
        ("[messaging]", "[attention]"),
        ("[client_recommendations.", "[couples."),
        ("[onboarding_timing]", "[onboarding_pace]"),
        ("\nmin_season_index = ", "\nleast_pace = "),
        ("\nrecommendations = ", "\nnext_steps = "),
        ("\nexcluded_templates = ", "\nleft_out_of = "),
    ):
        assert new in old
        old = old.replace(new, before)
    found = errors(old)
    assert len(found) == 10
    assert all("is now called" in one.message for one in found), found

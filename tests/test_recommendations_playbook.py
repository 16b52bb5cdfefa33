"""What the playbook's checker says of next steps, and of those about couples: each mistake with its place and what to do."""

import pytest
from msgspec import structs

from everafter.playbook.conditions import check_condition, signals_in
from everafter.playbook.loading import find_mistakes
from everafter.playbook.model import Mistake
from everafter.signals.model import COUPLE_SCHEMA, COUPLE_SIGNALS, SIGNAL_SCHEMA
from everafter.signals.wording import placeholders
from test_recommendations_rules import SHIPPED

GOOD = {
    "when": "form_waiting_days >= 9 AND days_to_wedding < 30",
    "title": "Remind {couple}",
    "body": "Soon.",
    "reason": "{form_waiting_days} days",
    "action_label": "Open",
    "action_url": "/clients/{client_id}",
}


def couple(name: str = "late_form", **changes: str) -> str:
    lines = "\n".join(f"{key} = {value!r}".replace("'", '"') for key, value in {**GOOD, **changes}.items())
    return f"\n[couples.{name}]\n{lines}\n"


def mistakes(more: str) -> list[Mistake]:
    return find_mistakes(BASE + more)


BASE = """
name = "small"
[segments.default]
title = "All"
key_features = ["forms"]
[triggers]
[recommendations.send_it]
when = "clients_total >= 3"
title = "Send it"
body = "Now."
reason = "{clients_total} wait."
action_label = "Send"
action_url = "/forms"
"""


def test_a_good_one_has_nothing_to_mend() -> None:
    assert mistakes(couple()) == []


@pytest.mark.parametrize(
    ("changes", "path", "part", "message", "hint"),
    [
        ({"when": "form_wating_days >= 9"}, "when", "form_wating_days", "there is no signal", "form_waiting_days"),
        (
            {"when": "clients_total >= 9"},
            "when",
            "clients_total",
            "there is no signal",
            "of a couple there are couple, days_to_wedding",
        ),
        ({"when": "days_to_wedding"}, "when", "days_to_wedding", "gives a number", "compare it"),
        ({"when": "days_to_wedding < "}, "when", None, "cannot be read", "nothing follows"),
        ({"when": "true"}, "when", None, "the same for every couple", ""),
        ({"when": "forms_unanswered IS NULL"}, "when", "forms_unanswered IS", "is never NULL", ""),
        ({"title": "Remind {couples}"}, "title", "{couples}", "is no signal", "couple"),
        ({"reason": "{clients_total} wait"}, "reason", "{clients_total}", "is no signal", ""),
        ({"body": "{couple"}, "body", None, "a brace stands alone", "both braces"),
        ({"action_label": "Go to {nobody}"}, "action_label", "{nobody}", "is no signal", ""),
        ({"title": "Remind them"}, "", None, "no sentence names the couple", "{couple}"),
        ({"action_url": "clients"}, "action_url", None, "is no address", "/forms"),
        ({"action_url": "//evil.example"}, "action_url", None, "is no address", ""),
        ({"action_url": "/clients/{couple}"}, "action_url", None, "a brace stands in the address", "{client_id} alone"),
        ({"closes": "form_completed"}, "closes", None, "must be one of", "form_completion"),
    ],
)
def test_each_mistake_has_its_place_and_a_hint(
    changes: dict[str, str], path: str, part: str | None, message: str, hint: str
) -> None:
    text = couple(**changes)
    found = [m for m in mistakes(text) if message in m.message]
    assert found, [m.message for m in mistakes(text)]
    one = found[0]
    assert one.path == f"couples.late_form{'.' + path if path else ''}"
    assert hint in one.hint
    if part:
        line = (BASE + text).splitlines()[one.line - 1]
        assert line[one.column - 1 : one.column - 1 + one.width] == part


def test_one_name_for_two_things_is_refused() -> None:
    [found] = mistakes(couple("send_it"))
    assert "same name" in found.message and found.level == "error"


def test_translations_are_read_as_closely_as_the_words_themselves() -> None:
    more = 'translations.de.title = "{paar}"\ntranslations.de.tilte = "x"\n'
    found = {m.path: (m.message, m.hint) for m in mistakes(couple() + more)}
    assert found["couples.late_form.translations.de.title"][0] == "{paar} is no signal"
    assert found["couples.late_form.translations.de.tilte"][1] == "did you mean title?"
    german = 'translations.de.reason = "{clients_totl} warten"\n'
    [one] = mistakes(german)
    assert one.path == "recommendations.send_it.translations.de.reason" and "clients_total" in one.hint


def test_templates_that_say_the_same_must_exist() -> None:
    [found] = mistakes(couple() + 'left_out_of = ["we_mis_you"]\n')
    assert found.path == "couples.late_form.left_out_of[0]" and "we_miss_you" in found.hint


def test_a_condition_is_checked_against_the_signals_it_is_about() -> None:
    assert check_condition("portal_silent_days > 3", COUPLE_SIGNALS) == []
    assert check_condition("portal_silent_days > 3") != []
    assert check_condition("days_since_login > 3", COUPLE_SIGNALS) != []
    assert signals_in("forms_unanswered > 1 AND days_since_login > 3", COUPLE_SIGNALS) == ["forms_unanswered"]


@pytest.mark.parametrize("name", SHIPPED.couples)
def test_the_shipped_sentences_say_only_what_is_known(name: str) -> None:
    """What a sentence says of a couple must be known whenever its condition is true."""
    advice = SHIPPED.couples[name]
    unknowable = {signal.name for signal in COUPLE_SIGNALS if signal.null != "never null"} - {"couple"}
    for key in ("title", "body", "reason"):
        for text in (getattr(advice, key), advice.translations["de"][key]):
            assert set(placeholders(text)) & unknowable <= set(signals_in(advice.when, COUPLE_SIGNALS)), (name, key)


def test_the_registry_of_couples() -> None:
    assert len(COUPLE_SCHEMA) == len(COUPLE_SIGNALS) and "couple" in COUPLE_SCHEMA
    assert all(signal.unit and signal.meaning and signal.null and signal.source for signal in COUPLE_SIGNALS)
    assert not COUPLE_SCHEMA.keys() & SIGNAL_SCHEMA.keys(), "one name, one meaning"
    assert structs.asdict(SHIPPED.holdout)["advice_share"] == 0.1

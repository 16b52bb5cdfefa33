"""What the playbook's checker says of next steps, and of those about clients: each mistake with its place and what to do."""

import pytest
from msgspec import structs

from everafter.core.messages import placeholders
from everafter.playbook.conditions import check_condition, signals_in
from everafter.playbook.loading import find_mistakes
from everafter.playbook.model import Mistake
from everafter.signals.model import CLIENT_SCHEMA, CLIENT_SIGNALS, SIGNAL_SCHEMA
from test_recommendations_rules import SHIPPED

GOOD = {
    "when": "form_waiting_days >= 9 AND days_to_wedding < 30",
    "title": "Remind {client_name}",
    "body": "Soon.",
    "reason": "Waiting for {form_waiting_days, plural, one {# day} other {# days}}",
    "action_label": "Open",
    "action_url": "/clients/{client_id}",
}


def client(name: str = "late_form", **changes: str) -> str:
    lines = "\n".join(
        f"{key} = {value!r}".replace("'", '"') for key, value in {**GOOD, **changes}.items()
    )
    return f"\n[client_recommendations.{name}]\n{lines}\n"


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


def test_a_good_one_has_nothing_to_fix() -> None:
    assert mistakes(client()) == []


@pytest.mark.parametrize(
    ("changes", "path", "part", "message", "hint"),
    [
        (
            {"when": "form_wating_days >= 9"},
            "when",
            "form_wating_days",
            "there is no signal",
            "form_waiting_days",
        ),
        (
            {"when": "clients_total >= 9"},
            "when",
            "clients_total",
            "there is no signal",
            "clients have client_name, days_to_wedding",
        ),
        ({"when": "days_to_wedding"}, "when", "days_to_wedding", "is a number", "compare it"),
        ({"when": "days_to_wedding < "}, "when", None, "cannot be read", "nothing follows"),
        ({"when": "true"}, "when", None, "the same for every client", ""),
        ({"when": "forms_unanswered IS NULL"}, "when", "forms_unanswered IS", "is never NULL", ""),
        ({"title": "Remind {client}"}, "title", "{client}", "is no signal", "client_name"),
        ({"reason": "{clients_total} wait"}, "reason", "{clients_total}", "is no signal", ""),
        ({"body": "{client_name"}, "body", None, "a brace is alone", "both braces"),
        ({"action_label": "Go to {nobody}"}, "action_label", "{nobody}", "is no signal", ""),
        ({"title": "Remind them"}, "", None, "no sentence names the client", "{client_name}"),
        ({"action_url": "clients"}, "action_url", None, "is not a URL", "/forms"),
        ({"action_url": "//evil.example"}, "action_url", None, "is not a URL", ""),
        (
            {"action_url": "/clients/{client_name}"},
            "action_url",
            None,
            "cannot contain braces",
            "only {client_id} is replaced",
        ),
        ({"closes": "form_completed"}, "closes", None, "must be one of", "form_completion"),
    ],
)
def test_each_mistake_has_its_place_and_a_hint(
    changes: dict[str, str], path: str, part: str | None, message: str, hint: str
) -> None:
    text = client(**changes)
    found = [m for m in mistakes(text) if message in m.message]
    assert found, [m.message for m in mistakes(text)]
    one = found[0]
    assert one.path == f"client_recommendations.late_form{'.' + path if path else ''}"
    assert hint in one.hint
    if part:
        line = (BASE + text).splitlines()[one.line - 1]
        assert line[one.column - 1 : one.column - 1 + one.width] == part


def test_one_name_for_two_things_is_refused() -> None:
    [found] = mistakes(client("send_it"))
    assert "same name" in found.message and found.level == "error"


def test_translations_are_read_as_closely_as_the_labels_themselves() -> None:
    more = 'translations.de.title = "{paar}"\ntranslations.de.tilte = "x"\n'
    found = {m.path: (m.message, m.hint) for m in mistakes(client() + more)}
    assert (
        found["client_recommendations.late_form.translations.de.title"][0] == "{paar} is no signal"
    )
    assert (
        found["client_recommendations.late_form.translations.de.tilte"][1] == "did you mean title?"
    )
    german = 'translations.de.reason = "{clients_totl} warten"\n'
    [one] = mistakes(german)
    assert (
        one.path == "recommendations.send_it.translations.de.reason" and "clients_total" in one.hint
    )


def test_templates_that_describe_the_same_must_exist() -> None:
    [found] = mistakes(client() + 'excluded_templates = ["we_mis_you"]\n')
    assert (
        found.path == "client_recommendations.late_form.excluded_templates[0]"
        and "we_miss_you" in found.hint
    )


def test_a_condition_is_checked_against_the_signals_it_is_about() -> None:
    assert check_condition("portal_inactive_days > 3", CLIENT_SIGNALS) == []
    assert check_condition("portal_inactive_days > 3") != []
    assert check_condition("days_since_login > 3", CLIENT_SIGNALS) != []
    assert signals_in("forms_unanswered > 1 AND days_since_login > 3", CLIENT_SIGNALS) == [
        "forms_unanswered"
    ]


@pytest.mark.parametrize("name", SHIPPED.client_recommendations)
def test_the_shipped_sentences_describe_only_what_is_known(name: str) -> None:
    """What a sentence says of a client must be known whenever its condition is true."""
    recommendations = SHIPPED.client_recommendations[name]
    unknowable = {signal.name for signal in CLIENT_SIGNALS if signal.null != "never null"} - {
        "client_name"
    }
    for key in ("title", "body", "reason"):
        for text in (getattr(recommendations, key), recommendations.translations["de"][key]):
            assert set(placeholders(text)) & unknowable <= set(
                signals_in(recommendations.when, CLIENT_SIGNALS)
            ), (name, key)


def test_the_registry_of_clients() -> None:
    assert len(CLIENT_SCHEMA) == len(CLIENT_SIGNALS) and "client_name" in CLIENT_SCHEMA
    assert all(
        signal.unit and signal.meaning and signal.null and signal.source
        for signal in CLIENT_SIGNALS
    )
    assert not CLIENT_SCHEMA.keys() & SIGNAL_SCHEMA.keys(), "one name, one meaning"
    assert structs.asdict(SHIPPED.holdout)["recommendation_share"] == 0.1

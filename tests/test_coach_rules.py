"""Which tip may be shown where and when, without a server."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import polars as pl
import pytest

from everafter.coach.live import MOST_LANGUAGES, Scored
from everafter.coach.model import CoachTexts, TipImpression
from everafter.coach.rules import (
    find_new_tips,
    find_open_tip,
    is_page,
    is_paused,
    snooze,
    tip_conditions,
    tip_order,
    tip_triggers,
)
from everafter.coach.text_rules import coach_tip
from everafter.core.messages import placeholders
from everafter.core.settings import load_settings
from everafter.interventions.outcome_rules import compile_successes
from everafter.playbook.loading import load_playbook
from everafter.playbook.model import Playbook, Tip
from everafter.playbook.translation_rules import list_languages, translate
from everafter.signals.model import SIGNAL_SCHEMA

NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)
SHIPPED = load_playbook(
    load_settings({"EVERAFTER_DATA": "/nowhere-needed", "EVERAFTER_SECRET": "s" * 32})
)


def tip(**changes: Any) -> Tip:
    said = {
        "title": "t",
        "body": "b",
        "reason": "r",
        "action_label": "a",
        "action_url": "/a",
        "success": "true",
        "when": "true",
    }
    return Tip(**{**said, **changes})


def shown(
    days_ago: float, answer: Any = None, until: datetime | None = None, season: Any = None
) -> TipImpression:
    return TipImpression("one", NOW - timedelta(days=days_ago), answer, until, season)


def is_open(last: TipImpression, **changes: Any) -> bool:
    return find_open_tip(["one"], {"one": last}, {"one": tip(**changes)}, NOW) == "one"


def may_be_new(last: TipImpression, *, off_season: bool = False, **changes: Any) -> bool:
    return find_new_tips(
        ["one"], {"one": last}, {"one": tip(**changes)}, NOW, off_season=off_season
    ) == ["one"]


@pytest.mark.parametrize(
    ("page", "patterns", "fits"),
    [
        ("/forms", ["/forms"], True),
        ("/forms/", ["/forms"], True),
        ("/forms/", ["/forms/"], True),
        ("/forms", ["/forms/"], True),
        ("/forms/12/", ["/forms/*/"], True),
        ("/forms/new", ["/forms/"], False),
        ("/forms?tab=1#x", ["/forms"], True),
        ("/forms/new", ["/forms"], False),
        ("/forms/new", ["/forms*"], True),
        ("/formsets", ["/forms/*"], False),
        ("/a/forms/b", ["*/forms/*"], True),
        ("/FORMS", ["/forms"], False),
        ("/", ["/"], True),
        ("", ["/"], True),
        (None, ["/"], True),
        ("/forms.x", ["/forms?x"], False),
        ("/a[b]", ["/a[b]"], True),
        ("/a\nb", ["/a*"], True),
        ("/anything", [], True),
        ("/b", ["/a", "/b"], True),
    ],
)
def test_pages(page: str | None, patterns: list[str], fits: bool) -> None:
    assert is_page(page, patterns) is fits


def test_a_browser_that_names_a_thousand_languages_fills_no_memory() -> None:
    scored, made = Scored({}, [], needs_call=False), 0

    def make() -> CoachTexts:
        nonlocal made
        made += 1
        return CoachTexts(None, None, [])

    for number in range(1_000):
        languages = (f"x{number}", "en")
        assert scored.get_texts(languages, make) is scored.get_texts(languages, make)
    assert made == 1_000 and len(scored.texts) <= MOST_LANGUAGES


def test_a_glob_of_many_stars_is_answered_at_once() -> None:
    assert not is_page("/" + "a" * 400, ["/" + "*a" * 12 + "b"])


def test_an_unanswered_tip_is_open_for_its_window() -> None:
    assert is_open(shown(0)) and is_open(shown(13.9)) and not is_open(shown(14))
    assert not may_be_new(shown(13.9)) and may_be_new(shown(14))


def test_answers_close_it() -> None:
    for answer in ("completed", "dismissed", "snoozed"):
        assert not is_open(
            shown(1, answer, NOW + timedelta(days=1) if answer == "snoozed" else None)
        )
    assert may_be_new(shown(1, "completed")), "the eligibility check asks for the cooldown"
    assert not may_be_new(shown(900, "dismissed"))


def test_put_off_it_comes_again_on_its_day_and_is_new_long_after() -> None:
    at = NOW - timedelta(seconds=1)
    assert is_open(shown(3, "snoozed", at)) and not is_open(
        shown(3, "snoozed", NOW + timedelta(seconds=1))
    )
    assert not is_open(shown(40, "snoozed", NOW - timedelta(days=20))), (
        "it was due three weeks ago, and nobody was here"
    )
    assert may_be_new(shown(40, "snoozed", NOW - timedelta(days=20)))


def test_after_the_season_is_a_new_decision_when_it_has_turned_or_much_later() -> None:
    far = NOW + timedelta(days=150)
    assert not is_open(shown(50, "snoozed", far, "in"))
    assert not may_be_new(shown(50, "snoozed", far, "in"), off_season=False)
    assert may_be_new(shown(50, "snoozed", far, "in"), off_season=True)
    assert may_be_new(shown(50, "snoozed", far, "off"), off_season=False)
    assert may_be_new(shown(200, "snoozed", NOW, "in"), off_season=False)
    assert not is_open(shown(200, "snoozed", NOW, "in")), (
        "after so long the eligibility check is asked"
    )


def test_only_what_applies_here_is_looked_at_and_in_its_order() -> None:
    tips = {name: tip() for name in ("a", "b", "c")}
    assert find_open_tip(["b"], {"a": shown(1), "c": shown(1)}, tips, NOW) is None
    assert find_open_tip(["b", "a"], {"a": shown(1), "b": shown(2)}, tips, NOW) == "b"
    assert find_new_tips(["c", "a"], {}, tips, NOW, off_season=False) == ["c", "a"]


def test_rest_between_tips() -> None:
    assert not is_paused(None, 20, NOW)
    assert is_paused(NOW - timedelta(hours=19.9), 20, NOW) and not is_paused(
        NOW - timedelta(hours=20), 20, NOW
    )
    assert not is_paused(NOW, 0, NOW)


@pytest.mark.parametrize(
    "zone", ["Europe/Berlin", "America/New_York", "Pacific/Kiritimati", "Nowhere/Land", None]
)
def test_tomorrow_is_after_the_night_and_within_two_days(zone: str | None) -> None:
    for hour in range(0, 24 * 400, 7):  # every clock change of a year among them
        at = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=hour)
        until, season = snooze("day", at, zone, off_season=False)
        assert season is None and timedelta(hours=3) < until - at <= timedelta(hours=30)
        week, _ = snooze("week", at, zone, off_season=False)
        assert (
            timedelta(days=6) - timedelta(hours=1)
            <= week - until
            <= timedelta(days=6) + timedelta(hours=1)
        )


def test_after_the_season_remembers_which() -> None:
    assert snooze("season", NOW, None, off_season=True) == (NOW + timedelta(days=200), "off")
    assert snooze("season", NOW, None, off_season=False)[1] == "in"


# ── words ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("asked", "default", "languages"),
    [
        (["de-AT", "fr"], "en", ["de-AT", "de", "en"]),
        ([None, "fr"], "de", ["fr", "de", "en"]),
        (["pt_br"], "en", ["pt-BR", "pt", "en"]),
        (["zh-Hant-TW"], "en", ["zh-TW", "zh", "en"]),
        (["", "x", "12", "de;q=0.9", "en-US" * 9, "de\n"], "nl", ["nl", "en"]),
        (["EN"], "en", ["en"]),
    ],
)
def test_languages_in_order(asked: list[str | None], default: str, languages: list[str]) -> None:
    assert list_languages(asked, default) == languages


def test_a_sentence_falls_back_by_itself() -> None:
    translations = {"de": {"title": "Titel"}, "de-AT": {"body": "Leib"}, "en": {"title": "Never"}}
    assert translate("Own", "title", translations, ["de-AT", "de", "fr", "en"], "fr") == (
        "Titel",
        "de",
    )
    assert translate("Own", "body", translations, ["de-AT", "de", "fr", "en"], "fr") == (
        "Leib",
        "de-AT",
    )
    assert translate("Own", "reason", translations, ["de-AT", "de", "fr", "en"], "fr") == (
        "Own",
        "fr",
    )
    assert translate("Own", "title", translations, ["fr", "en"], "fr") == ("Own", "fr"), (
        "the playbook's own goes before English"
    )


# ── the tips that ship ────────────────────────────────────────────────────────────────────────────────────────────────


def test_tips_stand_among_the_triggers_by_their_own_names() -> None:
    triggers = tip_triggers(SHIPPED)
    assert set(triggers) == {f"tip_{name}" for name in SHIPPED.tips}
    assert not set(triggers) & set(SHIPPED.triggers)
    assert {trigger.channel for trigger in triggers.values()} == {"tip"} and not any(
        t.essential for t in triggers.values()
    )
    assert set(triggers) <= set(compile_successes(SHIPPED)), (
        "what came of them is looked at under these names"
    )


def test_there_are_tips_for_every_occasion_and_all_speak_german() -> None:
    tips = SHIPPED.tips.values()
    assert len(tips) >= 12
    assert {one.season for one in tips} == {"any", "in", "off"}
    assert sum(bool(one.vendor_types) for one in tips) >= 4 and all(one.pages for one in tips)
    assert any("risk_level" in one.when for one in tips) and any(
        "churn_level" in one.when for one in tips
    )
    for name, one in SHIPPED.tips.items():
        german = one.translations["de"]
        for key in ("title", "body", "reason"):
            assert placeholders(german[key]) == placeholders(getattr(one, key)) or set(
                placeholders(german[key])
            ) == set(placeholders(getattr(one, key))), name
        assert german["action_label"] and german["title"] != one.title
        assert len(one.title) <= 60 and len(german["title"]) <= 70 and len(one.body) <= 220, (
            f"{name} is read in passing"
        )


def scored(**known: Any) -> pl.DataFrame:
    nothing: dict[str, Any] = dict.fromkeys(SIGNAL_SCHEMA)
    return pl.DataFrame(
        [{**nothing, "supplier_id": "s", "off_season": False, **known}],
        schema={"supplier_id": pl.String(), **SIGNAL_SCHEMA},
    )


def test_nothing_is_said_to_one_of_whom_nothing_is_known() -> None:
    answers = scored().select(**tip_conditions(SHIPPED)).row(0, named=True)
    assert list(answers) == tip_order(SHIPPED)
    assert not any(answers.values()) and None not in answers.values()


def test_season_and_vendor_type_choose_among_those_whose_condition_is_true() -> None:
    busy = {
        "clients_total": 9,
        "weddings_90d": 3,
        "weddings_365d": 9,
        "forms_waiting": 3,
        "forms_sent_13w": 1,
        "feature_adoption": 0.5,
    }
    busy |= {
        "form_completion_rate": 0.2,
        "journey_emails_13w": 0,
        "tenure_days": 400.0,
        "days_to_next_wedding": 60,
    }

    def found(**more: Any) -> set[str]:
        answers = scored(**busy, **more).select(**tip_conditions(SHIPPED)).row(0, named=True)
        return {name for name, holds in answers.items() if holds}

    assert "songs_in_time" in found(vendor_type="dj") and "family_list" not in found(
        vendor_type="dj"
    )
    assert "family_list" in found(vendor_type="photographer") and "songs_in_time" not in found(
        vendor_type=None
    )
    assert "reminders_for_busy_weeks" in found() and "forms_in_winter" not in found()
    winter = {**busy}
    answers = (
        scored(**{**winter, "off_season": True})
        .select(**tip_conditions(SHIPPED))
        .row(0, named=True)
    )
    assert (
        answers["forms_in_winter"]
        and answers["prices_in_winter"]
        and not answers["reminders_for_busy_weeks"]
    )


def test_a_switched_off_tip_is_nowhere() -> None:
    off = {name: msgspec.structs.replace(one, enabled=False) for name, one in SHIPPED.tips.items()}
    nobody: Playbook = msgspec.structs.replace(SHIPPED, tips=off)
    assert tip_order(nobody) == [] and tip_triggers(nobody) == {} and tip_conditions(nobody) == {}


def test_a_tip_is_said_whole_in_one_language_or_the_other() -> None:
    facts = {"forms_waiting": 3, "days_to_next_wedding": 12}
    german = coach_tip("answers_before_the_day", SHIPPED, facts, ["de-AT", "de", "en"])
    assert (
        german.reason
        == "Ihre nächste Hochzeit ist in 12 Tagen, und 3 Formulare warten seit über einer Woche."
    )
    english = coach_tip("answers_before_the_day", SHIPPED, facts, ["ja", "en"])
    assert english.action.label == "See waiting forms" and english.action.url == german.action.url

"""Every sentence that ships reads right in each of its languages, whatever the numbers are."""

import re
from collections import Counter
from collections.abc import Callable

import pytest

from everafter.core.i18n import (
    choose_form,
    counting_categories,
    find_locale,
    format_clocks,
    format_items,
    format_number,
    format_share,
    format_weekday,
    is_language,
    plural_categories,
)
from everafter.core.messages import (
    MessageError,
    Value,
    check_message,
    format_message,
    placeholders,
)
from everafter.signals.text import format_sentence
from helpers_sentences import Sentence, list_sentences

SENTENCES = list(list_sentences())

# Wrong in every language.
BROKEN = re.compile(
    r"[{}#]|\bNone\b(?! of)|\b(?:nan|null|undefined|True|False)\b| {2}| [,.;:!?](?!\w)|[,;:]\.|\.\.|,,"
    r"|\b0\s?%|\b(?:unknown|unbekannt|inconnu|desconocido|sconosciuto|onbekend)\b|^\s|\s$"
)
# A number beside a noun in the wrong form. `0` is spelled out, or another sentence is there.
WRONG = {
    "en": re.compile(
        r"\b1 (?!is\b|was\b|has\b|of\b)[a-z]+s\b|\b1 (?:are|were|have)\b|(?<![.\d])\b0\b(?![.\d])"
        r"|\b(?:2|5|21) (?:day|form|couple|client|wedding|step|time|ticket|question|feature|email|month|use)\b"
        r"|(?<!of )(?<!of your )\b(?:2|5|21) (?:[a-z]+s )?(?:is|was|has)\b(?! come back)|\b[Oo]ne \w+ (?:are|were|have)\b|(?<!next )\bone (?!has\b|is\b|was\b)[a-z]+s\b"
    ),
    "de": re.compile(
        r"\b[01]\b(?!\s?%)|\b(?:2|5|21) (?:Tag|Formular|Paar|Hochzeit|Schritt|Frage|Funktion|Monat|E-Mail)\b"
        r"|\b[Ee]ine? (?:Tage|Tagen|Formulare|Paare|Hochzeiten|Schritte|Fragen|Funktionen|E-Mails)\b"
        r"|\b(?:Ein|Eine|ein|eine|einem) \w+ (?:warten|stehen|haben|sind|kamen|waren|wurden)\b"
    ),
}
for language in ("fr", "es", "it", "nl"):  # 0 and 1 are written as words
    WRONG[language] = re.compile(r"\b[01]\b(?!\s?%)")
# The coach's interface counts steps ("0 of 5 done") and times; the numbers block has a figure of its own.
COUNTED = re.compile(r"coach\.words\.progress|^\d+ (?:active|forms? completed) in the last")


def readable(sentence: Sentence) -> str:
    return f"{sentence.source} ({sentence.language}) [{sentence.values}]: {sentence.text}"


def test_no_sentence_is_ungrammatical() -> None:
    wrong = [
        readable(sentence)
        for sentence in SENTENCES
        if BROKEN.search(sentence.text)
        or (
            sentence.language in WRONG
            and WRONG[sentence.language].search(sentence.text)
            and not COUNTED.search(sentence.source)
            and not COUNTED.search(sentence.text)
        )
    ]
    assert not wrong, "\n".join(wrong[:60])


def test_sentences_begin_with_a_capital_and_end_with_a_stop() -> None:
    wrong = [
        readable(sentence)
        for sentence in SENTENCES
        if sentence.kind == "text" and not re.fullmatch(r"[^\Wa-z\d_].*[.!?…]|\d.*[.!?…]|“.*[.!?…]|„.*[.!?…]|¿.*", sentence.text)
    ]  # fmt: skip
    assert not wrong, "\n".join(wrong[:60])


def test_every_source_is_rendered() -> None:
    """At least at each of the values, where there is a number."""
    sources = Counter(sentence.source.split(".")[0].split(":")[0] for sentence in SENTENCES)
    for name in ("triggers", "milestones", "recommendations", "client_recommendations", "tips"):
        assert sources[name] >= 20, name
    for name in ("coach", "certificate", "call", "we_miss_you", "call_booked", "page"):
        assert sources[name] >= 1, name
    values = {
        s.values for s in SENTENCES if s.source == "recommendations.remind_waiting_forms.reason"
    }
    assert values == {f"forms_waiting={n}" for n in (0, 1, 2, 5, 21, "unknown")}


@pytest.mark.parametrize("word", ["vendor type", "holdout", "line of work", "client", "note"])
def test_suppliers_read_none_of_our_terms(word: str) -> None:
    found = [
        readable(s) for s in SENTENCES if s.kind != "team" and re.search(rf"\b{word}s?\b", s.text)
    ]
    assert not found, found[:5]


# ── CLDR ──────────────────────────────────────────────────────────────────────────────────────

POLISH = "{forms_waiting, plural, =0 {Żaden formularz nie czeka} one {# formularz czeka} few {# formularze czekają} many {# formularzy czeka} other {# formularza czeka}}."
FRENCH = "{forms_waiting, plural, one {# formulaire est} other {# formulaires sont}} en attente."
ARABIC = "{forms_waiting, plural, zero {لا نماذج} one {نموذج واحد} two {نموذجان} few {# نماذج} many {# نموذجًا} other {# نموذج}}"


@pytest.mark.parametrize(
    ("language", "text", "number", "expected"),
    [
        ("pl", POLISH, 0, "Żaden formularz nie czeka."),
        ("pl", POLISH, 1, "1 formularz czeka."),
        ("pl", POLISH, 2, "2 formularze czekają."),
        ("pl", POLISH, 5, "5 formularzy czeka."),
        ("pl", POLISH, 21, "21 formularzy czeka."),
        ("pl", POLISH, 22, "22 formularze czekają."),
        ("fr", FRENCH, 0, "0 formulaire est en attente."),
        ("fr", FRENCH, 1, "1 formulaire est en attente."),
        ("fr", FRENCH, 2, "2 formulaires sont en attente."),
        ("ar", ARABIC, 0, "لا نماذج"),
        ("ar", ARABIC, 1, "نموذج واحد"),
        ("ar", ARABIC, 2, "نموذجان"),
        ("ar", ARABIC, 5, "5 نماذج"),
        ("ar", ARABIC, 21, "21 نموذجًا"),
        ("ar", ARABIC, 100, "100 نموذج"),
    ],
)
def test_plural_forms_are_those_of_the_language(
    language: str, text: str, number: int, expected: str
) -> None:
    assert format_sentence(text, {"forms_waiting": number}, language) == expected
    assert not check_message(text, {"forms_waiting": "number"}, language)


def test_forms_that_a_language_lacks_are_reported() -> None:
    english = "{n, plural, one {# form} other {# forms}}"
    [polish] = check_message(english, {"n": "number"}, "pl")
    assert polish.level == "warning" and "few and many" in polish.message
    assert check_message(english, {"n": "number"}, "es") == [], "a million is not a usual count"
    [german] = check_message("{n, plural, one {#} few {#} other {# Tage}}", {"n": "number"}, "de")
    assert "never takes the branch few" in german.message


def test_numbers_and_dates_are_written_as_in_the_language() -> None:
    from datetime import datetime, timedelta

    at = datetime(2026, 11, 24, 14, 30)
    assert [format_number(1234.5, language, 1) for language in ("en", "de", "fr", "pl")] == [
        "1,234.5", "1.234,5", "1\u202f234,5", "1\xa0234,5",
    ]  # fmt: skip
    assert [format_share(0.5, language) for language in ("en", "de", "tr")] == [
        "50%", "50\xa0%", "%50",
    ]  # fmt: skip
    assert [format_weekday(at, language) for language in ("en", "en-US", "de", "es", "ja")] == [
        "Tuesday 24 November", "Tuesday, November 24", "Dienstag, 24. November",
        "martes, 24 de noviembre", "11月24日(火曜日)",
    ]  # fmt: skip
    assert format_clocks(at, at + timedelta(hours=1), "en") == "14:30–15:30"
    assert format_clocks(at, at + timedelta(hours=1), "en-US") == "2:30\u2009–\u20093:30\u202fPM"
    assert format_items(["a", "b", "c"], "de") == "a, b und c"


def test_an_unknown_language_is_written_as_english() -> None:
    assert find_locale("xx") == find_locale("en") == find_locale("en-GB")
    assert find_locale("de-XX") == find_locale("de")
    assert is_language("pt-BR") and not is_language("xx") and not is_language("")
    assert plural_categories("ar") == ("zero", "one", "two", "few", "many", "other")
    assert counting_categories("ja") == ("other",)
    assert choose_form(22, ("a", "b", "c", "d"), "pl") == "b"


# ── messages ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "text",
    ["{", "}", "{n", "{n,}", "{n, plural}", "{n, plural,}", "{n, plural, one}", "{n, plural, one {a}",
     "{" * 2000, "{n, plural, other {" * 40, "{}", "{ }", "{n m}", "{n, plural, other}}"],
)  # fmt: skip
def test_a_broken_message_has_a_place(text: str) -> None:
    with pytest.raises(MessageError):
        placeholders(text)
    [remark] = check_message(text, {"n": "number"})
    assert remark.level == "error" and remark.message and remark.hint
    assert 0 <= remark.start < remark.end <= max(len(text), remark.start + 1)


@pytest.mark.parametrize(
    ("text", "message", "part"),
    [
        ("{n, plural}", "the branches of plural are missing here", "}"),
        ("{flag, select, }", "the branches of select are missing here", "}"),
        ("{n, plural, {a}}", "the name of a branch is missing here", "{"),
        ("{n, plural one {a} other {b}}", "a comma or } is missing here", "o"),
        ("{n, plural, one}", "{ is missing here", "}"),
        ("{n, }", "one of plural, select, selectordinal is missing here", "}"),
        ("{}", "the name of a placeholder is missing here", "}"),
        ("{n, plural, offset:x other {a}}", "the number after offset: is missing here", "x"),
        ("{n, plural, one {a} one {b} other {c}}", "the branch one is there twice", "one"),
        ("a ’' {n, plural, =1 {a}\n=1 {b} other {c}}", "the branch =1 is there twice", "=1"),
        ("{n, plural, one {{n, plural, one {a} other {b} other {c}}} other {d}}",
         "the branch other is there twice", "other"),
        ("{flag, select, true {a} other {b} true {c}}", "the branch true is there twice", "true"),
    ],
)  # fmt: skip
def test_a_broken_message_is_explained_in_plain_english(text: str, message: str, part: str) -> None:
    [remark] = check_message(text, {"n": "number", "flag": "flag"})
    assert (remark.message, remark.level) == (message, "error") and remark.hint
    assert text[remark.start : remark.end] == part


def test_branches_of_the_same_name_in_different_placeholders_are_not_there_twice() -> None:
    text = (
        "{n, plural, one {{m, plural, one {a} other {b}}} other {c}} {n, plural, one {#} other {d}}"
    )
    assert check_message(text, {"n": "number", "m": "number"}) == []


@pytest.mark.parametrize("number", [0, 1, 999_999, 1_000_000, 1_234_567, 10**15 + 1, 10**25])
@pytest.mark.parametrize("kind", [int, float])
def test_an_exact_branch_is_taken_for_numbers_of_any_size(
    number: int, kind: Callable[[int], float]
) -> None:
    shown = kind(number)
    text = f"{{n, plural, ={int(shown)} {{exactly}} other {{other}}}}"
    assert format_message(text, lambda _: Value("?", shown)) == "exactly"
    assert format_message(text, lambda _: Value("?", shown + 0.5)) == "other" or number > 10**9


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{flag, select, yes {a} other {b}}", "the branch yes is never taken"),
        ("{flag, select, True {a} other {b}}", "the branch True is never taken"),
        ("{flag, select, =1 {a} true {b} other {c}}", "the branch =1 is never taken"),
        ("{n, select, 1 {a} other {b}}", "n is a number"),
        ("{n, plural, =01 {a} other {b}}", "the branch =01 is never taken"),
        ("{n, plural, =00 {a} other {b}}", "the branch =00 is never taken"),
    ],
)
def test_a_branch_that_is_never_taken_is_an_error(text: str, message: str) -> None:
    [remark] = check_message(text, {"n": "number", "flag": "flag"})
    assert message in remark.message and remark.level == "error" and remark.hint
    fixed = "{flag, select, true {a} false {b} unknown {c} other {d}}"
    assert check_message(fixed, {"flag": "flag"}) == []


def test_a_value_is_never_read_as_a_message() -> None:
    facts = {"name": "{clients_total} '{' #", "clients_total": 3}
    text = "{clients_total, plural, one {#} other {# of {name}}}"
    assert format_sentence(text, facts) == "3 of {clients_total} '{' #"


def test_a_sentence_may_be_written_over_several_lines() -> None:
    assert (
        format_sentence("A\n  {clients_total, plural,\n    other {# b}}\n", {"clients_total": 2})
        == "A 2 b"
    )
    assert format_sentence("50\u202f% \u00a0x", {}) == "50\u202f% \u00a0x", "other spaces stay"


@pytest.mark.parametrize(
    ("days", "expected"),
    [(0, "today"), (0.9, "today"), (1, "1 day"), (1.9, "1 day"), (2, "2 days"), (1200.4, "1,200 days"), (None, "some time")],
)  # fmt: skip
def test_the_form_is_that_of_the_number_shown(days: float | None, expected: str) -> None:
    text = "{days_since_login, plural, unknown {some time} =0 {today} one {# day} other {# days}}"
    assert format_sentence(text, {"days_since_login": days}) == expected


@pytest.mark.parametrize(
    ("share", "expected"),
    [(0.0, "None"), (0.001, "1%"), (0.01, "1%"), (0.994, "99%"), (0.999, "99%"), (1.0, "All"), (None, "Some")],
)  # fmt: skip
def test_only_nothing_is_none_and_only_all_is_all(share: float | None, expected: str) -> None:
    text = "{journey_open_rate, plural, unknown {Some} =0 {None} =100 {All} other {#}}"
    assert format_sentence(text, {"journey_open_rate": share}) == expected


def test_plain_placeholders_are_written_by_unit_and_language() -> None:
    facts = {
        "form_completion_rate": 0.406, "churn_risk": 0.7251, "payment_past_due": True,
        "days_since_login": 12.9, "plan": "pro.x", "clients_total": 1200, "inactivity_probability": 0.00123,
    }  # fmt: skip
    text = " ".join(f"{{{name}}}" for name in (*facts, "limit_ratio"))
    assert format_sentence(text, facts) == "41% 0.73 yes 12 pro.x 1,200 0.0012 unknown"
    assert format_sentence(text, facts, "de") == "41\xa0% 0,73 ja 12 pro.x 1.200 0,0012 unbekannt"
    assert format_sentence(text, facts, "it") == "41% 0,73 sì 12 pro.x 1.200 0,0012 sconosciuto"
    assert format_sentence(text, facts, "ja") == "41% 0.73 yes 12 pro.x 1,200 0.0012 unknown"


def test_select_has_a_branch_for_null_and_for_what_is_not_listed() -> None:
    text = "{plan, select, basic {Basic} unknown {?} other {{plan} plan}}"
    plans = ["basic", "studio", None, ""]
    assert [format_sentence(text, {"plan": plan}) for plan in plans] == [
        "Basic",
        "studio plan",
        "?",
        "?",
    ]
    flag = "{payment_past_due, select, true {due} false {paid} other {?}}"
    assert [format_sentence(flag, {"payment_past_due": x}) for x in (True, False, None)] == [
        "due",
        "paid",
        "?",
    ]


def test_ordinals_and_offsets() -> None:
    text = "{n, selectordinal, one {#st} two {#nd} few {#rd} other {#th}}"

    def write(number: int, message: str) -> str:
        return format_message(message, lambda _: Value(str(number), number))

    assert [write(n, text) for n in (1, 2, 3, 4, 11, 21)] == [
        "1st",
        "2nd",
        "3rd",
        "4th",
        "11th",
        "21st",
    ]
    others = "{n, plural, offset:1 =1 {Ann} one {Ann and # other} other {Ann and # others}}"
    assert [write(n, others) for n in (1, 2, 5)] == ["Ann", "Ann and 1 other", "Ann and 4 others"]

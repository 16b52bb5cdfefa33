"""Retired words stay out of code, file names, docs, pages, emails and new migrations."""

import pytest

from helpers_words import find_all, find_in_path, find_in_text


def test_retired_words_are_not_used() -> None:
    found = [one for here in find_all().values() for one in here]
    assert not found, "\n".join(map(str, found))


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("the trade of a supplier", "trade"),
        ("vendor_trade = 1", "trade"),
        ("class TradeMix:", "trade"),
        ("TRADES = ()", "trades"),
        ('.verdict-line { color: red }', "verdict"),
        ("await judge_suppliers(conn)", "judge"),
        ("The Advisor's calendar", "advisor"),
        ("silenceChance", "silence"),
        ("14 % were held out", "held out"),
        ("held_out_value", "held out"),
        ("those who left in May", "who left"),
        ("drawn by lot", "by lot"),
        ("an E-Mail of the platform", "e mail"),
        ("def say_hours(hours: float) -> str:", "say_hours"),
        ("def reason_words(reason: str) -> str:", "def reason_words"),
        ("WHERE status = 'decided'", "'decided'"),
        ("decided_at timestamptz", "decided_at"),
        ("left_on date", "left_on"),
    ],
)  # fmt: skip
def test_a_planted_word_is_found(line: str, word: str) -> None:
    assert [one.word for one in find_in_text(f"fine\n{line}\nfine")] == [word]
    assert find_in_text(f"fine\n{line}\nfine")[0].line == 2


@pytest.mark.parametrize(
    "line",
    [
        "Emails are not sent in quiet hours.",
        "quiet_hours_start = 21",
        "pip install --quiet -r requirements/run.txt",
        "SELECT pg_advisory_xact_lock(1)",
        "a subquery that aggregates by month",
        "investigate, delegate, navigate",
        "extends and attends",
        "A LEFT JOIN leaves nothing out of it",
        "a standstill after a trade-off",
        "the recommended amendment",
        "KEYWORDS = frozenset(_encoded_words)",
        "letter-spacing: .02em",
        "A person decided about this message.",
    ],
)
def test_other_words_are_not_mistaken_for_retired_ones(line: str) -> None:
    assert not find_in_text(line)


def test_file_names_are_searched() -> None:
    assert [one.word for one in find_in_path("src/everafter/season/pace_rules.py")] == ["pace"]
    assert [one.word for one in find_in_path("tests/test_pulse.py")] == ["pulse"]


def test_suppliers_read_of_couples_and_code_does_not() -> None:
    line = "Your couples answer sooner."
    assert not find_in_text(line, "src/everafter/mail/templates/check_in.txt")
    assert find_in_text(line, "src/everafter/portfolio/pages.py")


def test_only_the_english_part_of_a_catalogue_is_searched() -> None:
    text = '[texts.fr]\ntitle = "Attention au silence"\n[texts.en]\ntitle = "Your silence"\n'
    assert [one.line for one in find_in_text(text, "messages.toml")] == [4]
    text = 'translations.it.title = "pace"\ntitle = "pace"\n'
    assert [one.line for one in find_in_text(text, "weddings.toml")] == [2]


def test_the_changelogs_table_of_names_may_hold_the_old_ones() -> None:
    assert not find_in_text("| `pulse` | `supplier_activity` |", "CHANGELOG.md")
    assert find_in_text("The pulse is renamed.", "CHANGELOG.md")

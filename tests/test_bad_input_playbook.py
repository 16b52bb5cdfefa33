"""A playbook that would take too long to read, or overflow the stack, is rejected at once."""

import pytest

from everafter.playbook.checking import check_playbook
from everafter.playbook.conditions import check_condition


@pytest.mark.parametrize("opening", ["(", "not("])
def test_a_condition_nested_without_end(opening: str) -> None:
    remarks = check_condition(
        opening * 390 + "days_inactive > 1" + ")" * 390
    )  # took longer than anyone waits
    assert [remark.message for remark in remarks] == ["more than 20 parentheses inside each other"]


def test_parentheses_as_people_write_them() -> None:
    assert (
        check_condition("(" * 20 + "days_inactive > 1" + ")" * 20 + " AND (clients_total > 1)" * 30)
        == []
    )


def test_a_condition_longer_than_can_be_followed() -> None:
    (remark,) = check_condition("days_inactive > 1 AND " * 5000 + "true")
    assert "the maximum is 2,000" in remark.message


@pytest.mark.parametrize("text", ["[", "{a=", "{a=["])
def test_toml_nested_without_end_is_a_mistake_with_its_line(text: str) -> None:
    (mistake,) = check_playbook("# a comment\nname = " + text * 20_000)
    assert (mistake.line, mistake.level) == (2, "error")
    assert "nested too deeply" in mistake.message

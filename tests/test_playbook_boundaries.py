"""Limits of the playbook's checks: the last value that is accepted, and the first that is not."""

from pathlib import Path

import pytest

from everafter.activity.model import MAX_FEATURES
from everafter.core.errors import InputError
from everafter.playbook.checking import check_playbook
from everafter.playbook.conditions import check_condition
from everafter.playbook.hints import range_hint
from everafter.playbook.loading import read_playbook
from everafter.playbook.model import MAX_MASK_BITS
from everafter.playbook.syntax import read_toml
from test_playbook_path import PATH
from test_playbook_renames import SMALL


def messages(addition: str, text: str = SMALL) -> list[str]:
    return [mistake.message for mistake in check_playbook(text + addition)]


@pytest.mark.parametrize(
    ("addition", "message"),
    [
        ("[health]\ncritical_below = 69.9\n", ""),
        ("[health]\ncritical_below = 70\n", "must be less than at_risk_below"),
        ("[churn]\nmedium_above = 0.69\n", ""),
        ("[churn]\nmedium_above = 0.7\n", "must be less than high_above"),
        ("[season]\nfloor = 0.59\n", ""),
        ("[season]\nfloor = 0.6\n", "nobody is ever off season"),
        ("[onboarding_timing]\nbehind_after_days = 6.9\n", ""),
        ("[onboarding_timing]\nbehind_after_days = 7\n", "must be less than stuck_after_days"),
        ('[support]\nopen_from = "16:59"\n', ""),
        ('[support]\nopen_from = "17:00"\n', "must be before open_until"),
        ("[support.clocks.normal]\nreply_hours = 24\nresolve_hours = 24\n", ""),
        ("[support.clocks.normal]\nreply_hours = 24.1\nresolve_hours = 24\n", "a reply is promised"),
        ('[messaging]\nquiet_from = "08:01"\n', ""),
        ('[messaging]\nquiet_from = "08:00"\n', "so there are none"),
        # ranges of the model: at least, above, at most
        ("[messaging]\nmessages_per_week = 0\n", ""),
        ("[messaging]\nmessages_per_week = -1\n", "from 0 to 1000"),
        ("[messaging]\nmessages_per_week = 1000\n", ""),
        ("[messaging]\nmessages_per_week = 1001\n", "from 0 to 1000"),
        ("[onboarding_timing]\nmin_season_index = 0.001\n", ""),
        ("[onboarding_timing]\nmin_season_index = 0\n", "above 0 and at most 1"),
        ("[onboarding_timing]\nmin_season_index = 1\n", ""),
        ("[onboarding_timing]\nmin_season_index = 1.001\n", "above 0 and at most 1"),
    ],
)  # fmt: skip
def test_a_limit_is_refused_and_the_value_before_it_accepted(addition: str, message: str) -> None:
    found = messages(addition)
    assert message in found[0] if message else found == []


@pytest.mark.parametrize(
    ("days", "increase"), [("[3, 7, 14]", True), ("[3, 3, 14]", False), ("[3, 14, 14]", False)]
)
def test_login_days_must_increase_strictly(days: str, increase: bool) -> None:
    text = SMALL.replace(
        'key_features = ["forms"]', f'key_features = ["forms"]\nlogin_days = {days}'
    )
    assert (messages("", text) == []) == increase


@pytest.mark.parametrize(
    ("holdout", "message"),
    [("0", "cannot be measured"), ("0.001", ""), ("0.999", ""), ("1", "it never acts")],
)
def test_a_holdout_of_nobody_or_everybody_is_a_warning(holdout: str, message: str) -> None:
    found = messages("", SMALL.replace("channel =", f"holdout = {holdout}\nchannel ="))
    assert message in found[0] if message else found == []


@pytest.mark.parametrize("holdout", ["0", "0.1"])
def test_an_essential_trigger_with_a_holdout_is_a_warning(holdout: str) -> None:
    found = messages(
        "", SMALL.replace("channel =", f"essential = true\nholdout = {holdout}\nchannel =")
    )
    assert bool(found) == (holdout != "0")


@pytest.mark.parametrize(("count", "fits"), [(MAX_FEATURES, True), (MAX_FEATURES + 1, False)])
def test_a_playbook_can_name_512_features(count: int, fits: bool) -> None:
    names = ", ".join(f'"f{number}"' for number in range(count))
    assert (messages("", SMALL.replace('"forms"', names)) == []) == fits


@pytest.mark.parametrize(("count", "fits"), [(MAX_MASK_BITS, True), (MAX_MASK_BITS + 1, False)])
def test_a_playbook_can_have_60_milestones(count: int, fits: bool) -> None:
    more = "".join(
        f'[milestones.m{number}]\ntitle = "x"\ncelebration = "x"\n' for number in range(count - 1)
    )
    errors = [m for m in check_playbook(PATH + more) if m.level == "error"]
    assert (errors == []) == fits


@pytest.mark.parametrize(("length", "fits"), [(2000, True), (2001, False)])
def test_a_condition_can_have_2000_characters(length: int, fits: bool) -> None:
    condition = "days_inactive >= 7"
    assert (check_condition(condition.ljust(length)) == []) == fits


@pytest.mark.parametrize(("depth", "fits"), [(20, True), (21, False)])
def test_parentheses_can_be_20_deep(depth: int, fits: bool) -> None:
    condition = "(" * depth + "days_inactive >= 7" + ")" * depth
    assert (check_condition(condition) == []) == fits


@pytest.mark.parametrize(("value", "fits"), [("1", True), ("1.01", False)])
def test_a_share_is_never_above_1(value: str, fits: bool) -> None:
    assert (check_condition(f"client_activity < {value}") == []) == fits


def test_a_percentage_is_recognized_above_1_and_up_to_100() -> None:
    from msgspec.inspect import FloatType

    share = FloatType(ge=0, le=1)
    assert [bool(range_hint(value, share)) for value in (1, 1.1, 100, 100.1)] == [
        False,
        True,
        True,
        False,
    ]


@pytest.mark.parametrize(("size", "fits"), [(1_000_000, True), (1_000_001, False)])
def test_a_playbook_can_have_a_million_bytes(tmp_path: Path, size: int, fits: bool) -> None:
    file = tmp_path / "mine.toml"
    file.write_bytes(b"#" * size)
    if fits:
        assert len(read_playbook(file)) == size
    else:
        with pytest.raises(InputError, match="more than 1,000,000 bytes"):
            read_playbook(file)


@pytest.mark.parametrize(("digits", "fits"), [(4300, True), (4301, False)])
def test_a_number_can_have_4300_digits(digits: int, fits: bool) -> None:
    assert (read_toml(f"a = {'1' * digits}\n").slips == []) == fits

"""Days that an explanation cannot look at, because they have not come."""

from datetime import UTC, date, datetime

import pytest

from everafter.scoring import explain


@pytest.mark.parametrize("day", [date.max, datetime.now(UTC).date()])
def test_a_day_that_is_not_over_is_now(day: date) -> None:
    before = datetime.now(UTC)
    found = explain._end_of(day)  # pyright: ignore[reportPrivateUsage]
    assert before <= found <= datetime.now(UTC)

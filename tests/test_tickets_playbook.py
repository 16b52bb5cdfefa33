"""[support] in a playbook: each mistake is named at its place, and the shipped one can be followed."""

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from everafter.core.settings import Settings
from everafter.playbook.loading import find_mistakes, load_playbook, playbook_path, read_playbook

SHIPPED = Settings(None, Path(), None, None, "http://testserver", "secret")
WEDDINGS = read_playbook(playbook_path(SHIPPED))

# what is written instead of what; what the message names; what is pointed at
CASES = [
    ('timezone = "Europe/London"', 'timezone = "Europe/Lodnon"', "no time zone 'Europe/Lodnon'", "did you mean Europe/London?", '"Europe/Lodnon"'),
    ('timezone = "Europe/London"', 'timezone = ""', "is empty", "", '""'),
    ('timezone = "Europe/London"', 'timezone = "../../etc/passwd"', "no time zone", "IANA", '"../../etc/passwd"'),
    ('timezone = "Europe/London"', 'timezone = "\\u0000"', "control character (U+0000)", "remove it", '"\\u0000"'),
    ('timezone = "Europe/London"', "timezone = 1", "timezone", "", "1"),
    ('holidays = "GB-ENG"', 'holidays = "ZZ"', "no holidays are known for 'ZZ'", "ISO 3166", '"ZZ"'),
    ('holidays = "GB-ENG"', 'holidays = "gb"', "no holidays are known for 'gb'", "capitals", '"gb"'),
    ('holidays = "GB-ENG"', 'holidays = "GB-XYZ"', "no holidays are known", "GB-ENG", '"GB-XYZ"'),
    ('open_from = "09:00"', 'open_from = "17:00"', "open_from (17:00) must be before open_until (17:00)", "24:00", '"17:00"'),
    ('open_from = "09:00"', 'open_from = "22:00"', "must be before", "one day", '"22:00"'),
    ('open_from = "09:00"', 'open_from = "9"', "open_from", "", '"9"'),
    ('open_from = "09:00"', 'open_from = "24:00"', "open_from", "", '"24:00"'),
    ('open_until = "17:00"', 'open_until = "25:00"', "open_until", "", '"25:00"'),
    ("work_days = [1, 2, 3, 4, 5]", "work_days = []", "never open", "", "[]"),
    ("work_days = [1, 2, 3, 4, 5]", "work_days = [1, 2, 1]", "1 is listed twice", "", "1"),
    ("work_days = [1, 2, 3, 4, 5]", "work_days = [1, 8]", "work_days", "", "8"),
    ("closed_on = []", 'closed_on = ["2026-02-30"]', "2026-02-30 is not in the calendar", "", '"2026-02-30"'),
    ("closed_on = []", 'closed_on = ["2026-12-24", "2026-12-24"]', "listed twice", "", '"2026-12-24"'),
    ("closed_on = []", 'closed_on = ["24.12.2026"]', "closed_on", "", '"24.12.2026"'),
    ("normal = {", "medium = {", "no clocks for 'normal'", "", "[support.clocks]"),
    ("reply_hours = 8,", "reply_hours = 80,", "a reply is promised within 80 hours, later than a solution (24)", "", "80"),
    ("reply_hours = 8,", "reply_hours = 0,", "reply_hours", "", "0"),
    ("resolve_hours = 40 }", "resolve_hours = 20000 }", "at most 8760", "", "20000"),
    ("resolve_hours = 40 }", "resolve_hours = nan }", "resolve_hours", "", "nan"),
    ("due_soon_share = 0.25", "due_soon_share = 25", "due_soon_share", "", "25"),
    ("low = {", "Low = {", "Low", "", "Low"),
]  # fmt: skip


def test_the_shipped_one_has_nothing_to_fix() -> None:
    assert [one for one in find_mistakes(WEDDINGS) if one.path.startswith("support")] == []
    support = load_playbook(SHIPPED).support
    assert support.clocks["high"].reply_hours == 2 and support.holidays == "GB-ENG"


@pytest.mark.parametrize(("was", "written", "said", "hint", "at"), CASES)
def test_each_mistake_is_named_at_its_place(
    was: str, written: str, said: str, hint: str, at: str
) -> None:
    assert WEDDINGS.count(was) == 1
    text = WEDDINGS.replace(was, written)
    found = [one for one in find_mistakes(text) if one.path.startswith("support")]
    assert len(found) == 1, found
    (mistake,) = found
    assert said in f"{mistake.path}: {mistake.message}" and hint in mistake.hint
    line = text.split("\n")[mistake.line - 1]
    assert line[mistake.column - 1 : mistake.column - 1 + mistake.width] == at


def test_the_holidays_library_is_not_loaded_before_it_is_asked() -> None:
    """The command line must start fast; nobody pays for holidays who does not ask for them."""
    script = "import sys, everafter.cli, everafter.app, everafter.worker; everafter.cli.load_commands(); print([m for m in sys.modules if m.partition('.')[0] == 'holidays'])"
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]" and time.monotonic() - started < 20


def test_a_playbook_without_support_has_hours_all_the_same(tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_text(
        'name = "t"\n[segments.default]\ntitle = "x"\nkey_features = ["forms"]\n[triggers]\n'
    )
    values: dict[str, Any] = {name: getattr(SHIPPED, name) for name in SHIPPED.__dataclass_fields__}
    support = load_playbook(Settings(**{**values, "playbook": own})).support
    assert (support.timezone, support.open_from, support.clocks["normal"].reply_hours) == (
        "UTC",
        "09:00",
        8,
    )

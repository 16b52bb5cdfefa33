"""Names of earlier versions that a playbook may still use: renamed, or removed. Pure.

Old names are not accepted. They are recognized, so that `everafter playbook check` can say what
each is called now, and check the rest of the file as if it had been renamed."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from everafter.playbook.findings import Finding
from everafter.playbook.places import Path, Places


@dataclass(frozen=True, slots=True)
class Rename:
    """A name that changed.

    Attributes:
        old: a key with its tables (`*` is any name); or a signal, or an email template.
        new: the name that replaces the last part of `old`.
    """

    kind: Literal["key", "signal", "template"]
    old: str
    new: str


RENAMES: tuple[Rename, ...] = (
    # Tables before the keys inside them.
    Rename("key", "attention", "messaging"),
    Rename("key", "couples", "client_recommendations"),
    Rename("key", "onboarding_pace", "onboarding_timing"),
    Rename("key", "onboarding_timing.least_pace", "min_season_index"),
    Rename("key", "holdout.advice_share", "recommendation_share"),
    Rename("key", "coach.next_steps", "recommendations"),
    Rename("key", "recommendations.*.left_out_of", "excluded_templates"),
    Rename("key", "client_recommendations.*.left_out_of", "excluded_templates"),
    # Names of the shipped playbook: what is stored under them was renamed too.
    Rename("key", "triggers.early_silence", "early_inactivity"),
    Rename("key", "milestones.five_active_couples", "five_active_clients"),
    Rename("key", "onboarding.many_couples", "many_clients"),
    Rename("key", "recommendations.ask_those_who_left", "ask_churned"),
    Rename("key", "recommendations.import_couples", "import_clients"),
    Rename("key", "recommendations.invite_couples", "invite_clients"),
    Rename("key", "recommendations.tell_us_what_is_in_the_way", "ask_what_is_in_the_way"),
    Rename("key", "recommendations.use_the_quiet_months", "use_the_off_season"),
    Rename("key", "recommendations.wake_quiet_couples", "wake_inactive_clients"),
    Rename("key", "client_recommendations.portal_silent", "portal_inactive"),
    Rename("key", "client_recommendations.wedding_near_silent", "wedding_near_inactive"),
    Rename("signal", "pace", "season_index"),
    Rename("signal", "quiet_days", "days_inactive"),
    Rename("signal", "silence_chance", "inactivity_probability"),
    Rename("signal", "couple", "client_name"),
    Rename("signal", "portal_silent_days", "portal_inactive_days"),
    Rename("template", "quiet_check", "inactivity_check"),
    Rename("template", "ten_couples", "ten_clients"),
    Rename("template", "call_for_advisor", "call_for_csm"),
)

_NAMES = {rename.old: rename.new for rename in RENAMES if rename.kind != "key"}


REMOVED: dict[str, str] = {
    "season.own_weddings_weight": "the season is measured from the supplier's peers",
    "churn.login_full_days": "logins count as decline evidence",
    "churn.feature_drop_full": "feature use counts as decline evidence",
}
"""Keys that have no successor, and why."""


def drop_removed(data: dict[str, Any]) -> list[Finding]:
    """Take removed keys out of the data, and report each."""
    found: list[Finding] = []
    for name, why in REMOVED.items():
        *tables, key = name.split(".")
        for path, table in _find_tables(data, tables, ()):
            if key in table:
                del table[key]
                message = f"{key!r} is no longer used: {why}"
                found.append(Finding((*path, key), message, "remove it", at_key=True))
    return found


def renamed_to(name: str, known: Collection[str]) -> str:
    """A hint with the new name of a signal or template; empty when it was not renamed, or to
    nothing in `known`.

    >>> renamed_to("quiet_days", {"days_inactive"})
    'it is now called days_inactive'
    """
    new = _NAMES.get(name)
    return f"it is now called {new}" if new in known else ""


def apply_key_renames(data: dict[str, Any], places: Places) -> list[Finding]:
    """Give old keys their new names, in the data and in the places, and report each.

    If a table has both the old and the new key, the old one is reported and left out.
    """
    found: list[Finding] = []
    for rename in RENAMES:
        if rename.kind == "key":
            *tables, old = rename.old.split(".")
            for path, table in _find_tables(data, tables, ()):
                if old in table and rename.new in table:
                    del table[old]
                    found.append(_report_both((*path, old), rename.new))
                elif old in table:
                    _rename_key(table, old, rename.new)
                    places.move((*path, old), (*path, rename.new))
                    found.append(_report((*path, rename.new), old))
    return found


def _find_tables(
    data: dict[str, Any], names: list[str], path: Path
) -> Iterator[tuple[Path, dict[str, Any]]]:
    if not names:
        yield path, data
        return
    for name in list(data) if names[0] == "*" else names[:1]:
        table = data.get(name)
        if isinstance(table, dict):
            yield from _find_tables(table, names[1:], (*path, name))


def _rename_key(table: dict[str, Any], old: str, new: str) -> None:
    """Rename in place, keeping the order of the keys."""
    items = list(table.items())
    table.clear()
    table.update((new if key == old else key, value) for key, value in items)


def _report(path: Path, old: str) -> Finding:
    new = path[-1]
    return Finding(path, f"{old!r} is now called {new!r}", f"write {new}", at_key=True)


def _report_both(path: Path, new: str) -> Finding:
    old = path[-1]
    message = f"{old!r} is now called {new!r}, which is here too"
    return Finding(path, message, f"remove {old}, or give it another name", at_key=True)

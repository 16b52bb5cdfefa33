"""The path of vendor types and conditions, kept actions and season, against a slow reading; and the checklist made of it."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from everafter.core.settings import load_settings
from everafter.onboarding.model import ACTION_TIMES, TIME, Watch
from everafter.onboarding.path_rules import add_onboarding, path_of
from everafter.onboarding.rules import (
    checklist,
    find_fresh,
    find_milestones,
    find_news,
    find_progress,
    frame_of,
)
from everafter.playbook.loading import load_playbook
from everafter.playbook.model import (
    Milestone,
    OnboardingAction,
    OnboardingStep,
    OnboardingTiming,
    Playbook,
    Segment,
)
from everafter.signals.model import SIGNAL_SCHEMA

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
WEDDINGS = load_playbook(load_settings({"EVERAFTER_SECRET": "x" * 32}))
VENDOR_TYPES = {name: Segment(name.title(), ["forms"]) for name in ("default", "venue", "dj")}
DECLARED = {
    "calendar_filled": OnboardingAction("Fill the calendar", feature="calendar"),
    "song_list_sent": OnboardingAction("Send the song list", done_when="forms_sent_13w >= 1"),
    "contract_signed": OnboardingAction("Sign the contract"),
    "first_login": OnboardingAction("Log in", done_when="login_days_28d >= 1"),
}
FEATURES = {"forms": 0, "calendar": 3}
ACTIONS = [*ACTION_TIMES, "multiple_clients_active", "fully_activated", *DECLARED]


def ago(days: float) -> datetime:
    return NOW - timedelta(days=days)


def make_frame(rows: list[dict[str, Any]]) -> pl.DataFrame:
    counts = (
        "clients_active_30d",
        "clients_total",
        "clients_added",
        "forms_sent_13w",
        "login_days_28d",
        "weddings_90d",
    )
    schema: dict[str, Any] = {
        "supplier_id": pl.String(),
        "vendor_type": pl.String(),
        "timezone": pl.String(),
        "season_index": pl.Float64(),
        "feature_days": pl.Binary(),
        **dict.fromkeys(ACTION_TIMES.values(), TIME),
        **dict.fromkeys(counts, pl.Int64()),
        "onboarding_kept": pl.Int64(),
        "activated_at": TIME,
        "added_at": TIME,
    }
    blank = (
        dict.fromkeys(schema)
        | dict.fromkeys(counts, 0)
        | {"season_index": 1.0, "onboarding_kept": 0}
    )
    return pl.DataFrame(
        [blank | {"supplier_id": f"s{n}"} | row for n, row in enumerate(rows)], schema=schema
    )


def playbook_of(
    steps: dict[str, OnboardingStep], season_index: OnboardingTiming | None = None
) -> Playbook:
    terms = OnboardingTiming() if season_index is None else season_index
    return Playbook(
        "test",
        VENDOR_TYPES,
        {},
        onboarding=steps,
        onboarding_actions=DECLARED,
        onboarding_timing=terms,
    )


# ── a slow reading of the same words ──────────────────────────────────────────────────────────────────────────────────


def read_slowly(row: dict[str, Any], playbook: Playbook) -> dict[str, Any]:
    """The registry's and the playbook's words for one supplier, one action at a time."""
    steps = sorted(playbook.onboarding.items(), key=lambda item: item[1].day)
    order = list(
        dict.fromkeys(a for _, step in steps for a in step.actions if a != "fully_activated")
    )

    def seen(action: str) -> bool:
        if action in order and row["onboarding_kept"] >> order.index(action) & 1:
            return True
        if action in ACTION_TIMES and (at := row[ACTION_TIMES[action]]) is not None and at <= NOW:
            return True
        slot = (row["feature_days"] or b"")[6:8]
        return {
            "multiple_clients_active": row["clients_active_30d"] >= 3,
            "song_list_sent": row["forms_sent_13w"] >= 1,
            "first_login": row["login_days_28d"] >= 1,
            "calendar_filled": slot not in (b"", b"\0\0"),
        }.get(action, False)

    vendor_type = row["vendor_type"] if row["vendor_type"] in VENDOR_TYPES else "default"
    mine = [
        (name, step)
        for name, step in steps
        if (not step.vendor_types or vendor_type in step.vendor_types)
        and (step.when is None or row["weddings_90d"] >= 2)
    ]
    real = [action for _, step in mine for action in step.actions if action != "fully_activated"]
    before = row["activated_at"] is not None and row["activated_at"] <= NOW
    activated = before or (bool(real) and all(map(seen, real)))
    began = (
        row["account_created_at"]
        if row["account_created_at"] is not None and row["account_created_at"] <= NOW
        else None
    )
    age = None if began is None else (NOW - began) / timedelta(days=1)
    done = [
        n
        for n, s in mine
        if activated or all(activated if a == "fully_activated" else seen(a) for a in s.actions)
    ]
    due = [(name, step) for name, step in mine if age is not None and age >= step.day]
    missed = [(name, step) for name, step in due if name not in done]
    behind = max(((age or 0) - step.day for _, step in missed), default=None)
    season_index = playbook.onboarding_timing
    waited = (
        -1 if behind is None else behind * max(row["season_index"], season_index.min_season_index)
    )
    if activated:
        state = "done"
    elif age is None or age > season_index.lasts_days or not mine:
        state = None
    else:
        state = (
            "stuck"
            if waited >= season_index.stuck_after_days
            else "behind"
            if waited >= season_index.behind_after_days
            else "on_track"
        )
    return {
        "onboarding_steps_done": len(done),
        "onboarding_steps_due": None if age is None else len(due),
        "onboarding_days_behind": None if behind is None else pytest.approx(behind, abs=1e-6),
        "onboarding_missed": missed[0][0] if missed else None,
        "onboarding_state": state,
        "fully_activated": activated,
    }


moments = st.none() | st.integers(-3, 120).map(ago)
features = st.sampled_from([None, b"", b"\1\0", b"\0\0\0\0\0\0\7\0", b"\0\0\0\0\0\0\0\0\1\0"])
suppliers = st.fixed_dictionaries(
    {
        **dict.fromkeys(ACTION_TIMES.values(), moments),
        "vendor_type": st.sampled_from([None, "venue", "dj", "magician"]),
        "season_index": st.sampled_from([0.25, 0.5, 0.8, 1.0]),
        "feature_days": features,
        "clients_active_30d": st.integers(0, 5),
        "forms_sent_13w": st.integers(0, 2),
        "login_days_28d": st.integers(0, 2),
        "weddings_90d": st.integers(0, 3),
        "onboarding_kept": st.integers(0, 15),
        "activated_at": st.none() | moments,
    }
)
paths = st.dictionaries(
    st.sampled_from(["a", "b", "c", "d", "e"]),
    st.builds(
        OnboardingStep,
        day=st.integers(0, 30),
        actions=st.lists(st.sampled_from(ACTIONS), max_size=4, unique=True),
        title=st.just("title"),
        vendor_types=st.lists(st.sampled_from(["default", "venue", "dj"]), max_size=2, unique=True),
        when=st.sampled_from([None, "weddings_90d >= 2"]),
    ),
    max_size=5,
)
season_indexes = st.builds(
    OnboardingTiming,
    behind_after_days=st.sampled_from([0, 1, 2.5]),
    stuck_after_days=st.sampled_from([3, 7]),
)


@settings(deadline=None, max_examples=80)
@given(rows=st.lists(suppliers, min_size=1, max_size=8), steps=paths, season_index=season_indexes)
def test_frames_agree_with_a_slow_reading(
    rows: list[dict[str, Any]], steps: dict[str, OnboardingStep], season_index: OnboardingTiming
) -> None:
    playbook = playbook_of(steps, season_index)
    frame = make_frame(rows)
    found = add_onboarding(frame, playbook, NOW, FEATURES)
    slowly = [read_slowly(row, playbook) for row in rows]
    assert found.select(slowly[0].keys()).to_dicts() == slowly
    alone = pl.concat([add_onboarding(frame[n], playbook, NOW, FEATURES) for n in range(len(rows))])
    assert_frame_equal(found, alone)
    for name in slowly[0]:
        assert found.schema[name] == SIGNAL_SCHEMA[name]


@settings(deadline=None, max_examples=60)
@given(rows=st.lists(suppliers, min_size=1, max_size=6), steps=paths)
def test_what_was_noticed_once_stays_and_is_noticed_once(
    rows: list[dict[str, Any]], steps: dict[str, OnboardingStep]
) -> None:
    """Keep what a run found, let everything that no event dates be undone: no action gets lost, and nothing is found again."""
    playbook = playbook_of(steps)
    path = path_of(playbook)
    frame = make_frame(rows)
    scored = add_onboarding(frame, playbook, NOW, FEATURES)
    found = find_progress(scored, playbook, NOW)
    kept = dict.fromkeys((f"s{n}" for n in range(len(rows))), 0)
    for supplier, action, _ in found.iter_rows():
        assert kept[supplier] & path.bits_of([action]) == 0, "each once"
        kept[supplier] |= path.bits_of([action])
    later = frame.with_columns(
        pl.Series(
            "onboarding_kept",
            [row["onboarding_kept"] | kept[f"s{n}"] for n, row in enumerate(rows)],
            dtype=pl.Int64,
        ),
        pl.lit(0, pl.Int64).alias("clients_active_30d"),
        pl.lit(0, pl.Int64).alias("forms_sent_13w"),
        pl.lit(0, pl.Int64).alias("login_days_28d"),
        pl.lit(None, pl.Binary).alias("feature_days"),
    )
    again = add_onboarding(later, playbook, NOW, FEATURES)
    assert find_progress(again, playbook, NOW).is_empty()
    on_path = (scored["account_created_at"] <= NOW).fill_null(False) & scored[
        "activated_at"
    ].is_null()
    before, after = scored.filter(on_path), again.filter(on_path)
    assert (before["onboarding_steps_done"] == after["onboarding_steps_done"]).all()
    assert (before["fully_activated"] == after["fully_activated"]).all()


@settings(deadline=None, max_examples=60)
@given(rows=st.lists(suppliers, min_size=1, max_size=6), steps=paths)
def test_news_are_what_would_be_found(
    rows: list[dict[str, Any]], steps: dict[str, OnboardingStep]
) -> None:
    milestones = {
        "first_form": Milestone("Form", "!"),
        "many": Milestone("Many", "!", "clients_active_30d >= 4"),
    }
    playbook = playbook_of(steps)
    playbook = Playbook(
        "test",
        VENDOR_TYPES,
        {},
        onboarding=steps,
        onboarding_actions=DECLARED,
        milestones=milestones,
    )
    scored = add_onboarding(make_frame(rows), playbook, NOW, FEATURES).with_columns(
        pl.lit(1, pl.Int64).alias("recorded")
    )
    news = find_news(scored, playbook, NOW)
    found = {
        row[0]
        for row in (
            *find_milestones(scored, playbook, NOW).rows(),
            *find_progress(scored, playbook, NOW).rows(),
        )
    }
    assert set(news.filter("onboarding_news")["supplier_id"]) == found


# ── season, and the end of the path ───────────────────────────────────────────────────────────────────────────────────

ONE_STEP = {"day1": OnboardingStep(1, ["first_login"], "In")}


@pytest.mark.parametrize(
    ("days_behind", "season_index", "state"),
    [
        (0.9, 1.0, "on_track"),
        (1.0, 1.0, "behind"),
        (6.9, 1.0, "behind"),
        (7.0, 1.0, "stuck"),
        (1.9, 0.5, "on_track"),  # in a slack month a day is half a day…
        (2.0, 0.5, "behind"),
        (13.9, 0.1, "behind"),  # …and never less
        (14.0, 0.1, "stuck"),
        (88.9, 0.1, "stuck"),
        (89.1, 1.0, None),  # after 90 days nobody is being onboarded any more
    ],
)
def test_behind_and_stuck_as_the_season_lets_days_count(
    days_behind: float, season_index: float, state: str | None
) -> None:
    frame = make_frame([{"account_created_at": ago(1 + days_behind), "season_index": season_index}])
    assert add_onboarding(frame, playbook_of(ONE_STEP), NOW)["onboarding_state"].item() == state


# ── the supplier's checklist ──────────────────────────────────────────────────────────────────────────────────────────


def row_of(**row: Any) -> dict[str, Any]:
    counts = {name: 0 for name, dtype in SIGNAL_SCHEMA.items() if dtype == pl.Int64()}
    frame = frame_of(
        {
            "supplier_id": "s",
            "season_index": 1.0,
            **counts,
            "clients_added": 0,
            "onboarding_kept": 0,
            **row,
        }
    )
    extra = {name: row[name] for name in ("timezone", "activation_shown") if name in row}
    return add_onboarding(frame, WEDDINGS, NOW, FEATURES).row(0, named=True) | extra


def test_the_checklist_of_a_vendor_type() -> None:
    # 23:30 in Vienna on the 17th is the 17th there, and the due days are the supplier's own
    began = datetime(2026, 11, 17, 23, 30, tzinfo=UTC)
    row = row_of(
        vendor_type="venue",
        account_created_at=began,
        vendor_type_selected_at=began,
        timezone="Europe/Vienna",
    )
    found = checklist(row, WEDDINGS, NOW)
    assert found is not None
    assert [step.id for step in found.steps] == [
        "day0",
        "day1",
        "day3",
        "calendar",
        "day7",
        "day14",
    ]
    assert (found.title, found.done, found.total, found.state) == ("Getting started", 0, 6, "stuck")
    assert [step.due_on for step in found.steps][:3] == [
        date(2026, 11, 18),
        date(2026, 11, 19),
        date(2026, 11, 21),
    ]
    first = found.steps[0]
    assert [(action.id, action.done) for action in first.actions] == [
        ("account_created", True),
        ("vendor_type_selected", True),
        ("completed_wizard", False),
    ]
    assert (
        first.actions[2].title == "Finish the set-up wizard"
        and first.actions[2].url == "/onboarding"
    )
    photographer = checklist(row | {"vendor_type": "photographer"}, WEDDINGS, NOW)
    assert photographer is not None, "what the row asks was settled when it was scored"
    other = checklist(row_of(vendor_type="photographer", account_created_at=began), WEDDINGS, NOW)
    assert other is not None and "calendar" not in [step.id for step in other.steps]


def test_the_checklist_speaks_the_readers_language() -> None:
    row = row_of(vendor_type="dj", account_created_at=ago(2))
    german = checklist(row, WEDDINGS, NOW, "de-AT")
    assert german is not None
    assert german.title == "Die ersten Schritte"
    assert german.steps[0].title == "Konto eingerichtet"
    assert "song_list" in [step.id for step in german.steps]
    assert german.steps[0].actions[1].title == "Sagen Sie uns, was Sie machen"
    icelandic = checklist(row, WEDDINGS, NOW, "is")
    assert icelandic is not None and icelandic.steps[0].title == "Account set up"


def test_no_checklist_where_there_is_nothing_to_do() -> None:
    everything = dict.fromkeys(ACTION_TIMES.values(), ago(5)) | {"clients_active_30d": 3}
    assert checklist(row_of(), WEDDINGS, NOW) is None, "its beginning was never seen"
    assert checklist(row_of(account_created_at=ago(91)), WEDDINGS, NOW) is None, "its time is over"
    just_done = row_of(**everything)
    found = checklist(just_done, WEDDINGS, NOW)
    assert found is not None and found.state == "done" and found.done == found.total
    assert checklist(just_done | {"activation_shown": True}, WEDDINGS, NOW) is None, (
        "done, and celebrated"
    )
    assert checklist(row_of(**everything, activated_at=ago(3)), WEDDINGS, NOW) is not None
    assert checklist(row_of(**everything, activated_at=ago(15)), WEDDINGS, NOW) is None, "long ago"


# ── what is new, and what was only never looked for ───────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("began", "added", "watch", "fresh"),
    [
        (400, 400, Watch(None, frozenset()), False),  # the first run over a platform's history
        (
            400,
            400,
            Watch(ago(1), frozenset({"many"})),
            True,
        ),  # the run before looked, and it was not so
        (400, 400, Watch(ago(1), frozenset()), False),  # a milestone just written into the playbook
        (400, 0.5, Watch(ago(1), frozenset({"many"})), False),  # a supplier brought in since
        (10, 0.5, Watch(None, frozenset()), True),  # nothing about it can be old
        (None, 400, Watch(None, frozenset()), False),
    ],
)
def test_only_what_is_new_is_fresh(
    began: float | None, added: float, watch: Watch, fresh: bool
) -> None:
    milestones = {
        "many": Milestone("Many", "!", "clients_active_30d >= 4"),
        "first_form": Milestone("Form", "!"),
    }
    playbook = Playbook("test", VENDOR_TYPES, {}, milestones=milestones)
    row = {"clients_active_30d": 4, "added_at": ago(added), "first_form_at": ago(300)}
    frame = make_frame([row | ({} if began is None else {"account_created_at": ago(began)})])
    reported = find_fresh(find_milestones(frame, playbook, NOW), frame, playbook, watch, NOW)
    assert dict(reported.select("milestone_type", "fresh").iter_rows()) == {
        "many": fresh,
        "first_form": True,
    }


def test_full_activation_is_as_new_as_its_latest_dated_action() -> None:
    playbook = Playbook(
        "test",
        VENDOR_TYPES,
        {},
        milestones={"fully_activated": Milestone("Done", "!", "fully_activated")},
    )
    for latest, fresh in ((3, True), (40, False)):
        frame = make_frame(
            [
                {
                    "account_created_at": ago(60),
                    "first_journey_at": ago(latest),
                    "first_login_at": ago(59),
                }
            ]
        )
        frame = frame.with_columns(pl.lit(True).alias("fully_activated"))
        reported = find_fresh(
            find_milestones(frame, playbook, NOW), frame, playbook, Watch(None, frozenset()), NOW
        )
        assert reported["fresh"].to_list() == [fresh]

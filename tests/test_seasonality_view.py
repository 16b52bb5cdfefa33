"""The season as people see it: weeks, words, the page and the command."""

import asyncio
import html
import json
import re
from datetime import date, timedelta
from typing import Any

import polars as pl
import pytest
from typer.testing import CliRunner

from everafter.cli import app
from everafter.core.db import connection
from everafter.seasonality.charts import draw_season, find_top
from everafter.seasonality.queries import read_view
from everafter.seasonality.view_model import SHOWN_DAYS, VIEW_SCHEMA, SeasonAnswer
from everafter.seasonality.view_rules import describe_season, describe_stopped
from helpers_pages import TODAY, signed_in
from helpers_server import Server

LAST = TODAY - timedelta(days=1)


def days_of(
    vendor_type: str,
    hemisphere: str = "north",
    *,
    days: int = 60,
    logins: float = 0.5,
    expected: float = 3.0,
    measured: int | None = None,
    stopped: tuple[int, ...] = (),
) -> list[tuple[Any, ...]]:
    """Rows of a group and of its hemisphere; days are counted back from the last."""
    rows: list[tuple[Any, ...]] = []
    for back in range(days):
        day, off = LAST - timedelta(days=back), back in stopped
        known = not off and (measured is None or back < measured)
        rows += [
            (
                day,
                hemisphere,
                vendor_type,
                0.0 if off else 0.4,
                0.004 if off else logins,
                expected,
                off,
                0.8,
                1.0,
                False,
            ),
            (day, hemisphere, "", None, 0.0 if known else None, expected, off, 0.0, 1.0, False),
        ]
    return rows


def described(*rows: tuple[Any, ...]) -> SeasonAnswer:
    return describe_season(pl.DataFrame(list(rows), schema=VIEW_SCHEMA, orient="row"), 0.6)


def test_a_group_in_words() -> None:
    answer = described(*days_of("photographer", logins=0.46))
    (group,) = answer.groups
    assert group.description == "Photographers in the north did 46 % of their usual last week"
    assert (group.season_index, group.off_season, group.source) == (0.4, True, "measured")
    assert (group.logins_last_week, group.uses_last_week) == (
        pytest.approx(0.46),
        pytest.approx(0.8),
    )
    assert answer.measured_until == LAST and answer.measured_from == LAST - timedelta(days=59)


def test_weeks_end_on_the_last_day_and_leave_out_days_that_did_not_arrive() -> None:
    rows = [
        (*row[:4], 1.0 if row[0] > LAST - timedelta(days=7) else 0.2, *row[5:])
        for row in days_of("dj", days=15)
        if row[2]
    ]
    rows += [row for row in days_of("dj", days=15, stopped=(2,)) if not row[2]]
    rows = [
        (*row[:4], 0.004, row[5], True, *row[7:])
        if row[2] and row[0] == LAST - timedelta(days=2)
        else row
        for row in rows
    ]
    answer = described(*rows)
    weeks = answer.groups[0].weeks
    assert [week.until for week in weeks] == [LAST - timedelta(days=back) for back in (14, 7, 0)]
    assert [week.logins for week in weeks] == [pytest.approx(x) for x in (0.2, 0.2, 1.0)]
    assert [(one.day, one.channel, one.hemisphere) for one in answer.stopped] == [
        (LAST - timedelta(days=2), "logins", "north")
    ]
    assert describe_stopped(answer.stopped) == [(LAST - timedelta(days=2), "Logins of the north")]


def test_a_week_without_logins() -> None:
    (group,) = described(*days_of("dj", stopped=tuple(range(7)))).groups
    assert (
        group.logins_last_week is None and group.season_index is None and group.off_season is None
    )
    assert group.description == "No logins of DJs in the north arrived last week"


@pytest.mark.parametrize(
    ("expected", "measured", "source"),
    [
        (30 / 28, None, "measured"),
        (29 / 28, None, "hemisphere"),
        (3.0, 0, "published"),
        (3.0, 1, "measured"),
    ],
)
def test_where_the_index_comes_from(expected: float, measured: int | None, source: str) -> None:
    (group,) = described(*days_of("dj", expected=expected, measured=measured)).groups
    assert group.source == source
    if source == "published":
        assert "are expected to have done 50 % of their usual" in group.description


def test_groups_without_active_suppliers_are_left_out() -> None:
    rows = [(*row[:8], 0.0, row[9]) for row in days_of("dj", expected=0.0)]
    answer = described(*rows, *days_of("venue", "south"))
    assert [group.name for group in answer.groups] == ["venues in the south"]
    assert described().measured_until is None


def test_the_chart_separates_what_is_measured() -> None:
    answer = described(
        *days_of("dj", days=70, measured=35), *days_of("dj", "south", days=70, logins=9.0)
    )
    assert find_top(answer.groups) == 2.5 and find_top([]) == 1.5
    chart = draw_season(answer.groups, answer.stopped, LAST, 2.5)
    assert [(line.hemisphere, line.measured) for line in chart.lines] == [
        ("north", False),
        ("north", True),
        ("south", True),
    ]
    assert chart.lines[0].points.split()[-1] == chart.lines[1].points.split()[0]
    for line in chart.lines:
        for point in line.points.split():
            x, y = map(float, point.split(","))
            assert chart.left <= x <= chart.right and chart.top <= y <= chart.bottom
    assert [hemisphere for hemisphere, _, _ in chart.ends] == ["north", "south"]
    assert all(chart.left <= tick.at <= chart.right for tick in chart.months)


# ── over HTTP ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def words_of(markup: str) -> str:
    return html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", markup)))


def add_rows(server: Server, rows: list[tuple[Any, ...]]) -> None:
    for day, hemisphere, kind, index, logins, expected, stopped, uses, uses_expected, _ in rows:
        server.sql(
            """
            INSERT INTO season_index (
              day, hemisphere, vendor_type, season_index, login_activity, login_state, login_precision, login_seen,
              login_expected, login_stopped, use_activity, use_state, use_precision, use_seen, use_expected, use_stopped
            )
            VALUES (%s, %s, %s, %s, %s, 0, 1, 0, %s, %s, %s, 0, 1, 0, %s, false)
            """,
            day,
            hemisphere,
            kind,
            index,
            logins,
            expected,
            stopped,
            uses,
            uses_expected,
        )


def test_the_command_counts_the_stopped_days_that_it_leaves_out(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVERAFTER_DATABASE_URL", server.database)
    monkeypatch.setenv("EVERAFTER_DATA", str(server.settings.data))
    add_rows(server, days_of("dj", days=20, stopped=(3, 4, 5, 6, 7, 8)))
    shown = CliRunner().invoke(app, ["season"]).output
    assert shown.count("did not arrive") == 5 and "and 1 earlier day\n" in shown


def test_the_page(server: Server) -> None:
    with signed_in(server) as client:
        assert "No season measured yet" in client.get("/insights/season").text
        add_rows(server, days_of("photographer", days=20, logins=0.46, stopped=(9,)))
        page = client.get("/insights/season")
        text = words_of(page.text)
        assert "Photographers in the north did 46 % of their usual last week." in text
        assert "Days on which events did not arrive" in text and "Logins of the north" in text
        assert page.text.count('class="stopped"') == 2, "in the chart and in its legend"
        assert "The season index compares the last week with a busy week of the year" in text
        assert "weekly means of logins, drawn up to 250 %" in text
        assert "What is still published." in text and "Show as a table" in text
        assert 'href="/insights/season"' in client.get("/insights").text


def test_a_week_without_logins_is_not_called_published(server: Server) -> None:
    add_rows(server, days_of("photographer", days=20, stopped=tuple(range(7))))
    with signed_in(server) as client:
        page = client.get("/insights/season").text
    table = words_of(page.split("every fourth week</caption>")[1].split("</table>")[0])
    assert "– did not arrive" in table and "published" not in table


def test_only_the_last_13_months_are_read(server: Server) -> None:
    add_rows(server, days_of("dj", days=3))
    old = [(row[0] - timedelta(days=SHOWN_DAYS), *row[1:]) for row in days_of("dj", days=3)]
    add_rows(server, old)

    async def read() -> pl.DataFrame:
        async with connection(server.database) as conn:
            return await read_view(conn)

    days = asyncio.run(read())["day"].unique().to_list()
    assert sorted(days) == [LAST - timedelta(days=back) for back in (2, 1, 0)]


def test_the_command(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVERAFTER_DATABASE_URL", server.database)
    monkeypatch.setenv("EVERAFTER_DATA", str(server.settings.data))
    empty = CliRunner().invoke(app, ["season"])
    assert empty.exit_code == 1 and "no day is measured yet" in str(empty.exception)
    add_rows(server, days_of("dj", "south", days=20, logins=1.2, expected=0.5, stopped=(3,)))
    shown = CliRunner().invoke(app, ["season"])
    assert shown.exit_code == 0, shown.output
    assert re.search(
        r"DJs in the south +120 % +80 % +40 % +off season +measured for the hemisphere",
        shown.output,
    )
    assert "Logins of the south did not arrive" in shown.output
    assert "earlier day" not in shown.output
    body = json.loads(CliRunner().invoke(app, ["season", "--json"]).output)
    assert body["measured_until"] == f"{LAST}" and len(body["groups"][0]["weeks"]) == 3
    assert date.fromisoformat(body["groups"][0]["weeks"][0]["until"]) == LAST - timedelta(days=14)


def test_a_year_is_shown_against_its_mean_week() -> None:
    """A small platform's index may be at any level: rates and index share the same logins."""
    rows = days_of("florist", days=399, logins=2.0)
    rows = [
        (*row[:4], 3.0, *row[5:]) if row[2] and (LAST - row[0]).days < 7 else row for row in rows
    ]
    weeks = described(*rows).groups[0].weeks[-52:]
    assert sum(week.logins or 0 for week in weeks) / 52 == pytest.approx(1.0)
    assert (weeks[-1].logins or 0) / (weeks[0].logins or 1) == pytest.approx(1.5)
    young = described(*days_of("florist", days=399, logins=2.0, measured=47 * 7))
    assert young.groups[0].weeks[-1].logins == pytest.approx(2.0)

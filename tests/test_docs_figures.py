"""The figures that the documentation repeats are those of the code and of the shipped playbook."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from importlib import import_module
from typing import Any

import pytest

from everafter.core.admission import Admission
from everafter.core.limits import Limits
from everafter.core.settings import load_settings
from everafter.playbook.loading import load_playbook
from everafter.playbook.model import Playbook
from helpers_docs import read

Number = int | float | str
_WORDS = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Figure:
    """A phrase of a page with `{}` where the figure is.

    source: `module:NAME` below everafter, `playbook:path` of the shipped playbook, or
    `limits:name`. form: what the page shows of the value.
    """

    page: str
    phrase: str
    source: str
    form: Callable[[Any], Number] = lambda value: value


def days(value: timedelta) -> int:
    return value.days


def hours(value: timedelta) -> int:
    return int(value / timedelta(hours=1))


def minutes(value: timedelta | float) -> int:
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    return int(seconds // 60)


def thousands(value: int) -> str:
    return f"{value:,}"


def megabytes(value: int) -> int:
    return value // (1024 * 1024)


def kilobytes(value: int) -> int:
    return value // 1024


def percent(value: float) -> str:
    return f"{value * 100:g}"


def whole(value: float) -> str:
    return f"{value:g}"


def spelled(value: float) -> str:
    return _WORDS[int(value)]


def weeks(value: int) -> str:
    return spelled(value / 7)


def years(value: float) -> str:
    return {365: "year"}[int(value)]


def shares(value: float) -> str:
    return {0.25: "quarter", 0.5: "half", 0.1: "tenth"}[value]


FIGURES = (
    # architecture
    Figure("architecture.md", "slices of {}, ordered", "daily.run:SLICE", thousands),
    Figure("architecture.md", "one read per {} suppliers", "daily.run:SLICE", thousands),
    Figure("architecture.md", "keeps a key for {} seconds", "accounts.key_cache:KeyCache.LIVE_SECONDS", spelled),
    Figure("architecture.md", "stops at {} MB", "events.body:MAX_BYTES", megabytes),
    Figure("architecture.md", "waits a {} of a second", "activity.jobs:GATHER_SECONDS", shares),
    Figure("architecture.md", "rejects older than {} days", "events.jobs:REJECTS_DAYS"),
    Figure("architecture.md", "daily run from 0{}:00 UTC", "daily.jobs:RUN_FROM_HOUR"),
    Figure("architecture.md", "shown {} weeks ago", "recommendations.model:MEASURE_AFTER_DAYS", weeks),
    # methods
    Figure("methods.md", "used in the last {} days", "playbook:health.feature_window_days"),
    Figure("methods.md", "Below {} is critical", "playbook:health.critical_below", whole),
    Figure("methods.md", "below {} at risk", "playbook:health.at_risk_below", whole),
    Figure("methods.md", "25 × share, at most {}", "playbook:segments.default.weights.client_activity", whole),
    Figure("methods.md", "{} below 3 days", "playbook:segments.default.weights.login", whole),
    Figure("methods.md", "30 below {} days", "playbook:segments.default.login_days", lambda steps: whole(steps[0])),
    Figure("methods.md", "20 below {},", "playbook:segments.default.login_days", lambda steps: whole(steps[1])),
    Figure("methods.md", "10 below {}, else 0", "playbook:segments.default.login_days", lambda steps: whole(steps[2])),
    Figure(
        "methods.md", "thresholds are {} days", "playbook:segments.dj.login_days",
        lambda steps: f"{steps[0]:g}, {steps[1]:g} and {steps[2]:g}",
    ),
    Figure("methods.md", "completed forms are worth {} points", "playbook:segments.dj.weights.form_completion", whole),
    Figure("methods.md", "their activity is worth {}", "playbook:segments.venue.weights.client_activity", whole),
    Figure("methods.md", "playbook's floor ({})", "playbook:season.floor"),
    Figure("methods.md", "Below {} a supplier is off season", "playbook:season.off_season_below"),
    Figure("methods.md", "slope is outside {}–1.2", "learning.training_rules:SLOPES", lambda value: value[0]),
    Figure("methods.md", "slope is outside 0.8–{}", "learning.training_rules:SLOPES", lambda value: value[1]),
    Figure("methods.md", "| first {} days |", "scoring.stage_rules:NEW_DAYS"),
    Figure("methods.md", "| to day {} |", "scoring.stage_rules:GROWN_DAYS"),
    Figure("methods.md", "no login for {} days, of which", "scoring.stage_rules:DORMANT_DAYS"),
    Figure("methods.md", "of which at least {} season", "scoring.stage_rules:DORMANT_SEASON_DAYS"),
    Figure("methods.md", "were seen in the last {} days;", "seasonality.model:LIVE_DAYS"),
    Figure("methods.md", "In its first {} days the index", "seasonality.model:WARM_UP_DAYS"),
    Figure("methods.md", "more than {} % of its events", "seasonality.history_rules:_LATE_SHARE", percent),
    Figure("methods.md", "index 1: from {} weeks", "seasonality.model:RATE_DAYS", lambda days: f"{days // 7}"),
    Figure("methods.md", "the {}th percentile", "seasonality.index_rules:_PEAK_PERCENTILE", whole),
    Figure("methods.md", "With fewer than {} login days", "seasonality.inactivity_rules:MIN_LOGIN_DAYS"),
    Figure("methods.md", "ended in the last {} days", "seasonality.history_rules:_GAP_DAYS"),
    Figure("methods.md", "should have been below {}.", "seasonality.inactivity_rules:RARE"),
    Figure("methods.md", "probability is below {}.", "seasonality.inactivity_rules:_OTHERS"),
    Figure("methods.md", "it is {} on the third", "seasonality.inactivity_rules:_DAILY_EARLY"),
    Figure("methods.md", "and {} later:", "seasonality.inactivity_rules:_DAILY_LATE"),
    Figure("methods.md", "counts of the last {} weeks", "seasonality.decline_rules:WEEKS"),
    Figure("methods.md", "dispersion, at least {},", "seasonality.decline_rules:_LEAST_DISPERSION", whole),
    Figure("methods.md", "evidence with {} × its weight", "scoring.churn_rules:EVIDENCE_OF_WEIGHTS", whole),
    Figure("methods.md", "| logins | decline evidence | {:.3f} |", "playbook:churn.login"),
    Figure("methods.md", "| feature use | decline evidence | {:.3f} |", "playbook:churn.feature_usage"),
    Figure("methods.md", "at most 0.3 | {:.2f} |", "playbook:churn.billing"),
    Figure("methods.md", "1 after {} days", "playbook:churn.past_due_full_days", whole),
    Figure("methods.md", "in four weeks | {:.2f} |", "playbook:churn.support_tickets"),
    Figure("methods.md", "{} opened in four weeks", "playbook:churn.tickets_full", whole),
    Figure("methods.md", "in 13 weeks | {:.2f} |", "playbook:churn.client_churn"),
    Figure("methods.md", "a {} of the clients lost", "playbook:churn.client_churn_full", shares),
    Figure("methods.md", "Above {} the level is high", "playbook:churn.high_above"),
    Figure("methods.md", "Above {} it is medium", "playbook:churn.medium_above"),
    Figure("methods.md", "and {} % of all suppliers", "playbook:holdout.global_share", percent),
    Figure("methods.md", "the {} clients with the nearest weddings", "recommendations.model:MOST_CLIENTS"),
    Figure("methods.md", "pairs × lift + {} × parent", "recommendations.effects_rules:STRENGTH", whole),
    Figure("methods.md", "their parent is {:.2f}", "recommendations.effects_rules:PRIOR"),
    Figure("methods.md", "means that {} days later", "recommendations.model:MEASURE_AFTER_DAYS"),
    Figure("methods.md", "a {} of the missing share", "recommendations.model:IMPROVED_SHARE", shares),
    Figure("methods.md", "at least {} in each group", "recommendations.model:MIN_TO_COMPARE", spelled),
    Figure("methods.md", "recommendation counts, for a {}", "recommendations.jobs:_COUNTED_DAYS", years),
    Figure("methods.md", "when a {} of its hours is left", "playbook:support.due_soon_share", shares),
    Figure("methods.md", "Default: the last {} days", "metrics.model:DEFAULT_DAYS"),
    Figure("methods.md", "At most {} scores", "metrics.model:MOST_ROWS", thousands),
    Figure("methods.md", "fewer than {} in total", "metrics.effect_rules:FEWEST"),
    Figure("methods.md", "or {} in a group", "metrics.effect_rules:FEWEST_IN_ARM"),
    Figure("methods.md", "tuned for {}", "metrics.effect_rules:TUNED_FOR"),
    Figure("methods.md", "α = {}", "metrics.effect_rules:ALPHA"),
    Figure("methods.md", "observed for {} days", "metrics.time_rules:_EARLY_DAYS", whole),
    Figure("methods.md", "fewer than {} churned suppliers. - `precision", "metrics.churn_rules:FEWEST", spelled),
    Figure("methods.md", "one day in {} counting back", "metrics.churn_rules:DAYS_APART"),
    Figure("methods.md", "per week for {} days", "metrics.churn_rules:LOOKED_BACK_DAYS"),
    Figure("methods.md", "({})", "metrics.model:HORIZONS", lambda all_: "30, 60 or 90 days" if all_ == (30, 60, 90) else all_),
    # api
    Figure("api.md", "any text of 1 to {} characters", "core.ids:MAX_ID_CHARACTERS"),
    Figure("api.md", "Limits: {} MB per request", "events.body:MAX_BYTES", megabytes),
    Figure("api.md", "{} events per request", "events.segment:MAX_EVENTS", thousands),
    Figure("api.md", "{} KB of properties", "events.model:PROPERTIES_BYTES", kilobytes),
    Figure("api.md", "nested deeper than {} levels", "events.model:PROPERTIES_DEPTH"),
    Figure("api.md", "{} requests per second are accepted with one key", "limits:key_rate", thousands),
    Figure("api.md", "and {} from one address", "limits:address_rate"),
    Figure("api.md", "if it is more than {} hours off", "events.model:BELIEVED_SKEW", hours),
    Figure("api.md", "(files) more than {} hours ahead", "events.model:FUTURE_ALLOWED", hours),
    Figure("api.md", "before {} |", "events.model:EARLIEST", lambda moment: moment.year),
    Figure("api.md", "Traits of more than {} characters", "suppliers.model:TEXT_CHARACTERS"),
    Figure("api.md", "The last {} resources", "activity.model:MAX_RESOURCES"),
    Figure("api.md", "list of at most {}.", "mail.events_model:MOST_EVENTS", thousands),
    Figure("api.md", "`days` (at most {})", "support.model:MAX_DAYS"),
    Figure("api.md", "on a {}-minute grid", "support.model:QUARTER", minutes),
    Figure("api.md", "at least {} hours ahead", "support.model:LEAD", lambda lead: spelled(hours(lead))),
    Figure("api.md", "more than {} days ahead", "support.model:HORIZON_DAYS"),
    Figure("api.md", "already has {} upcoming calls", "coach.api:_MOST_CALLS", spelled),
    Figure("api.md", "`minutes` is 1 to {}", "coach.token_rules:MOST_MINUTES"),
    Figure("api.md", "more than {} KB (or", "core.connections:MAX_HEAD", kilobytes),
    Figure("api.md", "(or {} headers)", "core.connections:MAX_HEADERS"),
    # operations
    Figure("install.md", "at least {} characters", "core.settings:SECRET_CHARACTERS"),
    Figure("operations.md", "current requests, for at most {} s", "server:STOP_SECONDS"),
    Figure("operations.md", "run from 0{}:00 UTC", "daily.jobs:RUN_FROM_HOUR"),
    Figure("operations.md", "one `serve` | {},", "limits:connections", thousands),
    Figure("operations.md", "one /64) | {} |", "limits:connections_per_address"),
    Figure("operations.md", "{} headers, 10 s", "core.connections:MAX_HEADERS"),
    Figure("operations.md", "128 headers, {} s", "limits:head_seconds", whole),
    Figure("operations.md", "on every route | {} s;", "limits:body_seconds", whole),
    Figure("operations.md", "; {} s without a key or token", "limits:anonymous_seconds", whole),
    Figure("operations.md", "{} KB in 20 s", "core.connections:_UNSENT_BYTES", lambda n: n // 1000),
    Figure("operations.md", "20 KB in {} s", "limits:unsent_seconds", whole),
    Figure("operations.md", "key or token in a header | {} requests", "admission:known.max_requests"),
    Figure("operations.md", "64 requests and {} MB at once, half", "admission:known.max_bytes", megabytes),
    Figure("operations.md", "64 requests and {} MB at once, a quarter", "admission:unknown.max_bytes", megabytes),
    Figure("operations.md", "{} MB for ingest", "events.body:MAX_BYTES", megabytes),
    Figure("operations.md", "{} MB elsewhere", "core.admission:MAX_BODY", megabytes),
    Figure("operations.md", "one key | {} a second", "limits:key_rate", thousands),
    Figure("operations.md", "one address | {} a second", "limits:address_rate"),
    Figure("operations.md", "503 when {} are waiting", "accounts.key_cache:KeyCache.MAX_WAITING"),
    Figure("operations.md", "per {} of a second, for all of them", "accounts.key_cache:KeyCache.PAUSE_SECONDS", shares),
    Figure("operations.md", "one known browser | {} in 15", "accounts.model:ACCOUNT_FAILURES"),
    Figure("operations.md", "10 in {} minutes", "accounts.model:FAILURE_WINDOW", minutes),
    Figure("operations.md", "from one address | {} in 15", "accounts.model:ADDRESS_FAILURES"),
    Figure("operations.md", "all addresses | {} in 15", "accounts.model:UNKNOWN_BROWSER_FAILURES"),
    Figure("operations.md", "in the last {} days", "accounts.model:BROWSER_LIMIT", days),
    Figure("operations.md", "an idle connection | {} s", "server:KEEP_ALIVE_SECONDS"),
    Figure("operations.md", "pipelined requests | {} |", "core.connections:_MAX_PIPELINED"),
    Figure("operations.md", "may open minus {};", "server:_OTHER_FILES"),
    Figure("operations.md", "PostgreSQL {} or newer", "core.db:MIN_VERSION"),
    Figure("operations.md", "after each call: 0 to {} minutes", "support.model:MOST_BUFFER", minutes),
    Figure("operations.md", "are expanded for {} days", "support.model:CALENDAR_REACH", days),
    Figure("operations.md", "more than {} occurrences", "support.calendar_value_rules:MOST_REPEATS", thousands),
    Figure("operations.md", "reads it every {} minutes", "support.jobs:READ_EVERY_SECONDS", lambda s: spelled(s / 60)),
    Figure("operations.md", "more than {} MB, 30 seconds", "support.feeds:MOST_BYTES", lambda n: n // 1_000_000),
    Figure("operations.md", "MB, {} seconds, or", "support.feeds:FETCH_SECONDS", whole),
    Figure("operations.md", "or {} seconds of processor time", "support.calendars:_CPU_SECONDS"),
    Figure("operations.md", "more than {} features", "activity.model:MAX_OTHER_FEATURES"),
    Figure("operations.md", "the {} most frequent others", "events.jobs:MAX_TYPES", thousands),
    Figure("operations.md", "15 … minutes, {} times", "mail.rules:MAX_ATTEMPTS", spelled),
    Figure("operations.md", "Rejects are kept for {} days", "events.jobs:REJECTS_DAYS"),
    Figure("operations.md", "runs of the last {} days", "daily.jobs:FINISH_DAYS", spelled),
    # coach, dashboard, playbook
    Figure("coach.md", "at most {} characters; surrounding", "coach.tokens:MOST_CHARACTERS", thousands),
    Figure("coach.md", "at most {} minutes apart", "coach.token_rules:MOST_MINUTES"),
    Figure("coach.md", "{} seconds are tolerated", "coach.token_rules:LEEWAY_SECONDS", spelled),
    Figure("coach.md", "at the latest for {} days", "coach.model:SEASON_DAYS"),
    Figure("coach.md", "cached for {} minutes", "coach.pages:_FRESH_SECONDS", lambda s: spelled(s / 60)),
    Figure("coach.md", "after {} minutes the request waits", "coach.live:KEPT_SECONDS", lambda s: spelled(s / 60)),
    Figure("dashboard.md", "ends after {} hours", "accounts.model:IDLE_LIMIT", hours),
    Figure("dashboard.md", "and after {} days", "accounts.model:ABSOLUTE_LIMIT", days),
    Figure("dashboard.md", "calls of the next {} days", "tickets.page_model:CALL_DAYS", spelled),
    Figure("playbook.md", "(at most {} across", "activity.model:MAX_FEATURES"),
    Figure("playbook.md", "({} clients in 30 days)", "onboarding.model:SEVERAL_ACTIVE", spelled),
    Figure("glossary.md", "threshold ({})", "playbook:season.off_season_below"),
    Figure("glossary.md", "healthy from {},", "playbook:health.at_risk_below", whole),
    Figure("glossary.md", "critical below {}", "playbook:health.critical_below", whole),
    Figure("glossary.md", "Of a run: {}", "daily.run:SLICE", thousands),
    # decisions
    Figure("decisions/0003-activity-ring-buffers.md", "{} days for logins", "activity.model:LOGIN_SLOTS"),
    Figure("decisions/0003-activity-ring-buffers.md", "{} for active clients", "activity.model:ACTIVE_SLOTS"),
    Figure("decisions/0003-activity-ring-buffers.md", "{} weeks for the rest", "activity.model:WEEK_SLOTS"),
    Figure("decisions/0003-activity-ring-buffers.md", "at most {}", "activity.model:MAX_FEATURES"),
    Figure("decisions/0020-coach-tokens-and-tips.md", "caches up to {} suppliers", "coach.live:MOST_KEPT", thousands),
    Figure("decisions/0025-metrics-from-rows.md", "at most {} scores", "metrics.model:MOST_ROWS", thousands),
)  # fmt: skip


@cache
def _playbook() -> Playbook:
    """The playbook that ships."""
    return load_playbook(load_settings({"EVERAFTER_SECRET": "s" * 32}))


def _value(source: str) -> Any:
    where, _, path = source.partition(":")
    here: Any
    if where == "playbook":
        here = _playbook()
    elif where == "limits":
        here = Limits()
    elif where == "admission":
        here = Admission(Limits())
    else:
        here = import_module(f"everafter.{where}")
    for part in path.split("."):
        here = here[part] if isinstance(here, dict) else getattr(here, part)
    return here


@pytest.mark.parametrize("figure", FIGURES, ids=lambda figure: f"{figure.page}-{figure.source}")
def test_figures_are_those_of_the_code(figure: Figure) -> None:
    expected = figure.phrase.format(figure.form(_value(figure.source)))
    text = " ".join(read(figure.page).split())
    assert expected in text, f"{figure.page} does not contain {expected!r}"


def test_the_minutes_of_call_types_are_those_of_the_api_page() -> None:
    from everafter.support.model import CALL_TYPES

    rows = dict(re.findall(r"^\| `(\w+)` \| (\d+) \|$", read("api.md"), re.MULTILINE))
    assert rows == {name: str(call.minutes) for name, call in CALL_TYPES.items()}

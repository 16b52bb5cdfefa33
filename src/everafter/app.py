"""The web application: all handlers, gauges and background jobs."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import cached_property
from importlib import import_module
from typing import Any

from litestar import Litestar, Response, get
from litestar.datastructures import State
from litestar.di import Provide
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.types import ASGIApp

from everafter import __version__
from everafter.accounts.access import provide_viewer, refuse_anonymous
from everafter.accounts.key_cache import KeyCache
from everafter.activity import queries as activity_queries
from everafter.activity.jobs import FoldLoop, keep_features_named
from everafter.coach.live import CoachCache
from everafter.coach.tip_batches import TipBatcher
from everafter.coach.tokens import KeyRing
from everafter.core.admission import MAX_BODY, Admission, receive_body
from everafter.core.db import Pool, make_pool
from everafter.core.http import CrossOriginPaths, HttpRules
from everafter.core.openapi import IdSchemas
from everafter.core.origins import CrossOrigin
from everafter.core.pages import template_config, with_pages
from everafter.core.paths import RestoreSlashes, keep_segments
from everafter.core.probes import Counters
from everafter.core.settings import Settings
from everafter.core.single_flight import SingleFlight
from everafter.core.web import (
    EXCEPTION_HANDLERS,
    ID_DECODERS,
    AnyRequest,
    provide_connection,
    refuse_unknown_parameters,
)
from everafter.events import queries as events_queries
from everafter.events.browser_rules import is_ingest_path
from everafter.events.jobs import housekeep, prepare_months
from everafter.feeds import queries as feeds_queries
from everafter.folding import FOLLOWERS, fold_events
from everafter.mail import outbox_queries
from everafter.metrics.benchmarks import PeerScoresCache
from everafter.openapi import describe_api
from everafter.playbook.loading import load_playbook
from everafter.scoring.live import LiveScorer
from everafter.support import calendar_queries

FACES = (
    "everafter.accounts.pages",
    "everafter.branding.pages",
    "everafter.certificates.pages",
    "everafter.coach.api",
    "everafter.coach.pages",
    "everafter.core.pages",
    "everafter.core.probes",
    "everafter.events.api",
    "everafter.events.browser_api",
    "everafter.scoring.api",
    "everafter.seasonality.pages",
    "everafter.interventions.pages",
    "everafter.learning.pages",
    "everafter.mail.api",
    "everafter.metrics.api",
    "everafter.metrics.pages",
    "everafter.onboarding.api",
    "everafter.funnel.pages",
    "everafter.portfolio.api",
    "everafter.portfolio.pages",
    "everafter.recommendations.api",
    "everafter.recommendations.pages",
    "everafter.reference_pages",
    "everafter.support.api",
    "everafter.support.manage_pages",
    "everafter.tickets.api",
    "everafter.tickets.pages",
)

"""Modules with `handlers`."""

GAUGES = (
    *events_queries.GAUGES,
    *activity_queries.GAUGES,
    *feeds_queries.GAUGES,
    *outbox_queries.GAUGES,
    *calendar_queries.GAUGES,
)

_OPENAPI = OpenAPIConfig(
    title="Everafter",
    version=__version__,
    path="/openapi",
    render_plugins=[JsonRenderPlugin(path="/everafter.json")],
    use_handler_docstrings=True,
)


@get("/openapi.json", include_in_schema=False, sync_to_thread=False)
def openapi(request: AnyRequest) -> Response[dict[str, Any]]:
    """The OpenAPI document."""
    app: Application = request.app  # pyright: ignore[reportAssignmentType]
    return Response(app.description, media_type="application/json")


class Application(Litestar):
    """The routes, behind the HTTP rules of `core.http`."""

    @cached_property
    def _front(self) -> ASGIApp:
        settings: Settings = self.state.settings
        cross_origin = CrossOriginPaths(
            super().__call__, is_ingest_path, CrossOrigin(settings.ingest_origins)
        )
        return keep_segments(HttpRules(self, cross_origin))

    @cached_property
    def description(self) -> dict[str, Any]:
        """The OpenAPI document."""
        return describe_api(self)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self._front(scope, receive, send)


async def _before_request(request: AnyRequest) -> None:
    await refuse_unknown_parameters(request)
    refuse_anonymous(request)
    await receive_body(request)


@asynccontextmanager
async def _running(app: Litestar) -> AsyncGenerator[None]:
    """Open what the application needs while it serves; close it in reverse order."""
    state = app.state
    async with AsyncExitStack() as stack:
        await _open_pools(state, stack)
        _open_scorers(state, stack)
        await prepare_months(state.pool)
        await _start_jobs(state, stack)
        yield


async def _open_pools(state: State, stack: AsyncExitStack) -> None:
    """pool: for handlers. ingest_pool: for ingest, API keys and the fold, so that a flood of other
    requests delays no event. coach_reads: for the coach, in autocommit."""
    state.pool = make_pool(state.url, size=6)
    state.ingest_pool = make_pool(state.url, size=Admission.WORKING + 2)
    state.coach_reads = make_pool(state.url, size=6, autocommit=True)
    pools: tuple[Pool, ...] = (state.pool, state.ingest_pool, state.coach_reads)
    for pool in pools:
        stack.push_async_callback(pool.close)
        await pool.open()

    async def drop_broken() -> None:
        for pool in pools:
            await pool.check()

    loop = asyncio.get_running_loop()
    state.recheck = lambda: asyncio.run_coroutine_threadsafe(drop_broken(), loop)


def _open_scorers(state: State, stack: AsyncExitStack) -> None:
    state.coach = CoachCache(state.url, state.playbook, state.pool)
    state.tip_batcher = TipBatcher(state.pool, state.playbook)
    state.live = LiveScorer(state.url, state.playbook)
    state.peer_scores = PeerScoresCache()
    for scorer in (state.coach, state.tip_batcher, state.live):
        stack.push_async_callback(scorer.close)


async def _start_jobs(state: State, stack: AsyncExitStack) -> None:
    """Start what runs beside the requests: the fold, once the features that the playbook names
    have their slots (or the first attempt at that failed), and housekeeping."""
    features_named = asyncio.Event()
    fold = FoldLoop(state.ingest_pool, state.counters, fold_events)
    state.fold, state.trigger_fold = fold, fold.trigger
    jobs = {
        "features": keep_features_named(state.pool, state.playbook.features, features_named),
        "housekeeping": housekeep(state.pool, fold.trigger),
    }
    stack.push_async_callback(fold.stop)
    tasks = [asyncio.create_task(job, name=name) for name, job in jobs.items()]
    stack.push_async_callback(_cancel, tasks)
    await features_named.wait()
    fold.start()


async def _cancel(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def create_app(settings: Settings, url: str) -> Litestar:
    """The application over a migrated database at `url`.

    Handlers find what they share in `app.state`; once it serves also the pools, the scorers, the
    fold, and `recheck`, which any thread calls when the database is back.

    Raises:
        InputError: the playbook is invalid.
    """
    playbook = load_playbook(settings)

    return Application(
        route_handlers=[
            openapi,
            *(handler for name in FACES for handler in import_module(name).handlers),
        ],
        lifespan=[_running],
        state=State(
            {
                "settings": settings,
                "url": url,
                "playbook": playbook,
                "admission": Admission(settings.limits),
                "coach_keys": KeyRing(settings.secret),
                "counters": Counters(),
                "followers": FOLLOWERS,
                "gauges": GAUGES,
                "key_cache": KeyCache(),
                "single_flight": SingleFlight(),
            }
        ),
        dependencies={"conn": Provide(provide_connection), "viewer": Provide(provide_viewer)},
        before_request=_before_request,
        request_max_body_size=MAX_BODY,
        template_config=template_config(),
        exception_handlers=with_pages(EXCEPTION_HANDLERS),
        logging_config=None,
        openapi_config=_OPENAPI,
        plugins=[IdSchemas()],
        type_decoders=ID_DECODERS,
        middleware=[RestoreSlashes()],
    )

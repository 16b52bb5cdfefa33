"""The web application: every slice's handlers, put together once."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
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
from everafter.accounts.access import provide_viewer, refuse_strangers
from everafter.activity.jobs import keep_features_named
from everafter.coach.live import CoachScorer
from everafter.coach.tip_batches import TipBatcher
from everafter.coach.tokens import KeyRing
from everafter.core.admission import MOST_BODY, Admission, receive_body
from everafter.core.db import Pool, make_pool
from everafter.core.http import HttpRules, OpenDoor
from everafter.core.openapi import IdSchemas
from everafter.core.origins import CrossOrigin
from everafter.core.pages import template_config, with_pages
from everafter.core.paths import GiveSlashesBack, keep_segments
from everafter.core.probes import Counters
from everafter.core.settings import Settings
from everafter.core.shared import Shared
from everafter.core.web import (
    EXCEPTION_HANDLERS,
    ID_DECODERS,
    AnyRequest,
    KeyCache,
    provide_connection,
    refuse_unknown_parameters,
)
from everafter.events.browser_rules import is_entrance
from everafter.events.jobs import FoldLoop, housekeep, prepare_months
from everafter.openapi import describe_api
from everafter.playbook.loading import load_playbook
from everafter.playbook.model import Playbook
from everafter.scoring.live import LiveScorer

# Modules with `handlers`, one line each.
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
    "everafter.interventions.pages",
    "everafter.mail.api",
    "everafter.metrics.api",
    "everafter.metrics.pages",
    "everafter.onboarding.api",
    "everafter.funnel.pages",
    "everafter.portfolio.pages",
    "everafter.recommendations.api",
    "everafter.recommendations.pages",
    "everafter.reference_pages",
    "everafter.support.api",
    "everafter.support.manage_pages",
    "everafter.tickets.api",
    "everafter.tickets.pages",
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
    """The API's description."""
    app: Application = request.app  # pyright: ignore[reportAssignmentType]
    return Response(app.description, media_type="application/json")


class Application(Litestar):
    """The routes, behind what HTTP asks of all of them alike."""

    @cached_property
    def _front(self) -> ASGIApp:
        settings: Settings = self.state.settings
        doors = OpenDoor(super().__call__, is_entrance, CrossOrigin(settings.ingest_origins))
        return keep_segments(HttpRules(self, doors))

    @cached_property
    def description(self) -> dict[str, Any]:
        """The OpenAPI document."""
        return describe_api(self)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self._front(scope, receive, send)


async def _before_request(request: AnyRequest) -> None:
    await refuse_unknown_parameters(request)
    refuse_strangers(request)
    await receive_body(request)


async def _drop_broken(*pools: Pool) -> None:
    """Replace the connections that died with the database, so that no request is given one."""
    for pool in pools:
        await pool.check()


@asynccontextmanager
async def _running(app: Litestar) -> AsyncGenerator[None]:
    """All that an application holds while it serves: connections, the fold, and what runs
    beside."""
    settings: Settings = app.state.settings
    url: str = app.state.url
    playbook: Playbook = app.state.playbook
    pool = make_pool(url, size=6)
    app.state.pool = pool
    # its own, so that a flood of anything else does not hold up events and keys
    ingest_pool = make_pool(url, size=Admission.WORKING + 2)  # keys and the fold
    app.state.ingest_pool = ingest_pool
    app.state.fold = FoldLoop(ingest_pool, app.state.counters)
    app.state.admission = Admission(settings.limits)
    app.state.live = LiveScorer(url, playbook)
    reads = make_pool(url, size=6, autocommit=True)
    app.state.coach_reads = reads
    app.state.coach = CoachScorer(url, playbook, pool)
    app.state.coach_keys = KeyRing(settings.secret)
    app.state.tip_batcher = TipBatcher(pool, playbook)
    await pool.open()
    await ingest_pool.open()
    await reads.open()
    loop = asyncio.get_running_loop()
    app.state.recheck = lambda: asyncio.run_coroutine_threadsafe(
        _drop_broken(pool, ingest_pool, reads), loop
    )
    await prepare_months(pool)
    named = asyncio.Event()
    naming = asyncio.create_task(keep_features_named(pool, playbook, named), name="features")
    await named.wait()
    app.state.fold.start()
    tending = asyncio.create_task(housekeep(pool, app.state.fold), name="housekeep")
    try:
        yield
    finally:
        tending.cancel()
        naming.cancel()
        await asyncio.gather(tending, naming, return_exceptions=True)
        await app.state.fold.stop()
        await app.state.live.close()
        await app.state.tip_batcher.close()
        await app.state.coach.close()
        await reads.close()
        await ingest_pool.close()
        await pool.close()


def create_app(settings: Settings, url: str) -> Litestar:
    """The application over a migrated database at `url`.

    `app.state` holds settings, url, pool, playbook, key_cache (`core.web.KeyCache`), counters,
    admission (`core.admission.Admission`), ingest_pool and fold (`events.jobs.FoldLoop`); once it
    runs also recheck, to be called from any thread when the database is back.

    Raises:
        InputError: the playbook cannot be followed.
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
                "key_cache": KeyCache(),
                "counters": Counters(),
                "shared": Shared(),
            }
        ),
        dependencies={"conn": Provide(provide_connection), "viewer": Provide(provide_viewer)},
        before_request=_before_request,
        request_max_body_size=MOST_BODY,
        template_config=template_config(),
        exception_handlers=with_pages(EXCEPTION_HANDLERS),
        logging_config=None,
        openapi_config=_OPENAPI,
        plugins=[IdSchemas()],
        type_decoders=ID_DECODERS,
        middleware=[GiveSlashesBack()],
    )

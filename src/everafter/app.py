"""The web application: every slice's handlers, put together once."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psycopg
from litestar import Litestar
from litestar.di import Provide
from litestar.exceptions import HTTPException
from litestar.openapi import OpenAPIConfig
from psycopg_pool import PoolTimeout

from everafter import __version__
from everafter.core.db import make_pool
from everafter.core.errors import EverafterError
from everafter.core.settings import Settings
from everafter.core.web import on_database_error, on_everafter_error, on_http_error, provide_connection


def create_app(settings: Settings, url: str) -> Litestar:
    """The application over a migrated database at `url`."""
    pool = make_pool(url, size=10)

    @asynccontextmanager
    async def lifespan(app: Litestar) -> AsyncIterator[None]:
        app.state.settings, app.state.pool, app.state.url = settings, pool, url
        await pool.open()
        try:
            yield
        finally:
            await pool.close()

    return Litestar(
        route_handlers=[],
        lifespan=[lifespan],
        dependencies={"conn": Provide(provide_connection)},
        exception_handlers={
            EverafterError: on_everafter_error,
            HTTPException: on_http_error,
            psycopg.OperationalError: on_database_error,
            PoolTimeout: on_database_error,
        },
        openapi_config=OpenAPIConfig(title="Everafter", version=__version__, path="/docs"),
    )

"""Database connections: the error without a database, and timeouts of idle transactions."""

import asyncio

from everafter.core import db


def test_the_error_without_a_database_hides_the_password() -> None:
    async def reach() -> str:
        try:
            await db.connect("postgresql://someone:hunter2@127.0.0.1:9/none")
        except db.DatabaseUnavailableError as error:
            return error.message
        raise AssertionError("something answered")

    reported = asyncio.run(reach())
    assert "127.0.0.1:9/none" in reported and "hunter2" not in reported


def test_idle_transactions_are_ended_by_the_server(database: str) -> None:
    """PostgreSQL ends a transaction that is idle for a minute, and releases its locks."""

    async def ask() -> list[object]:
        pool = db.make_pool(database)
        await pool.open()
        try:
            async with db.connection(database) as one, pool.connection() as another:
                cursors = [
                    await conn.execute("SHOW idle_in_transaction_session_timeout")
                    for conn in (one, another)
                ]
                return [(await cursor.fetchone() or [None])[0] for cursor in cursors]
        finally:
            await pool.close()

    assert asyncio.run(ask()) == ["1min", "1min"]

"""Connections: what they say when there is none, and what they never do to others."""

import asyncio

from everafter.core import db


def test_no_database_is_said_without_the_password() -> None:
    async def reach() -> str:
        try:
            await db.connect("postgresql://someone:hunter2@127.0.0.1:9/none")
        except db.DatabaseUnavailableError as error:
            return error.message
        raise AssertionError("something answered")

    reported = asyncio.run(reach())
    assert "127.0.0.1:9/none" in reported and "hunter2" not in reported


def test_nobody_waits_for_a_frozen_process_for_ever(database: str) -> None:
    """The server ends a transaction in which nothing is asked for a minute, with the locks it holds."""

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

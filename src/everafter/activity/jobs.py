"""What the fold needs of the playbook in force, kept right beside the web server."""

import asyncio
import logging

from everafter.activity.feature_queries import name_features
from everafter.core.db import Pool
from everafter.playbook.model import Playbook

log = logging.getLogger("everafter.fold")

RETRY_SECONDS = 5.0


async def keep_features_named(pool: Pool, playbook: Playbook, first_try: asyncio.Event) -> None:
    """Give the playbook's features their slots; without a database, as soon as it is back.

    Args:
        first_try: set after the first attempt, so that a server can wait for it before it answers.
    """
    while True:
        try:
            async with pool.connection() as conn:
                await name_features(conn, playbook.features)
            return
        except Exception:
            log.exception(
                "the playbook's features could not be given their slots; trying again in %.0f s",
                RETRY_SECONDS,
            )
        finally:
            first_try.set()
        await asyncio.sleep(RETRY_SECONDS)

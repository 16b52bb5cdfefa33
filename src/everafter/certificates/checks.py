"""What `everafter doctor` checks of certificates: whether all that were earned can be printed."""

import asyncio
from datetime import datetime

from everafter.certificates.queries import list_honoured_names
from everafter.core.checks import Check
from everafter.core.db import Connection
from everafter.core.formatting import plural
from everafter.core.settings import Settings


async def check_certificates(conn: Connection, settings: Settings, now: datetime) -> list[Check]:
    """Whether all certificates that were earned can be printed; no line if so."""
    return await asyncio.to_thread(describe_certificates, await list_honoured_names(conn))


def describe_certificates(names: list[str]) -> list[Check]:
    """The line on names that cannot be printed; none if all can. Blocks."""
    if not names:
        return []
    from everafter.certificates.typefaces import why_not_for  # imports typst

    reasons = [(name, reason) for name in names if (reason := why_not_for(name))]
    if not reasons:
        return []
    name, reason = reasons[0]
    found = f"{plural(len(reasons), 'certificate')} not sent or shown; for {name[:60]!r}: {reason}"
    return [
        Check(
            "certificates",
            "warn",
            found,
            "install a typeface with these characters, for example the package fonts-noto-cjk",
        )
    ]

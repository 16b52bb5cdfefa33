"""Environment variables that look like a setting of Everafter but are not."""

import difflib
import re
from collections.abc import Iterable, Mapping

from everafter.core.settings import SETTING_NAMES

_PREFIX = "EVERAFTER_"
_CLIENT_NAMES = frozenset(
    _PREFIX + name for name in ("INGEST_KEY", "READ_KEY", "WRITE_KEY", "COACH_KEY", "COACH_TOKEN")
)
"""Read by programs that call Everafter, as in `examples/`; they may share its environment."""
_ORCHESTRATOR = re.compile(r"_SERVICE_(HOST|PORT)|_PORT_\d+_(TCP|UDP)")
"""Variables that Kubernetes sets for a service named `everafter`."""


def find_unknown(env: Mapping[str, str]) -> list[tuple[str, str | None]]:
    """Each variable with our prefix that no setting has, and the setting with the nearest name,
    null when none is near.

    >>> find_unknown({"EVERAFTER_SMPT_URL": "smtp://mail.example", "EVERAFTER_DATA": "/srv"})
    [('EVERAFTER_SMPT_URL', 'EVERAFTER_SMTP_URL')]
    >>> find_unknown({"EVERAFTER_SECRET_FLIE": "/run/secret", "EVERAFTER_ZZ": ""})
    [('EVERAFTER_SECRET_FLIE', 'EVERAFTER_SECRET_FILE'), ('EVERAFTER_ZZ', None)]
    """
    known = [name + ending for name in SETTING_NAMES for ending in ("", "_FILE")]
    return [
        (name, _nearest(name, known))
        for name in sorted(env)
        if _is_ours(name, env[name]) and name not in known
    ]


def describe_unknown(env: Mapping[str, str]) -> list[str]:
    """One sentence for each variable that `find_unknown` names."""
    return [
        f"{name} is not a setting" + (f"; did you mean {near}?" if near else " and is ignored")
        for name, near in find_unknown(env)
    ]


def _is_ours(name: str, value: str) -> bool:
    if not name.startswith(_PREFIX) or name.startswith(f"{_PREFIX}TEST_") or name in _CLIENT_NAMES:
        return False
    return not (_ORCHESTRATOR.search(name) or value.startswith(("tcp://", "udp://")))


def _nearest(name: str, known: Iterable[str]) -> str | None:
    """Compared without the prefix, which all names share."""
    short = {one.removeprefix(_PREFIX): one for one in known}
    near = difflib.get_close_matches(name.removeprefix(_PREFIX), short, n=1, cutoff=0.6)
    return short[near[0]] if near else None

"""Sample suppliers for checking email templates. Pure."""

from typing import Any

import polars as pl

from everafter.mail.formatting import CALL_FACTS
from everafter.signals.model import SIGNAL_SCHEMA

_CALL = {
    "starts_at": "2026-12-01T14:30:00Z",
    "ends_at": "2026-12-01T14:45:00Z",
    "was_starts_at": "2026-11-30T14:30:00Z",
    "timezone": "Europe/London",
}
_STEP = {
    "title": "Send one form",
    "body": "It takes a minute.",
    "reason": "You have not sent one yet.",
    "action_label": "Send it",
    "action_url": "/forms",
}


def sample_facts() -> dict[str, dict[str, Any]]:
    """Facts of suppliers with unknown, small and large figures, by description."""
    texts = {name: "studio" for name, dtype in SIGNAL_SCHEMA.items() if dtype == pl.String()} | {
        "vendor_type": "photographer"
    }
    call = {
        name: "https://platform.example/x" if name.endswith("_url") else "Nora Lind"
        for name in CALL_FACTS
    } | _CALL
    known = {"name": "Golden Hour", **texts, **call}

    def every(number: float, *, yes: bool) -> dict[str, Any]:
        values = {
            name: yes if dtype == pl.Boolean() else number
            for name, dtype in SIGNAL_SCHEMA.items()
            if dtype != pl.String()
        }
        return {**known, **values}

    return {
        "without known facts": {},
        "with 0 of everything": every(0, yes=False),
        "with 1 of everything": {**every(1, yes=True), "next_steps": [_STEP]},
        "with 2 of everything": every(2, yes=False),
        "with 14 of everything": {
            **every(14, yes=True),
            "next_steps": [_STEP, {**_STEP, "action_url": "/clients"}],
        },
        "without a name": {**every(5, yes=False), "name": ""},
    }

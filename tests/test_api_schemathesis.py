"""schemathesis asks every operation as the description says, and as it does not: every answer must be one that is described.

schemathesis.toml has its checks, and what the description cannot express.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from everafter.core.limits import Limits
from everafter.core.settings import Settings
from helpers_server import Server, serving

SUPPLIER = "0b5e7a10-5a1e-4c0d-9a7e-1f2d3c4b5a69"
"""The one of the description's examples."""
SCOPES = ("ingest", "read", "write", "coach")


@pytest.fixture(scope="module")
def server(module_settings: Settings) -> Iterator[Server]:
    # many wrong keys come from one address here, and each is to hear 401
    limits = Limits(address_rate=0)
    with serving(replace(module_settings, limits=limits), own_address=True) as running:
        yield running


@pytest.fixture(scope="module")
def keys(server: Server) -> dict[str, str]:
    """A key of each scope and a coach token, for the supplier of the examples, who has a history."""
    keys: dict[str, str] = {scope: server.key(scope) for scope in SCOPES}  # pyright: ignore
    began = (datetime.now(UTC) - timedelta(days=40)).isoformat()
    traits = {
        "name": "Rosewood",
        "email": "hello@rosewood.example",
        "vendor_type": "photographer",
        "createdAt": began,
    }
    events: list[dict[str, Any]] = [
        {"type": "identify", "traits": traits},
        {"type": "track", "event": "login"},
        {
            "type": "track",
            "event": "client_added",
            "properties": {"client_id": "a", "wedding_date": "2027-06-12"},
        },
    ]
    batch = [
        {**event, "userId": SUPPLIER, "messageId": str(number)}
        for number, event in enumerate(events)
    ]
    sent = httpx.post(
        f"{server.base_url}/v1/batch", json={"batch": batch}, headers=bearer(keys["ingest"])
    )
    assert sent.json()["rejected"] == []
    server.wait_folded()
    asked = httpx.post(
        f"{server.base_url}/api/coach/tokens",
        json={"supplier_id": SUPPLIER},
        headers=bearer(keys["coach"]),
    )
    return {**keys, "token": asked.json()["token"]}


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def run(server: Server, folder: Path, keys: dict[str, str], *options: str) -> None:
    """Run schemathesis from an empty folder; it fails the test with all that it says."""
    environment = {f"EVERAFTER_{name.upper()}_KEY": key for name, key in keys.items()}
    environment["EVERAFTER_COACH_TOKEN"] = keys["token"]
    config = Path(__file__).parent / "schemathesis.toml"
    program = [
        str(Path(sys.executable).parent / "st"),
        "--config-file",
        str(config),
        "run",
        f"{server.base_url}/openapi.json",
    ]
    done = subprocess.run(
        [*program, "--seed=7", "--generation-deterministic", "--no-color", *options],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-2_000:]
    assert re.search(r"Tested: [5-9]\d", done.stdout), done.stdout


def test_everything_with_the_keys_that_are_needed(
    server: Server, keys: dict[str, str], tmp_path: Path
) -> None:
    run(server, tmp_path, keys, "--phases=examples,coverage,fuzzing,stateful", "--max-examples=2")


def test_everything_without_a_key(server: Server, keys: dict[str, str], tmp_path: Path) -> None:
    """What each key of another scope hears is in test_api_openapi.py."""
    run(
        server,
        tmp_path,
        dict.fromkeys(keys, "not-a-key"),
        "--phases=examples,fuzzing",
        "--max-examples=1",
    )

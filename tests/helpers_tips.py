"""A playbook of four tips, and servers that speak it."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from everafter.core.settings import Settings
from everafter.playbook.loading import playbook_path
from helpers_coach import send
from helpers_server import Server, serving

# Three tips by priority: one of every page, one of the forms, one of the off season; nobody is in the holdout.
TIPS = """
[coach]
hours_between_tips = {hours}

[tips.everywhere]
when = "clients_total >= 1"
title = "Hello {{name}}"
body = "You have {{clients_total}} clients."
reason = "{{clients_total}} clients are on your books."
action_label = "Go"
action_url = "/clients"
success = "clients_total >= 100"
priority = 90
holdout = {holdout}
cooldown_days = 30
success_days = 10

[tips.everywhere.translations.de]
title = "Hallo"
body = "Sie haben {{clients_total}} Paare."

[tips.only_forms]
when = "clients_total >= 1"
pages = ["/forms*"]
title = "Forms"
body = "Forms."
reason = "{{clients_total}} clients"
action_label = "Go"
action_url = "/forms"
success = "forms_sent_13w >= 1"
priority = 80
holdout = {holdout}

[tips.djs]
when = "clients_total >= 1"
vendor_types = ["dj"]
title = "Music"
body = "Music."
reason = "{{clients_total}} clients"
action_label = "Go"
action_url = "/forms"
success = "forms_sent_13w >= 1"
priority = 95
holdout = {holdout}

[tips.more_than_five]
when = "clients_total > 5"
title = "Five"
body = "Five."
reason = "{{clients_total}} clients"
action_label = "Go"
action_url = "/clients"
success = "clients_total > 50"
priority = 10
holdout = {holdout}
"""


def write_playbook(
    settings: Settings, tmp_path: Path, *, hours: float = 0, holdout: float = 0.0, more: str = ""
) -> Settings:
    shipped = playbook_path(settings).read_text(encoding="utf-8")
    tables = re.split(r"^(?=\[)", shipped, flags=re.MULTILINE)
    others = [table for table in tables if not table.startswith(("[coach]", "[tips."))]
    text = "".join(others) + TIPS.format(hours=hours, holdout=holdout) + more
    text = text.replace("global_share = 0.05", "global_share = 0.0")
    path = tmp_path / "playbook.toml"
    path.write_text(text, encoding="utf-8")
    return replace(settings, playbook=path)


@contextmanager
def serving_with(settings: Settings, tmp_path: Path, **changes: Any) -> Iterator[Server]:
    with serving(write_playbook(settings, tmp_path, **changes)) as running:
        yield running


def add_clients(server: Server, supplier: str, number: int = 2) -> None:
    send(server, supplier, *[("client_added", 3.0, {"client_id": f"c{n}"}) for n in range(number)])


def history(server: Server) -> list[tuple[Any, ...]]:
    return server.sql(
        "SELECT trigger, status, channel FROM interventions WHERE channel = 'tip' ORDER BY evaluated_at, trigger"
    )


def rejudge(server: Server) -> None:
    """As a minute later: nothing that was scored is kept."""
    server.app.state.coach.clear()


@pytest.fixture
def coach(settings: Settings, tmp_path: Path) -> Iterator[Server]:
    """A server whose playbook has four tips and no rest between them."""
    with serving(write_playbook(settings, tmp_path)) as running:
        yield running

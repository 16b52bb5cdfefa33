"""Deployment files: they refer to existing commands, files and settings, and match the limits."""

import configparser
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from everafter import __version__
from everafter.cli import load_command
from everafter.core import limits
from everafter.core.settings import SETTING_NAMES
from everafter.events.body import MAX_BYTES
from everafter.server import KEEP_ALIVE_SECONDS, STOP_SECONDS
from helpers_source import ROOT

KNOWN = {name + ending for name in SETTING_NAMES for ending in ("", "_FILE")}
UNITS = sorted((ROOT / "deploy" / "systemd").glob("*.service"))


def check_command(words: list[str]) -> None:
    """Check that `everafter WORDS` is a command with these options."""
    options = {option for param in load_command(words[0]).params for option in param.opts}
    assert {word for word in words if word.startswith("--")} <= options


# ── Dockerfile ────────────────────────────────────────────────────────────────────────────────────────────────────────


def instructions() -> list[tuple[str, str]]:
    text = re.sub(r"\\\n\s*", " ", (ROOT / "Dockerfile").read_text(encoding="utf-8"))
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(line.partition(" ")[0], line.partition(" ")[2].strip()) for line in lines]


def test_the_base_images_are_pinned_to_a_version() -> None:
    bases = [value.split()[0] for name, value in instructions() if name == "FROM"]
    assert len(bases) == 2 and len(set(bases)) == 1
    assert re.fullmatch(r"python:3\.\d+\.\d+-slim-\w+", bases[0])


def test_copied_files_exist_and_are_not_ignored() -> None:
    sent = {
        line[1:]
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line.startswith("!")
    }
    copied = [
        word
        for name, value in instructions()
        if name == "COPY" and "--from" not in value
        for word in value.split()[:-1]
    ]
    assert sent == set(copied)
    assert all((ROOT / name).exists() for name in copied)


def test_the_image_runs_as_an_unprivileged_user() -> None:
    values = dict(instructions())
    assert values["USER"] == "10001:10001"
    assert values["ENTRYPOINT"] == '["everafter"]'
    check_command(yaml.safe_load(values["CMD"]))
    assert "/readyz" in values["HEALTHCHECK"]
    assert set(re.findall(r"EVERAFTER_\w+", values["ENV"])) <= KNOWN


# ── compose.yaml ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))


def test_everything_a_service_refers_to_is_declared(compose: dict[str, Any]) -> None:
    services = compose["services"]
    assert set(services) == {"database", "server", "worker"}
    for name, service in services.items():
        assert set(service["secrets"]) <= set(compose["secrets"]), name
        assert {volume.partition(":")[0] for volume in service["volumes"]} <= set(
            compose["volumes"]
        ), name
        assert set(service.get("depends_on", {})) <= set(services), name
        assert (
            name == "worker"
            or service.get("healthcheck")
            or (ROOT / service["build"] / "Dockerfile").exists()
        ), name


def test_services_use_existing_commands_and_settings(
    compose: dict[str, Any],
) -> None:
    for name in ("server", "worker"):
        service = compose["services"][name]
        check_command(service["command"])
        assert service["image"] == f"everafter:{__version__}"
        assert set(service["environment"]) <= KNOWN
        files = {
            value for setting, value in service["environment"].items() if setting.endswith("_FILE")
        }
        assert files == {f"/run/secrets/{secret}" for secret in service["secrets"]}
        assert service["stop_grace_period"] == "35s"


def test_every_secret_is_created_in_the_docs_and_ignored_by_git(
    compose: dict[str, Any],
) -> None:
    text = (ROOT / "docs" / "install.md").read_text(encoding="utf-8")
    for secret in compose["secrets"].values():
        assert f" {secret['file'].removeprefix('./')}" in text
    assert "secrets/" in (ROOT / ".gitignore").read_text().splitlines()


def test_the_port_is_open_to_this_machine_only(compose: dict[str, Any]) -> None:
    ports = [port for service in compose["services"].values() for port in service.get("ports", ())]
    assert ports == ["127.0.0.1:8000:8000"]


# ── systemd ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def read_unit(path: Path) -> configparser.ConfigParser:
    unit = configparser.ConfigParser(interpolation=None, strict=True)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read_string(path.read_text(encoding="utf-8"))
    return unit


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_a_unit_starts_an_existing_command(path: Path) -> None:
    service = read_unit(path)["Service"]
    program, *words = shlex.split(service["ExecStart"])
    assert program == "/opt/everafter/bin/everafter"
    check_command(words)
    assert int(service["TimeoutStopSec"]) > max(30, STOP_SECONDS)
    assert int(service["LimitNOFILE"]) >= limits.Limits().connections + 200
    assert service["EnvironmentFile"] == "/etc/everafter/everafter.env"


def test_the_units_differ_only_in_the_command() -> None:
    server, worker = (dict(read_unit(path)["Service"]) for path in UNITS)
    assert server.pop("ExecStart") != worker.pop("ExecStart")
    assert server == worker


def test_the_example_environment_has_existing_settings() -> None:
    text = (ROOT / "deploy" / "systemd" / "everafter.env").read_text(encoding="utf-8")
    named = set(re.findall(r"^#?(EVERAFTER_\w+)=", text, re.MULTILINE))
    assert len(named) > 6 and named <= KNOWN


# ── nginx ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_proxys_limits_match_the_servers() -> None:
    text = (ROOT / "deploy" / "nginx" / "everafter.conf").read_text(encoding="utf-8")
    directives = dict(re.findall(r"^\s+([a-z_]+) ([^;]+);", text, re.MULTILINE))
    assert directives["client_max_body_size"] == f"{MAX_BYTES // 1024 // 1024}m"
    assert int(directives["keepalive_timeout"].rstrip("s")) < KEEP_ALIVE_SECONDS
    assert int(directives["limit_conn"].split()[1]) <= limits.Limits().connections_per_address
    assert "proxy_set_header X-Forwarded-For $remote_addr;" in text
    assert text.count("{") == text.count("}")

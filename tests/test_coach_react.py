"""InAppCoach with real React in a real browser, on a foreign page under a strict policy."""

from pathlib import Path

import pytest

from helpers_node import react_project, run_node


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return react_project(tmp_path_factory.mktemp("react"))


def test_the_types_fit_and_refuse_what_they_must(project: Path) -> None:
    run_node(project, "node_modules/.bin/tsc", "-p", ".")


def test_on_a_server_it_is_the_bare_element(project: Path) -> None:
    html = run_node(project, "node", "ssr.mjs").strip()
    assert html == '<everafter-coach supplier-id="7" server="https://success.example.com" page="/forms"></everafter-coach>'

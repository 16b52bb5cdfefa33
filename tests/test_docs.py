"""Everything is documented, everything documented exists, and documented commands work."""

import ast
import doctest
import re
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import psycopg
import pytest

from everafter.app import GAUGES, create_app
from everafter.core.errors import EverafterError
from everafter.core.probes import UP
from everafter.core.settings import SETTING_NAMES, load_settings
from everafter.events.model import CANONICAL
from everafter.interventions.model import SKIP_REASONS
from everafter.mail.model import STATUS_MEANING
from everafter.mail.rules import url_options
from everafter.playbook.loading import find_mistakes, playbook_path, read_playbook
from everafter.playbook.model import Playbook, Trigger
from everafter.signals.model import SIGNALS
from everafter.suppliers.model import TRAITS
from everafter.support.model import CALL_TYPES
from helpers_docs import DOCS, PAGES, Command, Shell, check_output, list_commands, read, slug
from helpers_server import Server
from helpers_source import ROOT, SRC, calls, list_modules

sys.path.insert(0, str(ROOT / "scripts"))


def missing(names: Any, text: str) -> list[str]:
    """Names that do not appear in backquotes, alone or before a value."""
    return [name for name in names if not re.search(rf"`{re.escape(name)}[`=]", text)]


# ── everything is documented ──────────────────────────────────────────────────────────────────────────────────────


def test_every_setting_is_documented() -> None:
    text = read("install.md")
    assert not missing(SETTING_NAMES, text)
    assert "…_FILE" in text
    named = {
        node.value
        for module in list_modules().values()
        for node in ast.walk(module.tree)
        if _is_setting(node)
    }
    assert {name.removesuffix("_FILE") for name in named} == set(SETTING_NAMES), (
        "a setting is read outside core/settings.py"
    )


def _is_setting(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and bool(re.fullmatch(r"EVERAFTER_[A-Z_]+", node.value))
    )


def test_every_option_of_the_mail_server_url_is_documented() -> None:
    with pytest.raises(EverafterError, match="expected ") as refused:
        url_options("smtp://mail.example.com?no_such_option=1")
    options = refused.value.message.rpartition("expected ")[2].split(", ")
    assert len(options) == 3
    assert not missing(options, read("install.md"))


def test_every_signal_is_documented() -> None:
    assert not missing([signal.name for signal in SIGNALS], read("signals.md"))


def test_every_command_and_option_is_documented() -> None:
    import cli_page

    assert (DOCS / "cli.md").read_text(encoding="utf-8") == cli_page.write_page(), (
        "docs/cli.md is out of date: `make docs`"
    )


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return create_app(
        load_settings({"EVERAFTER_DATA": str(tmp_path_factory.mktemp("data"))}),
        "postgresql://nowhere/none",
    )


def test_every_route_is_documented(app: Any) -> None:
    text = read("api.md")
    paths = app.openapi_schema.to_schema()["paths"]
    routes = [
        f"{method.upper()} {path}" for path, operations in paths.items() for method in operations
    ]
    assert len(routes) > 15
    assert not missing(routes, text)
    named = set(re.findall(r"`(GET|POST) (/(?:api|v1)/[^`?]*)`", text))
    missing_routes = {f"{method} {path}" for method, path in named} - set(routes)
    assert not missing_routes, f"documented but missing: {missing_routes}"


def test_every_page_is_documented(app: Any) -> None:
    described = set(app.openapi_schema.to_schema()["paths"])
    paths = {re.sub(r":\w+}", "}", route.path) for route in app.routes} - described
    paths = {path for path in paths if not path.startswith("/openapi")}
    text = read("dashboard.md") + read("api.md") + read("browsers.md") + read("operations.md")
    text = text.replace("…/html", "/messages/{supplier_id}/{message_id}/html")
    assert len(paths) > 8
    assert not [
        path for path in paths if not re.search(rf"`(?:GET |POST )?{re.escape(path)}`", text)
    ]


def test_every_error_code_is_documented() -> None:
    for name in list_modules():
        import_module(name)
    codes = {EverafterError.code} | {error.code for error in _subclasses(EverafterError)}
    assert len(codes) > 10
    assert not missing(codes, read("api.md"))


def _subclasses(error: type[EverafterError]) -> Iterator[type[EverafterError]]:
    for found in error.__subclasses__():
        yield found
        yield from _subclasses(found)


def test_every_rejection_code_is_documented() -> None:
    codes: set[str] = set()
    for module in list_modules().values():
        if module.slice != "events":
            continue
        codes.update(node.args[1].value for name, node in calls(module.tree) if name == "_fault")  # type: ignore[attr-defined]
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                codes.update(re.findall(r"^([a-z_]+)\t", node.value))
                codes.update(
                    {node.value}
                    & {"unknown_supplier", "unreadable", "bad_trait", "bad_row", "bad_utf8"}
                )
    assert len(codes) > 15
    assert not missing(codes, read("api.md"))


def test_every_known_event_type_is_documented_with_its_properties() -> None:
    text = read("api.md")
    assert not missing(CANONICAL, text)
    assert not missing({name for properties in CANONICAL.values() for name in properties}, text)
    assert not missing(TRAITS, text)


def test_every_call_type_and_refusal_of_a_slot_is_documented() -> None:
    text = read("api.md")
    assert not missing(CALL_TYPES, text)
    refusals = re.findall(
        r'Refusal\(\s*"([a-z_]+)"', (SRC / "support" / "rules.py").read_text(encoding="utf-8")
    )
    assert len(refusals) >= 5
    assert not missing({*refusals, "taken"}, text)


def test_every_reason_for_a_skip_is_documented() -> None:
    assert not missing(SKIP_REASONS, read("methods.md"))


def test_every_message_status_is_documented() -> None:
    assert not missing(STATUS_MEANING, read("operations.md"))


def test_every_metric_is_documented() -> None:
    counters = {
        name
        for module in list_modules().values()
        for node in ast.walk(module.tree)
        for name in _counters(node)
    }
    assert len(counters) >= 3
    assert not missing({gauge.name for gauge in (UP, *GAUGES)} | counters, read("operations.md"))


def _counters(node: ast.AST) -> list[str]:
    text = node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""
    return re.findall(r"^everafter_[a-z_]+_total$", text)


def test_every_table_is_documented(database: str) -> None:
    with psycopg.connect(database) as conn:
        rows = conn.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = 'everafter'::regnamespace AND relkind IN ('r', 'p')"
        ).fetchall()
    text = read("architecture.md")
    assert len(rows) > 25
    assert not missing([table for (table,) in rows], text)
    there = {table for (table,) in rows}
    named = {
        name
        for row in re.findall(r"^\| (`.*?) \|", text, re.MULTILINE)
        for name in re.findall(r"`([a-z_]+)`", row)
    }
    assert named <= there, f"documented, and not there: {named - there}"


def test_every_part_of_a_playbook_and_key_of_a_trigger() -> None:
    text = read("playbook.md")
    tables = set(Playbook.__struct_fields__) - {"name"}
    assert not [table for table in tables if f"`[{table}" not in text]
    assert not missing(set(Trigger.__struct_fields__) - {"when", "action"}, text)


def test_the_playbooks_example_can_be_followed() -> None:
    shipped = read_playbook(
        playbook_path(
            load_settings({"EVERAFTER_DATA": "/nowhere-needed", "EVERAFTER_SECRET": "s" * 32})
        )
    )
    blocks = re.findall(r"^```toml\n(.*?)^```", read("playbook.md"), re.MULTILINE | re.DOTALL)
    assert blocks
    for block in blocks:
        assert not find_mistakes(shipped + "\n" + block)


def test_every_slice_is_listed_in_the_architecture() -> None:
    text = read("architecture.md")
    for folder in SRC.iterdir():
        if (folder / "__init__.py").exists():
            assert f"{folder.name}/" in text, folder.name


# ── everything documented exists ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_link_targets_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), f"{page.name}: {target}"
        if anchor:
            headings = re.findall(r"^#+ (.*)$", file.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in map(slug, headings), f"{page.name}: {target} has no such heading"


def test_every_page_is_linked_from_the_index() -> None:
    seen: set[Path] = set()
    waiting = [DOCS / "index.md"]
    while waiting:
        page = waiting.pop()
        seen.add(page)
        links = re.findall(r"\]\(([^)#\s]+\.md)", page.read_text(encoding="utf-8"))
        waiting += [
            to
            for link in links
            if (to := (page.parent / link).resolve()) not in seen and to.suffix == ".md"
        ]
    assert set(DOCS.rglob("*.md")) <= seen, set(DOCS.rglob("*.md")) - seen


def read_coach() -> str:
    return (SRC / "static" / "coach.js").read_text(encoding="utf-8")


def test_named_files_and_functions_exist() -> None:
    defined = {
        node.name
        for module in list_modules().values()
        for node in ast.walk(module.tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
    }
    defined |= set(
        re.findall(r"^  (?:async )?(\w+)\(", read_coach(), re.M)
    )  # the element's methods
    for page in [*DOCS.glob("*.md"), *(DOCS / "decisions").glob("*.md")]:
        text = page.read_text(encoding="utf-8")
        for name in re.findall(r"`([a-z_][\w.]*)\(\)`", text):
            assert name.rpartition(".")[2] in defined, f"{page.name} names {name}()"
        for name in re.findall(r"`((?:[\w.-]+/)+[\w-]+\.(?:py|sql|toml|txt|md))`", text):
            places = (ROOT / name, SRC / name, DOCS / name, ROOT / "src" / name)
            assert any(place.exists() for place in places), f"{page.name} names {name}"


def test_the_contributing_guide_names_existing_files_and_tests() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    for name in re.findall(r"`((?:[\w.-]+/)+[\w-]+\.(?:py|sql|toml|txt|md|html))`", text):
        if not re.search(r"SLICE|NAME|00NN", name):
            assert (ROOT / name).exists() or (SRC / name).exists(), name
    tests = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").glob("*.py"))
    source = "".join(path.read_text(encoding="utf-8") for path in SRC.rglob("*.py"))
    names = re.findall(r"`(\w+)(?:\(\))?`", text)
    assert len(names) > 10
    for name in names:
        known = re.search(rf"\b{name}\b", tests + source)
        assert known or name in {"conn", "main", "title"}, name


def test_the_readme_has_a_picture_and_fits_on_a_screen() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    pictures = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", text)
    assert pictures
    for picture in pictures:
        assert (ROOT / picture).stat().st_size > 10_000, picture
    assert len(text.splitlines()) <= 60


def test_the_changelog_has_a_section_for_this_version() -> None:
    from everafter import __version__

    assert re.search(
        rf"^## {re.escape(__version__)} \(\d{{4}}-\d\d-\d\d\)$",
        (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"),
        re.M,
    )


def test_pages_contain_no_paths_of_a_machine() -> None:
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        assert not re.search(r"/(work|home|root|Users)/", text), page.name


# ── documented commands work ───────────────────────────────────────────────────────────────────────────────────

COMMANDS = [command for page in PAGES for command in list_commands(page)]


class _Root(NamedTuple):
    commands: dict[str, Any]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.place)
def test_commands_exist(command: Command) -> None:
    from everafter.cli import load_commands

    targets = re.findall(
        r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE
    )
    for words in re.findall(r"(?:^|[|(&\n] ?|\$\()\s*(make|everafter)\b([^|)&\n]*)", command.text):
        if words[0] == "make":
            assert words[1].split()[0] in targets, command.text
            continue
        node: Any = _Root(load_commands())
        for word in words[1].split():
            if hasattr(node, "commands"):
                assert word in node.commands, f"{command.place}: everafter{words[1]}"
                node = node.commands[word]
            elif word.startswith("--"):
                options = {option for param in node.params for option in param.opts}
                assert word.partition("=")[0] in options, (
                    f"{command.place}: {word} of everafter{words[1]}"
                )


@pytest.fixture
def shell(server: Server, tmp_path: Path) -> Iterator[Shell]:
    opened = Shell(server, tmp_path)
    yield opened
    opened.close()


# The test starts its own server.
_NOT_HERE = re.compile(r"^(make |export |everafter serve|python scripts/)")


def test_the_quickstart_works(shell: Shell) -> None:
    _follow(shell, list_commands(DOCS / "quickstart.md"), least=10)


def test_the_api_page_works(shell: Shell) -> None:
    """It uses the keys and the supplier of the quickstart."""
    for command in list_commands(DOCS / "quickstart.md")[:12]:
        if re.search(r"^(INGEST|READ)=|^cat |/v1/", command.text):
            shell.run(command)
    shell.run(Command("WRITE=$(everafter key create --scope write)", "", "test"))
    _follow(shell, list_commands(DOCS / "api.md"), least=10)


def test_the_playbook_page_works(shell: Shell) -> None:
    for command in list_commands(DOCS / "playbook.md"):
        check_output(command, shell.run(command))


def _follow(shell: Shell, commands: list[Command], *, least: int) -> None:
    followed = 0
    for command in commands:
        if _NOT_HERE.match(command.text):
            continue
        printed = shell.run(command)
        if command.output:
            check_output(command, printed)
        followed += 1
    assert followed >= least


# ── examples in code ──────────────────────────────────────────────────────────────────────────────────────────────

EXAMPLES = [
    name
    for name, module in list_modules().items()
    if ">>>" in module.path.read_text(encoding="utf-8")
]


@pytest.mark.parametrize("name", EXAMPLES)
def test_docstring_examples_work(name: str) -> None:
    result = doctest.testmod(import_module(name))
    assert result.attempted and not result.failed


def test_the_examples_of_the_methods_page_work() -> None:
    result = doctest.testfile(str(DOCS / "methods.md"), module_relative=False)
    assert result.attempted and not result.failed


def test_examples_are_found() -> None:
    assert len(EXAMPLES) >= 3


def test_the_openapi_document_is_served(server: Server) -> None:
    document = httpx.get(server.base_url + "/openapi.json").json()
    assert document["openapi"].startswith("3.1")

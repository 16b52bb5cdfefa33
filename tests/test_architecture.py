"""Architecture rules, checked in the source: what may import what, and what is pure."""

import ast
import re
import sys

import pytest

from everafter.core.locks import Lock
from helpers_source import ROOT, SRC, Module, calls, list_modules

MODULES = list_modules()
SLICES = {path.parent.name for path in SRC.glob("*/__init__.py")} - {"core", "migrations"}

# Modules that meet the web besides api.py and pages.py. Whoever adds one says here what for.
WEB = {
    "everafter.app": "puts the handlers together",
    "everafter.openapi": "describes them",
    "everafter.server": "runs them",
    "everafter.core.admission": "reads a request's body before its handler begins",
    "everafter.core.concurrency": "answers 408 for a body that does not arrive",
    "everafter.core.bodies": "answers for bodies that cannot be read",
    "everafter.core.http": "HEAD, Allow and CORS before the router",
    "everafter.core.idempotency": "a POST's kept answer",
    "everafter.core.openapi": "errors in the OpenAPI document",
    "everafter.core.paths": "slashes inside the segments of a path",
    "everafter.core.probes": "livez, readyz, metrics",
    "everafter.core.web": "transaction, errors, keys of a request",
    "everafter.accounts.access": "the session behind a request",
    "everafter.events.describe": "the ingest dialect in the OpenAPI document",
    "everafter.scoring.live": "finds the live score in the application's state",
    "everafter.recommendations.live": "the same, for next steps",
}
FACES = ("api", "pages", "commands")

# What a pure module may import from elsewhere: errors to raise, words to say, the names of the time zones, how to read
# what others wrote.
PURE_CORE = {
    "everafter.core.charts",
    "everafter.core.csv",
    "everafter.core.cursor",
    "everafter.core.errors",
    "everafter.core.email_address",
    "everafter.core.ids",
    "everafter.core.lenient",
    "everafter.core.signing",
    "everafter.core.texts",
    "everafter.core.values",
    "everafter.core.formatting",
    "everafter.core.i18n",
    "everafter.core.messages",
    "everafter.core.zones",
}
PURE_THIRD = {"dateutil", "icalendar", "msgspec", "numpy", "polars"}
PURE_EXCEPTIONS = {
    # docs/decisions/0013: a message's template is part of the program's text, and rules.py hands it on to pages.
    ("everafter.mail.rules", "everafter.mail.render"),
    # The simulator's chance comes from a generator that is handed to it.
    ("everafter.demo.rules", "everafter.demo.calendar"),
}
# Pure too, though neither its name nor its first words say so.
PURE_ALSO = {"everafter.signals.text"}
_IMPURE = """
    asyncio atexit concurrent http importlib logging multiprocessing os pathlib random secrets shutil signal socket sqlite3 ssl
    subprocess sys tempfile threading time urllib.request
"""
IMPURE_STDLIB = set(_IMPURE.split())
IMPURE_CALLS = re.compile(
    r"^(datetime|dt\.datetime|date|dt\.date)\.(now|utcnow|today)$|^(open|input|print|exec|eval|__import__)$"
    r"|^(np|numpy)\.random\.|^(uuid\.)?uuid[14]$|\.(read_text|write_text|read_bytes|write_bytes)$"
    r"|^pl\.(read|scan)_|\.(write|sink)_(parquet|ndjson|ipc)$"
)


def has_face(name: str) -> bool:
    last = name.rpartition(".")[2]
    return last in FACES or last.endswith(tuple(f"_{face}" for face in FACES))


def is_pure(module: Module) -> bool:
    """By its name, or because it says so of itself: who writes "Pure." in the first words is held to it."""
    stem = module.path.stem
    named = stem in {"model", "rules", "score"} or stem.endswith(("_model", "_rules"))
    return module.slice in SLICES and (
        named or module.name in PURE_ALSO or bool(re.search(r"\bPure\b", module.doc))
    )


def is_queries(module: Module) -> bool:
    return module.slice in SLICES and (
        module.path.stem == "queries" or module.path.stem.endswith("_queries")
    )


def imported_from_us(module: Module) -> set[str]:
    return {name for name in module.imports if name.partition(".")[0] == "everafter"}


PURE = [module for module in MODULES.values() if is_pure(module)]
QUERIES = [module for module in MODULES.values() if is_queries(module)]


def test_the_tests_below_see_the_program() -> None:
    assert {"scoring", "events", "activity", "playbook", "interventions", "mail", "daily"} <= SLICES
    assert len(PURE) > 20 and len(QUERIES) > 8


# ── which way things point ────────────────────────────────────────────────────────────────────────────────────────────


def test_core_imports_no_slice() -> None:
    wrong = [
        f"{module.name} imports {name}"
        for module in MODULES.values()
        if module.slice == "core"
        for name in imported_from_us(module)
        if name != "everafter" and not name.startswith("everafter.core")
    ]
    assert not wrong, "\n".join(wrong)


# The rooms from the bottom up: one imports only rooms below it. What the parts know of one another settles the order:
# - accounts is low because every page asks who is signed in.
# - What comes in (suppliers, events) is stored, then folded (activity), then read as columns (signals).
# - The playbook names signals, events, features and email templates, so it is above all that it can name, and below
#   all that follows it.
# - Scoring measures onboarding, and its explanation shows interventions, so both are below it.
# - Pages of several rooms (funnel, portfolio) and what runs all of them (daily, demo, app, worker…) are at the top.
LAYERS = (
    "core",
    "branding",
    "accounts",
    "suppliers",
    "events",
    "activity",
    "feeds",
    "signals",
    "certificates",
    "mail",
    "playbook",
    "seasonality",
    "onboarding interventions learning",
    "scoring",
    "health",
    "support",
    "tickets",
    "metrics",
    "recommendations",
    "coach",
    "funnel",
    "portfolio",
    "folding",
    "daily",
    "openapi reference",
    "reference_pages",
    "app",
    "server",
    "demo",
    "worker importer doctor",
    "cli",
)
UPWARD = {
    (
        "signals",
        "playbook",
    ): "signals are computed for the playbook's segments and key features; its conditions name signals",
}


def room_of(name: str) -> str:
    """The folder or the top-level module that a dotted name is in."""
    return name.split(".")[1]


def test_every_room_is_in_one_layer() -> None:
    rooms = [room for layer in LAYERS for room in layer.split()]
    assert len(rooms) == len(set(rooms))
    assert set(rooms) == {room_of(name) for name in MODULES if "." in name} - {"migrations"}


def test_rooms_import_only_rooms_below_them() -> None:
    height = {room: n for n, layer in enumerate(LAYERS) for room in layer.split()}
    upward: dict[tuple[str, str], list[str]] = {}
    for module in MODULES.values():
        for name in imported_from_us(module) & set(MODULES) - {"everafter"}:
            here, there = room_of(f"{module.name}.__init__"), room_of(name)
            if here in height and here != there and height[here] <= height[there]:
                upward.setdefault((here, there), []).append(f"{module.name} imports {name}")
    new = [line for pair, lines in upward.items() if pair not in UPWARD for line in lines]
    assert not new, "\n".join(new)
    assert set(UPWARD) == set(upward), "take out of UPWARD what is no longer imported"


def test_only_the_application_imports_the_portfolio() -> None:
    """Its pages show every other room; what others need of it belongs below."""
    users = {
        module.name
        for module in MODULES.values()
        if module.slice != "portfolio"
        and any(name.startswith("everafter.portfolio") for name in module.imports)
    }
    assert users <= {"everafter.app"}


@pytest.mark.parametrize("module", PURE, ids=lambda module: module.name.removeprefix("everafter."))
def test_pure_modules_import_only_pure_ones(module: Module) -> None:
    pure = {one.name for one in PURE} | PURE_CORE
    for name in sorted(module.imports):
        top = name.partition(".")[0]
        if top == "everafter":
            # a package (`from everafter.playbook import model`) means its modules, which are looked at by themselves
            is_package = name in MODULES and MODULES[name].path.name == "__init__.py"
            assert name in pure or is_package or (module.name, name) in PURE_EXCEPTIONS, (
                f"{module.name} imports {name}"
            )
        elif top in sys.stdlib_module_names:
            assert top not in IMPURE_STDLIB and name not in IMPURE_STDLIB, (
                f"{module.name} imports {name}"
            )
        else:
            assert top in PURE_THIRD, f"{module.name} imports {name}"


@pytest.mark.parametrize("module", PURE, ids=lambda module: module.name.removeprefix("everafter."))
def test_pure_modules_do_no_io_and_ask_no_clock(module: Module) -> None:
    wrong = [
        f"{module.place(node)}: {name}(…)"
        for name, node in calls(module.tree)
        if IMPURE_CALLS.search(name)
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    "module", QUERIES, ids=lambda module: module.name.removeprefix("everafter.")
)
def test_queries_know_no_face_and_never_commit(module: Module) -> None:
    faces = [
        name
        for name in imported_from_us(module)
        if has_face(name) or name.rpartition(".")[2] in {"jobs", "run"}
    ]
    assert not faces, f"{module.name} imports {faces}"
    commits = [
        module.place(node)
        for name, node in calls(module.tree)
        if re.search(r"\.(commit|rollback)$", name)
    ]
    assert not commits, f"the caller owns the transaction: {commits}"
    for node in module.tree.body:
        if isinstance(node, ast.AsyncFunctionDef) and not node.name.startswith("_"):
            first = node.args.args[0].arg if node.args.args else "nothing"
            assert first in {"conn", "reader"}, (
                f"{module.place(node)}: {node.name} takes {first} first, not conn"
            )


def test_a_slice_shows_its_faces_to_nobody() -> None:
    """api, pages and commands are collected by app.py and cli.py; what others need of them belongs into rules or queries."""
    wrong = [
        f"{module.name} imports {name}"
        for module in MODULES.values()
        if module.name not in {"everafter.cli", "everafter.app", "everafter.worker"}
        for name in imported_from_us(module)
        if has_face(name)
        and MODULES.get(name)
        and MODULES[name].slice not in {module.slice, "core"}
    ]
    assert not wrong, "\n".join(wrong)


def test_no_module_is_imported_in_a_circle() -> None:
    graph = {
        name: {to for to in module.eager if to in MODULES and to != name}
        for name, module in MODULES.items()
    }
    done: set[str] = set()
    while leaves := {name for name, to in graph.items() if name not in done and not to - done}:
        done |= leaves
    rest = sorted(set(graph) - done)
    # a package with contents (`everafter.health`) is imported by its own modules' users, which is no circle of code
    assert not rest, f"these import one another in a circle, or lie behind one: {rest}"


def test_the_web_framework_stays_at_the_edge() -> None:
    users = {
        name
        for name, module in MODULES.items()
        if any(one.partition(".")[0] == "litestar" for one in module.imports)
    }
    at_the_edge = {
        name
        for name in users
        if name.rpartition(".")[2] == "api" or name.endswith(("_api", "pages"))
    }
    assert users - at_the_edge == set(WEB), (
        "say in WEB what a new one is for; take out what is none any more"
    )


def test_the_command_line_stays_in_commands() -> None:
    users = {name for name, module in MODULES.items() if "typer" in module.imports}
    at_the_edge = {name for name in users if name.rpartition(".")[2].endswith("commands")}
    assert users - at_the_edge == {
        "everafter.cli",
        "everafter.doctor",
        "everafter.importer",
        "everafter.server",
        "everafter.worker",
    }


def test_every_face_is_collected() -> None:
    """A module with handlers or commands that app.py or cli.py forgot would be code that nobody can reach."""
    from everafter import app, cli

    with_handlers = {name for name, module in MODULES.items() if _assigns(module, "handlers")}
    assert with_handlers == set(app.FACES)
    with_commands = {
        name
        for name, module in MODULES.items()
        if any(
            isinstance(node, ast.FunctionDef) and node.name == "register"
            for node in module.tree.body
        )
    }
    assert with_commands == {command.module for command in cli.COMMANDS}


def _assigns(module: Module, name: str) -> bool:
    targets: list[ast.expr] = []
    for node in module.tree.body:
        targets += (
            node.targets
            if isinstance(node, ast.Assign)
            else [node.target]
            if isinstance(node, ast.AnnAssign)
            else []
        )
    return any(isinstance(target, ast.Name) and target.id == name for target in targets)


# ── what is not done here ─────────────────────────────────────────────────────────────────────────────────────────────


def test_no_orm_no_pickle_no_second_driver() -> None:
    banned = {
        "sqlalchemy",
        "sqlmodel",
        "peewee",
        "django",
        "tortoise",
        "pony",
        "advanced_alchemy",
        "asyncpg",
        "psycopg2",
    }
    banned |= {"pickle", "dill", "cloudpickle", "joblib", "pandas", "requests"}
    for module in MODULES.values():
        assert not {name.partition(".")[0] for name in module.imports} & banned, module.name


def test_nothing_is_printed_but_by_the_command_line() -> None:
    wrong = [
        module.place(node)
        for module in MODULES.values()
        for name, node in calls(module.tree)
        if name in {"print", "eval", "exec"}
    ]
    assert not wrong, wrong


def test_nothing_is_left_to_do() -> None:
    marks = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b|\braise NotImplementedError\b")
    files = [
        path
        for folder in ("src", "tests", "benchmarks")
        for path in (ROOT / folder).rglob("*.py")
        if path != _HERE
    ]
    wrong = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in files
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if marks.search(line)
    ]
    assert not wrong, "\n".join(wrong)


_HERE = ROOT / "tests" / "test_architecture.py"


def test_every_lock_has_a_number_of_its_own() -> None:
    """Advisory locks are numbers shared by a whole database: two that agree keep two unlike things from running at once."""
    assert len(Lock.__members__) == len(Lock), "two names of one number"
    for module in MODULES.values():
        if module.name != "everafter.core.locks":
            for name, node in calls(module.tree):
                locks = (
                    name.endswith("execute")
                    and node.args
                    and "advisory" in ast.unparse(node.args[0])
                )
                assert not locks or not re.search(r"lock\w*\(\d", ast.unparse(node)), (
                    f"{module.place(node)}: name it in core/locks.py"
                )


# ── words ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_what_others_call_says_what_it_does() -> None:
    wrong: list[str] = []
    for module in [*PURE, *QUERIES]:
        if not module.doc:
            wrong.append(module.name)
        for node in module.tree.body:
            public = isinstance(
                node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
            ) and not node.name.startswith("_")
            if public and not ast.get_docstring(node):
                wrong.append(f"{module.place(node)}: {node.name}")
    assert not wrong, "\n".join(wrong)


def test_every_decision_that_is_named_exists() -> None:
    """And every one that is written has a number of its own."""
    written = [
        path.name[:4]
        for path in (ROOT / "docs" / "decisions").glob("*.md")
        if path.name[:4].isdigit()
    ]
    assert len(written) == len(set(written)) and len(written) >= 11
    named: set[str] = set()
    for folder, pattern in (
        ("src", "*.py"),
        ("src", "*.sql"),
        ("tests", "*.py"),
        ("benchmarks", "*.py"),
    ):
        for path in (ROOT / folder).rglob(pattern):
            named.update(re.findall(r"decisions?[ /](\d{4})", path.read_text(encoding="utf-8")))
    assert named <= set(written), f"named and not written: {sorted(named - set(written))}"

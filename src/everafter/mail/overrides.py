"""Check the email templates and phrases that a platform puts beside its playbook.

Overrides run in the sandbox of our own templates, with further restrictions: no calls, no
assignments that could grow a text, loops only over the lists of the email. Rendering therefore ends
quickly.
"""

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Set
from dataclasses import replace
from html.parser import HTMLParser

from jinja2 import TemplateSyntaxError, nodes

from everafter.branding.model import ENGLISH, Brand, Problem
from everafter.core.i18n import is_language
from everafter.mail.formatting import CALL_FACTS, FILTERS, NUMBER_LABELS
from everafter.mail.model import Links, RenderError
from everafter.mail.phrase_checking import check_phrases, nearest
from everafter.mail.render import (
    HEADER_NAMES,
    layout_environment,
    list_templates,
    render_message,
    text_environment,
)
from everafter.mail.samples import sample_facts
from everafter.mail.translation import FRAME, filters_of, read_phrases
from everafter.signals.model import SIGNAL_SCHEMA
from everafter.suppliers.model import COUNTRIES

TEXT_NAMES = frozenset(
    [*SIGNAL_SCHEMA, *CALL_FACTS, "name", "greeting", "vendor_terms", "next_steps"]
)
"""Variables of a template."""

LAYOUT_NAMES = frozenset({
    "subject", "preheader", "heading", "parts", "numbers", "button", "steps", "button_in_steps",
    "sender", "unsubscribe", "why", "stop", "platform", "logo", "language", "direction", "style",
})  # fmt: skip
"""Variables of layout.html."""

_TEMPLATE = re.compile(r"([a-z0-9_]+)(?:\.([A-Za-z]+(?:-[A-Za-z]+)?))?\.txt")
_PHRASES = re.compile(r"phrases\.([A-Za-z]+(?:-[A-Za-z]+)?)\.toml")
_LANGUAGE = re.compile(r"[a-z]{2}(-[A-Z]{2})?")
_LOOPED = frozenset({"next_steps", "parts", "numbers", "steps"})
_LOOPED_INSIDE = frozenset({"numbers", "steps"})
_MOST_COPIES = 200
_TESTS = frozenset({
    "defined", "divisibleby", "even", "false", "none", "number", "odd", "string", "true",
    "undefined",
})  # fmt: skip
_PLAIN_FILTERS = frozenset({
    "capitalize", "default", "d", "e", "escape", "first", "int", "last", "length", "lower", "round",
    "title", "trim", "upper",
})  # fmt: skip
_ENGLISH_FILTERS = frozenset({"of_clients", "vendor_terms"})
_BLOCKS = ("[numbers]", "[button]", "[next_steps]")
_NODES = (
    nodes.Template | nodes.Output | nodes.TemplateData | nodes.If | nodes.For | nodes.Name
    | nodes.Const | nodes.Filter | nodes.Test | nodes.Compare | nodes.Operand | nodes.And
    | nodes.Or | nodes.Not | nodes.CondExpr | nodes.Getattr | nodes.Getitem | nodes.Concat
    | nodes.Add | nodes.Sub | nodes.Neg | nodes.Pos | nodes.Mul | nodes.Div | nodes.Assign
    | nodes.Tuple | nodes.Keyword | nodes.Slice
)  # fmt: skip
_COMPARE = "compare with our template in everafter/mail/templates"
_STATEMENT = re.compile(r"\{%.*?%\}|\{\{.*?\}\}")
_WHERE = re.compile(r"(?P<file>[\w.-]+\.(?:txt|html|css))(?::(?P<line>\d+))?: ")
"""How the message of a RenderError begins that knows its place."""
_UNSUBSCRIBE_HINT = 'add {% if unsubscribe %}<a href="{{ unsubscribe }}">{{ stop }}</a>{% endif %}'


def check_overrides(
    files: Mapping[str, str], unreadable: Collection[str] = frozenset()
) -> list[Problem]:
    """All mistakes in these files. `file` of a problem is the file's name.

    Args:
        unreadable: names of files that exist, whose text is not among `files`.
    """
    names = files.keys() | set(unreadable)
    problems: list[Problem] = []
    for name, text in files.items():
        problems += [replace(one, file=name) for one in _check_file(name, text, files, names)]
    wrong = {one.file for one in problems if one.level == "error"} | set(unreadable)
    if wrong & _LAYOUT_FILES:
        return problems
    return [*problems, *_render_all(files, wrong)]


# ── names ─────────────────────────────────────────────────────────────────────────────────────


def _check_file(
    name: str, text: str, files: Mapping[str, str], names: Collection[str]
) -> Iterator[Problem]:
    """names: of all files, also of those without a readable text."""
    if found := _PHRASES.fullmatch(name):
        yield from _check_language(found[1]) or check_phrases(text, found[1])
    elif found := _TEMPLATE.fullmatch(name):
        yield from _check_template(found[1], found[2], text, files, names)
    elif name == "layout.html":
        yield from _check_layout(text)
    elif name == "layout.css":
        yield from _check_css(text)
    else:
        known = [
            *(f"{one}.txt" for one in list_templates()),
            "layout.html",
            "layout.css",
            "phrases.de.toml",
        ]
        yield Problem(
            f"{name} overrides nothing",
            nearest(name, known)
            or "expected NAME.txt, NAME.de.txt, phrases.de.toml, layout.html or layout.css",
        )


def _check_language(language: str) -> list[Problem]:
    if not _LANGUAGE.fullmatch(language) or not is_language(language):
        return [Problem(f"unknown language {language!r}", 'use "de", or "de-AT" with a country')]
    if language[3:] and language[3:] not in COUNTRIES:
        return [Problem(f"unknown country {language[3:]!r}", 'use "de", or "de-AT" with a country')]
    return []


# ── templates ─────────────────────────────────────────────────────────────────────────────────


def _check_template(
    template: str,
    language: str | None,
    text: str,
    files: Mapping[str, str],
    names: Collection[str],
) -> Iterator[Problem]:
    if template not in list_templates():
        yield Problem(
            f"unknown email {template!r}",
            nearest(template, list(list_templates())) or f"emails: {', '.join(list_templates())}",
            name=template,
        )
        return
    if language is not None:
        if found := _check_language(language):
            yield from found
            return
        if language[:2] != ENGLISH and not _has_phrases(language, names):
            yield Problem(
                f"phrases.{language[:2]}.toml does not exist",
                f"it contains the phrases around every {language[:2]} email: {', '.join(FRAME)}",
            )
            return
    yield from _check_parts(text, language or ENGLISH, files)


def _has_phrases(language: str, names: Collection[str]) -> bool:
    return any(name in names for name in _phrase_files(language))


def _phrase_files(language: str) -> tuple[str, str]:
    """The files that may have the phrases of a language, the first one first."""
    return f"phrases.{language}.toml", f"phrases.{language[:2]}.toml"


def _check_parts(text: str, language: str, files: Mapping[str, str]) -> Iterator[Problem]:
    head, separator, body = text.partition("\n\n")
    lines = head.split("\n")
    seen: set[str] = set()
    for number, line in enumerate(lines, 1):
        name, colon, value = line.partition(": ")
        if not colon or name not in HEADER_NAMES:
            hint = (
                nearest(name, list(HEADER_NAMES))
                or f"allowed before the first empty line: {', '.join(HEADER_NAMES)}"
            )
            yield Problem(f"{line[:40]!r} is not a header line", hint, line=number)
        elif name in seen:
            yield Problem(f"{name} appears twice", "keep one", line=number)
        else:
            yield from _check_source(value, language, files, number)
            if name == "Numbers":
                yield from _check_numbers(value, number)
        seen.add(name)
    if "Subject" not in seen:
        yield Problem(
            "there is no Subject", "start the file with Subject: and the subject of the email"
        )
    if not separator or not body.strip():
        yield Problem(
            "there is no text",
            "after the header lines, write an empty line and then the text",
            line=len(lines),
        )
    yield from _check_source(body, language, files, len(lines) + 2)
    if "Button" in seen and "[button]" not in body:
        yield Problem(
            "the button is not in the text",
            "write [button] on a line of its own",
            level="warning",
        )
    for number, line in enumerate(body.split("\n"), len(lines) + 2):
        if re.fullmatch(r"\[\w+\]", line.strip()) and line.strip() not in _BLOCKS:
            yield Problem(
                f"{line.strip()} is not a block",
                nearest(line.strip(), list(_BLOCKS)) or f"blocks: {', '.join(_BLOCKS)}",
                line=number,
            )


def _check_numbers(value: str, line: int) -> Iterator[Problem]:
    for name in _STATEMENT.sub(" ", value).split():
        if name not in NUMBER_LABELS:
            yield Problem(
                f"{name} has no label",
                nearest(name, list(NUMBER_LABELS)) or f"numbers: {', '.join(NUMBER_LABELS)}",
                line=line,
            )


def _check_source(
    text: str, language: str, files: Mapping[str, str], first: int
) -> Iterator[Problem]:
    """Check one part of a template, which starts on line `first` of its file."""
    phrases = files.get(f"phrases.{language}.toml") or files.get(f"phrases.{language[:2]}.toml")
    try:
        env = text_environment(language, phrases)
        filters = (
            FILTERS
            if language[:2] == ENGLISH
            else filters_of(read_phrases(phrases or "", language))
        )
    except (ValueError, AttributeError):  # reported by the check of the phrases
        return
    allowed = _PLAIN_FILTERS | filters.keys()
    names = TEXT_NAMES if language[:2] == ENGLISH else TEXT_NAMES - {"vendor_terms"}
    yield from _check_tree(env.parse, "\n" * (first - 1) + text, names, allowed)


def _check_tree(
    parse: Callable[[str], nodes.Template],
    text: str,
    names: frozenset[str],
    filters: frozenset[str] | set[str],
) -> Iterator[Problem]:
    try:
        tree = parse(text)
    except TemplateSyntaxError as error:
        yield Problem(f"{error.message}", _COMPARE, line=error.lineno)
        return
    except RecursionError:
        yield Problem("the template is nested too deeply", "split it into sentences")
        return
    except (ValueError, OverflowError, MemoryError) as error:
        yield Problem(f"cannot be read as a template: {error}", _COMPARE)
        return
    found = [one for node in _walk(tree) for one in _check_node(node, filters)]
    found += _check_loops(tree, 0)
    for name in _unknown_names(tree, names):
        hint = nearest(name.name, sorted(names)) or "everafter signals lists all signals"
        found.append(
            Problem(f"unknown variable {name.name!r}", hint, line=name.lineno, name=name.name)
        )
    yield from sorted(dict.fromkeys(found), key=lambda one: one.line)


def _unknown_names(tree: nodes.Template, names: frozenset[str]) -> Iterator[nodes.Name]:
    """Variables that are read without being known or set.

    Jinja's own search compiles the template, which evaluates its constants, also hostile ones.
    """
    everything = [node for node in _walk(tree) if isinstance(node, nodes.Name)]
    own = {node.name for node in everything if node.ctx == "store"} | {"loop"}
    yield from (node for node in everything if node.ctx == "load" and node.name not in names | own)


def _walk(node: nodes.Node) -> Iterator[nodes.Node]:
    todo = [node]
    while todo:
        one = todo.pop()
        yield one
        todo.extend(one.iter_child_nodes())


def _check_node(node: nodes.Node, filters: frozenset[str] | set[str]) -> Iterator[Problem]:
    line = node.lineno
    if isinstance(node, nodes.Filter) and node.name not in filters:
        hint = nearest(node.name, sorted(filters)) or f"filters: {', '.join(sorted(filters))}"
        if node.name in _ENGLISH_FILTERS:
            hint = "it writes an English sentence; use count and number instead"
        yield Problem(f"the filter {node.name!r} cannot be used", hint, line=line)
    elif isinstance(node, nodes.Test) and node.name not in _TESTS:
        hint = nearest(node.name, sorted(_TESTS)) or f"tests: {', '.join(sorted(_TESTS))}"
        yield Problem(f"the test {node.name!r} cannot be used", hint, line=line)
    elif isinstance(node, nodes.Getattr) and node.attr.startswith("_"):
        yield Problem(
            f"{node.attr} cannot be used in templates", "print a variable by its name", line=line
        )
    elif isinstance(node, nodes.Getitem) and not isinstance(node.arg, nodes.Const | nodes.Slice):
        yield Problem(
            "only constant keys are allowed", "such as step['title'] or next_steps[0]", line=line
        )
    elif (
        isinstance(node, nodes.Getitem)
        and isinstance(node.arg, nodes.Const)
        and str(node.arg.value).startswith("_")
    ):
        yield Problem(
            f"{node.arg.value} cannot be used in templates",
            "print a variable by its name",
            line=line,
        )
    elif isinstance(node, nodes.Mul) and not _is_small(node):
        yield Problem(
            "only constants can be multiplied",
            f"repeat a text at most {_MOST_COPIES} times",
            line=line,
        )
    elif isinstance(node, nodes.Assign) and any(
        isinstance(one, nodes.Concat | nodes.Add | nodes.Mul) for one in _walk(node.node)
    ):
        yield Problem(
            "texts cannot be concatenated in {% set %}",
            "print the parts one after the other",
            line=line,
        )
    elif isinstance(node, nodes.Call):
        yield Problem(
            "functions cannot be called in templates",
            "use a filter: {{ clients_total|count('couple', 'couples') }}",
            line=line,
        )
    elif isinstance(node, nodes.Stmt | nodes.Expr) and not isinstance(node, _NODES):
        what = type(node).__name__.lower()
        yield Problem(
            f"{what} cannot be used in templates",
            "use if, for, set, filters and comparisons",
            line=line,
        )


def _is_small(node: nodes.Mul) -> bool:
    sides = (node.left, node.right)
    if not all(isinstance(side, nodes.Const) for side in sides):
        return False
    values = [side.value for side in sides if isinstance(side, nodes.Const)]
    return (
        all(value <= _MOST_COPIES for value in values if isinstance(value, int | float))
        and sum(isinstance(v, str) for v in values) < 2
    )


def _check_loops(node: nodes.Node, depth: int) -> Iterator[Problem]:
    """Allow loops over the lists of an email, and nested loops over short lists only."""
    for child in node.iter_child_nodes():
        if isinstance(child, nodes.For):
            over = child.iter
            name = over.name if isinstance(over, nodes.Name) else ""
            items = (
                isinstance(over, nodes.Getitem)
                and isinstance(over.arg, nodes.Const)
                and over.arg.value == "items"
            )
            short = items or name in _LOOPED_INSIDE
            if child.recursive or depth > 1 or not (name in _LOOPED if depth == 0 else short):
                outer, inner = ", ".join(sorted(_LOOPED)), ", ".join(sorted(_LOOPED_INSIDE))
                hint = f"loop over {outer}, and in nested loops over {inner}"
                yield Problem("loops over this are not allowed", hint, line=child.lineno)
        yield from _check_loops(child, depth + isinstance(child, nodes.For))


# ── the layout ────────────────────────────────────────────────────────────────────────────────

_FORBIDDEN_TAGS = frozenset({
    "script", "iframe", "object", "embed", "form", "input", "button", "base", "link", "svg",
    "video", "audio",
})  # fmt: skip
_LAYOUT_FILES = frozenset({"layout.html", "layout.css"})
_URL = re.compile(r"(https?:|mailto:|tel:|cid:|#|$)", re.IGNORECASE)


class _Tags(HTMLParser):
    """Collects tags and attributes that are not allowed in emails, with their lines."""

    def __init__(self) -> None:
        super().__init__()
        self.problems: list[Problem] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _FORBIDDEN_TAGS:
            self._add(f"<{tag}> cannot be used in emails", "mail clients remove it")
        for name, value in attrs:
            if name.startswith("on") or name == "srcdoc":
                self._add(f"{name}= cannot be used in emails", "mail clients remove it")
            elif name in {"href", "src", "action", "background"} and not _URL.match(
                (value or "").strip()
            ):
                message = f"{name}={(value or '')[:40]!r} is not a URL for emails"
                self._add(message, "use https:, http:, mailto:, tel: or cid:")

    def _add(self, message: str, hint: str) -> None:
        self.problems.append(Problem(message, hint, line=self.getpos()[0]))


def _check_layout(text: str) -> Iterator[Problem]:
    yield from _check_tree(layout_environment().parse, text, LAYOUT_NAMES, _PLAIN_FILTERS)
    used, last = _names_in(text), text.count("\n") or 1
    if used is not None and "unsubscribe" not in used:
        yield Problem("the layout has no unsubscribe link", _UNSUBSCRIBE_HINT, line=last)
    if used is not None and "parts" not in used:
        message = "the layout does not print the text of the email"
        yield Problem(message, "loop over parts, as in our layout.html", line=last)


def _names_in(text: str) -> set[str] | None:
    """The variables that a layout reads; null when it cannot be parsed."""
    try:
        tree = layout_environment().parse(text)
    except (TemplateSyntaxError, RecursionError, ValueError, OverflowError, MemoryError):
        return None
    return {node.name for node in _walk(tree) if isinstance(node, nodes.Name)}


def _check_css(text: str) -> Iterator[Problem]:
    for number, line in enumerate(text.split("\n"), 1):
        if found := re.search(r"</|@import|expression\(|javascript:|url\(", line, re.IGNORECASE):
            yield Problem(
                f"{found[0]} cannot be used in the style sheet of emails",
                "emails load nothing",
                line=number,
            )


# ── rendering ─────────────────────────────────────────────────────────────────────────────────

_LINKS = {
    topic: Links(
        "https://platform.example/go/",
        address,
        "The team",
        "https://platform.example/certificates/x",
    )
    for topic, address in (("success", "https://platform.example/u/TOKEN"), ("transactional", None))
}


def _render_all(files: Mapping[str, str], wrong: Set[str]) -> Iterator[Problem]:
    """Render every override for each sample supplier, or one of our templates in the layout.

    Args:
        wrong: files with errors, which are left out, as are templates that need one of them.
    """
    templates = [
        (found[1], found[2] or ENGLISH, name)
        for name in files
        if (found := _TEMPLATE.fullmatch(name)) and name not in wrong
    ]
    templates = [one for one in templates if not wrong & set(_phrase_files(one[1]))]
    if not templates and ("layout.html" in files or "layout.css" in files):
        templates = [("check_in", ENGLISH, "layout.html")]
    for template, language, name in templates:
        yield from _render_one(template, language, name, files)


def _render_one(
    template: str, language: str, name: str, files: Mapping[str, str]
) -> Iterator[Problem]:
    brand = Brand(files=files)
    topic = "transactional" if template.startswith("call_") else "success"
    for sample, facts in sample_facts().items():
        try:
            rendered = render_message(template, facts, _LINKS[topic], brand, language)
        except (RenderError, TypeError, ValueError) as error:
            where, line = _place(error, name)
            message = f"cannot be rendered for a supplier {sample}: {_reason(error)}"
            yield Problem(message, _hint(error), where, line=line)
            return
        if "layout.html" in files:
            tags = _Tags()
            tags.feed(rendered.html)
            yield from (
                replace(one, file="layout.html", line=1) for one in dict.fromkeys(tags.problems)
            )
            if tags.problems:
                return


def _reason(error: Exception) -> str:
    return _WHERE.sub("", str(error))


def _hint(error: Exception) -> str:
    if isinstance(error.__cause__, ZeroDivisionError):
        return "test the divisor first: {% if clients_total %}"
    if isinstance(error.__cause__, ArithmeticError):
        return "use smaller numbers"
    if "unknown value" in str(error) or "NoneType" in str(error):
        return "test first: {% if clients_total is not none %}"
    if "unsubscribe" in str(error):
        return _UNSUBSCRIBE_HINT
    if "plural form" in str(error):
        return "give count one form for each of them: {{ clients_total|count('Paar', 'Paare') }}"
    return _COMPARE


def _place(error: Exception, name: str) -> tuple[str, int]:
    """The file and line where rendering failed."""
    found = _WHERE.match(str(error))
    file = found["file"] if found and found["file"].startswith("layout.") else name
    return file, int(found["line"]) if found and found["line"] else 1

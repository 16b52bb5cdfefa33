"""Sentences with numbers, in ICU MessageFormat: `{n, plural, one {# form} other {# forms}}`.

The grammar is pyicumessageformat's; plural forms are CLDR's (core/i18n.py). Beside what ICU has, a
`plural` or `select` may have the branch `unknown`, for a value that is null. White space counts as
one space, so that a sentence may be written over several lines.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any, Literal, NamedTuple

from pyicumessageformat import Parser

from everafter.core.i18n import (
    CATEGORIES,
    ENGLISH,
    counting_categories,
    format_number,
    ordinal_category,
    plural_categories,
    plural_category,
)

UNKNOWN = "unknown"
"""The branch for null."""

Kind = Literal["number", "share", "text", "flag"]
"""What a placeholder is replaced by. share: a percentage, a number that counts nothing."""
Nodes = list[Any]
"""Texts, and placeholders as pyicumessageformat gives them."""

_SPACES = re.compile(r"[ \t\r\n]+")
_POSITION = re.compile(r"(?:^|(?<= ))at position (\d+)")
_EXACT = re.compile(r"=[0-9]+")
_PARSER = Parser({"include_indices": True, "require_other": False, "maximum_depth": 12})
_TYPES = ("plural", "select", "selectordinal")
_FLAGS = ("true", "false", "other", UNKNOWN)
"""The branches of a select on what is true or false."""
_MISSING = {
    ", or }": "a comma or }",
    "placeholder name": "the name of a placeholder",
    "placeholder type": f"one of {', '.join(_TYPES)}",
    "placeholder style": "the format of the placeholder",
    "sub-message selector": "the name of a branch",
    "offset number": "the number after offset:",
}
"""What the parser calls what it expected, and what we call it."""


class Value(NamedTuple):
    """What a placeholder is replaced by.

    text: as it is written; number: what plural forms go by, null when it is not a number; key: what
    `select` compares, null when the value is not known.
    """

    text: str
    number: float | None = None
    key: str | None = None


class MessageError(ValueError):
    """A message does not follow the grammar, at the characters from `start` to `end`."""

    def __init__(self, message: str, hint: str, start: int, end: int) -> None:
        super().__init__(message)
        self.message, self.hint, self.start, self.end = message, hint, start, end


class Remark(NamedTuple):
    """Something wrong with a message, at the characters from `start` to `end`."""

    message: str
    hint: str
    start: int
    end: int
    level: Literal["error", "warning"] = "error"


@lru_cache(maxsize=2048)
def parse_message(text: str) -> Nodes:
    """The parts of a message.

    Raises:
        MessageError: it does not follow the grammar.
    """
    tokens: list[dict[str, str]] = []
    try:
        nodes = _PARSER.parse(text, tokens)
    except SyntaxError as error:
        raise _explain(text, str(error)) from error
    _refuse_repeated_branches(tokens)
    return nodes


def _refuse_repeated_branches(tokens: list[dict[str, str]]) -> None:
    """Of branches with the same name the parser keeps only the last."""
    at, open_ = 0, [set[str]()]
    for token in tokens:
        kind, text = token["type"], token["text"]
        if kind == "syntax" and text == "{":
            open_.append(set())
        elif kind == "syntax" and text == "}":
            open_.pop()
        elif kind == "selector" and text in open_[-1]:
            message = f"the branch {text} is there twice"
            raise MessageError(message, "keep one", at, at + len(text))
        elif kind == "selector":
            open_[-1].add(text)
        at += len(text)


def _explain(text: str, error: str) -> MessageError:
    found = _POSITION.search(error)
    at = min(int(found[1]), len(text)) if found else len(text)
    if 'Unexpected "}"' in error:
        return MessageError(
            "a brace is alone", "a placeholder needs both braces: {name}", at, at + 1
        )
    if "recursion" in error:
        return MessageError("branches are nested too deeply", "split the sentence", 0, len(text))
    opened = _last_open(text[:at])
    if "<EOF>" in error or at >= len(text):
        return MessageError("a brace is alone", "{signal} needs both braces", opened, len(text))
    expected = error.partition(" at position")[0].removeprefix("Expected ")
    hint = "such as {forms_waiting, plural, one {# form} other {# forms}}"
    return MessageError(f"{_describe_missing(expected)} missing here", hint, at, at + 1)


def _describe_missing(expected: str) -> str:
    """What the parser expected, with its verb.

    >>> _describe_missing("plural sub-messages"), _describe_missing("{")
    ('the branches of plural are', '{ is')
    """
    kind, is_branches, _ = expected.partition(" sub-messages")
    return (
        f"the branches of {kind} are" if is_branches else f"{_MISSING.get(expected, expected)} is"
    )


def _last_open(text: str) -> int:
    """Where the innermost brace that is still open begins."""
    closed = 0
    for at in range(len(text) - 1, -1, -1):
        closed += (text[at] == "}") - (text[at] == "{")
        if closed < 0:
            return at
    return 0


def find_placeholders(text: str) -> Iterator[tuple[str, int, int]]:
    """Every name in a message with the place of its placeholder.

    Raises:
        MessageError: it does not follow the grammar.
    """
    for node in _walk(parse_message(text)):
        if not node.get("hash"):
            yield node["name"], node["start"], node["end"]


@lru_cache(maxsize=2048)
def placeholders(text: str) -> tuple[str, ...]:
    """The names in a message, each once, in the order of their first use.

    >>> placeholders("{a} of {b, plural, one {#} other {{c}}}, {a}")
    ('a', 'b', 'c')
    """
    return tuple(dict.fromkeys(node["name"] for node in _walk(parse_message(text))))


def _walk(nodes: Nodes) -> Iterator[dict[str, Any]]:
    for node in nodes:
        if isinstance(node, dict):
            yield node
            for branch in node.get("options", {}).values():
                yield from _walk(branch)


@lru_cache(maxsize=2048)
def required_names(text: str) -> frozenset[str]:
    """The names whose values must be known for a message to read well: null has no branch there.

    >>> text = "{a} {b, plural, unknown {some} other {# {c}}} {d, plural, other {#}}"
    >>> sorted(required_names(text))
    ['a', 'c', 'd']
    """
    return frozenset(_required(parse_message(text), frozenset()))


def _required(nodes: Nodes, known: frozenset[str]) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, str) or node.get("hash"):
            continue
        name, options = node["name"], node.get("options", {})
        null = options.get(UNKNOWN, options.get("other") if node.get("type") == "select" else None)
        if null is None and name not in known:
            yield name
        for branch in options.values():
            yield from _required(branch, known if branch is null else known | {name})


def format_message(text: str, value: Callable[[str], Value], language: str = ENGLISH) -> str:
    """A message with its values, in one line.

    Args:
        text: a message that `check_message` finds no error in.
        value: the value of a name.
        language: the message's, whose plural forms count.

    Raises:
        MessageError: the text does not follow the grammar.

    >>> text = "{n, plural, unknown {Some} =0 {No forms} one {# form} other {# forms}} left"
    >>> [format_message(text, lambda name: Value(f"{n}", n)) for n in (0, 1, 2)]
    ['No forms left', '1 form left', '2 forms left']
    >>> format_message(text, lambda name: Value("?"))
    'Some left'
    """
    written = _write(parse_message(text), value, language, "")
    return _SPACES.sub(" ", written).strip()


def _write(nodes: Nodes, value: Callable[[str], Value], language: str, number: str) -> str:
    """number: what `#` is replaced by."""
    parts: list[str] = []
    for node in nodes:
        if isinstance(node, str):
            parts.append(node)
        elif node.get("hash"):
            parts.append(number)
        else:
            found = value(node["name"])
            if "options" not in node:
                parts.append(found.text)
                continue
            branch = _choose(node, found, language)
            offset = node.get("offset", 0)
            here = found.text
            if offset and found.number is not None:
                here = format_number(found.number - offset, language)
            inner = number if node["type"] == "select" else here
            parts.append(_write(node["options"].get(branch, []), value, language, inner))
    return "".join(parts)


def _choose(node: dict[str, Any], value: Value, language: str) -> str:
    """The branch of a placeholder that a value takes."""
    options, kind = node["options"], node["type"]
    if kind == "select":
        key = UNKNOWN if value.key is None else value.key
        return key if key in options else "other"
    if value.number is None:
        return UNKNOWN if UNKNOWN in options else "other"
    exact = f"={int(value.number)}" if value.number % 1 == 0 else ""
    if exact in options:
        return exact
    category = ordinal_category if kind == "selectordinal" else plural_category
    name = category(value.number - node.get("offset", 0), language)
    return name if name in options else "other"


def check_message(text: str, kinds: Mapping[str, Kind], language: str = ENGLISH) -> list[Remark]:
    """What is wrong with a message, or surely not meant.

    Args:
        kinds: the names that it may have, and what each is.
        language: the message's.
    """
    try:
        nodes = parse_message(text)
    except MessageError as error:
        return [Remark(error.message, error.hint, error.start, error.end)]
    found = [remark for node in _walk(nodes) for remark in _check_node(node, kinds, language)]
    quoted = re.search(r"(?<!')'[{}]", text)
    if quoted:
        hint = "write ’, or '' for an apostrophe before a brace"
        message = "an apostrophe before a brace makes plain text of what follows"
        found.append(Remark(message, hint, *quoted.span(), "warning"))
    return found


def _check_node(node: dict[str, Any], kinds: Mapping[str, Kind], language: str) -> Iterator[Remark]:
    if node.get("hash") or node["name"] not in kinds:
        return
    place, kind, name = (node["start"], node["end"]), node.get("type"), node["name"]
    if kind is None:
        return
    if kind not in _TYPES:
        hint = f"write {{{name}}} alone, or one of {', '.join(_TYPES)}"
        yield Remark(f"{kind!r} is not a kind of placeholder", hint, *place)
        return
    is_number = kinds[name] in {"number", "share"}
    if is_number == (kind == "select"):
        other = "plural" if is_number else "select"
        what = "a number" if is_number else "not a number"
        yield Remark(f"{name} is {what}", f"write {{{name}, {other}, …}}", *place)
        return
    if "other" not in node["options"]:
        yield Remark("there is no branch other", "it is for every value that has no branch", *place)
    if kinds[name] == "flag":
        for branch in node["options"]:
            if branch not in _FLAGS:
                message = f"{name} is true or false, so the branch {branch} is never taken"
                yield Remark(message, f"branches are {', '.join(_FLAGS)}", *place)
    if is_number:
        yield from _check_forms(node, language, counts=kinds[name] == "number")


def _check_forms(node: dict[str, Any], language: str, *, counts: bool) -> Iterator[Remark]:
    """Branches that a language never takes, and forms that it needs."""
    place = (node["start"], node["end"])
    named = [name for name in node["options"] if name != UNKNOWN and not _EXACT.fullmatch(name)]
    for exact in filter(_EXACT.fullmatch, node["options"]):
        if exact != (written := f"={exact[1:].lstrip('0') or '0'}"):
            yield Remark(f"the branch {exact} is never taken", f"write {written}", *place)
    known = plural_categories(language)
    for name in named:
        if name not in CATEGORIES:
            hint = f"branches are {', '.join(known)}, =0 for a number, and {UNKNOWN}"
            yield Remark(f"{name!r} is not a branch of plural", hint, *place)
        elif name not in known and node["type"] == "plural":
            hint = f"{language} has {', '.join(known)}"
            yield Remark(f"{language} never takes the branch {name}", hint, *place, "warning")
    if node["type"] != "plural" or not counts or not _prints(node):
        return
    needed = [name for name in counting_categories(language) if name != "other"]
    lacking = [name for name in needed if name not in named and not _is_exact(name, node, language)]
    if lacking:
        hint = f"{language} has {', '.join(known)}; other is used for what is not there"
        yield Remark(f"there is no branch {' and '.join(lacking)}", hint, *place, "warning")


def _prints(node: dict[str, Any]) -> bool:
    """Whether the branch `other` has the number in it, and words beside it."""
    other: Nodes = node["options"].get("other", [])
    named = any(one["name"] == node["name"] and "options" not in one for one in _walk(other))
    return named and len(other) > 1


def _is_exact(name: str, node: dict[str, Any], language: str) -> bool:
    """Whether every small number of a category has a branch of its own."""
    numbers = [n for n in range(200) if plural_category(n, language) == name]
    return all(f"={n}" in node["options"] for n in numbers)

"""Templates into messages: sandboxed, strict about what is missing, escaped for HTML.

A template is one text file: header lines (`Subject`, `Preheader`, `Heading`, `Button`, `Numbers`),
an empty line, and paragraphs. The email is written once; the HTML part is the same paragraphs in
one shared layout, so that the two parts cannot disagree."""

import re
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import css_inline
from jinja2 import StrictUndefined, Template, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment
from markupsafe import Markup

from everafter.mail.formatting import (
    FILTERS,
    clean_facts,
    clean_steps,
    clean_text,
    number_rows,
    vendor_words,
)
from everafter.mail.model import Links, Rendered, RenderError

_HEADERS = ("Subject", "Preheader", "Heading", "Button", "Numbers")
_WIDTH = 72
_LONGEST_HEADER = 2500
_ACTION = re.compile(r"[a-z_]+|https?://[^\s<>\"']+")
_WHY_NOTES = "We send you emails like this now and then because you plan your weddings with us."
_WHY_ACCOUNT = (
    "This is about your account or your appointment, so we send it even if you have unsubscribed"
    " from other emails."
)
# U+2068 and U+2069; `clean_text` lets no fact bring any of its own
_OPEN, _CLOSE = "\u2068", "\u2069"
_LETTER = "\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc"
_RIGHT_TO_LEFT = re.compile(f"[{_LETTER}]")
_RUN = re.compile(rf"[{_LETTER}](?:[^A-Za-z\u00c0-\u024f]*[{_LETTER}])?")
_FOLDER = resources.files("everafter.mail") / "templates"


@dataclass(frozen=True, slots=True)
class _Part:
    """A piece of the email: kind is text, list, numbers, next_steps or button."""

    kind: str
    text: str = ""
    items: tuple[str, ...] = ()


def _refuse_null(value: Any) -> Any:
    if value is None:
        raise RenderError("a template printed a fact that is not known; it must ask first")
    return value


def _environment(*, autoescape: bool) -> ImmutableSandboxedEnvironment:
    env = ImmutableSandboxedEnvironment(
        undefined=StrictUndefined,
        autoescape=autoescape,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_refuse_null,
    )
    env.filters.update(FILTERS)
    return env


_TEXT = _environment(autoescape=False)
_HTML = _environment(autoescape=True)


@cache
def list_templates() -> tuple[str, ...]:
    """The names a message's `template` may have."""
    return tuple(
        sorted(
            file.name.removesuffix(".txt")
            for file in _FOLDER.iterdir()
            if file.name.endswith(".txt")
        )
    )


@cache
def _compiled(template: str) -> tuple[dict[str, Template], Template]:
    """A template's header lines and its body, taken apart before rendering: what facts say can
    never become a header."""
    if template not in list_templates():
        raise RenderError(
            f"there is no mail template {template!r}; there are: {', '.join(list_templates())}"
        )
    head, _, body = (_FOLDER / f"{template}.txt").read_text(encoding="utf-8").partition("\n\n")
    headers = dict(line.split(": ", 1) for line in head.splitlines())
    if set(headers) - set(_HEADERS) or "Subject" not in headers:
        raise RenderError(
            f"{template}.txt: its header lines may be {', '.join(_HEADERS)}, and Subject must be there"
        )
    try:
        return {name: _TEXT.from_string(text) for name, text in headers.items()}, _TEXT.from_string(
            body
        )
    except TemplateError as error:
        raise RenderError(f"{template}.txt: {error}") from error


@cache
def _layout() -> Template:
    return _HTML.from_string((_FOLDER / "layout.html").read_text(encoding="utf-8"))


@cache
def _style() -> str:
    return (_FOLDER / "layout.css").read_text(encoding="utf-8")


_INLINER = css_inline.CSSInliner(keep_at_rules=True, load_remote_stylesheets=False, minify_css=True)


def render_message(template: str, facts: Mapping[str, Any], links: Links) -> Rendered:
    """Make a message of a template and a supplier's own numbers.

    Args: template: a name out of `list_templates()`. facts: `name` (the supplier's) and signals as
        they stood at the decision; what is missing counts as not known. `next_steps`: rows with
        title, body, reason, action_label and action_url, the most useful first. links: where its
        button and footer lead, and who signs.

    Returns:
        The subject (one line), the text part and the HTML part; both parts hold the same sentences.

    Raises:
        RenderError: no such template, or facts that it cannot be made of.
    """
    headers, body = _compiled(template)
    context = {
        key: value if key.endswith("_url") else _isolate(value)
        for key, value in clean_facts(facts).items()
    }
    name = str(context.get("name") or "")
    context |= {
        "name": name,
        "greeting": f"Hi {name}," if name else "Hello,",
        "vendor_words": vendor_words(context["vendor_type"]),
        "next_steps": [
            _isolate_names(step) for step in clean_steps(facts.get("next_steps"), links.go)
        ],
    }
    try:
        made = {
            key: clean_text(_join(header.render(context)), _LONGEST_HEADER)
            for key, header in headers.items()
        }
        parts = _parts(body.render(context))
    except (TemplateError, TypeError) as error:
        raise RenderError(f"{template}.txt: {error}") from error
    view: dict[str, Any] = {
        "subject": made["Subject"],
        "preheader": made.get("Preheader", ""),
        "heading": made.get("Heading", ""),
        "parts": parts,
        "numbers": number_rows(context, made.get("Numbers", "").split()),
        "button": _button(made.get("Button", ""), links),
        "steps": context["next_steps"],
        "button_in_steps": False,
        "sender": _isolate(clean_text(links.sender)),
        "unsubscribe": links.unsubscribe,
        "why": _WHY_NOTES if links.unsubscribe else _WHY_ACCOUNT,
    }
    # the button of a step is below that step, not below all of them
    view["button_in_steps"] = view["button"] is not None and any(
        step["go"] == view["button"][1] for step in view["steps"]
    )
    return Rendered(made["Subject"], _join(_text_part(view)), _html_part(view))


def _isolate(value: Any) -> Any:
    """A text that has right-to-left emails, between marks; any other value as it is.

    In HTML the marks become a `bdi` element: the name keeps its own direction, and the sentence
    around it that of English."""
    return (
        f"{_OPEN}{value}{_CLOSE}"
        if isinstance(value, str) and _RIGHT_TO_LEFT.search(value)
        else value
    )


def _isolate_names(step: dict[str, str]) -> dict[str, str]:
    """A step whose sentences have each run of right-to-left emails between marks, for that is a
    client's name."""
    return {
        key: text if key == "go" else _RUN.sub(rf"{_OPEN}\g<0>{_CLOSE}", text)
        for key, text in step.items()
    }


def _join(text: str) -> str:
    """Without the marks: what is in headers and in the text part."""
    return text.replace(_OPEN, "").replace(_CLOSE, "")


def _button(header: str, links: Links) -> tuple[str, str] | None:
    """Label and address. The action after the last bar is a word for `/go/…`, `certificate`, or a
    whole address made by us."""
    label, _, action = header.rpartition(" | ")
    if not label:
        return None
    if not _ACTION.fullmatch(action):
        raise RenderError(f"Button: {action!r} is neither an action's name nor an http address")
    if action == "certificate":
        return label, links.certificate or links.go + action
    return label, action if "://" in action else links.go + action


def _parts(body: str) -> list[_Part]:
    parts: list[_Part] = []
    for block in body.split("\n\n"):
        lines = [line.strip() for line in block.splitlines() if line.strip()]
        if not lines:
            continue
        if lines in (["[numbers]"], ["[button]"], ["[next_steps]"]):
            parts.append(_Part(lines[0].strip("[]")))
        elif all(line.startswith("- ") for line in lines):
            parts.append(_Part("list", items=tuple(line[2:] for line in lines)))
        else:
            parts.append(_Part("text", " ".join(lines)))
    return parts


def _text_part(view: dict[str, Any]) -> str:
    blocks: list[str] = []
    for part in view["parts"]:
        if part.kind == "text":
            blocks.append(_wrap(part.text))
        elif part.kind == "list":
            blocks.append("\n".join(_wrap(item, "- ", "  ") for item in part.items))
        elif part.kind == "numbers" and view["numbers"]:
            wide = max(len(figure) for figure, _ in view["numbers"])
            blocks.append(
                "\n".join(f"  {figure:>{wide}}  {label}" for figure, label in view["numbers"])
            )
        elif part.kind == "button" and view["button"] and not view["button_in_steps"]:
            blocks.append("{}:\n{}".format(*view["button"]))
        elif part.kind == "next_steps":
            blocks += [_step_text(step, view["button"]) for step in view["steps"]]
    blocks.append(view["sender"])
    if view["unsubscribe"]:
        blocks.append(f"-- \n{_wrap(_WHY_NOTES)}\nUnsubscribe: {view['unsubscribe']}")
    else:
        blocks.append(f"-- \n{_wrap(_WHY_ACCOUNT)}")
    return "\n\n".join(blocks) + "\n"


def _step_text(step: dict[str, str], button: tuple[str, str] | None) -> str:
    said = _wrap(f"{step['title']}. {step['reason']} {step['body']}")
    own = bool(button) and button[1] == step["go"]
    return (
        f"{said}\n\n{step['action_label']}:\n{step['go']}"
        if own
        else f"{said}\n{step['action_label']}: {step['go']}"
    )


def _wrap(text: str, first: str = "", rest: str = "") -> str:
    return textwrap.fill(
        text,
        _WIDTH,
        initial_indent=first,
        subsequent_indent=rest,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _html_part(view: dict[str, Any]) -> str:
    html = _layout().render(view | {"style": Markup(_style())})  # noqa: S704 our own file
    return _INLINER.inline(html).replace(_OPEN, "<bdi>").replace(_CLOSE, "</bdi>")

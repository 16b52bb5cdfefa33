"""Templates into messages: sandboxed, strict about what is missing, escaped for HTML.

A template is one text file: header lines (`Subject`, `Preheader`, `Heading`, `Button`, `Numbers`),
an empty line, and paragraphs. The email is written once; the HTML part is the same paragraphs in
one shared layout, so that the two parts cannot disagree."""

import re
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib import resources
from typing import Any

import css_inline
from jinja2 import StrictUndefined, Template, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment
from markupsafe import Markup, escape

from everafter.branding.model import ENGLISH, OURS, Brand
from everafter.branding.rules import recolor
from everafter.mail.formatting import (
    FILTERS,
    clean_facts,
    clean_steps,
    clean_text,
    number_rows,
    vendor_terms,
)
from everafter.mail.model import LOGO_ID, Links, Rendered, RenderError
from everafter.mail.translation import Words, filters_of, read_labels

_HEADERS = ("Subject", "Preheader", "Heading", "Button", "Numbers")
HEADER_NAMES = _HEADERS
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
_BLOCK_AFTER_TEXT = re.compile(r"^(?!\s*\{%)(.*%\})[ \t]*$", re.MULTILINE)
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
_LARGEST_PART = 100_000
"""Characters of a part of an email made by an override; Gmail cuts off what is longer."""


@dataclass(frozen=True, slots=True)
class Source:
    """A template's text and where it is from. file: its name; language: of its sentences."""

    file: str
    text: str
    language: str = ENGLISH
    is_ours: bool = True


def find_source(template: str, brand: Brand, language: str) -> Source:
    """The template to use: the override in that language or its base language, the override without
    a language, ours.

    Raises:
        RenderError: there is no template of that name.
    """
    if template not in list_templates():
        raise RenderError(
            f"there is no mail template {template!r}; there are: {', '.join(list_templates())}"
        )
    for tag in dict.fromkeys((language, language[:2])):
        if (name := f"{template}.{tag}.txt") in brand.files:
            return Source(name, brand.files[name], tag, is_ours=False)
    name = f"{template}.txt"
    if name in brand.files:
        return Source(name, brand.files[name], is_ours=False)
    return Source(name, (_FOLDER / name).read_text(encoding="utf-8"))


def labels_for(brand: Brand, language: str) -> Words:
    """The phrases around an email in the language of its template."""
    text = _labels_text(brand, language)
    return read_labels(text, language) if text else Words(language)


def _labels_text(brand: Brand, language: str) -> str | None:
    """The word table of that language, or of its base language."""
    return brand.files.get(f"words.{language}.toml") or brand.files.get(
        f"words.{language[:2]}.toml"
    )


def layout_environment() -> ImmutableSandboxedEnvironment:
    """The environment of the layout, which escapes what it prints."""
    return _HTML


@lru_cache(maxsize=64)
def text_environment(language: str, labels_text: str | None) -> ImmutableSandboxedEnvironment:
    """The environment of templates in that language; `labels_text` is its word table."""
    if language[:2] == ENGLISH:
        return _TEXT
    env = _environment(autoescape=False)
    for name in FILTERS:
        env.filters.pop(name, None)
    env.filters.update(filters_of(read_labels(labels_text or "", language)))
    return env


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


@lru_cache(maxsize=256)
def _compiled(source: Source, labels_text: str | None) -> tuple[dict[str, Template], Template]:
    """A template's header lines and its body, taken apart before rendering: what facts say can
    never become a header."""
    env = text_environment(source.language, labels_text)
    head, _, body = source.text.partition("\n\n")
    lines = head.splitlines()
    pairs = [line.partition(": ") for line in lines]
    # empty lines before each part, so that an error has the line of the file
    headers = {name: "\n" * place + text for place, (name, _, text) in enumerate(pairs)}
    # the environment drops the line end after a block; one behind a sentence ends that sentence's
    # line all the same
    body = "\n" * (len(lines) + 1) + _BLOCK_AFTER_TEXT.sub(r"\1{{ '' }}", body)
    if set(headers) - set(_HEADERS) or "Subject" not in headers:
        raise RenderError(
            f"{source.file}: its header lines may be {', '.join(_HEADERS)}, and Subject must be there"
        )
    try:
        return {name: env.from_string(text) for name, text in headers.items()}, env.from_string(
            body
        )
    except TemplateError as error:
        raise RenderError(f"{source.file}: {error}") from error


@lru_cache(maxsize=8)
def _layout(text: str | None) -> Template:
    """The frame of every HTML part: the override's text, or null for ours."""
    try:
        return _HTML.from_string(
            (_FOLDER / "layout.html").read_text(encoding="utf-8") if text is None else text
        )
    except TemplateError as error:
        raise RenderError(f"layout.html: {error}") from error


@cache
def _style() -> str:
    return (_FOLDER / "layout.css").read_text(encoding="utf-8")


_INLINER = css_inline.CSSInliner(keep_at_rules=True, load_remote_stylesheets=False, minify_css=True)


def render_message(
    template: str,
    facts: Mapping[str, Any],
    links: Links,
    brand: Brand = OURS,
    language: str | None = None,
) -> Rendered:
    """Make a message of a template and a supplier's own numbers.

    Args: template: a name out of `list_templates()`. facts: `name` (the supplier's) and signals as
        they stood at the decision; what is missing counts as not known. `next_steps`: rows with
        title, body, reason, action_label and action_url, the most useful first. links: where its
        button and footer lead, and who signs. brand: the platform's name, logo, colors and
        overrides. language: to write in, as far as there is an override in it; null: by the
        supplier's country.

    Returns:
        The subject (one line), the text part and the HTML part; both parts hold the same sentences.

    Raises:
        RenderError: no such template, or facts that it cannot be made of.
    """
    source = find_source(template, brand, language or brand.language_of(facts.get("country")))
    words = labels_for(brand, source.language)
    headers, body = _compiled(source, _labels_text(brand, source.language))
    context = {
        key: value if key.endswith("_url") else _isolate(value)
        for key, value in clean_facts(facts).items()
    }
    name = str(context.get("name") or "")
    context |= {
        "name": name,
        "greeting": _greeting(words, name),
        "vendor_terms": vendor_terms(context["vendor_type"]),
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
    except (TemplateError, TypeError, RenderError) as error:
        raise RenderError(f"{source.file}: {error}") from error
    numbers = made.get("Numbers", "").split()
    platform = _isolate(clean_text(brand.name)) or _isolate(clean_text(links.sender))
    view: dict[str, Any] = {
        "subject": made["Subject"],
        "preheader": made.get("Preheader", ""),
        "heading": made.get("Heading", ""),
        "parts": parts,
        "numbers": number_rows(
            context, numbers, words.labels, words.language, words.frame.get("today", "today")
        ),
        "button": _button(made.get("Button", ""), links),
        "steps": context["next_steps"],
        "button_in_steps": False,
        "sender": _isolate(clean_text(links.sender)),
        "unsubscribe": links.unsubscribe,
        "why": words.frame.get("why_success", _WHY_NOTES)
        if links.unsubscribe
        else words.frame.get("why_transactional", _WHY_ACCOUNT),
        "stop": words.frame.get("unsubscribe", "Unsubscribe"),
        "platform": platform,
        "logo": _logo(brand, _join(platform)),
        "language": words.language,
        "direction": words.direction,
    }
    # the button of a step is below that step, not below all of them
    view["button_in_steps"] = view["button"] is not None and any(
        step["go"] == view["button"][1] for step in view["steps"]
    )
    rendered = Rendered(made["Subject"], _join(_text_part(view)), _html_part(view, brand))
    if not source.is_ours or "layout.html" in brand.files:
        _check_made(rendered, links)
    return rendered


def _greeting(words: Words, name: str) -> str:
    if name:
        return words.frame.get("greeting", "Hi {name},").replace("{name}", name)
    return words.frame.get("greeting_without_name", "Hello,")


def _logo(brand: Brand, name: str) -> dict[str, Any] | None:
    """The logo's address and size for the layout; a file travels with the email under its
    Content-ID."""
    logo = brand.logo
    if logo is None:
        return None
    return {
        "src": logo.url or f"cid:{LOGO_ID}",
        "width": logo.width,
        "height": logo.height,
        "alt": name,
    }


def _check_made(rendered: Rendered, links: Links) -> None:
    """Refuse what an override left out or made too long: it is not sent at all rather than in
    part."""
    if links.unsubscribe and escape(links.unsubscribe) not in rendered.html:
        raise RenderError(
            "layout.html: the email has no unsubscribe link; print {{ unsubscribe }} in an href"
        )
    if max(len(rendered.text), len(rendered.html)) > _LARGEST_PART:
        raise RenderError(f"the email has more than {_LARGEST_PART:,} characters")


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
        blocks.append(f"-- \n{_wrap(view['why'])}\n{view['stop']}: {view['unsubscribe']}")
    else:
        blocks.append(f"-- \n{_wrap(view['why'])}")
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


def _html_part(view: dict[str, Any], brand: Brand) -> str:
    style = brand.files.get("layout.css") or recolor(_style(), brand.colors)
    layout = _layout(brand.files.get("layout.html"))
    try:
        html = layout.render(view | {"style": Markup(style)})  # noqa: S704 a style sheet of ours, or the platform's own
    except (TemplateError, TypeError) as error:
        raise RenderError(f"layout.html: {error}") from error
    return _INLINER.inline(html).replace(_OPEN, "<bdi>").replace(_CLOSE, "</bdi>")

"""Render email templates: in a sandbox, strict about unknown facts, escaped for HTML.

A template is a text file: header lines (`Subject`, `Preheader`, `Heading`, `Button`, `Numbers`), an
empty line, and paragraphs. The text part and the HTML part are made from the same paragraphs.
"""

import re
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import DecimalException
from functools import cache, lru_cache
from importlib import resources
from typing import Any

import css_inline
from jinja2 import StrictUndefined, Template, TemplateSyntaxError
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
from everafter.mail.translation import Phrases, filters_of, read_phrases

HEADER_NAMES = ("Subject", "Preheader", "Heading", "Button", "Numbers")
_WIDTH = 72
_LONGEST_HEADER = 2500
_ACTION = re.compile(r"[a-z_]+|https?://[^\s<>\"']+")
_WHY_NOTES = "We send you emails like this now and then because you plan your weddings with us."
_FOR_OUR_TEAM = frozenset({"call_for_csm"})
_WHY_TEAM = "You get this email because you take calls with suppliers."
_WHY_ACCOUNT = (
    "This is about your account or your appointment, so we send it even if you have unsubscribed"
    " from other emails."
)
# directional isolates; `clean_text` removes them from facts
_OPEN, _CLOSE = "\u2068", "\u2069"
_RTL = "\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc"
_RIGHT_TO_LEFT = re.compile(f"[{_RTL}]")
_RTL_RUN = re.compile(rf"[{_RTL}](?:[^A-Za-z\u00c0-\u024f]*[{_RTL}])?")
_BLOCK_AFTER_TEXT = re.compile(r"^(?!\s*\{%)(.*%\})[ \t]*$", re.MULTILINE)
_FOLDER = resources.files("everafter.mail") / "templates"


@dataclass(frozen=True, slots=True)
class _Part:
    """A block of the email. kind: text, list, numbers, next_steps or button."""

    kind: str
    text: str = ""
    items: tuple[str, ...] = ()


def _refuse_null(value: Any) -> Any:
    if value is None:
        raise RenderError("the template prints an unknown value; it must test for none first")
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
"""Characters of one part of an email that an override renders; Gmail truncates longer ones."""


@dataclass(frozen=True, slots=True)
class Source:
    """A template. file: the name of its file; language: of its sentences."""

    file: str
    text: str
    language: str = ENGLISH
    is_ours: bool = True


def find_source(template: str, brand: Brand, language: str) -> Source:
    """The template to use: the override in the language or its base language, else the override
    without a language, else ours.

    Raises:
        RenderError: unknown template.
    """
    if template not in list_templates():
        raise RenderError(
            f"unknown email template {template!r}; expected one of {', '.join(list_templates())}"
        )
    for tag in dict.fromkeys((language, language[:2])):
        if (name := f"{template}.{tag}.txt") in brand.files:
            return Source(name, brand.files[name], tag, is_ours=False)
    name = f"{template}.txt"
    if name in brand.files:
        return Source(name, brand.files[name], is_ours=False)
    return Source(name, (_FOLDER / name).read_text(encoding="utf-8"))


def phrases_for(brand: Brand, language: str) -> Phrases:
    """The phrases around an email in the language of its template."""
    text = _phrases_text(brand, language)
    return read_phrases(text, language) if text else Phrases(language)


def _phrases_text(brand: Brand, language: str) -> str | None:
    """The phrases of that language, or of its base language."""
    return brand.files.get(f"phrases.{language}.toml") or brand.files.get(
        f"phrases.{language[:2]}.toml"
    )


def layout_environment() -> ImmutableSandboxedEnvironment:
    """The environment of the layout, with autoescape."""
    return _HTML


@lru_cache(maxsize=64)
def text_environment(language: str, phrases_text: str | None) -> ImmutableSandboxedEnvironment:
    """The environment of templates in a language. phrases_text: its phrases.LANGUAGE.toml."""
    if language[:2] == ENGLISH:
        return _TEXT
    env = _environment(autoescape=False)
    for name in FILTERS:
        env.filters.pop(name, None)
    env.filters.update(filters_of(read_phrases(phrases_text or "", language)))
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
def _compiled(source: Source, phrases_text: str | None) -> tuple[dict[str, Template], Template]:
    """Compile the header lines and the body of a template separately, so that facts cannot become
    header lines."""
    env = text_environment(source.language, phrases_text)
    head, _, body = source.text.partition("\n\n")
    lines = head.splitlines()
    pairs = [line.partition(": ") for line in lines]
    # empty lines before each part, so that errors have the line numbers of the file
    headers = {name: "\n" * place + text for place, (name, _, text) in enumerate(pairs)}
    # `trim_blocks` removes the line end after a block; keep it at the end of a sentence
    body = "\n" * (len(lines) + 1) + _BLOCK_AFTER_TEXT.sub(r"\1{{ '' }}", body)
    if set(headers) - set(HEADER_NAMES) or "Subject" not in headers:
        raise RenderError(
            f"{source.file}: expected the header lines {', '.join(HEADER_NAMES)};"
            " Subject is required"
        )
    try:
        return {name: env.from_string(text) for name, text in headers.items()}, env.from_string(
            body
        )
    except Exception as error:
        raise _failed(source.file, error) from error


@lru_cache(maxsize=8)
def _layout(text: str | None) -> Template:
    """The layout of every HTML part. text: an override; null: ours."""
    try:
        return _HTML.from_string(
            (_FOLDER / "layout.html").read_text(encoding="utf-8") if text is None else text
        )
    except Exception as error:
        raise _failed("layout.html", error) from error


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
    """Render a template with the facts of a supplier.

    Args:
        template: a name from `list_templates()`.
        facts: `name` (the supplier's) and signals at the time of the intervention; missing ones are
            unknown. `next_steps`: rows with title, body, reason, action_label and action_url, the
            most useful first.
        links: the links of the button and the footer, and the name in the signature.
        brand: the platform's name, logo, colors and overrides.
        language: used if there is an override in it; null: by the supplier's country.

    Returns:
        The subject (one line), the text part and the HTML part, with the same sentences.

    Raises:
        RenderError: unknown template, or it cannot be rendered with these facts.
    """
    source = find_source(template, brand, language or brand.language_of(facts.get("country")))
    phrases = phrases_for(brand, source.language)
    context = _context(facts, links, phrases)
    headers, parts = _render_source(source, _phrases_text(brand, source.language), context)
    steps = context["next_steps"]
    numbers = number_rows(
        context,
        headers.get("Numbers", "").split(),
        phrases.labels,
        phrases.language,
        phrases.frame.get("today", "today"),
    )
    button = _button(headers.get("Button", ""), links)
    view = _frame(phrases, links, brand, _why(template, phrases, links)) | {
        "subject": headers["Subject"],
        "preheader": headers.get("Preheader", ""),
        "heading": headers.get("Heading", ""),
        "parts": parts,
        "numbers": numbers,
        "button": button,
        "steps": steps,
        # the button of a recommendation is shown below it, not below all of them
        "button_in_steps": button is not None and any(step["go"] == button[1] for step in steps),
    }
    rendered = Rendered(headers["Subject"], _join(_text_part(view)), _html_part(view, brand))
    if not source.is_ours or "layout.html" in brand.files:
        _check_rendered(rendered, links)
    return rendered


def render_subject(template: str, facts: Mapping[str, Any], brand: Brand = OURS) -> str:
    """Render only the subject; the arguments are those of `render_message`.

    Raises:
        RenderError: unknown template, or it cannot be rendered with these facts.
    """
    source = find_source(template, brand, brand.language_of(facts.get("country")))
    links = Links(go="", unsubscribe=None, sender="")
    context = _context(facts, links, phrases_for(brand, source.language))
    headers, _ = _render_source(source, _phrases_text(brand, source.language), context)
    return _join(headers["Subject"])


def _context(facts: Mapping[str, Any], links: Links, phrases: Phrases) -> dict[str, Any]:
    """What a template can print: the facts, and texts made of them."""
    context = {
        key: value if key.endswith("_url") else _isolate(value)
        for key, value in clean_facts(facts).items()
    }
    name = str(context.get("name") or "")
    return context | {
        "name": name,
        "greeting": _greeting(phrases, name),
        "vendor_terms": vendor_terms(context["vendor_type"]),
        "next_steps": [
            _isolate_names(step) for step in clean_steps(facts.get("next_steps"), links.go)
        ],
    }


def _render_source(
    source: Source, phrases_text: str | None, context: dict[str, Any]
) -> tuple[dict[str, str], list[_Part]]:
    """The header lines and the blocks of a template with the facts in `context`.

    Raises:
        RenderError: the template is not valid, or it cannot be rendered with these facts.
    """
    headers, body = _compiled(source, phrases_text)
    try:
        lines = {
            key: clean_text(_join(header.render(context)), _LONGEST_HEADER)
            for key, header in headers.items()
        }
        return lines, _parts(body.render(context))
    except Exception as error:
        raise _failed(source.file, error) from error


def _failed(file: str, error: Exception) -> RenderError:
    """The error of a file whose expressions raised any exception, such as a division by zero."""
    line = template_line(error)
    reason = str(error) or type(error).__name__
    if isinstance(error, SyntaxError):
        reason = error.msg
    elif isinstance(error, DecimalException):
        reason = "a number is too large"
    return RenderError(f"{file}{f':{line}' if line else ''}: {reason}")


def template_line(error: BaseException) -> int:
    """The line of the template at which an exception was raised; 0: not in a template."""
    if isinstance(error, TemplateSyntaxError):
        return error.lineno
    line, traceback = 0, error.__traceback__
    while traceback is not None:
        if traceback.tb_frame.f_code.co_filename == "<template>":
            line = traceback.tb_lineno
        traceback = traceback.tb_next
    return line


def _why(template: str, phrases: Phrases, links: Links) -> str:
    """The footer's sentence on why the reader gets this email."""
    if template in _FOR_OUR_TEAM:
        return _WHY_TEAM
    if links.unsubscribe:
        return phrases.frame.get("why_success", _WHY_NOTES)
    return phrases.frame.get("why_transactional", _WHY_ACCOUNT)


def _frame(phrases: Phrases, links: Links, brand: Brand, why: str) -> dict[str, Any]:
    """What the layout shows around the text of the email."""
    sender = _isolate(clean_text(links.sender))
    platform = _isolate(clean_text(brand.name)) or sender
    return {
        "sender": sender,
        "unsubscribe": links.unsubscribe,
        "why": why,
        "stop": phrases.frame.get("unsubscribe", "Unsubscribe"),
        "platform": platform,
        "logo": _logo(brand, _join(platform)),
        "language": phrases.language,
        "direction": phrases.direction,
    }


def _greeting(phrases: Phrases, name: str) -> str:
    if name:
        return phrases.frame.get("greeting", "Hi {name},").replace("{name}", name)
    return phrases.frame.get("greeting_without_name", "Hello,")


def _logo(brand: Brand, name: str) -> dict[str, Any] | None:
    """The URL and size of the logo for the layout. A file is attached with a Content-ID."""
    logo = brand.logo
    if logo is None:
        return None
    return {
        "src": logo.url or f"cid:{LOGO_ID}",
        "width": logo.width,
        "height": logo.height,
        "alt": name,
    }


def _check_rendered(rendered: Rendered, links: Links) -> None:
    """Reject a message without its unsubscribe link, or one that mail clients would truncate."""
    if links.unsubscribe and escape(links.unsubscribe) not in rendered.html:
        raise RenderError(
            "layout.html: the email has no unsubscribe link; print {{ unsubscribe }} in an href"
        )
    if max(len(rendered.text), len(rendered.html)) > _LARGEST_PART:
        raise RenderError(f"the email has more than {_LARGEST_PART:,} characters")


def _isolate(value: Any) -> Any:
    """Put a text with right-to-left characters between isolates; return other values unchanged.

    In HTML the isolates become a `bdi` element, so that a name keeps its own direction and the
    sentence around it keeps that of its language.
    """
    return (
        f"{_OPEN}{value}{_CLOSE}"
        if isinstance(value, str) and _RIGHT_TO_LEFT.search(value)
        else value
    )


def _isolate_names(step: dict[str, str]) -> dict[str, str]:
    """A recommendation with each run of right-to-left characters (the name of a client) between
    isolates."""
    return {
        key: text if key == "go" else _RTL_RUN.sub(rf"{_OPEN}\g<0>{_CLOSE}", text)
        for key, text in step.items()
    }


def _join(text: str) -> str:
    """Remove the isolates, for headers and the text part."""
    return text.replace(_OPEN, "").replace(_CLOSE, "")


def _button(header: str, links: Links) -> tuple[str, str] | None:
    """Label and URL. After the last bar: a name for `/go/…`, `certificate`, or a URL."""
    label, _, action = header.rpartition(" | ")
    if not label:
        return None
    if not _ACTION.fullmatch(action):
        raise RenderError(f"Button: {action!r} is neither the name of an action nor a URL")
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
    text = _wrap(f"{step['title']}. {step['reason']} {step['body']}")
    if button and button[1] == step["go"]:
        return f"{text}\n\n{step['action_label']}:\n{step['go']}"
    return f"{text}\n{step['action_label']}: {step['go']}"


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
    except Exception as error:
        raise _failed("layout.html", error) from error
    return _inline(html).replace(_OPEN, "<bdi>").replace(_CLOSE, "</bdi>")


def _inline(html: str) -> str:
    """The HTML with its style sheet copied into style attributes."""
    try:
        return _INLINER.inline(html)
    except ValueError as error:
        raise RenderError(f"layout.css: {error}") from error

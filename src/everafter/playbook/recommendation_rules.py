"""Checks of [recommendations.*] and [client_recommendations.*]. Pure."""

import re
from collections.abc import Iterator
from typing import Any

from everafter.playbook.conditions import check_condition, signals_in
from everafter.playbook.findings import Finding, at, list_names, table, texts_in
from everafter.playbook.hints import did_you_mean
from everafter.playbook.places import Path
from everafter.playbook.sentence_rules import (
    CLIENT_KINDS,
    SUPPLIER_KINDS,
    check_sentence,
    check_translations,
    language_of,
)
from everafter.signals.model import CLIENT_SCHEMA, CLIENT_SIGNALS

TEXTS = ("title", "body", "reason", "action_label")
"""The texts of a tip or a recommendation."""

_CLIENT_ID = "{client_id}"


def check_recommendations(
    data: dict[str, Any], templates: frozenset[str] | None
) -> Iterator[Finding]:
    """Check recommendations about suppliers, except their conditions and untranslated sentences,
    and all of those about clients.

    Args:
        data: the playbook's tables.
        templates: the email templates that exist; null: not checked.
    """
    for group in ("recommendations", "client_recommendations"):
        for name in table(data, group):
            yield from _excluded_templates((group, name), table(data, group, name), templates)
    for name in table(data, "recommendations"):
        path, recommendation = ("recommendations", name), table(data, "recommendations", name)
        yield from check_url((*path, "action_url"), recommendation.get("action_url"))
        yield from check_translations(path, recommendation, TEXTS, SUPPLIER_KINDS)
    for name in table(data, "client_recommendations"):
        path = ("client_recommendations", name)
        recommendation = table(data, *path)
        if name in table(data, "recommendations"):
            message = f"[recommendations.{name}] has the same name; their effects are kept by name"
            yield Finding(path, message, "give one of them another name")
        yield from _client_condition(path, recommendation)
        yield from _client_sentences(path, recommendation, language_of(data))
        yield from check_url((*path, "action_url"), recommendation.get("action_url"), client=True)
        yield from check_translations(path, recommendation, TEXTS, CLIENT_KINDS)


def check_template(path: Path, template: str, templates: frozenset[str]) -> Iterator[Finding]:
    """Check that an email template exists."""
    if template not in templates:
        hint = did_you_mean(template, templates) or f"templates: {list_names(templates)}"
        yield Finding(path, f"there is no template {template!r}", hint)


def _excluded_templates(
    path: Path, recommendation: dict[str, Any], templates: frozenset[str] | None
) -> Iterator[Finding]:
    if templates is not None:
        for index, template in texts_in(recommendation.get("excluded_templates")):
            yield from check_template((*path, "excluded_templates", index), template, templates)


def _client_condition(path: Path, recommendation: dict[str, Any]) -> Iterator[Finding]:
    when = recommendation.get("when")
    if not isinstance(when, str):
        return
    of_supplier = [signal for signal in signals_in(when) if signal not in CLIENT_SCHEMA]
    for remark in check_condition(when, CLIENT_SIGNALS):
        finding = at((*path, "when"), remark)
        if remark.message in {f"there is no signal {signal!r}" for signal in of_supplier}:
            hint = f"it is a signal of suppliers; clients have {', '.join(CLIENT_SCHEMA)}"
            finding = finding._replace(hint=hint)
        yield finding


def _client_sentences(
    path: Path, recommendation: dict[str, Any], language: str
) -> Iterator[Finding]:
    for key in TEXTS:
        if isinstance(text := recommendation.get(key), str):
            yield from check_sentence((*path, key), text, CLIENT_KINDS, language)
    sentences = [recommendation.get(key) for key in ("title", "body", "reason")]
    texts = [sentence for sentence in sentences if isinstance(sentence, str)]
    if len(texts) == len(sentences) and not any("{client_name" in text for text in texts):
        hint = "use {client_name} in title, body or reason"
        yield Finding(path, "no sentence names the client", hint, "warning")


def check_url(path: Path, url: Any, *, client: bool = False) -> Iterator[Finding]:
    """Check the address of a button: a path on the platform, or an http(s) URL.

    Args:
        url: a value that is not a text is passed over.
        client: whether `{client_id}` may be in it.
    """
    if not isinstance(url, str):
        return
    rest = url.replace(_CLIENT_ID, "") if client else url
    if "{" in rest or "}" in rest:
        hint = f"only {_CLIENT_ID} is replaced" if client else "nothing is replaced in it"
        yield Finding(path, "a URL cannot contain braces", hint)
    if not re.match(r"/(?![/\\])|https?://[^\s/]", url) or re.search(r"[\s\\]", url):
        hint = 'a path on your platform, such as "/forms", or a URL with https://'
        yield Finding(path, "is not a URL", hint)

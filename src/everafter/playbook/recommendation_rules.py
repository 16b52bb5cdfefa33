"""What is wrong with a playbook's next steps, about suppliers and about single clients. Pure."""

import re
from collections.abc import Iterator
from typing import Any

from everafter.playbook.conditions import check_condition, signals_in
from everafter.playbook.findings import Found, table
from everafter.playbook.sentence_rules import (
    CLIENT_KINDS,
    SUPPLIER_KINDS,
    check_sentence,
    check_translations,
    language_of,
)
from everafter.playbook.shape import did_you_mean
from everafter.signals.model import CLIENT_SCHEMA, CLIENT_SIGNALS

TEXTS = ("title", "body", "reason", "action_label")
"""The texts of a tip or a next step."""
_NAMING = "{client_id}"


def check_recommendations(
    data: dict[str, Any], templates: frozenset[str] | None
) -> Iterator[Found]:
    """Every mistake in `[recommendations.*]` that is not one of shape, condition or sentence, and
    all of `[client_recommendations.*]`.

    Args:
        templates: of messages; null: their names are not checked.
    """
    for group in ("recommendations", "client_recommendations"):
        for name in table(data, group):
            yield from _left_out(
                (group, name, "excluded_templates"),
                table(data, group, name).get("excluded_templates"),
                templates,
            )
    for name in table(data, "recommendations"):
        path, recommendations = ("recommendations", name), table(data, "recommendations", name)
        yield from check_url((*path, "action_url"), recommendations.get("action_url"))
        yield from check_translations(path, recommendations, TEXTS, SUPPLIER_KINDS)
    for name in table(data, "client_recommendations"):
        path = ("client_recommendations", name)
        recommendations = table(data, *path)
        if name in table(data, "recommendations"):
            message = f"[recommendations.{name}] has the same name, and what came of them could not be told apart"
            yield path, None, message, "give one of them another name", "error"
        yield from _about_clients(path, recommendations, language_of(data))
        yield from check_url((*path, "action_url"), recommendations.get("action_url"), client=True)
        yield from check_translations(path, recommendations, TEXTS, CLIENT_KINDS)


def _left_out(
    path: tuple[str, ...], named: Any, templates: frozenset[str] | None
) -> Iterator[Found]:
    for index, template in enumerate(named if isinstance(named, list) else []):
        if isinstance(template, str) and templates is not None and template not in templates:
            hint = did_you_mean(template, templates) or f"templates: {', '.join(sorted(templates))}"
            yield (*path, index), None, f"there is no template {template!r}", hint, "error"


def _about_clients(
    path: tuple[str, ...], recommendations: dict[str, Any], language: str
) -> Iterator[Found]:
    when = recommendations.get("when")
    if isinstance(when, str):
        for remark in check_condition(when, CLIENT_SIGNALS):
            hint = remark.hint
            if remark.message.startswith("there is no signal") and any(
                signal in remark.message
                for signal in signals_in(when)
                if signal not in CLIENT_SCHEMA
            ):
                hint = f"that is the supplier's; of a client there are {', '.join(CLIENT_SCHEMA)}"
            yield (*path, "when"), (remark.start, remark.end), remark.message, hint, remark.level
    for key in TEXTS:
        if isinstance(text := recommendations.get(key), str):
            yield from check_sentence((*path, key), text, CLIENT_KINDS, language)
    sentences = [
        recommendations[key]
        for key in ("title", "body", "reason")
        if isinstance(recommendations.get(key), str)
    ]
    if len(sentences) == 3 and not any("{client_name" in sentence for sentence in sentences):
        yield (
            path,
            None,
            "no sentence names the client",
            "say {client_name} in title, body or reason",
            "warning",
        )


def check_url(path: tuple[str, ...], url: Any, *, client: bool = False) -> Iterator[Found]:
    """What keeps `url` from being an address that a button may lead to; client: `{client_id}` may
    be in it."""
    if not isinstance(url, str):
        return
    rest = url.replace(_NAMING, "") if client else url
    if "{" in rest or "}" in rest:
        hint = (
            f"{_NAMING} alone is replaced, by the client's id"
            if client
            else "a path on your platform, as it is"
        )
        yield path, None, "a brace is in the address", hint, "error"
    if not re.match(r"/(?![/\\])|https?://[^\s/]", url) or re.search(r"[\s\\]", url):
        yield (
            path,
            None,
            "is no address",
            'a path on your platform, such as "/forms", or a whole one with https://',
            "error",
        )

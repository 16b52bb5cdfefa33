"""What is wrong with a playbook's sentences, in each language they are written in. Pure."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from everafter.core.i18n import ENGLISH
from everafter.core.messages import (
    Kind,
    MessageError,
    Remark,
    check_message,
    find_placeholders,
)
from everafter.playbook.findings import Finding, at, table
from everafter.playbook.hints import did_you_mean
from everafter.playbook.places import Path
from everafter.playbook.translation_rules import check_language
from everafter.signals.model import CLIENT_SCHEMA, SIGNAL_SCHEMA
from everafter.signals.text import kinds_of

SUPPLIER_KINDS: Mapping[str, Kind] = {**kinds_of(SIGNAL_SCHEMA), "name": "text"}
"""What a sentence about a supplier may name."""

CLIENT_KINDS: Mapping[str, Kind] = kinds_of(CLIENT_SCHEMA)
"""What a sentence about a client may name."""

_PLAIN = re.compile(r"\{([^{},]*)\}")
_BRANCHES = re.compile(r",\s*(plural|select|selectordinal)\b")
_PLURAL_NOUN = re.compile(r"\{([a-z0-9_]+)\}\s+([^\W\d_]+)")
_NOT_NOUNS = frozenset(
    {"of", "is", "was", "has", "as", "this", "von", "in", "im", "sur", "de", "su"}
)


def language_of(data: Mapping[str, Any]) -> str:
    """The language that a playbook is written in."""
    language = table(dict(data), "coach").get("language")
    return language if isinstance(language, str) else ENGLISH


def check_sentence(
    path: Path,
    sentence: str,
    kinds: Mapping[str, Kind],
    language: str = ENGLISH,
) -> Iterator[Finding]:
    """Every mistake in one sentence: its grammar, its names, its plural forms.

    Args:
        kinds: what it may name.
        language: the one it is written in.
    """
    unknown = list(_check_names(sentence, kinds))
    for remark in unknown or [*check_message(sentence, kinds, language)]:
        yield at(path, remark)
    if not unknown:
        for remark in _check_nouns(sentence, kinds, language):
            yield at(path, remark)


def _check_names(sentence: str, kinds: Mapping[str, Kind]) -> Iterator[Remark]:
    """Placeholders of other names than `kinds` has."""
    try:
        named = list(find_placeholders(sentence))
    except MessageError:  # a plain placeholder with more than a name in it, or anything else
        matches = [] if _BRANCHES.search(sentence) else _PLAIN.finditer(sentence)
        named = [(match[1], *match.span()) for match in matches]
    whom = "the supplier's value; {name} by its name"
    if "name" not in kinds:
        whom = "the client's value; {client_name} by its name"
    for word, start, end in named:
        if word in kinds:
            continue
        clean = re.split(r"[:!.\[]", word.strip())[0].strip()
        hint = did_you_mean(clean, kinds) or f"{{signal}} is replaced by {whom}"
        if clean in kinds:
            hint = f"write {{{clean}}}, nothing else between the braces"
        yield Remark(f"{{{word}}} is no signal", hint, start, end)


def _check_nouns(sentence: str, kinds: Mapping[str, Kind], language: str) -> Iterator[Remark]:
    """In English: a number before a noun in the plural, which reads "1 forms"."""
    if language.partition("-")[0] != ENGLISH:
        return
    for match in _PLURAL_NOUN.finditer(sentence):
        name, noun = match[1], match[2]
        if kinds.get(name) == "number" and noun.endswith("s") and noun.lower() not in _NOT_NOUNS:
            hint = f"write {{{name}, plural, one {{# {noun[:-1]}}} other {{# {noun}}}}}"
            yield Remark(f"one of them reads “1 {noun}”", hint, *match.span(), "warning")


def check_translations(
    path: Path,
    item: Mapping[str, Any],
    keys: tuple[str, ...],
    kinds: Mapping[str, Kind],
) -> Iterator[Finding]:
    """Every mistake in the texts of an item in other languages.

    Args:
        keys: those that can be translated.
        kinds: what the texts may name.
    """
    for language in table(dict(item), "translations"):
        if (wrong := check_language(language)) is not None:
            yield Finding((*path, "translations", language), *wrong)
        for key, text in table(dict(item), "translations", language).items():
            where = (*path, "translations", language, key)
            if key not in keys:
                hint = did_you_mean(key, keys) or f"translated are: {', '.join(keys)}"
                yield Finding(where, f"{key!r} cannot be translated here", hint)
            elif isinstance(text, str):
                yield from check_sentence(where, text, kinds, language)

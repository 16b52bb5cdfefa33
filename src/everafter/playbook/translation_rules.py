"""Which language a text of the playbook is shown in. Pure."""

import re
from collections.abc import Mapping, Sequence

from everafter.core.i18n import ENGLISH

_LOCALE = re.compile(r"[A-Za-z]{2,3}([-_][A-Za-z0-9]{1,8})*")
_LONGEST_LOCALE = 35

Translations = Mapping[str, Mapping[str, str]]
"""Texts by language and key."""


def list_languages(asked: Sequence[str | None], default: str) -> list[str]:
    """Languages to try in order: the first locale that can be read ("de-AT": "de-AT", then "de"),
    the playbook's, English.

    >>> list_languages([None, "de_at"], "fr"), list_languages(["?"], "en")
    (['de-AT', 'de', 'fr', 'en'], ['en'])
    """
    for locale in asked:
        if locale and len(locale) <= _LONGEST_LOCALE and _LOCALE.fullmatch(locale):
            language, *rest = re.split("[-_]", locale)
            region = next((part.upper() for part in rest if len(part) == 2), None)
            first = [f"{language.lower()}-{region}"] if region else []
            return list(dict.fromkeys([*first, language.lower(), default, ENGLISH]))
    return list(dict.fromkeys([default, ENGLISH]))


def translate(
    text: str, key: str, translations: Translations, languages: Sequence[str], default: str
) -> tuple[str, str]:
    """A text in the first of these languages that has it, and which language that is.

    Args:
        text: in the playbook's own language, `default`.
        key: of the translations.

    >>> translate("Send it", "title", {"de": {"title": "Senden"}}, ["de-AT", "de", "en"], "en")
    ('Senden', 'de')
    """
    for language in languages:
        if language == default:
            break
        if found := translations.get(language, {}).get(key):
            return found, language
    return text, default

"""Languages and countries that a playbook names, and the language that a text is shown in. Pure."""

import re
from collections.abc import Mapping, Sequence

from everafter.core.i18n import ENGLISH, is_language
from everafter.suppliers.model import COUNTRIES

_TAG = re.compile(r"[a-z]{2,3}(-[A-Z]{2})?")
_LOCALE = re.compile(r"[A-Za-z]{2,3}([-_][A-Za-z0-9]{1,8})*")
_LONGEST_LOCALE = 35

Translations = Mapping[str, Mapping[str, str]]
"""Texts by language and key."""


def check_language(tag: str) -> tuple[str, str] | None:
    """What is wrong with a language's tag, and a hint; null: nothing.

    >>> check_language("DE"), check_language("de-AT")
    (("'DE' is not a language", 'write de'), None)
    >>> check_language("de-XX")
    ("'de-XX': there is no country 'XX'", 'such as "de" or "de-AT"')
    """
    language, _, country = tag.replace("_", "-").partition("-")
    usual = f"{language.lower()}-{country.upper()}".rstrip("-")
    if not _TAG.fullmatch(usual) or not is_language(usual):
        return f"{tag!r} is not a language", 'such as "de" or "de-AT"'
    if country and country.upper() not in COUNTRIES:
        return f"{tag!r}: there is no country {country!r}", 'such as "de" or "de-AT"'
    return None if tag == usual else (f"{tag!r} is not a language", f"write {usual}")


def check_country(code: str) -> tuple[str, str] | None:
    """What is wrong with a country's code, and a hint; null: nothing. Suppliers have no other codes
    than these.

    >>> check_country("UK"), check_country("DE")
    (("there is no country 'UK'", 'write GB'), None)
    """
    if code in COUNTRIES:
        return None
    hint = "write GB" if code == "UK" else 'such as "GB" or "DE"'
    return f"there is no country {code!r}", hint


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

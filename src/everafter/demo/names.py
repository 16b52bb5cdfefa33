"""Invented names of businesses, contacts and clients, and subjects of tickets."""

import tomllib
import unicodedata
from collections.abc import Sequence
from importlib import resources
from random import Random

_WORDS = tomllib.loads(
    resources.files("everafter.demo").joinpath("messages.toml").read_text(encoding="utf-8")
)


def _lists(table: dict[str, str]) -> dict[str, list[str]]:
    return {key: text.split() for key, text in table.items()}


COMMON: list[str] = _WORDS["common"].split()
LOCAL = _lists(_WORDS["local"])
SURNAMES = _lists(_WORDS["surnames"])
FIRST = _lists(_WORDS["first"])
PATTERNS: dict[str, list[str]] = _WORDS["patterns"]
VENUES: dict[str, list[str]] = _WORDS["venues"]
SUBJECTS: list[str] = _WORDS["subjects"]["calm"]
ANGRY_SUBJECTS: list[str] = _WORDS["subjects"]["angry"]


class Namer:
    """Makes a unique name and email address for each supplier. The n-th name depends only on those
    before it."""

    def __init__(self) -> None:
        self.names: set[str] = set()
        self.slugs: set[str] = set()
        self.uses: dict[str, int] = {}

    def business(self, rng: Random, vendor_type: str, country: str, town: str, contact: str) -> str:
        """Make a business name. Some patterns include the contact's first name or surname."""
        first, _, surname = contact.partition(" ")
        patterns = PATTERNS[vendor_type] + (VENUES[country] if vendor_type == "venue" else [])
        pattern = self._rarest(rng, patterns)
        other = self._rarest(rng, [name for name in SURNAMES[country] if name != surname])
        word = self._rarest(rng, [*LOCAL[country], *LOCAL[country], *COMMON])
        second = self._rarest(rng, [name for name in COMMON if name != word])
        name = pattern.format(w=word, x=second, s=surname, t=other, f=first)
        if name in self.names:
            name = f"{name} of {town}"
        number = 2
        while name in self.names:
            name = f"{name.removesuffix(f' No. {number - 1}')} No. {number}"
            number += 1
        self.names.add(name)
        for part, used in ((word, "{w}"), (second, "{x}"), (surname, "{s}"), (other, "{t}")):
            if used in pattern:
                self.uses[part] = self.uses.get(part, 0) + 1
        self.uses[pattern] = self.uses.get(pattern, 0) + 1
        return name

    def contact(self, rng: Random, country: str) -> str:
        """Make the first name and surname of the contact."""
        surname = self._rarest(rng, SURNAMES[country]).replace("-", " ")
        return f"{rng.choice(FIRST[country])} {surname}"

    def email(self, name: str, contact: str) -> str:
        """Make a unique address at example.com."""
        first, business = _plain(contact.split()[0]), _plain(name)
        slug = f"hello.{business}" if first in business else f"{first}.{business}"
        number = 2
        while slug in self.slugs:
            slug = f"{slug.rstrip('0123456789')}{number}"
            number += 1
        self.slugs.add(slug)
        return f"{slug}@example.com"

    def _rarest(self, rng: Random, words: Sequence[str]) -> str:
        """Return the least used of five drawn words, for variety."""
        drawn = [rng.choice(words) for _ in range(5)]
        return min(drawn, key=lambda word: self.uses.get(word, 0))


def client(rng: Random, country: str) -> str:
    """Make a client's name: two first names."""
    names = FIRST[country] if rng.random() < 0.85 else FIRST[rng.choice(list(FIRST))]
    one = rng.choice(names)
    two = rng.choice(names)
    while two == one:
        two = rng.choice(names)
    return f"{one} & {two}"


def _plain(text: str) -> str:
    """Return the ASCII letters and digits of a name in lower case."""
    decomposed = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return "".join(character for character in decomposed.lower() if character.isalnum())

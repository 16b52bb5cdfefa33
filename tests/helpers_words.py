"""The words that the project no longer uses, and where they are still written."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from helpers_source import ROOT

# Words and phrases, and what to write instead. Matched without regard to case in a line whose snake_case, kebab-case and
# CamelCase names are split into words, so that "trade" finds `trade_of`, `TradeMix` and "a trade".
RETIRED = {
    r"trades?": "vendor type",
    r"judge[sd]?|judging|judge?ments?|verdicts?": "score, evaluate; conclusion of an effect",
    r"advisors?|advisers?": "CSM",
    r"pace[sd]?": "season index",
    r"silen(?:ce|ces|ced|t)|quiet(?:er|ly|ness)?": "inactivity, inactive; muted in style sheets",
    r"leavers?|departed|(?:who|which) (?:have |has |had )?left": "churned",
    r"gone": "churned; missing; removed",
    r"pulse": "supplier activity",
    r"withheld": "skipped",
    r"(?:held|hold|holds|holding) out": "holdout",
    r"ledger": "intervention log",
    r"gates?|gated": "eligibility check; limit",
    r"attention": "frequency cap",
    r"advice|advise[sd]?": "recommendation",
    r"untold|told": "reported, shown, notified; control group",
    r"deeds?": "action; button",
    r"desks?": "queue; support team",
    r"tend|tends|tended": "housekeeping",
    r"letters?": "email",
    r"e mails?": "email",
    r"couples?": "client",
    r"anew": "again",
    r"of none": "without",
    r"by lot": "at random",
    r"mend|mends|mended|mending": "fix",
    r"nobody yet": "unassigned",
    r"stands": "is",
}

# Parts of names: functions that make text are called format_… or describe_…, and statuses are triggered, skipped, holdout.
RETIRED_NAMES = {
    r"\b_*(?:say|says|said|tell|tells)_[a-z]\w*|\b\w+_(?:say|says|said|tell|tells)\b": "format_…, describe_…",
    r"\bdef (?!test_)\w+_words\b(?<!_encoded_words)": "…_labels, …_text",
    r"[\"'`]decided[\"'`]|\bdecided_(?:at|on|as|by)\b": "triggered, skipped, holdout",
    r"\bleft_(?:at|before|after|days?)\b|\bleft_on\b(?!=)|\b(?:has|high|warned|everybody)_left\b": "churned",
    r"\b(?:taken_at|taken_on|mark_taken)\b": "clicked_at",
}

# What looks like a retired word and is something else.
ALLOWED = [
    r"quiet[ _-]hours?(?! of work)|quiet_(?:from|until)",  # when no email is sent
    r"--quiet\b|\bquiet = |[(,] ?quiet(?:=|: bool)",  # options of command lines that silence output
    r"trade-?offs?|trademarks?",
    r"pg_(?:try_)?advisory\w*|advisory lock",
    r"letter-spacing|letterSpacing|newsletters?|(?:capital|small|single|two|upper|lower|lower-case|upper-case)[- ]letters?|letters(?:,| and| or) digits",
    r"410[ ,:]+\"?Gone|status\.Gone",
    r"standstill",
    r"did_you_mean\(\"quiet_days\"",
    r"begins? with a letter",
    r"[\"']e-mail[\"']",  # as a mistake in a playbook
    r"f\"advice:\{recommendation\}\"|\"advice:finish_setup\"",  # the key of holdouts drawn by release 0.2
    r"INSERT INTO pulse\b",  # a database as it was before migration 0012
]

# Where "couple" or "you told us" is what a supplier reads, and "letter" is a letter of an alphabet.
SUPPLIER_COPY = re.compile(
    r"^docs/glossary|^tests/(?:test|helpers)_sentences|^src/everafter/(?:mail/templates/|mail/formatting|mail/api|certificates/|coach/messages|support/templates/call"
    r"|playbook/weddings\.toml|recommendations/client_model"
    r"|demo/(?:messages|platform|templates/|tickets|names)|locales?/|core/locales?/)"
)
EXAMPLES = re.compile(  # quote copy
    r"^src/everafter/(?:openapi_examples\.json|mail/overrides|signals/model)|^docs/signals\.md$|^tests/"
)
ALPHABET = re.compile(
    r"^(?:src/everafter/(?:certificates/|accounts/passwords|core/(?:lenient|email_address|formatting|ids|paths|texts))"
    r"|tests/test_(?:certificates|ids|core_email_address)|docs/decisions/0030)"
)

# History, quotations and other people's files.
NOT_READ = re.compile(
    r"^src/everafter/migrations/00(?:0\d|1[01])_"  # older migrations are not edited
    r"|^src/everafter/migrations/0012_"  # renames the old names, so it holds them
    r"|^tests/test_schema_terms\.py$"  # a database as it was before migration 0012
    r"|^tests/(?:test_words|helpers_words)\.py$"
    r"|^src/everafter/playbook/renames\.py$|^tests/test_playbook_renames\.py$"  # retired keys with replacements
    r"|^tests/test_sentences\.py$"  # keeps some of these words out of copy, and lists them
    r"|^LICENSE|(?:^|/)OFL|(?:^|/)fonts/|package-lock\.json$|^requirements/"
)
PRUNED = {".git", ".venv", "node_modules", "__pycache__", "dist", "build"}
SUFFIXES = {
    "", ".cfg", ".conf", ".css", ".ftl", ".html", ".j2", ".js", ".json", ".jsx", ".md", ".mjs", ".po", ".pot", ".py", ".service",
    ".sh", ".sql", ".toml", ".ts", ".tsx", ".txt", ".typ", ".yaml", ".yml",
}  # fmt: skip

_SPLIT = re.compile(r"[_\-]+|(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_WORDS = re.compile(r"\b(?:" + "|".join(f"(?:{word})" for word in RETIRED) + r")\b")
_NAMES = re.compile("|".join(f"(?:{name})" for name in RETIRED_NAMES))
_FINE = re.compile("|".join(f"(?:{allowed})" for allowed in ALLOWED), re.IGNORECASE)
_COPY = re.compile(r"\b(?:couples?|told)\b|(?-i:\bE-Mails?\b)", re.IGNORECASE)  # E-Mail: German
_COUPLE = re.compile(r"\bcouples?\b", re.IGNORECASE)
_LETTER = re.compile(r"\bletters?\b", re.IGNORECASE)
# `[de]` and `[texts.de-AT]` begin a table of another language; `translations.de.title = "…"` is one line of it.
_LANGUAGE_TABLE = re.compile(r"^\s*\[+[\w.\"-]*?\b(de|fr|es|it|nl)(?:-[A-Z]{2})?\b[\w.\"-]*\]+")
_TABLE = re.compile(r"^\s*\[")
_LANGUAGE_LINE = re.compile(
    r"^\s*(?:translations\.)?\"?(de|fr|es|it|nl)(?:-[A-Z]{2})?\"?[. ][^=]*="
)


@dataclass(frozen=True, slots=True)
class Found:
    """A retired word. `line` is 0 when it is in the file's name."""

    path: str
    line: int
    word: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.word!r}: {instead_of(self.word)}"


def instead_of(word: str) -> str:
    """What to write in place of a retired word."""
    for pattern, better in RETIRED.items():
        if re.fullmatch(pattern, word):
            return better
    return next((better for name, better in RETIRED_NAMES.items() if re.search(name, word)), "")


def find_in_text(text: str, path: str = "x.py") -> list[Found]:
    """The retired words of a file's text."""
    found: list[Found] = []
    language = ""
    skips_languages = path.endswith(".toml")
    old_names = path == "CHANGELOG.md"
    for number, line in enumerate(text.splitlines(), 1):
        if skips_languages:
            if begins := _LANGUAGE_TABLE.match(line):
                language = begins[1]
            elif _TABLE.match(line):
                language = ""
            if language or _LANGUAGE_LINE.match(line):
                continue
        if old_names and line.startswith("|"):
            continue  # the table of old and new names
        found.extend(Found(path, number, word) for word in _find(line, path))
    return found


def _find(line: str, path: str) -> Iterator[str]:
    line = _FINE.sub(" ", line)
    if SUPPLIER_COPY.match(path):
        line = _COPY.sub(" ", line)
    if EXAMPLES.match(path):
        line = _COUPLE.sub(" ", line)
    if ALPHABET.match(path):
        line = _LETTER.sub(" ", line)
    yield from (match[0] for match in _NAMES.finditer(line))
    yield from (match[0] for match in _WORDS.finditer(_SPLIT.sub(" ", line).lower()))


def find_in_path(path: str) -> list[Found]:
    """The retired words of a file's name."""
    return [Found(path, 0, word) for word in _find(path, path)]


def list_files() -> list[Path]:
    """The text files of the repository that are held to the list."""
    files: list[Path] = []
    for folder, folders, names in os.walk(ROOT):
        folders[:] = [
            name
            for name in folders
            if name not in PRUNED
            and not name.startswith((".everafter", ".pytest", ".ruff", ".hypo", ".schema"))
        ]
        for name in names:
            path = Path(folder, name)
            relative = path.relative_to(ROOT).as_posix()
            if path.suffix in SUFFIXES and not NOT_READ.search(relative):
                files.append(path)
    return sorted(files)


@cache
def find_all() -> dict[str, list[Found]]:
    """Every file with retired words in its name or text."""
    found: dict[str, list[Found]] = {}
    for path in list_files():
        relative = path.relative_to(ROOT).as_posix()
        here = find_in_path(relative) + find_in_text(path.read_text(encoding="utf-8"), relative)
        if here:
            found[relative] = here
    return found


if __name__ == "__main__":
    for one in [found for here in find_all().values() for found in here]:
        print(one)

"""`playbook check` on [platform] and the files beside a playbook: each mistake has a file, a line and a hint."""

import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from everafter.branding.images import LogoError, read_logo
from everafter.branding.loading import load_brand
from everafter.branding.model import OURS, Brand, PlatformColors
from everafter.branding.rules import branded_sender, contrast, recolor, resolve_colors
from everafter.cli import app
from everafter.core.email_address import read_email
from everafter.core.errors import InputError
from everafter.core.settings import Settings
from everafter.mail.model import Links, RenderError
from everafter.mail.overrides import check_overrides
from everafter.mail.rules import list_templates, render_message
from everafter.mail.samples import sample_facts
from everafter.mail.translation import Phrases, filters_of
from everafter.playbook.loading import (
    find_file_mistakes,
    find_mistakes,
    find_template_mistakes,
    load_playbook,
)
from everafter.playbook.model import Mistake
from everafter.playbook.renames import RENAMES, Rename
from everafter.playbook.rules import to_playbook
from everafter.signals.model import SIGNAL_SCHEMA
from helpers_branding import (
    ONE_YEAR,
    ONE_YEAR_DE,
    PHRASES_DE,
    PLATFORM,
    SMALL,
    SVG,
    add_file,
    make_platform,
    png,
)
from helpers_mail import TYPICAL

runner = CliRunner(env={"EVERAFTER_SECRET": "s" * 32, "EVERAFTER_PLAYBOOK": "", "COLUMNS": "200"})
LINKS = Links("https://care.example/go/", "https://care.example/u/TOKEN", "Ada")
SHIPPED = Path(__file__).parent.parent / "src" / "everafter" / "mail" / "templates"
LAYOUT = (SHIPPED / "layout.html").read_text(encoding="utf-8")


def mistakes_of(playbook: Path) -> list[Mistake]:
    text = playbook.read_text(encoding="utf-8")
    return find_mistakes(text) or find_file_mistakes(playbook, text, to_playbook(text))


def only(playbook: Path) -> Mistake:
    found = mistakes_of(playbook)
    assert len(found) == 1, found
    return found[0]


# ── [platform] ────────────────────────────────────────────────────────────────────────────────

PLATFORM_CASES = [
    ('name = "Confetti & Co"', "name = 7", "must be a text", "quotes", "7"),
    ('name = "Confetti & Co"', f'name = "{"x" * 81}"', "81 characters", "short", f'"{"x" * 81}"'),
    ('name = "Confetti & Co"', 'nam = "Confetti"', "unknown key 'nam'", "did you mean name?", "nam"),
    ("[platform.colors]", "[platform.colours]", "unknown key 'colours'", "did you mean colors?", "colours"),
    ('reply_to = "care@confetti.example"', 'reply_to = "care@"', "reply_to", "care@example.com", '"care@"'),
    ('accent = "#9b2d5c"', 'accent = "red"', "must be a color", "#1d5c4b", '"red"'),
    ('accent = "#9b2d5c"', 'accent = "#ff99cc"', "accent has contrast 1.", "is the nearest legible color", '"#ff99cc"'),
    ('accent = "#9b2d5c"', 'accent = "#9b2d5c"\naccent_dark = "#331122"', "accent_dark has contrast", "nearest", '"#331122"'),
    ('accent = "#9b2d5c"', 'accent = "#9b2d5c"\non_accent = "#aa3366"', "on_accent on accent", "use #ffffff", '"#aa3366"'),
    ('accent = "#9b2d5c"', 'on_accent = "#ffffff"', "on_accent is set without accent", "add accent", '"#ffffff"'),
    ('languages = { DE = "de" }', 'languages = { de = "de" }', "de", "DE", "de ="),
    ('languages = { DE = "de" }', 'language = "German"', "language", "de-AT", '"German"'),
    ('logo = "logo.svg"', 'logo = "http://confetti.example/logo.png"', "cannot be used as a logo", "https", '"http:'),
    ('logo = "logo.svg"', 'logo = "data:image/png;base64,AAAA"', "cannot be used as a logo", "beside", '"data:'),
]  # fmt: skip


@pytest.mark.parametrize(("was", "written", "message", "hint", "at"), PLATFORM_CASES)
def test_each_mistake_in_the_table(
    was: str, written: str, message: str, hint: str, at: str
) -> None:
    assert PLATFORM.count(was) == 1
    text = f"{SMALL}\n{PLATFORM.replace(was, written)}"
    found = [one for one in find_mistakes(text) if one.level == "error"]
    assert len(found) == 1, found
    assert message in found[0].message and hint in f"{found[0].message} {found[0].hint}", found[0]
    line = text.splitlines()[found[0].line - 1]
    assert line[found[0].column - 1 :].startswith(at), line[found[0].column - 1 :]


def test_a_valid_folder_has_no_mistakes(tmp_path: Path) -> None:
    playbook = make_platform(
        tmp_path,
        one_year__txt=ONE_YEAR,
        one_year__de__txt=ONE_YEAR_DE,
        phrases__de__toml=PHRASES_DE,
    )
    add_file(tmp_path, "README.md", "what these are")
    add_file(tmp_path, ".DS_Store", b"\xff\xfe")
    assert mistakes_of(playbook) == []
    loaded = load_playbook(Settings(None, tmp_path, playbook, None, "http://testserver", "s" * 32))
    assert loaded.platform.name == "Confetti & Co" and loaded.platform.languages == {"DE": "de"}


def test_a_mistake_in_one_file_hides_none_in_another(tmp_path: Path) -> None:
    german = ONE_YEAR_DE + "{{ 3|count('Paar') }}\n"
    playbook = make_platform(
        tmp_path,
        one_year__txt="Subjekt: a\n\nText.",
        one_year__de__txt=german,
        phrases__de__toml=PHRASES_DE,
    )
    found = [one for one in mistakes_of(playbook) if one.level == "error"]
    assert [Path(one.file).name for one in found if one.file] == [
        *["one_year.txt"] * (len(found) - 1),
        "one_year.de.txt",
    ]
    assert "1 plural form; de has 2: one, other" in found[-1].message
    assert "one form for each" in found[-1].hint
    assert [one.message for one in find_template_mistakes(playbook)] == [
        one.message for one in found
    ]


def test_a_language_without_files_and_a_hosted_logo_are_warnings(tmp_path: Path) -> None:
    hosted = PLATFORM.replace("logo.svg", "https://cdn.confetti.example/logo.png")
    playbook = make_platform(tmp_path, hosted, logo=None)
    text = playbook.read_text(encoding="utf-8")
    found = [*find_mistakes(text), *find_file_mistakes(playbook, text, to_playbook(text))]
    assert [(one.level, one.path) for one in found] == [
        ("warning", "platform.logo"),
        ("warning", "platform.languages.DE"),
    ]
    assert "phrases.de.toml" in found[1].hint


# ── files ─────────────────────────────────────────────────────────────────────────────────────

BODY = "Subject: Hello there\n\nA paragraph.\n\n"
FILES = [
    ("we_mis_you.txt", BODY, "unknown email 'we_mis_you'", "did you mean we_miss_you?", 1),
    ("check_in.html", BODY, "overrides nothing", "did you mean check_in.txt?", 1),
    ("check_in.xx.txt", BODY, "unknown language 'xx'", "de-AT", 1),
    ("check_in.de-XX.txt", BODY, "unknown country 'XX'", "de-AT", 1),
    ("phrases.de-XX.toml", PHRASES_DE, "unknown country 'XX'", "de-AT", 1),
    ("check_in.DE.txt", BODY, "unknown language 'DE'", "de-AT", 1),
    ("check_in.fr.txt", BODY, "phrases.fr.toml does not exist", "greeting", 1),
    ("check_in.txt", "Subjekt: Hello\n\nText.", "'Subjekt: Hello' is not a header line", "did you mean Subject?", 1),
    ("check_in.txt", "Heading: Hello\n\nText.", "there is no Subject", "start the file", 1),
    ("check_in.txt", "Subject: a\nSubject: b\n\nText.", "Subject appears twice", "keep one", 2),
    ("check_in.txt", "Subject: Hello\n", "there is no text", "empty line", 2),
    ("check_in.txt", BODY + "{{ clients_totl }}", "unknown variable 'clients_totl'", "did you mean clients_total?", 5),
    ("check_in.txt", "Subject: {{ nme }}\n\nText.", "unknown variable 'nme'", "did you mean name?", 1),
    ("check_in.txt", "Subject: a\nHeading: {{ nme }}\n\nText.", "unknown variable 'nme'", "did you mean name?", 2),
    ("check_in.txt", BODY + "{% if name %}\nHi", "Unexpected end of template", "our template", 6),
    ("check_in.txt", BODY + "Hi\n{{ name", "unexpected end of template", "our template", 6),
    ("check_in.txt", BODY + "Hi\n{{ clients_total }}", "prints an unknown value", "is not none", 6),
    ("check_in.txt", BODY + "{{ clients_total + 1 }}", "cannot be rendered for a supplier without known facts", "is not none", 5),
    ("check_in.txt", BODY + "{{ name|cout('a') }}", "the filter 'cout' cannot be used", "did you mean count?", 5),
    ("check_in.txt", BODY + "[nombers]", "[nombers] is not a block", "did you mean [numbers]?", 5),
    ("check_in.txt", "Subject: a\nNumbers: clients_totl\n\nText.", "clients_totl has no label", "did you mean clients_total?", 2),
    ("check_in.txt", "Subject: a\nButton: Go | javascript:x\n\nText.\n\n[button]", "neither the name of an action", "our template", 1),
    ("layout.css", "p { color: red }\n@import url(x.css);", "@import cannot be used", "load nothing", 2),
    ("layout.css", "p { background: url(https://x.example/a.png) }", "url( cannot be used", "load nothing", 1),
    ("layout.css", "p {}\n</style><script>", "</ cannot be used", "load nothing", 2),
    ("layout.html", LAYOUT.replace("{{ unsubscribe }}", ""), "no unsubscribe link", "{{ unsubscribe }}", 1),
    ("layout.html", LAYOUT.replace('<a href="{{ unsubscribe }}">', "<a>"), "no unsubscribe link", "{{ unsubscribe }}", 1),
    ("layout.html", LAYOUT.replace("{{ why }}", "{{ wy }}"), "unknown variable 'wy'", "did you mean why?", 56),
    ("layout.html", LAYOUT.replace("<body>", "<body><script>alert(1)</script>"), "<script> cannot be used", "remove", 1),
    ("layout.html", LAYOUT.replace("<body>", '<body onload="x()">'), "onload= cannot be used", "remove", 1),
    ("layout.html", LAYOUT.replace("<body>", '<body><a href="javascript:x()">x</a>'), "is not a URL for emails", "https:", 1),
    ("phrases.de.toml", PHRASES_DE + "clients_totl = []", "unknown number 'clients_totl'", "did you mean clients_total?", 14),
    ("phrases.de.toml", PHRASES_DE.replace("today", "tody"), "unknown phrase 'tody'", "did you mean today?", 7),
    ("phrases.de.toml", PHRASES_DE.replace("Hallo {name},", "Hallo,"), "greeting has no {name}", "{name}", 2),
    ("phrases.de.toml", PHRASES_DE.replace("one {Paar} ", "once {Paar} "), "'once' is not a branch of plural", "one, other", 11),
    ("phrases.de.toml", PHRASES_DE.replace("other {Paare}}", "other {Paare}"), "{ is missing here", "{# form}", 11),
    ("phrases.de.toml", PHRASES_DE.replace("one {Paar} other {Paare}", "one {Paar}"), "there is no branch other", "no branch", 11),
    ("phrases.de.toml", PHRASES_DE.replace("bei Ihnen", "bei {name}"), "clients_total has an unknown placeholder {name}", "the number is n", 11),
    ("phrases.de.toml", PHRASES_DE.replace('"Ihres Tarifs genutzt"', "[1]"), "limit_ratio is not text", "of what your plan", 12),
    ("phrases.de.toml", "[frame\n", "not TOML", "key", 1),
    ("phrases.de.toml", "[frame]\n", "has no greeting, greeting_without_name", "translate", 1),
    ("phrases.de.toml", "[fram]\n", "unknown table 'fram'", "did you mean frame?", 1),
    ("check_in.txt", b"Subject: a\n\nM\xfcnchen", "not UTF-8", "save it as UTF-8", 3),
    ("check_in.txt", b"Subject: a\n\nM\0nchen", "NUL", "plain text", 1),
    ("check_in.txt", "x" * 64_001, "more than 64,000 bytes", "smaller", 1),
]  # fmt: skip


@pytest.mark.parametrize(("name", "content", "message", "hint", "line"), FILES)
def test_each_mistake_in_a_file(
    tmp_path: Path, name: str, content: bytes | str, message: str, hint: str, line: int
) -> None:
    playbook = make_platform(tmp_path, PLATFORM.replace('languages = { DE = "de" }\n', ""))
    path = add_file(tmp_path, name, content)
    found = mistakes_of(playbook)
    matching = [one for one in found if message in one.message and one.file == str(path)]
    assert len(matching) == 1, found
    mistake = matching[0]
    assert hint in mistake.hint and mistake.level == "error", mistake
    if name != "layout.html" or "wy" in message:
        assert mistake.line == line, mistake
    with pytest.raises(InputError) as raised:
        load_playbook(Settings(None, tmp_path, playbook, None, "http://testserver", "s" * 32))
    assert f"{path}:{mistake.line}:" in raised.value.message and message in raised.value.message


RAISING = [
    ("{% if clients_total is not none %}{{ (clients_active_30d / clients_total)|percent }}{% endif %}", "division by zero", "test the divisor first"),
    ("{{ 5 is divisibleby(0) }}", "modulo by zero", "test the divisor first"),
    ("{{ 1e300|int * 1e300 }}", "only constants", "at most"),
    ("{{ 1e999|int }}", "not defined", "our template"),
    ("{{ '0001-01-01T00:00:00Z'|moment('America/New_York') }}", "out of range", "smaller numbers"),
    ("{{ 10000000000000000000000000000000000000|days }}", "a number is too large", "smaller numbers"),
    ("{{ name[::0] }}", "slice step cannot be zero", "our template"),
    ("{{ next_steps[0].title }}", "no element 0", "our template"),
    ("{{ name|trim(3) }}", "must be None or str", "our template"),
    ("{% if 1 %}" * 150 + "{% endif %}" * 150, "too many levels of indentation", "our template"),
    ("{{ " + "1" * 5000 + " }}", "4300 digits", "our template"),
    ("{{ " + "(" * 3000 + "1" + ")" * 3000 + " }}", "nested too deeply", "split"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "message", "hint"), RAISING)
@pytest.mark.parametrize("place", ["Subject: a\n\nText\n\n{}", "Subject: a {}\n\nText."])
def test_any_exception_of_a_template_is_a_mistake_with_a_hint(
    place: str, text: str, message: str, hint: str
) -> None:
    [found] = check_overrides({"check_in.txt": place.replace("{}", text)})
    assert found.file == "check_in.txt" and message in found.message and hint in found.hint
    if "cannot be rendered" in found.message and "indentation" not in message:
        assert found.line == (5 if place.endswith("{}") else 1)


@pytest.mark.parametrize(("text", "message"), [("{{ 1 / 0 }}", "division"), ("{{ 1 is divisibleby(0) }}", "modulo")])  # fmt: skip
def test_any_exception_of_a_layout_is_a_mistake_with_its_line(text: str, message: str) -> None:
    [found] = check_overrides({"layout.html": LAYOUT.replace("</body>", f"{text}</body>")})
    line = LAYOUT[: LAYOUT.index("</body>")].count("\n") + 1
    assert (found.file, found.line) == ("layout.html", line) and message in found.message


@pytest.mark.parametrize("text", ["today = " + "[" * 3000, "today = " + "1" * 5000, "\0"])
def test_phrases_that_cannot_be_read_beside_their_template(text: str) -> None:
    files = {"phrases.de.toml": f"[frame]\n{text}", "check_in.de.txt": BODY}
    found = check_overrides(files)
    assert found and {one.file for one in found} == {"phrases.de.toml"}
    assert all("not TOML" in one.message and one.hint for one in found), found


@pytest.mark.parametrize("language", ["de", "en"])
@pytest.mark.parametrize("table", ["frame", "numbers"])
@pytest.mark.parametrize("value", ["3", '"x"', "[]", "[[]]"])
def test_phrases_whose_tables_are_none(language: str, table: str, value: str) -> None:
    files = {f"phrases.{language}.toml": f"{table} = {value}", f"check_in.{language}.txt": BODY}
    found = [one for one in check_overrides(files) if "is not a table" in one.message]
    assert [(one.message, one.line) for one in found] == [(f"{table} is not a table", 1)]


@pytest.mark.parametrize("rename", [one for one in RENAMES if one.kind == "template"], ids=lambda one: one.old)  # fmt: skip
@pytest.mark.parametrize("ending", [".txt", ".de.txt"])
def test_a_retired_file_name_names_its_replacement(
    rename: Rename, ending: str, tmp_path: Path
) -> None:
    playbook = make_platform(tmp_path, "", None)
    path = add_file(tmp_path, rename.old + ending, BODY)
    found = only(playbook)
    assert found.file == str(path) and f"unknown email '{rename.old}'" in found.message
    assert found.hint == f"it is now called {rename.new}"


@pytest.mark.parametrize("rename", [one for one in RENAMES if one.kind == "signal" and one.new in SIGNAL_SCHEMA], ids=lambda one: one.old)  # fmt: skip
def test_a_retired_variable_names_its_replacement(rename: Rename, tmp_path: Path) -> None:
    playbook = make_platform(tmp_path, "", None)
    add_file(tmp_path, "check_in.txt", f"{BODY}{{% if {rename.old} %}}x{{% endif %}}")
    found = only(playbook)
    assert found.hint == f"it is now called {rename.new}" and found.line == 5


def test_the_variable_next_steps_is_not_retired(tmp_path: Path) -> None:
    playbook = make_platform(tmp_path, "", None)
    add_file(tmp_path, "check_in.txt", BODY + "{% if next_steps %}x{% endif %}\n\n[next_steps]")
    assert mistakes_of(playbook) == []


def test_phrases_that_cannot_be_read_exist(tmp_path: Path) -> None:
    playbook = make_platform(tmp_path)
    add_file(tmp_path, "phrases.de.toml", PHRASES_DE.encode("utf-16"))
    add_file(tmp_path, "one_year.de.txt", ONE_YEAR_DE)
    found = only(playbook)
    assert "not UTF-8" in found.message and found.file.endswith("phrases.de.toml")
    with pytest.raises(InputError) as raised:
        load_brand(Settings(None, tmp_path, playbook, None, "http://x", "s" * 32), check_overrides)
    assert "not UTF-8" in raised.value.message and "does not exist" not in raised.value.message


def test_a_table_of_phrases_that_is_there_twice(tmp_path: Path) -> None:
    [found] = check_overrides({"phrases.de.toml": PHRASES_DE + "[frame]\n"})
    assert (found.message, found.line) == ("not TOML: [frame] is there twice", 14)
    assert found.hint == "merge the two tables"


LANGUAGES = [
    ('languages = { DE = "de" }', 'languages = { XX = "de" }', "there is no country 'XX'", "GB", "XX ="),
    ('languages = { DE = "de" }', 'languages = { UK = "de" }', "there is no country 'UK'", "write GB", "UK ="),
    ('languages = { DE = "de" }', 'languages = { DE = "xx" }', "'xx' is not a language", "de-AT", '"xx"'),
    ('languages = { DE = "de" }', 'languages = { DE = "de-XX" }', "no country 'XX'", "de-AT", '"de-XX"'),
    ('languages = { DE = "de" }', 'language = "qq"', "'qq' is not a language", "de-AT", '"qq"'),
    ("[platform]", '[coach]\nlanguage = "qq"\n[platform]', "'qq' is not a language", "de-AT", '"qq"'),
]  # fmt: skip


@pytest.mark.parametrize(("was", "written", "message", "hint", "at"), LANGUAGES)
def test_each_unknown_language_and_country(
    was: str, written: str, message: str, hint: str, at: str
) -> None:
    test_each_mistake_in_the_table(was, written, message, hint, at)


@pytest.mark.parametrize(
    ("tag", "message", "hint"),
    [
        ("DE", "'DE' is not a language", "write de"),
        ("de_AT", "'de_AT' is not a language", "write de-AT"),
        ("de-at", "'de-at' is not a language", "write de-AT"),
        ("de-XX", "'de-XX': there is no country 'XX'", "de-AT"),
        ("xx", "'xx' is not a language", "de-AT"),
        ("Deutsch", "'Deutsch' is not a language", "de-AT"),
    ],
)
def test_a_translation_into_what_no_supplier_reads(tag: str, message: str, hint: str) -> None:
    text = f"""{SMALL}
[tips.a]
when = "tenure_days >= 7"
title = "A"
body = "B"
reason = "C"
action_label = "D"
action_url = "/d"
[tips.a.translations."{tag}"]
title = "T"
"""
    [found] = [one for one in find_mistakes(text) if "translations" in one.path]
    assert found.message == message and hint in found.hint
    assert text.splitlines()[found.line - 1].startswith("[tips.a.translations.")
    assert not [
        one for one in find_mistakes(text.replace(tag, "de-AT")) if "translations" in one.path
    ]


HOSTILE = [
    "{{ ''.__class__ }}",
    "{{ ''['__class__'] }}",
    "{{ name['__cla' ~ 'ss__'] }}",
    "{{ name|attr('__class__') }}",
    "{{ name.__class__.__mro__ }}",
    "{{ ''.join(['a']) }}",
    "{{ name.format(name) }}",
    "{{ range(10000000) }}",
    "{% for a in range(100000) %}x{% endfor %}",
    "{% for a in 'xxxxxxxx' %}x{% endfor %}",
    "{% for a in next_steps %}{% for b in next_steps %}{% for c in next_steps %}x{% endfor %}{% endfor %}{% endfor %}",
    "{{ 'x' * 1000000000 }}",
    "{{ 'x' * clients_total }}",
    "{{ 9 ** 9 ** 9 }}",
    "{{ 'x'|center(1000000000) }}",
    "{{ name|replace('', 'xxxxxxxx') }}",
    "{% set a = 'x' %}{% set a = a ~ a %}{{ a }}",
    "{% set a %}x{% endset %}{{ a }}",
    "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    "{% include '/etc/passwd' %}",
    "{% extends '/etc/passwd' %}",
    "{% import 'os' as os %}",
    "{% block a %}{% endblock %}",
    "{{ cycler.__init__.__globals__ }}",
    "{{ lipsum() }}",
    "{{ self }}",
    "{{ ('x' * 200) * 200 }}",
    "{{ name is filter }}",
    "{% for a in next_steps recursive %}{{ loop(a) }}{% endfor %}",
    "{% for a in parts %}{% for b in parts %}x{% endfor %}{% endfor %}",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_template_is_rejected_before_rendering(text: str) -> None:
    found = check_overrides({"check_in.txt": BODY + text})
    assert found and all(one.level == "error" for one in found)
    assert not any("cannot be rendered" in one.message for one in found), found


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_layout_is_rejected_before_rendering(text: str) -> None:
    found = check_overrides({"layout.html": LAYOUT.replace("</body>", f"{text}</body>")})
    assert found and not any("cannot be rendered" in one.message for one in found), found


def test_files_outside_the_folder_are_rejected(tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text(BODY)
    folder = tmp_path / "platform"
    playbook = make_platform(folder)
    (folder / "logo.svg").unlink()
    (folder / "logo.svg").symlink_to(secret)
    (folder / "templates" / "emails").mkdir(parents=True)
    (folder / "templates" / "emails" / "check_in.txt").symlink_to(secret)
    found = mistakes_of(playbook)
    assert [
        "outside the playbook's folder" in one.message for one in found if one.level == "error"
    ] == [
        True,
        True,
    ], found
    above = make_platform(folder, PLATFORM.replace("logo.svg", "../secret.txt"), logo=None)
    assert any(
        "outside the playbook's folder" in one.message and one.path == "platform.logo"
        for one in mistakes_of(above)
    )


def test_a_link_inside_the_folder_is_followed(tmp_path: Path) -> None:
    """Kubernetes mounts a ConfigMap like this."""
    playbook = make_platform(tmp_path, PLATFORM.replace('languages = { DE = "de" }\n', ""))
    (tmp_path / "..data").mkdir()
    (tmp_path / "..data" / "check_in.txt").write_text(BODY)
    (tmp_path / "templates" / "emails").mkdir(parents=True)
    (tmp_path / "templates" / "emails" / "check_in.txt").symlink_to(
        tmp_path / "..data" / "check_in.txt"
    )
    assert mistakes_of(playbook) == []


def test_entries_that_are_not_files_are_rejected_without_blocking(tmp_path: Path) -> None:
    playbook = make_platform(tmp_path)
    (tmp_path / "templates" / "emails" / "check_in.txt").mkdir(parents=True)
    os.mkfifo(tmp_path / "templates" / "emails" / "we_miss_you.txt")
    found = [one.message for one in mistakes_of(playbook) if one.level == "error"]
    assert (
        len(found) == 2
        and "check_in.txt" in found[0]
        and "we_miss_you.txt is not a file" in found[1]
    ), found


def test_the_command_shows_the_line_of_the_file(tmp_path: Path) -> None:
    playbook = make_platform(tmp_path, PLATFORM.replace('languages = { DE = "de" }\n', ""))
    path = add_file(tmp_path, "check_in.txt", BODY + "Hi {{ nme }}.")
    result = runner.invoke(app, ["playbook", "check", str(playbook)])
    assert result.exit_code == 2
    lines = result.output.splitlines()
    at = lines.index(f"{path}:5:1: error: unknown variable 'nme'")
    assert "Hi {{ nme }}." in lines[at + 1] and "did you mean name?" in lines[at + 3]
    answer = json.loads(runner.invoke(app, ["playbook", "check", str(playbook), "--json"]).output)
    assert [(one["file"], one["line"]) for one in answer["mistakes"]] == [
        (str(path), 5)
    ] and answer["valid"] is False


# ── logos ─────────────────────────────────────────────────────────────────────────────────────

BAD_LOGOS = [
    (b"GIF89a" + b"\0" * 40, "not a PNG, JPEG or SVG"),
    (b"", "not a PNG, JPEG or SVG"),
    (b"x" * 200_001, "200,001 bytes"),
    (png(8, 8), "8 × 8 pixels"),
    (png(4001, 16), "4001 × 16 pixels"),
    (png()[:60], "damaged"),
    (b"\xff\xd8\xff\xe0" + b"\0" * 20, "damaged"),
    (SVG.replace("<circle", "<script>alert(1)</script><circle").encode(), "a <script> element"),
    (SVG.replace("<circle", "<foreignObject/><circle").encode(), "a <foreignobject> element"),
    (SVG.replace("<circle", '<circle onload="x()"').encode(), "an onload= attribute"),
    (SVG.replace("<circle", '<image href="https://x.example/a.png"/><circle').encode(), "a link to 'https://x.example/a.png'"),
    (SVG.replace("<circle", '<image href="file:///etc/passwd"/><circle').encode(), "a link to 'file:///etc/passwd'"),
    (SVG.replace("<circle", "<style>@import 'x.css'</style><circle").encode(), "a style sheet that loads"),
    (SVG.replace('fill="#9b2d5c"', 'style="fill: url(https://x.example/#a)"').encode(), "that loads something"),
    (b'<?xml version="1.0"?><!DOCTYPE svg [<!ENTITY a "b">]>' + SVG.encode(), "DOCTYPE"),
    (SVG.replace("0 0 240 60", "0 0 NaN 60").encode(), "viewBox='0 0 NaN 60' that is not"),
    (SVG.replace("0 0 240 60", "0 0 1e99 60").encode(), "viewBox='0 0 1e99 60' that is not"),
    (SVG.replace("0 0 240 60", "0 0 240").encode(), "viewBox='0 0 240' that is not"),
    (SVG.replace("0 0 240 60", "0 0 -240 60").encode(), "viewBox='0 0 -240 60' that is not"),
    (SVG.replace("0 0 240 60", "0 0 0 60").encode(), "viewBox='0 0 0 60' that is not"),
    (SVG.replace('r="26"', 'r="Infinity"').encode(), "r='Infinity' that is not a finite number"),
    (SVG.replace("<svg ", '<svg width="nan" ').encode(), "width='nan' that is not a finite number"),
    (SVG.replace("M70 15", "M70 1e40").encode(), "that is not a finite number"),
    (SVG.replace("</svg>", "").encode(), "cannot be read"),
    (b"<?xml version='1.0'?><html/>", "not SVG"),
]  # fmt: skip


@pytest.mark.parametrize(("content", "message"), BAD_LOGOS)
def test_invalid_logos_are_rejected(content: bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(LogoError) as raised:
        read_logo(content)
    assert message in str(raised.value) and raised.value.hint
    playbook = make_platform(
        tmp_path, PLATFORM.replace('languages = { DE = "de" }\n', ""), logo=content
    )
    mistake = only(playbook)
    assert mistake.path == "platform.logo" and (message in mistake.message or "bytes" in message)


@pytest.mark.parametrize(
    "view", ["0 0 240 60", "0,0,240,60", " 0, 0 , 2.4e2 60. ", "-10 -.5 240 60"]
)
def test_a_view_box_may_be_written_in_any_way(view: str) -> None:
    assert read_logo(SVG.replace("0 0 240 60", view).encode()).height


def test_a_missing_logo(tmp_path: Path) -> None:
    mistake = only(
        make_platform(tmp_path, PLATFORM.replace('languages = { DE = "de" }\n', ""), logo=None)
    )
    assert "logo.svg does not exist" in mistake.message and mistake.path == "platform.logo"


def test_logos_keep_their_proportions_and_emails_have_no_svg() -> None:
    vector, bitmap, wide = (
        read_logo(SVG.encode()),
        read_logo(png(300, 100)),
        read_logo(png(3000, 100)),
    )
    assert (vector.width, vector.height, vector.inline_type) == (160, 40, "image/png")
    assert vector.inline.startswith(b"\x89PNG") and vector.media_type == "image/svg+xml"
    assert (bitmap.width, bitmap.height, bitmap.inline) == (120, 40, png(300, 100))
    assert (wide.width, wide.height) == (240, 8)


# ── colors and names ──────────────────────────────────────────────────────────────────────────


def test_missing_colors_are_computed_with_enough_contrast() -> None:
    for accent in ("#9b2d5c", "#005fcc", "#1d5c4b", "#000000", "#767600"):
        colors = resolve_colors(PlatformColors(accent=accent))
        assert colors is not None
        assert contrast(colors.accent, colors.on_accent) >= 4.5
        assert contrast(colors.accent_dark, colors.on_accent_dark) >= 4.5
        assert contrast(colors.accent_dark, "#1b1f20") >= 7
    assert resolve_colors(PlatformColors()) is None
    assert recolor("a { color: #1d5c4b; }", None) == "a { color: #1d5c4b; }"


def test_the_order_of_sender_names() -> None:
    named, unnamed = (
        read_email("nora@care.example", "Nora Lind"),
        read_email("nora@care.example", "Your success team"),
    )
    assert branded_sender(named, Brand(name="Confetti", sender_name="Ada")).display_name == "Ada"
    assert branded_sender(named, Brand(name="Confetti")).display_name == "Nora Lind"
    assert branded_sender(unnamed, Brand(name="Confetti")).display_name == "Confetti"
    assert branded_sender(unnamed, OURS) == unnamed


# ── rendering ─────────────────────────────────────────────────────────────────────────────────


def test_our_own_templates_pass_the_check() -> None:
    names = [f"{name}.txt" for name in list_templates()]
    files = {
        name: (SHIPPED / name).read_text(encoding="utf-8")
        for name in [*names, "layout.html", "layout.css"]
    }
    assert check_overrides(files) == []


def test_the_language_follows_the_country() -> None:
    files = {
        "one_year.txt": ONE_YEAR,
        "one_year.de.txt": ONE_YEAR_DE,
        "phrases.de.toml": PHRASES_DE,
    }
    brand = Brand(languages={"DE": "de", "AT": "de-AT"}, files=files)
    for country, language in (("DE", "de"), ("AT", "de"), ("GB", "en"), (None, "en")):
        made = render_message(
            "one_year", TYPICAL | {"country": country, "limit_ratio": 0.5}, LINKS, brand
        )
        assert f'<html lang="{language}"' in made.html
        assert made.subject.startswith("Ein Jahr" if language == "de" else "A whole year")
    german = render_message(
        "one_year",
        TYPICAL
        | {"country": "DE", "limit_ratio": 0.5, "clients_total": 1, "days_to_next_wedding": 0},
        LINKS,
        brand,
    )
    assert "Hallo Golden Hour Photography," in german.text and "1 Paar.\n" in german.text
    rows = [" ".join(line.split()) for line in german.text.splitlines()]
    assert (
        "1 Paar bei Ihnen" in rows
        and "50 % Ihres Tarifs genutzt" in rows
        and "heute Ihre nächste Hochzeit" in rows
    )
    assert "Solche Nachrichten abbestellen: https://care.example/u/TOKEN" in german.text
    assert "Unsubscribe" not in german.html + german.text
    other = render_message("check_in", TYPICAL | {"country": "DE"}, LINKS, brand)
    assert '<html lang="en"' in other.html, "an email without a translation is English as a whole"


@pytest.mark.parametrize(
    ("language", "forms", "message"),
    [
        ("de", ("Paar", "Paare"), {0: "0 Paare", 1: "1 Paar", 2: "2 Paare", 1200: "1.200 Paare"}),
        ("fr", ("client", "clients", "clients"), {0: "0 client", 1: "1 client", 2: "2 clients"}),
        (
            "pl",
            ("para", "pary", "par", "pary"),
            {0: "0 par", 1: "1 para", 2: "2 pary", 5: "5 par", 21: "21 par", 22: "22 pary"},
        ),
    ],
)
def test_plural_forms_are_those_of_the_language(
    language: str, forms: tuple[str, ...], message: dict[int, str]
) -> None:
    count = filters_of(Phrases(language))["count"]
    assert {number: count(number, *forms) for number in message} == message
    with pytest.raises(RenderError, match="plural form"):
        count(1, *forms[1:])


def test_dates_and_percentages_follow_the_language() -> None:
    german = filters_of(Phrases("de", {"today": "heute", "tomorrow": "morgen"}))
    message = german["moment"]("2026-11-24T14:30:00Z", "Europe/Berlin", "2026-11-24T14:45:00Z")
    assert message == "Dienstag, 24. November, 15:30–15:45 Uhr (Europe/Berlin)"
    assert [german["soon"](number) for number in (0, 1.5, 12)] == ["heute", "morgen", "in 12 Tagen"]
    assert german["percent"](0.999).replace("\xa0", " ") == "99 %"


def test_an_email_without_unsubscribe_link_or_too_long_is_not_rendered() -> None:
    no_link = LAYOUT.replace("{{ unsubscribe }}", "https://elsewhere.example/")
    with pytest.raises(RenderError, match="no unsubscribe link"):
        render_message("check_in", TYPICAL, LINKS, Brand(files={"layout.html": no_link}))
    with pytest.raises(RenderError, match="100,000"):
        render_message(
            "check_in", TYPICAL, LINKS, Brand(files={"check_in.txt": BODY + "word " * 30_000})
        )


def test_all_templates_render_with_the_sample_facts() -> None:
    for facts in sample_facts().values():
        for template in list_templates():
            render_message(template, facts, LINKS)

"""The coach's module as it is served: small, for any site, and the same as its hash says."""

import base64
import gzip
import hashlib
import json
import re
import tomllib

import httpx

from everafter.coach.messages import list_languages
from everafter.coach.pages import squeeze
from helpers_server import Server
from helpers_source import SRC

SOURCE = (SRC / "static" / "coach.js").read_text(encoding="utf-8")
SERVED = squeeze(SOURCE)


def get(server: Server, path: str, **headers: str) -> httpx.Response:
    return httpx.get(server.base_url + path, headers=headers, timeout=10)


def test_it_is_small_and_open_to_every_site(server: Server) -> None:
    answer = get(server, "/coach.js", **{"Accept-Encoding": "gzip"})
    assert answer.status_code == 200 and answer.headers["content-encoding"] == "gzip"
    assert int(answer.headers["content-length"]) < 10 * 1000, "under 10 KB as it is served"
    assert answer.text == SERVED == get(server, "/coach.js", **{"Accept-Encoding": "identity"}).text
    assert answer.headers["content-type"] == "text/javascript; charset=utf-8"
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.headers["cross-origin-resource-policy"] == "cross-origin"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["vary"] == "Accept-Encoding"
    assert re.match(r"public, max-age=\d{1,4},", answer.headers["cache-control"]), (
        "a new version is there within the hour"
    )
    again = get(server, "/coach.js", **{"If-None-Match": answer.headers["etag"]})
    assert (
        again.status_code == 304
        and again.content == b""
        and again.headers["access-control-allow-origin"] == "*"
    )
    assert get(server, "/coach.js", **{"If-None-Match": '"another"'}).status_code == 200


def test_the_versioned_address_may_be_kept_for_good_and_has_a_hash(server: Server) -> None:
    module = get(server, "/coach.json").json()
    assert module["src"].startswith("/static/coach.js?v=")
    answer = get(server, module["src"], **{"Accept-Encoding": "identity"})
    digest = hashlib.sha384(answer.content).digest()
    assert module["integrity"] == "sha384-" + base64.b64encode(digest).decode()
    assert (
        "immutable" in answer.headers["cache-control"]
        and answer.headers["access-control-allow-origin"] == "*"
    )
    old = get(server, "/static/coach.js?v=000000000000")
    assert old.text == SERVED and old.headers["cache-control"] == "no-cache", (
        "another version's address is not kept as this one"
    )


def test_it_needs_nothing_else() -> None:
    code = re.sub(r"^\s*//[^\n]*|/\*.*?\*/", "", SOURCE, flags=re.M | re.S)
    assert len(code) > 20_000
    assert "import " not in re.sub(r"import\.meta", "", code)
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|https?://",
        SOURCE,
    )
    assert len(gzip.compress(SERVED.encode(), 9, mtime=0)) < 10 * 1000
    assert "\n//" not in SERVED and len(SERVED) > 20_000, (
        "comments are for those who read the source"
    )


def test_its_labels_are_those_of_the_server() -> None:
    tables = tomllib.loads((SRC / "coach" / "messages.toml").read_text(encoding="utf-8"))["words"]
    english = tables["en"]
    own = re.search(r"const TEXTS = \{(.*?)\};", SOURCE)
    assert own
    for name, text in re.findall(r'(\w+): ("[^"]*")', own[1]):
        assert english[name] == json.loads(text)
    named = set(re.findall(r'#(?:text|word|outside)\((?:"act[^"]*", )?"(\w+)"', SOURCE)) | set(
        re.findall(r'\? "(\w+)" :', SOURCE)
    )
    composed = {
        "tip_label",
        "help_label",
        "celebration_label",
        "later_day",
        "later_week",
        "later_season",
    }
    composed |= {f"state_{state}" for state in ("on_track", "behind", "stuck", "done")}
    said = {key for key in english if key not in composed and not re.search(rf'"{key}"', SOURCE)}
    assert not said, f"sent and never shown: {said}"
    assert {"progress", "book_call", "booked_title", "certificate"} <= named | {
        "progress"
    } and not (named & set(english)) - set(english)
    for language in list_languages():
        assert set(tables[language]) <= set(english), language
        for key, text in tables[language].items():
            assert set(re.findall(r"\{(\w+)\}", text)) == set(
                re.findall(r"\{(\w+)\}", english[key])
            ), f"{language}: {key}"

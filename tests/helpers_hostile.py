"""Names that are more than names, and readers of mail and calendars that do not share Python's code."""

import base64
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

READERS = Path(__file__).parent / "readers"


def _word(text: str, *, charset: str = "utf-8") -> str:
    """An encoded word that a reader would turn into `text`."""
    return f"=?{charset}?b?{base64.b64encode(text.encode()).decode()}?="


NAMES = (
    # encoded words that hold line ends, headers, bodies and nothing good
    "=?utf-8?q?Lily=0D=0ABcc:_thief=40x.example?=",
    "=?UTF-8?Q?Lily=0A=0A=3Cb=3EPay_here=3C/b=3E?=",
    "=?utf-8?q?Lily=0DX-Own:_1?= and =?utf-8?q?=00Rose?=",
    "=?us-ascii?q?=0D=0A=2E=0D=0AMAIL_FROM:=3Ca=40b=3E?=",
    _word("Lily\r\nTo: thief@x.example"),
    _word("Lily\n\n--=_a\n"),
    _word(_word("Lily\r\nCc: thief@x.example")),
    "=?utf-8?q?" + "=0D=0A" * 30 + "?=",
    "=?utf-8?q?Li=?= =?utf-8?q?ly=0D?=",
    "=?utf-8?q?half =?utf-8?q?=0Awhole?=",
    "=?no-such-charset?q?Lily=0D=0A?= & =?utf-8?x?Lily?= =?utf-8*de?q?=0A?=",
    "=?utf-7?q?+AA0ACg-?=",
    "=?utf-8?b?!!!!?= =?utf-8?b?DQo?=",
    "=?utf-8?q?plain?=",
    "=?=?=?",
    # line ends as they are
    "Lily\r\nBcc: thief@x.example",
    "Lily\n\n<b>Pay here</b>",
    "Lily\rX-Own: 1\x0b\x0c\x1c\x1d\x1e\x85Y: 2\u2028Z: 3\u2029W: 4",
    "Lily\r\n.\r\nQUIT\r\n",
    "\r\n \r\n",
    "\0\x01\x1b[31mred\x7f",
    # address syntax
    '"Lily" <thief@x.example>, other@x.example',
    "<thief@x.example>",
    "<>",
    "a: b@x.example, c@x.example;",
    "Lily; Rose, Ltd. (comment (nested) \\) here)",
    'Lily "the \\"best\\"" Rose\\',
    '"',
    "\\",
    "thief@x.example",
    "Lily@Rose",
    "undisclosed-recipients:;",
    # calendar syntax
    'Lily";X-OWN=1:mailto:thief@x.example',
    "Lily\\nEND:VEVENT\\nBEGIN:VALARM",
    "Lily\nEND:VEVENT\r\nBEGIN:VEVENT\r\nATTENDEE:mailto:thief@x.example",
    "^n^'^^ Lily;ROLE=CHAIR,a:b",
    # scripts, directions, marks
    "Żółw & Söhne GmbH",
    "白百合フォト",
    "שושנה צילום \u202egnp.exe\u202c",
    "می\u200cخواهم گل",
    "Li\u200bly\ufeff Ro\u00adse\u2060",
    "Family 👩\u200d👩\u200d👧 🏳️\u200d🌈 and 🎉",
    "e\u0301" * 40,
    "\ud800 half \udfff pairs",
    "\U000e0001\U000e0041 tags \ufffe",
    # lengths
    "Lily " * 2000,
    "L" * 10_000,
    "ü" * 10_000,
    "百" * 998,
    "x" * 75 + " =?",
    " Lily ",
    "",
    "{{ 7 * 7 }} {% raw %} ${x} %s %(a)s",
    "From Lily\n>From Rose",
)


def need_readers() -> Path:
    """The folder of the second readers; skips where `scripts/install-test-tools` could not bring them."""
    if not shutil.which("node") or not (READERS / "node_modules" / "installed.json").exists():
        pytest.skip(
            "Node or the npm packages of tests/readers are not here (scripts/install-test-tools brings them)"
        )
    return READERS


def read_elsewhere(
    messages: list[bytes], calendars: list[str]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """What postal-mime makes of the messages and ical.js of the calendars."""
    asked = {
        "messages": [base64.b64encode(one).decode() for one in messages],
        "calendars": calendars,
    }
    done = subprocess.run(
        ["node", "read.mjs"], cwd=need_readers(), input=json.dumps(asked), capture_output=True, text=True, timeout=120
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    return found["messages"], found["calendars"]

"""Classify replies of mail servers. Pure.

Only a clear statement about the recipient suppresses an address. If a server rejects our host,
sender or reputation, every message is affected: messages are deferred, and the reason is shown
until it is fixed.
"""

import re
from typing import Literal

Step = Literal["sender", "recipient", "data"]
Classification = Literal["defer", "sender_rejected", "dead", "bad_address"]
"""defer: temporary, try again later. sender_rejected: the server rejects our sender or host, not
this recipient; try again later, and show the reason. dead: this message will not be accepted, but
the address may be valid. bad_address: the address does not accept mail."""

_ENHANCED = re.compile(r"(?:^|[#(\s])([245])\.(\d{1,3})\.(\d{1,3})\b(?!\.\d)")
_URL = re.compile(r"https?://\S+", re.IGNORECASE)
# RFC 3463: unknown mailbox, bad mailbox syntax, moved without forwarding, null MX, disabled.
# Not 5.1.2 (unknown domain): a relay with broken DNS returns it for every address.
_BAD_ADDRESS = {"1.1", "1.3", "1.6", "1.10", "2.1"}
_TEMPORARY = {"2.2", "3.2", "4.2", "4.5", "4.7"}  # full or busy, also when the class is 5
_SENDER = {"1.7", "1.8", "5.1", "5.2"}  # bad sender; commands out of order or unknown
_SESSION_CODES = {500, 502, 503, 504, 530, 534, 535, 538}
_ABOUT_SENDER = re.compile(
    r"\bsender\b|verif|\brelay(?! recipient table)|authenticat|\bauth\b|\bspf\b|\bdkim\b|\bdmarc\b"
    r"|black ?list|block ?list|\bblocked\b|\brbl\b|dnsbl|\bbanned\b|\blisted\b|reputation"
    r"|\btls\b|encrypt|reverse dns|\bptr\b|\bhelo\b|\behlo\b|client host"
    r"|your (?:ip|host|server|domain|network)"
    r"|polic(?:y|ies)|not (?:permitted|authori[sz]ed|allowed)|access denied|permission|prohibit",
    re.IGNORECASE,
)
_ABOUT_LOAD = re.compile(
    r"\brate\b|too (?:many|quickly|much|fast)|quota|\bfull\b|over ?limit|storage|temporar"
    r"|try (?:again )?later|grey ?list|gray ?list",
    re.IGNORECASE,
)
_ABOUT_CONTENT = re.compile(
    r"spam|content|virus|malware|unsolicited|attachment|\bsize\b|too large|message", re.IGNORECASE
)
# The whole reply.
_PLAIN = re.compile(
    r"(?:sorry, )?(?:"
    r"no such (?:user|mailbox|recipient|account)"
    r"|(?:user|mailbox|recipient|account)(?: is| was)? (?:unknown|not found)"
    r"|(?:user|mailbox|recipient|account) (?:does not|doesn't) exist"
    r"|(?:unknown|no) (?:user|mailbox|recipient)"
    r")(?: here)?(?: by that name)?[.!]?",
    re.IGNORECASE,
)


def classify_refusal(
    step: Step, code: int, text: str, recipient: str = "", sender: str = ""
) -> Classification:
    """Classify a 4xx or 5xx reply to one message.

    Args:
        step: the rejected command; `data` is DATA or the end of the message.
        code: the three digits.
        text: the text after them.
        recipient, sender: the addresses of the message. A reply that names the sender is about us.
    """
    if not 500 <= code <= 599:
        return "defer"
    if step == "sender" or code in _SESSION_CODES:
        return "sender_rejected"
    kind, detail = _enhanced(text)
    words = _without(text, recipient)
    about_sender = bool(_ABOUT_SENDER.search(words)) or (
        bool(sender) and sender.lower() in words.lower()
    )
    if detail in _SENDER:
        return "sender_rejected"
    if detail in _TEMPORARY or (code == 552 and not detail and not _ABOUT_CONTENT.search(words)):
        return "defer"
    if detail.startswith("4."):
        return "dead"  # routing; Microsoft returns 5.4.1 "Access denied" for unknown recipients
    if detail.startswith("7.") or (about_sender and (step == "recipient" or not detail)):
        about_content = step == "data" and _ABOUT_CONTENT.search(words) and not about_sender
        return "dead" if about_content else "sender_rejected"
    if about_sender or _ABOUT_LOAD.search(words):
        return "defer" if _ABOUT_LOAD.search(words) else "dead"
    if detail:
        # 550 4.2.1: the two codes contradict each other, so the failure may be temporary
        return "defer" if kind == "4" else "bad_address" if detail in _BAD_ADDRESS else "dead"
    plain = step == "recipient" and code in {550, 551, 553}
    return "bad_address" if plain and _PLAIN.fullmatch(words) else "dead"


def classify_bounce(
    status: str, diagnostic: str, recipient: str = "", sender: str = ""
) -> Classification:
    """Classify a delivery report (RFC 3464).

    Args:
        status: the code of the report, `5.1.1`.
        diagnostic: the reply of the server that rejected the message; empty: none. It takes
            precedence over `status`.
    """
    found = re.match(r"([45]\d\d)(?:[ -]|$)(.*)", diagnostic.strip(), re.DOTALL)
    if found:
        text = found[2].strip()
        if (
            not _enhanced(text)[1]
            and re.fullmatch(r"[45]\.\d{1,3}\.\d{1,3}", status)
            and status[2:] not in {"0.0"}
        ):
            text = f"{status} {text}"
        return classify_refusal("recipient", int(found[1]), text, recipient, sender)
    if not status.startswith("5."):
        return "defer"
    return classify_refusal("recipient", 550, f"{status} {diagnostic}", recipient, sender)


def _enhanced(text: str) -> tuple[str, str]:
    """Return the enhanced code as class and detail, such as `5` and `1.1`; both are empty without a
    code, or if the detail is 0.0."""
    found = _ENHANCED.search(text)
    detail = f"{found[2]}.{found[3]}" if found else ""
    return (found[1], detail) if found and detail != "0.0" else ("", "")


def _without(text: str, recipient: str) -> str:
    """Remove links, the recipient's address (it can contain any word) and the enhanced code."""
    words = _URL.sub(" ", text)
    if recipient:
        local, _, domain = recipient.rpartition("@")
        for part in (recipient, f"{local.strip(chr(34))}@{domain}"):
            words = re.sub(re.escape(part), " ", words, flags=re.IGNORECASE)
    words = re.sub(r"[#(]?\b[245]\.\d{1,3}\.\d{1,3}\b\)?", " ", words)
    return " ".join(re.sub(r"<\s*>|\(\s*\)", " ", words).split()).strip(" :,-").strip()

"""What a reply of a mail server means: whom it is about, and what to do. Pure.

Only a clear statement about the recipient suppresses an address. A refusal of our own server,
sender or reputation concerns every message: messages are deferred, and the reason is shown until it
is corrected."""

import re
from typing import Literal

Step = Literal["sender", "recipient", "data"]
Classification = Literal["defer", "ours", "dead", "bad_address"]
"""defer: not now, try again later. ours: the mail server refuses us, not this recipient; try again
later, and show it. dead: this message will not be accepted, the address may be fine. bad_address:
the address accepts no mail at all."""

_ENHANCED = re.compile(r"(?:^|[#(\s])([245])\.(\d{1,3})\.(\d{1,3})\b(?!\.\d)")
_URL = re.compile(r"https?://\S+", re.IGNORECASE)
# RFC 3463: no such mailbox, no such syntax of one, moved without a trace, no mail by DNS, disabled.
# Not 5.1.2 (no such domain): a relay whose DNS is broken says it of every address.
_BAD_ADDRESS = {"1.1", "1.3", "1.6", "1.10", "2.1"}
_FULL = {"2.2", "3.2", "4.2", "4.5", "4.7"}  # full, or not now, whatever the first digit says
_OURS = {"1.7", "1.8", "5.1", "5.2"}  # bad sender; commands out of order or not known
_SESSION_CODES = {500, 502, 503, 504, 530, 534, 535, 538}
_ABOUT_US = re.compile(
    r"\bsender\b|verif|\brelay(?! recipient table)|authenticat|\bauth\b|\bspf\b|\bdkim\b|\bdmarc\b"
    r"|black ?list|block ?list|\bblocked\b|\brbl\b|dnsbl|\bbanned\b|\blisted\b|reputation|\btls\b|encrypt"
    r"|reverse dns|\bptr\b|\bhelo\b|\behlo\b|client host|your (?:ip|host|server|domain|network)"
    r"|polic(?:y|ies)|not (?:permitted|authori[sz]ed|allowed)|access denied|permission|prohibit",
    re.IGNORECASE,
)
_ABOUT_NOW = re.compile(
    r"\brate\b|too (?:many|quickly|much|fast)|quota|\bfull\b|over ?limit|storage|temporar|try (?:again )?later"
    r"|grey ?list|gray ?list",
    re.IGNORECASE,
)
_ABOUT_CONTENT = re.compile(
    r"spam|content|virus|malware|unsolicited|attachment|\bsize\b|too large|message", re.IGNORECASE
)
# A whole answer that says this and nothing more.
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
    """What to do after a 4xx or 5xx to one message.

    Args: step: the command refused; `data` means DATA and for the end of the message. code: the
        three digits. text: what followed them. recipient, sender: the addresses of the message; an
        answer that names the sender speaks of us."""
    if not 500 <= code <= 599:
        return "defer"
    if step == "sender" or code in _SESSION_CODES:
        return "ours"
    kind, detail = _enhanced(text)
    said = _without(text, recipient)
    about_us = bool(_ABOUT_US.search(said)) or (bool(sender) and sender.lower() in said.lower())
    if detail in _OURS:
        return "ours"
    if detail in _FULL or (code == 552 and not detail and not _ABOUT_CONTENT.search(said)):
        return "defer"
    if detail.startswith("4."):
        return "dead"  # routing; Microsoft's word for recipients it does not know is 5.4.1 "Access denied"
    if detail.startswith("7.") or (about_us and (step == "recipient" or not detail)):
        refuses_this = step == "data" and _ABOUT_CONTENT.search(said) and not about_us
        return "dead" if refuses_this else "ours"
    if about_us or _ABOUT_NOW.search(said):
        return "defer" if _ABOUT_NOW.search(said) else "dead"
    if detail:
        # 550 4.2.1: the two codes contradict each other, so it is not clear that it is for good
        return "defer" if kind == "4" else "bad_address" if detail in _BAD_ADDRESS else "dead"
    plain = step == "recipient" and code in {550, 551, 553}
    return "bad_address" if plain and _PLAIN.fullmatch(said) else "dead"


def classify_bounce(
    status: str, diagnostic: str, recipient: str = "", sender: str = ""
) -> Classification:
    """The same for a report that came later (RFC 3464).

    Args: status: the report's own code, `5.1.1`. diagnostic: the words of the server that refused,
        empty when the report has none; they say more than the report's code where both are there.
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
    """The enhanced code: its first digit, and the rest, `1.1`; both empty when there is none, or
    only the general 0.0."""
    found = _ENHANCED.search(text)
    detail = f"{found[2]}.{found[3]}" if found else ""
    return (found[1], detail) if found and detail != "0.0" else ("", "")


def _without(text: str, recipient: str) -> str:
    """The words alone: without links, without the recipient's address (which may hold any word),
    without the code and what encloses it."""
    words = _URL.sub(" ", text)
    if recipient:
        local, _, domain = recipient.rpartition("@")
        for part in (recipient, f"{local.strip(chr(34))}@{domain}"):
            words = re.sub(re.escape(part), " ", words, flags=re.IGNORECASE)
    words = re.sub(r"[#(]?\b[245]\.\d{1,3}\.\d{1,3}\b\)?", " ", words)
    return " ".join(re.sub(r"<\s*>|\(\s*\)", " ", words).split()).strip(" :,-").strip()

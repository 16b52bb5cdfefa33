"""What is wrong with what a playbook lets the coach say: its tips, the call it offers, and where
its buttons lead. Pure."""

import re
from collections.abc import Iterator
from typing import Any

from everafter.playbook.conditions import check_condition
from everafter.playbook.findings import Found, table
from everafter.playbook.model import TIP_PREFIX
from everafter.playbook.recommendation_rules import TEXTS, check_url
from everafter.playbook.sentence_rules import SUPPLIER_KINDS, check_translations
from everafter.playbook.shape import did_you_mean


def check_coach(data: dict[str, Any], call_types: frozenset[str] | None) -> Iterator[Found]:
    """Every mistake in [coach], and in the tips beyond their conditions and their own sentences.

    Args:
        data: the playbook's tables.
        call_types: kinds of calls there are; null: not checked.
    """
    coach = table(data, "coach")
    asked, kind = coach.get("call_when"), coach.get("call_type")
    if isinstance(asked, str):
        for remark in check_condition(asked):
            yield (
                ("coach", "call_when"),
                (remark.start, remark.end),
                remark.message,
                remark.hint,
                remark.level,
            )
    if isinstance(kind, str) and call_types is not None and kind not in call_types:
        hint = did_you_mean(kind, call_types) or f"kinds: {', '.join(sorted(call_types))}"
        yield ("coach", "call_type"), None, f"there is no kind of call {kind!r}", hint, "error"
    for name in table(data, "triggers"):
        if name.startswith(TIP_PREFIX):
            message = f"{TIP_PREFIX}… is how tips are called in the intervention log"
            yield ("triggers", name), None, message, "give the trigger another name", "error"
    for name in table(data, "tips"):
        path, tip = ("tips", name), table(data, "tips", name)
        yield from _where(path, tip, table(data, "segments"))
        yield from check_url((*path, "action_url"), tip.get("action_url"))
        yield from check_translations(path, tip, TEXTS, SUPPLIER_KINDS)


def _where(path: tuple[str, ...], tip: dict[str, Any], segments: dict[str, Any]) -> Iterator[Found]:
    vendor_types, pages = tip.get("vendor_types"), tip.get("pages")
    for index, vendor_type in enumerate(vendor_types if isinstance(vendor_types, list) else []):
        if isinstance(vendor_type, str) and vendor_type not in segments:
            hint = did_you_mean(vendor_type, segments) or f"segments: {', '.join(sorted(segments))}"
            yield (
                (*path, "vendor_types", index),
                None,
                f"there is no segment {vendor_type!r}",
                hint,
                "error",
            )
    for index, page in enumerate(pages if isinstance(pages, list) else []):
        if not isinstance(page, str):
            continue
        where = (*path, "pages", index)
        if not page.startswith(("/", "*")):
            yield (
                where,
                None,
                f"{page!r} is no path",
                f'"/{page}", or "*{page}" wherever it is',
                "error",
            )
        elif re.search(r"[?#]", page):
            message = "a page is its path alone: what follows ? or # is not looked at, so this is never one"
            yield where, None, message, f'"{re.split("[?#]", page)[0]}"', "error"

"""Checks of [coach] and [tips.*]. Pure."""

import re
from collections.abc import Iterator
from typing import Any

from everafter.playbook.conditions import check_condition
from everafter.playbook.findings import Finding, at, list_names, table, texts_in
from everafter.playbook.hints import did_you_mean
from everafter.playbook.model import TIP_PREFIX
from everafter.playbook.places import Path
from everafter.playbook.recommendation_rules import TEXTS, check_url
from everafter.playbook.sentence_rules import SUPPLIER_KINDS, check_translations


def check_coach(data: dict[str, Any], call_types: frozenset[str] | None) -> Iterator[Finding]:
    """Check [coach], and the tips except their conditions and untranslated sentences.

    Args:
        data: the playbook's tables.
        call_types: the call types that exist; null: not checked.
    """
    coach = table(data, "coach")
    call_when, call_type = coach.get("call_when"), coach.get("call_type")
    if isinstance(call_when, str):
        for remark in check_condition(call_when):
            yield at(("coach", "call_when"), remark)
    if isinstance(call_type, str) and call_types is not None and call_type not in call_types:
        hint = did_you_mean(call_type, call_types) or f"call types: {list_names(call_types)}"
        yield Finding(("coach", "call_type"), f"there is no call type {call_type!r}", hint)
    for name in table(data, "triggers"):
        if name.startswith(TIP_PREFIX):
            message = f"names with {TIP_PREFIX} are those of tips in the intervention log"
            yield Finding(("triggers", name), message, "give the trigger another name")
    for name in table(data, "tips"):
        path, tip = ("tips", name), table(data, "tips", name)
        yield from check_vendor_types(path, tip, table(data, "segments"))
        yield from _pages(path, tip)
        yield from check_url((*path, "action_url"), tip.get("action_url"))
        yield from check_translations(path, tip, TEXTS, SUPPLIER_KINDS)


def check_vendor_types(
    path: Path, item: dict[str, Any], segments: dict[str, Any]
) -> Iterator[Finding]:
    """Check that every vendor type that a tip or an onboarding step names has a segment."""
    for index, vendor_type in texts_in(item.get("vendor_types")):
        if vendor_type not in segments:
            hint = did_you_mean(vendor_type, segments) or f"segments: {list_names(segments)}"
            where = (*path, "vendor_types", index)
            yield Finding(where, f"there is no segment {vendor_type!r}", hint)


def _pages(path: Path, tip: dict[str, Any]) -> Iterator[Finding]:
    for index, page in texts_in(tip.get("pages")):
        where = (*path, "pages", index)
        if not page.startswith(("/", "*")):
            hint = f'write "/{page}", or "*{page}" to match it anywhere'
            yield Finding(where, f"{page!r} is not a path", hint)
        elif re.search(r"[?#]", page):
            message = "a page is compared by its path, without ? and #, so this never matches"
            yield Finding(where, message, f'write "{re.split("[?#]", page)[0]}"')

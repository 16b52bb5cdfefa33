"""Tips, next steps and the offer of a call in the reader's language. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from everafter.coach.model import CoachAction, CoachHelp, CoachRecommendation, CoachTip
from everafter.playbook.model import Playbook, Tip
from everafter.playbook.translation_rules import translate
from everafter.recommendations.rules import render_recommendation
from everafter.signals.text import format_sentence


def coach_tip(
    name: str, playbook: Playbook, facts: Mapping[str, Any], languages: Sequence[str]
) -> CoachTip:
    """One tip in the first of these languages that it has, with the supplier's numbers."""
    tip = playbook.tips[name]
    title, body, reason, label = (
        _say(tip, field, playbook, facts, languages)
        for field in ("title", "body", "reason", "action_label")
    )
    return CoachTip(name, title, body, reason, CoachAction(label, tip.action_url))


def coach_recommendation(
    recommendation: Mapping[str, Any], playbook: Playbook, facts: Mapping[str, Any], language: str
) -> CoachRecommendation:
    """One row of RECOMMENDATION_SCHEMA in that language; in the playbook's own where it has no
    translation."""
    texts = render_recommendation(recommendation, facts, playbook, language)
    action = CoachAction(texts["action_label"], recommendation["action_url"])
    return CoachRecommendation(
        recommendation["id"], texts["title"], texts["body"], texts["reason"], action
    )


def _say(
    tip: Tip, field: str, playbook: Playbook, facts: Mapping[str, Any], languages: Sequence[str]
) -> str:
    text, language = translate(
        getattr(tip, field), field, tip.translations, languages, playbook.coach.language
    )
    return format_sentence(text, facts, language)


def coach_help(
    call_type: str, minutes: int, words: Mapping[str, str], facts: Mapping[str, Any], language: str
) -> CoachHelp:
    """The offer of a call, with what costs the score most as its reason.

    Args:
        words: by reason, and `message`.
    """
    reason = str(facts["main_reason"])
    text = words.get(reason, words["none"])
    return CoachHelp(words["message"], format_sentence(text, facts, language), minutes, call_type)

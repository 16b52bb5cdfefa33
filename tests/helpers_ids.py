"""Ids as platforms have them, the supplier that each names by the documented rule, and ids of suppliers whose control groups are known."""

import itertools
import uuid

from everafter.interventions.eligibility import is_in_holdout
from everafter.playbook.model import Holdout, Playbook
from everafter.recommendations.rules import holdout_key

NAMESPACE = uuid.UUID(
    "450c6939-8980-4264-81d6-ffa431a0ace0"
)  # as docs/api.md states it; never taken from the program

_UUID = "f47ac10b-58cc-4372-a567-0e02b2c3d479"
TEXTS = [
    "4711",
    "0",
    "007",
    "-3",
    "4711.0",
    "sup_01HZXKQ7M3",
    "01ARZ3NDEKTSV4RRFFQ69G5FAV",  # ULID
    "507f1f77bcf86cd799439011",  # MongoDB
    "V1StGXR8_Z5jdHi6B-myT",  # nanoid
    "gid://shop/Customer/207119551",
    "ann@example.com",
    "a/b",
    "a%2Fb",
    "/lead and trail/",
    "what?#now&then=+",
    "quote\"d, and 'comma'",
    "..x",
    "back\\slash",
    "two words",
    "Blüten & Söhne",
    "花屋さん",
    "💐🎩",
    "שלום",
    "true",
    "Studio-A",
    "studio-a",
    "=1+1",
    "<script>",
    "f47ac10b-58cc-4372-a567-0e02b2c3d47",  # a digit short
    "f47ac10b-58cc-4372-a567-0e02b2c3d47g",
    "x" * 200,
    "ü" * 200,
]
"""Texts that are no UUID: each is a supplier of its own."""

SPELLINGS = [
    _UUID,
    _UUID.upper(),
    "{" + _UUID + "}",
    f"urn:uuid:{_UUID}",
    f"URN:UUID:{_UUID.upper()}",
    _UUID.replace("-", ""),
    f" {_UUID} ",
]
"""Spellings of one UUID: all are the same supplier."""

REFUSED = ["x" * 201, "a\0b", "a\nb", "a\x85b", "\x7f", "half \ufffd", " "]
"""Texts that are no id."""


def supplier_of(text: str) -> str:
    """The UUID of the supplier that a text of TEXTS or SPELLINGS names, by the rule as documented."""
    return _UUID if text in SPELLINGS else str(uuid.uuid5(NAMESPACE, text))


_COUNTER = itertools.count()


def treated_id(playbook: Playbook) -> str:
    """The id of a supplier that is in no holdout of a playbook: it gets everything that applies.

    Random ids are in one holdout or the other now and then.
    """
    return _next_id(playbook, [])


def control_id(playbook: Playbook, recommendation: str) -> str:
    """The id of a supplier that is in the holdout of this recommendation and in no other."""
    return _next_id(playbook, [holdout_key(recommendation)])


def _next_id(playbook: Playbook, held: list[str]) -> str:
    policy = playbook.holdout
    shares = {
        holdout_key(name): policy.recommendation_share
        for name in (*playbook.recommendations, *playbook.client_recommendations)
    }
    shares |= {name: trigger.holdout for name, trigger in playbook.triggers.items()}
    shares |= {f"tip_{name}": tip.holdout for name, tip in playbook.tips.items()}
    alone = Holdout(0.0, policy.recommendation_share, policy.salt)
    while True:
        found = str(uuid.uuid5(NAMESPACE, f"supplier {next(_COUNTER)}"))
        if not is_in_holdout(found, "", 0.0, policy) and all(
            is_in_holdout(found, name, share, alone) == (name in held)
            for name, share in shares.items()
        ):
            return found

"""Traits of suppliers, each with the time it was reported for."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from everafter.core.values import fold_name

TRAITS = (
    "name",
    "email",
    "vendor_type",
    "plan",
    "country",
    "timezone",
    "mrr_minor",
    "client_limit",
    "created_at",
    "consent",
)
"""Traits with their own column; all others are stored in `suppliers.traits`."""

SPELLINGS = {fold_name(name): name for name in TRAITS} | {"createdon": "created_at"}
"""Folded name → trait: `Vendor Type` and `vendorType` are `vendor_type`, `time_zone` is
`timezone`."""

TEXT_CHARACTERS = 200
"""Length of a name, plan or vendor type; longer ones are cut."""

OTHER_TRAITS = 200
"""Traits without a column in one message."""

# ISO 3166-1 alpha-2, as of 2026
_CODES = """
    AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO
    BQ BR BS BT BV BW BY BZ CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ
    DK DM DO DZ EC EE EG EH ER ES ET FI FJ FK FM FO FR GA GB GD GE GF GG GH GI GL GM GN GP
    GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE JM JO JP KE KG
    KH KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML
    MM MN MO MP MQ MR MS MT MU MV MW MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE
    PF PG PH PK PL PM PN PR PS PT PW PY QA RE RO RS RU RW SA SB SC SD SE SG SH SI SJ SK SL
    SM SN SO SR SS ST SV SX SY SZ TC TD TF TG TH TJ TK TL TM TN TO TR TT TV TW TZ UA UG UM
    US UY UZ VA VC VE VG VI VN VU WF WS YE YT ZA ZM ZW
"""
COUNTRIES = frozenset(_CODES.split())


@dataclass(frozen=True, slots=True)
class BadTrait:
    """A trait that was rejected or cut, and why. The others of its message are kept."""

    trait: str
    reason: str


@dataclass(slots=True)
class Profile:
    """What was reported of one supplier.

    external_id: the platform's own id; null where the platform uses the UUID.
    traits: trait → (value, time key). The value with the greatest key counts.
    """

    supplier_id: str
    external_id: str | None = None
    traits: dict[str, tuple[Any, str]] = field(default_factory=dict[str, tuple[Any, str]])


@dataclass(frozen=True, slots=True)
class UpsertCounts:
    """new: unknown suppliers; changed: known ones with newer traits; same: the others."""

    new: int
    changed: int
    same: int


@dataclass(frozen=True, slots=True)
class TraitUpdate:
    """The traits of one supplier in one message.

    at: the time they are reported for. For the same time the message received later counts, and
        within a batch the one in the later row.
    external_id: as in Profile.
    received_at: null: the same as `at`.
    message_id: null when repetitions cannot be recognized.
    """

    supplier_id: str
    traits: dict[str, Any]
    at: datetime
    external_id: str | None = None
    received_at: datetime | None = None
    row: int = 0
    message_id: str | None = None

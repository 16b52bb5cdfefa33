"""The season in words, for the success team. Pure."""

from everafter.core.formatting import percent, plural
from everafter.seasonality.prior_model import VENDOR_TYPES
from everafter.seasonality.prior_rules import hemisphere_of, vendor_type_of

_FRACTIONS = (
    (0.25, "a quarter"),
    (1 / 3, "a third"),
    (0.5, "half"),
    (2 / 3, "two thirds"),
    (0.75, "three quarters"),
)
_NEAR = 0.035


def describe_peers(vendor_type: str | None, country: str | None) -> str:
    """The group that a supplier is compared with.

    >>> describe_peers("dj", "NZ"), describe_peers(None, None)
    ('DJs in the south', 'suppliers')
    """
    name = VENDOR_TYPES[vendor_type_of(vendor_type)].plural
    hemisphere = hemisphere_of(country)
    return name if hemisphere == "unknown" else f"{name} in the {hemisphere}"


def describe_share(share: float) -> str:
    """A share in words where a common fraction is near, else in percent.

    >>> describe_share(0.34), describe_share(0.52), describe_share(0.6)
    ('a third', 'half', '60 %')
    """
    for value, words in _FRACTIONS:
        if abs(share - value) <= _NEAR:
            return words
    return percent(share)


def describe_inactivity(
    days: float, counted: float, vendor_type: str | None, country: str | None
) -> str:
    """How many days without a login count as, and why; empty where they count in full.

    Args:
        days: since the last login.
        counted: season-adjusted (the signal days_inactive).

    >>> print(describe_inactivity(9.3, 4.7, "dj", "GB"))
    9 days without a login count as 4, since DJs in the north were at half of their usual busy week
    >>> describe_inactivity(1.9, 1.2, "photographer", "GB"), describe_inactivity(9, 9, None, None)
    ('', '')
    """
    whole, fewer = int(days), int(counted)
    if whole < 2 or fewer >= whole:
        return ""
    peers = describe_peers(vendor_type, country)
    share = describe_share(counted / days)
    without = plural(whole, "day")
    return (
        f"{without} without a login count as {fewer}, since {peers} were at {share} of their usual"
        " busy week"
    )

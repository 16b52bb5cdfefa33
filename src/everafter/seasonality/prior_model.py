"""Priors of the season by region and vendor type, for suppliers of whom nothing else is known.

Comments say what is published and what is assumed to fill the months between. Each row has the
months from January to December in percent of the year, and keeps every published sum exactly
(tests/test_seasonality_prior.py compares them with the sources)."""

from dataclasses import dataclass
from typing import Literal

Region = Literal["britain", "us", "australia", "new_zealand", "other_north", "other_south"]
Hemisphere = Literal["north", "south", "unknown"]
"""unknown: countries whose season is not known."""
Months = tuple[float, float, float, float, float, float, float, float, float, float, float, float]


def _mean(one: Months, other: Months) -> Months:
    jan, feb, mar, apr, may, jun, jul, aug, sep, oct_, nov, dec = (
        (a + b) / 2 for a, b in zip(one, other, strict=True)
    )
    return (jan, feb, mar, apr, may, jun, jul, aug, sep, oct_, nov, dec)


# Published: England & Wales 2023, August 14.3 and January 2.6 (32,121 and about 5,800 of 224,402);
# UK 2022, June–August 39 and September–November 33. Assumed: the split inside those seasons and of
# the remaining 28 over December–May.
_BRITAIN: Months = (2.6, 3.2, 3.9, 5.6, 7.9, 11.9, 12.8, 14.3, 14.2, 12.6, 6.2, 4.8)

# Published: September–November 43, June–August 28, December–February 11. Assumed: the split inside
# each, and of the remaining 18.
_US: Months = (2.7, 3.5, 4.0, 5.5, 8.5, 11.0, 8.0, 9.0, 17.0, 19.0, 7.0, 4.8)

# Published (2011): November 12.9, October 12.6, June 4.8. Assumed: all other months, with a second,
# lower peak in autumn.
_AUSTRALIA: Months = (6.5, 7.8, 9.8, 9.4, 6.4, 4.8, 4.9, 5.8, 9.4, 12.6, 12.9, 9.7)

# Published (2007): January–March 43, June–August 13. Assumed: the split inside each, and of the
# remaining 44.
_NEW_ZEALAND: Months = (14.6, 15.2, 13.2, 8.6, 5.2, 4.2, 4.2, 4.6, 5.4, 6.8, 8.0, 10.0)

WEDDINGS: dict[Region, Months] = {
    "britain": _BRITAIN,
    "us": _US,
    "australia": _AUSTRALIA,
    "new_zealand": _NEW_ZEALAND,
    # Assumed: the mean of the two published curves of the same hemisphere.
    "other_north": _mean(_BRITAIN, _US),
    "other_south": _mean(_AUSTRALIA, _NEW_ZEALAND),
}

# Published for the UK: December 19, August 11, September 10. Assumed: the other nine months.
_ENGAGED_BRITAIN: Months = (8.0, 8.5, 5.5, 6.0, 6.5, 6.5, 7.5, 11.0, 10.0, 6.5, 5.0, 19.0)

# Published for the US: November–February 37 to 47 in all, taken as 42. Assumed: the split, and the
# other eight months.
_ENGAGED_US: Months = (8.0, 10.0, 6.5, 6.5, 7.0, 8.0, 8.0, 7.5, 7.0, 7.5, 8.0, 16.0)

# All assumed: Christmas and New Year as in the north, no second wave in August, which is winter.
_ENGAGED_SOUTH: Months = (11.0, 9.0, 7.0, 7.0, 6.0, 6.0, 6.5, 6.5, 7.0, 8.0, 8.0, 18.0)

ENGAGEMENTS: dict[Region, Months] = {
    "britain": _ENGAGED_BRITAIN,
    "us": _ENGAGED_US,
    "australia": _ENGAGED_SOUTH,
    "new_zealand": _ENGAGED_SOUTH,
    "other_north": _mean(_ENGAGED_BRITAIN, _ENGAGED_US),
    "other_south": _ENGAGED_SOUTH,
}

# ISO 3166-1 alpha-2. Only countries whose weddings follow a temperate summer. India, the Gulf and
# the tropics have other seasons, for which we have no figures. A wrong season is worse than none,
# so theirs is flat.
_NORTH = """
    AD AL AT BA BE BG CA CH CY CZ DE DK EE ES FI FR GR HR HU IS IT LI LT LU LV MC MD ME MK MT NL NO
    PL PT RO RS SE SI SK SM UA XK
"""
_SOUTH = "AR CL LS NA SZ UY ZA"
REGION_OF_COUNTRY: dict[str, Region] = {
    **dict.fromkeys(_NORTH.split(), "other_north"),
    **dict.fromkeys(_SOUTH.split(), "other_south"),
    # Ireland and the islands: as Britain (assumed). "UK" is not ISO, but people write it.
    **dict.fromkeys(("GB", "UK", "IE", "IM", "JE", "GG"), "britain"),
    "US": "us",
    "AU": "australia",
    "NZ": "new_zealand",
}


@dataclass(frozen=True, slots=True)
class VendorType:
    """What a vendor type does on the platform during the year, in four parts whose shares sum to 1.

    `lead_days` is published (Australia) unless marked. All other values are assumptions. That work
    begins months before a wedding, and not weeks, was compared with the logins of an export (126
    suppliers who did not churn, 13 months, six countries; mean Poisson deviance by fortnight): no
    season 0.826, work from 8 weeks before 0.781, from 17 weeks before 0.689, these values 0.694.

    Attributes:
        work: for coming weddings, rising from ahead_days before the day to the day itself, and
            falling until behind_days after it.
        bookings: contracts and first forms of weddings lead_days later, with a wide spread.
        enquiries: by clients in the weeks and months after their engagement.
        steady: what has no season, such as administration.
        ahead_days, behind_days: multiples of 14, so that the fortnightly grid of a supplier's own
            weddings is exact.
        plural: what such suppliers are called.
    """

    work: float
    bookings: float
    enquiries: float
    steady: float
    lead_days: int
    ahead_days: int = 126
    behind_days: int = 14
    plural: str = "suppliers"


VENDOR_TYPES: dict[str, VendorType] = {
    # Unknown vendor type: as the photographer, the most common, without the deliveries.
    "default": VendorType(0.58, 0.12, 0.18, 0.12, lead_days=242),
    # Delivers after the wedding (editing, galleries) and sells long before it.
    "photographer": VendorType(
        0.58, 0.12, 0.18, 0.12, lead_days=280, behind_days=28, plural="photographers"
    ),
    "videographer": VendorType(
        0.58, 0.12, 0.18, 0.12, lead_days=262, behind_days=28, plural="videographers"
    ),
    # Song lists and timings; booked late, often on the recommendation of the venue.
    "dj": VendorType(0.66, 0.12, 0.10, 0.12, lead_days=242, ahead_days=112, plural="DJs"),
    "musician": VendorType(
        0.66, 0.12, 0.10, 0.12, lead_days=242, ahead_days=112, plural="musicians"
    ),
    # The first thing that clients look for: January's enquiries lift the winter.
    "venue": VendorType(0.46, 0.12, 0.30, 0.12, lead_days=387, ahead_days=154, plural="venues"),
    # lead: assumed; a planner is booked before the venue or with it.
    "planner": VendorType(0.48, 0.12, 0.28, 0.12, lead_days=365, ahead_days=154, plural="planners"),
    # Flowers follow the wedding day more closely than any other work.
    "florist": VendorType(0.70, 0.12, 0.10, 0.08, lead_days=231, ahead_days=112, plural="florists"),
    # lead: assumed, as for the florist.
    "caterer": VendorType(0.66, 0.12, 0.12, 0.10, lead_days=231, plural="caterers"),
    "celebrant": VendorType(0.61, 0.12, 0.15, 0.12, lead_days=255, plural="celebrants"),
    "hair_makeup": VendorType(
        0.66, 0.12, 0.10, 0.12, lead_days=198, ahead_days=98, plural="hair and make-up artists"
    ),
    "cake": VendorType(0.68, 0.12, 0.10, 0.10, lead_days=201, ahead_days=98, plural="cake makers"),
    "transport": VendorType(
        0.64, 0.12, 0.10, 0.14, lead_days=218, ahead_days=84, plural="wedding cars"
    ),
}

# Other names of the same vendor types.
VENDOR_TYPE_ALIASES: dict[str, str] = {
    "photography": "photographer",
    "video": "videographer",
    "videography": "videographer",
    "music": "musician",
    "band": "musician",
    "disco": "dj",
    "flowers": "florist",
    "floristry": "florist",
    "catering": "caterer",
    "wedding_planner": "planner",
    "coordinator": "planner",
    "officiant": "celebrant",
    "hair_and_makeup": "hair_makeup",
    "makeup": "hair_makeup",
    "cakes": "cake",
    "cake_maker": "cake",
    "baker": "cake",
    "cars": "transport",
}

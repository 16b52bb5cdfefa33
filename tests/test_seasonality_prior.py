"""The prior of the season against its published sources."""

import pytest

from everafter.seasonality.prior_model import (
    ENGAGEMENTS,
    REGION_OF_COUNTRY,
    VENDOR_TYPE_ALIASES,
    VENDOR_TYPES,
    WEDDINGS,
)
from everafter.seasonality.prior_rules import region_of, vendor_type_of, workload_index

MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")


def share(region: str, *months: str) -> float:
    return sum(WEDDINGS[region][MONTHS.index(month)] for month in months)  # type: ignore[index]


@pytest.mark.parametrize(
    ("region", "months", "published"),
    [
        ("britain", ("aug",), 100 * 32_121 / 224_402),
        ("britain", ("jan",), 2.6),
        ("britain", ("jun", "jul", "aug"), 39),
        ("britain", ("sep", "oct", "nov"), 33),
        ("us", ("sep", "oct", "nov"), 43),
        ("us", ("jun", "jul", "aug"), 28),
        ("us", ("dec", "jan", "feb"), 11),
        ("australia", ("nov",), 12.9),
        ("australia", ("oct",), 12.6),
        ("australia", ("jun",), 4.8),
        ("new_zealand", ("jan", "feb", "mar"), 43),
        ("new_zealand", ("jun", "jul", "aug"), 13),
    ],
)
def test_weddings_match_the_published_figures(
    region: str, months: tuple[str, ...], published: float
) -> None:
    assert share(region, *months) == pytest.approx(published, abs=0.05)


def test_engagements_match_the_published_figures() -> None:
    assert [ENGAGEMENTS["britain"][m] for m in (11, 7, 8)] == [19, 11, 10]
    assert 37 <= sum(ENGAGEMENTS["us"][m] for m in (10, 11, 0, 1)) <= 47


@pytest.mark.parametrize("table", [WEDDINGS, ENGAGEMENTS])
def test_months_sum_to_100_percent_and_none_is_negative(
    table: dict[str, tuple[float, ...]],
) -> None:
    for region, months in table.items():
        assert sum(months) == pytest.approx(100), region
        assert min(months) > 0, region


def test_the_published_extremes_are_the_extremes() -> None:
    assert max(range(12), key=WEDDINGS["britain"].__getitem__) == MONTHS.index("aug")
    assert min(range(12), key=WEDDINGS["britain"].__getitem__) == MONTHS.index("jan")
    assert max(range(12), key=WEDDINGS["australia"].__getitem__) == MONTHS.index("nov")
    assert min(range(12), key=WEDDINGS["australia"].__getitem__) == MONTHS.index("jun")


def test_the_shares_of_a_vendor_type_sum_to_1() -> None:
    for name, vendor_type in VENDOR_TYPES.items():
        assert (
            vendor_type.work + vendor_type.bookings + vendor_type.enquiries + vendor_type.steady
            == pytest.approx(1)
        ), name
        assert vendor_type.ahead_days % 14 == vendor_type.behind_days % 14 == 0, name
    assert set(VENDOR_TYPE_ALIASES.values()) <= set(VENDOR_TYPES)
    assert not set(VENDOR_TYPE_ALIASES) & set(VENDOR_TYPES)


def test_booking_leads_match_the_published_ones() -> None:
    published = {
        "venue": 387,
        "photographer": 280,
        "videographer": 262,
        "celebrant": 255,
        "musician": 242,
        "florist": 231,
        "transport": 218,
        "cake": 201,
        "hair_makeup": 198,
    }
    assert {name: VENDOR_TYPES[name].lead_days for name in published} == published


@pytest.mark.parametrize("vendor_type", [None, *VENDOR_TYPES])
def test_the_index_has_a_peak_of_1(vendor_type: str | None) -> None:
    for country in REGION_OF_COUNTRY:
        index = workload_index(country, vendor_type)
        assert len(index) == 12
        assert max(index) == 1
        assert min(index) >= 0.25
        assert min(index) < 0.8, "every season has a low"


def test_the_floor_is_the_minimum() -> None:
    low = workload_index("NZ", "florist", floor=0.01)
    high = workload_index("NZ", "florist", floor=0.7)
    assert min(low) < 0.5
    assert min(high) == 0.7
    assert [h for h in high if h > 0.7] == [value for value in low if value > 0.7]


@pytest.mark.parametrize(
    "vendor_type", ["photographer", "dj", "venue", "florist", "caterer", "planner"]
)
def test_november_is_slow_in_the_north(vendor_type: str) -> None:
    for country in ("GB", "IE", "US"):
        index = workload_index(country, vendor_type, floor=0.01)
        assert index[MONTHS.index("nov")] < 0.7, country
        assert index[MONTHS.index("nov")] < min(
            index[MONTHS.index(m)] for m in ("aug", "sep", "oct")
        ), country


def test_the_peak_of_the_year_is_in_the_right_months() -> None:
    def top(country: str, vendor_type: str) -> str:
        index = workload_index(country, vendor_type, floor=0.01)
        return MONTHS[index.index(1)]

    assert top("GB", "florist") in {"jul", "aug", "sep"}
    assert top("US", "photographer") in {"sep", "oct"}
    assert top("AU", "photographer") in {"oct", "nov"}
    assert top("AU", "florist") in {"oct", "nov"}
    assert top("NZ", "florist") in {"jan", "feb", "mar"}


def test_a_southern_year_is_not_the_northern_one_shifted_by_six_months() -> None:
    for south in ("AU", "NZ"):
        north, turned = (
            workload_index("GB", "photographer", 0.01),
            workload_index(south, "photographer", 0.01),
        )
        half_a_year_later = [turned[(month + 6) % 12] for month in range(12)]
        assert max(abs(a - b) for a, b in zip(north, half_a_year_later, strict=True)) > 0.15, south
    assert workload_index("AU", "photographer") != workload_index("NZ", "photographer")


def test_venues_get_enquiries_in_january_and_florists_do_not() -> None:
    venue, florist = workload_index("GB", "venue", 0.01), workload_index("GB", "florist", 0.01)
    assert venue[0] > venue[10]
    assert florist[0] < florist[10]


def test_photographers_stay_busy_after_the_season() -> None:
    photographer, florist = (
        workload_index("GB", "photographer", 0.01),
        workload_index("GB", "florist", 0.01),
    )
    assert photographer[MONTHS.index("nov")] > florist[MONTHS.index("nov")]


@pytest.mark.parametrize(
    ("country", "region"),
    [
        ("GB", "britain"),
        ("gb", "britain"),
        (" GB ", "britain"),
        ("GB-SCT", "britain"),
        ("UK", "britain"),
        ("IE", "britain"),
        ("US", "us"),
        ("AU", "australia"),
        ("NZ", "new_zealand"),
        ("ZA", "other_south"),
        ("FR", "other_north"),
        ("IN", None),  # has its own season, of which nothing is known here
        ("XX", None),
        ("Australia", None),  # a name, not a code: not AU by chance
        ("China", None),  # not CH
        ("", None),
        (None, None),
    ],
)
def test_region_of(country: str | None, region: str | None) -> None:
    assert region_of(country) == region
    if region is None:
        assert workload_index(country, "photographer") == (1.0,) * 12


@pytest.mark.parametrize(
    ("vendor_type", "expected"),
    [
        ("photographer", "photographer"),
        (" Photographer", "photographer"),
        ("Hair and makeup", "hair_makeup"),
        ("band", "musician"),
        ("ice sculptor", "default"),
        ("", "default"),
        (None, "default"),
    ],
)
def test_vendor_type_of(vendor_type: str | None, expected: str) -> None:
    assert vendor_type_of(vendor_type) == expected

"""Draw the suppliers of the sample data and the course of their activity.

The stories are arranged so that every situation exists on the anchor day."""

import uuid
from collections.abc import Callable
from random import Random

from everafter.demo.model import (
    CHURNED,
    COUNTRIES,
    NORTH,
    PLANS,
    SHARES,
    VENDOR_TYPES,
    Archetype,
    Story,
    Supplier,
)
from everafter.demo.names import Namer

_A = Archetype
_FALLING = (_A.FADER, _A.SUDDEN, _A.STUCK, _A.BILLING, _A.DABBLER, _A.DORMANT, *CHURNED)
_WELL = (_A.THRIVING, _A.STEADY, _A.SLEEPER, _A.OUTGROWING, _A.OVERWHELMED)
_LIGHT = (_A.STEADY, _A.SLEEPER, _A.RECOVERED)
"""Of these, suppliers on the free plan are less active."""
JOINING_DAYS = 60
"""New accounts are created within this many days before the anchor."""


def draw_suppliers(count: int, seed: int, anchor: int, start: int, until: int) -> list[Supplier]:
    """Draw the suppliers whose accounts are created by `until`.

    `count` of them have their stories arranged around `anchor`. After it, new suppliers join at the
    rate of the two months before. The n-th supplier depends only on the seed, n, the count, the
    anchor and the start, so a later `until` only adds suppliers."""
    namer = Namer()
    kinds = _shuffled_archetypes(count, seed)
    suppliers = [
        _draw(seed, index, kind, anchor, start, None, namer) for index, kind in enumerate(kinds)
    ]
    new = max(1, sum(kind in (_A.NEW, _A.STUCK) for kind in kinds))
    joined = anchor
    index = count
    while True:
        rng = Random(f"{seed}:{index}:join")
        joined += max(1, round(rng.expovariate(new / JOINING_DAYS)))
        if joined > until:
            return suppliers
        kind = _A.STUCK if rng.random() < 0.25 else _A.NEW
        suppliers.append(_draw(seed, index, kind, anchor, start, joined, namer))
        index += 1


def _shuffled_archetypes(count: int, seed: int) -> list[Archetype]:
    """Return `count` archetypes by their shares (largest remainder), in random order."""
    exact = {kind: share * count / sum(SHARES.values()) for kind, share in SHARES.items()}
    whole = {kind: int(value) for kind, value in exact.items()}
    by_remainder = sorted(exact, key=lambda kind: exact[kind] - whole[kind], reverse=True)
    for kind in by_remainder[: count - sum(whole.values())]:
        whole[kind] += 1
    kinds = [kind for kind, number in whole.items() for _ in range(number)]
    Random(f"{seed}:order").shuffle(kinds)
    return kinds


def _draw(
    seed: int,
    index: int,
    kind: Archetype,
    anchor: int,
    start: int,
    created: int | None,
    namer: Namer,
) -> Supplier:
    rng = Random(f"{seed}:{index}:who")
    vendor_type_name = _weighted(
        rng, {name: vendor_type.share for name, vendor_type in VENDOR_TYPES.items()}
    )
    north = kind in (_A.SLEEPER, _A.PAUSED)
    country = _weighted(
        rng, {code: c.share for code, c in COUNTRIES.items() if code in NORTH or not north}
    )
    town, timezone = rng.choice(COUNTRIES[country].towns)
    contact = namer.contact(rng, country)
    name = namer.business(rng, vendor_type_name, country, town, contact)
    created = _created(rng, kind, anchor, start) if created is None else created
    plan, before, upgraded = _plan(rng, kind, created, anchor)
    journeys = rng.random() < {_A.THRIVING: 0.95, _A.NEW: 0.9, _A.DABBLER: 0.1}.get(kind, 0.62)
    return Supplier(
        index=index,
        id=str(uuid.UUID(int=rng.getrandbits(128), version=4)),
        name=name,
        contact=contact,
        email=namer.email(name, contact),
        vendor_type=vendor_type_name,
        country=country,
        town=town,
        timezone=timezone,
        archetype=kind,
        created=created,
        plan=plan,
        plan_before=before,
        upgraded=upgraded,
        rhythm=_rhythm(rng, kind, vendor_type_name, plan),
        target=_target(rng, kind, plan),
        features=_features(rng, kind, vendor_type_name, journeys, plan),
        journeys=journeys,
        completes=_between(
            rng, *{_A.THRIVING: (0.72, 0.92), _A.DABBLER: (0.3, 0.5)}.get(kind, (0.48, 0.82))
        ),
        opens=_between(rng, *{_A.THRIVING: (0.62, 0.82)}.get(kind, (0.42, 0.72))),
        hour=rng.choice((8.7, 9.5, 10.5, 13.0, 14.5, 16.0, 20.2)),
        story=_story(rng, kind, created, anchor, start),
    )


def _created(rng: Random, kind: Archetype, anchor: int, start: int) -> int:
    """Draw the day the account is created. Churned suppliers are active for part of the history."""
    if kind in (_A.NEW, _A.STUCK):
        return anchor - rng.randint(5 if kind == _A.NEW else 9, JOINING_DAYS)
    if kind == _A.CHURNED_STUCK:
        return rng.randint(max(start + 5, anchor - 250), anchor - 75)
    oldest, newest = start - 420, anchor - 2 * JOINING_DAYS
    return rng.randint(
        oldest, max(oldest + 1, newest - (90 if kind in CHURNED or kind == _A.RECOVERED else 0))
    )


def _plan(
    rng: Random, kind: Archetype, created: int, anchor: int
) -> tuple[str, str | None, int | None]:
    """Draw the plan, and for some the previous plan and the day of the change."""
    if kind == _A.DABBLER:
        return "free", None, None
    shares = {"free": 0.34, "pro": 0.54, "studio": 0.12}
    if kind == _A.DORMANT:
        shares["free"] = 1.0
    if kind in (_A.BILLING, _A.CHURNED_UNPAID, _A.OVERWHELMED):
        shares["free"] = 0
    if kind == _A.OUTGROWING:
        shares["studio"] = 0
    plan = _weighted(rng, shares)
    if kind == _A.THRIVING and plan != "free" and rng.random() < 0.4 and anchor - created > 150:
        return plan, {"pro": "free", "studio": "pro"}[plan], rng.randint(created + 90, anchor - 30)
    return plan, None, None


def _rhythm(rng: Random, kind: Archetype, vendor_type: str, plan: str) -> float:
    """Draw the days with a login per week in peak season. Venues and planners log in more often."""
    low, high = {
        _A.THRIVING: (4.6, 6.4),
        _A.SUDDEN: (7.0, 8.4),
        _A.CHURNED_SUDDENLY: (4.0, 6.5),
        _A.OVERWHELMED: (4.5, 6.5),
        _A.OUTGROWING: (4.0, 6.0),
        _A.SLEEPER: (3.2, 4.6),
        _A.NEW: (3.5, 6.0),
        _A.DABBLER: (0.5, 0.9),
    }.get(kind, (3.3, 5.6))
    office = {"venue": 1.1, "planner": 1.1, "dj": 0.8, "celebrant": 0.8, "videographer": 0.9}
    lighter = 0.85 if plan == "free" and kind in _LIGHT else 1.0
    return _between(rng, low, high) * office.get(vendor_type, 1.0) * lighter


def _target(rng: Random, kind: Archetype, plan: str) -> float:
    low, high = PLANS[plan].clients
    if kind == _A.OUTGROWING:
        limit = PLANS[plan].client_limit
        return limit * _between(rng, 1.0, 1.3)
    if kind == _A.OVERWHELMED:
        return high * _between(rng, 0.9, 1.15)
    return _between(rng, low, high) * (0.6 if kind == _A.DABBLER else 1.0)


def _features(
    rng: Random, kind: Archetype, vendor_type: str, journeys: bool, plan: str
) -> tuple[str, ...]:
    """Draw the features that the supplier uses, more likely the first two of its vendor type."""
    kept = {
        _A.THRIVING: 0.97,
        _A.OUTGROWING: 0.95,
        _A.NEW: 0.85,
        _A.DABBLER: 0.35,
        _A.STUCK: 0.35,
        _A.CHURNED_STUCK: 0.35,
    }.get(kind, 0.66 if plan == "free" and kind in _LIGHT else 0.84)
    adopted = tuple(
        feature
        for place, feature in enumerate(VENDOR_TYPES[vendor_type].features)
        if (feature != "journeys" or journeys) and rng.random() < kept + (0.06 if place < 2 else 0)
    )
    return adopted or VENDOR_TYPES[vendor_type].features[:1]


# ── stories ───────────────────────────────────────────────────────────────────────────────────────


def _story(rng: Random, kind: Archetype, created: int, anchor: int, start: int) -> Story:
    story = Story()
    arrange = _ARRANGEMENTS.get(kind)
    if arrange:
        arrange(rng, story, created, anchor, start)
    else:
        story.activity = [(created, 0.9), (anchor, 1.12 if kind == _A.THRIVING else 1.0)]
    if kind in _WELL:
        _past_troubles(rng, story, created, anchor, start)
    if kind not in _FALLING:
        _perhaps_churn_later(rng, story, anchor)
    return story


def _past_troubles(rng: Random, story: Story, created: int, anchor: int, start: int) -> None:
    """Add past troubles to a supplier that is healthy on the anchor day: slow onboarding, slumps or
    overload. Without them all troubles would be recent."""
    if created >= start and rng.random() < 0.35:
        story.slow_days = rng.randint(14, 55)
        begun = created + story.slow_days
        story.activity = [
            (created, 0.8),
            (created + 8, 0.2),
            (begun, 0.2),
            (begun + 12, 1.0),
            *story.activity[1:],
        ]
    first = max(created + 75, start - 30)
    while rng.random() < 0.92 and first < anchor - 80:
        begins = rng.randint(first, min(first + 240, anchor - 75))
        ends = _overload(rng, story, begins) if rng.random() < 0.3 else _slump(rng, story, begins)
        first = ends + rng.randint(40, 130)


def _overload(rng: Random, story: Story, begins: int) -> int:
    """Add weeks with unresponsive clients and many tickets. Returns the day they end."""
    over = begins + rng.randint(50, 80)
    story.clients += [(begins, 1.0), (begins + 20, 0.3), (over - 15, 0.35), (over, 1.0)]
    story.tickets += [(begins, 0.065), (begins + 20, 0.9), (over - 15, 0.8), (over, 0.065)]
    return over


def _slump(rng: Random, story: Story, begins: int) -> int:
    """Add six to ten weeks without activity. Interventions can end them earlier (responses.py).
    Returns the day they end."""
    low = begins + rng.randint(6, 14)
    back = low + rng.randint(34, 56)
    depth = 0.0
    before = [knot for knot in story.activity if knot[0] < begins]
    after = [knot for knot in story.activity if knot[0] > back + 18]
    story.activity = [*before, (begins, 1.0), (low, depth), (back, depth), (back + 18, 1.0), *after]
    story.clients += [(begins + 10, 1.0), (low + 10, 0.4), (back, 0.45), (back + 25, 1.0)]
    story.losing.append((begins + 10, back, _between(rng, 0.0, 0.05)))
    return back + 18


def _perhaps_churn_later(rng: Random, story: Story, anchor: int) -> None:
    """Let the supplier fade and cancel after the anchor, about one in ten per year."""
    begins = anchor + 14 + round(rng.expovariate(1 / 3300))
    weeks = rng.randint(6, 12)
    _fade(rng, story, begins, begins + 7 * weeks)
    story.cancels = begins + 7 * weeks


def _fade(rng: Random, story: Story, begins: int, ends: int, floor: float = 0.1) -> None:
    """Reduce the activity from `begins` to `ends`; the clients follow two weeks later."""
    last = story.activity[-1][1]
    half = begins + (ends - begins) // 2
    story.activity += [(begins, last), (half, last * _between(rng, 0.35, 0.6))]
    story.activity += [
        (max(half + 4, ends - rng.randint(24, 40)), last * floor),
        (ends, last * floor / 2),
    ]
    story.clients += [(begins + 14, 1.0), (max(begins + 15, ends), 0.35)]
    story.losing.append((half, ends, _between(rng, 0.15, 0.6)))


def _paused(rng: Random, story: Story, created: int, anchor: int, start: int) -> None:
    for years in (2, 1, 0):
        begins = anchor - 365 * years - rng.randint(8, 30)
        if begins > max(created, start) + 60:
            story.paused.append((begins, begins + rng.randint(100, 125)))


def _recovered(rng: Random, story: Story, created: int, anchor: int, start: int) -> None:
    """Active again only recently."""
    _slump(rng, story, rng.randint(anchor - 150, anchor - 74))


def _new(rng: Random, story: Story, created: int, anchor: int, start: int) -> None:
    story.onboarded = rng.choice((5, 6, 6, 6))
    story.activity = [(created, 1.0), (created + 40, 1.0)]


def _stuck(rng: Random, story: Story, created: int, anchor: int, start: int) -> None:
    """One to three onboarding steps, then less and less activity."""
    story.onboarded = rng.choice((1, 1, 2, 2, 3))
    story.activity = [(created, 0.9), (created + 4, 0.5), (created + 11, 0.06)]
    story.clients = [(created, 0.12)]
    story.tickets = [(created, 0.2), (created + 30, 0.08)]
    if rng.random() < 0.45:
        story.cancels = max(anchor + 4, created + rng.randint(40, 100))


def _fader(rng: Random, story: Story, created: int, anchor: int, start: int) -> None:
    """Fading activity, from the first signs to almost none, with lost clients and complaints."""
    far = rng.random()
    begins = anchor - round(7 * (5 + 7 * far))
    low = 0.22 * (1 - far)
    inactive_from = anchor - round(4 + 36 * max(0.0, far - 0.35))
    story.activity = [
        (begins, 1.0),
        (max(begins + 14, inactive_from - 21), 0.55),
        (inactive_from, low),
        (anchor, low * 0.6),
    ]
    story.clients = [(begins + 10, 1.0), (anchor, 0.6 - 0.4 * far)]
    story.losing = [(begins + 14, anchor + 10, 0.05 + 0.5 * far)]
    if rng.random() < 0.2 + 0.4 * far:
        story.tickets = [(begins, 0.065), (begins + 20, 0.5), (anchor, 0.9)]
        story.angry = True
    if rng.random() < 0.6:
        story.cancels = anchor + rng.randint(8, 50)
    else:
        story.activity += [(anchor + 21, low), (anchor + 50, 0.9)]
        story.clients += [(anchor + 40, 0.9)]


def _sudden(rng: Random, story: Story, created: int, anchor: int, start: int) -> None:
    """Daily logins, then none: for about a week in most cases, else for up to a month."""
    inactive_from = anchor - (rng.randint(6, 10) if rng.random() < 0.6 else rng.randint(15, 32))
    story.activity = [(inactive_from - 1, 1.0), (inactive_from, 0.0)]
    story.clients = [(inactive_from, 1.0), (inactive_from + 21, 0.5)]
    if rng.random() < 0.5:
        story.cancels = anchor + rng.randint(5, 25)
        story.losing = [(inactive_from - 20, story.cancels, 0.2)]
    else:
        back = anchor + rng.randint(4, 20)
        story.activity += [(back, 0.0), (back + 1, 0.9)]
        story.clients += [(back + 14, 1.0)]


def _billing(rng: Random, story: Story, created: int, anchor: int, start: int) -> None:
    failed = anchor - rng.randint(3, 18)
    story.activity = [(failed - 10, 1.0), (anchor, _between(rng, 0.35, 0.9))]
    if rng.random() < 0.65:
        good = anchor + rng.randint(2, 9)
        story.unpaid = [(failed, good - failed)]
        story.activity.append((good + 7, 1.0))
    else:
        story.unpaid = [(failed, None)]
        story.cancels = anchor + rng.randint(6, 24)


def _overwhelmed(rng: Random, story: Story, created: int, anchor: int, start: int) -> None:
    begins = anchor - rng.randint(50, 80)
    story.clients = [(begins, 1.0), (begins + 30, 0.25), (anchor + 20, 0.3), (anchor + 70, 1.0)]
    story.tickets = [(begins, 0.1), (begins + 28, 1.3), (anchor + 20, 1.1), (anchor + 60, 0.1)]
    story.angry = True


def _dabbler(rng: Random, story: Story, created: int, anchor: int, start: int) -> None:
    story.onboarded = rng.choice((2, 3, 4))


def _dormant(rng: Random, story: Story, created: int, anchor: int, start: int) -> None:
    """No logins for months, without a cancellation."""
    first = max(created + 40, start - 60)
    begins = rng.randint(min(first, anchor - 100), anchor - 90)
    story.activity = [(begins, 0.8), (begins + 21, 0.25), (begins + 35, 0.004)]
    story.clients = [(begins + 15, 0.9), (begins + 60, 0.12)]


def _churn_day(rng: Random, created: int, anchor: int, start: int) -> int:
    first = max(start + 45, created + 100, anchor - 255)
    return rng.randint(min(first, anchor - 5), anchor - 4)


def _churned_faded(rng: Random, story: Story, created: int, anchor: int, start: int) -> None:
    story.cancels = _churn_day(rng, created, anchor, start)
    _fade(
        rng, story, story.cancels - 7 * rng.randint(9, 15), story.cancels, _between(rng, 0.0, 0.04)
    )
    _perhaps_angry(rng, story, story.cancels)


def _churned_suddenly(rng: Random, story: Story, created: int, anchor: int, start: int) -> None:
    """One to three weeks of low or no activity before the cancellation. No real warning catches all
    churn, so the sample data has such cases."""
    story.cancels = _churn_day(rng, created, anchor, start)
    days = rng.randint(9, 22)
    level = rng.choice((0.05, 0.05, 0.3))
    story.activity = [(story.cancels - days, 1.0), (story.cancels - days + 2, level)]
    _perhaps_angry(rng, story, story.cancels)


def _churned_unpaid(rng: Random, story: Story, created: int, anchor: int, start: int) -> None:
    story.cancels = _churn_day(rng, created, anchor, start)
    failed = story.cancels - rng.randint(16, 26)
    story.unpaid = [(failed, None)]
    story.activity = [(failed - 14, 1.0), (failed, 0.55), (story.cancels, 0.1)]


def _churned_stuck(rng: Random, story: Story, created: int, anchor: int, start: int) -> None:
    _stuck(rng, story, created, anchor, start)
    story.cancels = created + rng.randint(28, 70)


def _perhaps_angry(rng: Random, story: Story, day: int) -> None:
    if rng.random() < 0.5:
        story.angry = True
        story.tickets = [(day - 70, 0.065), (day - 42, 0.9), (day, 0.6)]


_ARRANGEMENTS: dict[Archetype, Callable[[Random, Story, int, int, int], None]] = {
    _A.PAUSED: _paused,
    _A.RECOVERED: _recovered,
    _A.NEW: _new,
    _A.STUCK: _stuck,
    _A.FADER: _fader,
    _A.SUDDEN: _sudden,
    _A.BILLING: _billing,
    _A.OVERWHELMED: _overwhelmed,
    _A.DABBLER: _dabbler,
    _A.DORMANT: _dormant,
    _A.CHURNED_FADED: _churned_faded,
    _A.CHURNED_SUDDENLY: _churned_suddenly,
    _A.CHURNED_UNPAID: _churned_unpaid,
    _A.CHURNED_STUCK: _churned_stuck,
}


def _between(rng: Random, low: float, high: float) -> float:
    return low + (high - low) * rng.random()


def _weighted(rng: Random, shares: dict[str, float]) -> str:
    """Draw one of the keys by its share."""
    place = rng.random() * sum(shares.values())
    for key, share in shares.items():
        place -= share
        if place < 0:
            return key
    return next(iter(shares))

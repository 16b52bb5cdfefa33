"""The couples of one supplier: when they come, what is sent to them, how they answer, how it ends."""

import heapq
from bisect import bisect_left
from dataclasses import dataclass
from datetime import date
from random import Random

from everafter.demo.calendar import booking_wave, day_of, midnight, wedding_day
from everafter.demo.life import Life
from everafter.demo.model import DAY_SECONDS, PLANS, TRADES
from everafter.demo.names import couple as couple_name

_HOUR = 3600
_ADD_DELAY_DAYS = 10
_STAGES = ((9999, 180, 0.031), (180, 60, 0.046), (60, 0, 0.085), (0, -6, 0.03))
"""How often a couple does something, a day, by days before the wedding (from, to, rate)."""
_FORMS_BEFORE = (150, 75, 28)
_FORM_LIMIT_DAYS = 45


@dataclass(slots=True)
class _Couple:
    """One couple: its number, id, moment of being added, wedding day, and the moment and manner of its end."""

    number: int
    id: str
    rng: Random
    added: int
    wedding: int
    ends: int
    lost: bool


def live_couples(life: Life) -> list[tuple[int, int]]:
    """Emit all that the supplier's couples do.

    Returns:
        For each couple (added, ended), in Unix seconds, also where these lie outside the simulated time.
    """
    supplier = life.supplier
    rng = Random(f"{life.seed}:{supplier.index}:arrivals")
    on_books: list[int] = []
    spans: list[tuple[int, int]] = []
    number = 0
    for moment in _arrivals(life, rng):
        while on_books and on_books[0] <= moment:
            heapq.heappop(on_books)
        if len(on_books) >= life.client_limit(moment):
            continue
        couple = _draw_couple(life, number, moment)
        number += 1
        if couple.ends <= life.start and couple.number:
            continue
        heapq.heappush(on_books, couple.ends)
        spans.append((couple.added, couple.ends))
        _live(life, couple)
    return spans


def _arrivals(life: Life, rng: Random) -> list[int]:
    """The moments at which couples are added, in order: first those brought along, then as they book."""
    supplier = life.supplier
    trade = TRADES[supplier.vendor_type]
    stays_weeks = trade.lead_days / 7 + 1.5
    moments: list[int] = []
    imported = life.imported_at
    if imported is not None:
        limit = PLANS[supplier.plan_before or supplier.plan].client_limit
        brought = min(1 + _poisson(rng, supplier.target * 0.6), limit)
        moments += [imported + 60 + 20 * place for place in range(brought)]
    first = life.first_day if imported is None else max(life.first_day, day_of(imported) + 1)
    for monday in range(first, life.last_day + 1, 7):
        # before the account came new couples are only those in the import
        rate = 1.15 * supplier.target / stays_weeks * booking_wave(monday) * (life.level(monday) if monday >= life.base else 1)
        for _ in range(_poisson(rng, rate)):
            day = monday + rng.randrange(7)
            minute = rng.randrange(5, 50) * 60
            if day < life.base:
                moments.append(midnight(supplier.timezone, day) + 11 * _HOUR + minute)
                continue
            place = bisect_left(life.logins, midnight(supplier.timezone, day))
            if place < len(life.logins) and life.logins[place] - midnight(supplier.timezone, day) < (_ADD_DELAY_DAYS * DAY_SECONDS):
                moments.append(life.logins[place] + minute)
    moments.sort()
    return moments


def _draw_couple(life: Life, number: int, added: int) -> _Couple:
    supplier = life.supplier
    rng = Random(f"{life.seed}:{supplier.index}:{number}")
    couple_id = life.couple_id(number, rng)
    day = day_of(added)
    wedding = wedding_day(rng, supplier.country, day, TRADES[supplier.vendor_type].lead_days)
    archived = midnight(supplier.timezone, wedding) + rng.randint(3, 14) * DAY_SECONDS + 4 * _HOUR
    chance, when = rng.random(), rng.random()
    lost_at = archived if chance >= 0.075 else added + 2 * DAY_SECONDS + round(when * max(0, wedding - day - 3) * DAY_SECONDS)
    for begins, ends, share in supplier.story.losing:
        chance, when = rng.random(), rng.random()
        leaves = midnight(supplier.timezone, begins + round(when * (ends - begins))) + 17 * _HOUR
        if chance < share and added + DAY_SECONDS < leaves < lost_at:
            lost_at = leaves
    lost = lost_at < archived
    return _Couple(number, couple_id, rng, added, wedding, lost_at if lost else archived, lost)


def _live(life: Life, couple: _Couple) -> None:
    supplier, rng = life.supplier, couple.rng
    client = f'"client_id":"{couple.id}"'
    key = f"c{couple.number}"
    name = couple_name(rng, supplier.country)
    wedding = f'"wedding_date":"{_iso(couple.wedding)}"'
    life.emit("client_added", couple.added, f"{key}-add", f'{{{client},{wedding},"name":"{name}"}}', early=True)
    _activity(life, couple, client, key)
    _forms(life, couple, client, key)
    _journey(life, couple, client, key)
    # the first couple, who was sent the first invitation, is told even when its wedding was before the history
    ended = "client_lost" if couple.lost else "client_archived"
    life.emit(ended, couple.ends, f"{key}-end", f"{{{client}}}", early=couple.number == 0)


def _activity(life: Life, couple: _Couple, client: str, key: str) -> None:
    """Visits to the portal, more of them as the day comes near; a supplier that goes quiet has quieter couples."""
    rng = couple.rng
    warmth = rng.gammavariate(4.0, 0.25) * (0.75 + 0.5 * life.supplier.completes)
    added = day_of(couple.added)
    n = 0
    for before, until, rate in _STAGES:
        begins, ends = max(added, couple.wedding - before), couple.wedding - until
        for _ in range(_poisson(rng, max(0, ends - begins) * rate * warmth)):
            day = begins + rng.randrange(ends - begins)
            at = midnight(life.supplier.timezone, day) + round(rng.triangular(7, 23.5, 20) * _HOUR)
            stays = rng.random() < life.couples_level(day)
            n += 1
            if stays and couple.added + _HOUR < at < couple.ends:
                life.emit("client_active", at, f"{key}-a{n}", f"{{{client}}}")


def _forms(life: Life, couple: _Couple, client: str, key: str) -> None:
    """A first form soon after booking, three before the wedding; each goes out when the supplier next sits down."""
    rng = couple.rng
    first = day_of(couple.added) + rng.randint(0, 9)
    due = [first, *(couple.wedding - before - rng.randint(-9, 9) for before in _FORMS_BEFORE)]
    for n, day in enumerate(due):
        form_id = f"{life.prefix[5:]}{key}f{n}"
        minute, chance, delay = rng.randrange(3, 40) * 60, rng.random(), rng.lognormvariate(0.75, 1.05)
        if day < first or (n and rng.random() < 0.12):
            continue
        place = bisect_left(life.logins, max(midnight(life.supplier.timezone, day), couple.added + _HOUR // 4))
        if place == len(life.logins):
            continue
        sent = life.logins[place] + minute
        if sent >= min(couple.ends, midnight(life.supplier.timezone, couple.wedding)) or sent > (
            midnight(life.supplier.timezone, day) + _FORM_LIMIT_DAYS * DAY_SECONDS
        ):
            continue
        form = f'{{{client},"form_id":"{form_id}"}}'
        life.emit("form_sent", sent, f"{key}-f{n}", form)
        done = sent + 900 + round(min(delay, 40) * DAY_SECONDS)
        answers = chance < life.supplier.completes * life.couples_level(day_of(done))
        if answers and life.start <= sent and done < couple.ends:
            life.emit("form_completed", done, f"{key}-g{n}", form)


def _journey(life: Life, couple: _Couple, client: str, key: str) -> None:
    """The mails a journey sends by itself: a welcome, one every ten weeks, two as the day comes near, and thanks after."""
    if life.journeys_from is None:
        return
    rng = couple.rng
    added = day_of(couple.added)
    days = [added + 1, *range(added + 60, couple.wedding - 40, 70)]
    days += [couple.wedding - 30, couple.wedding - 10, couple.wedding + 2]
    for n, day in enumerate(days):
        at = midnight(life.supplier.timezone, day) + 9 * _HOUR + couple.number % 50
        chance, delay = rng.random(), rng.lognormvariate(9.6, 1.3)
        if day <= added or not max(life.journeys_from, life.start) <= at < couple.ends or life.is_paused(day):
            continue
        mail = f'{{{client},"message_id":"{life.prefix[5:]}{key}m{n}"}}'
        life.emit("journey_email_sent", at, f"{key}-j{n}", mail)
        opened = at + 120 + round(min(delay, 12 * DAY_SECONDS))
        if chance < life.supplier.opens * life.couples_level(day):
            life.emit("journey_email_opened", opened, f"{key}-o{n}", mail)


def _iso(day: int) -> str:
    return date.fromordinal(day).isoformat()


def _poisson(rng: Random, mean: float) -> int:
    """Counts chance events by summing waiting times: exact, and the means here are small."""
    if mean <= 0:
        return 0
    count, waited = 0, rng.expovariate(1.0)
    while waited < mean:
        count += 1
        waited += rng.expovariate(1.0)
    return count

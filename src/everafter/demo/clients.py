"""Simulate the clients of one supplier: when they are added, their activity, forms, journey emails
and end."""

import heapq
from bisect import bisect_left
from dataclasses import dataclass
from datetime import date
from random import Random

from everafter.demo.calendar import booking_wave, day_of, midnight, wedding_day
from everafter.demo.life import Life
from everafter.demo.model import DAY_SECONDS, PLANS, VENDOR_TYPES
from everafter.demo.names import client as client_name

_HOUR = 3600
_ADD_DELAY_DAYS = 10
_STAGES = ((9999, 180, 0.031), (180, 60, 0.046), (60, 0, 0.085), (0, -6, 0.03))
"""A client's events per day, by days before the wedding: (from, to, rate)."""
_FORMS_BEFORE = (150, 75, 28)
_FORM_LIMIT_DAYS = 45


@dataclass(slots=True)
class _Client:
    """One client. added, ends: Unix seconds. wedding: an ordinal. lost: whether it ends before the
    wedding."""

    number: int
    id: str
    rng: Random
    added: int
    wedding: int
    ends: int
    lost: bool


def emit_clients(life: Life) -> list[tuple[int, int]]:
    """Emit the events of the supplier's clients.

    Returns:
        (added, ended) of each client in Unix seconds, possibly outside the simulated time.
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
        client = _draw_client(life, number, moment)
        number += 1
        if client.ends <= life.start and client.number:
            continue
        heapq.heappush(on_books, client.ends)
        spans.append((client.added, client.ends))
        _emit_client(life, client)
    return spans


def _arrivals(life: Life, rng: Random) -> list[int]:
    """Return the times at which clients are added, in order: the imported ones, then bookings."""
    supplier = life.supplier
    vendor_type = VENDOR_TYPES[supplier.vendor_type]
    stays_weeks = vendor_type.lead_days / 7 + 1.5
    moments: list[int] = []
    imported = life.imported_at
    if imported is not None:
        limit = PLANS[supplier.plan_before or supplier.plan].client_limit
        brought = min(1 + _poisson(rng, supplier.target * 0.6), limit)
        moments += [imported + 60 + 20 * place for place in range(brought)]
    first = life.first_day if imported is None else max(life.first_day, day_of(imported) + 1)
    for monday in range(first, life.last_day + 1, 7):
        # before the account existed, clients come by the import only
        rate = (
            1.15
            * supplier.target
            / stays_weeks
            * booking_wave(monday)
            * (life.level(monday) if monday >= life.base else 1)
        )
        for _ in range(_poisson(rng, rate)):
            day = monday + rng.randrange(7)
            minute = rng.randrange(5, 50) * 60
            if day < life.base:
                moments.append(midnight(supplier.timezone, day) + 11 * _HOUR + minute)
                continue
            place = bisect_left(life.logins, midnight(supplier.timezone, day))
            if place < len(life.logins) and life.logins[place] - midnight(
                supplier.timezone, day
            ) < (_ADD_DELAY_DAYS * DAY_SECONDS):
                moments.append(life.logins[place] + minute)
    moments.sort()
    return moments


def _draw_client(life: Life, number: int, added: int) -> _Client:
    supplier = life.supplier
    rng = Random(f"{life.seed}:{supplier.index}:{number}")
    client_id = life.client_id(number, rng)
    day = day_of(added)
    wedding = wedding_day(rng, supplier.country, day, VENDOR_TYPES[supplier.vendor_type].lead_days)
    archived = midnight(supplier.timezone, wedding) + rng.randint(3, 14) * DAY_SECONDS + 4 * _HOUR
    chance, when = rng.random(), rng.random()
    lost_at = (
        archived
        if chance >= 0.075
        else added + 2 * DAY_SECONDS + round(when * max(0, wedding - day - 3) * DAY_SECONDS)
    )
    for begins, ends, share in supplier.story.losing:
        chance, when = rng.random(), rng.random()
        loss_at = midnight(supplier.timezone, begins + round(when * (ends - begins))) + 17 * _HOUR
        if chance < share and added + DAY_SECONDS < loss_at < lost_at:
            lost_at = loss_at
    lost = lost_at < archived
    return _Client(number, client_id, rng, added, wedding, lost_at if lost else archived, lost)


def _emit_client(life: Life, client: _Client) -> None:
    supplier, rng = life.supplier, client.rng
    client_id = f'"client_id":"{client.id}"'
    key = f"c{client.number}"
    name = client_name(rng, supplier.country)
    wedding = f'"wedding_date":"{_iso(client.wedding)}"'
    life.emit(
        "client_added",
        client.added,
        f"{key}-add",
        f'{{{client_id},{wedding},"name":"{name}"}}',
        early=True,
    )
    _activity(life, client, client_id, key)
    _forms(life, client, client_id, key)
    _journey(life, client, client_id, key)
    # the first client got the first invitation, so it is emitted even if it ended before that
    ended = "client_lost" if client.lost else "client_archived"
    life.emit(ended, client.ends, f"{key}-end", f"{{{client_id}}}", early=client.number == 0)


def _activity(life: Life, client: _Client, client_id: str, key: str) -> None:
    """Emit visits to the portal, more of them near the wedding and fewer when the supplier is
    inactive."""
    rng = client.rng
    warmth = rng.gammavariate(4.0, 0.25) * (0.75 + 0.5 * life.supplier.completes)
    added = day_of(client.added)
    n = 0
    for before, until, rate in _STAGES:
        begins, ends = max(added, client.wedding - before), client.wedding - until
        for _ in range(_poisson(rng, max(0, ends - begins) * rate * warmth)):
            day = begins + rng.randrange(ends - begins)
            at = midnight(life.supplier.timezone, day) + round(rng.triangular(7, 23.5, 20) * _HOUR)
            stays = rng.random() < life.clients_level(day)
            n += 1
            if stays and client.added + _HOUR < at < client.ends:
                life.emit("client_active", at, f"{key}-a{n}", f"{{{client_id}}}")


def _forms(life: Life, client: _Client, client_id: str, key: str) -> None:
    """Emit a form soon after booking and up to three before the wedding, each at the supplier's
    next login."""
    rng = client.rng
    first = day_of(client.added) + rng.randint(0, 9)
    due = [first, *(client.wedding - before - rng.randint(-9, 9) for before in _FORMS_BEFORE)]
    for n, day in enumerate(due):
        form_id = f"{life.prefix[5:]}{key}f{n}"
        minute, chance, delay = (
            rng.randrange(3, 40) * 60,
            rng.random(),
            rng.lognormvariate(0.75, 1.05),
        )
        if day < first or (n and rng.random() < 0.12):
            continue
        place = bisect_left(
            life.logins, max(midnight(life.supplier.timezone, day), client.added + _HOUR // 4)
        )
        if place == len(life.logins):
            continue
        sent = life.logins[place] + minute
        if sent >= min(client.ends, midnight(life.supplier.timezone, client.wedding)) or sent > (
            midnight(life.supplier.timezone, day) + _FORM_LIMIT_DAYS * DAY_SECONDS
        ):
            continue
        form = f'{{{client_id},"form_id":"{form_id}"}}'
        life.emit("form_sent", sent, f"{key}-f{n}", form)
        done = sent + 900 + round(min(delay, 40) * DAY_SECONDS)
        answers = chance < life.supplier.completes * life.clients_level(day_of(done))
        if answers and life.start <= sent and done < client.ends:
            life.emit("form_completed", done, f"{key}-g{n}", form)


def _journey(life: Life, client: _Client, client_id: str, key: str) -> None:
    """Emit the automatic emails of a journey: a welcome, one every ten weeks, two shortly before
    the wedding, one after it."""
    if life.journeys_from is None:
        return
    rng = client.rng
    added = day_of(client.added)
    days = [added + 1, *range(added + 60, client.wedding - 40, 70)]
    days += [client.wedding - 30, client.wedding - 10, client.wedding + 2]
    for n, day in enumerate(days):
        at = midnight(life.supplier.timezone, day) + 9 * _HOUR + client.number % 50
        chance, delay = rng.random(), rng.lognormvariate(9.6, 1.3)
        if (
            day <= added
            or not max(life.journeys_from, life.start) <= at < client.ends
            or life.is_paused(day)
        ):
            continue
        mail = f'{{{client_id},"message_id":"{life.prefix[5:]}{key}m{n}"}}'
        life.emit("journey_email_sent", at, f"{key}-j{n}", mail)
        opened = at + 120 + round(min(delay, 12 * DAY_SECONDS))
        if chance < life.supplier.opens * life.clients_level(day):
            life.emit("journey_email_opened", opened, f"{key}-o{n}", mail)


def _iso(day: int) -> str:
    return date.fromordinal(day).isoformat()


def _poisson(rng: Random, mean: float) -> int:
    """Draw from a Poisson distribution by summing waiting times; fine for small means."""
    if mean <= 0:
        return 0
    count, waited = 0, rng.expovariate(1.0)
    while waited < mean:
        count += 1
        waited += rng.expovariate(1.0)
    return count

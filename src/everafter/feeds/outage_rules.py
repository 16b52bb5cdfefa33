"""Which outages are recorded, and which of them last. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from everafter.feeds.model import EVERYTHING, Outage, stopped_before

_FOREVER = datetime.max.replace(tzinfo=UTC)


def reconcile(recorded: Sequence[Outage], found: Iterable[Outage], as_of: datetime) -> list[Outage]:
    """The recorded outages after what was found as of a moment.

    An outage found again is the recorded one that it overlaps, which keeps its beginning: computed
    from later days, the beginning may differ by some hours.

    Returns:
        All outages that are recorded from now on, changed or not.
    """
    outages = list(recorded)
    again: set[int] = set()
    for outage in found:
        place = _find_same(outages, outage)
        if place is None:
            again.add(len(outages))
            outages.append(outage)
            continue
        again.add(place)
        outages[place] = _renew(outages[place], outage, as_of)
    return [
        replace(outage, ended_at=max(as_of, outage.since))
        if place not in again and outage.ended_at is None and outage.noticed_at <= as_of
        else outage
        for place, outage in enumerate(outages)
    ]


def _find_same(outages: Sequence[Outage], found: Outage) -> int | None:
    for place, outage in enumerate(outages):
        if (
            outage.type == found.type
            and outage.kind == found.kind
            and outage.since < (found.ended_at or _FOREVER)
            and found.since < (outage.ended_at or _FOREVER)
        ):
            return place
    return None


def _renew(recorded: Outage, found: Outage, as_of: datetime) -> Outage:
    ended_at = recorded.ended_at
    if found.ended_at is not None:
        ended_at = ended_at or max(found.ended_at, recorded.since)
    elif ended_at is not None and ended_at <= as_of:
        ended_at = None  # taken for over, and is not
    return replace(
        recorded,
        noticed_at=min(recorded.noticed_at, as_of),
        ended_at=ended_at,
        seen=found.seen,
    )


def known_at(recorded: Iterable[Outage], as_of: datetime) -> list[Outage]:
    """The outages noticed by then, and as they were known then: one that ended later had not
    ended."""
    return [
        replace(outage, ended_at=None)
        if outage.ended_at is not None and outage.ended_at > as_of
        else outage
        for outage in recorded
        if outage.noticed_at <= as_of
    ]


def lasting(outages: Iterable[Outage]) -> list[Outage]:
    """The outages that have not ended."""
    return [outage for outage in outages if outage.ended_at is None]


def list_notable(
    outages: Iterable[Outage], as_of: datetime, returned_within: timedelta = timedelta(0)
) -> list[Outage]:
    """The outages to show as of a moment, the earliest first.

    While everything is stopped, that is one outage: the types that stopped at about the same time
    or are halved are not named besides.

    Args:
        returned_within: outages that ended so recently are shown too.
    """
    shown = [
        outage
        for outage in outages
        if outage.ended_at is None or as_of - returned_within < outage.ended_at <= as_of
    ]
    everything = [
        outage
        for outage in shown
        if outage.type == EVERYTHING and outage.kind == "stopped" and outage.ended_at is None
    ]
    if everything:
        since = everything[0].since
        shown = [
            outage
            for outage in shown
            if outage.type == EVERYTHING
            or (outage.kind == "stopped" and stopped_before(outage, since))
        ]
    return sorted(shown, key=lambda outage: (outage.kind != "stopped", outage.since, outage.type))

"""Merge busy times. Pure."""

from collections.abc import Iterable

from everafter.support.model import BusyTime


def merge_times(times: Iterable[BusyTime]) -> list[BusyTime]:
    """Merge overlapping and adjacent times, sorted by start. Times with a UID, which can be our own
    calls, are only merged with those of the same UID."""
    merged: list[BusyTime] = []
    for one in sorted(
        times, key=lambda one: (one.uid is not None, str(one.uid or ""), one.starts_at)
    ):
        last = merged[-1] if merged else None
        if last and last.uid == one.uid and one.starts_at <= last.ends_at:
            merged[-1] = BusyTime(last.starts_at, max(last.ends_at, one.ends_at), one.uid)
        else:
            merged.append(one)
    return sorted(merged, key=lambda one: (one.starts_at, one.ends_at, str(one.uid or "")))

"""Up to when events are counted, while some of their feeds are stopped. Pure."""

from datetime import datetime

from everafter.feeds.model import Feeds


class Clock:
    """Gives the moment, day and week up to which the events of some types are counted: those of the
    moment scored, or of the last good day of a feed that is stopped."""

    def __init__(self, as_of: datetime, feeds: Feeds) -> None:
        self._as_of, self._feeds = as_of, feeds
        self.today = int(as_of.timestamp() // 86_400)

    def moment(self, *types: str) -> datetime:
        return self._feeds.frozen_at(*types) or self._as_of

    def day(self, *types: str) -> int:
        """Days since 1970-01-01; the current day, or the last good one."""
        frozen_at = self._feeds.frozen_at(*types)
        return self.today if frozen_at is None else int(frozen_at.timestamp() // 86_400) - 1

    def week(self, *types: str) -> int:
        """The week of that day, numbered as in activity.model."""
        return (self.day(*types) + 3) // 7

    def week_of_sending(self, *types: str) -> int:
        """The last week whose responses are counted: while one of the types is stopped, the last
        whole week before. What was sent after that has no response for want of events."""
        stopped = self._feeds.is_stopped(*types)
        return (self.day(*types) + 4) // 7 - 1 if stopped else self.week(*types)

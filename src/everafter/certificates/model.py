"""A success certificate: who it honours, since when, and who signs."""

from dataclasses import dataclass
from datetime import date

HONOURED = "fully_activated"
"""The milestone that earns one."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """What is on it. name: the supplier's, as it is now; earned_on: the day of the milestone, where
    the supplier is."""

    name: str
    earned_on: date
    sender: str

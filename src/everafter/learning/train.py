"""Train the models in a process of its own: `python -m everafter.learning.train`.

Reads a Request as JSON from standard input and writes a Result as JSON to standard output, so that
what it needs in memory and time is bounded, and nothing but numbers comes back. Writes nothing to
the database."""

import contextlib
import resource
import sys
from datetime import datetime, timedelta

import msgspec
import numpy as np
from msgspec import Struct

from everafter.core.db import FrameReader
from everafter.learning import snapshot_queries
from everafter.learning.model import Fitted
from everafter.learning.training_rules import train_models
from everafter.learning.trees import fit_trees, has_trees

MEMORY_BYTES = 3 * 1024**3
"""Data that the process may have; six times what 300,000 snapshots need."""
MOST_SNAPSHOTS = 300_000
"""Above this, a sample of the suppliers is read."""
HISTORY_DAYS = 3 * 366
"""Older snapshots are not learned from: markets change."""


_SEED = 20261129
"""So that a training can be repeated."""


class Moment(Struct, frozen=True):
    """A moment to train as of. known_until: the last event by then."""

    as_of: datetime
    known_until: datetime


class Request(Struct, frozen=True):
    """What to train. moments: in order. with_trees: only the last moments need them."""

    url: str
    moments: tuple[Moment, ...]
    trees_from: datetime


class Trained(Struct, frozen=True):
    """The models as of one moment, and how many snapshots were read."""

    as_of: datetime
    snapshots: int
    models: tuple[Fitted, ...]


class Result(Struct, frozen=True):
    """One entry for each moment."""

    trained: tuple[Trained, ...]


def train(request: Request) -> Result:
    """Train as of each moment. Blocks."""
    reader = FrameReader(request.url)
    try:
        return Result(tuple(_train_moment(reader, request, moment) for moment in request.moments))
    finally:
        reader.close()


def _train_moment(reader: FrameReader, request: Request, moment: Moment) -> Trained:
    since = (moment.as_of - timedelta(days=HISTORY_DAYS)).date()
    count = snapshot_queries.count_snapshots(reader, since, moment.as_of)
    share = min(1.0, MOST_SNAPSHOTS / count) if count else 1.0
    snapshots = snapshot_queries.read_snapshots(reader, since, moment.as_of, share)
    trees = fit_trees if has_trees() and moment.as_of >= request.trees_from else None
    models = train_models(snapshots, moment.known_until, trees, np.random.default_rng(_SEED))
    return Trained(moment.as_of, snapshots.height, tuple(models))


def _limit_memory() -> None:
    """Fail with MemoryError instead of taking the machine's memory."""
    with contextlib.suppress(ValueError, OSError):  # a lower limit is in force already
        resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_BYTES, MEMORY_BYTES))


def main() -> None:
    """Answer the request on standard input."""
    _limit_memory()
    request = msgspec.json.decode(sys.stdin.buffer.read(), type=Request)
    sys.stdout.buffer.write(msgspec.json.encode(train(request)))


if __name__ == "__main__":
    main()

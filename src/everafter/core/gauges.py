"""Gauges of `/metrics`: each slice lists its own."""

from typing import LiteralString, NamedTuple


class Gauge(NamedTuple):
    """name and help: as Prometheus shows them. statement: returns rows of (labels as Prometheus
    text or '', value); it must stay cheap with millions of rows in the tables it reads."""

    name: str
    help: str
    statement: LiteralString

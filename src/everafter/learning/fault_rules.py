"""Whether the numbers of a stored model can be used. Pure."""

from collections.abc import Sequence
from itertools import pairwise
from math import isfinite

from everafter.learning.model import Parameters
from everafter.learning.rules import FEATURES

_LARGEST = 1e6
"""No fit comes near it: priors hold coefficients within a few units, and log odds are within 30."""


def find_fault(parameters: Parameters) -> str:
    """Why numbers cannot be used; empty: they can.

    >>> find_fault(Parameters(base_rate=0.03, alpha=-3.0, beta=0.8))
    ''
    >>> find_fault(Parameters(base_rate=0.03, alpha=-3.0, beta=0.8, features=("age",)))
    "unknown feature: 'age'"
    """
    unknown = [name for name in parameters.features if name not in FEATURES]
    if unknown:
        return f"unknown feature: {unknown[0]!r}"
    count = len(parameters.features)
    for name in ("means", "scales", "weights"):
        if len(getattr(parameters, name)) != count:
            return f"{name}: {len(getattr(parameters, name))} for {count} features"
    if len(parameters.index_from) != len(parameters.index_to):
        return "index_from and index_to differ in length"
    for name in parameters.__struct_fields__:
        value = getattr(parameters, name)
        numbers: Sequence[float] = value if isinstance(value, tuple) else (value,)
        if name != "features" and not all(_is_usual(one) for one in numbers):
            return f"{name}: not a number, or beyond {_LARGEST:,.0f}"
    if any(scale <= 0 for scale in parameters.scales):
        return "scales: expected above 0"
    return _find_map_fault(parameters)


def _find_map_fault(parameters: Parameters) -> str:
    if not 0 <= parameters.base_rate <= 1 or any(not 0 <= to <= 1 for to in parameters.index_to):
        return "base_rate and index_to: expected from 0 to 1"
    if any(low >= high for low, high in pairwise(parameters.index_from)):
        return "index_from: expected rising"
    if any(low > high for low, high in pairwise(parameters.index_to)):
        return "index_to: expected rising"
    return ""


def _is_usual(value: float) -> bool:
    return isfinite(value) and abs(value) <= _LARGEST

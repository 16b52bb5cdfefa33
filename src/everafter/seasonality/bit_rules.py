"""Days with a login as bits of machine words: 192 days are three words. Pure.

Position 0 is the oldest of the 192 days, position 191 the last. Counting the logins of any set of
days is a mask and a population count, thirty times faster than a matrix of days."""

import numpy as np
import polars as pl
from numpy.typing import NDArray

from everafter.activity import model
from everafter.seasonality.model import Ints

WINDOW = 192
Words = NDArray[np.uint64]
Small = NDArray[np.uint8]

_BITS = 64
_WORDS = WINDOW // _BITS


def pack(days: Small) -> Words:
    """(n, 192) of 0 and 1 → (n, 3) words."""
    return _to_integers(np.packbits(days, axis=1))


def _to_integers(packed: Small) -> Words:
    return np.ascontiguousarray(packed).view(">u8").astype(np.uint64)


_PREFIX: Words = pack(np.tri(WINDOW + 1, WINDOW, -1, dtype=np.uint8))
"""(193, 3): the first so many positions."""


def between(first: Ints, last: Ints) -> Words:
    """(n, 3): the positions from `first` to `last`, both included; none if first > last."""
    return _PREFIX[np.clip(last + 1, 0, WINDOW)] & ~_PREFIX[np.clip(first, 0, WINDOW)]


def count(words: Words, masks: Words) -> NDArray[np.float64]:
    """(n, m): how many bits of each row are in each mask.

    Args:
        words: (n, 3).
        masks: (m, 3).
    """
    found = np.zeros((len(words), len(masks)), dtype=np.uint8)
    for number in range(_WORDS):
        found += np.bitwise_count(words[:, number, None] & masks[None, :, number])
    return found.astype(np.float64)


def count_all(words: Words) -> Ints:
    """(n,): how many bits of each row are set."""
    return np.bitwise_count(words).sum(axis=1, dtype=np.int64)


def last_set(words: Words) -> Ints:
    """(n,): the last position that is set; −1: none."""
    last = np.full(len(words), -1)
    for number in range(_WORDS):
        word = words[:, number]
        lowest = word & (~word + np.uint64(1))  # the last position is the lowest bit
        # exact: a power of two has an exact logarithm in a double
        place = _BITS - 1 - np.log2(np.maximum(lowest, 1).astype(np.float64)).astype(np.int64)
        last = np.where(word > 0, number * _BITS + place, last)
    return last


def first_set(words: Words) -> Ints:
    """(n,): the first position that is set; −1: none."""
    first = np.full(len(words), -1)
    for number in reversed(range(_WORDS)):
        word = words[:, number]
        for step in (1, 2, 4, 8, 16, 32):  # fill every place after the first
            word = word | (word >> np.uint64(step))
        place = _BITS - np.bitwise_count(word).astype(np.int64)
        first = np.where(word > 0, number * _BITS + place, first)
    return first


def shift(words: Words, days: int) -> Words:
    """The window that ends so many days earlier (negative: later); what is not known is 0.

    >>> last_set(shift(between(np.array([180]), np.array([191])), 1)).tolist()
    [191]
    >>> count_all(shift(between(np.array([180]), np.array([190])), 3)).tolist()
    [9]
    >>> last_set(shift(between(np.array([180]), np.array([191])), -2)).tolist()
    [189]
    """
    whole, bits = divmod(min(max(days, -WINDOW), WINDOW), _BITS)
    shifted = np.zeros_like(words)
    for number in range(_WORDS):
        source = number - whole
        if 0 <= source < _WORDS:
            shifted[:, number] = words[:, source] >> np.uint64(bits)
        if bits and 0 <= source - 1 < _WORDS:
            shifted[:, number] |= words[:, source - 1] << np.uint64(_BITS - bits)
    return shifted


def read_window(packed: Small, start: int) -> Words:
    """The 192 days from a position of rows of packed days; days outside of the rows are 0.

    Args:
        packed: (n, bytes), days oldest first, as numpy.packbits makes them.
        start: the position of the first day; it may be negative.
    """
    if start < 0:
        return shift(read_window(packed, 0), -start)
    byte, bits = divmod(start, 8)
    chunk = np.zeros((len(packed), 8 * (_WORDS + 1)), dtype=np.uint8)
    part = packed[:, byte : byte + 8 * (_WORDS + 1)]
    chunk[:, : part.shape[1]] = part
    words = _to_integers(chunk)
    if not bits:
        return words[:, :_WORDS]
    return (words[:, :_WORDS] << np.uint64(bits)) | (words[:, 1:] >> np.uint64(_BITS - bits))


def read_login_ring(login_days: pl.Series, heads: Ints, today: int) -> Words:
    """The 192 days up to a day from the ring buffers of suppliers.

    Args:
        login_days: a Binary column (activity/model.py).
        heads: (n,), the day of each row's last event.
        today: the last day of the window. Later days may be in the ring buffer: they have
            overwritten the first of the window, which are not known, and count as 0.
    """
    ring = _to_integers(model.read_packed_bits(login_days, model.LOGIN_SLOTS))
    whole, bits = divmod((today + 1) % WINDOW, _BITS)
    turned = ring[:, [(number + whole) % _WORDS for number in range(_WORDS)]]
    if bits:
        following = turned[:, [(number + 1) % _WORDS for number in range(_WORDS)]]
        turned = (turned << np.uint64(bits)) | (following >> np.uint64(_BITS - bits))
    # a slot after the row's head is of 192 days before
    return turned & between(np.maximum(heads - today, 0), heads - (today - WINDOW) - 1)


def weekly_logins(words: Words, weeks: int) -> NDArray[np.float64]:
    """(n, weeks): login days in each seven days, the last seven first."""
    ends = WINDOW - 1 - 7 * np.arange(weeks)
    return count(words, between(ends - 6, ends))

"""Lengths: which ones the API takes, and what can be made of any other."""

from __future__ import annotations

import math

from orchestrator.durations import HOUR, format_duration
from orchestrator.model import Fit

LENGTHS = tuple(hours * HOUR for hours in (1, 2, 4, 6, 12, 24, 48))
"""The lengths in seconds that the API takes, from its documentation of `POST /tests/{testId}/snapshot`."""


def covering(length: int, fit: Fit) -> int:
    """The smallest length at least as long: one that the API takes, or for a split one of whole hours."""
    if fit is Fit.SPLIT:
        return math.ceil(length / HOUR) * HOUR
    return next(allowed for allowed in LENGTHS if allowed >= length)


def pieces(length: int) -> tuple[int, ...]:
    """The fewest allowed lengths that add up to whole hours, the longest first (greedy is optimal here)."""
    found: list[int] = []
    for allowed in reversed(LENGTHS):
        count, length = divmod(length, allowed)
        found += [allowed] * count
    return tuple(found)


def choices(length: int) -> str:
    """Say that the API does not take this length, and what to write instead."""
    near = [allowed for allowed in LENGTHS if allowed < length][-1:]
    near += [allowed for allowed in LENGTHS if allowed > length][:1]
    lengths = " or ".join(map(format_duration, near))
    fits = [f"fit: cover ({format_duration(near[-1])}, starting earlier)"] if length < LENGTHS[-1] else []
    if length > LENGTHS[0]:
        parts = pieces(covering(length, Fit.SPLIT))
        several = f"{len(parts)} windows" if len(parts) > 4 else " + ".join(map(format_duration, parts))
        fits.append(f"fit: split ({several})")
    return f"which the API does not take: write {lengths}, or {' or '.join(fits)}"

"""Durations: `1h30m` as people write it, seconds inside."""

from __future__ import annotations

import math
import re

from orchestrator.core import quote

MINUTE, HOUR, DAY = 60, 3600, 86_400

LONGEST = 36_500 * DAY
"""The longest duration that is read, 100 years: more is a slip, and floats stay exact to the millisecond."""

_MILLISECONDS = {"d": DAY * 1000, "h": HOUR * 1000, "m": MINUTE * 1000, "s": 1000, "ms": 1}

_UNITS = tuple(_MILLISECONDS)

_PART = re.compile(r"([0-9]{1,15})(ms|[dhms])")

_KEEPS_HOURS = 48 * HOUR  # up to the API's longest length hours stay hours: 48h, never 2d


def parse_duration(text: str) -> float:
    """Seconds of a duration: digits with d, h, m, s or ms, which may be chained (`1h30m`).

    Units go from the largest to the smallest, each at most once. ValueError says what to write instead.
    """
    written = text.strip()
    if re.fullmatch(r"[0-9]{1,15}", written):
        raise ValueError(
            f"{quote(written)} has no unit: write {written}s, {written}m, {written}h or {written}d"
        )
    parts = [(int(digits), unit) for digits, unit in _PART.findall(written)]
    if not parts or _PART.sub("", written):
        raise ValueError(
            f"{quote(text)} is not a duration: write digits with d, h, m, s or ms, such as 90s, 2h or 1h30m"
        )
    _check_order(written, [unit for _, unit in parts])
    seconds = sum(number * _MILLISECONDS[unit] for number, unit in parts) / 1000
    if seconds > LONGEST:
        raise ValueError(f"{quote(text)} is longer than 100 years")
    return seconds


def format_duration(seconds: float) -> str:
    """The duration as `parse_duration` reads it, to the millisecond; hours up to `48h`, days beyond.

    ValueError for a negative or an infinite one, which cannot be written.
    """
    if not math.isfinite(seconds) or seconds < 0:
        raise ValueError(f"{seconds} seconds cannot be written as a duration")
    rest, text = round(seconds * 1000), ""
    units = _UNITS if rest > _KEEPS_HOURS * 1000 else _UNITS[1:]
    for unit in units:
        number, rest = divmod(rest, _MILLISECONDS[unit])
        text += f"{number}{unit}" if number else ""
    return text or "0s"


def _check_order(written: str, units: list[str]) -> None:
    """Raise unless the units go from the largest to the smallest without a repeat."""
    if len(set(units)) < len(units):
        twice = next(unit for unit in units if units.count(unit) > 1)
        raise ValueError(f"{quote(written)} has the unit {twice} twice: add the numbers up")
    ordered = sorted(units, key=_UNITS.index)
    if units != ordered:
        parts = {unit: digits + unit for digits, unit in _PART.findall(written)}
        better = "".join(parts[unit] for unit in ordered)
        raise ValueError(f"{quote(written)} has its units out of order: write {better}")

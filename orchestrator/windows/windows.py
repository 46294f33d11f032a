"""Time windows: which keys go together, what they mean at a given moment, and lengths the API takes.

`check_window` finds everything wrong with a window as written, without knowing the time, since every length is
fixed by the text; `resolve_window` makes windows of it. Lengths are elapsed time: 24h is 24 hours on a DST night.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from itertools import accumulate, pairwise
from typing import Any, NamedTuple

from orchestrator.core import Fit, Window, WindowError, WindowSpec, quote, utc_text
from orchestrator.windows.durations import DAY, HOUR, MINUTE, format_duration
from orchestrator.windows.instants import (
    Instant,
    is_wall_clock,
    latest,
    local,
    local_text,
    parse_clock,
    parse_instant,
    read_wall,
)
from orchestrator.windows.zones import zone

LENGTHS = tuple(hours * HOUR for hours in (1, 2, 4, 6, 12, 24, 48))
"""The lengths in seconds that the API takes, from its documentation of `POST /tests/{testId}/snapshot`."""

KEPT = (30 * DAY, 90 * DAY)
"""How long ThousandEyes keeps a test's data, from the shortest to the longest, depending on its type.

Inferred from its documentation, which gives no figure for a single type (trials keep 14 days).
"""

_SETTLING = 30  # seconds: `last` ends at a full minute that is at least this old

_FORMS = (
    ("start", "end"),
    ("start", "duration"),
    ("end", "duration"),
    ("last",),
    ("last", "until"),
    ("around", "duration"),
)

_KEYS = ("start", "end", "duration", "last", "until", "around")

_FORMS_TEXT = (
    "a window is start and end, start or end with duration, last (with until), or around with duration"
)


class Resolution(NamedTuple):
    """A window as it is resolved at one moment: windows the API takes, in order, and what the user is told."""

    windows: tuple[Window, ...]
    notes: tuple[str, ...] = ()


def check_window(spec: WindowSpec) -> None:
    """Raise WindowError, with the key at fault and what to write instead, unless `resolve_window` will succeed."""
    _check_keys(spec)
    with _errors_at("timezone"):
        zone(spec.timezone)
    instant = partial(_check_instant, timezone=spec.timezone)
    checks: dict[str, Callable[[Any], object]] = {
        "start": instant,
        "end": instant,
        "around": instant,
        "duration": _check_duration,
        "last": _check_duration,
        "until": parse_clock,
    }
    for key, check in checks.items():
        value = getattr(spec, key)
        if value is not None:
            with _errors_at(key):
                check(value)
    wanted, _ = _bounds(spec, now=0.0)  # its length is the same at any time
    if wanted.seconds <= 0:
        raise WindowError(_order_text(spec, wanted.seconds), key="end")
    _check_length(spec, wanted.seconds)


def resolve_window(spec: WindowSpec, *, now: float) -> Resolution:
    """The windows that the spec means at `now` (epoch seconds), all of lengths that the API takes.

    `last` ends at the last full minute at least 30 s ago, with `until` at the latest such local time.
    `cover` keeps the end and moves the start back to the smallest length that the API takes; `split` tiles
    from the start with the fewest windows, the longest first, after the start of a length that is not of
    whole hours has moved back to make it so. WindowError as `check_window` raises it.
    """
    check_window(spec)
    wanted, notes = _bounds(spec, now=now)
    length = smallest_length(wanted.seconds, spec.fit)
    start = wanted.end - length
    if start != wanted.start:
        notes = (*notes, _start_note(wanted, start, spec.timezone))
    edges = accumulate(split_length(length), initial=start)
    windows = tuple(Window(start=first, end=last) for first, last in pairwise(edges))
    return Resolution(windows=windows, notes=(*notes, *_night_notes(spec, wanted)))


def age_warning(window: Window, *, now: float) -> str | None:
    """A warning when the window's data is, or may be, no longer kept; None while it is there."""
    age = now - window.start
    shortest, longest = KEPT
    if age <= shortest:
        return None
    certainty = "no longer has" if age > longest else "may no longer have"
    return (
        f"the window starts {age // DAY:.0f} days ago, at {utc_text(window.start)}: ThousandEyes {certainty}"
        f" its data, kept for {shortest // DAY} to {longest // DAY} days, depending on the test's type"
    )


def smallest_length(length: int, fit: Fit) -> int:
    """The smallest length at least as long: one that the API takes, or for a split one of whole hours."""
    if fit is Fit.SPLIT:
        return math.ceil(length / HOUR) * HOUR
    return next(allowed for allowed in LENGTHS if allowed >= length)


def split_length(length: int) -> tuple[int, ...]:
    """The fewest allowed lengths that add up to whole hours, the longest first (greedy is optimal here)."""
    found: list[int] = []
    for allowed in reversed(LENGTHS):
        count, length = divmod(length, allowed)
        found += [allowed] * count
    return tuple(found)


def _check_keys(spec: WindowSpec) -> None:
    """Raise unless the keys that are set are one of the forms."""
    given = {key for key in _KEYS if getattr(spec, key) is not None}
    if any(given == set(form) for form in _FORMS):
        return
    names = [key for key in _KEYS if key in given]
    missing = [key for form in _FORMS if given < set(form) for key in form if key not in given]
    if not given:
        raise WindowError(f"an empty window: {_FORMS_TEXT}")
    if missing:
        raise WindowError(f"{names[0]} needs {' or '.join(dict.fromkeys(missing))}", key=names[0])
    closest = max(_FORMS, key=lambda form: len(given & set(form)) - len(set(form) - given))
    surplus = [key for key in names if key not in closest]
    rest = " and ".join(key for key in names if key in closest)
    raise WindowError(
        f"{' and '.join(surplus)} cannot be combined with {rest}: {_FORMS_TEXT}", key=surplus[0]
    )


@contextmanager
def _errors_at(key: str) -> Iterator[None]:
    """Turn what is said against a value into an error at the key."""
    try:
        yield
    except ValueError as error:
        raise WindowError(str(error), key=key) from None


def _check_instant(text: str, timezone: str | None) -> None:
    at, _ = parse_instant(text, timezone=timezone)
    if at % 1:
        raise ValueError(f"{quote(text)} is not a full second: write {utc_text(at)}")


def _check_duration(seconds: float) -> None:
    if not math.isfinite(seconds) or seconds <= 0:
        raise ValueError("a window cannot be empty: write a duration over zero, such as 1h")
    if seconds % 1:
        better = format_duration(math.ceil(seconds))
        raise ValueError(f"{format_duration(seconds)} is not in full seconds: write {better}")


def _check_length(spec: WindowSpec, length: int) -> None:
    """Raise unless the fit makes lengths of it that the API takes."""
    key = "last" if spec.last is not None else "duration" if spec.duration is not None else "end"
    if spec.fit is Fit.SPLIT:
        if length > KEPT[-1]:
            text = f"{_length_text(spec, length)}, longer than ThousandEyes keeps data ({KEPT[-1] // DAY}d)"
            raise WindowError(f"{text}: write a shorter one", key=key)
        return
    if length in LENGTHS or (spec.fit is Fit.COVER and length < LENGTHS[-1]):
        return
    raise WindowError(f"{_length_text(spec, length)}, {_advice(length)}", key=key)


def _length_text(spec: WindowSpec, length: int) -> str:
    """The length in a sentence, which for a start and an end includes where it comes from."""
    if spec.start is None or spec.end is None:
        return f"the window's length is {format_duration(length)}"
    wanted, _ = _bounds(spec, now=0.0)
    offsets = {local(at, spec.timezone).utcoffset() for at in (wanted.start, wanted.end)}
    change = " (the clocks change in between)" if len(offsets) > 1 else ""
    return f"start to end is {format_duration(length)}{change}"


def _order_text(spec: WindowSpec, length: int) -> str:
    if not length:
        return f"end is the same instant as start, {quote(spec.start or '')}: a window cannot be empty"
    return f"end {quote(spec.end or '')} is before start {quote(spec.start or '')}: swap them"


def _advice(length: int) -> str:
    """Say that the API does not take this length, and what to write instead."""
    near = [allowed for allowed in LENGTHS if allowed < length][-1:]
    near += [allowed for allowed in LENGTHS if allowed > length][:1]
    lengths = " or ".join(map(format_duration, near))
    fits = [f"fit: cover ({format_duration(near[-1])}, starting earlier)"] if length < LENGTHS[-1] else []
    if length > LENGTHS[0]:
        parts = split_length(smallest_length(length, Fit.SPLIT))
        several = f"{len(parts)} windows" if len(parts) > 4 else " + ".join(map(format_duration, parts))
        fits.append(f"fit: split ({several})")
    return f"which the API does not take: write {lengths}, or {' or '.join(fits)}"


def _bounds(spec: WindowSpec, *, now: float) -> tuple[Window, tuple[str, ...]]:
    """The window as asked for, of any length and before any fit, and notes on its times."""
    if spec.last is not None:
        last = _last_end(spec, now)
        return Window(start=int(last.at) - int(spec.last), end=int(last.at)), last.notes
    texts = {"start": spec.start, "end": spec.end, "around": spec.around}
    times = {key: parse_instant(text, timezone=spec.timezone) for key, text in texts.items() if text}
    notes = tuple(note for time in times.values() for note in time.notes)
    at = {key: int(time.at) for key, time in times.items()}
    length = int(spec.duration or 0)
    start = at.get("start", at.get("end", 0) - length)
    if "around" in at:
        start = at["around"] - length // 2
    end = at["end"] if spec.duration is None else start + length
    return Window(start=start, end=end), notes


def _last_end(spec: WindowSpec, now: float) -> Instant:
    if spec.until is None:
        return Instant(math.floor((now - _SETTLING) / MINUTE) * MINUTE)
    return latest(parse_clock(spec.until), now=now, timezone=spec.timezone)


def _start_note(wanted: Window, start: int, timezone: str | None) -> str:
    return (
        f"the start moves back from {local_text(wanted.start, timezone)} to {local_text(start, timezone)}:"
        f" {format_duration(wanted.seconds)} becomes {format_duration(wanted.end - start)}"
    )


def _night_notes(spec: WindowSpec, wanted: Window) -> tuple[str, ...]:
    """Notes on what whole days, counted from a wall-clock time, leave out or add when the clocks change within."""
    days, rest = divmod(wanted.seconds, DAY)
    if spec.timezone is None or rest:
        return ()
    if spec.until is not None:
        gap = (_days_before(spec, wanted.end, days), wanted.start)
    elif spec.duration is not None and spec.end is not None and is_wall_clock(spec.end):
        gap = (_same_clock(wanted.end, -days, spec.timezone), wanted.start)
    elif spec.duration is not None and spec.start is not None and is_wall_clock(spec.start):
        gap = (wanted.end, _same_clock(wanted.start, days, spec.timezone))
    else:
        return ()
    return _night_note(wanted.seconds, gap, spec.timezone)


def _days_before(spec: WindowSpec, end: int, days: int) -> int:
    """Where the nightly window of that many days before ended."""
    clock = parse_clock(spec.until or "")
    for _ in range(days):
        end = int(latest(clock, now=end - 1, timezone=spec.timezone).at)
    return end


def _same_clock(at: int, days: int, timezone: str) -> int:
    """The instant of the same wall-clock time some days on."""
    wall = local(at, timezone).replace(tzinfo=None) + timedelta(days=days)
    return int(read_wall(wall, timezone).at)


def _night_note(length: int, gap: tuple[int, int], timezone: str) -> tuple[str, ...]:
    """The note on a gap between the window and whole local days; a gap that runs backwards is an overlap."""
    if gap[0] == gap[1]:
        return ()
    span = f"{local_text(min(gap), timezone)} to {local_text(max(gap), timezone)}"
    what = "is left out" if gap[0] < gap[1] else "is in it as well"
    return (f"{format_duration(length)} is elapsed time and the clocks change: {span} {what}",)

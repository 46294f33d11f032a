"""A run as a drawing: when each snapshot went out and what it waited for, as SVG geometry; pure.

Widths are percents, so that the drawing fills any page without a script; heights are pixels. Times are
epoch seconds. A lane is one organization: lanes wait for nothing but themselves.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo

from orchestrator.core import Limit, Result, Status
from orchestrator.output import sentences
from orchestrator.windows import clock_time, day_text

SERVER_ERROR = 500
"""From here on a status does not say that the request was counted when it was answered."""

OPEN_LANES = 6
"""How many organizations' lanes are open at first: more would hide what comes after them."""

LABELLED = 24
"""A lane with more snapshots than this has no room for their names."""

LABELLED_ROW, COMPACT_LANE, TALLEST_ROW = 24.0, 220.0, 9.0
"""Pixels: a row with a name over its bar; a lane without names, and a row in it at the most."""

BAR_OFFSET, AXIS, TOP = 18.0, 22.0, 4.0
"""Pixels: from a row's top to its bar where it has a name, the axis below a lane, the space above it."""

THINNEST_ROW_WITH_LINKS = 4.0
"""Pixels: in thinner rows the lines from slot to slot would hide the bars."""

LEFT, WIDTH = 1.0, 97.0
"""Percent: where the drawing starts, and how much of the width it takes, so that no mark is cut off."""

PROMPT = 5.0
"""Seconds within which whoever waited takes a slot that came back: the poll of 1 s, and room for a busy store."""

_STEPS = (
    1,
    2,
    5,
    10,
    15,
    30,
    60,
    120,
    300,
    600,
    900,
    1800,
    3600,
    7200,
    10_800,
    21_600,
    43_200,
    86_400,
    172_800,
    604_800,
)

_MOST_TICKS = 6  # as many clock times as fit on a phone


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """A stretch of one snapshot's way: waiting for its `window` or a `slot`, or `sent`."""

    kind: str
    x1: float
    x2: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TimelineRow:
    """One snapshot: its bars, where it was settled (None: it is not) and all of that in words."""

    status: str
    label: str
    words: str
    y: float
    bars: tuple[Bar, ...]
    settled: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Handover:
    """A slot that came back after one answer and went to the next snapshot: a line from here to there."""

    x1: float
    y1: float
    x2: float
    y2: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """A moment on the axis; `anchor` keeps its words inside the drawing."""

    x: float
    label: str
    anchor: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """One organization's snapshots in the order in which they went out."""

    name: str
    rows: tuple[TimelineRow, ...]
    handovers: tuple[Handover, ...]
    height: float
    labelled: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """The lanes, over one axis."""

    lanes: tuple[Lane, ...]
    ticks: tuple[Tick, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _TaskTimes:
    """When one snapshot could have gone, went and was settled; None where it has not come so far."""

    result: Result
    queued: float
    ready: float
    granted: float | None
    sent: float | None
    settled: float | None
    end: float

    @property
    def went(self) -> float:
        """When the waiting was over; connecting is no waiting."""
        return next((at for at in (self.granted, self.sent) if at is not None), self.end)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scale:
    """Where a moment stands between the start and the end of the drawing, in percent of its width."""

    start: float
    end: float

    def __call__(self, at: float) -> float:
        return round(LEFT + WIDTH * (at - self.start) / (self.end - self.start), 3)


def draw_timeline(
    results: Sequence[Result],
    *,
    since: float,
    now: float,
    zone: tzinfo,
    holds: Mapping[str, float] | None = None,
) -> Timeline | None:
    """The drawing of what this run did itself, None if that is nothing.

    `since` is when the run was planned; what waited longer is drawn from there. `holds` is how long a slot of
    an organization stays used after an answer, by its identity: the documented limit's where it is missing.
    """
    holds = holds or {}
    longest = max((holds.get(one.task.organization, Limit().hold) for one in results), default=0.0)
    until = _drawing_end(results, since, now, longest)
    ways = [way for result in results if (way := _task_times(result, since, until))]
    if not ways:
        return None
    start = min(way.queued for way in ways)
    scale = _Scale(start=start, end=max(start + 1, *(way.end for way in ways)))
    lanes: dict[str, list[_TaskTimes]] = {}
    for way in sorted(
        ways, key=lambda way: (way.end if way.sent is None else way.sent, way.result.task.position)
    ):
        lanes.setdefault(way.result.task.organization_name, []).append(way)
    return Timeline(
        lanes=tuple(_lane(name, lanes[name], scale, holds, zone) for name in sorted(lanes)),
        ticks=tuple(_ticks(scale, zone)),
    )


def _drawing_end(results: Sequence[Result], since: float, now: float, hold: float) -> float:
    """Until when waiting is drawn: two holds after the last answer, or a run left alone would be a dot on its axis."""
    last = [one.settled_wall for one in results if one.made_here and one.settled_wall is not None]
    return min(now, max(since, *last) + 2 * hold) if last else now


def _task_times(result: Result, since: float, now: float) -> _TaskTimes | None:
    """The result's times, put in order: clocks may have been set in between."""
    if not result.made_here or result.queued_wall is None:
        return None
    settled = result.settled_wall if result.status.settled else None
    queued = max(result.queued_wall, since)
    under_way = result.status.settled or result.status is Status.SENDING
    sent = None if result.sent_wall is None or not under_way else max(result.sent_wall, queued)
    granted = (
        None if result.granted_wall is None or sent is None else min(max(result.granted_wall, queued), sent)
    )
    end = max(queued, sent or queued, now if settled is None else settled)
    ready = min(max(queued, result.task.ready_at), granted or sent or end)
    return _TaskTimes(
        result=result,
        queued=queued,
        ready=ready,
        granted=granted,
        sent=sent,
        settled=None if settled is None else end,
        end=end,
    )


def _lane(
    name: str, ways: Sequence[_TaskTimes], scale: _Scale, holds: Mapping[str, float], zone: tzinfo
) -> Lane:
    hold = holds.get(ways[0].result.task.organization, Limit().hold)
    labelled = len(ways) <= LABELLED
    step = LABELLED_ROW if labelled else min(TALLEST_ROW, COMPACT_LANE / len(ways))
    offset = BAR_OFFSET if labelled else step / 2
    places = {way.result.task.key: round(TOP + offset + step * number, 2) for number, way in enumerate(ways)}
    before = _find_handovers(ways, hold)
    rows = [
        _row(way, before.get(way.result.task.key), places[way.result.task.key], scale, zone) for way in ways
    ]
    handovers = [
        _handover(before[key], way, places, scale) for way in ways if (key := way.result.task.key) in before
    ]
    return Lane(
        name=name,
        rows=tuple(rows),
        handovers=tuple(handovers) if step >= THINNEST_ROW_WITH_LINKS else (),
        height=round(TOP + step * len(ways) + AXIS, 2),
        labelled=labelled,
    )


def _find_handovers(ways: Sequence[_TaskTimes], hold: float) -> dict[str, _TaskTimes]:
    """Whose slot each snapshot took that waited for one, by its task's key.

    Results do not say which slot they had; but one that was granted as a slot came back waited for it.
    """
    free: list[tuple[float, _TaskTimes]] = []
    found: dict[str, _TaskTimes] = {}
    for way in ways:
        if way.granted is not None:
            for back, other in free:
                if way.ready < back and 0 <= way.granted - back + 0.5 <= PROMPT:
                    found[way.result.task.key] = other
                    free.remove((back, other))
                    break
        if way.settled is not None and way.sent is not None and _is_counted_at_answer(way.result):
            free.append((way.settled + hold, way))
            free.sort(key=lambda one: one[0])
    return found


def _is_counted_at_answer(result: Result) -> bool:
    """Whether its slot came back a period after the answer: one without, or after a server error, stays out longer."""
    return result.http_status is not None and result.http_status < SERVER_ERROR


def _handover(before: _TaskTimes, way: _TaskTimes, places: Mapping[str, float], scale: _Scale) -> Handover:
    """The line from an answer to what took its slot."""
    return Handover(
        x1=scale(before.end),
        y1=places[before.result.task.key],
        x2=scale(way.went),
        y2=places[way.result.task.key],
    )


def _row(way: _TaskTimes, before: _TaskTimes | None, y: float, scale: _Scale, zone: tzinfo) -> TimelineRow:
    label = _label(way.result)
    return TimelineRow(
        status=_word(way.result),
        label=label,
        words=f"{label}: {', '.join(_words(way, before, zone))}",
        y=y,
        bars=tuple(_bars(way, scale)),
        settled=None if way.settled is None else scale(way.settled),
    )


def _bars(way: _TaskTimes, scale: _Scale) -> Iterator[Bar]:
    if way.ready > way.queued:
        yield Bar(kind="window", x1=scale(way.queued), x2=scale(way.ready))
    if way.went > way.ready:
        yield Bar(kind="slot", x1=scale(way.ready), x2=scale(way.went))
    if way.sent is not None:
        yield Bar(kind="sent", x1=scale(way.went), x2=scale(way.end))


def _words(way: _TaskTimes, before: _TaskTimes | None, zone: tzinfo) -> Iterator[str]:
    """What a reader who points at the row is told."""
    yield f"queued {_clock(way.queued, zone)}"
    if way.ready - way.queued >= 1:
        yield f"waited {sentences.duration_text(way.ready - way.queued)} for its window to be complete"
    if way.went - way.ready >= 1:
        whose = f"the slot of {_label(before.result)}" if before else "its turn"
        yield f"waited {sentences.duration_text(way.went - way.ready)} for {whose}"
    if way.sent is not None:
        yield f"sent {_clock(way.sent, zone)}"
    yield (
        f"{sentences.status_word(way.result)} {_clock(way.settled, zone)}"
        if way.settled
        else "not settled yet"
    )


def _label(result: Result) -> str:
    return sentences.snapshot_row(result, UTC).test


def _word(result: Result) -> str:
    return result.status.value if result.status.settled else "pending"


def _clock(at: float, zone: tzinfo) -> str:
    return clock_time(at, None, zone, seconds=True)


def _ticks(scale: _Scale, zone: tzinfo) -> Iterator[Tick]:
    """Round moments of the zone's clocks, as many as fit."""
    length = scale.end - scale.start
    longest = _STEPS[-1] * math.ceil(length / _STEPS[-1] / _MOST_TICKS)
    step = next((one for one in _STEPS if length / one <= _MOST_TICKS), longest)
    midnight = (
        datetime.fromtimestamp(scale.start, zone)
        .replace(hour=0, minute=0, second=0, microsecond=0)
        .timestamp()
    )
    at = midnight + math.ceil((scale.start - midnight) / step) * step
    while at <= scale.end:
        x = scale(at)
        yield Tick(
            x=x, label=_tick_label(at, step, zone), anchor="start" if x < 4 else "end" if x > 94 else "middle"
        )
        at += step


def _tick_label(at: float, step: float, zone: tzinfo) -> str:
    moment = datetime.fromtimestamp(at, zone)
    if step >= timedelta(days=1).total_seconds():
        return day_text(moment.date(), moment.date())
    return f"{moment:%H:%M:%S}" if step < 60 else f"{moment:%H:%M}"

"""A run as a drawing: when each snapshot went out and what it waited for, as SVG geometry; pure.

Widths are percents, so that the drawing fills any page without a script; heights are pixels. Times are
epoch seconds. A lane is one organization: lanes wait for nothing but themselves.
"""

from __future__ import annotations

import math
from bisect import insort
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from itertools import count, groupby, takewhile
from operator import itemgetter

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

_SIGNS = {"created": "created", "failed": "failed", "uncertain": "uncertain: it may have been made"}

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

    @property
    def signs(self) -> tuple[tuple[str, str], ...]:
        """The marks at the end of a row that are in the drawing, each with its meaning."""
        drawn = {row.status for lane in self.lanes for row in lane.rows if row.settled is not None}
        return tuple((status, words) for status, words in _SIGNS.items() if status in drawn)


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
    held = {one.task.organization: Limit().hold for one in results} | dict(holds or {})
    until = _drawing_end(results, since, now, held)
    drawn = [times for result in results if (times := _task_times(result, since, until))]
    if not drawn:
        return None
    start = min(times.queued for times in drawn)
    axis = _Axis(start=start, end=max(start + 1, *(times.end for times in drawn)), zone=zone)
    drawn.sort(key=lambda one: (one.result.task.organization_name, one.sent_or_end, one.result.task.position))
    lanes = groupby(drawn, key=lambda one: one.result.task.organization_name)
    return Timeline(
        lanes=tuple(_lane(name, list(own), axis, held) for name, own in lanes),
        ticks=tuple(axis.ticks()),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Axis:
    """The time between the start and the end of the drawing, on the clocks of a zone."""

    start: float
    end: float
    zone: tzinfo

    def x(self, at: float) -> float:
        """The place of a moment, in percent of the drawing's width."""
        return round(LEFT + WIDTH * (at - self.start) / (self.end - self.start), 3)

    def clock(self, at: float) -> str:
        """The moment as its row tells it."""
        return clock_time(at, None, self.zone, seconds=True)

    def ticks(self) -> Iterator[Tick]:
        """Round moments of the zone's clocks, as many as fit."""
        length = self.end - self.start
        longest = _STEPS[-1] * math.ceil(length / _STEPS[-1] / _MOST_TICKS)
        step = next((one for one in _STEPS if length / one <= _MOST_TICKS), longest)
        first = datetime.fromtimestamp(self.start, self.zone)
        midnight = first.replace(hour=0, minute=0, second=0, microsecond=0).timestamp()
        round_moments = count(midnight + math.ceil((self.start - midnight) / step) * step, step)
        for at in takewhile(lambda at: at <= self.end, round_moments):
            x = self.x(at)
            anchor = "start" if x < 4 else "end" if x > 94 else "middle"
            yield Tick(x=x, label=self._tick_label(at, step), anchor=anchor)

    def _tick_label(self, at: float, step: float) -> str:
        moment = datetime.fromtimestamp(at, self.zone)
        if step >= timedelta(days=1).total_seconds():
            return day_text(moment.date(), moment.date())
        return f"{moment:%H:%M:%S}" if step < 60 else f"{moment:%H:%M}"


@dataclass(frozen=True, slots=True, kw_only=True)
class _TaskTimes:
    """The moments when one snapshot could have gone, went and was settled; None where it has not come so far."""

    result: Result
    queued: float
    ready: float
    granted: float | None
    sent: float | None
    settled: float | None
    end: float

    @property
    def key(self) -> str:
        """The key of its task."""
        return self.result.task.key

    @property
    def label(self) -> str:
        """The test's name as tables have it."""
        return sentences.snapshot_row(self.result, UTC).test

    @property
    def waited_until(self) -> float:
        """The end of its waiting; connecting is no waiting."""
        return self.sent_or_end if self.granted is None else self.granted

    @property
    def sent_or_end(self) -> float:
        """The moment by which a lane is in order."""
        return self.end if self.sent is None else self.sent

    def bars(self, axis: _Axis) -> Iterator[Bar]:
        """Its waiting and its request; nothing is drawn of what took no time."""
        if self.ready > self.queued:
            yield Bar(kind="window", x1=axis.x(self.queued), x2=axis.x(self.ready))
        if self.waited_until > self.ready:
            yield Bar(kind="slot", x1=axis.x(self.ready), x2=axis.x(self.waited_until))
        if self.sent is not None:
            yield Bar(kind="sent", x1=axis.x(self.waited_until), x2=axis.x(self.end))

    def words(self, before: _TaskTimes | None, axis: _Axis) -> Iterator[str]:
        """The same for a reader who points at the row; it took the slot of `before`, if that is known."""
        yield f"queued {axis.clock(self.queued)}"
        if self.ready - self.queued >= 1:
            yield f"waited {sentences.duration_text(self.ready - self.queued)} for its window to be complete"
        if self.waited_until - self.ready >= 1:
            whose = f"the slot of {before.label}" if before else "its turn"
            yield f"waited {sentences.duration_text(self.waited_until - self.ready)} for {whose}"
        if self.sent is not None:
            yield f"sent {axis.clock(self.sent)}"
        word = sentences.status_word(self.result)
        yield f"{word} {axis.clock(self.settled)}" if self.settled else "not settled yet"


def _drawing_end(results: Sequence[Result], since: float, now: float, holds: Mapping[str, float]) -> float:
    """The moment to which waiting is drawn: two holds after the last answer.

    Of a run that was left alone for days the rest would be a dot on its axis.
    """
    last = [one.settled_wall for one in results if one.made_here and one.settled_wall is not None]
    if not last:
        return now
    return min(now, max(since, *last) + 2 * max(holds[one.task.organization] for one in results))


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
    return _TaskTimes(
        result=result,
        queued=queued,
        ready=min(max(queued, result.task.ready_at), granted or sent or end),
        granted=granted,
        sent=sent,
        settled=None if settled is None else end,
        end=end,
    )


def _lane(name: str, drawn: Sequence[_TaskTimes], axis: _Axis, holds: Mapping[str, float]) -> Lane:
    labelled = len(drawn) <= LABELLED
    step = LABELLED_ROW if labelled else min(TALLEST_ROW, COMPACT_LANE / len(drawn))
    top = TOP + (BAR_OFFSET if labelled else step / 2)
    before = _find_handovers(drawn, holds[drawn[0].result.task.organization])
    rows = {
        times.key: _row(times, before.get(times.key), round(top + step * number, 2), axis)
        for number, times in enumerate(drawn)
    }
    handovers = [
        Handover(
            x1=axis.x(before[times.key].end),
            y1=rows[before[times.key].key].y,
            x2=axis.x(times.waited_until),
            y2=rows[times.key].y,
        )
        for times in drawn
        if times.key in before
    ]
    return Lane(
        name=name,
        rows=tuple(rows.values()),
        handovers=tuple(handovers) if step >= THINNEST_ROW_WITH_LINKS else (),
        height=round(TOP + step * len(drawn) + AXIS, 2),
        labelled=labelled,
    )


def _find_handovers(drawn: Sequence[_TaskTimes], hold: float) -> dict[str, _TaskTimes]:
    """By its task's key, the snapshot whose slot another one took that had waited for it.

    Results do not say which slot they had; but one that was granted as a slot came back waited for it.
    """
    free: list[tuple[float, _TaskTimes]] = []
    found: dict[str, _TaskTimes] = {}
    for times in drawn:
        if times.granted is not None:
            for back, other in free:
                if times.ready < back and 0 <= times.granted - back + 0.5 <= PROMPT:
                    found[times.key] = other
                    free.remove((back, other))
                    break
        if times.settled is not None and times.sent is not None and _is_counted_at_answer(times.result):
            insort(free, (times.settled + hold, times), key=itemgetter(0))
    return found


def _is_counted_at_answer(result: Result) -> bool:
    """True if its slot came back a period after the answer: one without, or after a server error, stays out longer."""
    return result.http_status is not None and result.http_status < SERVER_ERROR


def _row(times: _TaskTimes, before: _TaskTimes | None, y: float, axis: _Axis) -> TimelineRow:
    return TimelineRow(
        status=times.result.status.value if times.result.status.settled else "pending",
        label=times.label,
        words=f"{times.label}: {', '.join(times.words(before, axis))}",
        y=y,
        bars=tuple(times.bars(axis)),
        settled=None if times.settled is None else axis.x(times.settled),
    )

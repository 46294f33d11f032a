"""A job file becomes tasks, in order, each with the earliest time it may go; and what `plan` shows.

`make_plan` is pure: the same file, the same surveys and the same time give the same tasks. `forecast`
asks the bucket's own arithmetic when each of them will start, so that plan and run agree.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from orchestrator import windows
from orchestrator.bucket import Bucket, Demand, Go, Token, decide, settled_return
from orchestrator.durations import format_duration
from orchestrator.errors import SelectionError
from orchestrator.gaps import unreadable
from orchestrator.homes import Place, choose_each
from orchestrator.model import (
    KEY_AS_TEXT,
    KEY_FIELD,
    MOST_SNAPSHOTS,
    Job,
    JobFile,
    Limit,
    Priority,
    Reason,
    Task,
    Window,
)
from orchestrator.moments import lookouts, since_alert, starts_with_alert
from orchestrator.selectors import Choice, Chosen, Listing, require, require_lists

_KEY_MARK = "\ufdd1"  # where the template has its key, and no name has anything: no character

ASSUMED_LATENCY = 1.0
"""Seconds that a plan allows for each answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What was found out about an organization before planning.

    `tests` are the configured tests by account group, with what else its lists say; a group that could not
    be read is missing.
    """

    name: str
    identity: str
    tests: Mapping[str, Listing] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The tasks of a run in the order in which they go, and what the user should know about them."""

    tasks: tuple[Task, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """When a task will start, in seconds from now (None: unknown), and in which group of slots."""

    task: Task
    after: float | None
    group: int


def make_plan(jobfile: JobFile, surveys: Mapping[str, Survey], *, now: float) -> Plan:
    """The run's tasks; `now` is epoch seconds by the API's clock. The same snapshot asked for twice is one task."""
    found: dict[str, Task] = {}
    notes: dict[str, None] = {}
    made: list[Choice] = []
    asked = 0
    for job in jobfile.jobs:
        choices = _choices(job, jobfile, surveys, now)
        require(job, choices)
        made += choices.values()
        resolved = [] if starts_with_alert(job) else _windows(job, now, notes)
        for name, chosen in choices.items():
            notes.update(dict.fromkeys(chosen.notes))
            spans = _since_alert(job, chosen, now, notes) if starts_with_alert(job) else resolved
            asked += len(chosen.tests) * len(spans)
            _check_size(asked)
            for task in _tasks(job, surveys[name], chosen, spans, now):
                _keep(found, task, notes)
    require_lists(made)
    ordered = (replace(task, position=at) for at, task in enumerate(found.values()))
    return Plan(tasks=tuple(ordered), notes=tuple(notes))


def _check_size(asked: int) -> None:
    """Raise before so many tasks are made that no run could make them."""
    if asked > MOST_SNAPSHOTS:
        raise SelectionError(
            f"more than {MOST_SNAPSHOTS:,} snapshots are asked for, so nothing was sent: select fewer tests, or"
            " split the job file"
        )


def _keep(found: dict[str, Task], task: Task, notes: dict[str, None]) -> None:
    """Keep the first of those that are one snapshot: the highest priority and every refusal hold for it."""
    before = found.setdefault(task.key, task)
    if before is task:
        return
    notes[
        f"test {task.test_id} {_span(task.window)}: wanted by {before.job_name} and {task.job_name}; made once"
    ] = None
    priority, refusal = min(before.priority, task.priority), before.refusal or task.refusal
    if (priority, refusal) != (before.priority, before.refusal):
        found[task.key] = replace(before, priority=priority, refusal=refusal)


def _windows(job: Job, now: float, notes: dict[str, None]) -> list[Window]:
    resolved: dict[Window, None] = {}
    for spec in job.windows:
        resolution = windows.resolve(spec, now=now)
        resolved.update(dict.fromkeys(resolution.windows))
        notes.update((f"{job.name}: {note}", None) for note in resolution.notes)
    for window in resolved:
        old = windows.too_old(window, now=now)
        if old:
            notes[f"{job.name}: {old}"] = None
    return list(resolved)


def _choices(job: Job, jobfile: JobFile, surveys: Mapping[str, Survey], now: float) -> dict[str, Choice]:
    """The tests that the job means, by organization."""
    places = {
        name: Place(
            listings=surveys[name].tests,
            own=job.account_group or jobfile.organizations[name].account_group or "",
        )
        for name in job.organizations
        if name in surveys
    }
    return choose_each(job, places, moments=lookouts(job, now=now))


def _since_alert(job: Job, choice: Choice, now: float, notes: dict[str, None]) -> list[Window]:
    """The job's windows in one organization, whose alerts say where they start."""
    if not choice.tests:
        return []
    starts = [one.alerting_since for one in choice.tests if one.alerting_since is not None]
    if choice.blind and not starts:
        raise unreadable("since alert: nobody knows when an alert began", choice.blind)
    specs, told = since_alert(job, starts, now=now)
    notes.update(dict.fromkeys(told))
    return _windows(replace(job, windows=specs), now, notes)


def _tasks(
    job: Job, survey: Survey, choice: Choice, resolved: Sequence[Window], now: float
) -> Iterable[Task]:
    for chosen in choice.tests:
        for window in resolved:
            yield _task(job, survey, chosen, window, now)


def _task(job: Job, survey: Survey, chosen: Chosen, window: Window, now: float) -> Task:
    return Task(
        organization=survey.identity,
        organization_name=survey.name,
        account_group=chosen.account_group,
        test_id=chosen.id,
        test_name=chosen.name,
        window=window,
        is_public=job.is_public,
        display_name=_display_name(job, survey, chosen, window),
        job_name=job.name,
        priority=job.priority,
        ready_at=window.end + job.data_delay if window.end > now else 0.0,
        on_uncertain=job.on_uncertain,
        expect_saved_event=job.expect_saved_event,
        refusal=chosen.refusal,
    )


def _display_name(job: Job, survey: Survey, chosen: Chosen, window: Window) -> str:
    """The user's template filled in, but for `{key}`, which stays until the store knows the generation."""
    filled = job.display_name.format(
        test=chosen.name or chosen.id,
        test_id=chosen.id,
        start=_minute(window.start),
        end=_minute(window.end),
        duration=format_duration(window.seconds),
        job=job.name,
        organization=survey.name,
        key=_KEY_MARK,
    )
    return filled.replace(KEY_FIELD, KEY_AS_TEXT).replace(_KEY_MARK, KEY_FIELD)


def _minute(epoch: float) -> str:
    return windows.utc_text(epoch).replace(":00Z", "Z")


def _span(window: Window) -> str:
    return f"{_minute(window.start)} +{format_duration(window.seconds)}"


def forecast(
    tasks: Sequence[Task],
    bucket: Bucket,
    limit: Limit,
    *,
    now: float,
    epoch: float,
    latency: float = ASSUMED_LATENCY,
) -> list[Start]:
    """When each task of one organization will start, if nothing else happens, in the order of starting.

    `now` is store time, `epoch` the API's calendar at that moment. The first request goes alone.
    """
    return _Forecast(tasks, bucket, limit, now=now, epoch=epoch, latency=latency).starts()


class _Forecast:
    """The bucket's own decisions, asked one after another at the times it names."""

    def __init__(
        self,
        tasks: Sequence[Task],
        bucket: Bucket,
        limit: Limit,
        *,
        now: float,
        epoch: float,
        latency: float,
    ) -> None:
        self._limit, self._latency, self._origin, self._now = limit, latency, now, now
        known = {t.number: t for t in bucket.tokens}
        tokens = [known.get(n, Token(number=n)) for n in range(1, limit.snapshots + 1)]
        self._bucket = replace(bucket, tokens=tokens)
        self._later: dict[Priority, list[tuple[float, int, Task]]] = defaultdict(list)
        self._due: dict[Priority, list[tuple[int, Task]]] = defaultdict(list)
        for task in tasks:
            due = now + max(0.0, task.ready_at - epoch)
            heapq.heappush(self._later[task.priority], (due, task.position, task))

    def starts(self) -> list[Start]:
        starts: list[Start] = []
        while (demand := self._demand()) is not None:
            decision = decide(self._bucket, demand, self._limit, self._now)
            self._bucket = replace(self._bucket, held=decision.held)
            if isinstance(decision.outcome, Go):
                starts.append(self._grant(decision.outcome, len(starts)))
            elif decision.outcome.until is None:
                break
            else:
                self._now = max(decision.outcome.until, self._now)
        return starts + self._unknown(len(starts))

    def _demand(self) -> Demand | None:
        mine: dict[Priority, tuple[float, Reason]] = {}
        for priority, later in self._later.items():
            while later and later[0][0] <= self._now:
                _, position, task = heapq.heappop(later)
                heapq.heappush(self._due[priority], (position, task))
            if self._due[priority]:
                mine[priority] = (self._now, Reason.OWN_QUOTA)
            elif later:
                mine[priority] = (later[0][0], Reason.WINDOW_NOT_OVER)
        return Demand(mine=mine) if mine else None

    def _grant(self, go: Go, index: int) -> Start:
        _, task = heapq.heappop(self._due[go.priority])
        answered = self._now + self._latency
        tokens = [
            Token(number=t.number, returns_at=settled_return(self._limit, answered))
            if t.number == go.token
            else t
            for t in self._bucket.tokens
        ]
        self._bucket = replace(self._bucket, tokens=tokens, last_grant=self._now, gate=None)
        start = Start(task=task, after=self._now - self._origin, group=index // self._limit.usable + 1)
        if index == 0:
            self._now = answered
        return start

    def _unknown(self, index: int) -> list[Start]:
        left = [task for due in self._due.values() for _, task in due]
        left += [task for later in self._later.values() for _, _, task in later]
        left.sort(key=lambda t: (t.priority, t.position))
        return [
            Start(task=task, after=None, group=at // self._limit.usable + 1)
            for at, task in enumerate(left, start=index)
        ]


def estimate_done(left: int, *, until: float, limit: Limit) -> float:
    """About when the last of `left` tasks will have gone if the next goes at `until` (any clock)."""
    return until + max(0, -(-left // limit.usable) - 1) * (limit.hold + ASSUMED_LATENCY)

"""A job file becomes tasks, in order, each with the earliest time it may go; and what `plan` shows.

`make_plan` is pure: the same file, the same surveys and the same time give the same tasks. `forecast`
asks the bucket's own arithmetic when each of them will start, so that plan and run agree.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from orchestrator import windows
from orchestrator.core import (
    KEY_AS_TEXT,
    KEY_FIELD,
    MOST_SNAPSHOTS,
    Job,
    JobFile,
    SelectionError,
    Task,
    Window,
    starts_with_alert,
)
from orchestrator.planning.alerts import lookouts, since_alert
from orchestrator.planning.selection import (
    Listing,
    Place,
    SelectedTest,
    Selection,
    choose_each,
    require,
    require_lists,
)
from orchestrator.planning.unreadable import unreadable
from orchestrator.windows import format_duration

_KEY_MARK = "\ufdd1"  # where the template has its key, and no name has anything: no character


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


def make_plan(jobfile: JobFile, surveys: Mapping[str, Survey], *, now: float) -> Plan:
    """The run's tasks; `now` is epoch seconds by the API's clock. The same snapshot asked for twice is one task."""
    found: dict[str, Task] = {}
    notes: dict[str, None] = {}
    made: list[Selection] = []
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


def _choices(job: Job, jobfile: JobFile, surveys: Mapping[str, Survey], now: float) -> dict[str, Selection]:
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


def _since_alert(job: Job, choice: Selection, now: float, notes: dict[str, None]) -> list[Window]:
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
    job: Job, survey: Survey, choice: Selection, resolved: Sequence[Window], now: float
) -> Iterable[Task]:
    for chosen in choice.tests:
        for window in resolved:
            yield _task(job, survey, chosen, window, now)


def _task(job: Job, survey: Survey, chosen: SelectedTest, window: Window, now: float) -> Task:
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


def _display_name(job: Job, survey: Survey, chosen: SelectedTest, window: Window) -> str:
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

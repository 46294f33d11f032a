"""The plan of a run: a job file's tasks, in order, each with the earliest time it may go.

Pure: the same file, the same surveys and the same time give the same tasks.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC

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
    utc_text,
)
from orchestrator.planning.alerts import alert_windows, windows_since_alert
from orchestrator.planning.discovery import OrganizationSurvey
from orchestrator.planning.selection import (
    SelectedTest,
    Selection,
    check_lists,
    check_selection,
    make_scope,
    select_tests_by_organization,
)
from orchestrator.planning.unreadable import unreadable_error
from orchestrator.windows import format_duration

_KEY_MARK = "\ufdd1"  # where the template has its key, and no name has anything: no character


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The tasks of a run in the order in which they go, and what the user should know about them."""

    tasks: tuple[Task, ...]
    notes: tuple[str, ...] = ()


def make_plan(
    jobfile: JobFile,
    surveys: Mapping[str, OrganizationSurvey],
    identities: Mapping[str, str],
    *,
    now: float,
) -> Plan:
    """The run's tasks for the organizations that were surveyed.

    `identities` says under which identity the store knows each; `now` is epoch seconds by the API's clock.
    The same snapshot asked for twice is one task.
    """
    scheduler = _Scheduler(jobfile, surveys, identities, now)
    for job in jobfile.jobs:
        scheduler.add(job)
    check_lists(scheduler.selections)
    ordered = (replace(wish.task, position=at) for at, wish in enumerate(scheduler.wishes))
    return Plan(tasks=tuple(ordered), notes=tuple(scheduler.notes))


@dataclass(slots=True, kw_only=True)
class _Wish:
    """A task as the jobs want it: in which account group (its id, empty where unknown), and if that was written.

    `listed` says that the account group has the test.
    """

    task: Task
    group: str
    written: bool
    listed: bool

    def is_for_same(self, other: _Wish) -> bool:
        """True if both are for one snapshot: of a test that two account groups share, unless both were written."""
        shared = self.listed and other.listed and not (self.written and other.written)
        return self.task.key == other.task.key or self.group == other.group or shared

    @property
    def rank(self) -> tuple[bool, int, str]:
        """Of two wishes for one snapshot the first one's account group is taken: a written one, then the lowest."""
        return not self.written, len(self.group), self.group


class _Scheduler:
    """The tasks that are wanted, the notes and the selections of the jobs that were added so far."""

    def __init__(
        self,
        jobfile: JobFile,
        surveys: Mapping[str, OrganizationSurvey],
        identities: Mapping[str, str],
        now: float,
    ) -> None:
        self.wishes: list[_Wish] = []
        self.notes: dict[str, None] = {}
        self.selections: list[Selection] = []
        self._jobfile, self._surveys, self._identities, self._now = jobfile, surveys, identities, now
        self._asked = 0
        self._by_snapshot: dict[tuple[str, str, Window, bool], list[_Wish]] = defaultdict(list)

    def add(self, job: Job) -> None:
        """Add the tasks of one job, organization by organization; SelectionError when it means none."""
        selections = self._select(job)
        check_selection(job, selections)
        self.selections += selections.values()
        common = None if job.starts_with_alert else self._windows(job)
        for name, selection in selections.items():
            listings = self._surveys[name].listings
            saved_events = {aid: listing.saved_events for aid, listing in listings.items()}
            ids = {aid: listing.group_id for aid, listing in listings.items()}
            written = (job.account_group or self._jobfile.organizations[name].account_group) is not None
            self.notes.update(dict.fromkeys(selection.notes))
            resolved = self._windows_since_alert(job, selection) if common is None else common
            self._asked += len(selection.tests) * len(resolved)
            _check_size(self._asked)
            for test, window in itertools.product(selection.tests, resolved):
                task = self._task(job, name, test, window)
                task = replace(task, saved_events=saved_events.get(task.account_group))
                group = ids.get(task.account_group) or task.account_group
                self._keep(_Wish(task=task, group=group, written=written, listed=test.test is not None))

    def _select(self, job: Job) -> dict[str, Selection]:
        """The tests that the job means, by organization."""
        scopes = [
            make_scope(job, self._jobfile.organizations[name], self._surveys[name].listings)
            for name in job.organizations
            if name in self._surveys
        ]
        return select_tests_by_organization(job, scopes, moments=alert_windows(job, now=self._now))

    def _windows(self, job: Job) -> list[Window]:
        resolved: dict[Window, None] = {}
        for spec in job.windows:
            resolution = windows.resolve_window(spec, now=self._now)
            resolved.update(dict.fromkeys(resolution.windows))
            self.notes.update((f"{job.name}: {note}", None) for note in resolution.notes)
        warnings = (windows.age_warning(window, now=self._now) for window in resolved)
        self.notes.update((f"{job.name}: {warning}", None) for warning in warnings if warning)
        return list(resolved)

    def _windows_since_alert(self, job: Job, selection: Selection) -> list[Window]:
        """The job's windows in one organization, whose alerts say where they start."""
        if not selection.tests:
            return []
        starts = [one.alerting_since for one in selection.tests if one.alerting_since is not None]
        if selection.unreadable_alerts and not starts:
            raise unreadable_error(
                "since alert: nobody knows when an alert began", selection.unreadable_alerts
            )
        specs, notes = windows_since_alert(job, starts, now=self._now)
        self.notes.update(dict.fromkeys(notes))
        return self._windows(replace(job, windows=specs))

    def _task(self, job: Job, organization: str, test: SelectedTest, window: Window) -> Task:
        return Task(
            organization=self._identities[organization],
            organization_name=organization,
            account_group=test.account_group,
            test_id=test.id,
            test_name=test.name,
            window=window,
            is_public=job.is_public,
            display_name=_display_name(job, organization, test, window),
            job_name=job.name,
            priority=job.priority,
            ready_at=window.end + job.data_delay if window.end > self._now else 0.0,
            on_uncertain=job.on_uncertain,
            expect_saved_event=job.expect_saved_event,
            refusal=test.refusal,
        )

    def _keep(self, wish: _Wish) -> None:
        """Keep one of those that are one snapshot: the highest priority and every refusal hold for it."""
        task = wish.task
        known = self._by_snapshot[task.organization, task.test_id, task.window, task.is_public]
        before = next((one for one in known if one.is_for_same(wish)), None)
        if before is None:
            known.append(wish)
            self.wishes.append(wish)
            return
        self._note_shared(before, wish)
        kept = min(before, wish, key=lambda one: one.rank)
        priority = min(before.task.priority, task.priority)
        refusal = before.task.refusal or task.refusal
        before.group, before.written = kept.group, kept.written
        before.task = replace(kept.task, priority=priority, refusal=refusal)

    def _note_shared(self, one: _Wish, other: _Wish) -> None:
        jobs = f"{one.task.job_name} and {other.task.job_name}"
        window = windows.window_text(one.task.window, UTC)
        shared = one.group != other.group
        where = f" in account group {min(one, other, key=lambda wish: wish.rank).group}" if shared else ""
        self.notes[f"test {one.task.test_id}, window {window}: wanted by {jobs}; made once{where}"] = None


def _check_size(asked: int) -> None:
    """Raise before so many tasks are made that no run could make them."""
    if asked > MOST_SNAPSHOTS:
        raise SelectionError(
            f"more than {MOST_SNAPSHOTS:,} snapshots are asked for, so nothing was sent: select fewer tests, or"
            " split the job file"
        )


def _display_name(job: Job, organization: str, test: SelectedTest, window: Window) -> str:
    """The user's template filled in, but for `{key}`, which stays until the store knows the generation."""
    filled = job.display_name.format(
        test=test.name or test.id,
        test_id=test.id,
        start=_minute(window.start),
        end=_minute(window.end),
        duration=format_duration(window.seconds),
        job=job.name,
        organization=organization,
        key=_KEY_MARK,
    )
    return filled.replace(KEY_FIELD, KEY_AS_TEXT).replace(_KEY_MARK, KEY_FIELD)


def _minute(epoch: float) -> str:
    return utc_text(epoch).replace(":00Z", "Z")

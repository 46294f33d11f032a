"""The plan of a run: a job file's tasks, in order, each with the earliest time it may go.

Pure: the same file, the same surveys and the same time give the same tasks, as often as they are made. Two organizations
never want one snapshot, since the organization's identity is part of its key: tasks are made one organization at a time.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC
from typing import NamedTuple

from orchestrator import windows
from orchestrator.core import (
    KEY_AS_TEXT,
    KEY_FIELD,
    MOST_SNAPSHOTS,
    Job,
    JobFile,
    ListedEvents,
    Priority,
    RefusedOrganization,
    SelectionError,
    Task,
    Window,
    plural,
    utc_text,
)
from orchestrator.planning.alerts import alert_windows, windows_since_alert
from orchestrator.planning.discovery import OrganizationSurvey
from orchestrator.planning.refusal import check_lists, check_part, check_rest, refuse_selections
from orchestrator.planning.selection import (
    SelectedTest,
    Selection,
    make_scope,
    select_tests_by_organization,
)
from orchestrator.planning.unreadable import unreadable_error
from orchestrator.windows import format_duration

SHARED_SHOWN = 20
"""Snapshots wanted by several jobs that have a note each; the others are counted."""

_KEY_MARK = "\ufdd1"  # where the template has its key, and no name has anything: no character


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The tasks of a run, organization by organization, and what the user should know about them.

    The tasks are made whenever they are asked for, by `make` from the identity of an organization, and always the same:
    so a million of them are never there at once. `asked` is how many snapshots the jobs ask for, and `counts` how many
    of each organization that is planned, by identity; those that several jobs want are among them more than once. The `refused` organizations are those of which nothing, or not all that was
    asked for, is planned.
    """

    organizations: tuple[str, ...]
    make: Callable[[str], Sequence[Task]]
    asked: int
    counts: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    refused: tuple[RefusedOrganization, ...] = ()

    def __iter__(self) -> Iterator[Task]:
        """All tasks in the order in which they go."""
        return (task for identity in self.organizations for task in self.make(identity))

    def change(self, change: Callable[[Sequence[Task]], Sequence[Task]], *notes: str) -> Plan:
        """The plan with each organization's tasks changed, and more notes."""
        return replace(self, make=lambda identity: change(self.make(identity)), notes=(*self.notes, *notes))


def make_plan(
    jobfile: JobFile,
    surveys: Mapping[str, OrganizationSurvey],
    identities: Mapping[str, str],
    *,
    now: float,
) -> Plan:
    """The run's tasks for the organizations that were surveyed; all that is wrong with any job is raised here.

    `identities` says under which identity the store knows each; `now` is epoch seconds by the API's clock.
    The same snapshot asked for twice is one task.
    """
    scheduler = _Scheduler(jobfile, surveys, identities, now)
    for job in jobfile.jobs:
        scheduler.add(job)
    check_lists(scheduler.selections)
    check_rest(scheduler.refused, surveys)
    plan = scheduler.plan()
    check_part(jobfile.jobs, plan, plan.refused)
    return plan


class _Choice(NamedTuple):
    """The snapshots that a job wants of one organization, under the name that it has in the file: tests times windows."""

    job: Job
    organization: str
    tests: tuple[SelectedTest, ...]
    windows: tuple[Window, ...]


@dataclass(slots=True, kw_only=True)
class _Wish:
    """A snapshot as the jobs want it: in which account group (its id, empty where unknown), and if that was written."""

    choice: _Choice
    test: SelectedTest
    window: Window
    group: str
    written: bool
    priority: Priority
    refusal: str | None

    def is_for_same(self, other: _Wish) -> bool:
        """True if both are for one snapshot: of a test that two account groups share, unless both were written."""
        listed = self.test.test is not None and other.test.test is not None
        shared = listed and not (self.written and other.written)
        return self.test.account_group == other.test.account_group or self.group == other.group or shared

    @property
    def rank(self) -> tuple[bool, int, str]:
        """Of two wishes for one snapshot the first one's account group is taken: a written one, then the lowest."""
        return not self.written, len(self.group), self.group


class _Wishes:
    """The wishes of the jobs for one organization: each snapshot once, in the order in which it was first wanted."""

    def __init__(self) -> None:
        self.all: list[_Wish] = []
        self.shared: list[str] = []  # a note on each snapshot that is wanted more than once
        self._by_snapshot: dict[tuple[str, Window, bool], list[_Wish]] = defaultdict(list)

    def add(self, wish: _Wish) -> None:
        """Keep one of those that are one snapshot: the highest priority and every refusal hold for it."""
        known = self._by_snapshot[wish.test.id, wish.window, wish.choice.job.is_public]
        before = next((one for one in known if one.is_for_same(wish)), None)
        if before is None:
            known.append(wish)
            self.all.append(wish)
            return
        self.shared.append(_describe_shared(before, wish))
        before.priority = min(before.priority, wish.priority)
        before.refusal = before.refusal or wish.refusal
        if wish.rank < before.rank:
            before.choice, before.test = wish.choice, wish.test
            before.group, before.written = wish.group, wish.written


class _Scheduler:
    """The snapshots that are wanted of each organization, the notes and the selections of the jobs that were added so far."""

    def __init__(
        self,
        jobfile: JobFile,
        surveys: Mapping[str, OrganizationSurvey],
        identities: Mapping[str, str],
        now: float,
    ) -> None:
        self.selections: list[Selection] = []
        self.refused: dict[str, RefusedOrganization] = {}
        self._notes: dict[str, None] = {}
        self._jobfile, self._surveys, self._identities, self._now = jobfile, surveys, identities, now
        self._asked = 0
        self._choices: dict[str, list[_Choice]] = defaultdict(list)  # by identity

    def add(self, job: Job) -> None:
        """Add what one job wants, organization by organization, and note which of these are refused."""
        selections = self._select(job)
        for refused in refuse_selections(job, selections, self._surveys):
            self.refused.setdefault(refused.name, refused)
        self.selections += selections.values()
        common = None if job.starts_with_alert else self._windows(job)
        for name, selection in selections.items():
            if selection.tests or name not in self.refused:  # why it is refused says more
                self._notes.update(dict.fromkeys(selection.notes))
            resolved = self._windows_since_alert(job, selection) if common is None else common
            self._asked += len(selection.tests) * len(resolved)
            _check_size(self._asked)
            if selection.tests:
                choice = _Choice(job=job, organization=name, tests=selection.tests, windows=tuple(resolved))
                self._choices[self._identities[name]].append(choice)

    def plan(self) -> Plan:
        """The plan of what was added, but for the organizations that are refused."""
        for identity, choices in list(self._choices.items()):
            kept = [choice for choice in choices if choice.organization not in self.refused]
            self._choices[identity] = kept
            if not kept:
                del self._choices[identity]
        shared = (
            note
            for identity, choices in self._choices.items()
            if len(choices) > 1
            for note in self._wishes(identity).shared
        )
        notes = (*self._notes, *itertools.islice(shared, SHARED_SHOWN))
        more = sum(1 for _ in shared)
        if more:
            notes = (*notes, f"{plural(more, 'more snapshot')} wanted by several jobs: each is made once")
        return Plan(
            organizations=tuple(self._choices),
            make=self._make_tasks,
            asked=self._asked,
            counts={
                identity: sum(len(choice.tests) * len(choice.windows) for choice in choices)
                for identity, choices in self._choices.items()
            },
            notes=notes,
            refused=tuple(self.refused.values()),
        )

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
            self._notes.update((f"{job.name}: {note}", None) for note in resolution.notes)
        warnings = (windows.age_warning(window, now=self._now) for window in resolved)
        self._notes.update((f"{job.name}: {warning}", None) for warning in warnings if warning)
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
        self._notes.update(dict.fromkeys(notes))
        return self._windows(replace(job, windows=specs))

    # -- the tasks of one organization -------------------------------------------------------------------
    def _wishes(self, identity: str) -> _Wishes:
        wishes = _Wishes()
        for choice in self._choices[identity]:
            job, listings = choice.job, self._surveys[choice.organization].listings
            own = self._jobfile.organizations[choice.organization].account_group
            written = (job.account_group or own) is not None
            ids = {aid: listing.group_id for aid, listing in listings.items()}
            for test, window in itertools.product(choice.tests, choice.windows):
                wish = _Wish(
                    choice=choice,
                    test=test,
                    window=window,
                    group=ids.get(test.account_group) or test.account_group,
                    written=written,
                    priority=job.priority,
                    refusal=test.refusal,
                )
                wishes.add(wish)
        return wishes

    def _make_tasks(self, identity: str) -> list[Task]:
        names = {choice.organization for choice in self._choices[identity]}
        saved_events = {
            (name, aid): listing.saved_events
            for name in names
            for aid, listing in self._surveys[name].listings.items()
        }
        return [
            self._task(
                identity,
                wish,
                position,
                saved_events.get((wish.choice.organization, wish.test.account_group)),
            )
            for position, wish in enumerate(self._wishes(identity).all)
        ]

    def _task(self, identity: str, wish: _Wish, position: int, saved_events: ListedEvents | None) -> Task:
        job, test, window = wish.choice.job, wish.test, wish.window
        return Task(
            organization=identity,
            organization_name=wish.choice.organization,
            account_group=test.account_group,
            test_id=test.id,
            test_name=test.name,
            window=window,
            is_public=job.is_public,
            display_name=_display_name(job, wish.choice.organization, test, window),
            job_name=job.name,
            priority=wish.priority,
            position=position,
            ready_at=window.end + job.data_delay if window.end > self._now else 0.0,
            on_uncertain=job.on_uncertain,
            expect_saved_event=job.expect_saved_event,
            refusal=wish.refusal,
            saved_events=saved_events,
        )


def _describe_shared(one: _Wish, other: _Wish) -> str:
    """The note that two jobs want one snapshot, and where it is made if they named two account groups."""
    jobs = f"{one.choice.job.name} and {other.choice.job.name}"
    window = windows.window_text(one.window, UTC)
    shared = one.group != other.group
    where = f" in account group {min(one, other, key=lambda wish: wish.rank).group}" if shared else ""
    return f"test {one.test.id}, window {window}: wanted by {jobs}; made once{where}"


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

"""The nouns of a job file: jobs, windows, organizations, limits.

All are frozen values; a change of state is a new value. Seconds are floats (whole seconds where the
API takes no fractions), instants inside the program are seconds since the Unix epoch in UTC.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum, StrEnum
from fnmatch import fnmatchcase
from typing import NamedTuple

from orchestrator.core.errors import UsageError
from orchestrator.core.text import first_names
from orchestrator.core.urls import normalise_url

MOST_SNAPSHOTS = 1_000_000
"""Snapshots of one run: a hundred for each of ten thousand organizations."""

DEFAULT_BASE_URL = "https://api.thousandeyes.com/v7"
"""The documented production address of version 7 of the API."""

MOST_SLOTS = 1000
"""The most snapshots in a period that a limit may be set to: far above the documented 5 of an organization."""

DEFAULT_DISPLAY_NAME = "{test} {start} +{duration} [{key}]"
"""The name of a snapshot: it ends in the task's short key, by which a lost one can be found."""

SINCE_ALERT = "alert"
"""The `start` of a window that starts where the earliest of its tests' alerts did."""


class Priority(IntEnum):
    """Which task goes first when two want the same slot; a lower number goes first."""

    INCIDENT = 0
    NORMAL = 1
    BATCH = 2

    @property
    def word(self) -> str:
        """The priority as the job file writes it."""
        return self.name.lower()


class Pace(StrEnum):
    """How an organization's slots are spent: as soon as they are free, or spread over the period."""

    BURST = "burst"
    EVEN = "even"


class OnUncertain(StrEnum):
    """The policy for a task whose request may or may not have been carried out."""

    HOLD = "hold"
    RESEND = "resend"


class Fit(StrEnum):
    """The treatment of a window whose length the API does not take."""

    EXACT = "exact"  # refused, with the nearest lengths named
    COVER = "cover"  # the end stays, the start moves back to the smallest length that covers it
    SPLIT = "split"  # tiled with the fewest lengths that the API takes


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Window:
    """A time window `[start, end)` in whole seconds since the epoch, UTC."""

    start: int
    end: int

    @property
    def seconds(self) -> int:
        """Its length in elapsed seconds."""
        return self.end - self.start


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """The snapshot limit of one organization, as this program keeps it (times in seconds).

    The defaults are ThousandEyes' documented limit of 5 snapshots per organization in 5 minutes, a
    guard against rounding, and the grace within which a server may still act on an aborted request.
    """

    snapshots: int = 5
    per: float = 300.0
    guard: float = 1.0
    grace: float = 30.0
    use: int = 5
    pace: Pace = Pace.BURST

    @property
    def usable(self) -> int:
        """How many tokens this program may have out at once."""
        return min(self.use, self.snapshots)

    @property
    def hold(self) -> float:
        """How long a token stays out after the answer was seen: the period and the guard."""
        return self.per + self.guard

    @property
    def poll(self) -> float:
        """How often a waiting process looks at the store again: another one may have freed a token."""
        return min(1.0, self.per / 300)


class RetryRules(NamedTuple):
    """How often, and for how long after its first byte, one task is attempted."""

    attempts: int = 8
    within: float = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Http:
    """How the API is reached. `timeout` is the total deadline of one attempt in seconds."""

    timeout: float = 60.0
    proxy: str | None = None
    ca_bundle: str | None = None


class CredentialSource(NamedTuple):
    """Where an organization's API token is read from: exactly one of a file's path, a variable's name."""

    file: str | None = None
    env: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Organization:
    """A ThousandEyes organization as a job file describes it, by the user's own name for it."""

    name: str
    credential: CredentialSource
    base_url: str = DEFAULT_BASE_URL
    account_group: str | None = None
    org_id: str | None = None
    ping: Ping | None = None
    limit: Limit = field(default_factory=Limit)


@dataclass(frozen=True, slots=True, kw_only=True)
class TestRef:
    """A test by its id, with the name it must have before anything is sent, if one was written."""

    __test__ = False  # not a pytest class

    id: str
    test_name: str | None = None


class Select(NamedTuple):
    """Which tests are meant without naming ids: every key that is set has to hold, any value of it."""

    test_name: tuple[str, ...] = ()
    type: tuple[str, ...] = ()
    tag: tuple[str, ...] = ()
    alerting: bool | None = None
    enabled: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowSpec:
    """A time window as it was written: absolute or relative, resolved when the run is planned.

    Instants are the user's text (`2026-11-20T14:00:00Z`, or wall-clock time in `timezone`), lengths are
    seconds. Which keys go together is checked by `orchestrator.windows.check_window`.
    """

    start: str | None = None
    end: str | None = None
    duration: float | None = None
    last: float | None = None
    until: str | None = None
    around: str | None = None
    fit: Fit = Fit.EXACT
    timezone: str | None = None
    name: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One entry of a job file's `jobs`, with the file's defaults filled in.

    `organizations` are names of the file's organizations, globs resolved. Entries of `exclude` are test
    ids (digits) or name patterns. Of the tests
    that it means only those go that match one of `only`, if there are any: a part of the job. `min_tests` and
    `max_tests` hold for each organization. `everywhere` looks in every account group that the credential opens, not
    in one. `place` is where the entry stands, as `file:line:column`.
    """

    name: str
    organizations: tuple[str, ...]
    account_group: str | None = None
    tests: tuple[TestRef, ...] = ()
    select: Select | None = None
    exclude: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    max_tests: int | None = None
    min_tests: int | None = None
    windows: tuple[WindowSpec, ...] = ()
    priority: Priority = Priority.NORMAL
    display_name: str = DEFAULT_DISPLAY_NAME
    is_public: bool = False
    expect_saved_event: bool | None = None
    on_uncertain: OnUncertain = OnUncertain.HOLD
    data_delay: float = 60.0
    everywhere: bool = False
    place: str = ""

    @property
    def needs_lists(self) -> bool:
        """True if nobody can tell its tests without the API's lists: they are selected, or their names are checked."""
        by_name = any(test.test_name for test in self.tests) or not all(map(str.isdecimal, self.only))
        return self.select is not None or self.everywhere or by_name

    @property
    def least_tests(self) -> int:
        """How many tests it means at least in each organization: with a selector of a file one, unless that says otherwise.

        Of a part of it nobody knows; but where lists are needed it takes one to see that they were read.
        """
        if self.only:
            return int(self.needs_lists)
        if self.min_tests is not None:
            return self.min_tests
        return int(self.select is not None and bool(self.place))

    @property
    def starts_with_alert(self) -> bool:
        """True if a window of the job starts where the earliest of its tests' alerts did."""
        return any(spec.start == SINCE_ALERT for spec in self.windows)


class Notify(NamedTuple):
    """Somebody to tell when a run ends; the address stands in a file, never in the job file."""

    format: str
    url_file: str
    on: str = "always"


class PingStyle(StrEnum):
    """The words that a dead man's switch understands."""

    HEALTHCHECKS = "healthchecks"
    CRONITOR = "cronitor"
    KUMA = "kuma"
    PLAIN = "plain"


class Ping(NamedTuple):
    """A dead man's switch: its address stands in a file. `start`: it is told when a run starts, too."""

    url_file: str
    style: PingStyle = PingStyle.HEALTHCHECKS
    start: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFile:
    """Everything one or several job files ask for, checked and with defaults filled in."""

    name: str
    jobs: tuple[Job, ...]
    organizations: dict[str, Organization]
    timezone: str | None = None
    http: Http = field(default_factory=Http)
    retry: RetryRules = field(default_factory=RetryRules)
    notify: tuple[Notify, ...] = ()
    ping: Ping | None = None
    prune_after: float | None = None  # seconds
    files: tuple[str, ...] = ()
    named: bool = False  # the name is written in a file, and not made of the files' names
    one_name: bool = True  # the files have one name among them, by which their job is known again
    part: bool = False  # only a part of the files is meant, or none of them: no success of the job
    title: str = ""  # what an incident is called

    @property
    def wanted_organizations(self) -> list[str]:
        """The organizations that the jobs name, in the file's order."""
        used = {name for job in self.jobs for name in job.organizations}
        return [name for name in self.organizations if name in used]

    def jobs_of(self, organization: str) -> tuple[Job, ...]:
        """The jobs that mean an organization."""
        return tuple(job for job in self.jobs if organization in job.organizations)

    @property
    def jobs_by_organization(self) -> dict[str, list[Job]]:
        """The jobs that mean each organization, in one pass over all of them."""
        jobs: dict[str, list[Job]] = defaultdict(list)
        for job in self.jobs:
            for name in job.organizations:
                jobs[name].append(job)
        return jobs

    @property
    def account_groups(self) -> dict[str, list[str]]:
        """The account groups whose tests each organization's jobs mean; an empty text is the credential's own."""
        groups: dict[str, dict[str, None]] = defaultdict(dict)
        for job in self.jobs:
            for name in job.organizations:
                groups[name][job.account_group or self.organizations[name].account_group or ""] = None
        return {name: list(found) for name, found in groups.items()}

    def only_organizations(self, patterns: Sequence[str]) -> JobFile:
        """The part that concerns the organizations matching these globs; UsageError if none does."""
        if not patterns:
            return self
        kept = {n: o for n, o in self.organizations.items() if any(fnmatchcase(n, p) for p in patterns)}
        if not kept:
            known = ", ".join(self.organizations)
            raise UsageError(f"no organization matches {', '.join(patterns)}; the job file has {known}")
        jobs = (
            replace(job, organizations=tuple(n for n in job.organizations if n in kept)) for job in self.jobs
        )
        kept_jobs = tuple(job for job in jobs if job.organizations)
        return replace(self, organizations=kept, jobs=kept_jobs, part=True)

    def only_jobs(self, patterns: Sequence[str]) -> JobFile:
        """The jobs whose names match these globs; UsageError if none does."""
        if not patterns:
            return self
        kept = tuple(job for job in self.jobs if any(fnmatchcase(job.name, p) for p in patterns))
        if not kept:
            known = first_names(list(dict.fromkeys(job.name for job in self.jobs)))
            raise UsageError(f"no job matches {', '.join(patterns)}; the job file has {known}")
        return replace(self, jobs=kept, part=True)

    def only_tests(self, patterns: Sequence[str]) -> JobFile:
        """The same jobs for the tests with these ids or names, as far as they mean them."""
        if not patterns:
            return self
        jobs = tuple(replace(job, only=tuple(patterns)) for job in self.jobs)
        return replace(self, jobs=jobs, part=True)


def identity(base_url: str, *, org_id: str | None = None, name: str | None = None) -> str:
    """The identity of those who share a bucket: (base URL, orgId), or (base URL, name) while the orgId cannot be read.

    Two spellings of one address are one: case of the host, its usual port and a slash at the end do not count.
    """
    address = normalise_url(base_url)
    return f"{address}#name={name}" if org_id is None else f"{address}#id={org_id}"

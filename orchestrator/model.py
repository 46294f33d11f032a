"""The nouns: what a job file asks for, what waits in the queue, what came of it.

All are frozen values; a change of state is a new value. Seconds are floats (whole seconds where the
API takes no fractions), instants inside the program are seconds since the Unix epoch in UTC.
Two clocks are kept apart by name: *wall* and *epoch* values mean the calendar, *store time* means the
store's own clock (see `orchestrator.queue`), of which only differences mean anything.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum

from orchestrator.addresses import normalised

EARLIEST, LATEST = 946_684_800.0, 4_102_444_800.0
"""Between which an instant that the API names can be true: the years 2000 to 2099, in epoch seconds."""

MOST_SNAPSHOTS = 100_000
"""Snapshots of one run: at the documented limit an organization needs ten weeks for them."""

SNAPSHOT_LIFETIME = 30 * 86_400
"""Seconds until ThousandEyes deletes a snapshot made through the API (documented: 30 days)."""

DEFAULT_BASE_URL = "https://api.thousandeyes.com/v7"
"""The documented production address of version 7 of the API."""

MOST_SLOTS = 1000
"""The most snapshots in a period that a limit may be set to: far above the documented 5 of an organization."""

KEY_FIELD, KEY_AS_TEXT = "{key}", "{\ufdd0key}"
"""What a display name keeps until its key is known, and the same where it is meant as text, as in a test's name."""

DEFAULT_DISPLAY_NAME = "{test} {start} +{duration} [{key}]"
"""What a snapshot is called: it ends in the task's short key, by which a lost one can be found."""


class Priority(IntEnum):
    """Which task goes first when two want the same slot; a lower number goes first."""

    INCIDENT = 0
    NORMAL = 1
    BATCH = 2

    @property
    def word(self) -> str:
        """The priority as the job file writes it."""
        return self.name.lower()


class Status(StrEnum):
    """Where a task is in its life."""

    QUEUED = "queued"  # waits for its time and for a token
    LEASED = "leased"  # granted to a process; not a byte has left
    SENDING = "sending"  # committed before the first byte; from here on a crash means uncertain
    CREATED = "created"  # the snapshot exists
    FAILED = "failed"  # it does not, and trying again would not help
    UNCERTAIN = "uncertain"  # the request went out and nobody knows what became of it

    @property
    def settled(self) -> bool:
        """Whether nothing more happens to the task by itself."""
        return self in (Status.CREATED, Status.FAILED, Status.UNCERTAIN)


class RunState(StrEnum):
    """Where a run is in its life."""

    ACTIVE = "active"  # to be worked on
    FINISHED = "finished"  # sends nothing more; what is pending all the same, another run has queued again
    CANCELLED = "cancelled"  # what was not sent is given up; also why its tasks are pending


class Reason(StrEnum):
    """Why something waits: the same words in the live line, in `status` and in the logs."""

    OWN_QUOTA = "own_quota"  # all slots are used by snapshots of this store
    FOREIGN_QUOTA = "foreign_quota"  # a 429: somebody outside this store used the quota
    OTHER_RUN = "other_run"  # a run of higher priority goes first, or another run has the task
    WINDOW_NOT_OVER = "window_not_over"  # the window, or the delay of its data, has not ended
    BACKOFF = "backoff"  # the wait before another attempt
    EVIDENCE = "evidence"  # a request went unanswered: what became of it can be looked for later
    API_UNREACHABLE = "api_unreachable"  # no connection
    STORE = "store"  # the store does not answer
    TOKEN_REFUSED = "token_refused"  # noqa: S105 - a word, not a secret
    PERMISSION_REFUSED = "permission_refused"
    UNEXPECTED_SNAPSHOT = "unexpected_snapshot"  # the first answer contradicts expect_saved_event
    NOBODY_RUNNING = "nobody_running"  # the run has no live process


class Pace(StrEnum):
    """How an organization's slots are spent: as soon as they are free, or spread over the period."""

    BURST = "burst"
    EVEN = "even"


class OnUncertain(StrEnum):
    """What to do with a task whose request may or may not have been carried out."""

    HOLD = "hold"
    RESEND = "resend"


class Fit(StrEnum):
    """What becomes of a window whose length the API does not take."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryRules:
    """How often, and for how long after its first byte, one task is attempted."""

    attempts: int = 8
    within: float = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Http:
    """How the API is reached. `timeout` is the total deadline of one attempt in seconds."""

    timeout: float = 60.0
    proxy: str | None = None
    ca_bundle: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CredentialSource:
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
    limit: Limit = field(default_factory=Limit)


@dataclass(frozen=True, slots=True, kw_only=True)
class TestRef:
    """A test by its id, with the name it must have before anything is sent, if one was written."""

    __test__ = False  # not a pytest class

    id: str
    test_name: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Select:
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
    seconds. Which keys go together is checked by `orchestrator.windows.check`.
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
    ids (digits) or name patterns. `everywhere` looks in every account group that the credential opens, not
    in one. `place` is where the entry stands, as `file:line:column`.
    """

    name: str
    organizations: tuple[str, ...]
    account_group: str | None = None
    tests: tuple[TestRef, ...] = ()
    select: Select | None = None
    exclude: tuple[str, ...] = ()
    max_tests: int | None = None
    windows: tuple[WindowSpec, ...] = ()
    priority: Priority = Priority.NORMAL
    display_name: str = DEFAULT_DISPLAY_NAME
    is_public: bool = False
    expect_saved_event: bool | None = None
    on_uncertain: OnUncertain = OnUncertain.HOLD
    data_delay: float = 60.0
    everywhere: bool = False
    place: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Notify:
    """Somebody to tell when a run ends; the address stands in a file, never in the job file."""

    format: str
    url_file: str
    on: str = "always"


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
    files: tuple[str, ...] = ()
    named: bool = False  # the name is written in a file, and not made of the files' names


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One snapshot to make: frozen when its run is planned.

    `organization` is the bucket's identity (see `identity`), `organization_name` the planning user's name for it:
    two names may be one organization, and another run may call it otherwise. `ready_at` is the epoch second, by
    the API's clock, before which the window's data is not complete (0: it already is). A task with a `refusal` is
    never sent: it is stored as failed, with these words as the reason. `sent_as` is the key that it was last
    granted under: not the present one if its organization's identity was learnt afterwards.
    """

    organization: str
    organization_name: str = ""
    account_group: str
    test_id: str
    window: Window
    is_public: bool
    generation: int = 0
    test_name: str | None = None
    display_name: str
    job_name: str
    priority: Priority = Priority.NORMAL
    position: int = 0
    ready_at: float = 0.0
    on_uncertain: OnUncertain = OnUncertain.HOLD
    expect_saved_event: bool | None = None
    refusal: str | None = None
    sent_as: str | None = None

    @property
    def key(self) -> str:
        """The stable key: the same snapshot asked for twice is one task."""
        return task_key(self, self.generation)

    @property
    def base_key(self) -> str:
        """The key without the generation that `--again` adds."""
        return task_key(self, 0)

    @property
    def short_key(self) -> str:
        """What people see of the key."""
        return self.key[:6]

    def title(self, resends: int = 0) -> str:
        """The snapshot's display name: `{key}` becomes the short key, with the number of a resend.

        It is filled in here, not when the plan is made, since only the store knows the generation.
        """
        label = (self.sent_as or self.key)[:6] + (f"+{resends}" if resends else "")
        return self.display_name.replace(KEY_FIELD, label).replace(KEY_AS_TEXT, KEY_FIELD)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One start of a job file: a frozen plan under a short id. Times are epoch seconds."""

    id: str
    job: str
    files: tuple[str, ...] = ()
    created_at: float = 0.0
    state: RunState = RunState.ACTIVE
    tasks: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """The right to make one attempt at one task: a token is out for it.

    `granted_at` is store time; `granted_boot` this process's own boot clock, read before the grant was
    asked for, from which the attempt's total deadline and its age at the first byte are counted. `limit`
    and `timeout` are the granting run's settings; `tries` the attempts that counted so far.
    """

    task: Task
    run_id: str
    owner: str
    attempt: int
    token: int
    granted_at: float
    granted_boot: float
    limit: Limit = field(default_factory=Limit)
    timeout: float = 60.0
    probe: bool = False
    tries: int = 0
    first_sent_at: float | None = None
    resends: int = 0
    duplicate_possible: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """What went wrong, in words a user can act on; `fields` are (field, message) pairs of a 400."""

    title: str
    detail: str = ""
    fields: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What the API said of a snapshot it made; every field but the id may be missing.

    `event_id` is the pseudo-test (`testId` of the answer) under which a saved event stands in `GET /tests`.
    """

    id: str
    event_id: str | None = None
    link: str | None = None
    test_name: str | None = None
    saved_event: bool | None = None
    shared_at: float | None = None
    start_round: int | None = None
    end_round: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Closing:
    """A 429: for how long the organization's gate closes.

    `seconds` is None for the limit's own period; `doubles` is False for the general limit, whose
    `Reset` is exact, and for a `Retry-After`.
    """

    seconds: float | None = None
    doubles: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """What one attempt comes to, written in one commit together with the token's return.

    `answered`: an answer (2xx, 3xx, 4xx) settled the request, so the token comes back one hold from now;
    otherwise its pessimistic return stays. `counts`: it was an attempt. `status` is QUEUED for another
    one, not before `retry_in` seconds from now.
    """

    status: Status
    answered: bool
    counts: bool = True
    retry_in: float = 0.0
    http_status: int | None = None
    problem: Problem | None = None
    snapshot: Snapshot | None = None
    duplicate_possible: bool = False
    closing: Closing | None = None
    resent: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """A task of a run and what is known of it. Wall times are epoch seconds; None where not reached.

    `made_here` is False when another run made the snapshot, which is then reported as existing.
    """

    task: Task
    status: Status
    made_here: bool = True
    snapshot: Snapshot | None = None
    problem: Problem | None = None
    http_status: int | None = None
    attempts: int = 0
    duplicate_possible: bool = False
    found: str | None = None
    resends: int = 0
    evidence_due: float | None = None
    queued_wall: float | None = None
    sent_wall: float | None = None
    settled_wall: float | None = None
    granted_wall: float | None = None

    @property
    def expires_at(self) -> float | None:
        """When ThousandEyes deletes the snapshot, in epoch seconds."""
        if self.status is not Status.CREATED:
            return None
        shared = (self.snapshot and self.snapshot.shared_at) or 0.0
        # An old store may hold any number.
        made = shared if EARLIEST <= shared < LATEST else self.settled_wall
        return None if made is None else made + SNAPSHOT_LIFETIME

    @property
    def final(self) -> bool:
        """Whether its record may be printed: settled, and no evidence is still to be looked for."""
        return self.status.settled and self.evidence_due is None


def identity(base_url: str, *, org_id: str | None = None, name: str | None = None) -> str:
    """Who shares a bucket: (base URL, orgId), or (base URL, name) while the orgId cannot be read.

    Two spellings of one address are one: case of the host, its usual port and a slash at the end do not count.
    """
    address = normalised(base_url)
    return f"{address}#name={name}" if org_id is None else f"{address}#id={org_id}"


def task_key(task: Task, generation: int) -> str:
    """Hash of organization, account group, test, start, end, is_public and generation: 16 hex digits."""
    window = task.window
    parts = (task.organization, task.account_group, task.test_id, window.start, window.end, task.is_public)
    text = "\x1f".join(map(str, (*parts, generation)))
    return hashlib.sha256(text.encode()).hexdigest()[:16]

"""The nouns of a run: tasks, leases, settlements, results, counts.

Two clocks are kept apart by name: *wall* and *epoch* values mean the calendar, *store time* means the
store's own clock (see `orchestrator.store`), of which only differences mean anything.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple, cast

from orchestrator.core.errors import ExitCode
from orchestrator.core.jobs import Limit, OnUncertain, Priority, Window

EARLIEST, LATEST = 946_684_800.0, 4_102_444_800.0
"""Between which an instant that the API names can be true: the years 2000 to 2099, in epoch seconds."""

SNAPSHOT_LIFETIME = 30 * 86_400
"""Seconds until ThousandEyes deletes a share link (documented: 30 days), and perhaps a saved event: one document
says so of every snapshot that the API made, another one keeps a private one until somebody deletes it."""

LEAST_AGE = SNAPSHOT_LIFETIME + 5 * 86_400
"""Seconds that all is kept that is known of a run: by far longer than a share link lasts, so that none is made again."""

MOST_RESENDS = 1
"""Times that `on_uncertain: resend` sends an uncertain task once more."""

ROUND = 900
"""Seconds: rounds, on which a snapshot's window may be aligned, move an end by less than this for tests that run every
quarter of an hour or more often, as nearly all do; a larger difference is said."""

KEY_FIELD, KEY_AS_TEXT = "{key}", "{\ufdd0key}"
"""The field that a display name keeps until its key is known, and the same where it is meant as text, as in a test's name."""


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
        """True if nothing more happens to the task by itself."""
        return self in (Status.CREATED, Status.FAILED, Status.UNCERTAIN)


class RunState(StrEnum):
    """Where a run is in its life."""

    PLANNING = "planning"  # its plan is still being stored: nobody sees it, and nothing of it is granted
    ACTIVE = "active"  # to be worked on
    FINISHED = "finished"  # sends nothing more; what is pending all the same, another run has queued again
    CANCELLED = "cancelled"  # what was not sent is given up; also why its tasks are pending


class Reason(StrEnum):
    """The reason why something waits: the same words in the live line, in `status` and in the logs."""

    OWN_QUOTA = "own_quota"  # all slots are used by snapshots of this store
    FOREIGN_QUOTA = "foreign_quota"  # a 429: somebody outside this store used the quota
    OTHER_RUN = "other_run"  # a run of higher priority goes first, or another run has the task
    WINDOW_NOT_OVER = "window_not_over"  # the window, or the delay of its data, has not ended
    BACKOFF = "backoff"  # the wait before another attempt
    EVIDENCE = "evidence"  # a request went unanswered: what became of it can be looked for later
    API_UNREACHABLE = "api_unreachable"  # no connection
    STORE = "store"  # the store does not answer
    TOKEN_REFUSED = "token_refused"  # noqa: S105 - a word, not a secret
    TOKEN_MISSING = "token_missing"  # noqa: S105 - same; there is none, or what there is cannot be one
    PERMISSION_REFUSED = "permission_refused"
    CONNECTION_REFUSED = "connection_refused"  # by a proxy, a certificate or TLS, until somebody acts
    NOT_THE_API = "not_the_api"  # somebody else answers in its place: a sign-in page, a proxy, a gateway
    UNEXPECTED_SNAPSHOT = (
        "unexpected_snapshot"  # an answer contradicts expect_saved_event, or is another test's
    )
    NOBODY_RUNNING = "nobody_running"  # the run has no live process
    TOO_FEW_TESTS = "too_few_tests"  # fewer tests are selected than `min_tests`: by default, none
    TOO_MANY_TESTS = "too_many_tests"  # more tests are meant than `max_tests` allows

    @property
    def exit_code(self) -> ExitCode:
        """The exit code of a command that leaves an organization alone for this reason."""
        if self in (Reason.TOO_FEW_TESTS, Reason.TOO_MANY_TESTS):
            return ExitCode.NOT_ALL_MADE
        passing = (Reason.API_UNREACHABLE, Reason.NOT_THE_API)
        return ExitCode.STOPPED_EARLY if self in passing else ExitCode.REFUSED


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedEvents:
    """The names of the saved events in an account group's list of tests, which was read at `read_at` (epoch seconds).

    `ids` are those of all that the list shows.
    """

    names: frozenset[str]
    read_at: float
    ids: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class PossibleEvent:
    """A saved event with an uncertain task's name that may be the task's, or from before its request.

    `created_at` is its date in the list, in epoch seconds; None where the list has none.
    """

    id: str
    created_at: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One snapshot to make: frozen when its run is planned.

    `organization` is the bucket's identity (see `identity`), `organization_name` the planning user's name for it:
    two names may be one organization, and another run may call it otherwise. `ready_at` is the epoch second, by
    the API's clock, before which the window's data is not complete (0: it already is). A task with a `refusal` is
    never sent: it is stored as failed, with these words as the reason. `sent_as` is the key that it was last
    granted under: not the present one if its organization's identity was learnt afterwards. `saved_events` are those
    that its account group had when it was planned, None where nobody looked. `unverified`: its run took a snapshot
    that may be gone for existing, since that list could not be read.
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
    unverified: bool = False
    saved_events: ListedEvents | None = field(default=None, compare=False, repr=False)
    _key: str | None = field(default=None, init=False, compare=False, repr=False)  # made once: all ask for it

    @property
    def key(self) -> str:
        """The stable key: the same snapshot asked for twice is one task."""
        if self._key is None:
            object.__setattr__(self, "_key", task_key(self, self.generation))
        return cast("str", self._key)

    @property
    def base_key(self) -> str:
        """The key without the generation that `--again` adds."""
        return task_key(self, 0)

    @property
    def kind(self) -> tuple[str, bool]:
        """The pair for which a permission is granted or refused: account group and is_public."""
        return self.account_group, self.is_public

    @property
    def is_named_by_key(self) -> bool:
        """True if the display name has the key, so that no other snapshot is called the same."""
        return KEY_FIELD in self.display_name

    @property
    def short_key(self) -> str:
        """The part of the key that people see."""
        return self.key[:6]

    def title(self, resends: int = 0) -> str:
        """The snapshot's display name: `{key}` becomes the short key, with the number of a resend.

        It is filled in here, not when the plan is made, since only the store knows the generation.
        """
        label = (self.sent_as or self.key)[:6] + (f"+{resends}" if resends else "")
        return self.display_name.replace(KEY_FIELD, label).replace(KEY_AS_TEXT, KEY_FIELD)


class RefusedOrganization(NamedTuple):
    """An organization of a run, by the user's name, for which nothing or not all is planned: why, as a word and a sentence."""

    name: str
    reason: Reason
    text: str

    @property
    def exit_code(self) -> ExitCode:
        """The exit code of its run. Never the one that means to carry on: the plan stays as it is."""
        refused = self.reason.exit_code is ExitCode.REFUSED
        return ExitCode.REFUSED if refused else ExitCode.NOT_ALL_MADE


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One start of a job file: a frozen plan under a short id, and whom it leaves out. Times are epoch seconds."""

    id: str
    job: str
    files: tuple[str, ...] = ()
    created_at: float = 0.0
    state: RunState = RunState.ACTIVE
    tasks: int = 0
    refused: tuple[RefusedOrganization, ...] = ()


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
    """A problem in words that a user can act on; `fields` are (field, message) pairs of a 400."""

    title: str
    detail: str = ""
    fields: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A snapshot as the API described it when it was made; every field but the id may be missing.

    `event_id` is the pseudo-test (`testId` of the answer) under which a saved event stands in `GET /tests`,
    `source_test_id` the test that it is of; `start_round` and `end_round` are epoch seconds.
    """

    id: str
    event_id: str | None = None
    link: str | None = None
    test_name: str | None = None
    saved_event: bool | None = None
    shared_at: float | None = None
    start_round: int | None = None
    end_round: int | None = None
    source_test_id: str | None = None


class Closing(NamedTuple):
    """A 429: for how long the organization's gate closes.

    `seconds` is None for the limit's own period; `doubles` is False for the general limit, whose
    `Reset` is exact, and for a `Retry-After`.
    """

    seconds: float | None = None
    doubles: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """The result of one attempt, written in one commit together with the token's return.

    `answered`: an answer (2xx, 3xx, 4xx) settled the request, so the token comes back one hold from now;
    otherwise its pessimistic return stays. `counts`: it was an attempt. `status` is QUEUED for another
    one, not before `retry_in` seconds from now; with `look_first` not before evidence of this one was looked for.
    """

    status: Status
    answered: bool
    counts: bool = True
    retry_in: float = 0.0
    look_first: bool = False
    http_status: int | None = None
    problem: Problem | None = None
    snapshot: Snapshot | None = None
    duplicate_possible: bool = False
    closing: Closing | None = None


class Existence(StrEnum):
    """The answer to the question if a snapshot that was made is there still."""

    THERE = "there"
    GONE = "gone"
    UNVERIFIED = "unverified"  # it may be gone, and the list that would show it could not be read


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """A task of a run and what is known of it. Wall times are epoch seconds; None where not reached.

    `made_here` is False when another run made the snapshot, which is then reported as existing. `listed` says if a
    saved event of the task's name was there at `listed_at`, before any request for the snapshot was granted; None
    where nobody looked. `possible_event` is what was found of an uncertain task without being proof.
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
    listed: bool | None = None
    listed_at: float | None = None
    possible_event: PossibleEvent | None = None
    queued_wall: float | None = None
    sent_wall: float | None = None
    settled_wall: float | None = None
    granted_wall: float | None = None

    @property
    def expires_at(self) -> float | None:
        """When ThousandEyes deletes the snapshot, in epoch seconds; None where that is not known."""
        return None if self._is_saved_event else self._thirty_days

    @property
    def may_expire_at(self) -> float | None:
        """When ThousandEyes deletes the snapshot if it ever does: of a saved event nobody knows."""
        return self._thirty_days if self._is_saved_event else None

    @property
    def test_returned(self) -> str | None:
        """The test that the snapshot is of by the answer, where it is another one than was asked for."""
        returned = None if self.snapshot is None else self.snapshot.source_test_id
        return None if returned == self.task.test_id else returned

    @property
    def window_returned(self) -> Window | None:
        """The window between the snapshot's rounds by the answer, where it is another one than was asked for."""
        asked, made = self.task.window, self.snapshot
        if made is None:
            return None
        start, end = (
            at if at is not None and EARLIEST <= at < LATEST else wanted
            for at, wanted in ((made.start_round, asked.start), (made.end_round, asked.end))
        )
        return None if (start, end) == (asked.start, asked.end) else Window(start=start, end=end)

    @property
    def misses_window(self) -> bool:
        """True if the window that came back differs from the one asked for by more than rounds explain."""
        asked, came = self.task.window, self.window_returned
        return came is not None and max(abs(came.start - asked.start), abs(came.end - asked.end)) >= ROUND

    def existence(self, listed: ListedEvents | None, epoch: float) -> Existence:
        """Tell if a snapshot that was made is there still, by the list of its account group (None: not read)."""
        if self.expires_at is not None:
            return Existence.GONE if self.expires_at <= epoch else Existence.THERE
        if self.may_expire_at is None or epoch < self.may_expire_at:
            return Existence.THERE
        if listed is None:
            return Existence.UNVERIFIED
        shown = self.task.title(self.resends) in listed.names or self._event_id in listed.ids
        return Existence.THERE if shown else Existence.GONE

    @property
    def _is_saved_event(self) -> bool:
        return self.snapshot is not None and self.snapshot.saved_event is True

    @property
    def _event_id(self) -> str | None:
        return None if self.snapshot is None else self.snapshot.event_id

    @property
    def made_at(self) -> float | None:
        """When the snapshot was made, in epoch seconds: by the answer, or else when that came; None where there is none."""
        if self.status is not Status.CREATED:
            return None
        shared = (self.snapshot and self.snapshot.shared_at) or 0.0
        # An old store may hold any number.
        return shared if EARLIEST <= shared < LATEST else self.settled_wall

    @property
    def _thirty_days(self) -> float | None:
        made = self.made_at
        return None if made is None else made + SNAPSHOT_LIFETIME

    @property
    def final(self) -> bool:
        """True if its record may be printed: settled, and no evidence is still to be looked for."""
        return self.status.settled and self.evidence_due is None


def task_key(task: Task, generation: int) -> str:
    """Hash of organization, account group, test, start, end, is_public and generation: 16 hex digits."""
    window = task.window
    parts = (task.organization, task.account_group, task.test_id, window.start, window.end, task.is_public)
    text = "\x1f".join(map(str, (*parts, generation)))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """How many tasks of a run, or of one organization in it, are where.

    `created` were made by the run itself, `existing` by another one; `refused` of the failed ones were refused
    when they were planned, before anything was sent.
    """

    created: int = 0
    existing: int = 0
    failed: int = 0
    uncertain: int = 0
    queued: int = 0
    leased: int = 0
    sending: int = 0
    refused: int = 0

    @property
    def pending(self) -> int:
        """Tasks that are not settled."""
        return self.queued + self.leased + self.sending

    @property
    def settled(self) -> int:
        """Tasks that are."""
        return self.created + self.existing + self.failed + self.uncertain

    @property
    def total(self) -> int:
        """All tasks."""
        return self.settled + self.pending

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            created=self.created + other.created,
            existing=self.existing + other.existing,
            failed=self.failed + other.failed,
            uncertain=self.uncertain + other.uncertain,
            queued=self.queued + other.queued,
            leased=self.leased + other.leased,
            sending=self.sending + other.sending,
            refused=self.refused + other.refused,
        )

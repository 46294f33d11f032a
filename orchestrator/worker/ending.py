"""How a run ends: early, perhaps, and then why tasks are still pending; and with which exit code.

It ends early on a signal, at its deadline, or when nothing answers any more, neither an API nor the store. Nothing
more is granted then, leases are given back, what is on the wire may finish for a while, then it is cut and stored as
uncertain. A second signal means now.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from orchestrator.core import Ending, ExitCode, Observer, Reason, RunState, StoreGone, StoreTrouble
from orchestrator.store import RunView
from orchestrator.worker import notices
from orchestrator.worker.organization import ServedOrganizations
from orchestrator.worker.sender import Sender

DRAIN = 20.0
"""Seconds that requests on the wire are given to finish (Kubernetes kills 30 s after its SIGTERM)."""

AGAIN = 1.0
"""Seconds from the first signal to the first one that counts as a second: some who stop a program send two at once."""

HANGUP = "SIGHUP"
"""The terminal has gone. The shell and the kernel both say so: it never counts as a second signal."""

AT_ONCE = "SIGQUIT"
"""Ctrl-\\ on a terminal: somebody wants no more patience."""


class Shutdown:
    """How far a run has stopped. Times are of the boot clock.

    `patience` is for how many seconds nothing may answer, and for how many the store may be away. `store_gone` is True
    when the store is not the one any more that others find.
    """

    def __init__(self, sender: Sender, observer: Observer, *, patience: float, ends_at: float) -> None:
        self._sender, self._observer = sender, observer
        self._patience, self._ends_at = patience, ends_at
        self._asked: list[tuple[str, float]] = []
        self._began: float | None = None
        self._signalled: float | None = None
        self._store_away_since: float | None = None
        self._cut = False
        self.store_gone = False

    @property
    def begun(self) -> bool:
        """True if nothing more is to be granted."""
        return self._began is not None

    def ask(self, because: str, at: float) -> None:
        """Note that a stop is wanted: all that a signal's handler may do."""
        self._asked.append((because, at))

    def check(self, now: float, *, silent_for: float) -> None:
        """Stop, or cut, if that was asked for or is due."""
        if now >= self._ends_at:
            self.begin("the deadline is reached", now)
        if silent_for > self._patience:
            self.begin(f"nothing has answered for {self._patience:.0f} s", now)
        while self._asked:
            because, at = self._asked.pop(0)
            hurried = because == AT_ONCE or self._is_second(because, at)
            self.begin(because, at)
            if hurried:
                self._cut_off()
        if self._is_overdue(now):
            self._cut_off()

    def begin(self, because: str, now: float) -> None:
        """Stop, if that has not begun yet."""
        if self._began is None:
            self._began = now
            self._sender.drain()
            self._observer.on_event(notices.early_stop(because, DRAIN))

    def note_store_failure(self, error: StoreTrouble, now: float, *, on_wire: int) -> bool:
        """Note that the store failed, and say so the first time; True if that ends the run.

        It is looked for until it has been away for too long, or nothing `on_wire` is waited for any more. One that
        was moved or replaced is not looked for.
        """
        if isinstance(error, StoreGone):
            self._leave_store(error, now)
            return not on_wire or self._is_overdue(now)
        if self._store_away_since is None:
            self._store_away_since = now
            self._observer.on_event(notices.store_outage(error))
        too_long = now - self._store_away_since >= self._patience
        if not (too_long or self._is_overdue(now) or (self._cut and not on_wire)):
            return False
        self.begin("the store does not answer", now)
        return True

    def _leave_store(self, error: StoreGone, now: float) -> None:
        if not self.store_gone:
            self.store_gone = True
            self._observer.on_event(notices.gone_store(error))
        self.begin("the store's file is not where other processes look for it", now)

    def note_store_answer(self) -> bool:
        """Note that the store answers; True, and told, if it was away before."""
        if self._store_away_since is None:
            return False
        self._store_away_since = None
        self._observer.on_event(notices.STORE_BACK)
        return True

    def _is_second(self, because: str, at: float) -> bool:
        """True if a signal means now, because one came before; a stop that began otherwise is no signal."""
        first = self._signalled
        self._signalled = at if first is None else first
        return first is not None and because != HANGUP and at - first >= AGAIN

    def _is_overdue(self, now: float) -> bool:
        """True if what is on the wire has had its time."""
        return self._began is not None and now - self._began >= DRAIN

    def _cut_off(self) -> None:
        if not self._cut:
            self._cut = True
            self._sender.abort()


def pending_reasons(view: RunView, organizations: ServedOrganizations, *, stopping: bool) -> dict[str, str]:
    """The reason for which tasks are pending, by the identity of each organization that has any."""
    pending = [identity for identity, counts in view.counts.items() if counts.pending]
    if view.run.state is RunState.CANCELLED:
        return dict.fromkeys(pending, RunState.CANCELLED.value)
    if view.run.state is RunState.FINISHED:  # by another process
        return dict.fromkeys(pending, Reason.OTHER_RUN.value)
    return {one: _reason(organizations, one, stopping=stopping) for one in pending}


def make_ending(
    view: RunView,
    organizations: ServedOrganizations,
    reasons: Mapping[str, str],
    *,
    early: bool,
    seconds: float,
) -> Ending:
    """The ending of a run that was left as `view` has it, `early` or not, after so many seconds."""
    pending: Counter[str] = Counter()
    for identity, reason in reasons.items():
        pending[reason] += view.counts[identity].pending
    return Ending(
        run=view.run,
        counts=view.total,
        pending_reasons=dict(pending),
        reasons=reasons,
        exit_code=_exit_code(view, organizations, early=early),
        seconds=seconds,
    )


def _exit_code(view: RunView, organizations: ServedOrganizations, *, early: bool) -> ExitCode:
    """The first that is true of cancelled, stopped `early`, refused, not all planned or made, done."""
    counts, over = view.total, view.run.state is RunState.FINISHED
    if view.run.state is RunState.CANCELLED:
        return ExitCode.NOT_ALL_MADE
    stops = [served.stopped.exit_code for served in organizations if served.stopped is not None]
    if early or ExitCode.STOPPED_EARLY in stops:
        return ExitCode.STOPPED_EARLY
    if (counts.pending and not over) or stops or any(served.awaits_token for served in organizations):
        return ExitCode.REFUSED
    whole = not (counts.failed or counts.uncertain or counts.pending)
    left_out = (one.exit_code for one in view.run.refused)
    return max(left_out, default=ExitCode.DONE if whole else ExitCode.NOT_ALL_MADE)


def _reason(organizations: ServedOrganizations, identity: str, *, stopping: bool) -> str:
    served = organizations.find(identity)
    if served is None:
        return Reason.TOKEN_REFUSED.value
    if served.stopped is not None:
        return served.stopped.value
    if served.refusals.final and not stopping:
        return Reason.PERMISSION_REFUSED.value
    return (served.waiting or Reason.OWN_QUOTA).value

"""Events worth a log line while a run goes on."""

from __future__ import annotations

import math

from orchestrator.api import Outcome, Verdict
from orchestrator.core import (
    Event,
    Lease,
    PossibleEvent,
    Result,
    Settlement,
    Status,
    StoreGone,
    StoreTrouble,
    Task,
    plural,
    utc_text,
)
from orchestrator.ratelimit import Gate
from orchestrator.worker.organization import ServedOrganization

CLOCK_STEP = Event(
    name="clock.stepped",
    text="the store's clock was set forward; all slots are held for one period from now",
    level="warning",
)
"""The store's clock has gained on ours: its tokens would return too early."""

STORE_BACK = Event(name="store.back", text="the store answers again", level="warning")
"""The end of an outage of the store."""


def attempt_outcome(served: ServedOrganization, lease: Lease, verdict: Verdict, settled: Settlement) -> Event:
    """The end of an attempt. A plain success is a debug line: its record says it all."""
    title = describe_problem(verdict)
    test = f"{served.name}: test {lease.task.test_id}"
    if settled.closing is not None:
        return _about(lease, "attempt.refused", f"{test}: refused (429): {title}; nothing was made")
    if settled.look_first:
        text = (
            f"{test}: {title}; the snapshot may exist all the same: tesnap looks for it before it sends again"
        )
        return _about(lease, "attempt.retry", text)
    if settled.status is Status.QUEUED and verdict.outcome is Outcome.SERVER_ERROR:
        text = f"{test}: {title}; next attempt in {_begun_seconds(settled.retry_in)}"
        return _about(lease, "attempt.retry", text)
    if settled.status is Status.UNCERTAIN:
        text = f"{test}: {title}; nobody knows whether the snapshot was made; tesnap looks for it later"
        return _about(lease, "attempt.uncertain", text)
    came = Result(task=lease.task, status=settled.status, snapshot=settled.snapshot)
    if came.misses_window:
        return _about(lease, "attempt.sent", f"{test}: {describe_windows(came)}")
    return _about(lease, "attempt.sent", f"{test}: {title}", "debug")


def describe_windows(result: Result) -> str:
    """The window that came back beside the one that was asked for."""
    asked, came = (
        f"{utc_text(one.start)} to {utc_text(one.end)}"
        for one in (result.task.window, result.window_returned or result.task.window)
    )
    return f"the snapshot shows {came}, and {asked} was asked for: look at it before you share it"


def describe_problem(verdict: Verdict) -> str:
    """The title of an answer's problem, and that the answer does not look like the API's where it is a web page."""
    title = verdict.problem.title if verdict.problem else verdict.outcome.value
    return f"{title} (a web page, not an answer of the API)" if verdict.page else title


def unsent_attempt(served: ServedOrganization, lease: Lease, why: str, wait: float) -> Event:
    """No connection: nothing was sent."""
    text = f"{served.name}: {why}; nothing was sent, next try in {_begun_seconds(wait)}"
    return _about(lease, "attempt.unsent", text)


def evidence_found(lease: Lease, *, twice: bool) -> Event:
    """A lost answer's snapshot is there."""
    text = f"test {lease.task.test_id}: found the snapshot whose answer was lost"
    if twice:
        return _about(lease, "evidence.found", f"{text}; it exists more than once")
    return _about(lease, "evidence.found", text, "info")


def evidence_missing(
    lease: Lease, result: Result, possible: PossibleEvent | None, error: str | None
) -> Event:
    """Nothing proves that a lost answer's snapshot was made: it stays uncertain."""
    why = error or _describe_list(possible, result)
    text = f"test {lease.task.test_id}: stays uncertain: {why}"
    if error:
        text += f"; `tesnap resume {lease.run_id}` looks again"
    elif possible is not None:
        command = f"tesnap settle {lease.run_id} {lease.task.short_key} created {possible.id}"
        text += f"; if it is this snapshot, type `{command}`"
    return _about(lease, "evidence.missing", text)


def resend(lease: Lease, result: Result, possible: PossibleEvent | None, error: str | None) -> Event:
    """Nothing proves that a lost answer's snapshot was made: it is sent once more."""
    why = f"nobody could look for it: {error}" if error else _describe_list(possible, result)
    text = f"test {lease.task.test_id}: sent once more, since {why}; it may then exist twice"
    return _about(lease, "attempt.retry", text)


def _describe_list(possible: PossibleEvent | None, result: Result) -> str:
    """The words for a list of tests that has no proof."""
    if possible is None:
        return "its account group lists no other saved event with its name, which proves nothing"
    dated = "without a date" if possible.created_at is None else f"dated {utc_text(possible.created_at)}"
    age = "was there before" if result.listed else "may have been there before"
    return f"the saved event with its name in its account group ({possible.id}, {dated}) {age}"


def failed_look(lease: Lease, lost: int, error: str, wait: float) -> Event:
    """Evidence could not be looked for."""
    text = f"{plural(lost, 'lost answer')}: {error}; looked for again in {_begun_seconds(wait)}"
    return _about(lease, "evidence.later", text)


def group_refusal(served: ServedOrganization, task: Task) -> Event:
    """Nothing but 403 for one account group and is_public."""
    group = f"account group {task.account_group}" if task.account_group else "the default account group"
    public = str(task.is_public).lower()
    text = (
        f"{served.name}: {plural(served.refusals.counts[task.kind], 'request')} for {group} with is_public {public} "
        "refused (403), and none was granted; all snapshots of this kind stay pending"
    )
    return Event(name="organization.stopped", text=text, level="error")


def gate_stays_closed(served: ServedOrganization, gate: Gate, *, now: float) -> Event:
    """Refused again and again: the wait has doubled."""
    text = (
        f"{served.name}: refused (429) {gate.closings} times in a row: somebody else is using the quota; "
        f"the next single try is in {max(0.0, gate.until - now) / 60:.0f} min"
    )
    return Event(name="gate.closed", text=text, level="warning", fields=(("closings", gate.closings),))


def organization_stop(served: ServedOrganization) -> Event:
    """Nothing more is sent for an organization."""
    text = f"{served.name}: {served.stopped_because.rstrip('.')}; its other snapshots stay pending"
    return Event(name="organization.stopped", text=text, level="error")


def awaited_token(served: ServedOrganization, seconds: float) -> Event:
    """The token was refused, and its file may be about to get another one."""
    text = f"{served.name}: {served.refused_because.rstrip('.')}; its token file is read again for {seconds:.0f} s"
    return Event(name="token.refused", text=text, level="warning")


def new_token(served: ServedOrganization) -> Event:
    """The file has another token."""
    return Event(
        name="token.renewed", text=f"{served.name}: its token file has a new token, which is tried once"
    )


def lost_lease(lease: Lease) -> Event:
    """Another process has the task by now."""
    return _about(lease, "lease.lost", f"task {lease.task.short_key} was taken over by another process")


def store_outage(error: StoreTrouble) -> Event:
    """The store has failed: told once, until it is back."""
    text = f"{error}; nothing is sent until it answers"
    return Event(name="store.unavailable", text=text, level="warning")


def gone_store(error: StoreGone) -> Event:
    """The store is not the one any more that others find."""
    return Event(name="store.gone", text=str(error), level="error")


def early_stop(because: str, drain: float) -> Event:
    """An early end; what is on the wire has so many seconds."""
    text = f"stopping: {because}; nothing more is sent, requests on the wire have {drain:.0f} s to finish"
    return Event(name="run.stopping", text=text, level="warning")


def _begun_seconds(wait: float) -> str:
    """A wait in seconds of which the last may only have begun: none is told as `0 s`."""
    return f"{max(1, math.ceil(wait))} s"


def _about(lease: Lease, name: str, text: str, level: str = "warning") -> Event:
    fields = (("task", lease.task.key), ("test_id", lease.task.test_id), ("attempt", lease.attempt))
    return Event(name=name, text=text, level=level, fields=fields)

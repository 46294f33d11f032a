"""The end of a run: early when asked for, due, or forced, and as one worker left it."""

from __future__ import annotations

import math
from typing import cast

import pytest

from orchestrator.core.errors import StoreUnavailable
from orchestrator.core.jobs import Limit
from orchestrator.core.tasks import Counts, Reason, Run, RunState
from orchestrator.store.store import Store
from orchestrator.store.views import RunView
from orchestrator.worker.ending import DRAIN, Shutdown, make_ending, pending_reasons
from orchestrator.worker.organization import ServedOrganization, ServedOrganizations
from orchestrator.worker.sender import Sender
from tests.support.virtual import Notebook

ASKED_NOTHING = cast("Store", None)
AWAY = StoreUnavailable("the session was cut")
DONE = Counts(created=2)
HALF = Counts(created=1, queued=1)


def view(state: RunState = RunState.ACTIVE, **counts: Counts) -> RunView:
    return RunView(run=Run(id="r1", job="night", created_at=0.0, tasks=4, state=state), counts=counts)


def serve(*names: str, stopped: Reason | None = None) -> ServedOrganizations:
    """Organizations in one process, of which the first one is stopped for the reason."""
    served = {n: ServedOrganization(identity=n, name=n, limit=Limit(), timeout=60.0) for n in names}
    if stopped is not None:
        served[names[0]].stop(stopped, "because")
    return ServedOrganizations(served, ASKED_NOTHING)


@pytest.mark.parametrize(
    ("left", "stopped", "early", "code"),
    [
        (view(acme=DONE), None, False, 0),
        (view(acme=Counts(created=1, failed=1)), None, False, 3),
        (view(acme=Counts(created=1, uncertain=1)), None, False, 3),
        (view(acme=HALF), Reason.TOKEN_REFUSED, False, 4),
        (view(acme=DONE), Reason.TOKEN_REFUSED, False, 4),
        (view(acme=HALF), Reason.API_UNREACHABLE, False, 5),
        (view(acme=HALF), Reason.TOKEN_REFUSED, True, 5),
        (view(RunState.FINISHED, acme=HALF), None, False, 3),
        (view(RunState.CANCELLED, acme=HALF), Reason.TOKEN_REFUSED, True, 3),
    ],
)
def test_the_exit_code_is_the_first_that_is_true(
    left: RunView, stopped: Reason | None, code: int, *, early: bool
) -> None:
    """Of cancelled, stopped early, refused, not all made, done."""
    ending = make_ending(left, serve("acme", stopped=stopped), {}, early=early, seconds=1.0)
    assert ending.exit_code == code


def test_pending_tasks_are_counted_by_their_reason() -> None:
    """Organizations that have none are left out."""
    left = view(acme=HALF, globex=HALF, initech=DONE)
    organizations = serve("acme", "globex", "initech", stopped=Reason.TOKEN_REFUSED)
    reasons = pending_reasons(left, organizations, stopping=False)
    assert reasons == {"acme": "token_refused", "globex": "own_quota"}
    ending = make_ending(left, organizations, reasons, early=False, seconds=1.0)
    assert ending.pending_reasons == {"token_refused": 1, "own_quota": 1}


@pytest.mark.parametrize(
    ("state", "reason"), [(RunState.CANCELLED, "cancelled"), (RunState.FINISHED, Reason.OTHER_RUN.value)]
)
def test_a_run_that_is_over_gives_one_reason_for_all(state: RunState, reason: str) -> None:
    """Even where an organization was stopped here."""
    organizations = serve("acme", "globex", stopped=Reason.TOKEN_REFUSED)
    reasons = pending_reasons(view(state, acme=HALF, globex=HALF), organizations, stopping=False)
    assert reasons == {"acme": reason, "globex": reason}


class Wire:
    """A sender that only notes what it is told."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def drain(self) -> None:
        self.calls.append("drain")

    def abort(self) -> None:
        self.calls.append("abort")


def test_the_first_request_drains_and_the_second_cuts() -> None:
    """It is told once."""
    wire, notebook = Wire(), Notebook()
    shutdown = Shutdown(cast("Sender", wire), notebook, patience=3600.0, ends_at=math.inf)
    shutdown.ask("SIGTERM", 1.0)
    assert not shutdown.begun
    shutdown.check(1.0, silent_for=0.0)
    assert (shutdown.begun, wire.calls) == (True, ["drain"])
    shutdown.ask("SIGTERM", 2.0)
    shutdown.check(2.0, silent_for=0.0)
    assert wire.calls == ["drain", "abort"]
    assert [event.name for event in notebook.events] == ["run.stopping"]


@pytest.mark.parametrize(
    ("signals", "calls"),
    [
        ([("SIGHUP", 1.0), ("SIGHUP", 9.0)], ["drain"]),
        ([("SIGTERM", 1.0), ("SIGHUP", 9.0)], ["drain"]),
        ([("SIGHUP", 1.0), ("SIGTERM", 1.9)], ["drain"]),
        ([("SIGTERM", 1.0), ("SIGTERM", 1.0)], ["drain"]),
        ([("SIGHUP", 1.0), ("SIGTERM", 2.0)], ["drain", "abort"]),
        ([("SIGTERM", 1.0), ("SIGINT", 2.0)], ["drain", "abort"]),
        ([("SIGQUIT", 1.0)], ["drain", "abort"]),
        ([("SIGTERM", 1.0), ("SIGQUIT", 1.1)], ["drain", "abort"]),
    ],
)
@pytest.mark.parametrize("at_once", [True, False])
def test_which_signal_is_a_second_one(
    signals: list[tuple[str, float]], calls: list[str], *, at_once: bool
) -> None:
    """However late the worker comes to look: a closed terminal never is one, and nothing is within a second."""
    wire = Wire()
    shutdown = Shutdown(cast("Sender", wire), Notebook(), patience=3600.0, ends_at=math.inf)
    for name, at in signals:
        shutdown.ask(name, at)
        if not at_once:
            shutdown.check(at, silent_for=0.0)
    shutdown.check(9.5, silent_for=0.0)
    assert wire.calls == calls


def test_the_first_signal_after_the_deadline_is_no_second_one() -> None:
    """What is on the wire keeps its time: whoever sends it does not know that the run is stopping already."""
    wire = Wire()
    shutdown = Shutdown(cast("Sender", wire), Notebook(), patience=3600.0, ends_at=100.0)
    shutdown.check(100.0, silent_for=0.0)
    shutdown.ask("SIGTERM", 105.0)
    shutdown.check(105.0, silent_for=0.0)
    assert wire.calls == ["drain"]
    shutdown.ask("SIGTERM", 106.0)
    shutdown.check(106.0, silent_for=0.0)
    assert wire.calls == ["drain", "abort"]


def test_what_is_on_the_wire_has_so_long_and_no_longer() -> None:
    """Counted from the deadline that began it."""
    wire = Wire()
    shutdown = Shutdown(cast("Sender", wire), Notebook(), patience=3600.0, ends_at=100.0)
    for now in (99.0, 100.0, 100.0 + DRAIN - 0.1):
        shutdown.check(now, silent_for=0.0)
    assert wire.calls == ["drain"]
    shutdown.check(100.0 + DRAIN, silent_for=0.0)
    assert wire.calls == ["drain", "abort"]


def test_silence_longer_than_patience_ends_the_run() -> None:
    """And is said to be the reason."""
    notebook = Notebook()
    shutdown = Shutdown(cast("Sender", Wire()), notebook, patience=60.0, ends_at=math.inf)
    shutdown.check(60.0, silent_for=60.0)
    assert not shutdown.begun
    shutdown.check(61.0, silent_for=61.0)
    assert "nothing has answered for 60 s" in notebook.events[0].text


def test_an_outage_is_told_once_when_it_begins_and_once_when_it_ends() -> None:
    """However often the store is asked in between."""
    notebook = Notebook()
    shutdown = Shutdown(cast("Sender", Wire()), notebook, patience=60.0, ends_at=math.inf)
    assert not shutdown.note_store_answer()
    for now in (10.0, 11.0, 12.0):
        shutdown.note_store_failure(AWAY, now, on_wire=1)
    assert shutdown.note_store_answer()
    assert not shutdown.note_store_answer()
    assert [event.name for event in notebook.events] == ["store.unavailable", "store.back"]


def test_patience_counts_from_the_first_failure_since_the_last_answer() -> None:
    """An answer in between begins it anew."""
    shutdown = Shutdown(cast("Sender", Wire()), Notebook(), patience=60.0, ends_at=math.inf)
    assert [shutdown.note_store_failure(AWAY, now, on_wire=1) for now in (0.0, 59.0, 60.0)] == [
        False,
        False,
        True,
    ]
    shutdown.note_store_answer()
    assert not shutdown.note_store_failure(AWAY, 70.0, on_wire=1)

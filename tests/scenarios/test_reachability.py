"""Organizations that nothing reaches beside others that wait, and a stop while the store is away."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from orchestrator.api.response import Answer
from orchestrator.core.clock import utc_text
from orchestrator.core.errors import StoreUnavailable
from orchestrator.core.jobs import Job, JobFile, RetryRules, WindowSpec
from orchestrator.core.tasks import Lease
from orchestrator.output.sentences import last_line
from orchestrator.simulator import script_faults
from orchestrator.store.store import Store
from orchestrator.worker.sender import Sent
from orchestrator.worker.worker import Worker
from tests.support.virtual import Notebook, Stage, VirtualSender, drive

StageMaker = Callable[..., Stage]
WITHIN = RetryRules().within
HOUR = 3600.0
LONGEST = 6 * HOUR
"""Virtual seconds by which each of these runs has ended, if ever."""


class CutOff(VirtualSender):
    """A network in which some organizations cannot be reached."""

    unreachable: frozenset[str] = frozenset()
    lasting = False

    def send(self, lease: Lease) -> None:
        if lease.task.organization in self.unreachable:
            refused = Answer(sent=False, failure="connection refused", lasting=self.lasting)
            self._ended.append(Sent(lease=lease, answer=refused))
        else:
            super().send(lease)


def cut_off(at: Stage, worker: Worker, *numbers: int) -> None:
    """Have these organizations, counted from 1, out of reach from now on; the others are reached."""
    identities = {one.name: one.identity for one in worker._organizations}
    at.senders[-1].__class__ = CutOff
    at.senders[-1].unreachable = frozenset(identities[f"org-{number}"] for number in numbers)  # type: ignore[attr-defined] # of the class it has by now


def with_late_window(at: Stage, jobfile: JobFile, name: str, hours: float) -> JobFile:
    """The file with the windows of one organization ending that many hours from now."""
    end = at.clock.wall() + hours * HOUR
    late = WindowSpec(start=utc_text(end - HOUR), end=utc_text(end))

    def of(job: Job) -> Job:
        return replace(job, windows=(late,)) if job.name == name else job

    return replace(jobfile, jobs=tuple(map(of, jobfile.jobs)))


# -- no connection -----------------------------------------------------------------------------------------


def test_an_organization_that_waits_for_its_window_keeps_the_run_alive(stage: StageMaker) -> None:
    """The other one is out of reach for three hours: the run goes on, makes the late ones, and then the rest."""
    at = stage(organizations=2, tests=3)
    worker, notebook = at.worker(with_late_window(at, at.jobfile(3), "org-2", 3))
    cut_off(at, worker, 1)
    begun = at.clock.boot()
    at.timeline.at(begun + 3.5 * HOUR, lambda: cut_off(at, worker))
    (ending,) = drive(at.timeline, [worker], longest=LONGEST)
    assert (ending.exit_code, ending.counts.created) == (0, 6)
    assert {result.attempts for result in notebook.results} == {1}
    assert ending.seconds < 3.6 * HOUR


def test_when_only_the_unreachable_is_left_the_run_ends_after_within(stage: StageMaker) -> None:
    """Counted from the last answer of any organization; what is pending has its reason."""
    at = stage(organizations=2, tests=3)
    worker, notebook = at.worker(with_late_window(at, at.jobfile(3), "org-2", 3))
    cut_off(at, worker, 1)
    (ending,) = drive(at.timeline, [worker], longest=LONGEST)
    assert (ending.exit_code, ending.counts.created, ending.counts.pending) == (5, 3, 3)
    assert ending.pending_reasons == {"api_unreachable": 3}
    assert ending.seconds == pytest.approx(3 * HOUR + WITHIN, abs=300)
    assert last_line(ending) == "3 created, 3 pending (API unreachable): tesnap resume r1"
    assert stopped(notebook) == ["nothing has answered for 3600 s"]


def test_when_every_organization_is_out_of_reach_the_run_ends_after_within(stage: StageMaker) -> None:
    """One was served to its end and one was refused before: neither is waited for."""
    at = stage(organizations=4, tests=3)
    worker, notebook = at.worker(at.jobfile(3))
    served = {one.name: one for one in worker._organizations}
    at.tokens[served["org-4"].identity] = "of-yesterday"
    cut_off(at, worker, 1, 2)
    (ending,) = drive(at.timeline, [worker], longest=LONGEST)
    assert (ending.exit_code, ending.counts.created, ending.counts.pending) == (5, 3, 9)
    assert ending.pending_reasons == {"api_unreachable": 6, "token_refused": 3}
    assert ending.seconds == pytest.approx(WITHIN, abs=300)
    assert len(stopped(notebook)) == 1


def test_one_that_is_reached_again_keeps_the_run_alive(stage: StageMaker) -> None:
    """An hour's silence is counted anew from its answer."""
    at = stage(organizations=2, tests=12)
    worker, _ = at.worker(at.jobfile(12))
    cut_off(at, worker, 1, 2)
    begun = at.clock.boot()
    at.timeline.at(begun + 0.9 * WITHIN, lambda: cut_off(at, worker, 1))
    at.timeline.at(begun + 1.8 * WITHIN, lambda: cut_off(at, worker))
    (ending,) = drive(at.timeline, [worker], longest=LONGEST)
    assert (ending.exit_code, ending.counts.created) == (0, 24)


def test_a_way_that_is_refused_for_good_stops_its_organization_at_once(stage: StageMaker) -> None:
    """After the first request, in the middle of a run: its tasks wait for somebody, the other one's are made."""
    at = stage(organizations=2, tests=12)
    worker, notebook = at.worker(at.jobfile(12))
    begun = at.clock.boot()

    def refuse() -> None:
        cut_off(at, worker, 1)
        at.senders[-1].lasting = True  # type: ignore[attr-defined] # of the class it has by now

    at.timeline.at(begun + 10, refuse)
    (ending,) = drive(at.timeline, [worker], longest=LONGEST)
    assert (ending.exit_code, ending.counts.created, ending.counts.pending) == (4, 5 + 12, 7)
    assert ending.pending_reasons == {"connection_refused": 7}
    names = [event.name for event in notebook.events]
    assert (names.count("organization.stopped"), names.count("attempt.unsent")) == (1, 0)
    assert last_line(ending) == "17 created, 7 pending (connection refused): tesnap resume r1"


def stopped(notebook: Notebook) -> list[str]:
    """Why the run was stopped, as the user was told."""
    texts = [event.text for event in notebook.events if event.name == "run.stopping"]
    return [text.removeprefix("stopping: ").partition(";")[0] for text in texts]


# -- signals while the store is down -----------------------------------------------------------------------


def _silent(*_what: object, **_more: object) -> object:
    raise StoreUnavailable("the store does not answer")


def gone_at(at: Stage, store: Store, after: float) -> None:
    """Let the store go away for good."""
    at.timeline.at(at.clock.boot() + after, lambda: go_away(store))


def go_away(store: Store) -> None:
    """Answer nothing any more."""
    setattr(store, "now", _silent)  # noqa: B010 - a method is put out of the way
    for call in ("grant", "settle", "mark_sending", "serve"):
        setattr(store.queue, call, _silent)
    for call in ("versions", "run", "results"):
        setattr(store.views, call, _silent)


def test_a_second_signal_ends_the_run_at_once_while_the_store_is_away(stage: StageMaker) -> None:
    """The first one is patient for the request on the wire; the second cuts it and waits for nothing."""
    at = stage(tests=8, faults=script_faults([None, "hang"]))
    store = at.open()
    worker, notebook = at.worker(at.jobfile(8), store=store)
    begun = at.clock.boot()
    gone_at(at, store, 2.5)
    at.timeline.at(begun + 5, lambda: worker.ask_to_stop("SIGTERM"))
    at.timeline.at(begun + 9, lambda: worker.ask_to_stop("SIGTERM"))
    (ending,) = drive(at.timeline, [worker], longest=LONGEST)
    assert ending.exit_code == 5
    assert ending.seconds == pytest.approx(9, abs=1.1)
    assert stopped(notebook) == ["SIGTERM"]
    assert list(ending.pending_reasons) == ["store"]


def test_one_signal_while_the_store_is_away_waits_for_what_is_on_the_wire_and_no_longer(
    stage: StageMaker,
) -> None:
    """Twenty seconds; the store may come back until then, and what came of the request be stored."""
    at = stage(tests=8, faults=script_faults([None, "hang"]))
    store = at.open()
    worker, _ = at.worker(at.jobfile(8), store=store)
    begun = at.clock.boot()
    gone_at(at, store, 2.5)
    at.timeline.at(begun + 5, lambda: worker.ask_to_stop("SIGTERM"))
    (ending,) = drive(at.timeline, [worker], longest=LONGEST)
    assert ending.exit_code == 5
    assert ending.seconds == pytest.approx(25, abs=2)


def test_what_was_cut_without_a_store_is_uncertain_at_the_next_start(stage: StageMaker) -> None:
    """Its intent was durable before its first byte: nothing is sent twice."""
    at = stage(tests=8, faults=script_faults([None, "hang"]))
    store = at.open()
    worker, _ = at.worker(at.jobfile(8), store=store)
    begun = at.clock.boot()
    gone_at(at, store, 2.5)
    for after in (5, 9):
        at.timeline.at(begun + after, lambda: worker.ask_to_stop("SIGTERM"))
    drive(at.timeline, [worker], longest=LONGEST)
    store.close()
    ending, notebook = at.run(at.jobfile(8), run_id="r1")
    assert (ending.exit_code, ending.counts.uncertain, ending.counts.created) == (3, 1, 7)
    assert len(notebook.results) == 8
    assert len([entry for entry in at.simulator.log if entry.counted]) == 8

"""What became of lost answers: one look for many, looks that fail, and processes that cannot look."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import UTC

import pytest

from orchestrator.api.response import Answer
from orchestrator.core.events import Ending
from orchestrator.core.jobs import OnUncertain
from orchestrator.core.tasks import Reason, RunState, Status
from orchestrator.output import sentences
from orchestrator.simulator import script_faults
from orchestrator.worker.sender import LostAnswer, read_evidence
from orchestrator.worker.worker import Worker
from tests.support.virtual import Notebook, Stage, VirtualGetter, VirtualSender, drive

StageMaker = Callable[..., Stage]


class Hindered(VirtualSender):
    """A sender whose first looks are answered with this status, or (0) are under way until they are cut."""

    status, times = 503, 1_000_000

    def look(self, lost: Sequence[LostAnswer]) -> None:
        if self.times <= 0:
            super().look(lost)
            return
        self.times -= 1
        if self.status:
            self._ended.append(
                read_evidence(Refusing(self._simulator, self._clock, "token-1", self.status), lost)
            )
        else:
            self._cut = lost

    def abort(self) -> None:
        super().abort()
        self._ended.append(read_evidence(Refusing(self._simulator, self._clock, "token-1", None), self._cut))


class Refusing(VirtualGetter):
    """Reads nothing."""

    def __init__(self, simulator: object, clock: object, token: str, status: int | None) -> None:
        super().__init__(simulator, clock, token)  # type: ignore[arg-type] # as its own caller has them
        self._status = status

    def get(self, path: str, query: tuple[tuple[str, str], ...] = ()) -> Answer:
        return Answer(sent=True, status=self._status, failure=None if self._status else "aborted")


def eight_lost(at: Stage) -> tuple[Worker, Notebook]:
    """A run of nine public tests with `resend`, of which all answers but the first are lost."""
    return at.worker(at.jobfile(9, is_public=True, on_uncertain=OnUncertain.RESEND))


def hindered(at: Stage, status: int, times: int = 1_000_000) -> tuple[Ending, Notebook]:
    """The same with looks that fail."""
    worker, notebook = eight_lost(at)
    at.senders[-1].__class__ = Hindered
    at.senders[-1].status, at.senders[-1].times = status, times  # type: ignore[attr-defined] # of the class it has by now
    (ending,) = drive(at.timeline, [worker], longest=40_000)
    return ending, notebook


def lossy(stage: StageMaker) -> Stage:
    """A server whose answers get lost, eight after the first."""
    return stage(tests=12, faults=script_faults([None, *["reset-after"] * 8]))


def requests(at: Stage, method: str) -> int:
    """How many requests of this kind came."""
    return sum(entry.method == method for entry in at.simulator.log)


def test_one_look_settles_all_lost_answers_of_an_account_group(stage: StageMaker) -> None:
    """What is due together is looked for together."""
    at = lossy(stage)
    worker, notebook = eight_lost(at)
    before = requests(at, "GET")
    drive(at.timeline, [worker])
    assert [result.found for result in notebook.results].count("saved_event") == 8
    assert requests(at, "GET") - before <= 3  # the eight were lost at three moments


def test_nothing_is_sent_twice_because_the_list_of_tests_cannot_be_read_for_a_while(
    stage: StageMaker,
) -> None:
    """With 503 for an answer the look is made again, later and later."""
    at = lossy(stage)
    ending, notebook = hindered(at, 503, times=5)
    assert (ending.exit_code, ending.counts.created, requests(at, "POST")) == (0, 9, 9)
    later = [event.text for event in notebook.events if event.name == "evidence.later"]
    assert len(later) == 5
    assert "4 lost answers: the tests could not be read" in later[0]


def test_a_list_that_is_never_read_is_given_up_after_a_while(stage: StageMaker) -> None:
    """Then the policy holds, and it is said that nobody could look."""
    at = lossy(stage)
    begun = at.clock.boot()
    ending, notebook = hindered(at, 503)
    assert ending.counts.created == 9
    assert at.clock.boot() - begun > 3600
    resent = [event.text for event in notebook.events if "sent once more" in event.text]
    assert len(resent) == 8
    assert all("since nobody could look for it: the tests could not be read" in text for text in resent)


def test_a_list_that_may_not_be_read_is_not_asked_for_again(stage: StageMaker) -> None:
    """A 403 says the same tomorrow: the policy holds at once."""
    at = lossy(stage)
    begun = at.clock.boot()
    _, notebook = hindered(at, 403)
    assert at.clock.boot() - begun < 1500
    assert "evidence.later" not in [event.name for event in notebook.events]


@pytest.mark.parametrize(
    ("status", "looks"), [(503, 4), (200, 4), (429, 4), (501, 1), (405, 1), (403, 1)], ids=str
)
def test_a_run_whose_work_is_done_looks_for_two_minutes_at_the_most(
    stage: StageMaker, status: int, looks: int
) -> None:
    """At a list that may be read later it looks again in the half minute that is left; it says until when."""
    at = stage(tests=3, faults=script_faults([None, "reset-after"]))
    worker, notebook = at.worker(at.jobfile(2, is_public=True))
    at.senders[-1].__class__ = Hindered
    at.senders[-1].status = status  # type: ignore[attr-defined] # of the class it has by now
    begun = at.clock.boot()
    (ending,) = drive(at.timeline, [worker], longest=1_000)
    assert (ending.exit_code, ending.counts.uncertain, ending.unread) == (3, 1, 1)
    assert (
        at.clock.boot() - begun <= 120.0 + 15.0
    )  # and what passes until the answer is lost, and between two looks
    assert Hindered.times - at.senders[-1].times >= looks  # type: ignore[attr-defined] # same
    assert (Hindered.times - at.senders[-1].times == 1) is (looks == 1)  # type: ignore[attr-defined] # same
    ends = {round(one.done) for p in notebook.progresses for one in p.waiting if one.done is not None}
    assert len(ends) <= 2
    assert "the next start looks again" in sentences.last_line(ending)


def test_a_look_that_a_stop_cut_off_concludes_nothing(stage: StageMaker) -> None:
    """The next start looks, finds, and sends nothing again."""
    at = stage(tests=3, faults=script_faults([None, "reset-after"]))
    jobfile = at.jobfile(2, is_public=True, on_uncertain=OnUncertain.RESEND)
    worker, notebook = at.worker(jobfile)
    at.senders[-1].__class__ = Hindered
    at.senders[-1].status = 0  # type: ignore[attr-defined] # of the class it has by now
    for seconds in (100.0, 101.0):
        at.timeline.at(at.clock.boot() + seconds, lambda: worker.ask_to_stop("SIGTERM"))
    (ending,) = drive(at.timeline, [worker])
    assert (ending.exit_code, ending.counts.uncertain) == (5, 1)
    assert not any("sent once more" in event.text for event in notebook.events)
    ending, notebook = at.run(jobfile)
    assert (ending.counts.created, requests(at, "POST")) == (2, 2)
    assert [result.found for result in notebook.results].count("saved_event") == 1


@pytest.mark.parametrize("alone", [False, True])
def test_a_process_without_the_credential_leaves_the_search_to_others(
    stage: StageMaker, *, alone: bool
) -> None:
    """It concludes nothing, and does not wait for what it cannot do itself."""
    at = stage(organizations=2, tests=4, faults=script_faults([None, None, "reset-after", "reset-after"]))
    both = at.jobfile(2, is_public=True)
    worker, notebook = at.worker(both)
    workers = [worker]

    def join() -> None:
        other, _ = at.worker(both)
        other._organizations._all = other._organizations._all[1:]
        other._organizations._by_identity = {one.identity: one for one in other._organizations}
        workers.append(other)
        if alone:
            worker.ask_to_stop("SIGTERM")

    at.timeline.at(at.clock.boot() + 3.5, join)
    drive(at.timeline, workers, longest=3_000)
    expected = Status.UNCERTAIN if alone else Status.CREATED
    results = list(at.open().views.results("r1"))
    first = min(result.task.organization for result in results)
    assert {result.status for result in results if result.task.organization == first} >= {expected}
    assert [result.evidence_due is not None for result in results].count(True) == alone
    assert alone or [result.found for result in notebook.results].count("saved_event") == 2


def test_what_a_cancelled_run_lost_is_said_to_stay_uncertain(stage: StageMaker) -> None:
    """Whatever its policy: it is not sent once more, has its record, and `settle` finds it."""
    at = stage(tests=8, faults=script_faults([None, "reset-before"]))
    worker, notebook = at.worker(at.jobfile(8, on_uncertain=OnUncertain.RESEND))
    at.timeline.at(at.clock.boot() + 30, lambda: at.open().runs.end("r1", RunState.CANCELLED))
    (ending,) = drive(at.timeline, [worker])
    assert (ending.exit_code, ending.counts.uncertain) == (3, 1)
    assert not any("sent once more" in event.text for event in notebook.events)
    assert [result.status for result in notebook.results].count(Status.UNCERTAIN) == 1
    (lost,) = (result for result in notebook.results if result.status is Status.UNCERTAIN)
    assert at.open().uncertain.settle_by_hand("r1", lost.task.short_key, made=None).task.key == lost.task.key


def test_while_nothing_is_left_but_to_look_it_is_said_what_is_waited_for(stage: StageMaker) -> None:
    """From the lost answer to the look, a minute and a half later."""
    at = stage(tests=3, faults=script_faults([None, "reset-after"]))
    _, notebook = at.run(at.jobfile(2, is_public=True))
    told = [p.waiting[0] for p in notebook.progresses if p.counts.uncertain and not p.counts.pending]
    assert len(told) > 80
    assert {(one.reason, one.left) for one in told} == {(Reason.EVIDENCE, 1)}
    untils = [one.until for one in told if one.until is not None]
    assert max(untils) - min(untils) < 0.1
    sentence = sentences.waiting_text(told[0], notebook.progresses[2].now, UTC)
    assert re.search(
        r"looking for evidence of snapshots whose answer was lost; next .* UTC \(1 m \d+ s\); 1 left; given up at .* UTC",
        sentence,
    )
    ends = [one.done - 120.0 for one in told if one.done is not None]
    assert max(ends) - min(ends) < 0.1
    assert not notebook.progresses[-1].waiting


def test_it_is_said_also_when_the_organizations_id_is_learnt_meanwhile(stage: StageMaker) -> None:
    """It has another identity then, and waits as before."""
    at = stage(tests=3, faults=script_faults([None, "reset-after"]), switches={"shows_org_id": False})
    jobfile = at.jobfile(2)
    worker, notebook = at.worker(jobfile)
    (organization,) = jobfile.organizations.values()

    def learn() -> None:
        at.tokens[at.open().organizations.join(organization.base_url, organization.name, "1001")] = "token-1"

    at.timeline.at(at.clock.boot() + 20, learn)
    drive(at.timeline, [worker])
    told = [p for p in notebook.progresses if p.counts.uncertain and not p.counts.pending]
    assert len(told) > 80
    assert {one.reason for p in told[:-1] for one in p.waiting} == {Reason.EVIDENCE}
    assert all(p.waiting for p in told[:-1])

"""What goes wrong on the way: every task still ends, none is lost, none is made twice without saying so."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest

from orchestrator.core.events import Ending
from orchestrator.core.jobs import OnUncertain
from orchestrator.core.tasks import Result, Status
from orchestrator.simulator import Fault, FaultPlan, script_faults
from tests.support.server_log import find_duplicates, most_in_any_window
from tests.support.virtual import Notebook, Stage, drive

StageMaker = Callable[..., Stage]

BAD_DAY: Mapping[str, float] = {
    "500": 0.02,
    "502-after": 0.015,
    "503": 0.015,
    "reset-before": 0.03,
    "reset-after": 0.03,
    "cut-head": 0.02,
    "cut-body": 0.02,
    "hang": 0.01,
}


def bad_day() -> FaultPlan:
    """5 % of 500, 502 and 503, 3 % resets before and after, cut answers and hangs."""
    return FaultPlan(rates={Fault.parse(kind): share for kind, share in BAD_DAY.items()})


def flagged(result: Result) -> bool:
    """Whether the record says that the snapshot may exist twice, or that nobody knows."""
    return result.duplicate_possible or result.status is Status.UNCERTAIN


def judge(at: Stage, ending: Ending, notebook: Notebook, tasks: int) -> None:
    """Nothing lost, nothing made twice without saying so, never over the limit."""
    assert len(notebook.results) == tasks
    assert ending.counts.pending == 0
    made = {entry.test for entry in at.simulator.log if entry.snapshot and entry.test}
    said = {r.task.test_id: r for r in notebook.results}
    assert not {t for t in made if said[t].status is Status.FAILED and not flagged(said[t])}
    assert {r.task.test_id for r in notebook.results if r.status is Status.CREATED} <= made
    for wanted in find_duplicates(at.simulator.log):
        assert flagged(said[wanted[2] or ""])
    org = at.simulator.world.organizations[0].org_id
    assert most_in_any_window(at.simulator.log, org, at.limit.per) <= 5


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("policy", list(OnUncertain))
def test_on_a_bad_day_every_task_ends_and_nothing_is_lost(
    stage: StageMaker, seed: int, policy: OnUncertain
) -> None:
    """Whatever was lost is uncertain or found again, and what may exist twice says so."""
    at = stage(faults=bad_day(), seed=seed, latency=(0.5, 0.4))
    ending, notebook = at.run(at.jobfile(60, on_uncertain=policy), seed=seed)
    judge(at, ending, notebook, 60)
    bad = ending.counts.uncertain + ending.counts.failed
    assert ending.exit_code == (3 if bad else 0)


def test_a_lost_answer_is_found_among_the_saved_events(stage: StageMaker) -> None:
    """A private snapshot whose answer was lost is found by its display name and settles the task."""
    at = stage(faults=script_faults([None, "reset-after"]))
    ending, notebook = at.run(at.jobfile(3, is_public=True, display_name="{test} [{key}]"))
    assert ending.counts.created == 3
    assert [r.found for r in notebook.results if r.found] == ["saved_event"]


def test_a_share_link_whose_answer_was_lost_stays_uncertain(stage: StageMaker) -> None:
    """Share links are listed nowhere: not finding one proves nothing, and nothing is sent twice."""
    at = stage(faults=script_faults([None, "reset-after"]))
    ending, notebook = at.run(at.jobfile(3))
    assert (ending.exit_code, ending.counts.uncertain) == (3, 1)
    assert len([e for e in at.simulator.log if e.snapshot]) == 3
    assert [r.status for r in notebook.results].count(Status.UNCERTAIN) == 1


def test_resend_sends_once_more_and_says_so(stage: StageMaker) -> None:
    """With `on_uncertain: resend` the snapshot is made again, flagged as a possible duplicate."""
    at = stage(faults=script_faults([None, "reset-after", None]))
    ending, notebook = at.run(at.jobfile(3, on_uncertain=OnUncertain.RESEND))
    assert (ending.exit_code, ending.counts.created) == (0, 3)
    assert [r.duplicate_possible for r in notebook.results].count(True) == 1
    assert len(find_duplicates(at.simulator.log)) == 1


def test_server_errors_are_retried_until_the_rules_allow_no_more(stage: StageMaker) -> None:
    """A task that gets nothing but 500 fails after eight attempts, possibly made, the others go on."""
    at = stage(tests=3, faults=script_faults([None] + ["500"] * 16))
    ending, notebook = at.run(at.jobfile(3))
    assert ending.counts.failed + ending.counts.created == 3
    assert {r.attempts for r in notebook.results if r.status is Status.FAILED} <= {8}
    assert all(r.duplicate_possible for r in notebook.results if r.status is Status.FAILED)


def test_a_refusal_by_somebody_elses_use_loses_nothing(stage: StageMaker) -> None:
    """A foreign client takes the quota: one probe after a period, then the rest; no attempt is counted."""
    at = stage(faults=script_faults([None, None, "foreign"]))
    ending, notebook = at.run(at.jobfile(12))
    assert (ending.exit_code, ending.counts.created) == (0, 12)
    assert {r.attempts for r in notebook.results} == {1}
    assert any(event.name == "attempt.refused" for event in notebook.events)


def test_without_a_connection_nothing_is_an_attempt_and_the_run_stops_in_the_end(stage: StageMaker) -> None:
    """Nothing answers for `within`: exit code 5, everything pending, the reason named."""
    at = stage()
    worker, notebook = at.worker(at.jobfile(7))
    at.senders[-1].offline = True
    (ending,) = drive(at.timeline, [worker])
    assert (ending.exit_code, ending.counts.pending) == (5, 7)
    assert ending.pending_reasons == {"api_unreachable": 7}
    assert notebook.results == []

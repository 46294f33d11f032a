"""What a crash leaves behind: every line of the table in docs/laws.md, and the judge over it.

In virtual time a crash is an exception that nothing in the program catches, after which the process's locks
are let go; a few processes are really killed at the end. Each line is also shown to break when the commit
before it is taken away.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from orchestrator.core.errors import LeaseLost
from orchestrator.core.jobs import Window
from orchestrator.core.tasks import Result, Status, Task
from orchestrator.simulator import LoggedRequest
from orchestrator.store.leases import End
from tests.crash import ledger as noted
from tests.crash.campaign import campaign
from tests.crash.judge import Law, Output, Seen, violations
from tests.crash.ledger import Ledger, Note, read_ledger
from tests.crash.mortal import MortalQueue, MortalStore, Part
from tests.crash.outcome import Orders
from tests.crash.planted import (
    NoPessimisticReturn,
    NoRecovery,
    NoSendingCommit,
    ResendUncertain,
    SendingTooEarly,
    SplitEnqueue,
)
from tests.crash.points import Fate, Point
from tests.support.postgres import new_database
from tests.support.virtual import Stage, drive

StageMaker = Callable[..., Stage]
TASKS = 12
LONGEST_FIGHT = 900.0
"""Real seconds of killing at most: it ends as soon as there were enough, here after some seconds."""

LONGEST = 2000.0
"""Virtual seconds within which so few tasks are done, if ever."""


class Crashed(BaseException):
    """The process is gone."""


class Doomed(Fate):
    """A fate that ends in an exception."""

    def die(self, point: Point) -> None:
        raise Crashed(point.words)


class ForgetsAnswers(MortalQueue):
    """A store in which what an answer said is never committed."""

    def settle(self, ends: Sequence[End]) -> list[LeaseLost | None]:
        self.fate.passing(Point.SETTLED)
        return [None for _ in ends]


@dataclass(frozen=True, slots=True, kw_only=True)
class Aftermath:
    """What a crashed process left, and what the next one made of it."""

    left: Counter[Status]
    ended: Counter[Status]
    laws: set[Law]
    makespan: float


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    return tmp_path / "ledger.jsonl"


LOOKS = 100_000
"""Looks for a session that a server is about to end: that takes it some milliseconds."""


def await_death(store: MortalStore, owner: str) -> None:
    """Look until the store takes a process for dead: a server ends a session some time after its connection."""
    for _ in range(LOOKS):
        with store._database.read() as tx:
            if not tx.alive(owner):
                return
    raise AssertionError(f"the session of {owner} does not end")


def crash(
    at: Stage,
    ledger: Path,
    point: Point,
    passage: int = 3,
    bug: Part | None = None,
    *,
    heir: Part | None = None,
) -> Aftermath:
    """A process dies at a point, and another one, with the same bug unless said otherwise, ends its run."""
    book, jobfile = Ledger(ledger), at.jobfile(TASKS)
    first = MortalStore(at.open(), Doomed(book, point, passage), book, bug)
    second = MortalStore(at.open(), Fate(book), book, heir or bug)
    with pytest.raises(Crashed):
        drive(at.timeline, [at.worker(jobfile, store=first)[0]])
    owner = first._database.claim().owner
    first._database.close()
    await_death(second, owner)
    left = list(second.views.results("r1")) if second.views.find_exact("r1") else []
    worker, _ = at.worker(jobfile, store=second)
    (ending,) = drive(at.timeline, [worker], longest=LONGEST)
    ended = list(second.views.results("r1"))
    seen = Seen(
        log=at.simulator.log,
        period=at.limit.per,
        limit=5,
        plans={"r1": TASKS},
        results={"r1": ended},
        notes=read_ledger(ledger),
    )
    return Aftermath(
        left=Counter(result.status for result in left),
        ended=Counter(result.status for result in ended),
        laws={violation.law for violation in violations(seen)},
        makespan=ending.seconds,
    )


# -- the crash table: enqueue, grant, connect, first byte, answer stored -----------------------------------


@pytest.mark.parametrize("passage", [1, 3, 5])
def test_enqueue_leaves_all_or_nothing(either_stage: StageMaker, ledger: Path, passage: int) -> None:
    """Wherever the freezing of a plan breaks off, nothing of it is there, and the next start makes all of it."""
    found = crash(either_stage(), ledger, Point.ENQUEUING, passage)
    assert found.left == {}
    assert (found.ended, found.laws) == ({Status.CREATED: TASKS}, set())


@pytest.mark.parametrize("point", [Point.BEFORE_GRANT, Point.GRANTED, Point.CONNECTED])
def test_until_the_first_byte_a_crash_costs_nothing(
    either_stage: StageMaker, ledger: Path, point: Point
) -> None:
    """The task is queued again, its token is in, and nothing is uncertain."""
    found = crash(either_stage(), ledger, point, passage=1)  # nothing else is on the wire yet
    assert found.left[Status.SENDING] == 0
    assert found.left[Status.LEASED] == (point is not Point.BEFORE_GRANT)
    assert (found.ended, found.laws) == ({Status.CREATED: TASKS}, set())


@pytest.mark.parametrize("point", [Point.COMMITTED, Point.ANSWERED])
def test_from_the_first_byte_on_what_was_on_the_wire_is_uncertain(
    either_stage: StageMaker, ledger: Path, point: Point
) -> None:
    """What was `sending`, and nothing else; it is not sent again, and its token comes back late."""
    found = crash(either_stage(), ledger, point)
    lost = found.left[Status.SENDING]
    assert lost >= 1
    assert found.ended == {Status.CREATED: TASKS - lost, Status.UNCERTAIN: lost}
    assert found.laws == set()


def test_an_answer_that_is_stored_is_not_lost(either_stage: StageMaker, ledger: Path) -> None:
    """A crash between the commit and the record loses nothing: the next start prints it."""
    at = either_stage()
    found = crash(at, ledger, Point.SETTLED, passage=1)
    assert (found.left[Status.CREATED], found.left[Status.SENDING]) == (1, 0)
    assert (found.ended, found.laws) == ({Status.CREATED: TASKS}, set())


def test_a_crash_while_recovering_is_recovered_from(either_stage: StageMaker, ledger: Path) -> None:
    """The second process dies while it takes over the first one's leases; the third one ends the run."""
    at = either_stage()
    book, jobfile = Ledger(ledger), at.jobfile(TASKS)
    fates = (Doomed(book, Point.ANSWERED, 3), Doomed(book, Point.RECOVERING, 2))
    for fate in fates:
        store = MortalStore(at.open(), fate, book)
        with pytest.raises(Crashed):
            drive(at.timeline, [at.worker(jobfile, store=store)[0]])
        store._database.close()
    lost = sum(result.status is Status.SENDING for result in at.open().views.results("r1"))
    ending, notebook = at.run(jobfile)
    assert lost >= 1
    assert (ending.counts.created, ending.counts.uncertain, ending.counts.pending) == (TASKS - lost, lost, 0)
    assert len(notebook.results) == TASKS


@pytest.mark.parametrize(
    ("point", "passage", "bug", "law"),
    [
        pytest.param(Point.ANSWERED, 3, NoPessimisticReturn, Law.OVER, id="grant"),
        pytest.param(Point.GRANTED, 3, SendingTooEarly, Law.UNSENT, id="connect"),
        pytest.param(Point.ANSWERED, 3, NoSendingCommit, Law.TWICE, id="first byte"),
        pytest.param(Point.ANSWERED, 3, NoSendingCommit, Law.FORGOTTEN, id="first byte, by the ledger"),
        pytest.param(Point.ANSWERED, 3, ResendUncertain, Law.AGAIN, id="held"),
    ],
)
def test_without_the_commit_before_it_a_line_of_the_table_breaks(
    stage: StageMaker, ledger: Path, point: Point, passage: int, bug: Part, law: Law
) -> None:
    """Each of them, with the commit taken away or at the wrong place, is seen by the judge."""
    assert law in crash(stage(), ledger, point, passage, bug).laws


def test_without_one_commit_for_all_of_it_a_plan_is_frozen_in_part(stage: StageMaker, ledger: Path) -> None:
    """A crash between two commits leaves half of the tasks."""
    assert crash(stage(), ledger, Point.ENQUEUING, 1, SplitEnqueue).left == {Status.QUEUED: TASKS // 2}


def test_without_the_commit_of_the_answer_it_is_lost(stage: StageMaker, ledger: Path) -> None:
    """What was made, and answered, ends as uncertain."""
    found = crash(stage(), ledger, Point.SETTLED, 1, ForgetsAnswers, heir=MortalQueue)
    assert found.ended[Status.UNCERTAIN] >= 1


def test_without_recovery_the_run_does_not_end(stage: StageMaker, ledger: Path) -> None:
    """What a dead process held stays with it for ever."""
    with pytest.raises(AssertionError, match="does not end"):
        crash(stage(), ledger, Point.GRANTED, 3, NoRecovery)


# -- the judge ---------------------------------------------------------------------------------------------

ENTRY = LoggedRequest(
    arrived=100.0,
    method="POST",
    path="/v7/tests/1/snapshot",
    counted_at=100.0,
    organization="1001",
    test="1",
    status=201,
    counted=True,
    snapshot="s1",
    start=0.0,
    end=3600.0,
    is_public=False,
)
TASK = Task(
    organization="o",
    account_group="",
    test_id="1",
    window=Window(start=0, end=3600),
    is_public=False,
    display_name="x",
    job_name="j",
)
RESULT = Result(task=TASK, status=Status.CREATED)
UNSURE = replace(RESULT, status=Status.UNCERTAIN)
FINISHED = {"event": "run.finished", "counts": {"created": 1}}
RECORD = {"event": "snapshot.created", "task": TASK.key, "snapshot_id": "s1"}


def judged(
    log: tuple[LoggedRequest, ...] = (ENTRY,), results: tuple[Result, ...] = (RESULT,), **more: object
) -> list[Law]:
    """Which laws were broken."""
    plain = Seen(log=log, period=3.0, limit=5, plans={"r": 1}, results={"r": results})
    return [violation.law for violation in violations(replace(plain, **more))]  # type: ignore[arg-type] # a test's own


def notes(*whats: tuple[str, int]) -> tuple[Note, ...]:
    """A ledger of one task."""
    return tuple(Note(what=what, pid=1, key=TASK.key, attempt=attempt) for what, attempt in whats)


def test_the_judge_finds_nothing_where_nothing_is() -> None:
    """A snapshot made once, stored as created; or uncertain, and really on its way before."""
    sent = notes((noted.GRANTED, 1), (noted.ASKED, 1), (noted.COMMITTED, 1))
    assert judged() == []
    assert judged(results=(UNSURE,), notes=sent) == []
    assert judged(log=(), results=(UNSURE,), notes=sent) == []


def test_the_judge_sees_a_limit_that_was_passed() -> None:
    """By the server's refusal, and by counting itself."""
    six = tuple(replace(ENTRY, test=str(n + 1), counted_at=100 + n / 10) for n in range(6))
    assert judged(log=six) == [Law.OVER]
    refused = replace(ENTRY, status=429, counted=False, test="7", exhausted="snapshots")
    assert judged(log=(*six[:5], refused)) == [Law.OVER]
    assert judged(log=(*six[:5], replace(refused, exhausted="general"))) == []


def test_the_judge_sees_what_was_lost() -> None:
    """Not settled in the end; created without a snapshot; missing in its plan."""
    assert judged(log=(), results=(replace(RESULT, status=Status.QUEUED),)) == [Law.LOST]
    assert judged(log=()) == [Law.LOST]
    assert judged(plans={"r": 2}) == [Law.TORN]


def test_the_judge_sees_what_was_made_twice_or_sent_again() -> None:
    """Two snapshots of one window; a request for one that stands already."""
    later = replace(ENTRY, arrived=200.0, counted_at=200.0)
    assert judged(log=(ENTRY, later)) == [Law.TWICE, Law.AGAIN]
    assert judged(log=(ENTRY, replace(later, counted=False, status=403))) == [Law.AGAIN]


def test_the_judge_sees_a_wrong_uncertain() -> None:
    """Uncertain and never sent; perhaps sent and granted again; made and failed."""
    assert judged(log=(), results=(UNSURE,), notes=notes((noted.GRANTED, 1))) == [Law.UNSENT]
    again = notes(
        (noted.ASKED, 1), (noted.COMMITTED, 1), (noted.GRANTED, 2), (noted.ASKED, 2), (noted.COMMITTED, 2)
    )
    assert judged(notes=again) == [Law.FORGOTTEN]
    given_back = notes((noted.COMMITTED, 1), (noted.REQUEUED, 1), (noted.GRANTED, 2), (noted.COMMITTED, 2))
    assert judged(notes=given_back) == []
    assert judged(results=(replace(RESULT, status=Status.FAILED),)) == [Law.LOST, Law.FORGOTTEN]


def test_the_judge_sees_a_record_that_is_not_true_and_an_output_that_is_not_complete() -> None:
    """A record of a snapshot that the store does not know; a run that finished without all its records."""
    good = Output(name="o", run_id="r", whole=True, records=[RECORD, FINISHED])
    assert judged(outputs=(good,)) == [Law.UNTRUE]
    cut = replace(good, records=[FINISHED])
    assert judged(outputs=(cut,)) == [Law.INCOMPLETE]
    assert judged(outputs=(replace(cut, whole=False),)) == []
    assert judged(broken=("exit code 1",)) == [Law.BROKEN]


# -- real kills --------------------------------------------------------------------------------------------


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def real_store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A new store in real time."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/store.db"
    return new_database(request.getfixturevalue("server_url"), "crash_points")


@pytest.mark.process
@pytest.mark.scaled
def test_processes_that_are_really_killed_keep_every_promise(real_store: str, tmp_path: Path) -> None:
    """Six processes at a time, killed again and again; then every task is settled, and nothing was made twice."""
    outcome = campaign(
        Orders(
            store=real_store, folder=tmp_path, workers=6, kills=6, per_point=1, longest=LONGEST_FIGHT, seed=1
        )
    )
    assert outcome.violations == []
    assert outcome.missing == []

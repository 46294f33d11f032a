"""Forgetting: what is old and over goes, and nothing that is needed goes with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.core.starts import Start, StartEnd
from orchestrator.core.tasks import (
    LEAST_AGE,
    Counts,
    Existence,
    ListedEvents,
    Reason,
    RefusedOrganization,
    Result,
    Run,
    RunState,
    Settlement,
    Snapshot,
    Status,
)
from orchestrator.store import stubs
from orchestrator.store.locks import OPENING
from orchestrator.store.pruning import SOME, Forgotten, Pruning, choose_old
from orchestrator.store.pruning_sql import UNREFERRED
from orchestrator.store.sql import KNOWN_SNAPSHOTS
from orchestrator.store.store import Store
from orchestrator.store.views import RunSummary
from tests.store.world import BASE_URL, FAILED, UNCERTAIN, SqliteWorld, World, created, task
from tests.support.single import settle
from tests.support.statements import Recorded

DAY = 86_400.0

SAVED, SHARED, FLAGGED = "saved", "shared", "flagged"
"""A snapshot without an end, one that is deleted after thirty days, and one that failed and may have been made."""

FLAGGED_END = replace(FAILED, duplicate_possible=True)


def made(lease: Any, *, saved: bool) -> Settlement:
    number = lease.task.test_id
    snapshot = Snapshot(id=f"s{number}", event_id=f"{number}9", link="https://x/", saved_event=saved)
    return created(lease, snapshot=snapshot)


ENDS: Mapping[str, Callable[[Any], Settlement]] = {
    SAVED: lambda lease: made(lease, saved=True),
    SHARED: lambda lease: made(lease, saved=False),
    "failed": lambda _: FAILED,
    FLAGGED: lambda _: FLAGGED_END,
    "uncertain": lambda _: UNCERTAIN,
}


def run_job(
    world: World,
    run: str,
    ends: Mapping[int, str],
    *,
    job: str = "nightly",
    over: bool = True,
    files: tuple[str, ...] = ("job.yaml",),
    organization: str | None = None,
) -> None:
    """A run of some tests, by number, each of which ends so; `queued` is left, and the run is cancelled then."""
    acme = organization or world.store.organizations.join(BASE_URL, "acme", None)
    in_order = sorted(ends, key=lambda number: ends[number] == "queued")
    tasks = [task(number, acme, position=place) for place, number in enumerate(in_order)]
    world.store.runs.start(Run(id=run, job=job, files=files), tasks)
    world.store.queue.serve(run, [acme])
    while any(_is_to_send(one, ends) for one in world.store.views.results(run)):
        world.advance(400)
        lease = world.sent(acme, run)
        settle(world.store, lease, ENDS[ends[int(lease.task.test_id)]](lease))
    if over:
        left = world.store.views.run(run).total.pending
        world.store.runs.end(run, RunState.CANCELLED if left else RunState.FINISHED)
    world.store.queue.leave()


def _is_to_send(one: Result, ends: Mapping[int, str]) -> bool:
    return one.status is Status.QUEUED and ends[int(one.task.test_id)] != "queued"


def prune(world: World, days: float = 400, **settings: Any) -> Forgotten:
    """Forget all that is older, as the command does."""
    before, pruning = world.store.epoch() - days * DAY, world.store.pruning
    old = pruning.find_old(before, job=settings.pop("job", None))
    steps = (step for one in old for step in pruning.forget(one.run.id, before=before, **settings))
    return sum(steps, Forgotten())


def runs_of(world: World) -> list[str]:
    return [one.run.id for one in world.store.history.runs()]


def rows_of(world: World, table: str) -> int:
    with world.store._database.read() as tx:
        return int(tx.rows(f"SELECT COUNT(*) AS rows FROM {table}")[0]["rows"])  # noqa: S608 - a name of ours


def again(world: World, numbers: Sequence[int], listed: ListedEvents | None = None) -> dict[int, Result]:
    """Each of these tests as a plan finds it, by its number."""
    acme = world.store.organizations.join(BASE_URL, "acme", None)
    tasks = [task(number, acme, saved_events=listed) for number in numbers]
    latest = world.store.views.latest_results(tasks)
    return {int(one.test_id): latest[one.base_key] for one in tasks if one.base_key in latest}


def test_an_old_run_goes_with_its_tasks(world: World) -> None:
    """Whole, in steps; a young one of the same job stays as it is."""
    run_job(world, "old", dict.fromkeys(range(4), SHARED))
    world.advance(500 * DAY)
    run_job(world, "young", dict.fromkeys(range(10, 14), SHARED))
    before = list(world.store.views.results("young"))
    assert prune(world) == Forgotten(runs=1, tasks=4)
    assert runs_of(world) == ["young"]
    assert list(world.store.views.results("young")) == before
    assert [rows_of(world, table) for table in ("task", "run_task", "run_organization", "stub")] == [
        4,
        4,
        1,
        0,
    ]
    assert prune(world) == Forgotten()


def test_a_saved_event_leaves_a_stub_and_is_not_made_again(world: World) -> None:
    """It exists as it did before: unverified where no list is read, gone or there where one is."""
    run_job(world, "old", {0: SAVED, 1: SAVED, 2: SHARED})
    name = next(iter(world.store.views.results("old"))).task.title(0)
    world.advance(500 * DAY)
    run_job(world, "young", {10: SHARED})
    assert prune(world) == Forgotten(runs=1, tasks=3, stubs=2)
    found = again(world, [0, 1, 2])
    assert set(found) == {0, 1}
    assert [one.existence(None, world.store.epoch()) for one in found.values()] == [Existence.UNVERIFIED] * 2
    listed = ListedEvents(names=frozenset({name}), ids=frozenset({"19"}), read_at=world.store.epoch())
    there = [one.existence(listed, world.store.epoch()) for one in again(world, [0, 1]).values()]
    assert there == [Existence.THERE] * 2
    world.begin(3, run="again")
    assert [one.status for one in world.store.views.results("again")] == [
        Status.CREATED,
        Status.CREATED,
        Status.QUEUED,
    ]
    assert rows_of(world, "stub") == 0
    assert not any(
        one.made_here for one in world.store.views.results("again") if one.status is Status.CREATED
    )


def test_saved_events_of_stubs_are_known(world: World) -> None:
    """None of them is taken for what a lost answer has left."""
    run_job(world, "old", {3: SAVED})
    world.advance(500 * DAY)
    run_job(world, "young", {10: SHARED})
    acme = world.store.organizations.join(BASE_URL, "acme", None)
    prune(world)
    assert world.store.uncertain.known_snapshots(acme, ["39", "40"]) == {"39"}


def test_stubs_go_where_they_are_not_wanted(world: World) -> None:
    """Then the snapshots are made again when somebody asks for them."""
    run_job(world, "old", {0: SAVED})
    world.advance(500 * DAY)
    run_job(world, "young", {10: SHARED})
    assert prune(world, private=True) == Forgotten(runs=1, tasks=1, private=1)
    assert again(world, [0]) == {}


def test_stubs_that_were_left_before_go_with_their_time(world: World) -> None:
    """Those of before a moment, page by page; the others stay."""
    run_job(world, "old", {0: SAVED})
    world.advance(500 * DAY)
    run_job(world, "older", {1: SAVED})
    world.advance(450 * DAY)
    run_job(world, "young", {10: SHARED})
    assert prune(world) == Forgotten(runs=2, tasks=2, stubs=2)
    steps = list(world.store.pruning.forget_stubs(before=world.store.epoch() - 460 * DAY))
    assert steps == [Forgotten(private=1)]
    assert set(again(world, [0, 1])) == {1}


def test_what_is_uncertain_stays_with_its_run(world: World) -> None:
    """It can be settled by hand for as long as nobody did; then it goes, too."""
    run_job(world, "old", {0: SHARED, 1: "uncertain", 2: "failed"})
    world.advance(500 * DAY)
    run_job(world, "young", {10: SHARED})
    assert prune(world) == Forgotten(tasks=2, kept=1)
    assert world.store.views.run("old").total == Counts(uncertain=1)
    assert world.store.views.find_run("old").tasks == 1
    assert prune(world) == Forgotten()
    key = next(iter(world.store.views.results("old"))).task.key
    world.store.uncertain.settle_by_hand("old", key, made=Snapshot(id="55"))
    assert prune(world) == Forgotten(kept=1), "it was settled a moment ago"
    world.advance(500 * DAY)
    assert prune(world) == Forgotten(runs=1, tasks=1)


def test_what_was_settled_lately_stays_with_its_old_run(world: World) -> None:
    """It was tried again by another run, which may not have told all of it yet."""
    run_job(world, "old", {0: "failed", 1: "failed"})
    world.advance(500 * DAY)
    run_job(world, "young", {0: "failed"})
    assert prune(world) == Forgotten(tasks=1, kept=1)
    world.advance(500 * DAY)
    run_job(world, "younger", {10: SHARED})
    assert prune(world) == Forgotten(runs=2, tasks=2)


def test_a_snapshot_that_is_known_to_exist_stays(world: World) -> None:
    """By the date that the API gave it, however long ago it was asked for."""
    acme = world.begin(1, run="old")
    lease = world.sent(acme, "old")
    shared_at = world.store.epoch() + 490 * DAY
    snapshot = Snapshot(id="s", event_id="e", link="https://x/", shared_at=shared_at)
    settle(world.store, lease, created(lease, snapshot=snapshot))
    world.store.runs.end("old", RunState.FINISHED)
    world.store.queue.leave()
    world.advance(500 * DAY)
    run_job(world, "young", {10: SHARED})
    assert prune(world) == Forgotten(kept=1)


def test_a_list_that_is_younger_than_a_forgotten_request_proves_nothing(world: World) -> None:
    """A task that comes back of its stub was granted once: nothing is noted of lists that were read later."""
    run_job(world, "old", {0: SAVED})
    world.advance(500 * DAY)
    run_job(world, "young", {10: SHARED})
    prune(world)
    acme = world.store.organizations.join(BASE_URL, "acme", None)
    listed = ListedEvents(names=frozenset(), ids=frozenset({"09"}), read_at=world.store.epoch())
    world.store.runs.start(Run(id="again", job="nightly"), [task(0, acme, saved_events=listed)])
    (one,) = world.store.views.results("again")
    assert (one.status, one.listed, one.listed_at) == (Status.CREATED, None, None)


def test_no_number_of_a_forgotten_task_is_given_again(world: World) -> None:
    """What names a task by its number, such as a token, never means another one: the highest number stays taken."""
    run_job(world, "old", dict.fromkeys(range(3), "failed"), files=())
    world.advance(500 * DAY)
    world.begin(0, run="young")
    assert prune(world) == Forgotten(runs=1, tasks=3)
    assert rows_of(world, "task") == 1
    world.begin(2, run="new")
    with world.store._database.read() as tx:
        numbers = [row["task"] for row in tx.rows("SELECT task FROM run_task ORDER BY task")]
    assert numbers[-1] > 3
    assert len(numbers) == 2


def test_that_a_duplicate_is_possible_is_not_forgotten(world: World) -> None:
    """The next one who asks for the snapshot is told so."""
    run_job(world, "old", {0: FLAGGED, 1: "failed"})
    world.advance(500 * DAY)
    run_job(world, "young", {10: SHARED})
    assert prune(world) == Forgotten(runs=1, tasks=2)
    acme = world.begin(2, run="again")
    leases = [world.sent(acme, "again") for _ in range(2)]
    assert {one.task.test_id: one.duplicate_possible for one in leases} == {"0": True, "1": False}


def test_a_snapshot_that_a_younger_run_refers_to_stays(world: World) -> None:
    """With all that is known of it, but for the run that made it."""
    run_job(world, "old", {0: SAVED, 1: SAVED})
    world.advance(500 * DAY)
    run_job(world, "young", {0: SAVED, 2: SHARED})
    assert prune(world) == Forgotten(runs=1, tasks=2, stubs=1)
    first = next(iter(world.store.views.results("young")))
    assert (first.status, first.made_here, first.snapshot.link) == (Status.CREATED, False, "https://x/")  # type: ignore[union-attr]
    assert {one.run_id for one in world.store.history.snapshots()} == {"", "young"}


def test_a_run_that_is_not_over_stays(world: World) -> None:
    """However old it is; given up, it goes."""
    run_job(world, "old", {0: SHARED, 1: "queued"}, over=False)
    world.advance(500 * DAY)
    run_job(world, "young", {10: SHARED})
    assert prune(world) == Forgotten()
    world.store.runs.end("old", RunState.CANCELLED)
    assert prune(world) == Forgotten(runs=1, tasks=2)


def test_a_run_that_is_tried_again_meanwhile_stays(world: World) -> None:
    """Between two steps."""
    run_job(world, "old", {0: "failed", 1: SHARED})
    world.advance(500 * DAY)
    run_job(world, "young", {10: SHARED})
    before = world.store.epoch() - 400 * DAY
    (old,) = world.store.pruning.find_old(before)
    world.store.runs.retry_failed("old")
    assert list(world.store.pruning.forget(old.run.id, before=before)) == [Forgotten()]
    assert world.store.views.run("old").total == Counts(queued=1, created=1)


def test_a_run_that_somebody_serves_stays(world: World) -> None:
    """A process that is still there may print its records again."""
    run_job(world, "old", {0: SHARED})
    world.advance(500 * DAY)
    run_job(world, "young", {10: SHARED})
    world.store.queue.serve("old", [world.store.organizations.join(BASE_URL, "acme", None)])
    assert prune(world) == Forgotten()


def test_the_last_run_of_a_job_and_its_last_success_stay(world: World) -> None:
    """By these it is told when it ran, and when it succeeded."""
    for number, (name, end) in enumerate({"done": SHARED, "failed": "failed", "last": "failed"}.items()):
        run_job(world, name, {number: end})
        world.advance(DAY)
    world.advance(500 * DAY)
    assert prune(world) == Forgotten(runs=1, tasks=1)
    assert runs_of(world) == ["last", "done"]


def test_an_incident_is_no_job_of_which_one_run_stays(world: World) -> None:
    """Each has a title of its own: the latest of each would be all of them."""
    for number, title in enumerate(("INC-4711", "INC-4712")):
        run_job(world, title, {number: SHARED}, job=title, files=())
    world.advance(500 * DAY)
    assert prune(world) == Forgotten(runs=2, tasks=1 + 1)
    assert runs_of(world) == []


def test_one_job_is_forgotten_and_no_other(world: World) -> None:
    """As a job file asks for it."""
    for name in ("a", "b"):
        run_job(world, f"old-{name}", {ord(name): SHARED}, job=name)
    world.advance(500 * DAY)
    for name in ("a", "b"):
        run_job(world, f"young-{name}", {1000 + ord(name): SHARED}, job=name)
    assert prune(world, job="a") == Forgotten(runs=1, tasks=1)
    assert set(runs_of(world)) == {"old-b", "young-a", "young-b"}


def leave_stub(world: World, name: str, org_id: str | None = None) -> str:
    """Have a saved snapshot of test 0 made long ago in an organization, and forgotten with its run; its identity."""
    organization = world.store.organizations.join(BASE_URL, name, org_id)
    for run, ends in (("old", SAVED), ("young", SHARED)):
        number = 0 if run == "old" else 10
        run_job(world, f"{run}-{name}", {number: ends}, job=name, organization=organization)
        world.advance(500 * DAY)
    prune(world)
    return organization


def test_two_organizations_that_become_one_keep_what_their_stubs_say(world: World) -> None:
    """The keys change, and the snapshots are still known: to a look, to a plan, and as events that stand in a list."""
    leave_stub(world, "acme")
    assert rows_of(world, "stub") == 1
    true = world.store.organizations.join(BASE_URL, "acme", "77")
    latest = world.store.views.latest_results([task(0, true)])
    assert [one.status for one in latest.values()] == [Status.CREATED]
    assert world.store.uncertain.known_snapshots(true, ["09"]) == {"09"}
    world.store.runs.start(Run(id="again", job="nightly"), [task(0, true)])
    (one,) = world.store.views.results("again")
    assert (one.status, one.duplicate_possible, one.task.generation) == (Status.CREATED, False, 0)


def test_a_snapshot_of_which_both_names_left_a_stub_was_made_twice(world: World) -> None:
    """Before anybody knew that they are one: both events are known, and who asks again is told."""
    leave_stub(world, "acme")
    true = leave_stub(world, "edge", "77")
    assert rows_of(world, "stub") == 2
    assert world.store.organizations.join(BASE_URL, "acme", "77") == true
    assert rows_of(world, "stub") == 0
    world.store.runs.start(Run(id="again", job="nightly"), [task(0, true)])
    (one,) = world.store.views.results("again")
    assert (one.status, one.duplicate_possible, one.task.generation) == (Status.CREATED, True, 1)


def test_a_stub_that_is_left_after_two_became_one_has_the_key_of_both(world: World) -> None:
    """A run of before is forgotten after the merger; whoever asks by either name finds its snapshot."""
    run_job(world, "old", {0: SAVED})
    world.advance(500 * DAY)
    true = world.store.organizations.join(BASE_URL, "acme", "77")
    world.store.organizations.join(BASE_URL, "edge", "77")
    run_job(world, "young", {10: SHARED})
    assert prune(world) == Forgotten(runs=1, tasks=1, stubs=1)
    for name in ("acme", "edge"):
        assert world.store.organizations.join(BASE_URL, name, None) == true
    latest = world.store.views.latest_results([task(0, true)])
    assert [one.status for one in latest.values()] == [Status.CREATED]


def test_a_second_generation_of_a_stub_is_a_second_generation(world: World) -> None:
    """It has another key, and so another name."""
    run_job(world, "old", {0: SAVED})
    world.advance(500 * DAY)
    run_job(world, "young", {10: SHARED})
    prune(world)
    acme = world.store.organizations.join(BASE_URL, "acme", None)
    world.store.runs.start(Run(id="again", job="nightly"), [task(0, acme)], again=True)
    (one,) = world.store.views.results("again")
    assert (one.task.generation, one.status) == (1, Status.QUEUED)


# -- starts of jobs ------------------------------------------------------------------------------------------

NIGHTLY = Start(job="nightly", command="run")


def start(world: World, run: str | None, code: int, *, part: bool = False) -> None:
    """A start that has come to a run, or to none, and has ended so."""
    one = NIGHTLY._replace(run_id=run, part=part)
    mark = world.store.starts.begin(one)
    world.store.starts.end(mark, one, StartEnd(exit_code=code, last_line="over"))


def test_the_runs_and_starts_that_metrics_tell_of_stay(world: World) -> None:
    """The last one of a job, and the last one with everything made; the others go with what is known of their starts."""
    for number, (name, code) in enumerate({"first": 0, "done": 0, "failed": 3, "last": 3}.items()):
        run_job(world, name, {number: SHARED if code == 0 else "failed"})
        start(world, name, code)
        world.advance(DAY)
    start(world, None, 2)
    start(world, None, 2)
    world.advance(500 * DAY)
    run_job(world, "part", {10: SHARED})
    start(world, "part", 0, part=True)
    assert prune(world) == Forgotten(runs=2, tasks=2)
    assert set(runs_of(world)) == {"done", "last", "part"}
    world.store.pruning.forget_starts(before=world.store.epoch() - 400 * DAY)
    with world.store._database.read() as tx:
        left = [row["run"] for row in tx.rows("SELECT run FROM job_start ORDER BY id")]
    assert left == ["done", "last", None, "part"]
    last, done = world.store.starts.last("nightly"), world.store.starts.last_done("nightly")
    assert last is not None
    assert (last.run_id, last.exit_code) == (None, 2)
    assert done is not None
    assert done.run_id == "done"
    assert world.store.views.run("done").total == Counts(created=1)


def test_starts_of_another_job_stay(world: World) -> None:
    """Where a file forgets for its own job."""
    for job in ("nightly", "weekly"):
        for _ in range(2):
            one = NIGHTLY._replace(job=job)
            world.store.starts.end(world.store.starts.begin(one), one, StartEnd(exit_code=2))
    world.advance(500 * DAY)
    world.store.pruning.forget_starts(before=world.store.epoch() - 400 * DAY, job="nightly")
    with world.store._database.read() as tx:
        left = [row["job"] for row in tx.rows("SELECT job FROM job_start ORDER BY id")]
    assert left == ["nightly", "weekly", "weekly"]


def test_a_run_that_was_started_lately_is_not_old(world: World) -> None:
    """However long ago it was planned."""
    run_job(world, "first", {0: "failed"})
    run_job(world, "old", {1: "failed"})
    start(world, "old", 3)
    world.advance(500 * DAY)
    start(world, "old", 3)
    run_job(world, "young", {10: SHARED})
    start(world, "young", 0)
    assert prune(world) == Forgotten(runs=1, tasks=1)
    assert set(runs_of(world)) == {"old", "young"}


def test_a_part_of_a_job_that_ran_last_does_not_stay(world: World) -> None:
    """It is told to nobody by the file; an incident with the organizations of a file is one, too."""
    for number, name in enumerate(("whole", "part")):
        run_job(world, name, {number: SHARED})
        start(world, name, 0, part=name == "part")
    world.advance(500 * DAY)
    assert prune(world) == Forgotten(runs=1, tasks=1)
    assert runs_of(world) == ["whole"]


# -- how it is done ----------------------------------------------------------------------------------------


def test_a_transaction_has_few_tasks_and_few_statements(world: World) -> None:
    """However many a run has: nobody waits for longer than for one of them."""
    acme = world.store.organizations.join(BASE_URL, "acme", None)
    count = 2 * SOME + 1
    world.store.runs.start(Run(id="old", job="nightly"), world.tasks(count, acme))
    world.store.runs.end("old", RunState.CANCELLED)
    world.advance(500 * DAY)
    run_job(world, "young", {count: SHARED})
    recorded = Recorded(world.store._database)
    pruning = type(world.store.pruning)(recorded)
    steps, asked = [], []
    for step in pruning.forget("old", before=world.store.epoch() - 400 * DAY):
        steps.append(step.tasks)
        asked.append(len(recorded.asked))
        recorded.asked.clear()
    assert steps == [SOME, SOME, 1]
    assert max(asked) <= 13
    assert sum(steps) == count


def test_no_statement_reads_a_table_from_end_to_end(world: World) -> None:
    """A step costs the same beside a long history."""
    run_job(world, "old", {0: SAVED, 1: SHARED})
    world.advance(500 * DAY)
    run_job(world, "young", {10: SHARED})
    recorded = Recorded(world.store._database)
    pruning = type(world.store.pruning)(recorded)
    list(pruning.forget("old", before=world.store.epoch() - 400 * DAY))
    for sql, values in recorded.asked:
        if not sql.lstrip().startswith("INSERT"):
            assert recorded.scans(sql, values) == [], sql


@pytest.mark.parametrize(
    ("sql", "values"),
    [
        (stubs.ASKED, {"keys": ["k"]}),
        (stubs.OF_ORGANIZATIONS, {"organizations": [1]}),
        (stubs.PAGE, {"base_key": "", "generation": 0, "some": SOME}),
        (KNOWN_SNAPSHOTS, {"organization": 1, "ids": ["9"]}),
    ],
)
def test_stubs_are_looked_up(world: World, sql: str, values: Mapping[str, object]) -> None:
    """A plan, a merger and a search for evidence cost the same beside a million of them."""
    assert Recorded(world.store._database).scans(sql, values) == []


def test_the_file_becomes_smaller_when_nobody_is_at_work(sqlite_world: SqliteWorld) -> None:
    """While somebody is, the room is used again; the size says how much that is."""
    world = sqlite_world
    acme = world.store.organizations.join(BASE_URL, "acme", None)
    world.store.runs.start(Run(id="old", job="nightly"), world.tasks(2000, acme))
    world.store.runs.end("old", RunState.CANCELLED)
    world.store.queue.leave()
    world.advance(500 * DAY)
    run_job(world, "young", {9999: SHARED})
    full = world.store.pruning.measure()
    prune(world)
    free = world.store.pruning.measure()
    assert full.total == free.total
    assert free.free > free.total / 2
    other = world.open()
    other.queue.serve("young", [acme])
    assert world.store.pruning.compact() == "processes are at work on it"
    assert world.store.pruning.measure() == free
    world.end(other)
    assert world.store.pruning.compact() == ""
    assert "writes its file anew (tesnap prune)" in opening_file(world).read_text()
    small = world.store.pruning.measure()
    assert small.free == 0
    assert small.total < full.total / 2
    assert Path(world.path).stat().st_size == small.total
    world.end(world.store)
    world.store = world.open()
    assert world.store.views.loss() is None


def opening_file(world: SqliteWorld) -> Path:
    """The lock file that says to those who wait what is done with the store."""
    return world.path.with_name(f"{world.path.name}.owners") / OPENING


def test_while_another_process_has_the_store_open_the_file_stays_as_it_is(sqlite_world: SqliteWorld) -> None:
    """One that plans, or prunes too, has yet to register: it would wait for longer than it has patience."""
    world = sqlite_world
    acme = world.store.organizations.join(BASE_URL, "acme", None)
    world.store.runs.start(Run(id="old", job="nightly"), world.tasks(500, acme))
    world.store.runs.end("old", RunState.CANCELLED)
    world.store.queue.leave()
    world.advance(500 * DAY)
    run_job(world, "young", {9999: SHARED})
    prune(world)
    other = world.open()
    assert world.store.pruning.compact() == other.pruning.compact() == "processes are at work on it"
    world.end(other)
    assert world.store.pruning.compact() == ""


@pytest.mark.process
def test_the_file_is_written_anew_where_there_is_a_volume_for_it(sqlite_world: SqliteWorld) -> None:
    """Beside the store: in a container there may be no other place, or one that is memory."""
    world = sqlite_world
    connection = world.store._database._connection  # type: ignore[attr-defined] # SQLite's own
    with world.store._database.write() as tx:
        tx.change("CREATE TABLE filled (text TEXT)")
        tx.change("INSERT INTO filled VALUES (:text)", text="x" * 2**24)
        tx.change("INSERT INTO filled VALUES (:text)", text="x" * 2**24)
    with world.store._database.write() as tx:
        tx.change("DELETE FROM filled WHERE rowid = 1")
    seen: set[str] = set()
    connection.set_progress_handler(lambda: seen.update(open_files()), 1)
    assert world.store.pruning.compact() == ""
    temporary = {Path(name).parent for name in seen if "etilqs" in name}
    assert temporary == {world.path.parent}


def open_files() -> Iterator[str]:
    """What this process has open, by the kernel's word."""
    for file in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            yield str(file.readlink())


def test_a_stub_is_small(sqlite_world: SqliteWorld) -> None:
    """Key, ids and name: under 150 bytes each, in the file."""
    world, count = sqlite_world, 4000
    acme = world.store.organizations.join(BASE_URL, "acme", None)
    name = "Checkout EU {start} +{duration} [{key}]"
    tasks = [
        task(200_000 + n, acme, display_name=name, account_group="12345", position=n) for n in range(count)
    ]
    world.store.runs.start(Run(id="old", job="nightly"), tasks)
    fill = """UPDATE task SET status = 'created', settled_wall = :wall, settled_at = 0, granted_at = 0,
        snapshot_id = 'abc' || id, event_id = '1234' || id,
        snapshot = '{"id": "x", "saved_event": true, "link": "https://app.thousandeyes.com/share/abcdefgh"}'"""
    made_at = world.store.epoch()
    with world.store._database.write() as tx:
        tx.change(fill, wall=made_at)
        tx.change("UPDATE run_task SET phase = 4")
    world.store.runs.end("old", RunState.FINISHED)
    world.store.queue.leave()
    world.advance(500 * DAY)
    run_job(world, "young", {9: SHARED})
    assert prune(world) == Forgotten(runs=1, tasks=count, stubs=count)
    world.store.pruning.compact()
    with_stubs = world.store.pruning.measure().total
    with world.store._database.write() as tx:
        tx.change("DELETE FROM stub")
    world.store.pruning.compact()
    assert (with_stubs - world.store.pruning.measure().total) / count < 150


# -- nothing that is needed goes -----------------------------------------------------------------------------

ENDINGS = (
    Counts(created=2),
    Counts(created=1, failed=1),
    Counts(created=1, uncertain=1),
    Counts(uncertain=1),
    Counts(),
)

LEFT_OUT = RefusedOrganization(name="acme", reason=Reason.TOKEN_MISSING, text="it has no token")

summaries = st.lists(
    st.tuples(
        st.sampled_from("ab"),
        st.integers(0, 1000),
        st.sampled_from([RunState.FINISHED, RunState.FINISHED, RunState.CANCELLED, RunState.ACTIVE]),
        st.sampled_from(ENDINGS),
        st.sampled_from([0, 0, 0, 1]),
        st.sampled_from([("job.yaml",), ("job.yaml",), ()]),
        st.sampled_from([(), (), (LEFT_OUT,)]),
    ),
    max_size=12,
)


@given(summaries, st.integers(0, 1000), st.sampled_from(["a", "b", None]))
def test_the_runs_that_are_needed_are_not_chosen(specs: Any, days: int, job: str | None) -> None:
    """The open, the young, those that are served, the latest of each job, and the last one that was made in full."""
    now = 2000 * DAY
    runs = [
        RunSummary(
            run=Run(
                id=f"r{n}", job=name, files=files, created_at=now - age * DAY, state=state, refused=refused
            ),
            total=counts,
            processes=processes,
        )
        for n, (name, age, state, counts, processes, files, refused) in enumerate(specs)
    ]
    runs.sort(key=lambda one: one.run.created_at, reverse=True)
    chosen = choose_old(runs, now - days * DAY, job=job)
    assert [one.run.created_at for one in chosen] == sorted(one.run.created_at for one in chosen)
    for one in chosen:
        assert one.run.state in (RunState.FINISHED, RunState.CANCELLED)
        assert one.run.created_at < now - days * DAY
        assert not one.processes
        assert job in (None, one.run.job)
    of_files = [one for one in runs if one.run.files]
    for name in {one.run.job for one in of_files}:
        own = [one for one in of_files if one.run.job == name]
        assert own[0] not in chosen
        assert next((one for one in own if _is_whole(one)), None) not in chosen


def _is_whole(one: RunSummary) -> bool:
    counts = one.total
    return one.run.state is RunState.FINISHED and counts.total == counts.created > 0 and not one.run.refused


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """One run of a history: its job, the days until it, how each test ends, and if it is over then."""

    job: str
    days: int
    ends: Mapping[int, str]
    over: bool


histories = st.lists(
    st.builds(
        Spec,
        job=st.sampled_from("ab"),
        days=st.integers(0, 300),
        ends=st.dictionaries(st.integers(0, 5), st.sampled_from([*ENDS, "queued"]), min_size=1, max_size=4),
        over=st.booleans(),
    ),
    min_size=1,
    max_size=7,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Needed:
    """All that somebody may still need of a store."""

    asked_again: Mapping[int, tuple[Any, ...]]
    uncertain: frozenset[tuple[str, str]]
    unfinished: Mapping[str, Sequence[Result]]
    young: Mapping[str, Counts]
    ran: Mapping[str, str]
    succeeded: Mapping[str, str]
    tokens: Any
    events: frozenset[str]


def needed(world: World, before: float) -> Needed:
    """Read it by the ways that everybody uses."""
    views, acme = world.store.views, world.store.organizations.join(BASE_URL, "acme", None)
    runs = list(world.store.history.runs())
    results = {one.run.id: list(views.results(one.run.id)) for one in runs}
    whole = [
        one
        for one in runs
        if one.run.state is RunState.FINISHED and one.total.created + one.total.existing == one.total.total
    ]
    return Needed(
        asked_again={number: _meaning(one, world) for number, one in again(world, range(6)).items()},
        uncertain=frozenset(
            (run, one.task.key)
            for run, all_ in results.items()
            for one in all_
            if one.status is Status.UNCERTAIN
        ),
        unfinished={one.run.id: results[one.run.id] for one in runs if one.run.state is RunState.ACTIVE},
        young={one.run.id: one.total for one in runs if one.run.created_at >= before},
        ran={one.run.job: one.run.id for one in reversed(runs)},
        succeeded={one.run.job: one.run.id for one in reversed(whole)},
        tokens=world.store.organizations.bucket(acme),
        events=world.store.uncertain.known_snapshots(acme, [f"{number}9" for number in range(6)]),
    )


def _meaning(one: Result, world: World) -> tuple[Any, ...]:
    """What a plan makes of a snapshot that is known: there, unverified, to be made, or made again with a word of warning."""
    if one.status is Status.CREATED:
        there = one.existence(None, world.store.epoch())
        return (there, one.duplicate_possible) if there is not Existence.GONE else ()
    return (
        (one.status, one.duplicate_possible)
        if one.duplicate_possible or one.status is Status.UNCERTAIN
        else ()
    )


def _without_nothing(found: Mapping[int, tuple[Any, ...]]) -> Mapping[int, tuple[Any, ...]]:
    return {number: meaning for number, meaning in found.items() if meaning}


@settings(max_examples=40, deadline=None)
@given(histories)
def test_nothing_that_is_needed_is_forgotten(history: Sequence[Spec]) -> None:
    """Whatever was run before; and what is not needed is gone."""
    with TemporaryDirectory() as folder:
        world = SqliteWorld(Path(folder) / "store.db")
        for number, spec in enumerate(history):
            world.advance(spec.days * DAY)
            run_job(world, f"r{number}", spec.ends, job=spec.job, over=spec.over)
        before = world.store.epoch() - 100 * DAY
        then = needed(world, before)
        prune(world, 100)
        now = needed(world, before)
        assert _without_nothing(now.asked_again) == _without_nothing(then.asked_again)
        assert now.events >= _may_be_listed(then, world)
        for name in ("uncertain", "unfinished", "young", "ran", "succeeded", "tokens"):
            assert getattr(now, name) == getattr(then, name), name
        _check_left(world, before)
        world.close()


def _may_be_listed(then: Needed, world: World) -> frozenset[str]:
    """The saved events that may still stand in a list."""
    lasting = {
        n
        for n, meaning in then.asked_again.items()
        if meaning and meaning[0] in (Existence.THERE, Existence.UNVERIFIED)
    }
    return then.events & {f"{number}9" for number in lasting}


def _check_left(world: World, before: float) -> None:
    """Each run has as many tasks as it says, and an old one that is over has a reason to be there."""
    kept = needed(world, before)
    for one in world.store.history.runs():
        results = list(world.store.views.results(one.run.id))
        assert one.run.tasks == one.total.total == len(results)
        old = one.run.state is not RunState.ACTIVE and one.run.created_at < before
        if old and one.run.id not in {*kept.ran.values(), *kept.succeeded.values()}:
            assert results
            assert all(_is_needed(result, before, world.store.epoch()) for result in results)


def _is_needed(one: Result, before: float, epoch: float) -> bool:
    young = one.settled_wall is not None and one.settled_wall >= before
    there = one.status is Status.CREATED and one.existence(None, epoch) is Existence.THERE
    return young or there or one.status is Status.UNCERTAIN


def test_everything_is_kept_for_longer_than_a_shared_snapshot_lasts() -> None:
    """Thirty days, and some to spare."""
    assert LEAST_AGE > 30 * DAY


# -- beside others -------------------------------------------------------------------------------------------


class Meddled:
    """A database in which somebody else begins something in the middle of a transaction, and is waited for a little."""

    def __init__(self, database: Any, meddle: Callable[[], object]) -> None:
        self._database, self._other = database, Thread(target=meddle)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._database, name)

    @contextmanager
    def write(self) -> Iterator[Any]:
        with self._database.write() as tx:
            yield MeddledTransaction(tx, self._other)

    def end(self) -> None:
        """Wait until the other one has come to its end."""
        self._other.join()


class MeddledTransaction:
    """Its other one begins right after it has looked which tasks nobody else refers to."""

    def __init__(self, tx: Any, other: Thread) -> None:
        self._tx, self._other = tx, other

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tx, name)

    def rows(self, sql: str, **values: object) -> Any:
        found = self._tx.rows(sql, **values)
        if sql == UNREFERRED and self._other.ident is None:
            self._other.start()
            self._other.join(0.3)
        return found


def plan_again(world: World, other: Store) -> None:
    acme = other.organizations.join(BASE_URL, "acme", None)
    other.runs.start(Run(id="again", job="nightly"), [task(number, acme) for number in range(3)])


def try_again(world: World, other: Store) -> None:
    other.runs.retry_failed("old")


@pytest.mark.process
@pytest.mark.parametrize("meddle", [plan_again, try_again])
def test_who_asks_for_a_snapshot_while_it_is_forgotten_waits_for_it(
    world: World, meddle: Callable[[World, Store], object]
) -> None:
    """A plan refers to no task that is gone, and a run that is tried again has all that it says."""
    run_job(world, "old", {0: SAVED, 1: SHARED, 2: "failed"})
    world.advance(500 * DAY)
    run_job(world, "young", {10: SHARED})
    other, before = world.open(), world.store.epoch() - 400 * DAY
    database = Meddled(world.store._database, partial(meddle, world, other))
    assert sum(Pruning(database).forget("old", before=before), Forgotten()).tasks == 3
    database.end()
    for one in other.history.runs():
        results = list(other.views.results(one.run.id))
        assert one.run.tasks == one.total.total == len(results)
    if meddle is plan_again:
        states = [one.status for one in other.views.results("again")]
        assert states == [Status.CREATED, Status.QUEUED, Status.QUEUED]
    assert rows_of(world, "run_task") == sum(one.run.tasks for one in other.history.runs())

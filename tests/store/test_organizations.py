"""Who shares a bucket: names, ids learnt later, and two organizations that turn out to be one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from orchestrator.core.errors import LeaseLost
from orchestrator.core.jobs import Priority, identity
from orchestrator.core.tasks import SNAPSHOT_LIFETIME, Closing, Counts, Run, Status
from orchestrator.ratelimit.bucket import Wait
from orchestrator.store import organizations
from tests.store.world import BASE_URL, FAILED, LIMIT, TIMEOUT, UNCERTAIN, World, created, queued, task
from tests.support.single import grant, mark_sending, settle


def test_an_identity_learnt_once_is_used_without_an_id(world: World) -> None:
    """A process that cannot read the id shares the bucket all the same."""
    known = world.store.organizations.join(BASE_URL, "acme", "77")
    assert known == identity(BASE_URL, org_id="77")
    assert world.open().organizations.join(f"{BASE_URL}/", "acme", None) == known


def test_two_names_of_one_id_share_a_bucket(world: World) -> None:
    """The latest name is shown."""
    one = world.store.organizations.join(BASE_URL, "acme", "77")
    assert world.store.organizations.join(BASE_URL, "acme-prod", "77") == one
    assert world.store.organizations.names() == {one: "acme-prod"}


def test_the_same_name_elsewhere_is_another_organization(world: World) -> None:
    """A name means something only with its base URL."""
    assert world.store.organizations.join(BASE_URL, "acme", None) != world.store.organizations.join(
        "https://other.example.com/v7", "acme", None
    )


def test_a_name_given_to_another_id_leaves_the_first_alone(world: World) -> None:
    """Nothing of one organization moves to another."""
    first = world.store.organizations.join(BASE_URL, "acme", "77")
    second = world.store.organizations.join(BASE_URL, "acme", "88")
    assert first != second
    assert world.store.organizations.join(BASE_URL, "acme", None) == second
    assert world.store.organizations.join(BASE_URL, "acme", "77") == first


def test_learning_the_id_keeps_tokens_tasks_and_leases(world: World) -> None:
    """The run goes on under the new identity; whoever knows the old one still can."""
    acme = world.begin(7)
    lease = world.sent(acme)
    for _ in range(4):
        world.make(acme)
    learnt = world.open().organizations.join(BASE_URL, "acme", "77")
    assert learnt != acme
    assert world.store.views.run("r1").counts == {learnt: Counts(created=4, sending=1, queued=2)}
    assert isinstance(grant(world.store, world.ask(acme)), Wait)
    settle(world.store, lease, created(lease))
    assert world.store.views.run("r1").total == Counts(created=5, queued=2)
    assert [result.task.organization for result in world.store.views.results("r1")] == [learnt] * 7
    assert {token.returns_at for token in world.store.organizations.bucket(learnt).tokens} == {
        world.store.now() + LIMIT.hold
    }
    assert set(world.store.views.versions("r1")) == {learnt}


def test_a_plan_made_under_the_old_identity_finds_its_tasks(world: World) -> None:
    """The key changes with the organization; the task does not."""
    acme = world.begin(1)
    world.make(acme)
    learnt = world.store.organizations.join(BASE_URL, "acme", "77")
    for name in (acme, learnt):
        (planned,) = world.tasks(1, name)
        assert world.store.views.latest_results([planned])[planned.base_key].status is Status.CREATED
        world.store.runs.start(Run(id=f"r-{name}", job="nightly"), [planned])
        assert world.store.views.run(f"r-{name}").total == Counts(existing=1)


def test_what_was_sent_keeps_the_title_it_was_sent_with(world: World) -> None:
    """Whoever looks for a lost answer looks for what ThousandEyes was told; the next attempt has the new key."""
    acme = world.begin(1)
    lease = world.sent(acme)
    settle(world.store, lease, UNCERTAIN)
    world.store.organizations.join(BASE_URL, "acme", "77")
    world.advance(TIMEOUT + LIMIT.grace)
    (result,) = world.store.views.results("r1")
    assert result.task.key != lease.task.key
    assert result.task.title() == lease.task.title()
    ((looked, seen),) = world.store.uncertain.due("r1")
    assert looked.task.title() == seen.task.title() == lease.task.title()


def both(world: World) -> tuple[str, str]:
    """A run of an organization known by name, and one of the same organization known by its id."""
    acme = world.begin(3)
    true = world.store.organizations.join(BASE_URL, "acme-prod", "77")
    world.store.runs.start(Run(id="r2", job="other"), world.tasks(3, true))
    return acme, true


def test_merged_buckets_have_as_many_tokens_out_as_both(world: World) -> None:
    """Three and three are out: with a limit of five only two may go when three are back."""
    acme, true = both(world)
    for _ in range(3):
        world.make(acme)
    world.advance(10)
    for _ in range(3):
        world.make(true, "r2")
    earliest = world.store.now() - 10 + LIMIT.hold
    world.store.organizations.join(BASE_URL, "acme", "77")
    world.store.runs.start(Run(id="r3", job="more"), [task(9, true)])
    assert world.wait(true, "r3").until == earliest
    returns = sorted(token.returns_at for token in world.store.organizations.bucket(true).tokens)
    assert returns == [earliest] * 3 + [earliest + 10] * 3
    world.advance(LIMIT.hold - 10)
    world.store.runs.start(Run(id="r4", job="more"), [task(number, true) for number in range(10, 16)])
    for _ in range(2):
        world.lease(true, "r4")
    assert world.wait(true, "r4").until == earliest + 10


def test_no_token_of_a_crowded_merger_comes_back_early(world: World) -> None:
    """A token that is not accounted for could still be out."""
    acme, true = both(world)
    lease = world.sent(acme)
    world.make(true, "r2")
    pessimistic = max(token.returns_at for token in world.store.organizations.bucket(acme).tokens)
    world.store.organizations.join(BASE_URL, "acme", "77")
    settle(world.store, lease, created(lease))
    assert max(token.returns_at for token in world.store.organizations.bucket(true).tokens) == pessimistic


def test_the_gate_that_is_closed_for_longer_stays_closed(world: World) -> None:
    """On whichever side it was."""
    acme, true = both(world)
    settle(world.store, world.sent(acme), queued(answered=True, closing=Closing(seconds=500.0)))
    settle(world.store, world.sent(true, "r2"), queued(answered=True, closing=Closing(seconds=100.0)))
    until = world.store.now() + 500
    world.store.organizations.join(BASE_URL, "acme", "77")
    gate = world.store.organizations.bucket(true).gate
    assert gate is not None
    assert gate.until == until


@pytest.mark.parametrize(("by_name", "by_id"), [(100.0, 200.0), (200.0, 100.0), (100.0, None), (None, 100.0)])
def test_a_class_held_back_on_either_side_is_held_back_since_it_was_first(
    world: World, by_name: float | None, by_id: float | None
) -> None:
    """Its grace begins with the first time that it had to wait."""
    for identity_known, since in zip(both(world), (by_name, by_id), strict=True):
        with world.store._database.write() as tx:
            number = (organizations.find(tx, identity_known) or {})["id"]
            held = {} if since is None else {Priority.BATCH: since}
            tx.finish(list(organizations.change_held(number, {}, held)))
    learnt = world.store.organizations.join(BASE_URL, "acme", "77")
    assert world.store.organizations.bucket(learnt).held == {Priority.BATCH: 100.0}


@pytest.mark.parametrize("true_first", [False, True])
def test_of_one_task_under_two_keys_the_more_advanced_stays(world: World, *, true_first: bool) -> None:
    """Created before queued, for both runs."""
    acme, true = both(world)
    world.make(*((true, "r2") if true_first else (acme, "r1")))
    world.store.organizations.join(BASE_URL, "acme", "77")
    assert world.states("r1") == world.states("r2") == [Status.CREATED, Status.QUEUED, Status.QUEUED]
    maker, other = ("r2", "r1") if true_first else ("r1", "r2")
    assert world.store.views.run(maker).total == Counts(created=1, queued=2)
    assert world.store.views.run(other).total == Counts(existing=1, queued=2)


def test_two_tasks_that_were_both_sent_are_both_kept(world: World) -> None:
    """Each run keeps the snapshot that was made for it, and says that there may be two; a new run finds the surer one."""
    acme, true = both(world)
    settle(world.store, world.sent(acme), UNCERTAIN)
    world.make(true, "r2")
    world.store.organizations.join(BASE_URL, "acme", "77")
    assert (world.states("r1")[0], world.states("r2")[0]) == (Status.UNCERTAIN, Status.CREATED)
    for run in ("r1", "r2"):
        (first, *_) = world.store.views.results(run)
        assert first.duplicate_possible
    world.store.runs.start(Run(id="r3", job="more"), world.tasks(1, true))
    assert world.states("r3") == [Status.CREATED]


@pytest.mark.parametrize("made", [False, True])
def test_what_was_asked_for_once_more_is_made_once_more(world: World, *, made: bool) -> None:
    """Although the same snapshot is there under the true identity, whatever becomes of the first ones."""
    acme, true = both(world)
    if made:
        world.make(acme)
    world.make(true, "r2")
    world.store.runs.start(Run(id="r3", job="nightly"), world.tasks(1, acme), again=True)
    world.store.runs.start(Run(id="r4", job="nightly"), world.tasks(1, true), again=True)
    world.store.organizations.join(BASE_URL, "acme", "77")
    assert [world.store.views.run(run).total for run in ("r3", "r4")] == [Counts(queued=1)] * 2
    assert world.states("r1")[0] is Status.CREATED
    generations = [next(world.store.views.results(run)).task.generation for run in ("r3", "r4")]
    assert sorted(generations) == ([2, 3] if made else [1, 2])
    for run in ("r3", "r4"):
        world.make(true, run)
    world.store.runs.start(Run(id="r5", job="nightly"), world.tasks(1, true))
    assert world.store.views.run("r5").total == Counts(existing=1)


def test_leases_go_on_while_generations_are_numbered_anew(world: World) -> None:
    """One of them then has the key under which the other was granted."""
    acme, true = both(world)
    lease, other = world.sent(acme), world.sent(true, "r2")
    world.store.organizations.join(BASE_URL, "acme", "77")
    settle(world.store, other, created(other))
    settle(world.store, lease, UNCERTAIN)
    assert (world.states("r1")[0], world.states("r2")[0]) == (Status.UNCERTAIN, Status.CREATED)


def test_a_lease_of_a_task_that_gave_way_is_lost_before_its_first_byte(world: World) -> None:
    """Its snapshot exists already."""
    acme, true = both(world)
    world.make(true, "r2")
    lease = world.lease(acme)
    world.store.organizations.join(BASE_URL, "acme", "77")
    with pytest.raises(LeaseLost):
        mark_sending(world.store, lease)
    assert world.states("r1")[0] is Status.CREATED


def test_a_probe_of_a_task_that_gave_way_leaves_the_right_to_the_next(world: World) -> None:
    """Whoever had it learns that its lease is lost, and says nothing more of the gate."""
    acme, true = both(world)
    world.store.queue.serve("r2", [true])
    world.make(true, "r2")
    settle(world.store, world.sent(acme), queued(answered=True, counts=False, closing=Closing()))
    world.advance(LIMIT.per + 1)
    probe = world.lease(acme)
    assert (probe.probe, probe.task.test_id) == (True, "0")
    world.store.organizations.join(BASE_URL, "acme", "77")
    gate = world.store.organizations.bucket(true).gate
    assert gate is not None
    assert gate.probe_until is None
    with (
        world.store._database.read() as tx
    ):  # the number of the task that is gone may be given to another one
        assert [row["gate_probe_task"] for row in tx.rows("SELECT * FROM bucket")] == [None]
    assert world.lease(true, "r2").probe


def test_a_run_that_knew_both_refers_to_one(world: World) -> None:
    """And has as many tasks as are left."""
    acme = world.store.organizations.join(BASE_URL, "acme", None)
    true = world.store.organizations.join(BASE_URL, "acme-prod", "77")
    run = world.store.runs.start(
        Run(id="r1", job="nightly"), [task(1, acme), replace(task(1, true), position=1)]
    )
    assert run.tasks == 2
    world.store.organizations.join(BASE_URL, "acme", "77")
    assert world.store.views.find_run("r1").tasks == 1
    assert world.states() == [Status.QUEUED]


def test_a_failed_task_gives_way_to_a_leased_one(world: World) -> None:
    """What is being worked on is further than what was given up."""
    acme, true = both(world)
    settle(world.store, world.sent(acme), FAILED)
    lease = world.sent(true, "r2")
    world.store.organizations.join(BASE_URL, "acme", "77")
    settle(world.store, lease, created(lease))
    assert world.states("r1")[0] is Status.CREATED


@pytest.mark.parametrize("live_by_name", [False, True])
@pytest.mark.parametrize("end", ["failed", "refused", "expired"])
def test_what_a_live_run_has_queued_is_not_given_up(world: World, *, end: str, live_by_name: bool) -> None:
    """Learning whose it is comes to what starting the run after that would have: law 5 of a task's life."""
    live, old = (
        world.store.organizations.join(BASE_URL, "acme", None),
        world.store.organizations.join(BASE_URL, "acme-prod", "77"),
    )
    if not live_by_name:
        live, old = old, live
    plan = task(1, old, refusal="no such test" if end == "refused" else None)
    world.store.runs.start(Run(id="old", job="old"), [plan])
    if end != "refused":
        lease = world.sent(old, "old")
        settle(
            world.store,
            lease,
            replace(FAILED, duplicate_possible=True) if end == "failed" else created(lease),
        )
    world.advance(SNAPSHOT_LIFETIME if end == "expired" else 3600)
    world.store.runs.start(Run(id="live", job="live"), [task(1, live)])
    learnt = world.store.organizations.join(BASE_URL, "acme", "77")
    before = world.store.views.run("old").total
    assert before == (Counts(created=1) if end == "expired" else Counts(queued=1))
    lease = world.lease(learnt, "live")
    assert (lease.task.generation, lease.duplicate_possible) == (end == "expired", end == "failed")
    mark_sending(world.store, lease)
    settle(world.store, lease, created(lease))
    assert world.store.views.run("live").total == Counts(created=1)
    world.store.runs.start(Run(id="next", job="next"), [task(1, learnt)])
    assert world.store.views.run("next").total == Counts(existing=1)


def test_beside_what_has_expired_one_is_made_and_not_two(world: World) -> None:
    """Both sides had asked for it since."""
    _, true = both(world)
    world.make(true, "r2")
    world.advance(SNAPSHOT_LIFETIME)
    world.store.runs.start(Run(id="r3", job="nightly"), world.tasks(1, true))
    world.store.organizations.join(BASE_URL, "acme", "77")
    assert (world.states("r1")[0], world.states("r2")[0]) == (Status.QUEUED, Status.CREATED)
    world.make(true, "r3")
    assert world.store.views.run("r1").total == Counts(existing=1, queued=2)


def test_what_is_uncertain_is_reported_and_not_what_has_expired(world: World) -> None:
    """A new run finds the one that may be there."""
    acme, true = both(world)
    world.make(true, "r2")
    world.advance(SNAPSHOT_LIFETIME)
    settle(world.store, world.sent(acme), UNCERTAIN)
    world.store.organizations.join(BASE_URL, "acme", "77")
    world.store.runs.start(Run(id="r3", job="more"), world.tasks(1, true))
    assert world.states("r3") == [Status.UNCERTAIN]

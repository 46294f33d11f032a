"""Who shares a bucket while it is not known who they are: by one token, or by one id that the job files name."""

from __future__ import annotations

import hashlib
import hmac
import itertools
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.core.jobs import Priority, identity
from orchestrator.core.tasks import Closing, Lease, Run
from orchestrator.ratelimit.bucket import Wait
from orchestrator.store.sharing import Digest
from orchestrator.store.store import Store
from tests.store.world import BASE_URL, LIMIT, TIMEOUT, World, created, queued, task
from tests.support.single import give_back, grant, mark_sending, settle


def digest_of(token: str) -> Digest:
    """What a credential makes of a store's key."""
    return lambda key: hmac.new(key, token.encode(), hashlib.sha256).hexdigest()


def join(
    store: Store, name: str, token: str | None = None, org_id: str | None = None, named: str | None = None
) -> str:
    """The identity of a name that is served with a token."""
    digest = None if token is None else digest_of(token)
    return store.organizations.join(BASE_URL, name, org_id, digest=digest, named=named)


def begin(world: World, count: int, *identities: str, priority: Priority = Priority.NORMAL) -> None:
    """A run of some tasks of each organization, under its identity's end as its id, served by the world's store."""
    for one in identities:
        tasks = [replace(each, priority=priority) for each in world.tasks(count, one)]
        world.store.runs.start(Run(id=run_of(one), job=one), tasks)
        world.store.queue.serve(run_of(one), [one])


def run_of(organization: str) -> str:
    """The run of an organization."""
    return organization.rpartition("#")[2]


def out(store: Store, organization: str) -> list[float]:
    """When the tokens of an organization's bucket return that are out."""
    now = store.now()
    tokens = store.organizations.bucket(organization).tokens
    return sorted(token.returns_at - now for token in tokens if token.returns_at > now)


# -- joining -------------------------------------------------------------------------------------------------


def test_two_names_with_one_token_share_five_slots_and_keep_their_tasks(world: World) -> None:
    """They may be two organizations that one token can see: the same snapshot is asked for under both."""
    east, west = join(world.store, "east", "t"), join(world.store, "west", "t")
    assert east != west
    begin(world, 5, east, west)
    for one in (east, west, east, west, west):
        world.make(one, run_of(one))
    for one in (east, west):
        assert world.wait(one, run_of(one)).until == world.store.now() + LIMIT.hold
    assert world.store.views.run(run_of(east)).total.created == 2
    assert world.store.views.run(run_of(west)).total.created == 3


def test_names_with_tokens_of_their_own_share_nothing(world: World) -> None:
    """Nobody can tell that they are one; the laws say so."""
    east, west = join(world.store, "east", "t"), join(world.store, "west", "u")
    begin(world, 6, east, west)
    for one in (east, west):
        for _ in range(5):
            world.make(one, run_of(one))


def test_the_same_token_at_another_address_is_another_one(world: World) -> None:
    """A token means something only with its base URL."""
    east = join(world.store, "east", "t")
    west = world.store.organizations.join("https://other.example.com/v7", "west", None, digest=digest_of("t"))
    begin(world, 6, east, west)
    for _ in range(5):
        world.make(east, run_of(east))
    world.make(west, run_of(west))


def test_names_for_which_the_files_name_one_id_share(world: World) -> None:
    """Also with the organization whose id was read, under a third name."""
    true = join(world.store, "prod", "v", org_id="77")
    east, west = join(world.store, "east", "t", named="77"), join(world.store, "west", "u", named="77")
    assert len({true, east, west}) == 3
    begin(world, 5, true, east, west)
    for one in (true, east, west, true, east):
        world.make(one, run_of(one))
    assert isinstance(grant(world.store, world.ask(west, run_of(west))), Wait)


def test_a_bucket_that_is_joined_keeps_what_is_out_on_both_sides(world: World) -> None:
    """Three and three are out: two may go when the first three are back, as after a merger."""
    east, west = join(world.store, "east", "t"), join(world.store, "west", "u")
    begin(world, 6, east, west)
    for _ in range(3):
        world.make(east, run_of(east))
    world.advance(10)
    for _ in range(3):
        world.make(west, run_of(west))
    join(world.store, "west", "t")  # the token was changed
    assert out(world.store, east) == out(world.store, west) == [LIMIT.hold - 10] * 3 + [LIMIT.hold] * 3
    world.advance(LIMIT.hold - 10)
    world.make(east, run_of(east))
    world.make(west, run_of(west))
    assert isinstance(grant(world.store, world.ask(west, run_of(west))), Wait)


def test_a_token_that_was_exchanged_is_added_and_the_old_one_still_counts(world: World) -> None:
    """Somebody may go on with the old one."""
    east = join(world.store, "east", "old")
    join(world.store, "east", "new")
    others = [join(world.store, name, token) for name, token in (("west", "old"), ("north", "new"))]
    begin(world, 5, east, *others)
    for one in (east, *others, east, east):
        world.make(one, run_of(one))
    for one in (east, *others):
        assert isinstance(grant(world.store, world.ask(one, run_of(one))), Wait)


def test_the_store_has_a_digest_under_a_key_of_its_own_and_never_the_token(world: World) -> None:
    """The same token has another digest in another store; nothing that looks shows it."""
    join(world.store, "east", "a-token-that-nobody-may-see")
    with world.store._database.read() as tx:
        (sign,) = tx.rows("SELECT * FROM sign")
        meta = tx.row("SELECT * FROM meta") or {}
    assert len(bytes.fromhex(meta["digest_key"])) == 32
    assert "a-token" not in str(sign)
    assert digest_of("a-token-that-nobody-may-see")(bytes.fromhex(meta["digest_key"])) in sign["sign"]
    assert world.store.organizations.names() == {identity(BASE_URL, name="east"): "east"}


# -- the gate and the classes --------------------------------------------------------------------------------


def test_a_refusal_closes_the_gate_for_all_that_share_it(world: World) -> None:
    """And one single probe opens it for all."""
    east, west = join(world.store, "east", "t"), join(world.store, "west", "t")
    begin(world, 5, east, west)
    lease = world.sent(east, run_of(east))
    settle(world.store, lease, queued(answered=True, closing=Closing(), counts=False))
    closed = world.wait(west, run_of(west))
    assert closed == world.wait(east, run_of(east))
    world.advance((closed.until or 0.0) - world.store.now())
    probe = world.lease(west, run_of(west))
    assert probe.probe
    assert isinstance(grant(world.store, world.ask(east, run_of(east))), Wait)
    mark_sending(world.store, probe)
    settle(world.store, probe, created(probe))
    assert not world.lease(east, run_of(east)).probe


@pytest.mark.parametrize("one_run", [False, True])
def test_priority_counts_over_all_that_share_a_bucket(world: World, *, one_run: bool) -> None:
    """Also between two names of one run."""
    east, west = join(world.store, "east", "t"), join(world.store, "west", "t")
    tasks = [task(0, east, priority=Priority.BATCH), task(1, west, priority=Priority.INCIDENT, position=1)]
    runs = ["r1", "r1" if one_run else "r2"]
    for run in dict.fromkeys(runs):
        world.store.runs.start(
            Run(id=run, job=run), [t for t, r in zip(tasks, runs, strict=True) if r == run]
        )
        world.store.queue.serve(run, {east, west})
    assert isinstance(grant(world.store, world.ask(east, runs[0])), Wait)
    world.make(west, runs[1])
    world.make(east, runs[0])


def test_who_shares_a_bucket_sees_a_change_on_the_other_side(world: World) -> None:
    """A return that becomes shorter may be what the other one waits for."""
    east, west = join(world.store, "east", "t"), join(world.store, "west", "t")
    begin(world, 5, east, west)
    lease = world.sent(east, run_of(east))
    before = world.store.views.versions(run_of(west))
    settle(world.store, lease, created(lease))
    assert world.store.views.versions(run_of(west)) != before


# -- an id is read -------------------------------------------------------------------------------------------


def test_one_organization_under_two_names_becomes_one_when_the_id_is_read(world: World) -> None:
    """No token is held for longer than it was."""
    east, west = join(world.store, "east", "t"), join(world.store, "west", "t")
    begin(world, 3, east, west)
    world.make(east, run_of(east))
    world.make(west, run_of(west))
    true = join(world.store, "east", "t", org_id="77")
    assert out(world.store, west) == out(world.store, true) == [LIMIT.hold] * 2
    assert join(world.store, "west", "t", org_id="77") == true
    assert out(world.store, true) == [LIMIT.hold] * 2
    assert world.store.organizations.present_identity(west) == true


def test_two_organizations_that_one_token_sees_part_when_both_ids_were_read(world: World) -> None:
    """Each has all tokens out for one hold, and then five of its own."""
    east, west = join(world.store, "east", "t"), join(world.store, "west", "t")
    begin(world, 12, east, west)
    for one in (east, west):
        world.make(one, run_of(one))
    world.advance(100)
    one = join(world.store, "east", "t", org_id="77")
    assert out(world.store, west) == out(world.store, one)  # west may still be the same
    other = join(world.store, "west", "t", org_id="88")
    for true in (one, other):
        assert out(world.store, true) == [LIMIT.hold] * 5
    world.advance(LIMIT.hold)
    for true, run in ((one, run_of(east)), (other, run_of(west))):
        for _ in range(5):
            world.make(true, run)
        assert isinstance(grant(world.store, world.ask(true, run)), Wait)


def test_an_answer_after_the_parting_brings_no_token_back_early(world: World) -> None:
    """What was on the wire then is settled, under the organization that it turned out to be of."""
    east, west = join(world.store, "east", "t"), join(world.store, "west", "t")
    begin(world, 5, east, west)
    lease, given_back = world.sent(west, run_of(west)), world.lease(west, run_of(west))
    join(world.store, "east", "t", org_id="77")
    other = join(world.store, "west", "t", org_id="88")
    settle(world.store, lease, created(lease))
    give_back(world.store, given_back)
    assert out(world.store, other) == [LIMIT.hold] * 3 + [TIMEOUT + LIMIT.grace + LIMIT.per] * 2


def test_known_organizations_with_one_token_share_nothing(world: World) -> None:
    """A token that sees two organizations costs neither of them anything, however often they start."""
    for _ in range(2):
        one, other = join(world.store, "east", "t", org_id="77"), join(world.store, "west", "t", org_id="88")
        begin(world, 6, one, other)
        assert out(world.store, one) == out(world.store, other) == []
    for true in (one, other):
        for _ in range(5):
            world.make(true, run_of(true))


def test_an_unknown_name_shares_with_all_that_its_token_is_known_to_see(world: World) -> None:
    """Until it is known, all of them have five together; then the others have what was theirs again."""
    one, other = join(world.store, "east", "t", org_id="77"), join(world.store, "west", "t", org_id="88")
    new = join(world.store, "new", "t")
    begin(world, 6, one, other, new)
    for each in (one, other, new, one, other):
        world.make(each, run_of(each))
    for each in (one, other, new):
        assert isinstance(grant(world.store, world.ask(each, run_of(each))), Wait)
    assert join(world.store, "new", "t", org_id="88") == other
    world.advance(LIMIT.hold)
    for each in (one, other):
        for _ in range(3):
            world.make(each, run_of(each))


def test_a_name_that_was_put_on_another_organization_s_token_shares_it_no_longer_than_it_is_unknown(
    world: World,
) -> None:
    """The name stood for one id; with the token of another one, and no id to read, it may be either."""
    one, other = join(world.store, "east", "t", org_id="77"), join(world.store, "west", "u", org_id="88")
    begin(world, 12, one, other)
    assert join(world.store, "east", "u") == one
    for each in (one, other, one, other, one):
        world.make(each, run_of(each))
    assert isinstance(grant(world.store, world.ask(other, run_of(other))), Wait)
    assert join(world.store, "east", "u", org_id="88") == other
    world.advance(LIMIT.hold)
    for each in (one, other):
        for _ in range(5):
            world.make(each, run_of(each))


# -- at once -------------------------------------------------------------------------------------------------


def at_once(acts: Sequence[Callable[[], object]]) -> list[object]:
    """Do all of it at the same time, each in a thread of its own; what came of it."""
    ready, found = threading.Barrier(len(acts)), []

    def go(act: Callable[[], object]) -> None:
        ready.wait(60)
        found.append(act())

    threads = [threading.Thread(target=go, args=(act,)) for act in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


@pytest.mark.process
def test_names_that_come_at_once_with_one_token_find_each_other(world: World) -> None:
    """Neither is there when the other one looks; afterwards there is one bucket all the same."""
    stores = [world.open() for _ in range(4)]
    for turn in range(5):
        acts = [partial(join, one, f"n{turn}-{at}", f"t{turn}") for at, one in enumerate(stores)]
        assert len(at_once(acts)) == 4
        with world.store._database.read() as tx:
            rows = tx.rows(
                "SELECT COUNT(DISTINCT bucket) AS buckets FROM organization WHERE name LIKE :like",
                like=f"n{turn}-%",
            )
        assert [row["buckets"] for row in rows] == [1]


@pytest.mark.process
def test_grants_while_buckets_join_and_part_are_never_too_many(world: World) -> None:
    """Nobody waits for anybody in a circle, and five go out of all that are one."""
    east, west = join(world.store, "east", "t"), join(world.store, "west", "u")
    begin(world, 12, east, west)
    stores = [world.open() for _ in range(3)]

    def ask(store: Store, organization: str) -> list[Lease]:
        found = [grant(store, world.ask(organization, run_of(organization))) for _ in range(6)]
        return [one for one in found if isinstance(one, Lease)]

    def change(store: Store) -> list[Lease]:
        join(store, "west", "t")
        join(store, "east", "t", org_id="77")
        join(store, "west", "t", org_id="77")
        return []

    leases = at_once(
        [partial(ask, stores[0], east), partial(ask, stores[1], west), partial(change, stores[2])]
    )
    assert len(leases) == 3
    true = identity(BASE_URL, org_id="77")
    assert isinstance(grant(world.store, world.ask(true, run_of(east))), Wait)
    granted = sum(len(some) for some in leases if isinstance(some, list))
    assert 5 <= granted <= 10  # before they joined each had five of its own


# -- in any order --------------------------------------------------------------------------------------------

TRUTH = {"a": "1", "b": "2", "c": "2"}
"""Names, and the organizations that they are; nobody knows at first."""

STEPS = st.one_of(
    st.tuples(st.just("join"), st.sampled_from(sorted(TRUTH)), st.booleans()),
    st.tuples(st.just("make"), st.sampled_from(sorted(TRUTH)), st.booleans()),
    st.tuples(st.just("pass"), st.sampled_from(["10", "100", "301"]), st.just(False)),
)


class Story:
    """Names join, learn who they are and make snapshots, all of them with one token, which sees everything."""

    def __init__(self, world: World, chapter: int) -> None:
        self._world, self._chapter = world, chapter
        self._made: dict[str, list[float]] = {"1": [], "2": []}
        self._number, self._identities = 0, {name: self.join(name, known=False) for name in TRUTH}

    def join(self, name: str, *, known: bool) -> str:
        """Start anew under a name, and perhaps read its id."""
        org_id = f"{self._chapter}{TRUTH[name]}" if known else None
        return join(self._world.store, f"{name}{self._chapter}", f"t{self._chapter}", org_id=org_id)

    def make(self, name: str, *, answered: bool) -> None:
        """Ask for one snapshot more, and send it if that is granted."""
        self._number += 1
        store, run, one = self._world.store, f"{self._chapter}-{self._number}", self._identities[name]
        store.runs.start(Run(id=run, job="x"), [task(self._number, one)])
        store.queue.serve(run, [one])
        granted = grant(store, self._world.ask(one, run))
        if isinstance(granted, Lease):
            mark_sending(store, granted)
            self._made[TRUTH[name]].append(self._world.clock.boot())
            if answered:
                settle(store, granted, created(granted))

    def go_on(self, step: str, what: str, *, yes: bool) -> None:
        """One step of it."""
        if step == "join":
            self._identities[what] = self.join(what, known=yes)
        elif step == "make":
            for _ in range(3):
                self.make(what, answered=yes)
        else:
            self._world.advance(float(what))

    def most(self) -> int:
        """The most that the server counted for one true organization in any window."""
        return max(
            sum(1 for moment in moments if start <= moment < start + LIMIT.per)
            for moments in self._made.values()
            for start in moments or [0.0]
        )


def test_whatever_is_learnt_in_whatever_order_five_go_out_in_any_window(world: World) -> None:
    """One token sees two organizations, one of which has two names."""
    chapters = itertools.count(1)

    @settings(max_examples=30, deadline=None)
    @given(steps=st.lists(STEPS, min_size=12, max_size=30))
    def tell(steps: list[tuple[str, str, bool]]) -> None:
        story = Story(world, next(chapters))
        for step, what, yes in steps:
            story.go_on(step, what, yes=yes)
        assert story.most() <= 5

    tell()

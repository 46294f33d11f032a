"""Many organizations joined together, beside the same ones joined one after the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from orchestrator.core.jobs import identity
from orchestrator.core.tasks import Run
from orchestrator.store.joining import TOGETHER, Joining
from orchestrator.store.store import Store
from tests.store.world import BASE_URL, PostgresWorld, SqliteWorld, World, task
from tests.support.relay import Relay

NAMES, IDS, TOKENS = ("acme", "globex", "initech"), (None, "1", "2", "3"), (None, "a", "b", "c")

FIRST, LATER, PLAN = 16, 6, 32
"""Round trips for a part of the organizations where they are new and where they are known, and for a part of a plan."""


def digest(token: str, key: bytes) -> str:
    """What stands for a token."""
    return f"{token}{len(key)}"


def digest_of(token: str | None) -> Callable[[bytes], str] | None:
    return None if token is None else partial(digest, token)


def some(count: int, *, renamed: str = "") -> list[Joining]:
    """So many organizations, each with an id and a token of its own."""
    return [
        Joining(base_url=BASE_URL, name=f"customer-{n}{renamed}", org_id=f"{n}", digest=digest_of(f"t{n}-"))
        for n in range(count)
    ]


organization = st.builds(
    lambda name, org_id, named, token: Joining(
        base_url=BASE_URL, name=name, org_id=org_id, named=named, digest=digest_of(token)
    ),
    st.sampled_from(NAMES),
    st.sampled_from(IDS),
    st.sampled_from(IDS),
    st.sampled_from(TOKENS),
)
starts = st.lists(st.lists(organization, max_size=3, unique_by=lambda one: one.name), min_size=1, max_size=4)


def groups(store: Store) -> tuple[list[str], set[frozenset[str]]]:
    """The organizations of a store, and which of them share a bucket."""
    known = sorted(store.organizations.names())
    return known, {frozenset(group) for group in store.organizations.sharing(known).values()}


def join_singly(store: Store, joinings: Sequence[Joining]) -> None:
    for one in joinings:
        store.organizations.join(one.base_url, one.name, one.org_id, named=one.named, digest=one.digest)


def one(name: str, org_id: str | None, token: str | None) -> Joining:
    return Joining(base_url=BASE_URL, name=name, org_id=org_id, digest=digest_of(token))


@settings(max_examples=40)
@given(starts)
@example([[one("acme", None, "a")], [one("acme", "1", "b")]])
@example([[one("acme", "1", "a")], [one("acme", "2", "b")]])
@example([[one("acme", None, "a"), one("globex", None, "a")]])
@example([[one("acme", "1", "a")], [one("acme", "1", "b"), one("globex", None, "b")]])
def test_together_they_become_what_they_become_one_by_one(several: list[list[Joining]]) -> None:
    """Whatever names, ids and tokens come in whatever starts."""
    with TemporaryDirectory() as folder:
        together, singly = (SqliteWorld(Path(folder) / f"{name}.db") for name in ("together", "singly"))
        for joinings in several:
            told = together.store.organizations.join_all(joinings)
            join_singly(singly.store, joinings)
            assert told == [singly.store.organizations.present_identity(one.identity) for one in joinings]
            assert groups(together.store) == groups(singly.store)
        together.close()
        singly.close()


def test_each_is_known_by_its_id_and_has_a_bucket_of_its_own(world: World) -> None:
    """Also where there are more than are joined in one transaction."""
    joinings = some(TOGETHER + 1)
    told = world.store.organizations.join_all(joinings)
    assert told == [identity(BASE_URL, org_id=f"{n}") for n in range(TOGETHER + 1)]
    assert groups(world.store) == (sorted(told), {frozenset([one]) for one in told})
    assert world.store.organizations.join_all(joinings) == told


def test_the_latest_name_of_each_is_kept(world: World) -> None:
    """As the user calls it in the file of the last start."""
    world.store.organizations.join_all(some(3))
    told = world.store.organizations.join_all(some(3, renamed="-eu"))
    assert [world.store.organizations.names()[one] for one in told] == [f"customer-{n}-eu" for n in range(3)]
    world.store.organizations.join_all(some(3))
    assert [world.store.organizations.names()[one] for one in told] == [f"customer-{n}" for n in range(3)]


@pytest.mark.socket
def test_a_start_is_as_many_round_trips_for_many_as_for_few(
    postgres_world: PostgresWorld, postgres_url: str
) -> None:
    """New organizations and their plan, and the same ones at the next start."""
    with Relay(postgres_url) as relay:
        postgres_world.url = relay.url
        store, counted = postgres_world.open(), [relay.trips]
        told = store.organizations.join_all(some(100))
        counted.append(relay.trips)
        store.organizations.join_all(some(100))
        counted.append(relay.trips)
        store.runs.start(Run(id="r1", job="nightly"), [task(n, one) for n, one in enumerate(told)])
        counted.append(relay.trips)
        postgres_world.end(store)
    first, later, plan = (after - before for before, after in pairwise(counted))
    assert first <= FIRST
    assert later <= LATER
    assert plan <= PLAN

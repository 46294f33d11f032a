"""Who an organization is, asked again while a run goes on; and a credential that is exchanged meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.api.catalog import Query
from orchestrator.api.credentials import Bearer
from orchestrator.api.response import Answer
from orchestrator.app.identities import ask_again, describe_unknown
from orchestrator.app.organizations import Organizations
from orchestrator.core.errors import GrantStale, StoreUnavailable
from orchestrator.core.jobs import CredentialSource, Job, JobFile, Organization, TestRef, WindowSpec, identity
from orchestrator.core.tasks import Reason
from orchestrator.planning.discovery import OrganizationSurvey
from orchestrator.simulator import Simulator, example_world
from orchestrator.store.organizations import KnownOrganizations
from orchestrator.store.store import Store, open_store
from orchestrator.worker.organization import ServedOrganization
from tests.store.world import task
from tests.support.clock import VirtualClock
from tests.support.virtual import Notebook, VirtualGetter

BASE_URL = "https://api.thousandeyes.com/v7"
LONGEST = 60.0
UNREAD = OrganizationSurvey()


class Door(VirtualGetter):
    """A client that answers nothing while the door is shut."""

    closed = False
    shut = True

    def get(self, path: str, query: Query = ()) -> Answer:
        return Answer(sent=True, failure="shut") if self.shut else super().get(path, query)

    def close(self) -> None:
        """Nothing to let go."""


class Cast:
    """Two names with credentials of their own that can be exchanged, a store, and what was said and done."""

    def __init__(self, store: Store, clock: VirtualClock, *, org_id: str | None = None) -> None:
        self.bearers = {"east": Bearer("first-token"), "west": Bearer("second-token")}
        self.store, self.notebook, self.stops = store, Notebook(), list[tuple[str, Reason, str]]()
        self.stopped = threading.Event()
        source = CredentialSource(env="T")
        parts = {name: Organization(name=name, credential=source, org_id=org_id) for name in self.bearers}
        job = Job(
            name="x", organizations=tuple(parts), tests=(TestRef(id="1"),), windows=(WindowSpec(last=60.0),)
        )
        jobfile = JobFile(name="x", jobs=(job,), organizations=parts)
        self.organizations = Organizations(
            jobfile, store=store, clock=clock, environ={}, read=lambda one: self.bearers[one.name]
        )
        simulator = Simulator(example_world(1), latency=(0.0, 0.0))
        self.door = Door(simulator, clock, "token-1")
        self.organizations.clients.update(dict.fromkeys(self.bearers, self.door))  # type: ignore[arg-type] # all of a client that is used

    def stop(self, organization: str, reason: Reason, because: str) -> None:
        """Note that the worker was told to stop serving somebody."""
        self.stops.append((organization, reason, because))
        self.stopped.set()

    def buckets(self) -> int:
        """How many buckets the organizations have."""
        with self.store._database.read() as tx:
            return int((tx.row("SELECT COUNT(DISTINCT bucket) AS some FROM organization") or {})["some"])


def exchange(served: ServedOrganization) -> bool:
    """Read the credential again until it is taken: a text counts once it was read twice."""
    return served.reload() or served.reload()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A new store."""
    opened = open_store(str(tmp_path / "store.db"), clock=VirtualClock())
    yield opened
    opened.close()


def wait_for(cast: Cast, *names: str) -> None:
    """Ask again until these are known."""
    done = threading.Event()
    with ask_again(cast.organizations, cast.stop, cast.notebook):
        cast.door.shut = False
        for _ in range(int(LONGEST / 0.01)):
            if not cast.organizations.unread & set(names):
                break
            done.wait(0.01)


@pytest.mark.scaled
def test_an_organization_is_asked_until_it_answers(store: Store) -> None:
    """Both names turn out to be one, and it is said once of each; nobody is asked any more then."""
    cast = Cast(store, VirtualClock())
    cast.organizations.serve(dict.fromkeys(cast.bearers, UNREAD))
    (warned,) = describe_unknown(cast.organizations, dict.fromkeys(cast.bearers, UNREAD))
    assert (warned.level, warned.text[:14]) == ("warning", "east and west:")
    wait_for(cast, "east", "west")
    true = identity(BASE_URL, org_id="1001")
    assert cast.organizations.identities == {"east": true, "west": true}
    assert store.organizations.names().keys() == {true}
    assert [event.name for event in cast.notebook.events] == ["organization.known"] * 2
    assert not cast.organizations.unread
    assert cast.stops == []


@pytest.mark.scaled
def test_one_that_turns_out_to_be_another_than_the_file_says_is_stopped(store: Store) -> None:
    """As at the start: its tasks stay pending, and what is to be put right is said."""
    cast = Cast(store, VirtualClock(), org_id="77")
    cast.organizations.serve(dict.fromkeys(cast.bearers, UNREAD))
    assert list(describe_unknown(cast.organizations, dict.fromkeys(cast.bearers, UNREAD))) == []
    assert cast.buckets() == 1
    wait_for(cast, "east", "west")
    assert {(one, reason) for one, reason, _ in cast.stops} == {
        (identity(BASE_URL, name=name), Reason.TOKEN_REFUSED) for name in cast.bearers
    }
    assert "organization 1001, the job file says org_id 77" in cast.stops[0][2]


@pytest.mark.scaled
def test_a_credential_of_another_organization_stops_the_one_it_was_exchanged_in(store: Store) -> None:
    """What was planned for one organization is not sent to another."""
    cast = Cast(store, VirtualClock())
    served = cast.organizations.serve({"east": OrganizationSurvey(org_id="77")})
    cast.bearers["east"] = Bearer("another-token")
    (one,) = served.values()
    assert exchange(one)
    wait_for(cast, "east")
    ((stopped, reason, because),) = cast.stops
    assert (stopped, reason) == (identity(BASE_URL, org_id="77"), Reason.TOKEN_REFUSED)
    assert "organization 1001" in because


def test_a_credential_that_is_exchanged_shares_with_whoever_has_it_already(store: Store) -> None:
    """Before anything is granted for it."""
    cast = Cast(store, VirtualClock())
    served = cast.organizations.serve(dict.fromkeys(cast.bearers, UNREAD))
    assert cast.buckets() == 2
    cast.bearers["east"] = cast.bearers["west"]
    assert exchange(served[identity(BASE_URL, name="east")])
    assert cast.buckets() == 1


class Away(KnownOrganizations):
    """A store that does not take an organization the next time."""

    away = True

    def join(self, *names: str, **more: object) -> str:  # type: ignore[override] # hands on what it gets
        if self.away:
            self.away = False
            raise StoreUnavailable("away")
        return super().join(*names, **more)  # type: ignore[arg-type] # same


def test_nothing_is_sent_with_a_credential_that_the_store_does_not_know_yet(store: Store) -> None:
    """A grant of before is handed back; the next one is of the bucket that is shared by then."""
    cast = Cast(store, VirtualClock())
    served = cast.organizations.serve(dict.fromkeys(cast.bearers, UNREAD))
    store.organizations = Away(store._database)
    cast.bearers["east"] = cast.bearers["west"]
    east = identity(BASE_URL, name="east")
    assert exchange(served[east])
    assert cast.buckets() == 2
    with pytest.raises(GrantStale):
        cast.organizations.client_of(task(0, east))
    assert cast.buckets() == 1
    assert cast.organizations.client_of(task(0, east)) is cast.organizations.clients["east"]

"""Round trips to a PostgreSQL server, counted on the wire: each of them is a wait for whoever is far from it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from orchestrator.worker.worker import Worker
from tests.support.postgres import new_database, server
from tests.support.relay import Relay
from tests.support.virtual import PostgresClock, Stage, drive

pytestmark = [pytest.mark.postgres, pytest.mark.socket]

MOST_ALONE, MOST_AMONG_MANY = 8, 4
"""Round trips for a task, in a run of one organization and in one of many."""


@pytest.fixture(scope="module")
def server_url() -> Iterator[str]:
    """A server for this module's databases."""
    with server() as url:
        yield url


def count_trips(url: str, *, organizations: int, each: int) -> int:
    """The round trips of a worker that makes some snapshots of each organization, from its first step to its end."""
    stage = Stage(url, organizations=organizations, tests=each, clock=PostgresClock(url))
    with Relay(url) as relay:
        stage.store = relay.url
        worker, _ = stage.worker(stage.jobfile(each))
        before = relay.trips
        ending = worker_ends(stage, worker)
        trips = relay.trips - before
        stage.close()
    assert ending == organizations * each
    return trips


def worker_ends(stage: Stage, worker: Worker) -> int:
    """How many snapshots a worker has made when it ends."""
    (ending,) = drive(stage.timeline, [worker])
    return ending.counts.created


def test_a_task_of_one_organization_is_a_few_round_trips(server_url: str) -> None:
    """By the difference that three more make: what a run asks once or once a second is the same for both."""
    two, five = (
        count_trips(new_database(server_url, f"alone_{each}"), organizations=1, each=each) for each in (2, 5)
    )
    assert (five - two) / 3 <= MOST_ALONE


def test_tasks_of_many_organizations_share_round_trips(server_url: str) -> None:
    """All that the run asks for is counted in, from its first step to its end."""
    organizations, each = 60, 5
    trips = count_trips(new_database(server_url, "many"), organizations=organizations, each=each)
    assert trips / (organizations * each) <= MOST_AMONG_MANY

"""What the processes have to do: errands that overlap, so that processes and runs want the same things."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime

from orchestrator.core.jobs import (
    CredentialSource,
    Http,
    Job,
    JobFile,
    Limit,
    Organization,
    RetryRules,
    TestRef,
    WindowSpec,
)
from orchestrator.simulator import World, example_world

PERIOD = 3.0
LIMIT = Limit(per=PERIOD, guard=0.010, grace=0.500)
TIMEOUT = 2.0
"""The documented limit's figures, a hundred times faster."""

TESTS = 6
"""Tests of each organization: more than a bucket has tokens."""

PER_CREW = 3
"""Organizations that each crew adds; one more it shares with the next crew."""

BLOCKS = 12
"""Each crew goes round between so many groups of organizations: every process that starts asks for
what there is, and the general limit of 240 requests a minute is not what is tested here. What a killed process
had reserved of it is out for two minutes and a half: with 4 groups some 400 starts used it up, and all waited."""

HOUR = 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class Errand:
    """One run: which organizations (counted from 0), which window (epoch seconds), and where the API is."""

    run_id: str
    base_url: str
    world: tuple[int, int]
    organizations: tuple[int, ...]
    start: int
    is_public: bool = False
    period: float = PERIOD
    timeout: float = TIMEOUT
    grace: float = LIMIT.grace

    @property
    def tasks(self) -> int:
        """How many snapshots it asks for."""
        return len(self.organizations) * self.world[1]


def errand(base_url: str, *, crew: int, crews: int, number: int, today: int) -> Errand:
    """The errand that a crew does as its so-manieth: neighbours share an organization, and so its tasks.

    Every other one is public: such a snapshot is a saved event, by which a lost answer can be found.
    """
    organizations = world_size(crews)
    first = (crew + crews * (number % BLOCKS)) * PER_CREW
    return Errand(
        run_id=f"crew{crew}-{number}",
        base_url=base_url,
        world=(organizations, TESTS),
        organizations=tuple((first + at) % organizations for at in range(PER_CREW + 1)),
        start=today - (number + 2) * HOUR,
        is_public=number % 2 == 1,
    )


def world_size(crews: int) -> int:
    """How many organizations there are."""
    return crews * PER_CREW * BLOCKS


def jobfile(errand: Errand) -> JobFile:
    """The errand as a job file."""
    world: World = example_world(*errand.world)
    limit = replace(LIMIT, per=errand.period, grace=errand.grace)
    parts = [world.organizations[at] for at in errand.organizations]
    window = WindowSpec(start=_utc(errand.start), end=_utc(errand.start + HOUR))
    return JobFile(
        name=errand.run_id,
        organizations={
            part.name: Organization(
                name=part.name,
                credential=CredentialSource(env=part.name),
                base_url=errand.base_url,
                limit=limit,
            )
            for part in parts
        },
        jobs=tuple(
            Job(
                name=part.name,
                organizations=(part.name,),
                tests=tuple(TestRef(id=test.test_id) for test in part.account_groups[0].tests),
                windows=(window,),
                is_public=errand.is_public,
            )
            for part in parts
        ),
        http=Http(timeout=errand.timeout),
        retry=RetryRules(within=HOUR),  # a server that is slow on a busy machine is not away
    )


def token_of(organization: str) -> str:
    """The API token of an organization of the example world."""
    return f"token-{organization.rpartition('-')[2]}"


def _utc(epoch: int) -> str:
    return datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

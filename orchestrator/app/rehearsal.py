"""A rehearsal: the whole run against the built-in simulator, on one scaled clock, in a temporary folder.

No account is needed and nothing leaves the machine: every organization's address becomes the simulator's
on loopback, every credential a made-up one, and the store is a new one.
"""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from orchestrator.api import Bearer
from orchestrator.core import Clock, Http, Job, JobFile, Organization, ScaledClock
from orchestrator.simulator import (
    Simulator,
    Tenant,
    TenantBearer,
    TenantTest,
    World,
    known_tenant,
    ordinary_faults,
    serve,
    world_of,
)
from orchestrator.store import sqlite_address


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehearsal:
    """A job file turned towards the simulator, and what it runs with."""

    jobfile: JobFile
    clock: Clock
    simulator: Simulator
    store: str

    @staticmethod
    def read_bearer(organization: Organization) -> Bearer:
        """The made-up credential of an organization."""
        return Bearer(_token(organization.name))


@contextmanager
def rehearse(
    jobfile: JobFile, *, speed: float, faults: bool = False, policy: str = "sliding", seed: int = 0
) -> Iterator[Rehearsal]:
    """Serve a simulator in which everything that the job file asks for exists."""
    clock = ScaledClock(speed)
    simulator = Simulator(
        world_for(jobfile, clock.wall()),
        policy=policy,
        faults=ordinary_faults() if faults else None,
        seed=seed,
    )
    with (
        tempfile.TemporaryDirectory(prefix="tesnap-rehearsal-") as folder,
        serve(simulator, clock=clock) as url,
    ):
        organizations = {
            name: replace(organization, base_url=url) for name, organization in jobfile.organizations.items()
        }
        turned = replace(
            jobfile, organizations=organizations, http=Http(timeout=jobfile.http.timeout), notify=()
        )
        yield Rehearsal(
            jobfile=turned,
            clock=clock,
            simulator=simulator,
            store=sqlite_address(Path(folder) / "rehearsal.db"),
        )


def world_for(jobfile: JobFile, now: float) -> World:
    """A world with the file's organizations, account groups and tests."""
    return world_of(
        _make_tenant(jobfile, organization, now) for organization in jobfile.organizations.values()
    )


def _make_tenant(jobfile: JobFile, organization: Organization, now: float) -> tuple[Tenant, TenantBearer]:
    jobs = jobfile.jobs_of(organization.name)
    selects = [job.select for job in jobs if job.select]
    tenant, token = known_tenant(
        organization.name,
        _token(organization.name),
        org_id=organization.org_id or "",
        tests=_tests(jobs, organization),
        test_names=[name for select in selects for name in select.test_name],
        types=[kind for select in selects for kind in select.type],
        tags=[tag for select in selects for tag in select.tag],
        alerting_since=now - 1800 if any(select.alerting for select in selects) else None,
    )
    names = {ref.id: ref.test_name for job in jobs for ref in job.tests if ref.test_name}
    groups = (replace(group, tests=_rename_tests(group.tests, names)) for group in tenant.account_groups)
    limit = organization.limit
    own = replace(tenant, account_groups=tuple(groups), limit=limit.snapshots, period=limit.per)
    return own, token


def _rename_tests(tests: Sequence[TenantTest], names: Mapping[str, str]) -> tuple[TenantTest, ...]:
    """The tests, called what the job file expects them to be called."""
    return tuple(replace(test, name=names.get(test.test_id, test.name)) for test in tests)


def _tests(jobs: Sequence[Job], organization: Organization) -> dict[str, list[str]]:
    """The test ids that the jobs name, by account group; the organization's own group comes first."""
    found: dict[str, list[str]] = defaultdict(list, {organization.account_group or "": []})
    for job in jobs:
        found[job.account_group or organization.account_group or ""] += [ref.id for ref in job.tests]
    return dict(found)


def _token(name: str) -> str:
    return f"rehearsal-{name}"

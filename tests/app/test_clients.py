"""Whose credential serves a task."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from orchestrator.app.organizations import Organizations
from orchestrator.core.jobs import CredentialSource, Job, JobFile, Organization, TestRef, WindowSpec
from orchestrator.planning.discovery import OrganizationSurvey
from orchestrator.store.store import open_store
from tests.support.clock import VirtualClock
from tests.support.reports import task


class Looks(dict[str, str]):
    """The identities of names, and how many of them were looked at."""

    count = 0

    def get(self, name: str, default: str | None = None) -> str | None:  # type: ignore[override] # as it is used
        self.count += 1
        return super().get(name, default)


@pytest.mark.parametrize("names", [1, 40])
def test_a_task_is_served_without_a_look_at_all_organizations(tmp_path: Path, names: int) -> None:
    """Each request asks: with ten thousand organizations it would cost more than all the rest of it."""
    parts = {
        f"o{number}": Organization(name=f"o{number}", credential=CredentialSource(env="T"))
        for number in range(names)
    }
    job = Job(
        name="checkout",
        organizations=tuple(parts),
        tests=(TestRef(id="1"),),
        windows=(WindowSpec(last=60.0),),
    )
    jobfile = JobFile(name="x", jobs=(job,), organizations=parts)
    clock = VirtualClock()
    with closing(open_store(f"{tmp_path}/s.db", clock=clock)) as store:
        organizations = Organizations(jobfile, store=store, clock=clock, environ={"T": "token-of-all"})
        organizations.serve(dict.fromkeys(parts, OrganizationSurvey()))
        looks = organizations.identities = Looks(organizations.identities)
        name = f"o{names - 1}"
        wanted = task(0, organization=looks[name], organization_name=name)
        assert organizations.client_of(wanted) is organizations.clients[name]
        assert looks.count == 1

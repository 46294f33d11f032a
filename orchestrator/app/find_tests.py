"""Find the tests that selectors mean, without making anything."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from orchestrator.api import OnPause
    from orchestrator.core import Clock, JobFile
    from orchestrator.output import FoundTest
    from orchestrator.planning import OrganizationSurvey


# -- tests -----------------------------------------------------------------------------------------------


def read_lists(jobfile: JobFile, clock: Clock, tell: OnPause | None) -> dict[str, OrganizationSurvey]:
    """What each organization's lists say."""
    from orchestrator.planning import find_out

    findings = {}
    with ExitStack() as stack:
        for name, organization in jobfile.organizations.items():
            client = client_of(jobfile, name, clock)
            stack.callback(client.close)
            groups = [jobfile.jobs[0].account_group or organization.account_group or ""]
            findings[name] = find_out(
                client, organization, groups, jobs=jobfile.jobs, clock=clock, tell=tell, all_lists=True
            )
    return findings


def client_of(jobfile: JobFile, name: str, clock: Clock) -> Any:
    from orchestrator import __version__
    from orchestrator.api import Client, read_bearer

    organization = jobfile.organizations[name]
    bearer = read_bearer(organization.credential, environ=os.environ)
    return Client(
        organization.base_url,
        bearer.reveal,
        clock=clock,
        http=jobfile.http,
        user_agent=f"tesnap/{__version__}",
        environ=os.environ,
    )


def matching_tests(
    jobfile: JobFile, findings: Mapping[str, OrganizationSurvey], clock: Clock, say: Callable[[str], None]
) -> Iterator[FoundTest]:
    """The tests that are meant; `say` hears what there is to say about it."""
    from orchestrator.output import FoundTest
    from orchestrator.planning import choose, lookouts, own_group, require, require_lists

    job, choices = jobfile.jobs[0], {}
    for name, finding in findings.items():
        if finding.stopped:
            say(f"{name}: {finding.because}")
            continue
        own = job.account_group or jobfile.organizations[name].account_group or ""
        moments = lookouts(job, now=clock.wall() + finding.offset)
        choices[name] = choose(job, finding.tests, organization=name, own=own, moments=moments)
        for note in finding.notes:
            say(f"{name}: {note}")
    require(job, choices, looking=True)
    require_lists(choices.values())
    for name, choice in choices.items():
        for note in choice.notes:
            say(note)
        finding, current = findings[name], own_group(findings[name].groups)
        for one in choice.tests:
            listing = finding.tests.get(one.account_group)
            aid = one.account_group or (current.aid if current else "")
            yield FoundTest(organization=name, chosen=one, group=listing.label if listing else "", aid=aid)

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
    from orchestrator.planning import survey_organization

    surveys = {}
    with ExitStack() as stack:
        for name, organization in jobfile.organizations.items():
            client = client_of(jobfile, name, clock)
            stack.callback(client.close)
            groups = [jobfile.jobs[0].account_group or organization.account_group or ""]
            surveys[name] = survey_organization(
                client, organization, groups, jobs=jobfile.jobs, clock=clock, tell=tell, all_lists=True
            )
    return surveys


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
    jobfile: JobFile, surveys: Mapping[str, OrganizationSurvey], clock: Clock, say: Callable[[str], None]
) -> Iterator[FoundTest]:
    """The tests that are meant; `say` hears what there is to say about it."""
    from orchestrator.output import FoundTest
    from orchestrator.planning import (
        alert_windows,
        check_lists,
        check_selection,
        make_scope,
        own_group,
        select_tests,
    )

    job, selections = jobfile.jobs[0], {}
    for name, survey in surveys.items():
        if survey.stopped:
            say(f"{name}: {survey.because}")
            continue
        scope = make_scope(job, jobfile.organizations[name], survey.listings)
        moments = alert_windows(job, now=clock.wall() + survey.offset)
        selections[name] = select_tests(job, scope, moments=moments)
        for note in survey.notes:
            say(f"{name}: {note}")
    check_selection(job, selections, looking=True)
    check_lists(selections.values())
    for name, choice in selections.items():
        for note in choice.notes:
            say(note)
        survey, current = surveys[name], own_group(surveys[name].groups)
        for one in choice.tests:
            listing = survey.listings.get(one.account_group)
            aid = one.account_group or (current.aid if current else "")
            yield FoundTest(organization=name, selected=one, group=listing.label if listing else "", aid=aid)

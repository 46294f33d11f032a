"""Find the tests that selectors mean, without making anything."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import closing

from orchestrator.api import OnPause, PacedGetter
from orchestrator.app.organizations import open_client
from orchestrator.core import Clock, JobFile
from orchestrator.output import FoundTest
from orchestrator.planning import (
    OrganizationSurvey,
    Selection,
    SideBySide,
    alert_windows,
    check_lists,
    check_selection,
    make_scope,
    own_group,
    select_tests,
    survey_organization,
)


def read_lists(
    jobfile: JobFile, clock: Clock, environ: Mapping[str, str], tell: OnPause | None
) -> dict[str, OrganizationSurvey]:
    """All that each organization's lists say; `tell` hears of waits."""
    surveys = {}
    for name, organization in jobfile.organizations.items():
        groups = [jobfile.jobs[0].account_group or organization.account_group or ""]
        client = open_client(organization, jobfile, clock=clock, environ=environ)
        with SideBySide() as lookups, closing(client):  # closed before the threads that read are waited for
            surveys[name] = survey_organization(
                PacedGetter(client, clock, name=name, tell=tell),
                organization,
                groups,
                jobs=jobfile.jobs,
                clock=clock,
                all_lists=True,
                lookups=lookups,
            )
    return surveys


def matching_tests(
    jobfile: JobFile,
    surveys: Mapping[str, OrganizationSurvey],
    clock: Clock,
    say: Callable[[str], None],
) -> list[FoundTest]:
    """The tests that the first job of the file means; `say` hears a line about each list that is not whole.

    Raises `SelectionError` when a selector matches nothing.
    """
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
    for selection in selections.values():
        for note in selection.notes:
            say(note)
    return [
        found
        for name, selection in selections.items()
        for found in _found_tests(name, selection, surveys[name])
    ]


def _found_tests(name: str, selection: Selection, survey: OrganizationSurvey) -> list[FoundTest]:
    current = own_group(survey.groups)
    found = []
    for test in selection.tests:
        listing = survey.listings.get(test.account_group)
        aid = test.account_group or (current.aid if current else "")
        group = listing.label if listing else ""
        found.append(FoundTest(organization=name, selected=test, group=group, aid=aid))
    return found

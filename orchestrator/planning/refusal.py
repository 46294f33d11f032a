"""Organizations that are refused before their first request: too few tests are selected, too many, or nobody knows which.

What is wrong with one organization is its own trouble: the others of its job are served. Pure.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from orchestrator.core import (
    Job,
    Reason,
    RefusedOrganization,
    SelectionError,
    Success,
    Task,
    choice,
    first_names,
    quote,
)
from orchestrator.planning.discovery import OrganizationSurvey
from orchestrator.planning.selection import Selection
from orchestrator.planning.unreadable import describe_missing, unreadable_error, unreadable_reason

OWN_TROUBLE = (Reason.TOO_FEW_TESTS, Reason.TOO_MANY_TESTS)
"""Reasons that are the selection's own: all lists were read."""

MOST_TOLD = 5
"""Organizations that an error explains; the others are counted."""


def refuse_selections(
    job: Job,
    selections: Mapping[str, Selection],
    surveys: Mapping[str, OrganizationSurvey],
) -> Iterator[RefusedOrganization]:
    """The organizations in which a job means too few tests or too many, or in which it could not be found out which.

    A job that somebody types means its tests wherever they are: it refuses an organization only where it means none
    at all.
    """
    means_none = not any(one.tests for one in selections.values()) and job.min_tests is None and not job.only
    for name, selection in selections.items():
        count, least = len(selection.tests), max(job.least_tests, int(means_none))
        if job.max_tests is not None and count > job.max_tests:
            text = _excess_text(job, count, f", so nothing was sent{_whose(name, selections)}")
            yield RefusedOrganization(name=name, reason=Reason.TOO_MANY_TESTS, text=text)
        elif count < least:
            reason, text = _explain_shortage(job, name, selections, surveys[name])
            if reason is not None:
                yield RefusedOrganization(name=name, reason=reason, text=text)


def check_selection(job: Job, selections: Mapping[str, Selection], *, looking: bool = False) -> None:
    """Raise SelectionError when a job is refused in each of its organizations.

    Whoever is only `looking` sends nothing anyway, which is not said then.
    """
    surveys = dict.fromkeys(selections, OrganizationSurvey())
    refused = [one for one in refuse_selections(job, selections, surveys) if one.reason in OWN_TROUBLE]
    if refused and len(refused) == len(selections):
        texts = (one.text.replace(", so nothing was sent", "") if looking else one.text for one in refused)
        raise SelectionError(join_texts(texts))


def check_lists(selections: Iterable[Selection]) -> None:
    """Raise when all that is meant could not be selected, since lists could not be read; the kind says why."""
    known = list(selections)
    missing = [one for selection in known for one in selection.unreadable]
    if missing and not any(selection.tests for selection in known):
        raise unreadable_error("no test can be selected", missing)


def check_rest(refused: Mapping[str, RefusedOrganization], served: Iterable[str]) -> None:
    """Raise SelectionError when no organization is left, and with each of them its selection is the trouble."""
    own = all(one.reason in OWN_TROUBLE for one in refused.values())
    if refused and own and refused.keys() >= set(served):
        raise SelectionError(join_texts(one.text for one in refused.values()))


def check_part(jobs: Sequence[Job], plan: Iterable[Task], refused: Collection[RefusedOrganization]) -> None:
    """Raise SelectionError when a part of the jobs was meant that has no test."""
    patterns = {pattern for job in jobs for pattern in job.only}
    if patterns and not refused and next(iter(plan), None) is None:
        which = choice([quote(pattern) for pattern in sorted(patterns)])
        raise SelectionError(
            f"no test of the jobs is like {which}, so nothing was sent: `tesnap plan` shows all of them"
        )


def describe_fewer(counts: Mapping[str, int], successes: Mapping[str, Success]) -> Iterator[str]:
    """A sentence where less than half is planned of what the last successful run had of an organization; by their names."""
    texts = [
        f"{name}: {counts.get(name, 0)} of {before.tasks}"
        for name, before in sorted(successes.items())
        if 2 * counts.get(name, 0) < before.tasks
    ]
    if texts:
        yield f"less than half of the snapshots that the last successful run had ({first_names(texts)}): see if the tests or the selectors have changed"


def join_texts(texts: Iterable[str]) -> str:
    """The sentences, one a line, the first few of them."""
    known = list(dict.fromkeys(texts))
    more = len(known) - MOST_TOLD
    return "\n".join((*known[:MOST_TOLD], *([f"and {more} more like these"] if more > 0 else [])))


def _explain_shortage(
    job: Job, name: str, selections: Mapping[str, Selection], survey: OrganizationSurvey
) -> tuple[Reason | None, str]:
    """Why too few tests were selected in an organization; no reason where nobody tried to read its lists."""
    selection = selections[name]
    if survey.stopped is not None:
        return survey.stopped, survey.because
    if selection.unreadable:
        text = f"no test could be selected: {describe_missing(selection.unreadable)}"
        return unreadable_reason(selection.unreadable), text
    if selection.incomplete or job.only:
        return None, ""
    return Reason.TOO_FEW_TESTS, _shortage_text(job, selection, _whose(name, selections))


def _shortage_text(job: Job, selection: Selection, whose: str) -> str:
    count = len(selection.tests)
    if count:
        matches = f"{count} {'test matches' if count == 1 else 'tests match'}"
        return f"{_place(job)}{matches}, fewer than the {job.least_tests} that min_tests wants, so nothing was sent{whose}"
    start = f"{_place(job)}no test matches, so nothing was sent{whose}"
    if job.select is None:
        return f"{start}: every test that is named is also excluded"
    end = "" if selection.searched.endswith("?") else "."
    return f"{start}: {selection.searched}{end} `tesnap tests` lists all tests with their types and tags"


def _excess_text(job: Job, count: int, unsent: str) -> str:
    limit = "max_tests" if job.place else "--max-tests"
    return (
        f"{_place(job)}{count} tests match, more than the {job.max_tests} that {limit} allows{unsent}:"
        f" look at them with `tesnap tests`, then narrow them down by tag, type or name, or set {limit} to {count}"
    )


def _place(job: Job) -> str:
    return f"{job.place}: " if job.place else ""


def _whose(name: str, selections: Mapping[str, Selection]) -> str:
    """The organization's name, where a job has several."""
    return f" for {name}" if len(selections) > 1 else ""

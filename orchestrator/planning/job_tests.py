"""The tests that a job means in each of its organizations, given what the lists of account groups say. Pure.

A job means the tests it names by id, in that order, and those that its selectors find: the ones with alerts
first, the longest alerting before the others, then by name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from orchestrator.core import Job, Organization, TestRef, Window, first_names
from orchestrator.planning.selection import ListedTests, Listing, SelectedTest, Selection
from orchestrator.planning.selectors import select_by_selectors


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """The account groups of one organization in which a job looks for tests, its own first."""

    organization: str
    listings: tuple[Listing, ...]

    @property
    def is_read(self) -> bool:
        """True if the tests of each account group are known."""
        return all(listing.tests is not None for listing in self.listings)

    def has(self, test_id: str) -> bool:
        """True if one of the lists has a test of this id."""
        return any(test_id in (listing.tests or ()) for listing in self.listings)


def make_scope(job: Job, organization: Organization, listings: Mapping[str, Listing]) -> Scope:
    """The scope of a job in this organization: its own account group, or all that were listed."""
    own = job.account_group or organization.account_group or ""
    first = listings.get(own, Listing(aid=own))
    others = [listing for aid, listing in listings.items() if aid != own] if job.everywhere else []
    return Scope(organization=organization.name, listings=(first, *others))


def select_tests(job: Job, scope: Scope, *, moments: Sequence[Window]) -> Selection:
    """The tests of a job in one organization; `moments` are the windows in which an alert matters."""
    groups = [ListedTests(listing, moments) for listing in scope.listings]
    named = [_named_test(ref, groups) for ref in job.tests if ref.id not in job.exclude]
    notes = [note for one in named for note in _notes_on_named(job, one, scope)]
    found = select_by_selectors(job, groups, moments, scope.organization)
    known = {(one.account_group, one.id) for one in named}
    added = (one for one in found.tests if (one.account_group, one.id) not in known)
    return replace(
        found,
        tests=(*named, *added),
        notes=(*notes, *found.notes),
        unreadable_alerts=tuple(
            one for listing in scope.listings for one in listing.unreadable if one.of == "alerts"
        ),
    )


def _named_test(ref: TestRef, groups: Sequence[ListedTests]) -> SelectedTest:
    """The test with this id, in the first account group that has it."""
    own = groups[0].listing
    found = next(filter(None, (group.find(ref.id) for group in groups)), None)
    test = found or SelectedTest(id=ref.id, account_group=own.aid, name=ref.test_name)
    return replace(test, refusal=_refusal(ref, found, own))


def _refusal(ref: TestRef, found: SelectedTest | None, own: Listing) -> str | None:
    actual = found.name if found else None
    if ref.test_name in (None, actual):
        return None
    if found is None and own.tests is None:
        return f"the name of test {ref.id} could not be checked against {ref.test_name!r}: the list of tests cannot be read"
    return f"test {ref.id} is called {actual!r}, the job file says {ref.test_name!r}"


def _notes_on_named(job: Job, one: SelectedTest, scope: Scope) -> Iterator[str]:
    start = f"{scope.organization}: test {one.id}"
    if one.test is None:
        if scope.listings[0].tests is not None:
            where = "any account group" if job.everywhere else "its account group"
            yield f"{start} is not in the list of tests of {where}; the API may answer 404"
    elif one.test.saved_event:
        yield f"{start} ({one.name}) is a saved event, no test; the API may refuse it"
    elif not one.test.enabled:
        yield f"{start} ({one.name}) is disabled: it has no fresh data"


def select_tests_by_organization(
    job: Job, scopes: Sequence[Scope], *, moments: Sequence[Window]
) -> dict[str, Selection]:
    """The tests of a job in each of its organizations.

    With several of them an id goes only where a list has it. One that no list has goes to the only organization
    whose lists could not be read, else nowhere: somebody else's test must not be asked for.
    """
    owners = {ref.id: _owners(ref, scopes) for ref in job.tests}
    selections = {}
    for scope in scopes:
        mine = tuple(ref for ref in job.tests if scope.organization in owners[ref.id])
        selections[scope.organization] = select_tests(replace(job, tests=mine), scope, moments=moments)
    lost = [ref for ref in job.tests if not owners[ref.id] and ref.id not in job.exclude]
    if lost and scopes:
        first = next(scope for scope in scopes if scope.is_read)
        before = selections[first.organization]
        refused = (_ownerless_test(ref, scopes, first.listings[0].aid) for ref in lost)
        selections[first.organization] = replace(before, tests=(*refused, *before.tests))
    return selections


def _owners(ref: TestRef, scopes: Sequence[Scope]) -> set[str]:
    """The organizations that an id may be of."""
    if len(scopes) == 1:
        return {scopes[0].organization}
    having = {scope.organization for scope in scopes if scope.has(ref.id)}
    unread = {scope.organization for scope in scopes if not scope.is_read}
    if having or len(unread) == len(scopes):
        return having or unread
    return unread if len(unread) == 1 else set()


def _ownerless_test(ref: TestRef, scopes: Sequence[Scope], own: str) -> SelectedTest:
    """An id that no organization's lists have, refused with where it was looked for."""
    read = [scope.organization for scope in scopes if scope.is_read]
    unread = [scope.organization for scope in scopes if not scope.is_read]
    tail = f" (those of {first_names(unread)} could not be read)" if unread else ""
    refusal = (
        f"test {ref.id} is in no list of {first_names(read)}{tail}, so it was sent to nobody: correct the id, or name its"
        " organization alone"
    )
    return SelectedTest(id=ref.id, account_group=own, name=ref.test_name, refusal=refusal)

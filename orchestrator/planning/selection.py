"""The tests that a job means in each of its organizations, given what the lists of account groups say. Pure.

A job means the tests it names by id, in that order, and those that its selectors find: the ones with alerts
first, the longest alerting before the others, then by name.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from orchestrator import core
from orchestrator.api import Alert, ConfiguredTest, Tag
from orchestrator.core import (
    Job,
    ListedEvents,
    Organization,
    Select,
    TestRef,
    Window,
    choice,
    first_names,
    plural,
    quote,
)
from orchestrator.planning.unreadable import UnreadableList, describe_missing


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """The lists of one account group; None for one that was not, or could not be, read.

    `aid` is what a request names, empty for the credential's own group, of which `group_id` is the id all the same
    where it is known; `label` is what people read, and `unreadable` says why lists are missing. `read_at` (epoch seconds) is before the first of them was asked for.
    """

    aid: str = ""
    group_id: str = ""
    label: str = ""
    tests: Mapping[str, ConfiguredTest] | None = None
    tags: tuple[Tag, ...] | None = None
    alerts: tuple[Alert, ...] | None = None
    unreadable: tuple[UnreadableList, ...] = ()
    read_at: float = 0.0

    @property
    def saved_events(self) -> ListedEvents | None:
        """The saved events among the tests; None where these were not read."""
        if self.tests is None:
            return None
        names = frozenset(test.name for test in self.tests.values() if test.saved_event)
        return ListedEvents(names=names, ids=frozenset(self.tests), read_at=self.read_at)


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectedTest:
    """A test that is meant; `refusal` says why it must not be sent after all. Times are epoch seconds.

    `alerting_since` is when the earliest of its alerts began, None without one or where that is unknown.
    """

    id: str
    account_group: str = ""
    name: str | None = None
    test: ConfiguredTest | None = None
    tags: tuple[str, ...] = ()
    alerting: bool = False
    alerting_since: float | None = None
    refusal: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """The tests that a job means in one organization.

    `incomplete` says why selectors could not be compared with everything, and `unreadable` are the lists that
    this is due to, none where nobody tried to read them. `unreadable_alerts` are the lists of alerts that are
    missing. `searched` is what the selectors were compared with when they found nothing.
    """

    tests: tuple[SelectedTest, ...] = ()
    incomplete: str = ""
    unreadable: tuple[UnreadableList, ...] = ()
    unreadable_alerts: tuple[UnreadableList, ...] = ()
    searched: str = ""
    notes: tuple[str, ...] = ()


class Scope(NamedTuple):
    """The account groups of one organization in which a job looks for tests, its own first.

    A test that several of them share is one, and belongs to the one with the lowest id.
    """

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
    all_named = (_named_test(ref, groups) for ref in job.tests if ref.id not in job.exclude)
    named = [one for one in all_named if _is_in_part(job, one)]
    notes = [note for one in named for note in _notes_on_named(job, one, scope)]
    found = _select_by_selectors(job, groups, moments, scope.organization)
    known = {one.id for one in named}
    added = (one for one in found.tests if one.id not in known and _is_in_part(job, one))
    return replace(
        found,
        tests=(*named, *added),
        notes=(*notes, *found.notes),
        unreadable_alerts=tuple(
            one for listing in scope.listings for one in listing.unreadable if one.of == "alerts"
        ),
    )


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
        ownerless = (_ownerless_test(ref, scopes, first.listings[0].aid) for ref in lost)
        refused = (one for one in ownerless if _is_in_part(job, one))
        selections[first.organization] = replace(before, tests=(*refused, *before.tests))
    return selections


class ListedTests:
    """The tests of one account group, each with what the group's other lists say of it.

    `moments` are the windows in which an alert makes a test an alerting one.
    """

    def __init__(self, listing: Listing, moments: Sequence[Window]) -> None:
        self.listing = listing
        self._tags: dict[str, list[str]] = defaultdict(list)
        self._alerts: dict[str, list[Alert]] = defaultdict(list)
        for tag in listing.tags or ():
            for test_id in tag.test_ids:
                self._tags[test_id].append(tag.text)
        for alert in listing.alerts or ():
            if any(alert.within(moment) for moment in moments):
                self._alerts[alert.test_id].append(alert)

    def find(self, test_id: str) -> SelectedTest | None:
        """The test with this id, None where the group has none, or its tests were not read."""
        test = (self.listing.tests or {}).get(test_id)
        return None if test is None else self._with_facts(test)

    def candidates(self) -> list[SelectedTest]:
        """The tests that selectors choose from: saved events are none."""
        tests = (self.listing.tests or {}).values()
        return [self._with_facts(test) for test in tests if not test.saved_event]

    def _with_facts(self, test: ConfiguredTest) -> SelectedTest:
        alerts = self._alerts.get(test.id, ())
        starts = [one.started_at for one in alerts if one.started_at is not None]
        return SelectedTest(
            id=test.id,
            account_group=self.listing.aid,
            name=test.name,
            test=test,
            tags=tuple(self._tags.get(test.id, ())),
            alerting=bool(alerts),
            alerting_since=min(starts, default=None),
        )


def _by_id(groups: Iterable[ListedTests]) -> list[ListedTests]:
    """The account groups by their ids, as numbers; those of which none is known last, as they came."""
    return sorted(groups, key=lambda group: _number(group.listing.group_id or group.listing.aid))


def _number(aid: str) -> float:
    return int(aid) if aid.isascii() and aid.isdecimal() else math.inf


def _unite_shared(found: Iterable[SelectedTest]) -> list[SelectedTest]:
    """Each test once, in the first account group that it was found in, with what all of them say of it."""
    tests: dict[str, SelectedTest] = {}
    for one in found:
        before = tests.setdefault(one.id, one)
        if before is not one:
            since = [at for at in (before.alerting_since, one.alerting_since) if at is not None]
            tests[one.id] = replace(
                before,
                tags=tuple(dict.fromkeys((*before.tags, *one.tags))),
                alerting=before.alerting or one.alerting,
                alerting_since=min(since, default=None),
            )
    return list(tests.values())


def _named_test(ref: TestRef, groups: Sequence[ListedTests]) -> SelectedTest:
    """The test with this id, in the account group that it belongs to."""
    own = groups[0].listing
    found = next(iter(_unite_shared(filter(None, (group.find(ref.id) for group in _by_id(groups))))), None)
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
        yield f"{start} ({one.name}) is a saved event, not a test; the API may refuse it"
    elif not one.test.enabled:
        yield f"{start} ({one.name}) is disabled: it has no fresh data"


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
        f"test {ref.id} is in no list of {first_names(read)}{tail}, so nothing was sent for it: correct the id, or name only"
        " its organization"
    )
    return SelectedTest(id=ref.id, account_group=own, name=ref.test_name, refusal=refusal)


def _select_by_selectors(
    job: Job, groups: Sequence[ListedTests], moments: Sequence[Window], organization: str
) -> Selection:
    """The tests that the job's selectors find, `exclude` taken out, in the order in which they go.

    No test without selectors. `groups` are the account groups to look in, `moments` the windows in which an
    alert matters.
    """
    if job.select is None:
        return Selection()
    search = _Search(job.select, groups, moments)
    matching = search.matching()
    kept = [one for one in matching if not _is_among(one, job.exclude)]
    notes = [*search.notes_on_tags(), *_notes_on_disabled(kept)]
    incomplete = search.describe_unread()
    if incomplete:
        notes.append(f"not every test can be selected: {incomplete}")
    found_none = not kept and search.groups
    return Selection(
        tests=tuple(sorted(kept, key=_urgency)),
        incomplete=incomplete,
        unreadable=tuple(search.unreadable),
        searched=f"{organization} has {search.describe(matching)}" if found_none else "",
        notes=tuple(f"{organization}: {note}" for note in notes),
    )


def _is_in_part(job: Job, one: SelectedTest) -> bool:
    """True if the part of the job that is meant has this test."""
    return not job.only or _is_among(one, job.only)


def _is_among(one: SelectedTest, entries: Iterable[str]) -> bool:
    """True if an id or a name pattern among the entries is meant for this test; digits are always an id."""
    return any(
        one.id == entry if entry.isdecimal() else core.is_like(one.name or "", entry) for entry in entries
    )


def _urgency(one: SelectedTest) -> tuple[bool, bool, float, str, str]:
    """Tests with alerts first, the longest alerting before the others, then by name."""
    since = one.alerting_since
    return (not one.alerting, since is None, since or 0.0, (one.name or "").casefold(), one.id)


def _notes_on_disabled(kept: Sequence[SelectedTest]) -> Iterator[str]:
    disabled = [f"{one.id} ({one.name})" for one in kept if one.test and not one.test.enabled]
    if disabled:
        verb = "is disabled and has" if len(disabled) == 1 else "are disabled and have"
        yield f"of the selected tests {first_names(disabled)} {verb} no fresh data"


def _conditions(select: Select, moments: Sequence[Window]) -> dict[str, Callable[[SelectedTest], bool]]:
    """The conditions on a test that is meant, by the words that a sentence has for each: one for each key that is set."""
    found: dict[str, Callable[[SelectedTest], bool]] = {}
    if select.test_name:
        found[f"with a name like {_quoted_choice(select.test_name)}"] = lambda one: any(
            core.is_like(one.name or "", name) for name in select.test_name
        )
    if select.type:
        found[f"of type {_quoted_choice(select.type)}"] = lambda one: (
            one.test is not None and one.test.type in select.type
        )
    if select.tag:
        found[f"with tag {_quoted_choice(select.tag)}"] = lambda one: any(
            core.matches(tag, wanted) for tag in one.tags for wanted in select.tag
        )
    if select.alerting is not None:
        alert = "an alert" if select.alerting else "no alert"
        found[f"with {alert} active {_span_text(moments)}"] = lambda one: one.alerting is select.alerting
    if select.enabled is not None:
        found["enabled" if select.enabled else "disabled"] = lambda one: (
            one.test is not None and one.test.enabled is select.enabled
        )
    return found


def _quoted_choice(texts: Sequence[str]) -> str:
    return choice([quote(text) for text in texts])


def _span_text(moments: Sequence[Window]) -> str:
    first, last = min(one.start for one in moments), max(one.end for one in moments)
    to = core.utc_text(last)
    return f"at {to}" if first == last else f"between {core.utc_text(first)} and {to}"


class _Search:
    """Selectors and the tests they are compared with: those of the account groups whose needed lists were read."""

    def __init__(self, select: Select, groups: Sequence[ListedTests], moments: Sequence[Window]) -> None:
        needed = [
            "tests",
            *(["tags"] if select.tag else []),
            *(["alerts"] if select.alerting is not None else []),
        ]
        self.groups = [one for one in groups if all(getattr(one.listing, of) is not None for of in needed)]
        self._unread = [one.listing for one in groups if one not in self.groups]
        self.unreadable = [one for listing in self._unread for one in listing.unreadable if one.of in needed]
        self._select, self._conditions = select, _conditions(select, moments)
        candidates = (one for group in _by_id(self.groups) for one in group.candidates())
        self._candidates = _unite_shared(candidates)
        self._tags = [tag for group in self.groups for tag in group.listing.tags or ()]

    def matching(self) -> list[SelectedTest]:
        """The candidates that meet every condition."""
        return [one for one in self._candidates if all(met(one) for met in self._conditions.values())]

    def describe_unread(self) -> str:
        """The reason why not everything was searched: errors, or nobody has looked, as offline; empty when all was."""
        if self.unreadable:
            return describe_missing(self.unreadable)
        labels = [listing.label or "its account group" for listing in self._unread]
        return f"the lists of {first_names(labels)} were not read" if labels else ""

    def notes_on_tags(self) -> Iterator[str]:
        """Tags that select no test, or fewer than one would think."""
        wanted = self._select.tag if self.groups else ()
        yield from filter(None, (_describe_tag(pattern, self._tags) for pattern in wanted))

    def describe(self, matching: Sequence[SelectedTest]) -> str:
        """The tests that were searched, how many of them meet each condition alone, and the names that are near."""
        groups = first_names([group.listing.label for group in self.groups if group.listing.label])
        number = plural(len(self._candidates), "test") if self._candidates else "no test"
        where = f"{number} in {groups}" if groups else number
        if not self._candidates:
            return where
        if matching:
            return f"{where}, of which {len(matching)} match, and all of these are excluded"
        counts = [
            f"{sum(map(met, self._candidates)) or 'none'} {text}" for text, met in self._conditions.items()
        ]
        together = ["none with all of these"] if len(counts) > 1 else []
        texts = [f"{where}: {', '.join([*counts, *together])}", self._nearest_names(), *self.notes_on_tags()]
        return "; ".join(filter(None, texts))

    def _nearest_names(self) -> str:
        """The names that may have been meant by those that match nothing."""
        names = [one.name or "" for one in self._candidates]
        lost = [
            wanted
            for wanted in self._select.test_name
            if not any(core.is_like(name, wanted) for name in names)
        ]
        near = dict.fromkeys(name for wanted in lost for name in core.nearest_names(wanted, names))
        return f"the nearest names are {choice([quote(name) for name in near], last='and')}" if near else ""


def _describe_tag(pattern: str, known: Sequence[Tag]) -> str:
    """The reason why a tag selects no test, or fewer than one would think; empty when it does not."""
    matching = [tag for tag in known if core.matches(tag.text, pattern)]
    dynamic = list(dict.fromkeys(quote(tag.text) for tag in matching if tag.dynamic))
    if dynamic:
        verb = "is a dynamic tag" if len(dynamic) == 1 else "are dynamic tags"
        return (
            f"{first_names(dynamic)} {verb}, whose tests the API does not list, so none of them is selected"
        )
    if matching and not any(tag.test_ids for tag in matching):
        return f"tag {quote(pattern)} is assigned to no test"
    return "" if matching else _describe_unknown_tag(pattern, known)


def _describe_unknown_tag(pattern: str, known: Sequence[Tag]) -> str:
    """The sentence that there is no such tag, and what may have been meant."""
    start = f"there is no tag {quote(pattern)}"
    if pattern.partition(":")[0].casefold() in ("label", "labels"):
        return f"{start}: version 7 of the API has tags, not test labels; write the tag as key:value"
    near = core.nearest_names(pattern, (tag.text for tag in known))
    if near:
        return f"{start}: did you mean {_quoted_choice(near)}?"
    if not known:
        return f"{start}, and no other tag either"
    return f"{start} among {first_names(list(dict.fromkeys(quote(tag.text) for tag in known)))}"

"""Which tests a job means, given what the lists of its account groups say. Pure.

A job means the tests it names by id, in that order, and those that its selectors find: the ones with alerts
first, the longest alerting before the others, then by name.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain

from orchestrator import core
from orchestrator.api import Alert, ConfiguredTest, Tag
from orchestrator.core import Job, Select, SelectionError, TestRef, Window, choice, plural, quote, utc_text
from orchestrator.planning.unreadable import UnreadableList, describe_missing, unreadable_error

NAMED_AT_MOST = 10
"""Tests or account groups that one sentence names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """What the lists of one account group say; None for a list that was not, or could not be, read.

    `aid` is what a request names, empty for the credential's own group; `label` is what people read, and
    `unreadable` says why lists are missing.
    """

    aid: str = ""
    label: str = ""
    tests: Mapping[str, ConfiguredTest] | None = None
    tags: tuple[Tag, ...] | None = None
    alerts: tuple[Alert, ...] | None = None
    unreadable: tuple[UnreadableList, ...] = ()


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

    `incomplete` says why selectors could not be compared with everything; `unreadable` are the lists that this is due to,
    none where nobody tried to read them. `unreadable_alerts` are the lists of alerts that are missing. `searched` is what the
    selectors were compared with when they found nothing.
    """

    tests: tuple[SelectedTest, ...] = ()
    incomplete: str = ""
    unreadable: tuple[UnreadableList, ...] = ()
    unreadable_alerts: tuple[UnreadableList, ...] = ()
    searched: str = ""
    notes: tuple[str, ...] = ()


def select_tests(
    job: Job,
    listings: Mapping[str, Listing],
    *,
    organization: str,
    own: str,
    moments: Sequence[Window],
) -> Selection:
    """The tests of a job in one organization; `own` is its account group, `moments` are those in which its alerts matter."""
    facts = [_Facts(listing, moments) for listing in scope(job, listings, own)]
    unreadable_alerts = tuple(one for each in facts for one in each.listing.unreadable if one.of == "alerts")
    typed = [_typed(ref, facts) for ref in job.tests if ref.id not in job.exclude]
    notes = tuple(chain.from_iterable(_notes_on_typed(job, one, listings, organization) for one in typed))
    if job.select is None:
        return Selection(tests=tuple(typed), notes=notes, unreadable_alerts=unreadable_alerts)
    selected = _select(job, job.select, facts, organization)
    known = {(one.account_group, one.id) for one in typed}
    added = (one for one in selected.tests if (one.account_group, one.id) not in known)
    return replace(
        selected, tests=(*typed, *added), notes=(*notes, *selected.notes), unreadable_alerts=unreadable_alerts
    )


def check_selection(job: Job, selections: Mapping[str, Selection], *, looking: bool = False) -> None:
    """Raise SelectionError when a job means no test although everything was read, or more than `max_tests`.

    Whoever is only `looking` sends nothing anyway, which is not said then.
    """
    total = sum(len(one.tests) for one in selections.values())
    place, unsent = f"{job.place}: " if job.place else "", "" if looking else ", so nothing was sent"
    if job.max_tests is not None and total > job.max_tests:
        limit = "max_tests" if job.place else "--max-tests"
        raise SelectionError(
            f"{place}{total} tests match, more than the {job.max_tests} that {limit} allows{unsent}:"
            f" look at them with `tesnap tests`, then narrow them down by tag, type or name, or set {limit} to {total}"
        )
    if total or not selections or any(one.incomplete for one in selections.values()):
        return
    start = f"{place}no test is meant{unsent}"
    if job.select is None:
        raise SelectionError(f"{start}: every test that is named is also excluded")
    reasons = "; ".join(one.searched for one in selections.values())
    end = "" if reasons.endswith("?") else "."
    raise SelectionError(f"{start}: {reasons}{end} `tesnap tests` lists all tests with their types and tags")


def check_lists(selections: Iterable[Selection]) -> None:
    """Raise when all that is meant could not be selected, since lists could not be read; the kind says why."""
    made = list(selections)
    lost = [missing for one in made for missing in one.unreadable]
    if lost and not any(one.tests for one in made):
        raise unreadable_error("no test can be selected", lost)


def scope(job: Job, listings: Mapping[str, Listing], own: str) -> list[Listing]:
    """The account groups to look in, the job's own first."""
    first = listings.get(own, Listing(aid=own))
    return [first, *(one for aid, one in listings.items() if aid != own)] if job.everywhere else [first]


class _Facts:
    """An account group's lists, looked up by test."""

    def __init__(self, listing: Listing, moments: Sequence[Window]) -> None:
        self.listing, self.moments = listing, moments
        self._tags: dict[str, list[str]] = defaultdict(list)
        self._alerts: dict[str, list[Alert]] = defaultdict(list)
        for tag in listing.tags or ():
            for test_id in tag.test_ids:
                self._tags[test_id].append(tag.text)
        for alert in listing.alerts or ():
            if any(alert.within(moment) for moment in moments):
                self._alerts[alert.test_id].append(alert)

    def of(self, test: ConfiguredTest) -> SelectedTest:
        """The test with what the other lists say of it."""
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

    def candidates(self) -> list[SelectedTest]:
        """The tests that selectors choose from: saved events are none."""
        return [self.of(test) for test in (self.listing.tests or {}).values() if not test.saved_event]


# -- tests by id -----------------------------------------------------------------------------------------


def _typed(ref: TestRef, scope: Sequence[_Facts]) -> SelectedTest:
    """The test with this id, in the first account group that has it."""
    facts = next((one for one in scope if ref.id in (one.listing.tests or {})), scope[0])
    found = (facts.listing.tests or {}).get(ref.id)
    refusal = _refusal(ref, facts.listing, found)
    if found is not None:
        return replace(facts.of(found), refusal=refusal)
    return SelectedTest(id=ref.id, account_group=facts.listing.aid, name=ref.test_name, refusal=refusal)


def _refusal(ref: TestRef, listing: Listing, found: ConfiguredTest | None) -> str | None:
    if ref.test_name is None:
        return None
    if listing.tests is None:
        return f"the name of test {ref.id} could not be checked against {ref.test_name!r}: the list of tests cannot be read"
    actual = found.name if found else None
    if actual == ref.test_name:
        return None
    return f"test {ref.id} is called {actual!r}, the job file says {ref.test_name!r}"


def _notes_on_typed(
    job: Job, one: SelectedTest, listings: Mapping[str, Listing], organization: str
) -> Iterator[str]:
    listing = listings.get(one.account_group)
    if one.test is None and listing is not None and listing.tests is not None:
        where = "any account group" if job.everywhere else "its account group"
        yield f"{organization}: test {one.id} is not in the list of tests of {where}; the API may answer 404"
    if one.test is not None and one.test.saved_event:
        yield f"{organization}: test {one.id} ({one.name}) is a saved event, no test; the API may refuse it"
    elif one.test is not None and not one.test.enabled:
        yield f"{organization}: test {one.id} ({one.name}) is disabled: it has no fresh data"


# -- tests by selectors ----------------------------------------------------------------------------------


def _select(job: Job, select: Select, scope: Sequence[_Facts], organization: str) -> Selection:
    """What the selectors find, `exclude` taken out, in the order in which it goes."""
    needed = _needed(select)
    readable = [facts for facts in scope if all(getattr(facts.listing, of) is not None for of in needed)]
    rest = [facts.listing for facts in scope if facts not in readable]
    unreadable = [missing for listing in rest for missing in listing.unreadable if missing.of in needed]
    unread = describe_missing(unreadable) if unreadable else _not_read(rest)
    candidates = [one for facts in readable for one in facts.candidates()]
    found = [one for one in candidates if all(_holds(key, value, one) for key, value in _keys(select))]
    kept = [one for one in found if not _excluded(job, one)]
    notes = [*_notes_on_tags(select, readable, organization), *_notes_on_disabled(kept, organization)]
    if unread:
        notes.append(f"{organization}: not every test can be selected: {unread}")
    searched = "" if kept or not readable else _searched(select, readable, candidates, len(found))
    return Selection(
        tests=tuple(sorted(kept, key=_urgency)),
        incomplete=unread,
        unreadable=tuple(unreadable),
        searched=f"{organization} has {searched}" if searched else "",
        notes=tuple(notes),
    )


def _keys(select: Select) -> Iterator[tuple[str, object]]:
    """The keys that are set, one by one, with their values."""
    for key in ("test_name", "type", "tag", "alerting", "enabled"):
        value = getattr(select, key)
        if value is not None and value != ():
            yield key, value


def _holds(key: str, value: object, one: SelectedTest) -> bool:
    """Whether one key of the selectors is true of a test."""
    if one.test is None:
        return False
    if isinstance(value, bool):
        return value is (one.alerting if key == "alerting" else one.test.enabled)
    wanted = value if isinstance(value, tuple) else ()
    if key == "test_name":
        return any(core.is_like(one.test.name, pattern) for pattern in wanted)
    if key == "type":
        return one.test.type in wanted
    return any(core.matches(tag, pattern) for tag in one.tags for pattern in wanted)


def _needed(select: Select) -> tuple[str, ...]:
    """The lists that these selectors are compared with."""
    tags, alerts = bool(select.tag), select.alerting is not None
    return ("tests", *(["tags"] if tags else []), *(["alerts"] if alerts else []))


def _not_read(listings: Sequence[Listing]) -> str:
    """That nobody has looked, as offline; empty when there is nothing to say it of."""
    labels = [listing.label or "its account group" for listing in listings]
    return f"the lists of {some(labels)} were not read" if labels else ""


def _excluded(job: Job, one: SelectedTest) -> bool:
    """Whether an id or a name pattern of `exclude` is meant for this test; digits are always an id."""
    return any(
        one.id == entry if entry.isdecimal() else core.is_like(one.name or "", entry) for entry in job.exclude
    )


def _urgency(one: SelectedTest) -> tuple[bool, bool, float, str, str]:
    """Tests with alerts first, the longest alerting before the others, then by name."""
    since = one.alerting_since
    return (not one.alerting, since is None, since or 0.0, (one.name or "").casefold(), one.id)


# -- what the user is told -------------------------------------------------------------------------------


def _notes_on_disabled(chosen: Sequence[SelectedTest], organization: str) -> Iterator[str]:
    disabled = [f"{one.id} ({one.name})" for one in chosen if one.test and not one.test.enabled]
    if disabled:
        verb = "is disabled and has" if len(disabled) == 1 else "are disabled and have"
        yield f"{organization}: of the selected tests {some(disabled)} {verb} no fresh data"


def _notes_on_tags(select: Select, scope: Sequence[_Facts], organization: str) -> Iterator[str]:
    for pattern in select.tag if scope else ():
        trouble = _tag_trouble(pattern, _tags(scope))
        if trouble:
            yield f"{organization}: {trouble}"


def _tag_trouble(pattern: str, known: Sequence[Tag]) -> str:
    """Why a tag selects no test, or fewer than one would think; empty when it does not."""
    matching = [tag for tag in known if core.matches(tag.text, pattern)]
    dynamic = list(dict.fromkeys(quote(tag.text) for tag in matching if tag.dynamic))
    if dynamic:
        what = "is a dynamic tag" if len(dynamic) == 1 else "are dynamic tags"
        return f"{some(dynamic)} {what}, whose tests the API does not list, and so selects none"
    if matching and not any(tag.test_ids for tag in matching):
        return f"tag {quote(pattern)} is assigned to no test"
    return "" if matching else _no_tag(pattern, known)


def _tags(scope: Sequence[_Facts]) -> list[Tag]:
    return [tag for facts in scope for tag in facts.listing.tags or ()]


def _no_tag(pattern: str, known: Sequence[Tag]) -> str:
    """That there is no such tag, and what may have been meant."""
    if pattern.partition(":")[0].casefold() in ("label", "labels"):
        return f"there is no tag {quote(pattern)}: version 7 of the API has tags, not test labels; write the tag as key:value"
    near = core.nearest_names(pattern, (tag.text for tag in known))
    if near:
        return f"there is no tag {quote(pattern)}: did you mean {choice([quote(text) for text in near])}?"
    if not known:
        return f"there is no tag {quote(pattern)}, and no other tag either"
    there = some(list(dict.fromkeys(quote(tag.text) for tag in known)))
    return f"there is no tag {quote(pattern)} among {there}"


def _searched(select: Select, scope: Sequence[_Facts], candidates: Sequence[SelectedTest], found: int) -> str:
    """What the selectors were compared with, how many tests each key alone is true of, and what is near."""
    groups = some([facts.listing.label for facts in scope if facts.listing.label])
    where = (plural(len(candidates), "test") if candidates else "no test") + (
        f" in {groups}" if groups else ""
    )
    if not candidates:
        return where
    if found:
        return f"{where}, of which {found} match, and all of these are excluded"
    moments = scope[0].moments if scope else ()
    counts = [
        f"{sum(_holds(key, value, one) for one in candidates) or 'none'} {_key_text(key, value, moments)}"
        for key, value in _keys(select)
    ]
    together = ["none with all of these"] if len(counts) > 1 else []
    hints = [_tag_trouble(pattern, _tags(scope)) for pattern in select.tag]
    return "; ".join(
        filter(None, [f"{where}: {', '.join([*counts, *together])}", _near(select, candidates), *hints])
    )


def _key_text(key: str, value: object, moments: Sequence[Window]) -> str:
    """One key of the selectors, as a sentence has it."""
    if key == "enabled":
        return "enabled" if value else "disabled"
    if key == "alerting":
        first, last = min(one.start for one in moments), max(one.end for one in moments)
        to = utc_text(last)
        span = f"at {to}" if first == last else f"between {utc_text(first)} and {to}"
        return f"with {'an' if value else 'no'} alert active {span}"
    texts = [quote(str(one)) for one in value] if isinstance(value, tuple) else []
    return f"{_KEYS[key]} {choice(texts)}"


_KEYS = {"test_name": "with a name like", "type": "of type", "tag": "with tag"}


def _near(select: Select, candidates: Sequence[SelectedTest]) -> str:
    """The names that may have been meant by those that match nothing."""
    names = [one.name or "" for one in candidates]
    lost = [wanted for wanted in select.test_name if not any(core.is_like(name, wanted) for name in names)]
    near = dict.fromkeys(name for wanted in lost for name in core.nearest_names(wanted, names))
    return f"the nearest names are {choice([quote(name) for name in near], last='and')}" if near else ""


def some(texts: Sequence[str]) -> str:
    """The texts as a sentence has them, not more than one can read."""
    more = len(texts) - NAMED_AT_MOST
    shown = [*texts[:NAMED_AT_MOST], *([f"{more} more"] if more > 0 else [])]
    return choice(shown, last="and") if shown else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """An organization's lists by account group, and the account group that is its own."""

    listings: Mapping[str, Listing]
    own: str


def select_tests_by_organization(
    job: Job, places: Mapping[str, Place], *, moments: Sequence[Window]
) -> dict[str, Selection]:
    """The tests of a job in each of its organizations.

    With several of them an id goes only where a list has it. One that no list has goes to the only organization
    whose lists could not be read, else nowhere: somebody else's test must not be asked for.
    """
    homes = {ref.id: _homes(ref, job, places) for ref in job.tests if len(places) > 1}
    made = {}
    for name, place in places.items():
        mine = tuple(ref for ref in job.tests if name in homes.get(ref.id, places))
        share = replace(job, tests=mine)
        made[name] = select_tests(share, place.listings, organization=name, own=place.own, moments=moments)
    lost = [ref for ref in job.tests if homes.get(ref.id) == () and ref.id not in job.exclude]
    if lost:
        first = next(name for name in places if _is_read(job, places[name]))
        refused = (_nowhere(ref, job, places, places[first].own) for ref in lost)
        made[first] = replace(made[first], tests=(*refused, *made[first].tests))
    return made


def _homes(ref: TestRef, job: Job, places: Mapping[str, Place]) -> tuple[str, ...]:
    """The organizations that a typed id may be of."""
    having = tuple(
        name
        for name, place in places.items()
        if any(ref.id in (one.tests or ()) for one in scope(job, place.listings, place.own))
    )
    unread = tuple(name for name, place in places.items() if not _is_read(job, place))
    if having or len(unread) == len(places):
        return having or unread
    return unread if len(unread) == 1 else ()


def _is_read(job: Job, place: Place) -> bool:
    return all(one.tests is not None for one in scope(job, place.listings, place.own))


def _nowhere(ref: TestRef, job: Job, places: Mapping[str, Place], own: str) -> SelectedTest:
    """A typed id that no organization's lists have, with where it was looked for."""
    read = [name for name, place in places.items() if _is_read(job, place)]
    unread = [name for name in places if name not in read]
    tail = f" (those of {some(unread)} could not be read)" if unread else ""
    refusal = (
        f"test {ref.id} is in no list of {some(read)}{tail}, so it was sent to nobody: correct the id, or name its"
        " organization alone"
    )
    return SelectedTest(id=ref.id, account_group=own, name=ref.test_name, refusal=refusal)

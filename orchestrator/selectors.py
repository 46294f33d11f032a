"""Which tests a job means, given what the lists of its account groups say. Pure.

A job means the tests it names by id, in that order, and those that its selectors find: the ones with alerts
first, the longest alerting before the others, then by name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain

from orchestrator import patterns, windows
from orchestrator.catalog import Alert, ConfiguredTest, Tag
from orchestrator.errors import SelectionError
from orchestrator.model import Job, Select, TestRef, Window, WindowSpec
from orchestrator.wording import choice, quote

SINCE_ALERT = "alert"
"""The `start` of a window that starts where the earliest of its tests' alerts did."""

NAMED_AT_MOST = 10
"""Tests or account groups that one sentence names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """What the lists of one account group say; None for a list that was not, or could not be, read.

    `aid` is what a request names, empty for the credential's own group; `label` is what people read, and
    `troubles` say why lists are missing.
    """

    aid: str = ""
    label: str = ""
    tests: Mapping[str, ConfiguredTest] | None = None
    tags: tuple[Tag, ...] | None = None
    alerts: tuple[Alert, ...] | None = None
    troubles: tuple[str, ...] = ()

    @property
    def selectable(self) -> tuple[ConfiguredTest, ...]:
        """The tests that selectors choose from: saved events are none."""
        return tuple(test for test in (self.tests or {}).values() if not test.saved_event)


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
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
class Choice:
    """The tests that a job means in one organization.

    `unread` says why selectors could not be looked at everywhere; `searched` what they were compared with
    when they found nothing.
    """

    tests: tuple[Chosen, ...] = ()
    unread: str = ""
    searched: str = ""
    notes: tuple[str, ...] = field(default=())


def choose(
    job: Job,
    listings: Mapping[str, Listing],
    *,
    organization: str,
    own: str,
    moments: Sequence[Window],
) -> Choice:
    """The tests of a job in one organization; `own` is its account group, `moments` are its lookouts."""
    scope = _scope(job, listings, own)
    typed = [_typed(ref, scope, moments) for ref in job.tests if ref.id not in job.exclude]
    notes = list(chain.from_iterable(_notes_on_typed(one, listings, organization) for one in typed))
    if job.select is None:
        return Choice(tests=tuple(typed), notes=tuple(notes))
    readable = [listing for listing in scope if not _missing(job.select, listing)]
    unread = "; ".join(dict.fromkeys(_missing(job.select, listing) for listing in scope if listing not in readable))
    found = [one for listing in readable for one in _selected(job.select, listing, moments)]
    known = {(one.account_group, one.id) for one in typed}
    kept = [one for one in found if (one.account_group, one.id) not in known and not _excluded(job, one)]
    notes += [*_notes_on_tags(job.select, readable, organization), *_notes_on_disabled(kept, organization)]
    if unread:
        notes.append(f"{organization}: not every test can be selected: {unread}")
    searched = "" if found and kept else _searched(job, readable, moments, organization, found)
    return Choice(
        tests=(*typed, *sorted(kept, key=_urgency)), unread=unread, searched=searched, notes=tuple(notes)
    )


def require(job: Job, choices: Mapping[str, Choice]) -> None:
    """Raise SelectionError when a job means no test although everything was read, or more than `max_tests`."""
    total = sum(len(one.tests) for one in choices.values())
    place = f"{job.place}: " if job.place else ""
    if job.max_tests is not None and total > job.max_tests:
        raise SelectionError(
            f"{place}{total} tests match, more than the {job.max_tests} that max_tests allows, so nothing was sent:"
            f" look at them with `tesnap tests`, then narrow the selection or allow {total}"
        )
    if total or not choices or any(one.unread for one in choices.values()):
        return
    if job.select is None:
        raise SelectionError(f"{place}no test is meant: every test that is named is also excluded")
    reasons = "; ".join(one.searched for one in choices.values())
    raise SelectionError(f"{place}no test is meant: {reasons}. `tesnap tests` lists what there is")


def lookouts(job: Job, *, now: float) -> tuple[Window, ...]:
    """The windows in which an active alert makes a test of the job an alerting one; this moment without any."""
    found: list[Window] = []
    for spec in job.windows:
        if spec.start == SINCE_ALERT:
            end = _end(spec, now)
            found.append(Window(start=end, end=end))
        else:
            found += windows.resolve(spec, now=now).windows
    return tuple(found) or (Window(start=int(now), end=int(now)),)


def since_alert(job: Job, chosen: Sequence[Chosen], *, now: float) -> tuple[tuple[WindowSpec, ...], tuple[str, ...]]:
    """The job's windows with the beginning of the earliest alert filled in, and what the user is told.

    An alert that began longer ago than a window may be long gives the longest one. SelectionError when none
    of the tests has an alert.
    """
    specs, notes = [], []
    for spec in job.windows:
        if spec.start != SINCE_ALERT:
            specs.append(spec)
            continue
        end = _end(spec, now)
        started, note = _earliest(chosen, end)
        specs.append(replace(spec, start=windows.utc_text(started), end=windows.utc_text(end)))
        notes += [f"{job.name}: {note}"] if note else []
    return tuple(specs), tuple(notes)


def starts_with_alert(job: Job) -> bool:
    """Whether a window of the job starts where an alert did."""
    return any(spec.start == SINCE_ALERT for spec in job.windows)


def _earliest(chosen: Sequence[Chosen], end: int) -> tuple[float, str]:
    known = [one.alerting_since for one in chosen if one.alerting_since is not None]
    if not known:
        raise SelectionError(
            f"since alert: none of the {len(chosen)} tests has an alert active at {windows.utc_text(end)} whose"
            " beginning is known: write a time, such as --since 14:07 or --last 2h"
        )
    earliest, longest = min(known), windows.LENGTHS[-1]
    if end - earliest <= longest:
        return min(earliest, end - 1), ""
    note = (
        f"the earliest alert began at {windows.utc_text(earliest)}, longer ago than the"
        f" {windows.format_duration(longest)} that a window may have: the window is the last of them"
    )
    return end - longest, note


def _end(spec: WindowSpec, now: float) -> int:
    """Where a window since an alert ends: as written, else where `last` would."""
    if spec.end is not None:
        return int(windows.parse_instant(spec.end, timezone=spec.timezone)[0])
    return windows.resolve(WindowSpec(last=float(windows.LENGTHS[0])), now=now).windows[0].end


def _scope(job: Job, listings: Mapping[str, Listing], own: str) -> list[Listing]:
    """The account groups to look in, the job's own first."""
    first = listings.get(own, Listing(aid=own))
    return [first, *(one for aid, one in listings.items() if aid != own)] if job.everywhere else [first]


# -- tests by id -----------------------------------------------------------------------------------------


def _typed(ref: TestRef, scope: Sequence[Listing], moments: Sequence[Window]) -> Chosen:
    """The test with this id, in the first account group that has it."""
    listing = next((one for one in scope if ref.id in (one.tests or {})), scope[0])
    found = (listing.tests or {}).get(ref.id)
    if found is not None:
        return replace(_chosen(found, listing, moments), refusal=_refusal(ref, listing, found))
    return Chosen(
        id=ref.id, account_group=listing.aid, name=ref.test_name, refusal=_refusal(ref, listing, None)
    )


def _refusal(ref: TestRef, listing: Listing, found: ConfiguredTest | None) -> str | None:
    if ref.test_name is None:
        return None
    if listing.tests is None:
        return f"the name of test {ref.id} could not be checked against {ref.test_name!r}: the list of tests cannot be read"
    actual = found.name if found else None
    if actual == ref.test_name:
        return None
    return f"test {ref.id} is called {actual!r}, the job file says {ref.test_name!r}"


def _notes_on_typed(one: Chosen, listings: Mapping[str, Listing], organization: str) -> Iterator[str]:
    listing = listings.get(one.account_group)
    if one.test is None and listing is not None and listing.tests is not None:
        yield f"{organization}: test {one.id} is not in the list of tests of its account group; the API may answer 404"
    if one.test is not None and one.test.saved_event:
        yield f"{organization}: test {one.id} ({one.name}) is a saved event, no test; the API may refuse it"
    elif one.test is not None and not one.test.enabled:
        yield f"{organization}: test {one.id} ({one.name}) is disabled: it has no fresh data"


# -- tests by selectors ----------------------------------------------------------------------------------


def _selected(select: Select, listing: Listing, moments: Sequence[Window]) -> Iterator[Chosen]:
    """The tests of an account group for which every key holds."""
    for test in listing.selectable:
        one = _chosen(test, listing, moments)
        if all(_holds(key, value, one) for key, value in _keys(select)):
            yield one


def _chosen(test: ConfiguredTest, listing: Listing, moments: Sequence[Window]) -> Chosen:
    mine = [one for one in listing.alerts or () if one.test_id == test.id]
    alerts = [one for one in mine if any(one.within(moment) for moment in moments)]
    starts = [one.started_at for one in alerts if one.started_at is not None]
    return Chosen(
        id=test.id,
        account_group=listing.aid,
        name=test.name,
        test=test,
        tags=tuple(tag.text for tag in listing.tags or () if test.id in tag.test_ids),
        alerting=bool(alerts),
        alerting_since=min(starts, default=None),
    )


def _keys(select: Select) -> Iterator[tuple[str, object]]:
    """The keys that are set, one by one, with their values."""
    for key in ("test_name", "type", "tag", "alerting", "enabled"):
        value = getattr(select, key)
        if value is not None and value != ():
            yield key, value


def _holds(key: str, value: object, one: Chosen) -> bool:
    """Whether one key of the selectors is true of a test."""
    if one.test is None:
        return False
    if isinstance(value, bool):
        return value is (one.alerting if key == "alerting" else one.test.enabled)
    wanted = value if isinstance(value, tuple) else ()
    if key == "test_name":
        return any(patterns.is_like(one.test.name, pattern) for pattern in wanted)
    if key == "type":
        return one.test.type in wanted
    return any(patterns.matches(tag, pattern) for tag in one.tags for pattern in wanted)


def _missing(select: Select, listing: Listing) -> str:
    """Why these selectors cannot be compared with this account group, empty when they can."""
    needed = [listing.tests]
    needed += [listing.tags] if select.tag else []
    needed += [listing.alerts] if select.alerting is not None else []
    if all(one is not None for one in needed):
        return ""
    return "; ".join(listing.troubles) or f"the lists of {listing.label or 'its account group'} were not read"


def _excluded(job: Job, one: Chosen) -> bool:
    """Whether an id or a name pattern of `exclude` is meant for this test; digits are always an id."""
    return any(
        one.id == entry if entry.isdecimal() else patterns.is_like(one.name or "", entry) for entry in job.exclude
    )


def _urgency(one: Chosen) -> tuple[bool, bool, float, str, str]:
    """Tests with alerts first, the longest alerting before the others, then by name."""
    since = one.alerting_since
    return (not one.alerting, since is None, since or 0.0, (one.name or "").casefold(), one.id)


# -- what the user is told -------------------------------------------------------------------------------


def _notes_on_disabled(chosen: Sequence[Chosen], organization: str) -> Iterator[str]:
    disabled = [f"{one.id} ({one.name})" for one in chosen if one.test and not one.test.enabled]
    if disabled:
        verb = "is disabled and has" if len(disabled) == 1 else "are disabled and have"
        yield f"{organization}: of the selected tests {_some(disabled)} {verb} no fresh data"


def _notes_on_tags(select: Select, scope: Sequence[Listing], organization: str) -> Iterator[str]:
    known = [tag for listing in scope for tag in listing.tags or ()]
    for pattern in select.tag if scope else ():
        matching = [tag for tag in known if patterns.matches(tag.text, pattern)]
        dynamic = [tag.text for tag in matching if tag.dynamic]
        if not matching:
            yield f"{organization}: {_no_tag(pattern, known)}"
        elif dynamic:
            yield f"{organization}: {_some(dynamic)} is a dynamic tag: the API does not list what it is assigned to, so it selects no test"
        elif not any(tag.test_ids for tag in matching):
            yield f"{organization}: tag {quote(pattern)} is assigned to no test"


def _no_tag(pattern: str, known: Sequence[Tag]) -> str:
    """That there is no such tag, and what may have been meant."""
    if pattern.partition(":")[0].casefold() in ("label", "labels"):
        return f"there is no tag {quote(pattern)}: version 7 of the API has tags, not test labels; write the tag as key:value"
    near = patterns.nearest(pattern, (tag.text for tag in known))
    hint = f": did you mean {choice([quote(text) for text in near])}?" if near else ""
    return f"there is no tag {quote(pattern)}{hint or ', of ' + _plural(len(known), 'tag')}"


def _searched(
    job: Job, scope: Sequence[Listing], moments: Sequence[Window], organization: str, found: Sequence[Chosen]
) -> str:
    """What the selectors were compared with, how many tests each key alone is true of, and what is near."""
    groups = _some([listing.label for listing in scope if listing.label])
    candidates = [_chosen(test, listing, moments) for listing in scope for test in listing.selectable]
    where = f"{organization} has {_plural(len(candidates), 'test')}{f' in {groups}' if groups else ''}"
    if found:
        return f"{where}, of which {len(found)} match and all of these are excluded"
    keys = list(_keys(job.select or Select()))
    counts = [f"{sum(_holds(key, value, one) for one in candidates)} with {_key_text(key, value, moments)}" for key, value in keys]
    together = "" if len(keys) == 1 else ", and none with all of these"
    return f"{where}, {', '.join(counts)}{together}{_nearest_names(job.select or Select(), candidates)}{_tag_hints(job.select, scope)}"


def _key_text(key: str, value: object, moments: Sequence[Window]) -> str:
    if key == "enabled":
        return "enabled" if value else "disabled"
    if key == "alerting":
        first, last = min(one.start for one in moments), max(one.end for one in moments)
        span = f"at {windows.utc_text(last)}" if first == last else f"between {windows.utc_text(first)} and {windows.utc_text(last)}"
        return f"{'an' if value else 'no'} alert active {span}"
    texts = [quote(str(one)) for one in value] if isinstance(value, tuple) else []
    return f"{key} {choice(texts)}"


def _nearest_names(select: Select, candidates: Sequence[Chosen]) -> str:
    names = [one.name or "" for one in candidates]
    lost = [pattern for pattern in select.test_name if not any(patterns.is_like(name, pattern) for name in names)]
    near = dict.fromkeys(name for pattern in lost for name in patterns.nearest(pattern, names))
    return f"; the nearest names are {choice([quote(name) for name in near], last='and')}" if near else ""


def _tag_hints(select: Select | None, scope: Sequence[Listing]) -> str:
    known = [tag for listing in scope for tag in listing.tags or ()]
    lost = [one for one in (select.tag if select else ()) if not any(patterns.matches(t.text, one) for t in known)]
    return "".join(f"; {_no_tag(pattern, known)}" for pattern in lost)


def _some(texts: Sequence[str]) -> str:
    """The texts as a sentence has them, not more than one can read."""
    more = len(texts) - NAMED_AT_MOST
    shown = [*texts[:NAMED_AT_MOST], *([f"{more} more"] if more > 0 else [])]
    return choice(shown, last="and") if shown else ""


def _plural(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"

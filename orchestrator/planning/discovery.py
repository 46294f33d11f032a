"""What is found out about an organization before anything is planned: who it is, and what its lists say.

Reads only, each list once, within the limit on requests of any kind. That the account groups cannot be read
is no reason not to send; a refused token or an organization other than the job file's is.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from orchestrator.api import (
    AccountGroup,
    CatalogError,
    Getter,
    OnPause,
    PacedGetter,
    read_account_groups,
    read_alerts,
    read_tags,
    read_tests,
)
from orchestrator.core import Clock, Event, Job, Organization, Reason, Window, choice, first_names
from orchestrator.planning.alerts import alert_windows
from orchestrator.planning.selection import Listing
from orchestrator.planning.unreadable import (
    PASSING_CAUSES,
    UnreadableCause,
    UnreadableList,
    unreadable_list,
)

UNAUTHORIZED = 401

SERVER_ERROR = 500

FORBIDDEN = 403

NO_SUCH_GROUP = (400, FORBIDDEN, 404)
"""Statuses that may answer an `aid` that is not the token's."""

SAME_CLOCK = 5.0
"""Seconds: a smaller difference is that of a `Date` in whole seconds and the way of an answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OrganizationSurvey:
    """What one organization answered. `offset` is how far the API's clock is ahead of ours, in seconds.

    `listings` are the configured tests by account group (`""`: the credential's own), with what else its lists
    say. With `stopped` nothing is to be sent for it, and `because` says why; `unreachable`: it gave no answer,
    or a server error. `unreadable_groups` says why its account groups are not known. `notes` are worth a line each.
    """

    org_id: str | None = None
    groups: tuple[AccountGroup, ...] = ()
    listings: Mapping[str, Listing] = field(default_factory=dict)
    offset: float = 0.0
    stopped: Reason | None = None
    because: str = ""
    unreachable: bool = False
    unreadable_groups: UnreadableList | None = None
    notes: tuple[str, ...] = ()
    debug_notes: tuple[str, ...] = ()

    @property
    def in_doubt(self) -> bool:
        """Whether its tests, and what they are called, are not known for the moment."""
        lists = (one for listing in self.listings.values() for one in listing.unreadable)
        away = any(one.of == "tests" and one.cause in PASSING_CAUSES for one in lists)
        return self.stopped is not None or self.unreachable or away


def survey_organization(
    getter: Getter,
    organization: Organization,
    groups: Collection[str],
    *,
    clock: Clock,
    jobs: Sequence[Job] = (),
    tell: OnPause | None = None,
    stopped: Callable[[], bool] = lambda: False,
    all_lists: bool = False,
) -> OrganizationSurvey:
    """Ask an organization who it is, then for the lists that the jobs need of these account groups.

    `groups` are aids, `""` the credential's own; a job that looks everywhere adds all others.
    `all_lists` reads tags and alerts without a job that asks.
    """
    reader = _paced(getter, clock, organization, tell, stopped)
    known = _who_it_is(reader, organization)
    if known.stopped is not None:
        return known
    reading = _Reading(
        reader, organization, jobs, clock.wall() + known.offset, known=known.groups, all_lists=all_lists
    )
    return _with_lists(known, reading, _in_turn(groups, jobs, known=known.groups))


def _who_it_is(reader: PacedGetter, organization: Organization) -> OrganizationSurvey:
    """Its account groups, its id and its clock; stopped when the credential is refused or another one's."""
    try:
        groups = read_account_groups(reader)
    except CatalogError as error:
        if error.status == UNAUTHORIZED:
            return _refused(error)
        missing = unreadable_list("account groups", "", error)
        survey = OrganizationSurvey(
            unreachable=error.status is None or error.status >= SERVER_ERROR,
            unreadable_groups=missing,
            debug_notes=(missing.text,),
        )
    else:
        survey = OrganizationSurvey(org_id=own_org_id(groups, organization.account_group), groups=groups)
    if organization.org_id is not None and survey.org_id not in (None, organization.org_id):
        because = (
            f"the token belongs to organization {survey.org_id}, the job file says org_id {organization.org_id}:"
            " put the right token there, or correct org_id"
        )
        return replace(survey, stopped=Reason.TOKEN_REFUSED, because=because)
    offset = reader.offset or 0.0
    return replace(survey, offset=offset if abs(offset) >= SAME_CLOCK else 0.0)


def _with_lists(
    known: OrganizationSurvey, reading: _Reading, groups: Sequence[tuple[str, str]]
) -> OrganizationSurvey:
    """What is known of the organization, with the lists of these account groups."""
    try:
        listings = reading.listings(groups)
    except CatalogError as error:
        return _refused(error)
    notes = (*_unsearched(reading.jobs, known.unreadable_groups, listings), *reading.notes)
    return replace(
        known, listings=listings, notes=notes, debug_notes=(*known.debug_notes, *reading.debug_notes)
    )


def survey_events(surveys: Mapping[str, OrganizationSurvey]) -> Iterator[Event]:
    """What the survey found, as log lines."""
    for name, survey in surveys.items():
        if survey.stopped is not None:
            yield Event(
                name="organization.stopped",
                text=f"{name}: {survey.because.rstrip('.')}; its tasks stay pending",
                level="error",
            )
        make = partial(Event, name="plan.note")
        yield from (make(text=f"{name}: {note}", level="warning") for note in survey.notes)
        yield from (make(text=f"{name}: {note}", level="debug") for note in survey.debug_notes)


def _paced(
    getter: Getter,
    clock: Clock,
    organization: Organization,
    tell: OnPause | None,
    stopped: Callable[[], bool],
) -> PacedGetter:
    if isinstance(getter, PacedGetter):
        return getter
    return PacedGetter(getter, clock, name=organization.name, tell=tell, stopped=stopped)


def own_org_id(groups: Collection[AccountGroup], account_group: str | None) -> str | None:
    """The orgId of the account group that is named, else of the current one, else of the default one."""
    by_order = sorted(groups, key=lambda g: (g.aid != account_group, not g.current, not g.default))
    return next((group.org_id for group in by_order if group.org_id is not None), None)


def own_group(groups: Collection[AccountGroup]) -> AccountGroup | None:
    """The account group that a request without an aid is for: the current one, else the default one."""
    marked = [group for group in groups if group.current] or [group for group in groups if group.default]
    return marked[0] if marked else None


def _refused(error: CatalogError) -> OrganizationSurvey:
    return OrganizationSurvey(stopped=Reason.TOKEN_REFUSED, because=f"the token was refused (401): {error}")


def _in_turn(
    groups: Collection[str], jobs: Sequence[Job], *, known: Sequence[AccountGroup]
) -> list[tuple[str, str]]:
    """Account groups as (aid, label) in the order of reading; the credential's own goes by no aid."""
    own = own_group(known)
    labels = {group.aid: _label(group.aid, group.name) for group in known}
    labels[""] = labels[own.aid] if own else "the token's own account group"
    asked = list(groups)
    if any(job.everywhere for job in jobs):
        asked += [group.aid for group in known if own is None or group.aid != own.aid]
    return [(aid, labels.get(aid) or _label(aid, "")) for aid in dict.fromkeys(asked)]


def _unsearched(
    jobs: Sequence[Job], missing: UnreadableList | None, listings: Mapping[str, Listing]
) -> Iterator[str]:
    """That one account group alone was searched where all were meant, since nobody says which there are."""
    seen = {test_id for listing in listings.values() for test_id in listing.tests or ()}
    meant = [job for job in jobs if job.everywhere]
    lost = any(job.select is not None or any(ref.id not in seen for ref in job.tests) for job in meant)
    if missing is None or not lost:
        return
    where = choice([listing.label for listing in listings.values()], last="and")
    yield (
        f"{missing.text.rstrip('.')}. Only {where} is searched, and NOT the others that the token may open:"
        f" {missing.remedy}, or search another one with --account-group"
    )


def group_names(groups: Sequence[AccountGroup]) -> str:
    """Account groups as a sentence names them."""
    return first_names([f"{group.aid} ({group.name})" if group.name else group.aid for group in groups])


def _label(aid: str, name: str) -> str:
    return f"account group {aid} ({name})" if name else f"account group {aid}"


class _Reading:
    """The lists of an organization's account groups, and what there is to say about reading them."""

    def __init__(
        self,
        getter: Getter,
        organization: Organization,
        jobs: Sequence[Job],
        now: float,
        *,
        known: Sequence[AccountGroup],
        all_lists: bool,
    ) -> None:
        self.notes: list[str] = []
        self.debug_notes: list[str] = []
        self.jobs = jobs
        self._getter, self._organization, self._now = getter, organization, now
        self._known, self._all_lists = known, all_lists

    def listings(self, groups: Sequence[tuple[str, str]]) -> dict[str, Listing]:
        """The lists by account group; CatalogError when the credential is refused, and only then."""
        found: dict[str, Listing] = {}
        for aid, label in groups:
            jobs = self._jobs_in(aid)
            if self._wanted(jobs, found):
                found[aid] = self._listing(aid, label, jobs)
        return found

    def _jobs_in(self, aid: str) -> list[Job]:
        own = self._organization.account_group or ""
        return [job for job in self.jobs if job.everywhere or (job.account_group or own) == aid]

    def _wanted(self, jobs: Sequence[Job], found: Mapping[str, Listing]) -> bool:
        """Whether an account group has to be read: not when ids alone are looked for and all of them are found."""
        if not found or self._all_lists or not jobs:
            return True
        seen = {test_id for listing in found.values() for test_id in listing.tests or ()}
        plain = all(job.everywhere and job.select is None for job in jobs)
        return not plain or any(ref.id not in seen for job in jobs for ref in job.tests)

    def _listing(self, aid: str, label: str, jobs: Sequence[Job]) -> Listing:
        listing = Listing(aid=aid, label=label)
        for change in self._lists(aid, jobs, label):
            listing = change(listing)
            if listing.tests is None:
                break
        return listing

    def _lists(self, aid: str, jobs: Sequence[Job], which: str) -> Iterator[Callable[[Listing], Listing]]:
        """What reads each of the lists that are needed, the tests first."""
        selects = [job.select for job in jobs if job.select is not None]
        yield lambda before: self._read_tests(before, aid, which)
        if self._all_lists or any(select.tag for select in selects):
            yield lambda before: self._read_tags(before, aid, which)
        span = self._span(jobs)
        if span is not None:
            asked = any(select.alerting is not None for select in selects) or any(
                job.starts_with_alert for job in jobs
            )
            yield lambda before: self._read_alerts(before, aid, which, span, asked=asked)

    def _span(self, jobs: Sequence[Job]) -> Window | None:
        """From the first to the last moment in which an alert matters; None when none does."""
        curious = [job for job in jobs if self._all_lists or job.select is not None or job.starts_with_alert]
        moments = [moment for job in curious for moment in alert_windows(job, now=self._now)]
        if not moments:
            return Window(start=int(self._now), end=int(self._now)) if self._all_lists else None
        return Window(start=min(m.start for m in moments), end=max(m.end for m in moments))

    def _read_tests(self, before: Listing, aid: str, which: str) -> Listing:
        try:
            return replace(before, tests={test.id: test for test in read_tests(self._getter, aid or None)})
        except CatalogError as error:
            missing = self._missing("tests", aid, which, error)
            self.notes.append(f"{missing.short}, so they are known by id alone: {missing.because}")
            return replace(before, unreadable=(*before.unreadable, missing))

    def _read_tags(self, before: Listing, aid: str, which: str) -> Listing:
        try:
            return replace(before, tags=read_tags(self._getter, aid or None))
        except CatalogError as error:
            missing = self._missing("tags", aid, which, error)
            self.notes.append(missing.text)
            return replace(before, unreadable=(*before.unreadable, missing))

    def _read_alerts(self, before: Listing, aid: str, which: str, span: Window, *, asked: bool) -> Listing:
        """The alerts; that they are missing matters only where they were asked for, else they only sort."""
        try:
            return replace(before, alerts=read_alerts(self._getter, aid or None, span, now=self._now))
        except CatalogError as error:
            missing = self._missing("alerts", aid, which, error)
            said = self.notes if asked else self.debug_notes
            said.append(missing.text)
            return replace(before, unreadable=(*before.unreadable, missing))

    def _missing(self, of: str, aid: str, which: str, error: CatalogError) -> UnreadableList:
        """What is missing, unless the credential is refused, which ends the reading."""
        if error.status == UNAUTHORIZED:
            raise error
        if (
            error.status in NO_SUCH_GROUP
            and self._known
            and aid not in ("", *(one.aid for one in self._known))
        ):
            because = f"it is not open to this token, which sees {group_names(self._known)}"
            return UnreadableList(of=of, where=which, because=because, cause=UnreadableCause.CLOSED)
        return unreadable_list(of, which, error)

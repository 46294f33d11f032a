"""The survey of an organization before anything is planned: who it is, and what its lists say.

Reads only, each list once, within the limit on requests of any kind. That the account groups cannot be read
is no reason not to send; a refused token or an organization other than the job file's is.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import Any

from orchestrator.api import (
    AccountGroup,
    CatalogError,
    Getter,
    PacedGetter,
    read_account_groups,
    read_alerts,
    read_tags,
    read_tests,
    stranger_text,
)
from orchestrator.core import Clock, Event, Job, Organization, Reason, Window, choice, first_names
from orchestrator.planning.alerts import alert_windows
from orchestrator.planning.selection import Listing
from orchestrator.planning.side_by_side import GROUPS_AT_ONCE, SideBySide
from orchestrator.planning.unreadable import (
    PASSING_CAUSES,
    UnreadableCause,
    UnreadableList,
    unreadable_list,
)

_NO_SUCH_GROUP = (HTTPStatus.BAD_REQUEST, HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND)
"""Statuses that may answer an `aid` that is not the token's."""

_SAME_CLOCK = 5.0
"""Seconds: a smaller difference is that of a `Date` in whole seconds and the way of an answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OrganizationSurvey:
    """The answers of one organization. `offset` is how far the API's clock is ahead of ours, in seconds.

    `listings` are the configured tests by account group (`""`: the credential's own), with what else its lists
    say. With `stopped` nothing is to be sent for it, and `because` says why (`unauthorized`: a 401;
    `reread`: the token's file is read again before that is final); `unreachable`: it gave no answer,
    or a server error. `unreadable_groups` says why its account groups are not known. `notes` are worth a line each.
    """

    org_id: str | None = None
    groups: tuple[AccountGroup, ...] = ()
    listings: Mapping[str, Listing] = field(default_factory=dict)
    offset: float = 0.0
    stopped: Reason | None = None
    because: str = ""
    unauthorized: bool = False
    reread: bool = False
    unreachable: bool = False
    unreadable_groups: UnreadableList | None = None
    notes: tuple[str, ...] = ()
    debug_notes: tuple[str, ...] = ()

    @property
    def is_refused(self) -> bool:
        """True if nothing is sent for it, and its token's file is not read again either."""
        return self.stopped is not None and not self.reread

    @property
    def in_doubt(self) -> bool:
        """True if its tests, and what they are called, are not known for the moment."""
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
    all_lists: bool = False,
    lookups: SideBySide | None = None,
) -> OrganizationSurvey:
    """Ask an organization who it is, then for the lists that the jobs need of these account groups.

    `groups` are aids, `""` the credential's own; a job that looks everywhere adds all others. `all_lists` reads tags
    and alerts without a job that asks. With `lookups` the lists of several account groups are read side by side.
    """
    if not isinstance(getter, PacedGetter):
        getter = PacedGetter(getter, clock, name=organization.name)
    known = ask_who_it_is(getter, organization)
    if known.stopped is not None:
        return known
    now = clock.wall() + known.offset
    lists = _ListReader(
        getter, organization, jobs, now, known=known.groups, all_lists=all_lists, lookups=lookups
    )
    try:
        listings = lists.read(groups)
    except CatalogError as error:
        return _refused_survey(error)
    if (
        lists.stranger
        and known.unreadable_groups
        and known.unreadable_groups.cause is UnreadableCause.STRANGER
    ):
        return replace(known, stopped=Reason.NOT_THE_API, because=stranger_text(lists.stranger))
    notes = (*_notes_on_unsearched(jobs, known.unreadable_groups, listings), *lists.notes)
    return replace(
        known, listings=listings, notes=notes, debug_notes=(*known.debug_notes, *lists.debug_notes)
    )


def ask_who_it_is(reader: PacedGetter, organization: Organization) -> OrganizationSurvey:
    """Its account groups, its id and its clock; stopped when the credential is refused or another one's."""
    try:
        groups = read_account_groups(reader)
    except CatalogError as error:
        if _is_refusal(error):
            return _refused_survey(error)
        missing = unreadable_list("account groups", "", error)
        survey = OrganizationSurvey(
            unreachable=error.status is None or error.status >= HTTPStatus.INTERNAL_SERVER_ERROR,
            unreadable_groups=missing,
            debug_notes=(missing.text,),
        )
    else:
        survey = OrganizationSurvey(org_id=_org_id(groups, organization.account_group), groups=groups)
    if reader.reservation is not None:
        reader.reservation.belong_to(survey.org_id or organization.org_id)
    if organization.org_id is not None and survey.org_id not in (None, organization.org_id):
        because = (
            f"the token belongs to organization {survey.org_id}, the job file says org_id {organization.org_id}:"
            " put the right token there, or correct org_id"
        )
        return replace(survey, stopped=Reason.TOKEN_REFUSED, because=because)
    offset = reader.offset or 0.0
    return replace(survey, offset=offset if abs(offset) >= _SAME_CLOCK else 0.0)


def survey_events(surveys: Mapping[str, OrganizationSurvey]) -> Iterator[Event]:
    """The log lines of what was found."""
    for name, survey in surveys.items():
        if survey.is_refused:
            text = f"{name}: {survey.because.rstrip('.')}; nothing is sent for it"
            yield Event(name="organization.stopped", text=text, level="error")
        for note in (
            survey.notes
        ):  # a list that was needed cannot be read: too little may be selected, at exit code 0
            yield Event(name="plan.note", text=f"{name}: {note}", level="error")
        for note in survey.debug_notes:
            yield Event(name="plan.note", text=f"{name}: {note}", level="debug")


def own_group(groups: Collection[AccountGroup]) -> AccountGroup | None:
    """The account group that a request without an aid is for: the current one, else the default one."""
    marked = [group for group in groups if group.current] or [group for group in groups if group.default]
    return marked[0] if marked else None


def group_names(groups: Sequence[AccountGroup]) -> str:
    """Account groups as a sentence names them."""
    return first_names([f"{group.aid} ({group.name})" if group.name else group.aid for group in groups])


def _is_refusal(error: CatalogError) -> bool:
    """True if nothing is to be sent after this, neither with this credential nor on this way."""
    return error.lasting or error.status == HTTPStatus.UNAUTHORIZED


def _refused_survey(error: CatalogError) -> OrganizationSurvey:
    if error.lasting:
        because = f"the connection to the API is refused: {error}"
        return OrganizationSurvey(stopped=Reason.CONNECTION_REFUSED, because=because)
    because = f"the token was refused (401): {error}"
    return OrganizationSurvey(stopped=Reason.TOKEN_REFUSED, because=because, unauthorized=True)


def _org_id(groups: Collection[AccountGroup], account_group: str | None) -> str | None:
    """The orgId of the account group that is named, else of the current one, else of the default one."""
    by_order = sorted(groups, key=lambda g: (g.aid != account_group, not g.current, not g.default))
    return next((group.org_id for group in by_order if group.org_id is not None), None)


def _notes_on_unsearched(
    jobs: Sequence[Job], missing: UnreadableList | None, listings: Mapping[str, Listing]
) -> Iterator[str]:
    """A note that one account group alone was searched where all were meant, since nobody says which there are."""
    everywhere = [job for job in jobs if job.everywhere]
    if missing is None or not any(
        job.select is not None or _lacks_tests(job, listings) for job in everywhere
    ):
        return
    where = choice([listing.label for listing in listings.values()], last="and")
    yield (
        f"{missing.text.rstrip('.')}. Only {where} is searched, and NOT the others that the token may open:"
        f" {missing.remedy}, or search another one with --account-group"
    )


def _lacks_tests(job: Job, listings: Mapping[str, Listing]) -> bool:
    """True if a test that the job names by id is in none of the lists."""
    return any(all(ref.id not in (listing.tests or ()) for listing in listings.values()) for ref in job.tests)


class _ListReader:
    """Reads the lists of an organization's account groups; notes say which could not be read."""

    def __init__(
        self,
        getter: Getter,
        organization: Organization,
        jobs: Sequence[Job],
        now: float,
        *,
        known: Sequence[AccountGroup],
        all_lists: bool,
        lookups: SideBySide | None,
    ) -> None:
        self.notes: list[str] = []
        self.debug_notes: list[str] = []
        self.stranger = ""  # who answered in the API's place when the tests were asked for
        self._getter, self._organization, self._jobs, self._now = getter, organization, jobs, now
        self._known, self._all_lists, self._lookups = known, all_lists, lookups
        self._refused = False  # somewhere: no other list is asked for

    def read(self, groups: Collection[str]) -> dict[str, Listing]:
        """The lists by account group; CatalogError when the credential or the way is refused, and only then."""
        labels = self._labels(groups)
        read: dict[str, _GroupLists] = {}
        for wave in self._waves(list(labels), read):
            lists = [self._begin(aid, labels[aid]) for aid in wave]
            if self._lookups is None or len(lists) == 1:
                for one in lists:
                    self._read_group(one)
            else:
                self._lookups.read_each(self._read_group, lists)
            read |= zip(wave, lists, strict=True)
        for one in (read[aid] for aid in labels if aid in read):
            self._conclude(one)
        return {aid: read[aid].listing for aid in labels if aid in read}

    def _waves(self, aids: Sequence[str], read: Mapping[str, _GroupLists]) -> Iterator[Sequence[str]]:
        """Account groups to be read side by side; those in which ids alone are looked for, while one is missing."""
        first = [aid for at, aid in enumerate(aids) if not at or not self._seeks_ids(self._jobs_in(aid))]
        yield first
        others = [aid for aid in aids if aid not in set(first)]
        for begin in range(0, len(others), GROUPS_AT_ONCE):
            listings = {aid: one.listing for aid, one in read.items()}
            wave = [
                aid
                for aid in others[begin : begin + GROUPS_AT_ONCE]
                if any(_lacks_tests(job, listings) for job in self._jobs_in(aid))
            ]
            if wave:
                yield wave

    def _seeks_ids(self, jobs: Sequence[Job]) -> bool:
        """True if ids alone are looked for, anywhere."""
        ids_alone = all(job.everywhere and job.select is None for job in jobs)
        return bool(jobs) and ids_alone and not self._all_lists

    def _begin(self, aid: str, label: str) -> _GroupLists:
        own = own_group(self._known)
        group_id = aid or (own.aid if own else "")
        return _GroupLists(Listing(aid=aid, group_id=group_id, label=label, read_at=self._now))

    def _conclude(self, lists: _GroupLists) -> None:
        """Take over what reading an account group has shown."""
        if lists.refusal is not None:
            raise lists.refusal
        self.notes += lists.notes
        self.debug_notes += lists.debug_notes
        if lists.listing.tests is None:
            self.stranger = lists.stranger

    def _labels(self, groups: Collection[str]) -> dict[str, str]:
        """Account groups in the order of reading, with their labels; the credential's own goes by no aid."""
        own = own_group(self._known)
        labels = {one.aid: _label(one.aid, one.name) for one in self._known}
        labels[""] = labels[own.aid] if own else "the token's own account group"
        wanted = list(groups)
        if any(job.everywhere for job in self._jobs):
            wanted += [one.aid for one in self._known if own is None or one.aid != own.aid]
        return {aid: labels.get(aid) or _label(aid, "") for aid in wanted}

    def _jobs_in(self, aid: str) -> list[Job]:
        own = self._organization.account_group or ""
        return [job for job in self._jobs if job.everywhere or (job.account_group or own) == aid]

    def _read_group(self, lists: _GroupLists) -> None:
        """Read the lists that the jobs need of an account group, unless something is refused already."""
        if self._refused:
            return
        try:
            self._read_lists(lists)
        except CatalogError as error:
            lists.refusal, self._refused = error, True

    def _read_lists(self, lists: _GroupLists) -> None:
        """The tests first: without them no other list is read."""
        jobs, group = self._jobs_in(lists.listing.aid), lists.listing.aid or None
        try:
            tests = {test.id: test for test in read_tests(self._getter, group)}
        except CatalogError as error:
            missing = self._missing(lists.listing, "tests", error)
            lists.stranger = error.stranger
            lists.notes.append(f"{missing.short}, so they are known by id alone: {missing.because}")
            lists.listing = replace(lists.listing, unreadable=(missing,))
            return
        lists.listing = replace(lists.listing, tests=tests)
        selects = [job.select for job in jobs if job.select is not None]
        if self._all_lists or any(select.tag for select in selects):
            self._add(lists, "tags", lambda: read_tags(self._getter, group), lists.notes)
        span = self._alert_span(jobs)
        if span is None:
            return
        asked = any(job.starts_with_alert for job in jobs) or any(
            select.alerting is not None for select in selects
        )  # where no job asks for alerts they only sort
        self._add(
            lists,
            "alerts",
            lambda: read_alerts(self._getter, group, span, now=self._now),
            lists.notes if asked else lists.debug_notes,
        )

    def _add(self, lists: _GroupLists, of: str, read: Callable[[], Any], notes: list[str]) -> None:
        """Add one more list, or the reason why it is missing, which goes to the notes."""
        try:
            lists.listing = replace(lists.listing, **{of: read()})
        except CatalogError as error:
            missing = self._missing(lists.listing, of, error)
            notes.append(missing.text)
            lists.listing = replace(lists.listing, unreadable=(*lists.listing.unreadable, missing))

    def _alert_span(self, jobs: Sequence[Job]) -> Window | None:
        """From the first to the last moment in which an alert matters; None when none does."""
        curious = [job for job in jobs if self._all_lists or job.select is not None or job.starts_with_alert]
        moments = [moment for job in curious for moment in alert_windows(job, now=self._now)]
        if not moments:
            return Window(start=int(self._now), end=int(self._now)) if self._all_lists else None
        return Window(start=min(m.start for m in moments), end=max(m.end for m in moments))

    def _missing(self, listing: Listing, of: str, error: CatalogError) -> UnreadableList:
        """The list that is missing, unless the credential or the way is refused, which ends the reading."""
        if _is_refusal(error):
            raise error
        known = {one.aid for one in self._known}
        if (
            error.status in _NO_SUCH_GROUP
            and not error.stranger
            and known
            and listing.aid not in ("", *known)
        ):
            because = f"it is not open to this token, which sees {group_names(self._known)}"
            return UnreadableList(of=of, where=listing.label, because=because, cause=UnreadableCause.CLOSED)
        return unreadable_list(of, listing.label, error)


@dataclass(slots=True)
class _GroupLists:
    """The lists of one account group as they are read: with notes, who answered in the API's place, and a refusal."""

    listing: Listing
    notes: list[str] = field(default_factory=list)
    debug_notes: list[str] = field(default_factory=list)
    stranger: str = ""
    refusal: CatalogError | None = None


def _label(aid: str, name: str) -> str:
    return f"account group {aid} ({name})" if name else f"account group {aid}"

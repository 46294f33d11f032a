"""Examine an organization before anything is sent: its token, permissions, tests and clock; reads only."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Any

from orchestrator.api import (
    AccountGroup,
    Answer,
    Getter,
    OnPause,
    PacedGetter,
    as_object,
    dig,
    explain,
    parse_object,
    text_id,
    text_of,
)
from orchestrator.app.checks import Check, Level, trouble
from orchestrator.app.organizations import open_client
from orchestrator.core import (
    Clock,
    CredentialError,
    CredentialSource,
    Job,
    JobFile,
    Organization,
    Select,
    SelectionError,
    UsageError,
    first_names,
    plural,
)
from orchestrator.output import duration_text
from orchestrator.planning import (
    OrganizationSurvey,
    Scope,
    UnreadableCause,
    alert_windows,
    check_selection,
    group_names,
    make_scope,
    merge_alike,
    own_group,
    select_tests,
    survey_organization,
)

CREATE_SNAPSHOTS = "Create snapshot shares"
"""The permission's name in ThousandEyes' documentation of `POST /tests/{testId}/snapshot`."""

MOST_SKEW = 60.0
"""Seconds of clock difference that do no harm: `last` keeps 30 s, data a minute of distance from now."""

MOST_ROLES = 10
"""Roles of one user that are read: nobody has more in one account group."""

_RENEWAL = (
    "make a new token in ThousandEyes (Account Settings > Users and Roles > Profile > User API Tokens) and put it"
    " there; if the account is locked, wait until it is open again"
)

_GET_PERMISSION = (
    f"have an administrator add '{CREATE_SNAPSHOTS}' to a role of this user (Account Settings > Users and Roles >"
    " Roles), or use the token of a user who has it"
)

_SET_CLOCK = (
    "set this machine's clock (`timedatectl set-ntp true`, or the host's clock for a container): until then, write"
    " times with their date and Z"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class OrganizationToCheck:
    """One organization to look at: its settings, the jobs that mean it, and where its token comes from."""

    organization: Organization
    jobs: tuple[Job, ...] = ()
    source: str = "the token"


def organizations_to_check(jobfile: JobFile) -> list[OrganizationToCheck]:
    """The organizations of a job file, each with the jobs that mean it."""
    return [
        OrganizationToCheck(
            organization=one,
            jobs=tuple(job for job in jobfile.jobs if one.name in job.organizations),
            source=_source(one.credential),
        )
        for one in jobfile.organizations.values()
    ]


def examine_organization(
    subject: OrganizationToCheck,
    jobfile: JobFile,
    clock: Clock,
    environ: Mapping[str, str],
    tell: OnPause | None,
) -> list[Check]:
    """All checks of one organization; a token that cannot even be read is the only one."""
    try:
        client = open_client(subject.organization, jobfile, clock=clock, environ=environ)
    except CredentialError as error:
        remedy = "put a token there, or correct token_file or token_env"
        return [trouble("token", str(error), remedy)]
    except UsageError as error:
        remedy = "correct that in the job file, or the variable that says it"
        return [trouble("way to the API", str(error), remedy)]
    with closing(client):
        return examine(subject, client, clock, tell)


def examine(
    subject: OrganizationToCheck, getter: Getter, clock: Clock, tell: OnPause | None = None
) -> list[Check]:
    """All checks of one organization, in the order in which they build on each other.

    An API that cannot be reached, refuses the token or has no request left ends them: what would come after
    is not known.
    """
    reader = PacedGetter(getter, clock, name=subject.organization.name, tell=tell, patience=0.0)
    user = reader.get("/users/current")
    stop = _find_obstacle(subject, reader, user)
    if stop is not None:
        return [stop, *_check_clock(reader)]
    own = subject.organization.account_group or ""
    jobs = subject.jobs or (_make_any_job(subject.organization),)
    groups = dict.fromkeys(job.account_group or own for job in jobs)
    survey = survey_organization(reader, subject.organization, groups, jobs=jobs, clock=clock)
    checks = [_check_token(subject, user), *_check_clock(reader), *_check_organization(subject, survey)]
    checks += _check_groups(subject, survey.groups)
    if user.status == 200:
        aids = dict.fromkeys((*groups, *survey.listings))
        checks += _Permissions(parse_object(user.body) or {}, reader).check(aids, survey.groups)
    checks += _check_lists(subject, survey, exhausted=reader.remaining == 0)
    return [*checks, *_check_tests(subject, survey, clock.wall()), *_check_limit(reader)]


def _source(credential: CredentialSource) -> str:
    return f"the token in {credential.file or f'the variable {credential.env}'}"


def _make_any_job(organization: Organization) -> Job:
    """All that `tesnap snap` may be asked for where no job file says it: any list of any account group."""
    return Job(
        name="snap",
        organizations=(organization.name,),
        select=Select(alerting=True, tag=("*",)),
        everywhere=organization.account_group is None,
    )


def _find_obstacle(subject: OrganizationToCheck, reader: PacedGetter, answer: Answer) -> Check | None:
    """The reason why nothing more can be asked after the first answer; None when more can."""
    url = subject.organization.base_url
    if answer.status is None:
        remedy = f"check base_url ({url}), the network, and the proxy (http.proxy, HTTPS_PROXY)"
        return trouble("API", f"it cannot be reached: {answer.failure or 'no answer'}", remedy)
    if answer.status == 401:
        said = explain(answer)
        text = f"refused (401): {said.detail or said.title}"
        return Check(about="token", text=text, remedy=f"{subject.source}: {_RENEWAL}", level=Level.REFUSED)
    if answer.status == 429:
        return _make_limit_check(reader)
    if answer.status == 403 or (answer.status == 200 and parse_object(answer.body) is not None):
        return None
    said = explain(answer)
    what = f"it answers {answer.status} ({said.title}) to GET /users/current. {said.detail}".strip()
    remedy = (
        f"check that base_url ({url}) is the API's, /v7 included"
        if answer.status < HTTPStatus.INTERNAL_SERVER_ERROR
        else "try again later"
    )
    return trouble("API", what, remedy)


def _make_limit_check(reader: PacedGetter) -> Check:
    most = "" if reader.most is None else f" of {reader.most}"
    text = f"used up: 0{most} requests a minute left, again in {duration_text(reader.reset_in)}"
    remedy = (
        "wait until then and look again; if it stays so, find out what else asks so much of this organization"
        " (dashboards, exporters, scripts): all its users and tokens share the limit"
    )
    return trouble("general limit", text, remedy)


def _check_token(subject: OrganizationToCheck, user: Answer) -> Check:
    found = parse_object(user.body) or {}
    who = text_of(found.get("email")) or text_of(found.get("name"))
    if user.status != 200:
        text = f"{subject.source} is accepted; whose it is cannot be read ({user.status})"
    else:
        text = f"{subject.source} is valid" + (f", of {who}" if who else "")
    return Check(about="token", text=text)


def _check_clock(reader: PacedGetter) -> list[Check]:
    if reader.offset is None:
        return []
    if abs(reader.offset) <= MOST_SKEW:
        return [Check(about="clock", text="within a minute of the API's")]
    side = "behind" if reader.offset > 0 else "ahead of"
    text = f"this machine's clock is {duration_text(abs(reader.offset))} {side} the API's: windows would be the wrong ones"
    return [trouble("clock", text, _SET_CLOCK)]


def _check_limit(reader: PacedGetter) -> list[Check]:
    if reader.remaining is None:
        return []
    if reader.remaining == 0:
        return [_make_limit_check(reader)]
    return [Check(about="general limit", text=f"{reader.remaining} of {reader.most} requests a minute left")]


def _check_organization(subject: OrganizationToCheck, survey: OrganizationSurvey) -> Iterator[Check]:
    """Which organization it is, against the file."""
    wanted, found = subject.organization.org_id, survey.org_id
    name = next((group.organization_name for group in survey.groups if group.organization_name), "unnamed")
    if survey.unreadable_groups is not None:
        yield trouble("account groups", survey.unreadable_groups.text, survey.unreadable_groups.remedy)
    elif not survey.groups and survey.stopped is not None:
        remedy = f"{subject.source}: {_RENEWAL}"
        yield Check(about="token", text=survey.because, remedy=remedy, level=Level.REFUSED)
    elif not survey.groups:
        remedy = "have the token's user added to an account group"
        yield trouble("organization", "the token sees no account group", remedy)
    elif wanted is not None and found is not None and wanted != found:
        text = f"the token belongs to {name} (org_id {found}), the job file says org_id {wanted}: nothing is sent"
        yield trouble("organization", text, "put the right organization's token there, or correct org_id")
    elif found is None:
        text = "the API does not tell its org_id: it is known by its name in the job file"
        yield Check(about="organization", text=text)
    else:
        checked = ", as the job file says" if wanted else ""
        yield Check(about="organization", text=f"{name}, org_id {found}{checked}")


def _check_groups(subject: OrganizationToCheck, known: Sequence[AccountGroup]) -> Iterator[Check]:
    """Check if the token opens the account groups that are named."""
    there = {group.aid: group for group in known}
    named = [subject.organization.account_group, *(job.account_group for job in subject.jobs)]
    for aid in dict.fromkeys(filter(None, named if known else ())):
        if aid in there:
            yield Check(about="account group", text=f"{aid} ({there[aid].name}) is open to this token")
            continue
        has = group_names(known)
        text = f"{aid} is not open to this token, which sees {has}"
        remedy = f"correct account_group, or have the token's user added to account group {aid}"
        yield trouble("account group", text, remedy)
    own = own_group(known)
    if own is not None and not any(named):
        yield Check(about="account group", text=f"the token's own, {own.aid} ({own.name}), of {len(known)}")


class _Permissions:
    """The permissions that the token's user has through roles, each of which is read once."""

    def __init__(self, user: Mapping[str, Any], reader: PacedGetter) -> None:
        self._user, self._reader = user, reader
        self._labels: dict[str, frozenset[str] | None] = {}

    def check(self, aids: Iterable[str], known: Sequence[AccountGroup]) -> Iterator[Check]:
        """Check if the user may make snapshots in each of these account groups; the unknown ones have been named."""
        own, there = own_group(known), {group.aid for group in known}
        places: dict[bool | None, list[str]] = defaultdict(list)
        for aid in (aid or (own.aid if own else "") for aid in aids):
            if not known or aid in there:
                where = f"account group {aid}" if aid else "the token's own account group"
                places[self._may_create(aid)].append(where)
        named = {how: first_names(where) for how, where in places.items()}
        if True in named:
            yield Check(about="permission", text=f"'{CREATE_SNAPSHOTS}' is there in {named[True]}")
        if None in named:
            text = (
                f"'{CREATE_SNAPSHOTS}' cannot be looked up in {named[None]}: the first snapshot will show it"
            )
            yield Check(about="permission", text=text)
        if False in named:
            text = f"'{CREATE_SNAPSHOTS}' is in none of the user's roles in {named[False]}: snapshots are refused (403)"
            yield trouble("permission", text, _GET_PERMISSION)

    def _may_create(self, aid: str) -> bool | None:
        """True if a role of the user in this account group has the permission; None when it cannot be looked up."""
        roles = self._roles(aid)
        for role in roles:
            if role not in self._labels:
                self._labels[role] = self._read_labels(role)
        labels = [self._labels[role] for role in roles]
        if any(label is not None and CREATE_SNAPSHOTS.casefold() in label for label in labels):
            return True
        return None if not labels or None in labels else False

    def _roles(self, aid: str) -> list[str]:
        """The ids of the user's roles in an account group, and of those in all."""
        roles = list(_as_list(self._user.get("allAccountGroupRoles")))
        for entry in _as_list(self._user.get("accountGroupRoles")):
            if not aid or text_id(dig(entry, "accountGroup", "aid")) == aid:
                roles += _as_list(as_object(entry).get("roles"))
        ids = (text_id(as_object(role).get("roleId")) for role in roles)
        return list(dict.fromkeys(one for one in ids if one))[:MOST_ROLES]

    def _read_labels(self, role: str) -> frozenset[str] | None:
        """The permissions of a role, in lower case; None when it cannot be read."""
        answer = self._reader.get(f"/roles/{role}")
        listed = (parse_object(answer.body) or {}).get("permissions") if answer.status == 200 else None
        if not isinstance(listed, list):
            return None
        texts = (text_of(as_object(one).get("label")) for one in listed)
        return frozenset(text.casefold() for text in texts if text)


def _as_list(value: object) -> list[Any]:
    """A list of the API's answer; empty where it has none."""
    return value if isinstance(value, list) else []


def _check_lists(
    subject: OrganizationToCheck, survey: OrganizationSurvey, *, exhausted: bool
) -> Iterator[Check]:
    """Check if the lists can be read: those that the jobs need, or all where there are none."""
    every = [one for listing in survey.listings.values() for one in listing.unreadable]
    missing = [one for one in every if one.of != "alerts" or one.text in survey.notes]  # else they only sort
    for one in merge_alike(missing):
        said = one.cause is UnreadableCause.CLOSED or (one.cause is UnreadableCause.BUSY and exhausted)
        if not said:
            yield trouble(one.of, one.text, one.remedy)
    if subject.jobs or missing or not survey.listings:
        return
    tests = plural(sum(len(one.tests or ()) for one in survey.listings.values()), "test")
    alerts = plural(sum(len(one.alerts or ()) for one in survey.listings.values()), "alert")
    groups = plural(len(survey.listings), "account group")
    yield Check(about="tests", text=f"{tests}, with their tags and {alerts} active now, in {groups}")


def _check_tests(subject: OrganizationToCheck, survey: OrganizationSurvey, now: float) -> Iterator[Check]:
    """Checks of what each job means in the lists."""
    for job in subject.jobs:
        scope = make_scope(job, subject.organization, survey.listings)
        if scope.listings[0].tests is not None:
            yield from _check_job(job, scope, survey, now)


def _check_job(job: Job, scope: Scope, survey: OrganizationSurvey, now: float) -> Iterator[Check]:
    """Check if the tests of a job are known and named as written, and its selectors mean some."""
    moments = alert_windows(job, now=now + survey.offset)
    if len(job.organizations) > 1:  # an id goes only where a list has it
        seen = {test_id for listing in survey.listings.values() for test_id in listing.tests or ()}
        here = tuple(ref for ref in job.tests if ref.id in seen)
        if not here and job.select is None:
            yield Check(about="tests", text=f"{job.name}: none of its ids is in a list of this organization")
            return
        job = replace(job, tests=here)
    made = select_tests(job, scope, moments=moments)
    refusals = [one.refusal for one in made.tests if one.refusal]
    yield from (trouble("tests", f"{job.name}: {text}", "correct the name or the id") for text in refusals)
    remedy = "correct the id, name its account_group, or take it out; `tesnap tests` shows what there is"
    notes = [
        note.removeprefix(f"{scope.organization}: ")
        for note in made.notes
        if not (made.incomplete and made.incomplete in note)
    ]
    yield from (trouble("tests", f"{job.name}: {note}", remedy) for note in notes)
    try:
        check_selection(job, {scope.organization: made}, looking=True)
    except SelectionError as error:
        yield trouble("tests", str(error), "correct the selectors")
        return
    if not refusals and not notes and not made.incomplete:
        yield Check(about="tests", text=f"{job.name}: {plural(len(made.tests), 'test')}, as written")

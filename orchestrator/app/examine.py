"""Examine, before anything is sent, what a run needs: the organizations, the store, the webhooks.

An organization's token, permissions, tests and clock are checked; the API is only read.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass, replace
from enum import IntEnum
from functools import cache, partial
from http import HTTPStatus

from orchestrator.api import (
    AccountGroup,
    Answer,
    Getter,
    OnPause,
    PacedGetter,
    TokenUser,
    describe_stranger,
    explain,
    find_stranger,
    parse_user,
    read_address,
    read_permissions,
)
from orchestrator.app.organizations import open_client
from orchestrator.core import (
    Clock,
    CredentialError,
    ExitCode,
    Job,
    JobFile,
    Notify,
    Organization,
    Select,
    SelectionError,
    StoreUnavailable,
    UsageError,
    choice,
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
from orchestrator.store import Loss, Store

CREATE_SNAPSHOTS = "Create snapshot shares"
"""The permission's name in ThousandEyes' documentation of `POST /tests/{testId}/snapshot`."""

MOST_SKEW = 60.0
"""Seconds of clock difference that do no harm: `last` keeps 30 s, data a minute of distance from now."""

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


class Level(IntEnum):
    """How a check came out; the worst one of all decides. What nobody can look up is neither fine nor trouble."""

    FINE = 0
    UNKNOWN = 1
    TROUBLE = 2
    REFUSED = 3

    @property
    def state(self) -> str:
        """The word for it in JSON; a refusal is trouble with an exit code of its own."""
        return ("ok", "unknown", "trouble", "trouble")[self]


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that was looked at: about what, what was found, and what to do where that is trouble."""

    about: str
    text: str
    remedy: str = ""
    level: Level = Level.FINE


def trouble(about: str, text: str, remedy: str) -> Check:
    """A check that found something to put right."""
    return Check(about=about, text=text, remedy=remedy, level=Level.TROUBLE)


def unknown(about: str, text: str) -> Check:
    """A check of something that cannot be looked up."""
    return Check(about=about, text=text, level=Level.UNKNOWN)


def worst_code(checks: Iterable[Check], *, strict: bool = False) -> int:
    """The exit code: 4 for a refused token or way to the API, 3 for any other trouble, else 0; `strict` takes unknown for trouble."""
    worst = max((check.level for check in checks), default=Level.FINE)
    if worst is Level.UNKNOWN and strict:
        worst = Level.TROUBLE
    codes = {Level.TROUBLE: ExitCode.NOT_ALL_MADE, Level.REFUSED: ExitCode.REFUSED}
    return codes.get(worst, ExitCode.DONE)


def check_lines(checks: Mapping[str, Sequence[Check]]) -> Iterator[str]:
    """The checks by what they are about, trouble with its remedy on the next line; the counts at the end."""
    for subject, found in checks.items():
        yield subject
        for check in found:
            state = "TROUBLE" if check.level.state == "trouble" else check.level.state
            yield f"  {state:<7}  {check.about}: {check.text}"
            if check.remedy:
                yield f"           do this: {check.remedy}"
    states = Counter(check.level.state for found in checks.values() for check in found)
    problems = plural(states["trouble"], "problem") if states["trouble"] else "no problems found"
    yield problems + (f"; {states['unknown']} unknown: only a run will show it" if states["unknown"] else "")


def checks_document(checks: Mapping[str, Sequence[Check]]) -> list[dict[str, object]]:
    """The checks as JSON objects."""
    return [_check_document(subject, one) for subject, found in checks.items() for one in found]


def _check_document(subject: str, check: Check) -> dict[str, object]:
    document = {"subject": subject, "about": check.about, "state": check.level.state, "text": check.text}
    return {**document, "remedy": check.remedy} if check.remedy else {**document}


def examine_organization(
    name: str, jobfile: JobFile, clock: Clock, environ: Mapping[str, str], tell: OnPause | None
) -> list[Check]:
    """All checks of one organization of a job file; a token that cannot even be read is the only one."""
    organization = jobfile.organizations[name]
    try:
        client = open_client(organization, jobfile, clock=clock, environ=environ)
    except CredentialError as error:
        remedy = "put a token there, or correct token_file or token_env"
        return [trouble("token", str(error), remedy)]
    except UsageError as error:
        remedy = "correct it in the job file, or in the variable that sets it"
        return [trouble("connection", str(error), remedy)]
    with closing(client):
        return examine(organization, jobfile.jobs_of(name), client, clock, tell)


def examine(
    organization: Organization,
    jobs: Sequence[Job],
    getter: Getter,
    clock: Clock,
    tell: OnPause | None = None,
) -> list[Check]:
    """All checks of one organization, in the order in which they build on each other.

    An API that cannot be reached, refuses the token or has no request left ends them: what would come after
    is not known.
    """
    reader = PacedGetter(getter, clock, name=organization.name, tell=tell, patience=0.0)
    answer = reader.get("/users/current")
    user = parse_user(answer)
    stop = None if user is not None else _find_obstacle(organization, reader, answer)
    if stop is not None:
        return [stop, *_check_clock(reader)]
    own = organization.account_group or ""
    wanted = jobs or (_make_any_job(organization),)
    groups = dict.fromkeys(job.account_group or own for job in wanted)
    survey = survey_organization(reader, organization, groups, jobs=wanted, clock=clock)
    checks = [_check_token(organization, user), *_check_clock(reader)]
    checks += _check_organization(organization, survey)
    checks += _check_groups(organization, jobs, survey.groups)
    aids = dict.fromkeys((*groups, *survey.listings))
    checks += _check_permissions(user, reader, aids, survey.groups)
    checks += _check_lists(jobs, survey, exhausted=reader.remaining == 0)
    return [*checks, *_check_tests(organization, jobs, survey, clock.wall()), *_check_limit(reader)]


def examine_store(opened: Callable[[], AbstractContextManager[Store]]) -> list[Check]:
    """Check if the store can be written, and who else uses it."""
    try:
        with opened() as store:
            store.touch()
            where, live, loss = store.describe(), store.history.live_runs(), store.views.loss()
            held = plural(store.history.count_runs(), "run")
    except (UsageError, StoreUnavailable) as error:
        remedy = (
            "fix that, or name another store with --store or TESNAP_STORE; without a store nothing is sent"
        )
        return [trouble("store", str(error), remedy)]
    shared = [
        f"run {view.run.id} of {view.run.job} ({plural(view.processes, 'process', 'es')})" for view in live
    ]
    now = f"in use right now by {choice(shared, last='and')}" if shared else "used by nobody else right now"
    return [Check(about="store", text=f"{where} can be written; {now}; it holds {held}"), *_check_loss(loss)]


def _check_loss(loss: Loss | None) -> list[Check]:
    """The check of a store that was replaced or has lost data, while no run has ended cleanly since."""
    if loss is None or loss.ended:
        return []
    return [
        trouble(
            "what was stored",
            f"the store was replaced or has lost data: {loss.cause}",
            ("" if loss.is_wanted else "put the right file back if you have it; otherwise ")
            + "run the interrupted job files again: what they send is marked duplicate_possible until a run has ended with"
            " everything made",
        )
    ]


def examine_notify(notify: Notify) -> Check:
    """Check if there is an address to tell; nothing is sent to it."""
    try:
        read_address(notify)
    except UsageError as error:
        remedy = f"write the webhook's address into {notify.url_file}, or correct url_file"
        return trouble(notify.format, f"{notify.url_file}: {error}", remedy)
    return unknown(
        notify.format, f"{notify.url_file} holds an address; only a real message shows whether it is right"
    )


def _source(organization: Organization) -> str:
    credential = organization.credential
    return f"the token in {credential.file or f'the variable {credential.env}'}"


def _make_any_job(organization: Organization) -> Job:
    """All that `tesnap snap` may be asked for where no job file says it: any list of any account group."""
    return Job(
        name="snap",
        organizations=(organization.name,),
        select=Select(alerting=True, tag=("*",)),
        everywhere=organization.account_group is None,
    )


def _find_obstacle(organization: Organization, reader: PacedGetter, answer: Answer) -> Check | None:
    """The reason why nothing more can be asked when the first answer tells no user; None when more can."""
    if answer.status is None:
        return _check_way(organization, answer)
    if answer.status == 401:
        said = explain(answer)
        text = f"refused (401): {said.detail or said.title}"
        return Check(
            about="token", text=text, remedy=f"{_source(organization)}: {_RENEWAL}", level=Level.REFUSED
        )
    if answer.status == 429:
        return _make_limit_check(reader)
    stranger = find_stranger(answer) or (describe_stranger(answer) if answer.status < 300 else "")
    if answer.status == 403 and not stranger:
        return None
    url, said = organization.base_url, explain(answer)
    if stranger:
        remedy = (
            f"log in to the network, or check the proxy and that base_url ({url}) is the API's, /v7 included"
        )
        return trouble("API", f"something else answers in its place: {stranger}", remedy)
    what = f"it answers {answer.status} ({said.title}) to GET /users/current. {said.detail}".strip()
    remedy = (
        f"check that base_url ({url}) is the API's, /v7 included"
        if answer.status < HTTPStatus.INTERNAL_SERVER_ERROR
        else "try again later"
    )
    return trouble("API", what, remedy)


def _check_way(organization: Organization, answer: Answer) -> Check:
    """The trouble that nothing answered."""
    remedy = f"check base_url ({organization.base_url}), the network, and the proxy (http.proxy, HTTPS_PROXY)"
    if answer.lasting:
        text = f"refused, and a run does not try again: {answer.failure}"
        return Check(about="connection", text=text, remedy=remedy, level=Level.REFUSED)
    return trouble("API", f"it cannot be reached: {answer.failure or 'no answer'}", remedy)


def _make_limit_check(reader: PacedGetter) -> Check:
    most = "" if reader.most is None else f" of {reader.most}"
    text = f"used up: 0{most} requests a minute left, again in {duration_text(reader.reset_in)}"
    remedy = (
        "wait until then and look again; if it is still used up, find out what else sends so many requests for this organization"
        " (dashboards, exporters, scripts): all its users and tokens share the limit"
    )
    return trouble("general limit", text, remedy)


def _check_token(organization: Organization, user: TokenUser | None) -> Check:
    source = _source(organization)
    if user is None:
        return unknown("token", f"{source} is accepted; its user cannot be read (403 to GET /users/current)")
    return Check(about="token", text=f"{source} is valid" + (f", of {user.name}" if user.name else ""))


def _check_clock(reader: PacedGetter) -> list[Check]:
    if reader.offset is None:
        return []
    if abs(reader.offset) <= MOST_SKEW:
        return [Check(about="clock", text="within a minute of the API's")]
    side = "behind" if reader.offset > 0 else "ahead of"
    text = f"this machine's clock is {duration_text(abs(reader.offset))} {side} the API's: windows would be wrong"
    return [trouble("clock", text, _SET_CLOCK)]


def _check_limit(reader: PacedGetter) -> list[Check]:
    if reader.remaining is None:
        return []
    if reader.remaining == 0:
        return [_make_limit_check(reader)]
    return [Check(about="general limit", text=f"{reader.remaining} of {reader.most} requests a minute left")]


def _check_organization(organization: Organization, survey: OrganizationSurvey) -> Iterator[Check]:
    """Which organization it is, against the file."""
    wanted, found = organization.org_id, survey.org_id
    name = next((group.organization_name for group in survey.groups if group.organization_name), "unnamed")
    if survey.unreadable_groups is not None:
        yield trouble("account groups", survey.unreadable_groups.text, survey.unreadable_groups.remedy)
    elif not survey.groups and survey.stopped is not None:
        remedy = f"{_source(organization)}: {_RENEWAL}"
        yield Check(about="token", text=survey.because, remedy=remedy, level=Level.REFUSED)
    elif not survey.groups:
        remedy = "have the token's user added to an account group"
        yield trouble("organization", "the token sees no account group", remedy)
    elif wanted is not None and found is not None and wanted != found:
        text = f"the token belongs to {name} (org_id {found}), the job file says org_id {wanted}: nothing is sent"
        yield trouble("organization", text, "put the right organization's token there, or correct org_id")
    elif found is None:
        text = "the API does not tell the org_id: the organization is known only by its name in the job file"
        yield unknown("organization", text)
    else:
        checked = ", as the job file says" if wanted else ""
        yield Check(about="organization", text=f"{name}, org_id {found}{checked}")


def _check_groups(
    organization: Organization, jobs: Sequence[Job], known: Sequence[AccountGroup]
) -> Iterator[Check]:
    """Check if the token opens the account groups that are named."""
    there = {group.aid: group for group in known}
    named = [organization.account_group, *(job.account_group for job in jobs)]
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


def _check_permissions(
    user: TokenUser | None, reader: PacedGetter, aids: Iterable[str], known: Sequence[AccountGroup]
) -> Iterator[Check]:
    """Check if the user may make snapshots in each of these account groups; the unknown ones have been named."""
    if user is None:
        yield unknown(
            "permission", f"'{CREATE_SNAPSHOTS}' cannot be looked up: the first snapshot will show it"
        )
        return
    own, there = own_group(known), {group.aid for group in known}
    read = cache(partial(read_permissions, reader))
    places: dict[bool | None, list[str]] = defaultdict(list)
    for aid in (aid or (own.aid if own else "") for aid in aids):
        if not known or aid in there:
            where = f"account group {aid}" if aid else "the token's own account group"
            places[_may_create([read(role) for role in user.roles_in(aid)])].append(where)
    named = {how: first_names(where) for how, where in places.items()}
    if True in named:
        yield Check(about="permission", text=f"'{CREATE_SNAPSHOTS}' is granted in {named[True]}")
    if None in named:
        text = f"'{CREATE_SNAPSHOTS}' cannot be looked up in {named[None]}: the first snapshot will show it"
        yield unknown("permission", text)
    if False in named:
        text = f"'{CREATE_SNAPSHOTS}' is in none of the user's roles in {named[False]}: snapshots are refused (403)"
        yield trouble("permission", text, _GET_PERMISSION)


def _may_create(roles: Sequence[frozenset[str] | None]) -> bool | None:
    """True if a role with these permissions allows it; None when that cannot be looked up."""
    if any(role is not None and CREATE_SNAPSHOTS.casefold() in role for role in roles):
        return True
    return None if not roles or None in roles else False


def _check_lists(jobs: Sequence[Job], survey: OrganizationSurvey, *, exhausted: bool) -> Iterator[Check]:
    """Check if the lists can be read: those that the jobs need, or all where there are none."""
    every = [one for listing in survey.listings.values() for one in listing.unreadable]
    missing = [one for one in every if one.of != "alerts" or one.text in survey.notes]  # else they only sort
    for one in merge_alike(missing):
        said = one.cause is UnreadableCause.CLOSED or (one.cause is UnreadableCause.BUSY and exhausted)
        if not said:
            yield trouble(one.of, one.text, one.remedy)
    if jobs or missing or not survey.listings:
        return
    found = [test for one in survey.listings.values() for test in (one.tests or {}).values()]
    tests = plural(sum(not test.saved_event for test in found), "test")
    alerts = plural(sum(len(one.alerts or ()) for one in survey.listings.values()), "alert")
    groups = plural(len(survey.listings), "account group")
    yield Check(about="tests", text=f"{tests}, with their tags and {alerts} active now, in {groups}")


def _check_tests(
    organization: Organization, jobs: Sequence[Job], survey: OrganizationSurvey, now: float
) -> Iterator[Check]:
    """Checks of what each job means in the lists."""
    for job in jobs:
        scope = make_scope(job, organization, survey.listings)
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

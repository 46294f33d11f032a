"""The organizations that one start of the program serves: with which credential, and who they turn out to be."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import wait
from contextlib import suppress
from dataclasses import replace
from functools import partial

from orchestrator import __version__
from orchestrator.api import (
    Bearer,
    Client,
    OnPause,
    PacedGetter,
    Pause,
    ReadBearer,
    read_bearer,
    read_bearers,
)
from orchestrator.app.reading import ReservedReads
from orchestrator.core import (
    Clock,
    GrantStale,
    JobFile,
    Organization,
    Reason,
    StoreTrouble,
    Task,
    identity,
)
from orchestrator.planning import OrganizationSurvey, SideBySide, survey_organization
from orchestrator.store import Joining, Store
from orchestrator.worker import REREAD_EVERY, REREAD_WITHIN, ApiCalendar, ServedOrganization

LOOKS_PER_WORD = 6
"""Looks into a file for a new token between two words about it: half a minute."""

USER_AGENT = f"tesnap/{__version__}"
"""How the program names itself to the API and to webhooks."""


def make_client(
    organization: Organization,
    bearer: Callable[[], str],
    jobfile: JobFile,
    *,
    clock: Clock,
    environ: Mapping[str, str],
) -> Client:
    """A client of an organization, over the way to the API that the job file and the environment name."""
    return Client(
        organization.base_url,
        bearer,
        clock=clock,
        http=jobfile.http,
        user_agent=USER_AGENT,
        environ=environ,
    )


def open_client(
    organization: Organization, jobfile: JobFile, *, clock: Clock, environ: Mapping[str, str]
) -> Client:
    """A client with the credential that the organization names; `CredentialError` when that cannot be read."""
    bearer = read_bearer(organization.credential, environ=environ)
    return make_client(organization, bearer.reveal, jobfile, clock=clock, environ=environ)


def describe_joining(organization: Organization, org_id: str | None, bearer: Bearer | None) -> Joining:
    """An organization as the store is told of it, with the id that was read and the credential that it was read with."""
    return Joining(
        base_url=organization.base_url,
        name=organization.name,
        org_id=org_id,
        named=organization.org_id,
        digest=None if bearer is None else bearer.digest,
    )


class Organizations:
    """The organizations of one job file, as one store knows them.

    `identities` are the store's, by name, once the organizations are served. `late` are the names of those that
    did not answer the survey in time, `unread` the names of those
    whose id was not read with their present credential.
    """

    def __init__(
        self,
        jobfile: JobFile,
        *,
        store: Store,
        clock: Clock,
        environ: Mapping[str, str],
        read: ReadBearer | None = None,
        offline: bool = False,
    ) -> None:
        self.jobfile, self.store, self.clock, self.offline = jobfile, store, clock, offline
        self.identities: dict[str, str] = {}
        self._reads: ReservedReads | None = None
        self.late: frozenset[str] = frozenset()
        self._groups, self._jobs_of = jobfile.account_groups, jobfile.jobs_by_organization
        self._names: dict[str, str] = {}
        self._refused: set[str] = set()
        self.unread: set[str] = set()
        self._unshared: set[str] = set()  # names whose credential has changed, and the store does not know it
        read = read or (lambda organization: read_bearer(organization.credential, environ=environ))
        self._wanted = jobfile.wanted_organizations
        names = () if offline else self._wanted
        self._bearers, self._missing = read_bearers(jobfile, names, read)
        self.clients = {
            name: make_client(jobfile.organizations[name], bearer, jobfile, clock=clock, environ=environ)
            for name, bearer in self._bearers.items()
        }
        self._jobs = {job.name: frozenset(job.organizations) for job in reversed(jobfile.jobs)}

    def name_of(self, identity: str) -> str:
        """The user's name of an organization; also under an identity that another process has learnt since."""
        if identity not in self._names:
            self._names[identity] = self.store.organizations.names().get(identity, identity)
        return self._names[identity]

    def close(self) -> None:
        """Let the connections go."""
        for client in self.clients.values():
            client.close()

    def survey(
        self, tell: OnPause | None = None, *, within: float | None = None, reread: bool = False
    ) -> dict[str, OrganizationSurvey]:
        """Ask each organization who it is and which tests it has, several side by side; `tell` hears of waits.

        One that has not answered `within` so many seconds is out of reach, and is sent nothing more. Offline
        nothing is asked. With `reread` the file of a token that was refused is read again: by the worker, or here
        where nothing can be planned without lists and no other organization would have to wait. And the reads are
        reserved in the store, which several runs may want to make at once; a command that only looks writes nothing there.
        """
        if self.offline:
            return {name: OrganizationSurvey() for name in self._wanted}
        self._reads = ReservedReads(self.store, self.clock, self.jobfile.http.timeout) if reread else None
        with SideBySide() as lookups:
            surveys = self._survey_all(lookups, tell, within=within, reread=reread)
        if self._reads is not None:
            self._reads.give_back()
        return surveys

    def _survey_all(
        self, lookups: SideBySide, tell: OnPause | None, *, within: float | None, reread: bool
    ) -> dict[str, OrganizationSurvey]:
        survey = self._survey_patiently if reread else self._survey_one
        unasked = {
            name: OrganizationSurvey(stopped=Reason.TOKEN_MISSING, because=why)
            for name, why in self._missing.items()
        }
        try:
            answers = {
                name: lookups.start(partial(survey, name, lookups, tell)) for name in sorted(self.clients)
            }
            late = wait(answers.values(), None if within is None else self.clock.real(within)).not_done
            if late:
                self.close()
            self.late = frozenset(name for name, answer in answers.items() if answer in late)
            answered = {name: answer.result() for name, answer in answers.items()}
            return {name: answered.get(name) or unasked[name] for name in sorted(self._wanted)}
        except BaseException:  # a signal: nobody waits for the answers any more
            self.close()
            raise

    def _survey_one(self, name: str, lookups: SideBySide, tell: OnPause | None) -> OrganizationSurvey:
        client, organization, reads = self.clients[name], self.jobfile.organizations[name], self._reads
        digest = self.bearer(name).digest
        getter = PacedGetter(
            client,
            self.clock,
            name=name,
            tell=tell,
            stopped=lambda: client.closed,
            reservation=None if reads is None else reads.reader(organization.base_url, digest),
        )
        return survey_organization(
            getter,
            organization,
            self._groups[name],
            jobs=self._jobs_of[name],
            clock=self.clock,
            lookups=lookups,
        )

    def _survey_patiently(self, name: str, lookups: SideBySide, tell: OnPause | None) -> OrganizationSurvey:
        """The survey; after a 401 its token's file is read again, and asked with what is new there."""
        survey = self._survey_one(name, lookups, tell)
        file = self.jobfile.organizations[name].credential.file
        if not survey.unauthorized or file is None:
            return survey
        if len(self.clients) > 1 or not any(job.needs_lists for job in self._jobs_of[name]):
            return replace(survey, reread=True)
        client = self.clients[name]
        for look in range(round(REREAD_WITHIN / REREAD_EVERY)):
            if tell is not None and look % LOOKS_PER_WORD == 0:
                what = f"another token in {file}, as the present one was refused (401)"
                tell(Pause(organization=name, seconds=look * REREAD_EVERY, what=what))
            self._nap(REREAD_EVERY, client)
            if self._bearers[name].reload():
                survey = self._survey_one(name, lookups, tell)
            if client.closed or not survey.unauthorized:
                break
        return survey

    def _nap(self, seconds: float, client: Client) -> None:
        """Sleep, but no longer than a moment once the client is closed: somebody wants to end the program."""
        end = self.clock.boot() + seconds
        while (left := end - self.clock.boot()) > 0 and not client.closed:
            self.clock.sleep(min(1.0, left))

    def serve(
        self, surveys: Mapping[str, OrganizationSurvey], *, read_only: bool = False
    ) -> dict[str, ServedOrganization]:
        """The organizations as a worker serves them, by identity; `read_only` writes nothing into the store."""
        served: dict[str, ServedOrganization] = {}
        joinings, known = [self._joining(*one) for one in surveys.items()], self.store.organizations
        if read_only:
            present = known.present_identities([one.identity for one in joinings])
            identities = [present.get(one.identity, one.identity) for one in joinings]
        else:
            identities = known.join_all(joinings)
        for (name, survey), known_as in zip(surveys.items(), identities, strict=True):
            one = self._serve_one(name, survey, known_as)
            first = served.setdefault(one.identity, one)
            if first is not one:
                first.merge(one)
            self.identities[name] = first.identity
            self._names |= {first.identity: first.name, first.name: first.name}
            if survey.org_id is None and survey.stopped is None and name in self.clients:
                self.unread.add(name)
        return served

    def _serve_one(self, name: str, survey: OrganizationSurvey, known_as: str) -> ServedOrganization:
        organization = self.jobfile.organizations[name]
        served = ServedOrganization(
            identity=known_as,
            name=name,
            limit=organization.limit,
            timeout=self.jobfile.http.timeout,
            reload=lambda: name in self._bearers and self._reload(name),
            rereads=organization.credential.file is not None,
            calendar=ApiCalendar(offset=survey.offset),
        )
        if survey.stopped is not None:
            self._refused.add(name)
            if survey.reread:
                served.await_token(survey.because)
            else:
                served.stop(survey.stopped, survey.because)
        return served

    def _joining(self, name: str, survey: OrganizationSurvey) -> Joining:
        """The facts learnt of an organization; with a stranger's token its id is the file's, if that says one."""
        organization, stopped = self.jobfile.organizations[name], survey.stopped is not None
        bearer = self.bearer(name) if name in self._bearers and not stopped else None
        return describe_joining(
            organization, (organization.org_id if stopped else None) or survey.org_id, bearer
        )

    # -- while it is served ------------------------------------------------------------------------------
    def bearer(self, name: str) -> Bearer:
        """The credential of a name as it is now."""
        return self._bearers[name].present

    def is_unknown(self, name: str) -> bool:
        """True if neither the API nor the job file ever said which organization a name stands for."""
        organization = self.jobfile.organizations[name]
        by_name = identity(organization.base_url, name=name)
        return organization.org_id is None and self.identities[name] == by_name

    def learn(self, name: str, org_id: str) -> bool:
        """Have the store know what a name's present credential shows that it stands for; False if it stands for another."""
        base_url = self.jobfile.organizations[name].base_url
        before = self.store.organizations.present_identity(self.identities[name])
        if before not in (identity(base_url, name=name), identity(base_url, org_id=org_id)):
            return False
        known = self._join(name, org_id)
        self.identities[name] = known
        self._names.setdefault(known, name)
        self.unread.discard(name)
        return True

    def _reload(self, name: str) -> bool:
        """Read a credential again; True if its text changed. Nothing is granted for it before the store knows it."""
        if self._bearers[name].reload():
            self._unshared.add(name)
            self.unread.add(name)
            with suppress(StoreTrouble):
                self._share(name)
            return True
        return False

    def _join(self, name: str, org_id: str | None) -> str:
        joining = describe_joining(self.jobfile.organizations[name], org_id, self.bearer(name))
        (known_as,) = self.store.organizations.join_all([joining])
        return known_as

    def _share(self, name: str) -> None:
        """Have the store know a credential that is new: others with the same one share the bucket."""
        self._join(name, None)
        self._unshared.discard(name)

    def client_of(self, task: Task) -> Client:
        """The client whose credential serves a task: of several names for one organization the task's own, or one with its account group.

        Raises `GrantStale` when none does: another organization's must never be tried. And where a credential is so
        new that the store has not taken it yet: what was granted before may be of another bucket.
        """
        if self._unshared:
            for name in sorted(self._unshared):
                self._share(name)
            raise GrantStale
        return self.clients[self._name_for(task)]

    def _name_for(self, task: Task) -> str:
        """The name whose credential serves a task: nearly always its own, which is seen without a look at all others."""
        own, job = task.organization_name, self._jobs.get(task.job_name)
        known = own in self.clients and self.identities.get(own) == task.organization
        if known and own not in self._refused and (job is None or own in job):
            return own
        names = self._names_under(task.organization)
        if not names or (own in self.clients and own not in names):
            for name, before in list(self.identities.items()):  # it was learnt since who an organization is
                self.identities[name] = self.store.organizations.present_identity(before)
            names = self._names_under(task.organization)
        if not names:
            raise GrantStale
        meant = [name for name in names if job is None or name in job] or names
        usable = [name for name in meant if name not in self._refused] or meant
        groups = {name: self.jobfile.organizations[name].account_group or "" for name in usable}
        return min(usable, key=lambda one: (one != own, groups[one] != task.account_group))

    def _names_under(self, identity: str) -> list[str]:
        return [name for name in self.clients if self.identities.get(name) == identity]

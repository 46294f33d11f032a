"""Organizations whose `orgId` could not be read: it is said what that may mean, and they are asked again while a run goes on."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress

from orchestrator.api import PacedGetter
from orchestrator.app.organizations import Organizations
from orchestrator.core import Event, Observer, Reason, TesnapError, first_names
from orchestrator.planning import OrganizationSurvey, ask_who_it_is

FIRST_WAIT = 60.0
"""Seconds until an organization is asked again who it is: one of the 240 reads a minute that it allows."""

ORDINARY_PERIOD = 300.0
"""Waits are meant for the documented period; a shorter one (in tests) shortens them."""

LONGEST_WAIT = 900.0
"""The wait doubles up to so many seconds: a permission that is missing may be given while a run goes on."""


Stop = Callable[[str, Reason, str], None]
"""Has a worker send nothing more for the organization of an identity: with the reason, and what is to be put right."""


@contextmanager
def ask_again(organizations: Organizations, stop: Stop, observer: Observer) -> Iterator[None]:
    """Ask the organizations whose id could not be read again, while a worker works for them."""
    search = _IdentitySearch(organizations, stop, observer)
    threading.Thread(target=search.run, name="tesnap-identities", daemon=True).start()
    try:
        yield
    finally:
        search.stop()


class _IdentitySearch:
    """Asks who the unread organizations are until each has answered; what is learnt goes into the store."""

    def __init__(self, organizations: Organizations, stop: Stop, observer: Observer) -> None:
        self._organizations, self._stop, self._observer = organizations, stop, observer
        self._stopped, self._concluding = threading.Event(), threading.Lock()

    def run(self) -> None:
        """Ask now and then: one that is known now may get another credential."""
        clock, wait = self._organizations.clock, FIRST_WAIT
        periods = (one.limit.per for one in self._organizations.jobfile.organizations.values())
        scale = min(1.0, min(periods, default=ORDINARY_PERIOD) / ORDINARY_PERIOD)
        while not self._stopped.wait(clock.real(wait * scale)):
            names = sorted(self._organizations.unread)
            wait = min(2 * wait, LONGEST_WAIT) if names else FIRST_WAIT
            for name in names:
                with suppress(TesnapError):  # no answer, or a store that does not take it: asked again
                    self._ask(name)

    def stop(self) -> None:
        """Ask and conclude nothing more; an answer that is waited for is left to itself."""
        with self._concluding:
            self._stopped.set()

    def _ask(self, name: str) -> None:
        organizations = self._organizations
        client, bearer = organizations.clients[name], organizations.bearer(name)
        if client.closed or self._stopped.is_set():
            return
        getter = PacedGetter(client, organizations.clock, patience=0.0)
        survey = ask_who_it_is(getter, organizations.jobfile.organizations[name])
        with self._concluding:
            if (
                survey.org_id is not None
                and organizations.bearer(name) == bearer
                and not self._stopped.is_set()
            ):
                self._conclude(name, survey, survey.org_id)

    def _conclude(self, name: str, survey: OrganizationSurvey, org_id: str) -> None:
        organizations = self._organizations
        if survey.stopped is None and organizations.learn(name, org_id):
            text = f"{name} is organization {org_id}: requests counted under the name alone now count for it"
            self._observer.on_event(Event(name="organization.known", text=text))
            return
        because = survey.because or (
            f"the token now belongs to organization {org_id}, not to the one that the run was planned for: put the right"
            " token there"
        )
        organizations.unread.discard(name)
        self._stop(organizations.identities[name], Reason.TOKEN_REFUSED, because)


def describe_unknown(
    organizations: Organizations, surveys: Mapping[str, OrganizationSurvey]
) -> Iterator[Event]:
    """A warning about those of which neither an id was ever read nor the job file names one."""
    names = sorted(filter(organizations.is_unknown, organizations.unread))
    if not names:
        return
    missing = surveys[names[0]].unreadable_groups
    why = "no account group in the answer has an orgId" if missing is None else missing.text.rstrip(".")
    text = (
        f"{first_names(names)}: it is not known which organization this is ({why}). Until then names with the same"
        " token share one limit, but the same organization with another token is not recognised: both together"
        " may go over the limit, and the API refuses what is too much (429). tesnap asks again during"
        " the run; if an organization has several names or tokens, write its org_id under each of them"
    )
    yield Event(name="organization.unknown", text=text, level="warning")

"""Refused tokens whose files are read again: one that is being replaced is no reason to give up.

The file is read every 5 s for two minutes after a refusal, and each new text is tried once: more often, and the account
would be locked. Other organizations go on meanwhile. A variable or standard input says nothing new.
"""

from __future__ import annotations

from collections.abc import Callable

from orchestrator.core import Clock, Event, Lease, Reason
from orchestrator.worker import notices
from orchestrator.worker.organization import ServedOrganization, ServedOrganizations

REREAD_EVERY = 5.0
"""Seconds between two looks into the file."""

REREAD_WITHIN = 120.0
"""Seconds after a refusal in which a new token is waited for: Kubernetes takes up to about 90 s to swap one."""


class RefusedTokens:
    """Waits for new tokens; `stop` stops serving an organization for which none came."""

    def __init__(
        self,
        organizations: ServedOrganizations,
        clock: Clock,
        tell: Callable[[Event], None],
        stop: Callable[[ServedOrganization, Reason, str], None],
    ) -> None:
        self._organizations, self._clock = organizations, clock
        self._tell, self._stop = tell, stop

    def note(self, served: ServedOrganization, lease: Lease, because: str) -> None:
        """Note a 401. What was granted before the token changed went out with the old one, and says nothing of it."""
        if lease.granted_boot < served.reloaded_at or served.awaits_token:
            return
        if served.rereads:
            served.await_token(because)
            self._begin(served)
        else:
            self._stop(served, Reason.TOKEN_REFUSED, because)

    def may_send(self, served: ServedOrganization, now: float) -> bool:
        """True unless a new token is waited for; looks into the file, and gives up in the end."""
        if not served.awaits_token:
            return True
        until = self._begin(served)
        if served.reload():
            served.take_token(now)
            self._organizations.registration_due = True
            self._tell(notices.new_token(served))
            return True
        if now >= until:
            self._stop(served, Reason.TOKEN_REFUSED, served.refused_because)
            return False
        self._organizations.schedule(served, min(now + REREAD_EVERY, until))
        return False

    def _begin(self, served: ServedOrganization) -> float:
        """The boot time until which the file is read again, said when the wait for it begins."""
        now = self._clock.boot()
        if served.reread_until is None:
            served.reread_until = now + REREAD_WITHIN
        if served.waiting is not Reason.TOKEN_REFUSED:
            served.wait_for(Reason.TOKEN_REFUSED, self._clock.wall() + max(0.0, served.reread_until - now))
            self._organizations.registration_due = True
            self._tell(notices.awaited_token(served, served.reread_until - now))
        return served.reread_until

"""Lists that could not be read: what is missing, why, what to do about it, and the error when nothing goes without.

The remedy fits the reason: a permission is asked for where the API says 403, and nowhere else. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from orchestrator.api import CatalogError
from orchestrator.core import AccessRefused, ApiUnavailable, SelectionError, TesnapError, choice

NAMED_AT_MOST = 10
"""Account groups that one sentence names."""

WHERE_ROLES_ARE = "Account Settings > Users and Roles > Roles"
"""Where ThousandEyes' web app keeps permissions."""


class Cause(StrEnum):
    """Why a list is missing, as far as that decides what to do."""

    UNREACHABLE = "unreachable"  # no answer, or none that is whole
    SERVER = "server"  # 5xx
    BUSY = "busy"  # 429
    FORBIDDEN = "forbidden"  # 401, 403
    CLOSED = "closed"  # an account group that is not the token's
    INCOMPLETE = "incomplete"  # it goes on where it cannot be followed
    NOT_THE_API = "not_the_api"  # anything else: what answers there is no such list


PASSING = frozenset({Cause.UNREACHABLE, Cause.SERVER, Cause.BUSY})
"""Causes that are gone by themselves."""

_REMEDIES = {
    Cause.UNREACHABLE: "check the network, the proxy and base_url, then try again",
    Cause.SERVER: "the trouble is on ThousandEyes' side or a gateway's: try again shortly",
    Cause.BUSY: "the limit on requests is used up, which all users and tokens of the organization share: try again in a minute",
    Cause.FORBIDDEN: f"have an administrator add '{{permission}}' to a role of the token's user ({WHERE_ROLES_ARE})",
    Cause.CLOSED: "correct the account group, or have the token's user added to it",
    Cause.INCOMPLETE: "check base_url, and a gateway that changes the addresses in answers",
    Cause.NOT_THE_API: "what answers is not the API's list: check that base_url is the API's, /v7 included",
}

_PERMISSIONS = {"tests": "View tests", "tags": "View tags", "alerts": "View alerts"}
"""The permission that each list needs, by its name in ThousandEyes' documentation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnreadableList:
    """One list that is missing: of what (`tests`, `tags`, `alerts`), of which account group, and why."""

    of: str
    where: str
    because: str
    cause: Cause

    @property
    def short(self) -> str:
        """What is missing."""
        return (
            f"the {self.of} of {self.where} cannot be read" if self.where else f"the {self.of} cannot be read"
        )

    @property
    def text(self) -> str:
        """What is missing, and why."""
        return f"{self.short}: {self.because}"

    @property
    def remedy(self) -> str:
        """What to do about it."""
        if self.cause is Cause.FORBIDDEN and self.of not in _PERMISSIONS:
            return f"have an administrator let the token's user read the {self.of} ({WHERE_ROLES_ARE})"
        return _REMEDIES[self.cause].format(permission=_PERMISSIONS.get(self.of, ""))


def gap(of: str, where: str, error: CatalogError) -> UnreadableList:
    """What is missing after this error."""
    return UnreadableList(of=of, where=where, because=error.reason, cause=_cause(error))


def merged(gaps: Iterable[UnreadableList]) -> list[UnreadableList]:
    """Those that fail alike in several account groups as one."""
    where: dict[UnreadableList, dict[str, None]] = {}
    for one in gaps:
        where.setdefault(replace(one, where=""), {})[one.where] = None
    return [replace(one, where=_some(list(places))) for one, places in where.items()]


def _some(places: Sequence[str]) -> str:
    more = len(places) - NAMED_AT_MOST
    return choice([*places[:NAMED_AT_MOST], *([f"{more} more"] if more > 0 else [])], last="and")


def told(gaps: Iterable[UnreadableList]) -> str:
    """All of them as one sentence, and what to do."""
    known = merged(gaps)
    texts = "; ".join(one.text.rstrip(".") for one in known)
    return f"{texts}. Do this: {'; '.join(dict.fromkeys(one.remedy for one in known))}"


def unreadable(start: str, gaps: Iterable[UnreadableList]) -> TesnapError:
    """The error that nothing can be done without these lists; its kind decides the exit code."""
    known = list(gaps)
    text = f"{start}: {told(known)}"
    causes = {one.cause for one in known}
    if causes & {Cause.CLOSED, Cause.INCOMPLETE, Cause.NOT_THE_API}:
        return SelectionError(text)
    if causes & PASSING:
        return ApiUnavailable(text)
    return AccessRefused(text)


def _cause(error: CatalogError) -> Cause:
    status = error.status
    if error.incomplete:
        return Cause.INCOMPLETE
    if status is None or error.cut_off:
        return Cause.UNREACHABLE
    if status >= 500:
        return Cause.SERVER
    return {401: Cause.FORBIDDEN, 403: Cause.FORBIDDEN, 429: Cause.BUSY}.get(status, Cause.NOT_THE_API)

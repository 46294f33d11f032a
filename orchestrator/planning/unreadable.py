"""Lists that could not be read: what is missing, why, what to do about it, and the error when nothing goes without.

The remedy fits the reason: a permission is asked for where the API says 403, and nowhere else. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from http import HTTPStatus

from orchestrator.api import CatalogError
from orchestrator.core import AccessRefused, ApiUnavailable, Reason, SelectionError, TesnapError, first_names

WHERE_ROLES_ARE = "Account Settings > Users and Roles > Roles"
"""Where ThousandEyes' web app keeps permissions."""


class UnreadableCause(StrEnum):
    """The reason why a list is missing, as far as it decides what to do."""

    UNREACHABLE = "unreachable"  # no answer, or none that is whole
    SERVER = "server"  # 5xx
    BUSY = "busy"  # 429
    FORBIDDEN = "forbidden"  # 401, 403
    CLOSED = "closed"  # an account group that is not the token's
    INCOMPLETE = "incomplete"  # it goes on where it cannot be followed
    STRANGER = "stranger"  # somebody else answers in the API's place
    NOT_THE_API = "not_the_api"  # anything else: what answers there is no such list


PASSING_CAUSES = frozenset(
    {UnreadableCause.UNREACHABLE, UnreadableCause.SERVER, UnreadableCause.BUSY, UnreadableCause.STRANGER}
)
"""Causes that are gone by themselves."""

_CAUSES: dict[int, UnreadableCause] = {
    HTTPStatus.UNAUTHORIZED: UnreadableCause.FORBIDDEN,
    HTTPStatus.FORBIDDEN: UnreadableCause.FORBIDDEN,
    HTTPStatus.TOO_MANY_REQUESTS: UnreadableCause.BUSY,
}
"""The causes that statuses stand for; any other below 500 is no answer of the API."""

_REMEDIES = {
    UnreadableCause.UNREACHABLE: "check the network, the proxy and base_url, then try again",
    UnreadableCause.SERVER: "the trouble is on ThousandEyes' side or a gateway's: try again shortly",
    UnreadableCause.BUSY: "the limit on requests is used up, which all users and tokens of the organization share: try again in about a minute",
    UnreadableCause.FORBIDDEN: f"have an administrator add '{{permission}}' to a role of the token's user ({WHERE_ROLES_ARE})",
    UnreadableCause.CLOSED: "correct the account group, or have the token's user added to it",
    UnreadableCause.INCOMPLETE: "check base_url, and a gateway that changes the addresses in answers",
    UnreadableCause.STRANGER: "log in to the network, or check the proxy and base_url (the API's, /v7 included), then try again",
    UnreadableCause.NOT_THE_API: "what answers is not the API's list: check that base_url is the API's, /v7 included",
}

_PERMISSIONS = {"tests": "View tests", "tags": "View tags", "alerts": "View alerts"}
"""The permission that each list needs, by its name in ThousandEyes' documentation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnreadableList:
    """One list that is missing: of what (`tests`, `tags`, `alerts`), of which account group, and why."""

    of: str
    where: str
    because: str
    cause: UnreadableCause

    @property
    def short(self) -> str:
        """The list, as a sentence: `the tags of account group 7 cannot be read`."""
        of = f"{self.of} of {self.where}" if self.where else self.of
        return f"the {of} cannot be read"

    @property
    def text(self) -> str:
        """The sentence with its reason."""
        return f"{self.short}: {self.because}"

    @property
    def remedy(self) -> str:
        """The advice that fits the cause."""
        if self.cause is UnreadableCause.FORBIDDEN and self.of not in _PERMISSIONS:
            return f"have an administrator let the token's user read the {self.of} ({WHERE_ROLES_ARE})"
        return _REMEDIES[self.cause].format(permission=_PERMISSIONS.get(self.of, ""))


def unreadable_list(of: str, where: str, error: CatalogError) -> UnreadableList:
    """The list that is missing after this error."""
    return UnreadableList(of=of, where=where, because=error.reason, cause=_cause(error))


def merge_alike(missing: Iterable[UnreadableList]) -> list[UnreadableList]:
    """The lists, those that fail alike in several account groups as one."""
    where: dict[UnreadableList, dict[str, None]] = {}
    for one in missing:
        where.setdefault(replace(one, where=""), {})[one.where] = None
    return [replace(one, where=first_names(list(places))) for one, places in where.items()]


def describe_missing(missing: Iterable[UnreadableList]) -> str:
    """A sentence with all of them, and what to do."""
    known = merge_alike(missing)
    texts = "; ".join(one.text.rstrip(".") for one in known)
    return f"{texts}. Do this: {'; '.join(dict.fromkeys(one.remedy for one in known))}"


def unreadable_error(start: str, missing: Iterable[UnreadableList]) -> TesnapError:
    """The error that nothing can be done without these lists; its kind decides the exit code."""
    known = list(missing)
    text = f"{start}: {describe_missing(known)}"
    causes = {one.cause for one in known}
    if causes & {UnreadableCause.CLOSED, UnreadableCause.INCOMPLETE, UnreadableCause.NOT_THE_API}:
        return SelectionError(text)
    if causes & PASSING_CAUSES:
        return ApiUnavailable(text)
    return AccessRefused(text)


def unreadable_reason(missing: Iterable[UnreadableList]) -> Reason:
    """The word for why one organization's lists are missing."""
    causes = {one.cause for one in missing}
    if UnreadableCause.STRANGER in causes:
        return Reason.NOT_THE_API
    return Reason.API_UNREACHABLE if causes & PASSING_CAUSES else Reason.PERMISSION_REFUSED


def _cause(error: CatalogError) -> UnreadableCause:
    if error.incomplete:
        return UnreadableCause.INCOMPLETE
    if error.stranger:
        return UnreadableCause.STRANGER
    if error.status is None or error.cut_off:
        return UnreadableCause.UNREACHABLE
    if error.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return UnreadableCause.SERVER
    return _CAUSES.get(error.status, UnreadableCause.NOT_THE_API)

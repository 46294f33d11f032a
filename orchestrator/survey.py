"""What is found out about an organization before anything is planned: who it is, and which tests it has.

Reads only. That the account groups cannot be read is no reason not to send; a refused token or an
organization other than the job file's is.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from orchestrator.catalog import AccountGroup, CatalogError, ConfiguredTest, Getter, account_groups, tests
from orchestrator.model import Organization, Reason

UNAUTHORIZED = 401
FORBIDDEN = 403


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one organization answered. `offset` is how far the API's clock is ahead of ours, in seconds.

    With `stopped` nothing is to be sent for it, and `because` says why; `notes` are worth a line each.
    """

    org_id: str | None = None
    groups: tuple[AccountGroup, ...] = ()
    tests: Mapping[str, Mapping[str, ConfiguredTest]] = field(default_factory=dict)
    offset: float = 0.0
    stopped: Reason | None = None
    because: str = ""
    notes: tuple[str, ...] = ()
    whispers: tuple[str, ...] = ()


def find_out(getter: Getter, organization: Organization, groups: Collection[str]) -> Finding:
    """Ask an organization who it is, then for the tests of these account groups (`""`: the default one)."""
    try:
        known = tuple(account_groups(getter))
    except CatalogError as error:
        if error.status == UNAUTHORIZED:
            return Finding(stopped=Reason.TOKEN_REFUSED, because=f"the token was refused (401): {error}")
        return _with_tests(getter, groups, Finding(whispers=(f"the account groups cannot be read: {error}",)))
    org_id = own_org_id(known, organization.account_group)
    if organization.org_id is not None and org_id is not None and org_id != organization.org_id:
        because = f"the token belongs to organization {org_id}, the job file says org_id {organization.org_id}"
        return Finding(org_id=org_id, groups=known, stopped=Reason.TOKEN_REFUSED, because=because)
    return _with_tests(getter, groups, Finding(org_id=org_id, groups=known))


def own_org_id(groups: Collection[AccountGroup], account_group: str | None) -> str | None:
    """The orgId of the account group that is named, else of the current one, else of the default one."""
    by_order = sorted(groups, key=lambda g: (g.aid != account_group, not g.current, not g.default))
    return next((group.org_id for group in by_order if group.org_id is not None), None)


def _with_tests(getter: Getter, groups: Collection[str], finding: Finding) -> Finding:
    found: dict[str, Mapping[str, ConfiguredTest]] = {}
    notes: list[str] = []
    for group in groups:
        try:
            found[group] = {test.id: test for test in tests(getter, group or None)}
        except CatalogError as error:
            if error.status == UNAUTHORIZED:
                return Finding(stopped=Reason.TOKEN_REFUSED, because=f"the token was refused (401): {error}")
            which = f"account group {group}" if group else "the default account group"
            notes.append(f"the tests of {which} cannot be read, so they are known by id alone: {error}")
    return Finding(
        org_id=finding.org_id, groups=finding.groups, tests=found, notes=tuple(notes), whispers=finding.whispers
    )

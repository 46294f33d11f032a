"""Which of a job's organizations an id that was typed is of. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from orchestrator.model import Job, TestRef, Window
from orchestrator.selectors import Choice, Chosen, Listing, choose, scope, some


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """An organization's lists by account group, and the account group that is its own."""

    listings: Mapping[str, Listing]
    own: str


def choose_each(job: Job, places: Mapping[str, Place], *, moments: Sequence[Window]) -> dict[str, Choice]:
    """The tests of a job in each of its organizations.

    With several of them an id goes only where a list has it. One that no list has goes to the only organization
    whose lists could not be read, else nowhere: somebody else's test must not be asked for.
    """
    homes = {ref.id: _homes(ref, job, places) for ref in job.tests if len(places) > 1}
    made = {}
    for name, place in places.items():
        mine = tuple(ref for ref in job.tests if name in homes.get(ref.id, places))
        share = replace(job, tests=mine)
        made[name] = choose(share, place.listings, organization=name, own=place.own, moments=moments)
    lost = [ref for ref in job.tests if homes.get(ref.id) == () and ref.id not in job.exclude]
    if lost:
        first = next(name for name in places if _is_read(job, places[name]))
        refused = (_nowhere(ref, job, places, places[first].own) for ref in lost)
        made[first] = replace(made[first], tests=(*refused, *made[first].tests))
    return made


def _homes(ref: TestRef, job: Job, places: Mapping[str, Place]) -> tuple[str, ...]:
    """The organizations that a typed id may be of."""
    having = tuple(
        name
        for name, place in places.items()
        if any(ref.id in (one.tests or ()) for one in scope(job, place.listings, place.own))
    )
    unread = tuple(name for name, place in places.items() if not _is_read(job, place))
    if having or len(unread) == len(places):
        return having or unread
    return unread if len(unread) == 1 else ()


def _is_read(job: Job, place: Place) -> bool:
    return all(one.tests is not None for one in scope(job, place.listings, place.own))


def _nowhere(ref: TestRef, job: Job, places: Mapping[str, Place], own: str) -> Chosen:
    """A typed id that no organization's lists have, with where it was looked for."""
    read = [name for name, place in places.items() if _is_read(job, place)]
    unread = [name for name in places if name not in read]
    tail = f" (those of {some(unread)} could not be read)" if unread else ""
    refusal = (
        f"test {ref.id} is in no list of {some(read)}{tail}, so it was sent to nobody: correct the id, or name its"
        " organization alone"
    )
    return Chosen(id=ref.id, account_group=own, name=ref.test_name, refusal=refusal)

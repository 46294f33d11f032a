"""Which tests a job means, given what the account group's list of tests says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from orchestrator.catalog import ConfiguredTest
from orchestrator.errors import SelectionError
from orchestrator.model import Job, TestRef


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """A test that is meant; `refusal` says why it must not be sent after all."""

    id: str
    name: str | None = None
    refusal: str | None = None


def choose(
    job: Job,
    tests: Mapping[str, ConfiguredTest] | None,
    *,
    organization: str,
    notes: dict[str, None],
) -> Iterator[Chosen]:
    """The tests of a job, ids in the order in which they were typed; `tests` is None where the list cannot be read.

    Raises `SelectionError` for selectors, which this version reads but does not resolve.
    """
    if job.select is not None or job.max_tests is not None:
        text = f"{job.place}: `select` and `max_tests` are not supported by this version: name the tests by their ids"
        raise SelectionError(text)
    for ref in job.tests:
        if ref.id in job.exclude:
            continue
        yield _chosen(ref, tests, organization=organization, notes=notes)


def _chosen(
    ref: TestRef, tests: Mapping[str, ConfiguredTest] | None, *, organization: str, notes: dict[str, None]
) -> Chosen:
    found = tests.get(ref.id) if tests is not None else None
    if tests is not None and found is None:
        notes[f"{organization}: test {ref.id} is not in the list of tests of its account group; the API may answer 404"] = None
    if found is not None and found.enabled is False:
        notes[f"{organization}: test {ref.id} ({found.name}) is disabled: it has no fresh data"] = None
    name = found.name if found else ref.test_name
    return Chosen(id=ref.id, name=name, refusal=_refusal(ref, tests, found))


def _refusal(ref: TestRef, tests: Mapping[str, ConfiguredTest] | None, found: ConfiguredTest | None) -> str | None:
    if ref.test_name is None:
        return None
    if tests is None:
        return f"the name of test {ref.id} could not be checked against {ref.test_name!r}: the list of tests cannot be read"
    actual = found.name if found else None
    if actual == ref.test_name:
        return None
    return f"test {ref.id} is called {actual!r}, the job file says {ref.test_name!r}"

"""Options that several commands share."""

from __future__ import annotations

import pytest

from orchestrator.cli.options import Part
from orchestrator.core.errors import UsageError
from orchestrator.core.jobs import CredentialSource, Job, JobFile, Notify, Organization

CREDENTIAL = CredentialSource(env="T")

WHOLE = JobFile(
    name="nightly",
    jobs=tuple(Job(name=f"job of {name}", organizations=(name,)) for name in ("acme", "globex")),
    organizations={name: Organization(name=name, credential=CREDENTIAL) for name in ("acme", "globex")},
    notify=(Notify(format="slack", url_file="hook"),),
)


@pytest.mark.parametrize(
    ("part", "jobs"),
    [
        (Part(organizations=("ac*",)), 1),
        (Part(jobs=("* of globex",)), 1),
        (Part(tests=("checkout",)), 2),
        (Part(jobs=("*",)), 2),
    ],
)
def test_a_part_of_a_file_is_told_to_nobody_by_the_file(part: Part, jobs: int) -> None:
    """Neither a success of the job nor a message to its receivers, even where everything matches."""
    taken = part.take(WHOLE)
    assert (taken.part, taken.notify, len(taken.jobs)) == (True, (), jobs)
    assert {one.only for one in taken.jobs} == {part.tests}


def test_without_a_pattern_everything_is_meant() -> None:
    """And the file's receivers hear of it."""
    assert Part().take(WHOLE) is WHOLE


def test_a_part_that_is_not_there_names_those_that_are() -> None:
    """So that a misspelt one is seen at once."""
    with pytest.raises(
        UsageError, match="no job matches night; the job file has job of acme and job of globex"
    ):
        Part(jobs=("night",)).take(WHOLE)

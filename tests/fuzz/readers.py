"""The readers of what comes from outside, each as a function of bytes that lets only surprises pass.

An answer is written as it came: the status, a line for each header, an empty line, the body.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from contextlib import suppress

from orchestrator.api import (
    Answer,
    explain,
    judge,
    parse_user,
    read_account_groups,
    read_alerts,
    read_permissions,
    read_tags,
    read_tests,
)
from orchestrator.core import Lease, Task, TesnapError, Window
from orchestrator.jobfile import read_jobfiles

ENVIRON = {"TOKEN": "a-token-of-the-environment", "NAME": "edge"}
"""Variables that a job file may name."""

WINDOW = Window(start=1_795_356_000, end=1_795_363_200)
"""Two hours of 28 November 2026, for which alerts are asked."""

LEASE = Lease(
    task=Task(
        organization="https://api.example.test/v7#id=1",
        account_group="1234",
        test_id="202701",
        window=WINDOW,
        is_public=False,
        display_name="Checkout EU",
        job_name="checkout",
    ),
    run_id="k7f2",
    owner="me",
    attempt=1,
    token=0,
    granted_at=0.0,
    granted_boot=0.0,
)
"""The attempt that an answer is judged for."""

MOST_PAGES = 20
"""Pages after which the server has no more: a list without end is bounded elsewhere, by time."""


class OneAnswer:
    """A server that always gives the same answer, until it gives none."""

    base_url = "https://api.example.test/v7"

    def __init__(self, answer: Answer) -> None:
        self._answer, self._left = answer, MOST_PAGES

    def get(self, path: str, query: tuple[tuple[str, str], ...] = ()) -> Answer:
        """The answer, whatever is asked for."""
        self._left -= 1
        return self._answer if self._left >= 0 else Answer(sent=True, status=404)


def read_jobfile(data: bytes) -> None:
    """Read a job file from standard input."""
    with suppress(TesnapError):
        read_jobfiles(["-"], environ=ENVIRON, stdin=io.TextIOWrapper(io.BytesIO(data)))


def read_snapshot(data: bytes) -> None:
    """Judge an answer to the request for a snapshot."""
    verdict = judge(parse_answer(data), LEASE)
    assert verdict.outcome


def read_list(read: Callable[[OneAnswer], object]) -> Callable[[bytes], None]:
    """Read a list, of which every page is the same answer."""

    def read_one(data: bytes) -> None:
        with suppress(TesnapError):
            read(OneAnswer(parse_answer(data)))

    return read_one


def read_any(data: bytes) -> None:
    """Explain an answer, and read a user and a role's permissions from it."""
    answer = parse_answer(data)
    explain(answer)
    parse_user(answer)
    read_permissions(OneAnswer(answer), "1")


def parse_answer(data: bytes) -> Answer:
    """The answer that is written in these bytes; what is no status is a 200."""
    head, _, body = data.partition(b"\n\n")
    first, *lines = head.decode("latin-1").split("\n")
    pairs = (line.partition(":") for line in lines)
    status = int(first) if first.isascii() and first.isdigit() and len(first) == 3 else 200
    headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
    return Answer(sent=True, status=status, headers=headers, body=body)


READERS: dict[str, Callable[[bytes], None]] = {
    "jobfile": read_jobfile,
    "snapshot": read_snapshot,
    "tests": read_list(lambda getter: read_tests(getter, "1234")),
    "tags": read_list(lambda getter: read_tags(getter, "1234")),
    "alerts": read_list(lambda getter: read_alerts(getter, "1234", WINDOW, now=WINDOW.end)),
    "account_groups": read_list(read_account_groups),
    "user": read_any,
}

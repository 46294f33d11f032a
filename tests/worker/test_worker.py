"""The worker's steps: the rest of it is seen in whole runs, in tests/scenarios."""

from __future__ import annotations

import pytest

from orchestrator.core.errors import StoreTrouble, StoreUnavailable, StoreUnusable
from orchestrator.worker.in_flight import do_all

AWAY = StoreUnavailable("the session was cut")


def test_what_comes_after_a_failure_is_done_all_the_same() -> None:
    """The last failure is raised in the end."""
    done: list[str] = []

    def fail(error: StoreTrouble) -> None:
        raise error

    full = StoreUnusable("the disk is full")
    with pytest.raises(StoreUnusable):
        do_all(
            [
                lambda: fail(AWAY),
                lambda: done.append("first"),
                lambda: fail(full),
                lambda: done.append("last"),
            ]
        )
    assert done == ["first", "last"]

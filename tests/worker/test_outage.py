"""A store that is away for a while, as the worker sees it."""

from __future__ import annotations

import pytest

from orchestrator.core.errors import StoreUnavailable, StoreUnusable
from orchestrator.worker.outage import StoreOutage, do_all
from tests.support.virtual import Notebook

AWAY = StoreUnavailable("the session was cut")


def test_an_outage_is_told_once_when_it_begins_and_once_when_it_ends() -> None:
    """However often the store is asked in between."""
    notebook = Notebook()
    outage = StoreOutage(notebook, patience=60.0)
    assert not outage.note_answer()
    for now in (10.0, 11.0, 12.0):
        outage.note_failure(AWAY, now)
    assert outage.note_answer()
    assert not outage.note_answer()
    assert [event.name for event in notebook.events] == ["store.unavailable", "store.back"]


def test_patience_counts_from_the_first_failure_since_the_last_answer() -> None:
    """An answer in between begins it anew."""
    outage = StoreOutage(Notebook(), patience=60.0)
    assert [outage.note_failure(AWAY, now) for now in (0.0, 59.0, 60.0)] == [False, False, True]
    outage.note_answer()
    assert not outage.note_failure(AWAY, 70.0)


def test_what_comes_after_a_failure_is_done_all_the_same() -> None:
    """The last failure is raised in the end."""
    done: list[str] = []

    def fail(error: StoreUnavailable | StoreUnusable) -> None:
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

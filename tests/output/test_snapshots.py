"""The list of snapshots that still exist."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from orchestrator.core.errors import UsageError
from orchestrator.output.snapshots import (
    SnapshotFilter,
    choose_shown,
    find_snapshots,
    snapshots_documents,
    snapshots_table,
)
from orchestrator.windows.durations import DAY
from tests.support.reports import START
from tests.support.shelf import Shelf, shelf

BERLIN = ZoneInfo("Europe/Berlin")


def found(store: Shelf, *, most: int = 50, **words: Any) -> list[str]:
    wanted = SnapshotFilter(**words)
    shown, _ = choose_shown(find_snapshots(store, wanted), wanted, most)  # type: ignore[arg-type]  # as much as is read
    return [one.result.task.test_id for one in shown]


def test_a_list_has_what_still_exists_and_ends_first_on_top() -> None:
    """What ThousandEyes has deleted by now is not listed."""
    assert found(shelf(1, 31, 29, 5)) == ["202703", "202704", "202701"]


def test_a_list_is_narrowed_by_when_and_until_when() -> None:
    """By when they were made, and by how soon they are deleted."""
    now = START + 40 * DAY
    assert found(shelf(1, 29, 5), made_since=now - 6 * DAY) == ["202703", "202701"]
    assert found(shelf(1, 29, 5), within=7 * DAY) == ["202702"]


@pytest.mark.parametrize("test", ["202702", "payments", "PAY", "pay*2"])
def test_a_list_is_narrowed_by_test(test: str) -> None:
    """By id, by a part of the name, or by a pattern, whatever the case."""
    assert found(shelf(1, 2, 3), test=test) == ["202702"]


def test_a_bracket_in_a_tests_name_is_a_bracket() -> None:
    """As in every other pattern for names: only * and ? stand for anything."""
    store = shelf(1, 2)
    run_id, first = store.made[0]
    store.made[0] = (run_id, replace(first, task=replace(first.task, test_name="Checkout [EU]")))
    assert found(store, test="*[eu]") == [first.task.test_id]
    assert found(store, test="*[a-z]") == []


def test_a_list_asks_the_store_for_no_more_than_it_needs() -> None:
    """What was made since; an organization is called what it was called in the run that made them."""
    store = shelf(1)
    assert found(store, organization="acm*", made_since=START + 10 * DAY) == ["202701"]
    assert store.asked == {"settled_since": START + 9 * DAY}
    assert found(store, organization="globex") == []
    with pytest.raises(UsageError, match="knows no organization 'acem': it has acme"):
        found(store, organization="acem")


def test_a_list_is_text_or_records() -> None:
    """Each has the run, the link and when it is deleted."""
    store = shelf(1)
    rows = list(find_snapshots(store, SnapshotFilter()))  # type: ignore[arg-type]  # as above
    text = "\n".join(snapshots_table(rows, store.epoch(), BERLIN))
    assert "k7f2" in text
    assert "deleted by ThousandEyes on" in text
    assert "https://s0.share.thousandeyes.com" in text
    (record,) = snapshots_documents(rows, show_links=False)
    assert record["snapshot_id"] == "s0"
    assert not {"link", "job_name", "priority", "event"} & set(record)
    assert list(snapshots_table([], 0.0, BERLIN)) == ["no such snapshots"]

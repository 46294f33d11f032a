"""A report of results that are read from the store each time they are looked through."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import cast

import pytest

from orchestrator.core.errors import StoreUnavailable
from orchestrator.core.tasks import Result
from orchestrator.output.report.page import MOST_ON_A_PAGE, Report, StoredResults, load_results
from orchestrator.output.report.render import ReportFormat, print_report, render, write_report
from orchestrator.store.views import Views
from tests.support.reports import BERLIN, RUN, START, created, failed, pending, uncertain


class Looks:
    """As much of a store's views as a report looks through: what each look finds, the last of them also later."""

    def __init__(self, *looks: Sequence[Result]) -> None:
        self.tasks = len(looks[0])
        self._looks, self.count, self.read = looks, 0, 0

    def results(self, run_id: str) -> Iterator[Result]:
        assert run_id == RUN.id
        self.count += 1
        for one in self._looks[min(self.count, len(self._looks)) - 1]:
            self.read += 1
            yield one


def report(looks: Looks) -> Report:
    """A report of what is read from there."""
    results = StoredResults(cast("Views", looks), replace(RUN, tasks=looks.tasks))
    return Report(run=RUN, results=results, zone=BERLIN, now=START + 1500)


@pytest.mark.parametrize(("tasks", "looks_at_once"), [(MOST_ON_A_PAGE, 1), (MOST_ON_A_PAGE + 1, 0)])
def test_the_results_of_a_page_are_kept_and_more_are_not(tasks: int, looks_at_once: int) -> None:
    """Of a large run nothing is read before somebody looks, and its length is known all the same."""
    looks = Looks([created(0, 1.0)])
    found = load_results(cast("Views", looks), replace(RUN, tasks=tasks))
    assert looks.count == looks_at_once
    assert looks_at_once or len(found) == tasks


def test_what_is_made_is_written_as_it_is_read() -> None:
    """Between two of its rows nothing is read ahead, so that one of them is kept at a time."""
    looks = Looks([created(0, 1.0), failed(1, 2.0), *(created(number, 3.0) for number in range(2, 30))])
    read = []

    class Written(io.StringIO):
        def write(self, text: str) -> int:
            read.append(looks.read)
            return super().write(text)

    print_report(report(looks), Written(), ReportFormat.CSV)
    _head, *rows = read
    assert len(rows) == 30
    assert max(after - before for before, after in pairwise(rows)) == 2  # once it passes over what it told


def test_each_result_comes_once_while_a_live_run_goes_on() -> None:
    """A task that is made between the two looks is told as the first one found it."""
    before = [created(0, 1.0), failed(1, 1.0), uncertain(2, 1.0), pending(3)]
    after = [created(number, 9.0) for number in range(4)]
    places = [one.task.position for one in report(Looks(before, after)).failures_first()]
    assert places == [1, 2, 3, 0]
    looks = Looks(before, after)
    assert [one.task.position for one in report(looks).failures_first(settled=True)] == [1, 2, 0, 3]


def test_rows_are_the_same_whether_the_results_are_kept_or_not() -> None:
    """In the same order."""
    results = [created(0, 1.0), failed(1, 1.0), created(2, 1.0), uncertain(3, 1.0), pending(4)]
    kept = replace(report(Looks(results)), results=tuple(results))
    for kind in (ReportFormat.CSV, ReportFormat.TABLE, ReportFormat.JSONL):
        assert render(report(Looks(results)), kind) == render(kept, kind)
    rows = list(csv.DictReader(io.StringIO(render(kept, ReportFormat.CSV))))
    assert [row["test_id"] for row in rows] == ["202702", "202704", "202701", "202703"]


class Failing(Looks):
    """A store that fails when the results are looked through for the second time."""

    def results(self, run_id: str) -> Iterator[Result]:
        yield from super().results(run_id)
        if self.count > 1:
            raise StoreUnavailable("the store is away")


def test_a_file_is_left_as_it_was_when_the_store_fails_half_way(tmp_path: Path) -> None:
    """Nor is a part of the new one left beside it."""
    target = tmp_path / "run.csv"
    target.write_text("the one of yesterday")
    with pytest.raises(StoreUnavailable):
        write_report(str(target), report(Failing([created(0, 1.0)])))
    assert [path.name for path in tmp_path.iterdir()] == ["run.csv"]
    assert target.read_text() == "the one of yesterday"

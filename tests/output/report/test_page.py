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
from orchestrator.core.starts import Start
from orchestrator.core.tasks import Reason, RefusedOrganization, Result, RunState
from orchestrator.output.report.page import (
    MOST_ON_A_PAGE,
    MOST_REFUSED,
    Report,
    StoredResults,
    join_reports,
    load_results,
)
from orchestrator.output.report.render import ReportFormat, print_report, render, write_report
from orchestrator.store.views import Views
from tests.support.reports import ACME, BERLIN, RUN, START, created, failed, pending, uncertain


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


# -- above everything --------------------------------------------------------------------------------------

REFUSED = (
    RefusedOrganization(
        name="globex", reason=Reason.TOKEN_MISSING, text="its token file has <nothing> in it"
    ),
    RefusedOrganization(name="initech", reason=Reason.TOO_FEW_TESTS, text="no test matches"),
)

KILLED = Start(job="nightly", command="run", user="alice", host="host-1", began_at=START)

ENDED = KILLED._replace(ended_at=START + 60, exit_code=4, last_line="12 pending (token refused)")


def left_out(start: Start | None = None) -> Report:
    """A report of a run that leaves two organizations out."""
    run = replace(RUN, refused=REFUSED)
    return Report(run=run, results=(created(0, 1.0),), zone=BERLIN, now=START + 1500, start=start)


@pytest.mark.parametrize("kind", [ReportFormat.TABLE, ReportFormat.MD, ReportFormat.HTML])
def test_whom_nothing_was_made_for_stands_above_everything(kind: ReportFormat) -> None:
    """With its reason, once; and how the last process ended, where that was not well."""
    text = render(left_out(ENDED), kind)
    place = text.index("globex is refused (token missing")
    assert place < text.index("initech is refused (too few tests") < text.index("exit code 4: 12 pending")
    name = str(created(0, 1.0).task.test_name)
    assert kind is ReportFormat.TABLE or place < text.index(
        name
    )  # a table's rows are written as they are read
    assert "<nothing>" not in text or kind is ReportFormat.TABLE
    assert "2 organizations REFUSED: globex and initech" in left_out().headline


def test_an_end_that_was_well_is_not_worth_a_word() -> None:
    """Nor is that of a run at which a process is at work; one that was killed is."""
    assert len(left_out(ENDED._replace(exit_code=0)).banner) == 2
    assert len(replace(left_out(ENDED), live=True).banner) == 2
    assert "was killed, or its machine went down" in left_out(KILLED).banner[2]


def test_a_banner_has_its_bound() -> None:
    """Of four hundred organizations without a token some are explained, the others counted."""
    run = replace(RUN, refused=tuple(REFUSED[0]._replace(name=f"customer-{number}") for number in range(400)))
    told = Report(run=run, results=(), zone=BERLIN, now=START).banner
    assert (len(told), told[-1]) == (MOST_REFUSED + 1, f"and {400 - MOST_REFUSED} more organizations")


def test_a_customer_sees_nothing_of_anothers_trouble_nor_who_ran_it() -> None:
    """Its own refusal is all there is of it: local names are nobody's business."""
    own = left_out(ENDED).only("globex")
    assert [line.partition(" ")[0] for line in own.banner] == ["globex"]
    text = render(own, ReportFormat.HTML)
    assert [word in text for word in ("initech", "alice", "host-1")] == [False, False, False]


def test_the_runs_of_an_incident_are_one_report() -> None:
    """Each snapshot once, as the latest run has it, with the commands of all of them."""
    first, second = (
        Report(
            run=replace(RUN, id=run_id, state=RunState.ACTIVE),
            results=results,
            zone=BERLIN,
            now=START + 1500,
            reasons={ACME: "token_refused"},
        )
        for run_id, results in (("aaaa", (pending(0), pending(1))), ("bbbb", (created(0, 1.0), pending(2))))
    )
    both = join_reports([first, second])
    assert (both.counts.created, both.counts.pending, both.run.id) == (1, 2, "bbbb")
    assert [command for _, command in both.commands] == ["tesnap resume bbbb", "tesnap resume aaaa"]
    assert join_reports([first]) is first

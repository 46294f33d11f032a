"""The HTML report in a real browser: what a reader sees is what the store has, wide and narrow, light and dark."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from orchestrator.core.tasks import Status
from orchestrator.output.report.page import Report
from orchestrator.output.report.render import write_report
from tests.support.browser import Browser, browser, find_browser
from tests.support.programs import skip_outside_ci
from tests.support.reports import RUN, START, mixed

pytestmark = pytest.mark.process

LINKS = "[...document.querySelectorAll('a')].map(a => a.href)"
ROWS = "[...document.querySelectorAll('tbody tr:not(.cause)')].map(r => r.className + ' ' + r.querySelector('.name').innerText)"
LANES = "[...document.querySelectorAll('.lane')].map(l => [l.querySelector('summary').innerText.split(' ')[0], l.querySelectorAll('.row').length])"
OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
ON_PAPER = "[...document.querySelectorAll('svg .row rect, svg .row circle')].every(m => { const b = m.getBoundingClientRect(), s = m.ownerSVGElement.getBoundingClientRect(); return b.width > 0 && b.left >= s.left - 6 && b.right <= s.right + 6 && b.bottom <= s.bottom; })"
HEADS = "[...document.querySelectorAll('thead tr')].map(row => [...row.querySelectorAll('th')].map(h => { const r = document.createRange(); r.selectNodeContents(h); const b = r.getBoundingClientRect(); return [b.left, b.right, b.top]; }))"
BACKGROUND = "getComputedStyle(document.body).backgroundColor"


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Browser, Path]]:
    program = find_browser()
    if program is None:
        skip_outside_ci("no Chromium on this machine: install chromium, or name one in CHROMIUM")
    assert program is not None
    path = tmp_path_factory.mktemp("report") / "report.html"
    write_report(
        str(path), Report(run=RUN, results=tuple(mixed()), zone=ZoneInfo("Europe/Berlin"), now=START + 1500)
    )
    with browser(program, tmp_path_factory.mktemp("profile")) as found:
        yield found, path


@pytest.mark.parametrize("width", [400, 1400])
@pytest.mark.parametrize("dark", [False, True])
def test_a_reader_sees_what_the_store_has(opened: tuple[Browser, Path], width: int, dark: bool) -> None:
    """Every link, row and mark of the timeline is there, in both widths and both schemes, and nothing sticks out."""
    page, path = opened
    page.open(path, width=width, dark=dark)
    assert sorted(page.ask(LINKS)) == sorted(one.snapshot.link or "" for one in mixed() if one.snapshot)
    words = {Status.CREATED: "created", Status.QUEUED: "pending"}
    wanted = [
        f"{words.get(one.status, one.status.value) if one.made_here else 'existing'} {one.task.test_name}"
        for one in mixed()
    ]
    assert sorted(page.ask(ROWS)) == sorted(wanted)
    assert page.ask(LANES) == [["acme", 16], ["globex", 7]]
    assert page.ask(OVERFLOW) <= 0
    assert page.ask(ON_PAPER) is True
    assert page.ask(BACKGROUND) == ("rgb(17, 22, 28)" if dark else "rgb(255, 255, 255)")


def test_the_page_asks_for_nothing_but_itself(opened: tuple[Browser, Path]) -> None:
    """No request leaves, and the browser finds nothing that the page's own policy forbids."""
    page, path = opened
    page.open(path, width=1400)
    assert page.requested() == [path.resolve().as_uri()]
    assert page.complaints() == []


def test_on_paper_the_heads_of_a_table_stand_side_by_side(opened: tuple[Browser, Path]) -> None:
    """A page of A4 is narrower than a small window, and is laid out as a wide one all the same."""
    page, path = opened
    page.open(path, width=688, printed=True)
    heads = page.ask(HEADS)
    assert heads
    for row in heads:
        assert len({top for _, _, top in row}) == 1
        assert all(left[1] < right[0] for left, right in itertools.pairwise(row))
    page.open(path, width=1400)

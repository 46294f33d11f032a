"""Looking at a store with a long history, or starting a run in it, beside a store with a short one."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.row import Row, milliseconds
from benchmarks.server import Settings, served
from benchmarks.whole import STANDARD, spend, write_jobfile
from orchestrator.core import SystemClock
from tests.support.history import LongHistory
from tests.support.incident import install

COMMANDS: dict[str, tuple[str, ...]] = {
    "runs": ("runs",),
    "status": ("status",),
    "report": ("report",),
    "list": ("list",),
    "status of the first run": ("status", "h0"),
}
"""The commands that only look, by their names in the table."""

STANDARD_HISTORY = LongHistory()
NEW = 15
"""Snapshots of the run that is started beside a history."""
LENGTHS = ("1h", "2h", "4h", "6h", "12h")
"""Of the windows, one for each round: what a run makes, no run before it has made.

There are several rounds, since on a busy machine one time differs from the next by a fifth.
"""


def rows(folder: Path, long: LongHistory = STANDARD_HISTORY) -> Iterator[Row]:
    """Each command on a store with one run and on one with a long history; the server is the same."""
    short = replace(long, runs=1)
    with served(Settings(tests=NEW)) as origin:
        place = install(folder)
        for history in (short, long):
            history.fill(_store(folder, history), f"{origin}/v7", SystemClock())
        for name, words in COMMANDS.items():
            look = partial(_look, place, words)
            yield _row(f"`tesnap {name}`", long, _measure(look, folder, short, long), target="1.5")
        took = _measure(partial(_start, place, origin), folder, short, long)
        yield _row(f"`tesnap run` of {NEW}", long, took, target="1.2")


def _row(name: str, long: LongHistory, took: tuple[float, float], *, target: str) -> Row:
    few, many = took
    return Row(
        name=f"{name}, CPU, with {long.runs} runs of {long.tasks:,} in the store",
        figure=milliseconds(many),
        ratio=many / few,
        to="with one",
        target=target,
    )


def _measure(
    act: Callable[[str, str], float], folder: Path, short: LongHistory, long: LongHistory
) -> tuple[float, float]:
    """The median for each store; in turns, so that what else the machine does hits both alike."""
    took = [[act(_store(folder, one), last) for one in (short, long)] for last in LENGTHS]
    few, many = map(statistics.median, zip(*took, strict=True))
    return few, many


def _store(folder: Path, history: LongHistory) -> str:
    return f"sqlite:///{folder}/history-{history.runs}.db"


def _look(place: Path, words: Sequence[str], store: str, _: str) -> float:
    return spend([sys.executable, "-m", "orchestrator", *words, "--store", store], place).cpu


def _start(place: Path, origin: str, store: str, last: str) -> float:
    """A run of snapshots that no run before it has made: each time of a longer window."""
    with TemporaryDirectory(dir=place) as home:
        jobs = write_jobfile(Path(home), origin, 1, NEW, STANDARD)
        jobs.write_text(jobs.read_text("utf-8").replace("last: 1h", f"last: {last}"), "utf-8")
        return _look(place, ("run", f"{jobs}", "--json", "--quiet"), store, last)

"""Looking at a store with a long history, or starting a run in it, beside a store with a short one."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.row import Row, milliseconds
from benchmarks.server import Settings, served
from benchmarks.whole import STANDARD, Spent, spend, write_jobfile
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


def rows(folder: Path, long: LongHistory = STANDARD_HISTORY) -> Iterator[Row]:
    """Each command on a store with one run and on one with a long history; the server is the same."""
    short = replace(long, runs=1)
    with served(Settings(tests=NEW)) as origin:
        place = install(folder)
        for history in (short, long):
            history.fill(_store(folder, history), f"{origin}/v7", SystemClock())
        for name, words in COMMANDS.items():
            looks = [_look(place, _store(folder, one), words) for one in (short, long)]
            yield _row(f"`tesnap {name}`", long, looks, target="1.5")
        starts = [_start(place, origin, one) for one in (short, long)]
        yield _row(f"`tesnap run` of {NEW}", long, starts, target="1.2")


def _row(name: str, long: LongHistory, spent: Sequence[Spent], *, target: str) -> Row:
    few, many = spent
    return Row(
        name=f"{name}, CPU, with {long.runs} runs of {long.tasks:,} in the store",
        figure=milliseconds(many.cpu),
        ratio=many.cpu / few.cpu,
        to="with one",
        target=target,
    )


def _store(folder: Path, history: LongHistory) -> str:
    return f"sqlite:///{folder}/history-{history.runs}.db"


def _look(place: Path, store: str, words: Sequence[str]) -> Spent:
    return spend([sys.executable, "-m", "orchestrator", *words, "--store", store], place)


def _start(place: Path, origin: str, history: LongHistory) -> Spent:
    with TemporaryDirectory(dir=place) as home:
        jobs = write_jobfile(Path(home), origin, 1, NEW, STANDARD)
        return _look(place, _store(place, history), ["run", f"{jobs}", "--json", "--quiet"])

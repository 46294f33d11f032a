"""The store's clock beside those of the machines at work, so that a step of it is noticed by who lives later."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from orchestrator.core import Clock
from orchestrator.store import sql
from orchestrator.store.database import Database

KEPT = 86400.0
"""Seconds for which another machine's reading is kept: by far longer than any slot is out."""


class ClockReading(NamedTuple):
    """One machine's clocks and the store's (`at`) at one moment; `boot` counts from the machine's start `boot_id`."""

    boot_id: str
    boot: float
    wall: float
    at: float


class ClockReadings:
    """The latest reading of each machine, as its processes noted it; none where the store has no clock of its own."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def note(self, clock: Clock) -> None:
        """Read this machine's clocks and the store's, and keep them instead of the reading before."""
        if self._database.own_clock:
            return
        with self._database.write() as tx:
            boot, wall, at = clock.boot(), clock.wall(), tx.now()
            reading = {"boot_id": clock.boot_id(), "boot": boot, "wall": wall, "at": at}
            tx.finish([(sql.DROP_CLOCKS, {"before": at - KEPT}), (sql.NOTE_CLOCK, reading)])

    def noted(self) -> Sequence[ClockReading]:
        """The latest reading of each machine, the latest of all by the store's clock first."""
        with self._database.read() as tx:
            return [ClockReading(**row) for row in tx.rows(sql.CLOCKS)]

"""A store that has only what a report and a list of snapshots read."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from orchestrator.core.jobs import Limit
from orchestrator.core.starts import Start
from orchestrator.core.tasks import Counts, Result, Snapshot
from orchestrator.ratelimit.bucket import Bucket
from orchestrator.store.history import MadeSnapshot
from orchestrator.store.views import RunView, ServingProcess
from orchestrator.windows.durations import DAY
from tests.support.clock import VirtualClock
from tests.support.reports import (
    ACME,
    NAMES,
    RUN,
    START,
    created,
)


class Shelf:
    """As much of a store as the commands read."""

    def __init__(self, made: Iterable[tuple[str, Result]], now: float) -> None:
        self.made, self.clock = list(made), VirtualClock(wall=now)
        self.asked: dict[str, object] = {}
        self.views = self.history = self.organizations = self.starts = (
            self  # the parts of a store; no two of their methods share a name
        )

    def find_run(self, text: str) -> object:
        return RUN

    def results(self, run_id: str) -> Iterable[Result]:
        return (result for _, result in self.made)

    def run(self, run_id: str) -> RunView:
        return RunView(run=RUN, counts={ACME: Counts(created=len(self.made))})

    def serving_processes(self, run_id: str) -> dict[str, list[ServingProcess]]:
        return {}

    def reasons(self, run_id: str) -> dict[str, str]:
        return {}

    def last_of(self, run_ids: Iterable[str]) -> dict[str, Start]:
        return {}

    def bucket(self, organization: str) -> Bucket:
        return Bucket(tokens=(), held={}, last_limit=Limit(per=3.0, guard=0.01))

    def epoch(self) -> float:
        return self.clock.wall()

    def names(self) -> dict[str, str]:
        return NAMES

    def snapshots(self, *, settled_since: float = 0.0) -> Iterable[MadeSnapshot]:
        self.asked = {"settled_since": settled_since}
        return (MadeSnapshot(run_id=run_id, result=result, made_again=None) for run_id, result in self.made)


def shelf(*days_ago: float) -> Shelf:
    """A store whose snapshots were made so long ago."""
    now = START + 40 * DAY
    made = []
    for number, days in enumerate(days_ago):
        plain = created(number, 0)
        snapshot = Snapshot(
            id=f"s{number}", link=plain.snapshot.link if plain.snapshot else None, shared_at=now - days * DAY
        )
        made.append(("k7f2", replace(plain, snapshot=snapshot)))
    return Shelf(made, now)

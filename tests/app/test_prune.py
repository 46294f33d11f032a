"""Old runs that are forgotten at the end of a run: for its own job, for a minute, and never the run's trouble."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import cast

from orchestrator.app.prune import AFTER_A_RUN, forget_after_run
from orchestrator.core import Event, JobFile, StoreUnavailable, SystemClock
from orchestrator.store import Store, open_store
from tests.support.clock import VirtualClock
from tests.support.history import LongHistory

LONG = LongHistory(runs=450, tasks=4, organizations=2)
PLAIN = JobFile(name="nightly", jobs=(), organizations={})
PRUNING = replace(PLAIN, prune_after=400.5 * 86_400.0)


class HurriedClock(VirtualClock):
    """Each look at it costs a third of what may be spent."""

    def boot(self) -> float:
        self.advance(AFTER_A_RUN / 3)
        return super().boot()


class AwayStore:
    """A store that does not answer."""

    def epoch(self) -> float:
        raise StoreUnavailable("store.db: it is away")


def told(
    store: Store, jobfile: JobFile, clock: VirtualClock | None = None, *, stop: bool = False
) -> list[Event]:
    return list(forget_after_run(store, jobfile, clock=clock or VirtualClock(), stop=lambda: stop))


def test_it_takes_a_minute_at_most_and_the_next_one_goes_on(tmp_path: Path) -> None:
    """Without the key, or when the command is to end, nothing is done; with nothing left to do nothing is said."""
    LONG.fill(f"sqlite:///{tmp_path}/store.db", "https://api.example.com/v7", SystemClock())
    with closing(open_store(f"sqlite:///{tmp_path}/store.db", clock=SystemClock())) as store:
        assert told(store, PLAIN) == []
        assert told(store, PRUNING, stop=True) == []
        (some,) = told(store, PRUNING, HurriedClock())
        assert some.text.startswith("forgotten, as prune_after says: 3 runs, 15 snapshots")
        (rest,) = told(store, PRUNING)
        assert (rest.name, rest.level) == ("store.pruned", "info")
        assert rest.text.startswith("forgotten, as prune_after says: 4")
        assert told(store, PRUNING) == []
        assert told(store, replace(PRUNING, name="another")) == []


def test_a_store_that_fails_is_a_warning() -> None:
    """The run itself has ended as it did."""
    (event,) = told(cast("Store", AwayStore()), PRUNING)
    assert (event.name, event.level) == ("store.not_pruned", "warning")
    assert event.text == "old runs were not forgotten: store.db: it is away; the run itself is not affected"

"""Forgetting old runs: each is archived first if that is wanted, then forgotten step by step."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from orchestrator.core import Clock, Event, JobFile, TesnapError
from orchestrator.output import Archive, forgotten_text
from orchestrator.store import Forgotten, RunSummary, Store

AFTER_A_RUN = 60.0
"""Seconds for which a run forgets old ones at its end: whoever waits for it waits for that. The next one goes on."""


def forget_runs(
    store: Store,
    old: Sequence[RunSummary],
    before: float,
    *,
    job: str | None = None,
    archive: Archive | None = None,
    private: bool = False,
    stop: Callable[[], bool] = lambda: False,
) -> Forgotten:
    """Forget these runs with what was settled before this moment (epoch seconds), until all is done or it is to `stop`.

    Nothing of a run is forgotten before the archive's disk has it. The starts that came to no run, of one job or of all,
    go last.
    """
    forgotten = Forgotten()
    for step in _forget_in_steps(store, old, before, archive, private=private):
        forgotten += step
        if stop():
            return forgotten
    store.pruning.forget_starts(before=before, job=job)
    return forgotten


def _forget_in_steps(
    store: Store, old: Sequence[RunSummary], before: float, archive: Archive | None, *, private: bool
) -> Iterator[Forgotten]:
    for one in old:
        if archive is not None:
            archive.add(one.run, store.views.results(one.run.id), one.total)
            yield Forgotten()
        yield from store.pruning.forget(one.run.id, before=before, private=private)
    if private:
        yield from store.pruning.forget_stubs(before=before)


def forget_after_run(
    store: Store, jobfile: JobFile, *, clock: Clock, stop: Callable[[], bool]
) -> Iterator[Event]:
    """Forget the old runs of a job file's own job, if it says so; what fails here is a warning, never the run's."""
    if jobfile.prune_after is None or stop():
        return
    ends = clock.boot() + AFTER_A_RUN
    try:
        before = store.epoch() - jobfile.prune_after
        old = store.pruning.find_old(before, job=jobfile.name)
        found = forget_runs(store, old, before, job=jobfile.name, stop=lambda: stop() or clock.boot() > ends)
    except TesnapError as error:
        text = f"old runs were not forgotten: {error}; the run itself is not affected"
        yield Event(name="store.not_pruned", text=text, level="warning")
        return
    if found.tasks or found.runs:
        text = f"forgotten, as prune_after says: {forgotten_text(found)}"
        yield Event(name="store.pruned", text=text, level="info")

"""Runs: freezing a plan under a run id, trying again what failed, and how a run ends."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from orchestrator.core import Run, RunState, Task, UsageError
from orchestrator.store import freezing, history_sql, loss, organizations, sql
from orchestrator.store.database import Claim, Database, Row
from orchestrator.store.freezing import SOME, Freezing, OnEnded
from orchestrator.store.leases import queue_all_afresh
from orchestrator.store.views import load_run


class Runs:
    """The runs of a store, as those who start and end them change them."""

    def __init__(self, database: Database, register: Callable[[], Claim]) -> None:
        self._database, self._register = database, register

    def start(
        self, run: Run, tasks: Iterable[Task], *, again: bool = False, on_ended: OnEnded | None = None
    ) -> Run:
        """Freeze a plan under its run id, all or nothing, in the order in which its tasks come; a run that exists is returned as it is.

        A task is matched with the latest generation of the same snapshot: created and not gone (by `Store.epoch()` and
        the saved events that were listed), uncertain or being worked on: the run refers to it; created and gone, or
        `again`: a new generation; failed: queued again. `on_ended` hears of saved events that may be gone.

        Raises `UsageError` when the run id belongs to another job name, and `RunBeingPlanned` while another process
        stores the run's plan.
        """
        planner = self._register().owner
        if freezing.begin(self._database, run, planner):
            plan = Freezing(self._database, run.id, planner, again=again, on_ended=on_ended)
            plan.add(tasks)
            plan.complete()
        with self._database.read() as tx:
            known = load_run(tx, run.id)
        if known.job != run.job:
            raise UsageError(
                f"run {run.id} belongs to the job {known.job!r}, not to {run.job!r}: choose another run id"
            )
        freezing.take_up(self._database, run.id)
        with self._database.read() as tx:
            return load_run(tx, run.id)

    def look_again(self, run_id: str) -> None:
        """Have evidence for the run's uncertain tasks looked for once more, as when a run starts."""
        freezing.take_up(self._database, run_id)  # whoever stored the plan may have died before that
        with self._database.write() as tx:
            tx.change(sql.LOOK_AGAIN, run=run_id)

    def retry_failed(self, run_id: str) -> int:
        """Queue again what failed when it was sent, some at a time; how many. A finished run is active again, a cancelled one is not."""
        retried, after = 0, -1
        while failed := self._retry_some(run_id, after):
            retried, after = retried + len(failed), failed[-1]["position"]
            if len(failed) < SOME:
                break
        return retried

    def _retry_some(self, run_id: str, after: int) -> list[Row]:
        """Queue again the first tasks that failed behind a place in the plan; these."""
        where = {"run": run_id, "after": after, "some": SOME}
        with self._database.write() as tx:
            failed = organizations.lock_rows(tx, lambda: tx.rows(sql.FAILED_TASKS, **where))
            if failed:
                queue_all_afresh(tx, ((row, {}) for row in failed), now=tx.now(), epoch=tx.epoch())
                tx.change(sql.REVIVE_RUN, run=run_id)
        return failed

    def end(self, run_id: str, state: RunState) -> None:
        """Set a run's state.

        It finishes only while it is active and nothing of it is pending: somebody may have queued a task of it
        again since it was looked at. That writes the run's row after the task, and waits for the lock that this has.
        """
        with self._database.write() as tx:
            if state is RunState.FINISHED:
                tx.row(sql.LOCK_RUN, run=run_id)
                if tx.change(sql.FINISH_RUN, run=run_id):
                    tx.change(history_sql.KEEP_COUNTS, run=run_id)
                    tx.change(loss.END_LOSS, run=run_id, wall=tx.epoch())
            else:
                tx.change(sql.SET_STATE, run=run_id, state=state.value)

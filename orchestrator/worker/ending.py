"""How a run ended for one worker: why what is pending is, and the exit code."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from orchestrator.core import ExitCode, Reason, Run, RunState
from orchestrator.store import RunView
from orchestrator.worker.organization import ServedOrganizations


def exit_code(view: RunView, lanes: ServedOrganizations, *, early: bool) -> ExitCode:
    """The first that is true of cancelled, stopped `early`, refused, not all made, done."""
    counts, over = view.total, view.run.state is RunState.FINISHED
    if view.run.state is RunState.CANCELLED:
        return ExitCode.NOT_ALL_MADE
    if early or any(lane.stopped is Reason.API_UNREACHABLE for lane in lanes):
        return ExitCode.STOPPED_EARLY
    if (counts.pending and not over) or any(lane.stopped is not None for lane in lanes):
        return ExitCode.REFUSED
    whole = not (counts.failed or counts.uncertain or counts.pending)
    return ExitCode.DONE if whole else ExitCode.NOT_ALL_MADE


def reasons(view: RunView, lanes: ServedOrganizations, *, stopping: bool) -> dict[str, str]:
    """Why an organization's tasks are pending, by its identity; of those that have any."""
    given_up = _given_up(view.run)
    pending = [identity for identity, counts in view.counts.items() if counts.pending]
    return {one: given_up or _why(lanes, one, stopping=stopping) for one in pending}


def numbered(why: Mapping[str, str], view: RunView) -> dict[str, int]:
    """How many tasks are pending for which reason."""
    numbers: Counter[str] = Counter()
    for identity, reason in why.items():
        numbers[reason] += view.counts[identity].pending
    return dict(numbers)


def _given_up(run: Run) -> str | None:
    if run.state is RunState.CANCELLED:
        return run.state.value
    return Reason.OTHER_RUN.value if run.state is RunState.FINISHED else None


def _why(lanes: ServedOrganizations, identity: str, *, stopping: bool) -> str:
    lane = lanes.find(identity)
    if lane is None:
        return Reason.TOKEN_REFUSED.value
    if lane.stopped is not None:
        return lane.stopped.value
    if lane.refused and not stopping:
        return Reason.PERMISSION_REFUSED.value
    return (lane.waiting or Reason.OWN_QUOTA).value

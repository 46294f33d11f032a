"""How a run ended for one worker: why tasks are still pending, and the exit code."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from orchestrator.core import Ending, ExitCode, Reason, RunState
from orchestrator.store import RunView
from orchestrator.worker.organization import ServedOrganizations


def pending_reasons(view: RunView, organizations: ServedOrganizations, *, stopping: bool) -> dict[str, str]:
    """The reason for which tasks are pending, by the identity of each organization that has any."""
    pending = [identity for identity, counts in view.counts.items() if counts.pending]
    if view.run.state is RunState.CANCELLED:
        return dict.fromkeys(pending, RunState.CANCELLED.value)
    if view.run.state is RunState.FINISHED:  # by another process
        return dict.fromkeys(pending, Reason.OTHER_RUN.value)
    return {one: _reason(organizations, one, stopping=stopping) for one in pending}


def make_ending(
    view: RunView,
    organizations: ServedOrganizations,
    reasons: Mapping[str, str],
    *,
    early: bool,
    seconds: float,
) -> Ending:
    """The ending of a run that was left as `view` has it, `early` or not, after so many seconds."""
    pending: Counter[str] = Counter()
    for identity, reason in reasons.items():
        pending[reason] += view.counts[identity].pending
    return Ending(
        run=view.run,
        counts=view.total,
        pending_reasons=dict(pending),
        reasons=reasons,
        exit_code=_exit_code(view, organizations, early=early),
        seconds=seconds,
    )


def _exit_code(view: RunView, organizations: ServedOrganizations, *, early: bool) -> ExitCode:
    """The first that is true of cancelled, stopped `early`, refused, not all made, done."""
    counts, over = view.total, view.run.state is RunState.FINISHED
    if view.run.state is RunState.CANCELLED:
        return ExitCode.NOT_ALL_MADE
    if early or any(served.stopped is Reason.API_UNREACHABLE for served in organizations):
        return ExitCode.STOPPED_EARLY
    if (counts.pending and not over) or any(served.stopped is not None for served in organizations):
        return ExitCode.REFUSED
    whole = not (counts.failed or counts.uncertain or counts.pending)
    return ExitCode.DONE if whole else ExitCode.NOT_ALL_MADE


def _reason(organizations: ServedOrganizations, identity: str, *, stopping: bool) -> str:
    served = organizations.find(identity)
    if served is None:
        return Reason.TOKEN_REFUSED.value
    if served.stopped is not None:
        return served.stopped.value
    if served.refusals.final and not stopping:
        return Reason.PERMISSION_REFUSED.value
    return (served.waiting or Reason.OWN_QUOTA).value

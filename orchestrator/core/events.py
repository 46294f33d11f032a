"""The news of a run while it goes on: values from the worker to whoever shows them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from orchestrator.core.tasks import Counts, Reason, Result, Run

TROUBLE = frozenset(
    {
        Reason.FOREIGN_QUOTA,
        Reason.API_UNREACHABLE,
        Reason.STORE,
        Reason.TOKEN_REFUSED,
        Reason.TOKEN_MISSING,
        Reason.PERMISSION_REFUSED,
        Reason.CONNECTION_REFUSED,
        Reason.NOT_THE_API,
        Reason.UNEXPECTED_SNAPSHOT,
        Reason.NOBODY_RUNNING,
    }
)
"""Reasons to wait that are warnings: they may need somebody to act."""

Urgency = tuple[bool, float, str]
"""The key by which waits are ordered: no trouble, the time until which, the name."""


def urgency(reason: Reason, until: float | None, organization: str) -> Urgency:
    """The order in which waits are told: trouble first, then what can go soonest."""
    return reason not in TROUBLE, until or math.inf, organization


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """The reason why tasks of one organization wait. Times are epoch seconds.

    `until` is when the next one can go and `done` about when the last will have gone; None where it
    depends on others. `left` counts the tasks that are not settled. Of a search for evidence, `done` is when it
    ends at the latest, and `left` is what is looked for.
    """

    organization: str
    reason: Reason
    until: float | None
    left: int
    done: float | None = None
    slots: int = 5

    @property
    def urgency(self) -> Urgency:
        """Its place among the waits that are told."""
        return urgency(self.reason, self.until, self.organization)


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Where a run is at one moment: `now` is epoch seconds.

    `waiting` are the most urgent waits in their order, `others` how many more organizations wait, by reason.
    """

    now: float
    counts: Counts
    waiting: Sequence[Waiting] = ()
    others: Mapping[Reason, int] = field(default_factory=dict)

    @property
    def organizations_waiting(self) -> int:
        """How many organizations wait, those that are named and the others."""
        return len(self.waiting) + sum(self.others.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a run ended: its counts, why how many are pending, and the exit code.

    `reasons` is why an organization's tasks are pending, by its identity. `unread` of the uncertain ones could not be
    looked for, since the list of tests was not to be had.
    """

    run: Run
    counts: Counts
    pending_reasons: dict[str, int]
    exit_code: int
    seconds: float
    reasons: Mapping[str, str] = field(default_factory=dict)
    unread: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something worth a log line: its name (a dotted word), a sentence for people, fields for machines."""

    name: str
    text: str
    level: str = "info"  # debug, info, warning, error
    fields: tuple[tuple[str, object], ...] = ()


class Observer(Protocol):
    """The side that shows a run: records on standard output, lines or a live view on standard error."""

    def on_start(self, run: Run, tasks: int) -> None:
        """The plan is frozen and stored."""

    def on_result(self, result: Result) -> None:
        """A task is settled, by whatever process: called once for each task of the run."""

    def on_event(self, event: Event) -> None:
        """Something worth telling, in between."""

    def on_progress(self, progress: Progress) -> None:
        """The counts and what the run waits for; called when these change, and regularly."""

    def on_end(self, ending: Ending) -> None:
        """The last word."""

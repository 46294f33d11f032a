"""The news of a run while it goes on: values from the worker to whoever shows them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from orchestrator.core.tasks import Counts, Reason, Result, Run


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Where a run is at one moment: `now` is epoch seconds."""

    now: float
    counts: Counts
    waiting: Sequence[Waiting] = ()


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

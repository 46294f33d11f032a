"""Saved events whose thirty days are over: counted by organization, and said."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from orchestrator.core import Existence, Task, plural


class EndedEvents:
    """The saved events of a plan that may have ended, as far as its tasks were looked up."""

    def __init__(self) -> None:
        self._seen: Counter[tuple[str, Existence]] = Counter()

    def add(self, task: Task, there: Existence) -> None:
        """Count the saved event of a task."""
        self._seen[task.organization_name, there] += 1

    def notes(self) -> Iterator[str]:
        """Those that are made again, and those that are treated as existing unseen."""
        for (name, there), count in self._seen.items():
            snapshots = plural(count, "saved event")
            if there is Existence.GONE:
                yield f"{name}: {snapshots} made over 30 days ago and no longer in the list of tests: made again"
            elif there is Existence.UNVERIFIED:
                yield (
                    f"{name}: {snapshots} made over 30 days ago may be gone, and the list of tests cannot be read: treated "
                    "as existing (unverified); --again makes new ones"
                )

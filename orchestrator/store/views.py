"""TODO."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from orchestrator.core import Counts, Limit, Reason, Run


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One process asking for a token of an organization, for a task of its run.

    `epoch` is the API's calendar (our wall clock corrected by the server's `Date`), by which windows
    end; `boot` the asking process's boot clock, read before the asking.
    """

    organization: str
    run_id: str
    limit: Limit
    timeout: float
    epoch: float
    boot: float = 0.0
    without: frozenset[tuple[str, bool]] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class RunView:
    """A run, its counts and its user's names by organization identity, and how many live processes serve it."""

    run: Run
    counts: Mapping[str, Counts] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)
    processes: int = 0

    @property
    def total(self) -> Counts:
        """Counts over all organizations."""
        return sum(self.counts.values(), Counts())


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """One live process at one organization of a run: the kinds refused it, and why it sends nothing at all."""

    refused: frozenset[tuple[str, bool]] = frozenset()
    stopped: Reason | None = None

"""The law, whatever happens: in any window of one period the server counts at most five requests."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from orchestrator.core.errors import LeaseLost
from orchestrator.core.tasks import Closing, Lease, Settlement
from tests.store.world import (
    BASE_URL,
    FAILED,
    LIMIT,
    TIMEOUT,
    UNCERTAIN,
    PostgresWorld,
    SqliteWorld,
    World,
    created,
    queued,
)
from tests.support.single import give_back, grant, mark_sending, settle

ENDINGS: dict[str, Callable[[Lease], Settlement]] = {
    "created": created,
    "failed": lambda _: FAILED,
    "503": lambda _: queued(retry_in=3.0),
    "429": lambda _: queued(answered=True, counts=False, closing=Closing(seconds=20.0)),
    "uncertain": lambda _: UNCERTAIN,
}


@dataclass(slots=True)
class Use:
    """A request: the server counts it once, between its first byte and its answer, or until it may not any more."""

    first: float
    last: float


class Law(RuleBasedStateMachine):
    """Grants, answers, silence, crashes and time in any order, by two processes."""

    def __init__(self, make_world: Callable[[], World]) -> None:
        super().__init__()
        self.world = make_world()
        self.acme = self.world.begin(200)
        self.other = self.world.open()
        self.idle: list[Lease] = []
        self.on_wire: dict[tuple[str, int, str], tuple[Lease, Use]] = {}
        self.uses: list[Use] = []

    def teardown(self) -> None:
        self.world.close()

    @rule(
        wait=st.sampled_from([0.0, 7.0, 90.0, 211.0, 301.0, 301.0]),
        latency=st.sampled_from([0.5, 20.0, 59.0]),
        endings=st.lists(st.sampled_from([*ENDINGS, "silence"]), min_size=1, max_size=6),
        by_other=st.booleans(),
    )
    def burst(self, wait: float, latency: float, endings: list[str], *, by_other: bool) -> None:
        """As many requests at once as there are endings for, as far as they are granted."""
        self.world.advance(wait)
        leases = [lease for _ in endings if (lease := self._granted(by_other=by_other))]
        sent = [lease for lease in leases if self._send(lease)]
        self.world.advance(latency)
        for lease, ending in zip(sent, endings, strict=False):
            self._end(lease, ending)

    @rule(by_other=st.booleans())
    def grant(self, *, by_other: bool) -> None:
        lease = self._granted(by_other=by_other)
        if lease is not None:
            self.idle.append(lease)

    @precondition(lambda self: self.idle)
    @rule(unsent=st.booleans())
    def go_on(self, *, unsent: bool) -> None:
        """A process that has been suspended since its grant."""
        lease = self.idle.pop(0)
        if unsent:
            self._quietly(lambda: give_back(self.world.store, lease))
        else:
            self._send(lease)

    @precondition(lambda self: self.on_wire)
    @rule(ending=st.sampled_from(sorted(ENDINGS)))
    def late_answer(self, ending: str) -> None:
        self._end(next(iter(self.on_wire.values()))[0], ending)

    @rule()
    def crash(self) -> None:
        self.world.crash(self.other)
        self.other = self.world.open()
        self.world.store.queue.recover()

    @rule()
    def learn(self) -> None:
        self.world.store.organizations.join(BASE_URL, "acme", "77")

    @invariant()
    def at_most_five_in_any_window(self) -> None:
        for start in (use.last for use in self.uses):
            inside = sum(1 for use in self.uses if use.last >= start and use.first < start + LIMIT.per)
            assert inside <= LIMIT.snapshots

    def _granted(self, *, by_other: bool) -> Lease | None:
        granted = grant((self.other if by_other else self.world.store), self.world.ask(self.acme))
        return granted if isinstance(granted, Lease) else None

    def _send(self, lease: Lease) -> bool:
        """Whether the first byte has left: not half the grace after the grant, and not without the commit."""
        now = self.world.store.now()
        if now - lease.granted_at >= LIMIT.grace / 2:
            self._quietly(lambda: give_back(self.world.store, lease))
            return False
        if not self._quietly(lambda: mark_sending(self.world.store, lease)):
            return False
        use = Use(first=now, last=lease.granted_at + TIMEOUT + LIMIT.grace)
        self.uses.append(use)
        self.on_wire[lease.owner, lease.attempt, lease.task.key] = lease, use
        return True

    def _end(self, lease: Lease, ending: str) -> None:
        if ending == "silence":
            return
        _, use = self.on_wire.pop((lease.owner, lease.attempt, lease.task.key))
        settlement = ENDINGS[ending](lease)
        if settlement.answered:
            use.last = min(use.last, self.world.store.now())
        self._quietly(lambda: settle(self.world.store, lease, settlement))

    def _quietly(self, act: Callable[[], None]) -> bool:
        """Whether the lease was still ours."""
        try:
            act()
        except LeaseLost:
            return False
        return True


def check(make_world: Callable[[], World], lives: int) -> None:
    """Hypothesis makes the machine itself: it is given the world by a class of its own."""

    class Here(Law):
        def __init__(self) -> None:
            super().__init__(make_world)

    run_state_machine_as_test(
        Here, settings=settings(max_examples=lives, stateful_step_count=12, deadline=None)
    )


def test_the_law_holds_on_sqlite() -> None:
    """Over many random lives of two processes."""
    with tempfile.TemporaryDirectory() as folder:
        numbers = itertools.count()
        check(lambda: SqliteWorld(Path(folder) / f"{next(numbers)}.db"), lives=30)


@pytest.mark.postgres
def test_the_law_holds_on_postgresql(postgres_url: str) -> None:
    """Fewer lives: the logic is the same, only the database differs."""
    check(lambda: PostgresWorld(postgres_url), lives=8)

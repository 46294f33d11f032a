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

from orchestrator.errors import LeaseLost
from orchestrator.model import Closing, Lease, Settlement
from tests.contract.world import (
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
        self.on_wire: list[tuple[Lease, Use]] = []
        self.uses: list[Use] = []

    def teardown(self) -> None:
        self.world.close()

    @rule(by_other=st.booleans())
    def grant(self, *, by_other: bool) -> None:
        granted = (self.other if by_other else self.world.store).grant(self.world.ask(self.acme))
        if isinstance(granted, Lease):
            self.idle.append(granted)

    @precondition(lambda self: self.idle)
    @rule(data=st.data())
    def send(self, data: st.DataObject) -> None:
        lease = self.idle.pop(data.draw(st.integers(0, len(self.idle) - 1)))
        now = self.world.store.now()
        if now - lease.granted_at >= LIMIT.grace / 2:
            self._quietly(lambda: self.world.store.give_back(lease))
        elif self._quietly(lambda: self.world.store.sending(lease)):
            use = Use(first=now, last=lease.granted_at + TIMEOUT + LIMIT.grace)
            self.uses.append(use)
            self.on_wire.append((lease, use))

    @precondition(lambda self: self.on_wire)
    @rule(data=st.data(), ending=st.sampled_from(sorted(ENDINGS)))
    def settle(self, data: st.DataObject, ending: str) -> None:
        lease, use = self.on_wire.pop(data.draw(st.integers(0, len(self.on_wire) - 1)))
        settlement = ENDINGS[ending](lease)
        if settlement.answered:
            use.last = min(use.last, self.world.store.now())
        self._quietly(lambda: self.world.store.settle(lease, settlement))

    @precondition(lambda self: self.idle)
    @rule(data=st.data())
    def give_back(self, data: st.DataObject) -> None:
        lease = self.idle.pop(data.draw(st.integers(0, len(self.idle) - 1)))
        self._quietly(lambda: self.world.store.give_back(lease))

    @rule(seconds=st.sampled_from([0.5, 7.0, 40.0, 90.0, 211.0, 300.0, 301.0]))
    def pass_time(self, seconds: float) -> None:
        self.world.advance(seconds)

    @rule()
    def crash(self) -> None:
        self.world.crash(self.other)
        self.other = self.world.open()
        self.world.store.recover()

    @rule()
    def learn(self) -> None:
        self.world.store.join(BASE_URL, "acme", "77")

    @invariant()
    def at_most_five_in_any_window(self) -> None:
        for start in (use.last for use in self.uses):
            inside = sum(1 for use in self.uses if use.last >= start and use.first < start + LIMIT.per)
            assert inside <= LIMIT.snapshots

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
        Here, settings=settings(max_examples=lives, stateful_step_count=40, deadline=None)
    )


def test_the_law_holds_on_sqlite() -> None:
    """Over many random lives of two processes."""
    with tempfile.TemporaryDirectory() as folder:
        numbers = itertools.count()
        check(lambda: SqliteWorld(Path(folder) / f"{next(numbers)}.db"), lives=40)


@pytest.mark.postgres
def test_the_law_holds_on_postgresql(postgres_url: str) -> None:
    """Fewer lives: the logic is the same, only the database differs."""
    check(lambda: PostgresWorld(postgres_url), lives=8)

"""A run of forty as process 1 of a container, told to stop in each state of its tasks, and the same command once more."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from orchestrator.simulator import LoggedRequest
from tests.container.engine import Container, Ended, Engine
from tests.container.gate import LATE, Gate, Mode
from tests.container.pods import AT_ONCE, LIMIT, PERIOD, World, serve_world, states, wait_until

TASKS = 40

SIGNALS = ("TERM", "HUP")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One run of forty as a container: its API, its store, and the gate before the API."""

    world: World
    gate: Gate
    store: Path
    container: Container

    def count(self, state: str) -> int:
        """How many tasks are in a state now."""
        return states(self.store).count(state)


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """A state of a run in which it is told to stop: what holds it there, and how one sees that it is there."""

    mode: Mode
    is_there: Callable[[Stage], bool]
    timeout: float = 15.0
    """Seconds that an attempt may take."""
    period: float = PERIOD


SITUATIONS = {
    "planning": Situation(
        mode=Mode.SLOW_LISTS, is_there=lambda stage: (stage.store / "tesnap.db").exists(), timeout=LATE + 15.0
    ),
    "leased": Situation(mode=Mode.DEAF, is_there=lambda stage: stage.count("leased") > 0),
    "sending, answered": Situation(mode=Mode.SLOW, is_there=lambda stage: stage.count("sending") > 0),
    "sending, never answered": Situation(mode=Mode.MUTE, is_there=lambda stage: stage.gate.met.is_set()),
    # Long enough for the engine's own commands on a busy machine.
    "waiting for a slot": Situation(
        mode=Mode.PASS, is_there=lambda stage: stage.count("created") == LIMIT, period=3 * PERIOD
    ),
    "uncertain, looked for": Situation(mode=Mode.CUT, is_there=lambda stage: stage.count("uncertain") > 1),
}

UNANSWERED = ("sending, never answered", "uncertain, looked for")
"""Where an answer was lost, and no list proves that its snapshot was made: it stays uncertain, and is not sent again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How both containers of a case ended, and what the API saw in all."""

    told: Ended
    again: Ended
    log: list[LoggedRequest]
    seconds: float
    """From the signal until the engine had seen the end of process 1; the engine's own commands are in it."""


@contextmanager
def stage(engine: Engine, image: str, folder: Path, situation: Situation) -> Iterator[Stage]:
    """A run of forty that comes into this situation."""
    with ExitStack() as ended:
        world = ended.enter_context(serve_world(folder, period=situation.period))
        gate = ended.enter_context(Gate(world.url, situation.mode))
        volume = ended.enter_context(engine.volume())
        options = start_options(world, gate, volume, situation)
        container = engine.start(image, options=options)
        yield Stage(world=world, gate=gate, store=engine.volume_folder(volume), container=container)


def start_options(world: World, gate: Gate, volume: str, situation: Situation) -> list[str]:
    """What both containers of a case are started with."""
    jobs = world.job_folder(TASKS, url=gate.url, timeout=situation.timeout)
    return [*world.mounts(jobs, volume), "--env", "TESNAP_RUN_ID=night-1"]


def play(engine: Engine, image: str, folder: Path, situation: Situation, signal: str) -> Outcome:
    """Stop a run in a situation, then start the same command again before an API that answers well."""
    folder.mkdir()
    with stage(engine, image, folder, situation) as acted:
        wait_until(lambda: situation.is_there(acted), f"{situation}")
        began = time.monotonic()
        acted.container.signal(signal)
        acted.container.wait_or_kill()
        seconds = time.monotonic() - began
        told = acted.container.wait()
        acted.gate.open()
        options = start_options(acted.world, acted.gate, acted.store.parent.name, situation)
        again = engine.run(image, options=options)
        log = acted.world.log
        return Outcome(told=told, again=again, log=log, seconds=seconds)


Case = tuple[str, str]
"""A situation's name and a signal."""


@contextmanager
def play_all(engine: Engine, image: str, folder: Path) -> Iterator[Mapping[Case, Future[Outcome]]]:
    """Every case, several side by side."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield {
            (name, signal): pool.submit(play, engine, image, folder / f"{number}-{signal}", situation, signal)
            for number, (name, situation) in enumerate(SITUATIONS.items())
            for signal in SIGNALS
        }

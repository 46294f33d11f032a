"""Process 1 of a container, told to stop at each state of its tasks: drained in time, and the same command makes the rest."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from orchestrator.simulator import LoggedRequest
from tests.container.engine import HARDENED, Container, Ended, Engine
from tests.container.gate import Gate, Mode
from tests.container.pods import AT_ONCE, LIMIT, PERIOD, World, serve_world, states, wait_until
from tests.support.server_log import creations, find_duplicates, most_in_any_window

pytestmark = pytest.mark.container

TASKS = 40


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


SITUATIONS = {
    "planning": Situation(mode=Mode.SLOW_LISTS, is_there=lambda stage: (stage.store / "tesnap.db").exists()),
    "leased": Situation(mode=Mode.DEAF, is_there=lambda stage: stage.count("leased") > 0),
    "sending, answered": Situation(mode=Mode.SLOW, is_there=lambda stage: stage.count("sending") > 0),
    "sending, never answered": Situation(mode=Mode.MUTE, is_there=lambda stage: stage.gate.met.is_set()),
    "waiting for a slot": Situation(mode=Mode.PASS, is_there=lambda stage: stage.count("created") == LIMIT),
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
    command: str


@contextmanager
def stage(engine: Engine, image: str, folder: Path, situation: Situation) -> Iterator[Stage]:
    """A run of forty that comes into this situation."""
    with ExitStack() as ended:
        world = ended.enter_context(serve_world(folder))
        gate = ended.enter_context(Gate(world.url, situation.mode))
        volume = ended.enter_context(engine.volume())
        options = start_options(world, gate, volume)
        container = engine.start(image, options=options)
        yield Stage(world=world, gate=gate, store=engine.volume_folder(volume), container=container)


def start_options(world: World, gate: Gate, volume: str) -> list[str]:
    """What both containers of a case are started with."""
    jobs = world.job_folder(TASKS, url=gate.url)
    return [*world.mounts(jobs, volume), "--env", "TESNAP_RUN_ID=night-1"]


def play(engine: Engine, image: str, folder: Path, situation: Situation, signal: str) -> Outcome:
    """Stop a run in a situation, then start the same command again before an API that answers well."""
    folder.mkdir()
    with stage(engine, image, folder, situation) as acted:
        wait_until(lambda: situation.is_there(acted), f"{situation}")
        command = acted.container.execute("python", "-c", "print(open('/proc/1/cmdline').read())").stdout
        acted.container.signal(signal)
        told = acted.container.wait_or_kill()
        acted.gate.open()
        again = engine.run(image, options=start_options(acted.world, acted.gate, acted.store.parent.name))
        return Outcome(told=told, again=again, log=acted.world.log, command=command)


@pytest.fixture(scope="module")
def outcomes(
    engine: Engine, image: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[tuple[str, str], Future[Outcome]]]:
    """Every case, several side by side."""
    folder = tmp_path_factory.mktemp("signals")
    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield {
            (name, signal): pool.submit(play, engine, image, folder / f"{number}-{signal}", situation, signal)
            for number, (name, situation) in enumerate(SITUATIONS.items())
            for signal in ("TERM", "HUP")
        }


@pytest.mark.parametrize("signal", ["TERM", "HUP"])
@pytest.mark.parametrize("name", SITUATIONS)
def test_a_run_that_is_told_to_stop_loses_nothing(
    outcomes: dict[tuple[str, str], Future[Outcome]], name: str, signal: str
) -> None:
    """It ends within the time that it is given, with 5 and its last line; the same command makes the rest, nothing twice."""
    outcome = outcomes[name, signal].result()
    last = outcome.told.stderr.splitlines()[-1]
    print(f"{signal}, {name}: {last}")
    assert "tesnap" in outcome.command
    assert outcome.told.code == 5, outcome.told
    assert ("stopped before anything was sent" if name == "planning" else "pending") in last
    counts = outcome.again.records[-1]["counts"]
    assert counts["created"] + counts["uncertain"] == TASKS, outcome.again.stderr
    assert (counts["uncertain"] > 0) == (name in UNANSWERED)
    assert outcome.again.code == (3 if name in UNANSWERED else 0), outcome.again.stderr
    assert len(creations(outcome.log)) == TASKS
    assert find_duplicates(outcome.log) == {}
    organizations = {entry.organization for entry in creations(outcome.log)}
    assert [most_in_any_window(outcome.log, str(one), PERIOD) <= LIMIT for one in organizations] == [True]


def test_a_run_that_is_killed_is_carried_on(engine: Engine, image: str, tmp_path: Path) -> None:
    """SIGKILL while it waits for a slot: the same command makes the rest, and what was made is not made again."""
    outcome = play(engine, image, tmp_path / "killed", SITUATIONS["waiting for a slot"], "KILL")
    assert outcome.told.code == 137
    assert outcome.again.code == 0, outcome.again.stderr
    assert len(creations(outcome.log)) == TASKS
    assert find_duplicates(outcome.log) == {}


def test_the_time_that_a_container_is_given_to_stop_is_documented(engine: Engine) -> None:
    """Ten seconds, the engines' own, are too short for what is on the wire: the page names the option."""
    page = (Path(__file__).parents[2] / "docs" / "container.md").read_text("utf-8")
    assert "--stop-timeout 30" in page
    assert HARDENED[0] in page

"""Terminals that go away under a run, on real ones: what is sending finishes, all is written, exit code 5."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from orchestrator.simulator import Exchange, Request, Simulator, example_world, serve
from tests.support.terminals import PATIENCE, TESNAP, Terminal, on_terminal, wait_until

pytestmark = pytest.mark.process

JOBFILE = """\
version: 1
name: edge
organizations: {acme: {token_env: TE_TOKEN}}
jobs: [{name: a, tests: [TESTS], windows: [{start: 2026-11-20T14:00:00Z, end: 2026-11-20T16:00:00Z}]}]
"""


class Held(Simulator):
    """An API whose answers wait until the test lets them go."""

    def __init__(self) -> None:
        super().__init__(example_world(1, 6), latency=(0.0, 0.0))
        self.arrived: list[str] = []
        self.holds = {"POST"}
        self.let_go = threading.Event()

    def accept(self, request: Request, at: float) -> Exchange:
        self.arrived.append(request.method)
        if request.method in self.holds:
            self.let_go.wait(PATIENCE)
        return super().accept(request, at)

    @property
    def posts(self) -> int:
        """How many snapshots were asked for."""
        return self.arrived.count("POST")


@dataclass(frozen=True, slots=True)
class Scene:
    """An API, a job file of three snapshots, and where the commands run."""

    api: Held
    folder: Path
    environ: dict[str, str]

    @property
    def run(self) -> tuple[str, ...]:
        """The command that makes them, with a report."""
        return (*TESNAP, "run", "edge.yaml", "--run-id", "r1", "--report", "r1.jsonl")

    def report(self) -> list[dict[str, Any]]:
        """The records of the report."""
        return [json.loads(line) for line in (self.folder / "r1.jsonl").read_text().splitlines()]

    def status(self) -> dict[str, Any]:
        """The run as the store has it."""
        done = subprocess.run(
            [*TESNAP, "status", "--json"], env=self.environ, cwd=self.folder, capture_output=True, check=True
        )
        found: dict[str, Any] = json.loads(done.stdout)
        return found


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    """What a run needs; answers to snapshots wait."""
    api = Held()
    ids = [test.test_id for test in api.world.organizations[0].account_groups[0].tests[:3]]
    (tmp_path / "edge.yaml").write_text(JOBFILE.replace("TESTS", ", ".join(f'"{one}"' for one in ids)))
    (tmp_path / "select.yaml").write_text(JOBFILE.replace("tests: [TESTS]", "select: {test_name: '*'}"))
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("TE_", "TESNAP_"))}
    with serve(api) as url:
        environ = {
            **kept,
            "TE_TOKEN": "token-1",
            "TE_BASE_URL": url,
            "TESNAP_STORE": f"sqlite:///{tmp_path}/t.db",
            "PYTHONPATH": str(Path(__file__).parents[2]),
            "TERM": "xterm",
        }
        yield Scene(api=api, folder=tmp_path, environ=environ)
        api.let_go.set()


@contextmanager
def while_sending(scene: Scene, command: Sequence[str]) -> Iterator[tuple[Terminal, Process]]:
    """A run on a terminal with one request on the wire; whatever the block does has reached it when the answer comes."""
    with on_terminal(command, scene.environ, cwd=scene.folder) as terminal:
        wait_until(lambda: (terminal.read(), scene.api.posts)[1], "the first request")
        process = find_process(scene)
        yield terminal, process
        wait_until(lambda: not process.has_signals, "the signal")
        scene.api.let_go.set()
        wait_until(lambda: not process.is_alive, "its end")


@dataclass(frozen=True, slots=True)
class Process:
    """A process that is perhaps no child of ours, as the kernel shows it."""

    place: Path

    @property
    def id(self) -> int:
        """Its number."""
        return int(self.place.name)

    @property
    def is_alive(self) -> bool:
        """True until it has ended."""
        return self._status().get("State", "Z")[0] not in "ZX"

    @property
    def has_signals(self) -> bool:
        """True if a signal has not reached it yet."""
        return self.is_alive and int(self._status().get("ShdPnd", "0"), 16) != 0

    def _status(self) -> dict[str, str]:
        try:
            lines = (self.place / "status").read_text().splitlines()
        except OSError:
            return {}
        return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}


def find_process(scene: Scene) -> Process:
    """The run's process, whoever started it."""
    for place in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            started = (place / "cmdline").read_bytes().split(b"\0")
            if (
                b"orchestrator" in started
                and b"r1.jsonl" in started
                and (place / "cwd").readlink() == scene.folder
            ):
                return Process(place)
    raise AssertionError("no process makes the run")


def assert_drained(scene: Scene) -> None:
    """One was sent and is made, two are left; the report says so, and the store."""
    *snapshots, last = scene.report()
    assert [one["event"] for one in snapshots] == ["run.started", "snapshot.created"]
    assert (last["exit_code"], last["counts"]["created"], last["counts"]["pending"]) == (5, 1, 2)
    assert scene.status()["counts"]["pending"] == 2
    assert scene.api.posts == 1


@pytest.mark.parametrize("signals", [(), (signal.SIGHUP,)])
def test_a_closed_window_drains_a_run(signals: tuple[signal.Signals, ...], scene: Scene) -> None:
    """The kernel sends SIGHUP, some shells a second one, and nothing can be written any more."""
    with while_sending(scene, scene.run) as (terminal, process):
        terminal.close()
        for one in signals:
            os.kill(process.id, one)
    assert terminal.end() == 5
    assert_drained(scene)


SHELL = ("bash", "--norc", "--noprofile", "-i")


@pytest.mark.parametrize("behind", ["", " | cat > log", " 2>&1 | tee log"])
@pytest.mark.parametrize("ends", ["window", "shell"])
def test_a_login_that_ends_drains_a_run(ends: str, behind: str, scene: Scene) -> None:
    """The shell and the kernel both send SIGHUP, to a pipeline within a millisecond; its other programs are dead."""
    with on_terminal(SHELL, scene.environ, cwd=scene.folder) as terminal:
        terminal.type(f"{shlex.join(scene.run)}{behind}\n")
        wait_until(lambda: (terminal.read(), scene.api.posts)[1], "the first request")
        process = find_process(scene)
        if ends == "window":
            terminal.close()
        else:
            os.kill(terminal.child.pid, signal.SIGKILL)  # as a login ends whose connection is lost
        wait_until(lambda: terminal.child.poll() is not None and not process.has_signals, "the signal")
        scene.api.let_go.set()
        wait_until(lambda: not process.is_alive, "its end")
    assert_drained(scene)


def test_a_run_under_nohup_outlives_its_login(scene: Scene) -> None:
    """Who asked for SIGHUP to be ignored is not stopped by it."""
    command = ("sh", "-c", f"exec nohup {shlex.join(scene.run)} > out 2>&1 < /dev/null")
    with while_sending(scene, command) as (terminal, process):
        terminal.close()
        os.kill(process.id, signal.SIGHUP)
    assert terminal.end() == 0
    assert scene.api.posts == 3


@pytest.mark.parametrize(
    ("signals", "created"),
    [((signal.SIGHUP, signal.SIGTERM), 1), ((signal.SIGTERM, signal.SIGINT), 1), ((signal.SIGQUIT,), 0)],
)
def test_two_signals_at_once_are_one_wish_and_quit_means_now(
    signals: tuple[signal.Signals, ...], created: int, scene: Scene
) -> None:
    """Supervisors send two; Ctrl and backslash on the keyboard has no patience: what is on the wire is cut and uncertain."""
    with while_sending(scene, scene.run) as (terminal, process):
        for one in signals:
            os.kill(process.id, one)
        if not created:
            wait_until(lambda: terminal.read() and not process.is_alive, "its end")
    assert terminal.end() == 5
    assert (scene.report()[-1]["counts"]["created"], scene.report()[-1]["counts"]["uncertain"]) == (
        created,
        1 - created,
    )


def test_a_second_signal_means_now(scene: Scene) -> None:
    """A second after the first one at the earliest."""
    with while_sending(scene, scene.run) as (terminal, process):
        while process.is_alive:
            os.kill(process.id, signal.SIGTERM)
            terminal.read(1.1)
    assert terminal.end() == 5
    assert scene.report()[-1]["counts"]["uncertain"] == 1


@pytest.mark.parametrize("streams", ["> full 2> full", "> full 2> log", "> log 2> full"])
def test_a_reader_who_stopped_reading_keeps_no_run_from_ending(streams: str, scene: Scene) -> None:
    """The pipe is full when the first result is to be written: the run waits, until it is told to stop."""
    pipe = scene.folder / "full"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDWR | os.O_NONBLOCK)
    command = ("sh", "-c", f"exec {shlex.join((*scene.run, '-v'))} {streams}")
    with while_sending(scene, command) as (terminal, process):
        for size in (4096, 1):  # to the last byte
            with contextlib.suppress(BlockingIOError):
                while os.write(reader, bytes(size)):
                    pass
        scene.api.let_go.set()
        wait_until(lambda: scene.status()["counts"]["created"], "the first snapshot")
        assert scene.status()["processes"] == 1
        os.kill(process.id, signal.SIGTERM)
    os.close(reader)
    assert terminal.end() == scene.report()[-1]["exit_code"]
    assert terminal.end() in (0, 5)  # 0 when the others were on the wire already


def test_streams_without_room_change_no_exit_code(scene: Scene) -> None:
    """A full disk under both of them: what was made is in the store and in the report."""
    scene.api.let_go.set()
    command = ("sh", "-c", f"exec {shlex.join(scene.run)} > /dev/full 2> /dev/full")
    with on_terminal(command, scene.environ, cwd=scene.folder) as terminal:
        assert terminal.end() == 0
    assert scene.report()[-1]["counts"]["created"] == 3


def test_ctrl_z_gives_the_terminal_to_the_shell_and_fg_takes_it_back(scene: Scene) -> None:
    """The live line is away and the cursor there while the shell has it."""
    shown, hidden = b"\x1b[?25h", b"\x1b[?25l"
    with on_terminal(SHELL, scene.environ, cwd=scene.folder) as terminal:
        terminal.type(f"{shlex.join(scene.run)}\n")
        wait_until(lambda: b"of 3 settled" in terminal.read() and scene.api.posts, "the live line")
        terminal.type("\x1a")
        terminal.wait_for("Stopped")
        before = terminal.read()
        assert before.rindex(shown) > before.rindex(hidden)
        terminal.type("fg; echo code=$?\n")
        wait_until(lambda: b"of 3 settled" in terminal.read()[len(before) :], "the live line again")
        scene.api.let_go.set()
        terminal.wait_for("code=0")
    assert scene.report()[-1]["counts"]["created"] == 3


@pytest.mark.parametrize(
    "words", ["plan select.yaml", "tests", "run select.yaml", "snap --alerting --last 1h"]
)
@pytest.mark.parametrize("signals", [(), (signal.SIGHUP, signal.SIGHUP)])
def test_a_closed_window_ends_what_is_read(
    words: str, signals: tuple[signal.Signals, ...], scene: Scene
) -> None:
    """Nothing was sent: at once, with the code of a command that was stopped."""
    scene.api.holds.add("GET")
    with on_terminal([*TESNAP, *words.split()], scene.environ, cwd=scene.folder) as terminal:
        wait_until(lambda: (terminal.read(), scene.api.arrived)[1], "the first request")
        terminal.close()
        for one in signals:
            os.kill(terminal.child.pid, one)
        assert terminal.end() == 5
    assert scene.api.posts == 0


def test_a_question_on_a_terminal_that_is_gone_is_not_answered(scene: Scene) -> None:
    """The snapshot stays uncertain."""
    with while_sending(scene, scene.run) as (terminal, process):
        os.kill(process.id, signal.SIGQUIT)
        # Before the answer: else it may be made after all.
        wait_until(lambda: not process.is_alive, "its end")
    with on_terminal([*TESNAP, "settle", "r1"], scene.environ, cwd=scene.folder) as terminal:
        terminal.wait_for("its ID if it is there")
        terminal.close()
        assert terminal.end() == 5
    assert scene.status()["counts"]["uncertain"] == 1


def test_a_closed_window_drains_a_rehearsal(scene: Scene) -> None:
    """Its simulator and its folder go with it."""
    command = (*TESNAP, "rehearse", "edge.yaml", "--speed", "1", "--report", "r1.jsonl", "--snapshots", "1")
    environ = {**scene.environ, "TMPDIR": str(scene.folder)}
    with on_terminal(command, environ, cwd=scene.folder) as terminal:
        terminal.wait_for("1 of 3 settled")
        terminal.close()
        assert terminal.end() == 5
    assert scene.report()[-1]["counts"]["created"] == 1
    assert not list(scene.folder.glob("tesnap-*"))

"""The runs, and the program's own processes that carry each of them on until it has ended."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.simulator import example_world
from tests.crash.load import HOUR, LIMIT, TIMEOUT, Errand, errand, token_of, world_size

CREWS = 4
PROCESSES = 2
"""Of each crew: two processes share a run."""

ENDED = (0, 3)
"""Exit codes of a run that came to its end: all made, or some uncertain."""

CARRIED_ON = (5, -signal.SIGKILL)
"""Exit codes after which the same command carries on: stopped early, killed."""

UNHEARD = (-signal.SIGTERM, -signal.SIGHUP)
"""So a process ends that was told to stop before a line of the program ran; it has not said a word."""


@dataclass(slots=True)
class Worker:
    """A place for one process of a crew."""

    crew: Crew
    process: subprocess.Popen[bytes] | None = None
    output: Path | None = None
    paused: bool = False
    done: bool = False


@dataclass(slots=True)
class Crew:
    """Processes that share one run after the other."""

    number: int
    errand: Errand | None = None
    file: Path | None = None
    errands: int = 0
    workers: list[Worker] = field(default_factory=list)


class Crews:
    """All crews on one store: started, carried on, and what came of every process."""

    def __init__(self, *, folder: Path, store: str, base_url: str) -> None:
        self._folder, self._store, self._base_url = folder, store, base_url
        self._today = int(time.time() // HOUR * HOUR)
        self.crews = [Crew(number=number) for number in range(CREWS)]
        for crew in self.crews:
            crew.workers = [Worker(crew) for _ in range(PROCESSES)]
        self.plans: dict[str, int] = {}
        self.outputs: list[tuple[str, Path]] = []
        self.codes: Counter[int] = Counter()
        self.broken: list[str] = []

    @property
    def workers(self) -> list[Worker]:
        """All places."""
        return [worker for crew in self.crews for worker in crew.workers]

    def alive(self) -> list[Worker]:
        """The places that have a process at work."""
        return [worker for worker in self.workers if worker.process is not None and not worker.paused]

    def tend(self, *, fresh: bool) -> None:
        """Note which processes have ended, and start what is to be started; with `fresh` new runs, too."""
        for worker in self.workers:
            if worker.process is not None and worker.process.poll() is not None:
                self._note_end(worker, worker.process.returncode)
        for crew in self.crews:
            if crew.errand is None or all(worker.done for worker in crew.workers):
                if not fresh:
                    continue
                self._give_errand(crew)
            for worker in crew.workers:
                if worker.process is None and not worker.done:
                    self._start(worker)

    @property
    def at_work(self) -> bool:
        """True while a run has not come to its end."""
        return any(not worker.done for crew in self.crews if crew.errand for worker in crew.workers)

    def unfinished(self) -> Iterator[str]:
        """The runs whose processes have not come to their end, each with what one of them said last."""
        for worker in self.workers:
            if worker.crew.errand is not None and not worker.done:
                yield f"{worker.crew.errand.run_id}: {_last_words(worker.output)}"

    def stop(self) -> None:
        """Kill what is left."""
        for worker in self.workers:
            if worker.process is not None:
                worker.process.kill()
                worker.process.wait()

    def _note_end(self, worker: Worker, code: int) -> None:
        self.codes[code] += 1
        worker.process, worker.paused = None, False
        silent = worker.output is not None and not any(map(_size, (worker.output, _errors_of(worker.output))))
        worker.done = code not in CARRIED_ON and not (code in UNHEARD and silent)
        if worker.done and code not in ENDED and worker.output is not None:
            self.broken.append(f"{worker.output.name} ended with code {code}: {_last_words(worker.output)}")

    def _give_errand(self, crew: Crew) -> None:
        crew.errand = errand(
            self._base_url, crew=crew.number, crews=CREWS, number=crew.errands, today=self._today
        )
        crew.errands += 1
        crew.file = self._folder / f"{crew.errand.run_id}.yaml"
        crew.file.write_text(json.dumps(jobfile(crew.errand, resend=crew.errands % 4 == 0)))
        self.plans[crew.errand.run_id] = crew.errand.tasks
        for worker in crew.workers:
            worker.done = False

    def _start(self, worker: Worker) -> None:
        assert worker.crew.errand is not None
        run = worker.crew.errand.run_id
        worker.output = self._folder / f"{run}-{len(self.outputs)}.jsonl"
        self.outputs.append((run, worker.output))
        command = [sys.executable, "-m", "orchestrator", "run", str(worker.crew.file), "--run-id", run]
        command += ["--store", self._store, "--json", "--timezone", "UTC"]
        with worker.output.open("wb") as out, _errors_of(worker.output).open("wb") as err:
            worker.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env={**_tokens(), "HOME": str(self._folder), "PATH": os.environ["PATH"]},
                start_new_session=True,
            )
        os.setpriority(os.PRIO_PROCESS, worker.process.pid, 5)  # the simulator's clock has to be right


def jobfile(one: Errand, *, resend: bool) -> dict[str, object]:
    """The errand as a job file (JSON is YAML)."""
    world = example_world(*one.world)
    parts = [world.organizations[at] for at in one.organizations]
    limit = {
        "snapshots": LIMIT.snapshots,
        "per": f"{one.period:g}s",
        "guard": f"{LIMIT.guard * 1000:g}ms",
        "grace": f"{LIMIT.grace * 1000:g}ms",
    }
    return {
        "version": 1,
        "name": one.run_id,
        "organizations": {
            part.name: {"token_env": variable_of(part.name), "base_url": one.base_url, "limit": limit}
            for part in parts
        },
        "http": {"timeout": f"{TIMEOUT:g}s"},
        "retry": {"attempts": 100, "within": "1h"},
        "defaults": {
            "is_public": one.is_public,
            "on_uncertain": "resend" if resend else "hold",
            "windows": [{"start": _utc(one.start), "duration": "1h"}],
        },
        "jobs": [
            {
                "name": part.name,
                "organization": part.name,
                "tests": [test.test_id for test in part.account_groups[0].tests],
            }
            for part in parts
        ],
    }


def variable_of(organization: str) -> str:
    """The environment variable with an organization's token."""
    return "TOKEN_" + organization.rpartition("-")[2]


def _tokens() -> dict[str, str]:
    names = [part.name for part in example_world(world_size(CREWS), 1).organizations]
    return {variable_of(name): token_of(name) for name in names}


def _utc(epoch: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(epoch))


def _errors_of(output: Path) -> Path:
    return output.with_suffix(".err")


def _size(path: Path) -> int:
    return path.stat().st_size


def _last_words(output: Path | None) -> str:
    return _errors_of(output).read_text(errors="replace")[-700:] if output is not None else ""

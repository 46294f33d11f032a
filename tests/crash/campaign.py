"""The processes: started, killed, replaced, until every moment had its share; then all is judged."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from orchestrator.core.clock import SystemClock
from orchestrator.simulator import LoggedRequest
from orchestrator.store.store import open_store
from tests.crash.judge import Output, Seen, violations
from tests.crash.ledger import DIED, Note, read_ledger
from tests.crash.load import LIMIT, PERIOD, TIMEOUT, Errand, errand, world_size
from tests.crash.mortal import Life, live
from tests.crash.outcome import Orders, Outcome
from tests.crash.planted import HARDER
from tests.crash.points import LATEST, USUALLY_LATEST, Point
from tests.crash.server import FAULTS, simulator
from tests.support.server_log import read_log

LOOK = 0.01
"""Real seconds between two looks at the processes."""

LONGEST_LIFE = 2.5
"""A process that is killed at random is killed at a moment within so many seconds from its start."""

MOST_STARTS = 9
"""Processes that may be killed at one errand. Each has reserved ten reads of its organizations' 200 a minute, which are
out for two minutes and a half: after twenty, of two crews that share an organization, the next process would wait for as
long, as it should, and the campaign with it."""

KILLED = -9
FINISHED = (0, 3)
"""Exit codes of a process that came to its end: all made, or some uncertain."""

TO_SPEAK, LAST_WORDS = 1.0, 8000
"""Seconds in which a process that is late says where it stands, and how many characters of that are shown."""

TAIL = 45.0
"""Seconds after the last kill within which everything has to be done."""


@dataclass(slots=True, kw_only=True)
class Slot:
    """A place for one process, and the process that has it."""

    crew: Crew
    process: ForkServerProcess | None = None
    life: Life | None = None
    kill_at: float | None = None
    shot: bool = False
    done: bool = False


@dataclass(slots=True, kw_only=True)
class Crew:
    """Two processes that share one run after the other."""

    number: int
    errands: int = 0
    errand: Errand | None = None
    starts: int = 0
    slots: list[Slot] = field(default_factory=list)


class Campaign:
    """One store, one simulator, and many processes that are killed."""

    def __init__(self, orders: Orders, base_url: str) -> None:
        self._orders, self._base_url = orders, base_url
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["tests.crash.mortal"])
        self._draw = random.Random(orders.seed)
        self._crews = [Crew(number=n) for n in range(max(1, orders.workers // 2))]
        for at in range(orders.workers):
            crew = self._crews[at % len(self._crews)]
            crew.slots.append(Slot(crew=crew))
        self._today = int(time.time() // 3600 * 3600)
        self._ledger = orders.folder / "ledger.jsonl"
        self._at_random, self._at_points = 0, Counter[Point]()
        self._lives: list[tuple[Life, bool]] = []
        self._plans: dict[str, int] = {}
        self._broken: list[str] = []
        self._deaths: dict[int, Point] = {}
        self._notes_read = 0
        self._calm = False

    # -- from the first start to the last end --------------------------------------------------------------
    def fight(self) -> None:
        """Start, kill and replace until every moment had its share; then let everything end."""
        end = time.monotonic() + self._orders.longest
        try:
            while not self._calm or any(not slot.done for slot in self._slots):
                self._calm = self._calm or self._enough() or time.monotonic() > end
                if time.monotonic() > end + TAIL:
                    self._broken += self._late()
                    return
                self._round(time.monotonic())
                time.sleep(LOOK)
        finally:
            self._stop()

    @property
    def _slots(self) -> list[Slot]:
        return [slot for crew in self._crews for slot in crew.slots]

    def _enough(self) -> bool:
        orders = self._orders
        return self._at_random >= orders.kills and all(self._at_points[p] >= orders.per_point for p in Point)

    def _round(self, now: float) -> None:
        for slot in self._slots:
            process = slot.process
            if process is not None and not process.is_alive():
                self._reap(slot, process)
            elif process is not None and slot.kill_at is not None and slot.kill_at <= now and not self._calm:
                slot.kill_at, slot.shot = None, True
                process.kill()
        for crew in self._crews:
            self._employ(crew, now)

    def _late(self) -> Iterator[str]:
        """Each process that did not come to its end: what it said, and where its threads stand."""
        late = [(slot.process, slot.life) for slot in self._slots if not slot.done]
        for process, _ in late:
            if process is not None and process.pid is not None:
                with contextlib.suppress(ProcessLookupError):  # it has just ended
                    os.kill(process.pid, signal.SIGUSR1)
        time.sleep(TO_SPEAK)
        for _, life in late:
            if life is not None:
                words = life.output.with_suffix(".err").read_text()[-LAST_WORDS:]
                yield f"{life.output.name} of run {life.errand.run_id} did not come to its end: {words}"

    def _stop(self) -> None:
        for slot in self._slots:
            if slot.process is not None:
                slot.process.kill()
                slot.process.join()

    # -- ends ----------------------------------------------------------------------------------------------
    def _reap(self, slot: Slot, process: ForkServerProcess) -> None:
        process.join()
        life, code = slot.life, process.exitcode
        assert life is not None
        slot.process = None
        died = self._death_of(process.pid or 0)
        self._lives.append((life, code in FINISHED))
        if code == KILLED and died is not None:
            self._at_points[died] += 1
        elif code == KILLED and slot.shot:
            self._at_random += 1
        elif code in FINISHED:
            slot.done = True
        else:
            words = life.output.with_suffix(".err").read_text()[-600:]
            self._broken.append(
                f"{life.output.name} of run {life.errand.run_id} ended with code {code}: {words}"
            )
            slot.done = True
        process.close()

    def _death_of(self, pid: int) -> Point | None:
        """The point at which this process killed itself, if it did."""
        for note in read_ledger_from(self._ledger, self._notes_read):
            self._notes_read += note.length
            if note.note.what == DIED:
                self._deaths[note.note.pid] = Point(note.note.point)
        return self._deaths.pop(pid, None)

    # -- starts --------------------------------------------------------------------------------------------
    def _employ(self, crew: Crew, now: float) -> None:
        """Give the crew its next errand when the last one is done, and replace whoever was killed."""
        fresh = False
        if crew.errand is None or all(slot.done for slot in crew.slots):
            if self._calm:
                return
            fresh = True
            crew.errand = errand(
                self._base_url,
                crew=crew.number,
                crews=len(self._crews),
                number=crew.errands,
                today=self._today,
            )
            crew.errands += 1
            crew.starts = 0
            self._plans[crew.errand.run_id] = crew.errand.tasks
            for slot in crew.slots:
                slot.done = False
        for slot in crew.slots:
            if slot.process is None and not slot.done:
                self._start(slot, crew.errand, now, fresh=fresh)

    def _start(self, slot: Slot, task: Errand, now: float, *, fresh: bool) -> None:
        point, slot.kill_at, slot.shot = None, None, False
        slot.crew.starts += 1
        if not self._calm and slot.crew.starts <= MOST_STARTS:
            point = self._doom(fresh=fresh)
            slot.kill_at = None if point is not None else now + self._draw.uniform(0.0, LONGEST_LIFE)
        slot.life = Life(
            errand=task,
            store=self._orders.store,
            ledger=self._ledger,
            output=self._orders.folder / f"{len(self._lives) + len(self._slots)}-{slot_name(slot)}.jsonl",
            seed=self._draw.randrange(2**31),
            point=point,
            passage=1 if point is None else self._draw.randint(1, LATEST.get(point, USUALLY_LATEST)),
            planted=self._orders.planted,
        )
        process = self._context.Process(target=live, args=(slot.life,))
        process.start()
        slot.process = process

    def _doom(self, *, fresh: bool) -> Point | None:
        """Where the next process is to die; None: at a random moment. By how many kills are left."""
        left = {p: max(0, self._orders.per_point - self._at_points[p]) for p in Point}
        planned = Counter(s.life.point for s in self._slots if s.process is not None and s.life is not None)
        if fresh and left[Point.ENQUEUING]:
            return Point.ENQUEUING
        left[Point.ENQUEUING] = 0
        weights: dict[Point | None, int] = {p: max(0, n - planned[p]) for p, n in left.items()}
        weights[Point.RECOVERING] = (
            2 * left[Point.RECOVERING]
        )  # seldom reached: somebody else has to die first
        weights[None] = max(1, self._orders.kills - self._at_random)
        return self._draw.choices(list(weights), list(weights.values()))[0]

    # -- evidence ------------------------------------------------------------------------------------------
    def seen(self, log: Sequence[LoggedRequest]) -> Seen:
        """All that there is to judge by."""
        store = open_store(self._orders.store, clock=SystemClock())
        try:
            known = {view.run.id for view in store.history.runs()}
            results = {run_id: list(store.views.results(run_id)) for run_id in self._plans if run_id in known}
        finally:
            store.close()
        return Seen(
            log=log,
            period=PERIOD,
            limit=LIMIT.snapshots,
            plans=self._plans,
            results=results,
            notes=read_ledger(self._ledger),
            outputs=[_output(life, whole) for life, whole in self._lives],
            broken=self._broken,
        )

    def outcome(self, log: Sequence[LoggedRequest], seconds: float) -> Outcome:
        """What it came to."""
        seen = self.seen(log)
        return Outcome(
            orders=self._orders,
            at_random=self._at_random,
            at_points={point: self._at_points[point] for point in Point},
            starts=len(self._lives),
            seen=seen,
            violations=violations(seen),
            seconds=seconds,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Read:
    note: Note
    length: int


def read_ledger_from(path: Path, at: int) -> Iterator[_Read]:
    """The ledger's lines behind a place, each with its length in bytes."""
    if not path.exists():
        return
    with path.open("rb") as file:
        file.seek(at)
        for line in file:
            yield _Read(note=Note(**json.loads(line)), length=len(line))


def slot_name(slot: Slot) -> str:
    """Which of its crew's places a slot is."""
    return f"{slot.crew.number}{'abcdefgh'[[s is slot for s in slot.crew.slots].index(True)]}"


def _output(life: Life, whole: bool) -> Output:
    lines = life.output.read_text().splitlines(keepends=True) if life.output.exists() else []
    records = [json.loads(line) for line in lines if line.endswith("\n")]
    return Output(name=life.output.name, run_id=life.errand.run_id, whole=whole, records=records)


def campaign(orders: Orders) -> Outcome:
    """Fight it out, and judge."""
    began = time.monotonic()
    crews = max(1, orders.workers // 2)
    log, faults = orders.folder / "server.jsonl", HARDER.get(orders.planted or "", FAULTS)
    with simulator(log, organizations=world_size(crews), seed=orders.seed, faults=faults) as base_url:
        one = Campaign(orders, base_url)
        one.fight()
        time.sleep(TIMEOUT)  # what was sent last may still be answered
    return one.outcome(read_log(log), time.monotonic() - began)

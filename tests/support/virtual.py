"""Whole runs in virtual time: one clock, one simulator, any number of workers, no socket and no sleep."""

from __future__ import annotations

import heapq
import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import psycopg

from orchestrator.api.catalog import Getter
from orchestrator.api.client import Call, snapshot_call
from orchestrator.api.response import Answer
from orchestrator.core.errors import TesnapError
from orchestrator.core.events import Ending, Event, Observer, Progress
from orchestrator.core.jobs import (
    CredentialSource,
    Http,
    Job,
    JobFile,
    Limit,
    Organization,
    TestRef,
    WindowSpec,
)
from orchestrator.core.tasks import Lease, Result, Run
from orchestrator.planning.discovery import OrganizationSurvey, survey_organization
from orchestrator.planning.scheduler import make_plan
from orchestrator.simulator import Reply, Request, Simulator, example_world
from orchestrator.store.store import Store, open_store
from orchestrator.worker.commits import Commit
from orchestrator.worker.organization import ApiCalendar, ServedOrganization
from orchestrator.worker.sender import Looked, LostAnswer, Sent, commit_first_byte, read_evidence
from orchestrator.worker.worker import Worker
from tests.support.clock import VirtualClock


class Timeline:
    """A virtual clock and what is to happen on it."""

    def __init__(self, clock: VirtualClock) -> None:
        self.clock = clock
        self._events: list[tuple[float, int, Callable[[], object]]] = []
        self._order = itertools.count()

    def at(self, boot: float, act: Callable[[], object]) -> None:
        """Have something happen at a moment of the boot clock."""
        heapq.heappush(self._events, (max(boot, self.clock.boot()), next(self._order), act))

    def next(self) -> float | None:
        """When the next thing happens."""
        return self._events[0][0] if self._events else None

    def go_to(self, boot: float) -> None:
        """Let time pass up to this moment, and everything happen that is due by then."""
        while self._events and self._events[0][0] <= boot:
            at, _, act = heapq.heappop(self._events)
            self.clock.advance(max(0.0, at - self.clock.boot()))
            act()
        self.clock.advance(max(0.0, boot - self.clock.boot()))


class VirtualSender:
    """Completes each send at its virtual instant, as the simulator decides it."""

    def __init__(
        self,
        simulator: Simulator,
        timeline: Timeline,
        commit: Commit,
        tokens: Mapping[str, str],
    ) -> None:
        self._simulator, self._timeline, self._commit, self._tokens = simulator, timeline, commit, tokens
        self._clock = timeline.clock
        self._ended: list[Sent | Looked] = []
        self._on_wire: dict[int, Lease] = {}
        self._stopping = False
        self.offline = False
        self.capacity = 10_000
        self.pauses: list[float] = []  # between grant and first byte, of the first requests

    def send(self, lease: Lease) -> None:
        if self.offline:
            self._ended.append(Sent(lease=lease, answer=Answer(sent=False, failure="connection refused")))
            return
        pause = self.pauses.pop(0) if self.pauses else 0.0
        if pause:
            self._timeline.at(self._clock.boot() + pause, lambda: self._go(lease))
        else:
            self._go(lease)

    def _go(self, lease: Lease) -> None:
        try:
            commit_first_byte(lease, self._clock, self._commit, stopping=self._stopping)
        except TesnapError as refused:
            self._ended.append(Sent(lease=lease, refused=refused))
            return
        self._on_wire[id(lease)] = lease
        call = snapshot_call(replace(lease.task, display_name=lease.task.title(lease.resends)))
        self._exchange(call, lease)

    def look(self, lost: Sequence[LostAnswer]) -> None:
        bearer = self._tokens[lost[0][0].task.organization]
        self._ended.append(read_evidence(VirtualGetter(self._simulator, self._clock, bearer), lost))

    def take_ended(self) -> list[Sent | Looked]:
        ended, self._ended = self._ended, []
        return ended

    def wait(self, seconds: float) -> None:
        self._timeline.go_to(self._clock.boot() + max(0.0, seconds))

    def wake(self) -> None:
        """Nothing waits in virtual time."""

    def drain(self) -> None:
        self._stopping = True

    def abort(self) -> None:
        self._stopping = True
        for lease in list(self._on_wire.values()):
            self._finish(lease, Answer(sent=True, failure="aborted"))

    def close(self) -> None:
        """Nothing to let go."""

    def _exchange(self, call: Call, lease: Lease) -> None:
        clock, wall = self._clock, self._clock.wall()
        exchange = self._simulator.accept(request(call, self._tokens[lease.task.organization]), wall)
        replies: list[Reply | None] = []
        deadline = lease.granted_boot + lease.timeout
        self._timeline.at(
            clock.boot() + exchange.process_at - wall,
            lambda: replies.append(self._simulator.process(exchange, clock.wall())),
        )
        kind = exchange.fault.kind if exchange.fault else ""
        end = deadline if kind in ("hang", "drip") else clock.boot() + exchange.answer_at - wall
        self._timeline.at(
            min(end, deadline), lambda: self._finish(lease, answer(replies, kind, late=end >= deadline))
        )

    def _finish(self, lease: Lease, ended: Answer) -> None:
        if self._on_wire.pop(id(lease), None) is not None:
            self._ended.append(Sent(lease=lease, answer=ended))


class VirtualGetter(Getter):
    """Reads from the simulator in no time."""

    def __init__(self, simulator: Simulator, clock: VirtualClock, token: str) -> None:
        self._simulator, self._clock, self._token = simulator, clock, token
        self.base_url = "https://api.thousandeyes.com/v7"

    def get(self, path: str, query: tuple[tuple[str, str], ...] = ()) -> Answer:
        call = Call(method="GET", path=path, query=query, body=None)
        now = self._clock.wall()
        exchange = self._simulator.accept(request(call, self._token), now)
        return answer([self._simulator.process(exchange, now)], "", late=False)


def request(call: Call, token: str) -> Request:
    """The call as the simulator sees it."""
    headers = {
        "authorization": f"Bearer {token}",
        "content-type": "application/json",
        "accept": "application/json",
    }
    if call.body is None:
        del headers["content-type"]
    return Request(
        method=call.method,
        path=f"/v7{call.path}",
        query=dict(call.query),
        headers=headers,
        body=call.body or b"",
    )


def answer(replies: Sequence[Reply | None], kind: str, *, late: bool) -> Answer:
    """What a client would have seen of a reply, given the fault."""
    reply = replies[0] if replies else None
    if late or reply is None:
        return Answer(sent=True, failure="no answer in time" if late else "the connection was reset")
    body = {"cut-head": b"", "cut-body": reply.body[: len(reply.body) // 2]}.get(kind, reply.body)
    failure = "the answer was cut off" if kind == "cut-body" else None
    headers = {name.lower(): value for name, value in reply.headers.items()}
    return Answer(sent=True, status=reply.status, headers=headers, body=body, failure=failure)


@dataclass(slots=True)
class Notebook:
    """An observer that remembers everything."""

    results: list[Result] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    progresses: list[Progress] = field(default_factory=list)
    runs: list[Run] = field(default_factory=list)
    endings: list[Ending] = field(default_factory=list)

    def on_start(self, run: Run, tasks: int) -> None:
        self.runs.append(run)

    def on_result(self, result: Result) -> None:
        self.results.append(result)

    def on_event(self, event: Event) -> None:
        self.events.append(event)

    def on_progress(self, progress: Progress) -> None:
        if not self.progresses or self.progresses[-1] != progress:
            self.progresses.append(progress)

    def on_end(self, ending: Ending) -> None:
        self.endings.append(ending)

    def lines(self) -> list[str]:
        """Everything that was recorded of the tasks, in a form that can be compared."""
        return [json.dumps([str(r), None]) for r in self.results]


ORGANIZATION_TOKENS = "token-{}"


class PostgresClock(VirtualClock):
    """A virtual clock that the database's clock goes with."""

    def __init__(self, url: str) -> None:
        super().__init__()
        open_store(url, clock=self).close()  # makes the schema, whose clock is replaced here
        self._side = psycopg.connect(url, autocommit=True)
        self._side.execute("CREATE TABLE tesnap.virtual_clock (now DOUBLE PRECISION NOT NULL)")
        self._side.execute("INSERT INTO tesnap.virtual_clock VALUES (%s)", [self.wall()])
        self._side.execute(
            "CREATE OR REPLACE FUNCTION tesnap.tesnap_now() RETURNS DOUBLE PRECISION LANGUAGE sql VOLATILE "
            "AS 'SELECT now FROM tesnap.virtual_clock'"
        )

    def advance(self, seconds: float) -> None:
        super().advance(seconds)
        self._side.execute("UPDATE tesnap.virtual_clock SET now = now + %s", [seconds])

    def step(self, seconds: float) -> None:
        """Set the database's clock, and nobody else's."""
        self._side.execute("UPDATE tesnap.virtual_clock SET now = now + %s", [seconds])

    def close(self) -> None:
        """Let the connection go."""
        self._side.close()


class Stage:
    """One simulator, one clock and one store; runs of job files are put on it."""

    def __init__(
        self,
        store: str | Path,
        *,
        organizations: int = 1,
        tests: int = 200,
        limit: Limit | None = None,
        timeout: float = 60.0,
        clock: VirtualClock | None = None,
        **simulated: Any,
    ) -> None:
        self.clock = clock or VirtualClock()
        self.timeline = Timeline(self.clock)
        self.limit, self.timeout, self.store = limit or Limit(), timeout, str(store)
        switches = simulated.pop("switches", {})
        world = example_world(organizations, tests, now=self.clock.wall(), **switches)
        simulated.setdefault("latency", (1.0, 0.0))
        limit_of_server = simulated.pop("server_limit", self.limit.snapshots)
        self.simulator = Simulator(world, limit=limit_of_server, period=self.limit.per, **simulated)
        self.tokens: dict[str, str] = {}
        self.senders: list[VirtualSender] = []
        self.stores: list[Store] = []

    def close(self) -> None:
        """Let the stores go."""
        for store in self.stores:
            store.close()
        if isinstance(self.clock, PostgresClock):
            self.clock.close()

    def open(self) -> Store:
        """Another process's view of the store."""
        store = open_store(self.store, clock=self.clock)
        self.stores.append(store)
        return store

    def jobfile(
        self, count: int, *, jobs: Sequence[Job] | None = None, name: str = "night", **job: Any
    ) -> JobFile:
        """A job file for the first `count` tests of every organization."""
        parts = self.simulator.world.organizations
        source = CredentialSource(env="T")
        known = {org.name: Organization(name=org.name, credential=source, limit=self.limit) for org in parts}
        made = [
            Job(
                name=org.name,
                organizations=(org.name,),
                tests=tuple(TestRef(id=test.test_id) for test in org.account_groups[0].tests[:count]),
                **{"windows": (WindowSpec(last=3600.0),), **job},
            )
            for org in parts
        ]
        return JobFile(
            name=name, jobs=tuple(jobs or made), organizations=known, http=Http(timeout=self.timeout)
        )

    def surveys(self, jobfile: JobFile) -> dict[str, OrganizationSurvey]:
        """The survey of every organization that a job means."""
        found, wanted = {}, set(jobfile.wanted_organizations)
        for at, (name, organization) in enumerate(jobfile.organizations.items(), start=1):
            if name not in wanted:
                continue
            getter = VirtualGetter(self.simulator, self.clock, ORGANIZATION_TOKENS.format(at))
            found[name] = survey_organization(getter, organization, [""], clock=self.clock)
        return found

    def worker(
        self,
        jobfile: JobFile,
        *,
        run_id: str = "r1",
        seed: int = 0,
        again: bool = False,
        store: Store | None = None,
        offset: float = 0.0,
        observer: Observer | None = None,
    ) -> tuple[Worker, Notebook]:
        """A process that runs the job file; its survey found the API's calendar so far ahead. An observer of its own takes the notebook's place."""
        store = store or self.open()
        surveys = self.surveys(jobfile)
        served: dict[str, ServedOrganization] = {}
        identities: dict[str, str] = {}
        for at, (name, organization) in enumerate(jobfile.organizations.items(), start=1):
            if (survey := surveys.get(name)) is None:
                continue
            identity = store.organizations.join(organization.base_url, name, survey.org_id)
            self.tokens[identity] = ORGANIZATION_TOKENS.format(at)
            served[identity] = ServedOrganization(
                identity=identity,
                name=name,
                limit=organization.limit,
                timeout=self.timeout,
                calendar=ApiCalendar(offset=offset),
            )
            identities[name] = identity
        plan = make_plan(jobfile, surveys, identities, now=self.clock.wall())
        run = store.runs.start(
            Run(id=run_id, job=jobfile.name, created_at=self.clock.wall()),
            plan,
            again=again,
        )
        sender = VirtualSender(self.simulator, self.timeline, store.queue.mark_sending, self.tokens)
        self.senders.append(sender)
        notebook = Notebook()
        worker = Worker(
            run,
            store,
            sender,
            served,
            self.clock,
            observer=observer or notebook,
            rules=jobfile.retry,
            seed=seed,
        )
        return worker, notebook

    def run(self, jobfile: JobFile, **options: Any) -> tuple[Ending, Notebook]:
        """Run a job file alone, to its end."""
        worker, notebook = self.worker(jobfile, **options)
        (ending,) = drive(self.timeline, [worker])
        return ending, notebook


def drive(timeline: Timeline, workers: list[Worker], *, longest: float = 1e7) -> list[Ending]:
    """Step the workers side by side until all of them have ended; more may join the list on the way."""
    end = timeline.clock.boot() + longest
    opened = 0
    endings: dict[int, Ending] = {}
    while len(endings) < len(workers):
        for worker in workers[opened:]:
            worker.open()
        opened = len(workers)
        wakes = []
        for at, worker in enumerate(workers):
            if at in endings:
                continue
            wake = worker.step()
            if wake is None:
                endings[at] = worker.end()
            else:
                wakes.append(wake)
        if wakes:
            following = timeline.next()
            timeline.go_to(min(wakes) if following is None else min(*wakes, following))
        assert timeline.clock.boot() < end, "the run does not end"
    return [endings[at] for at in sorted(endings)]

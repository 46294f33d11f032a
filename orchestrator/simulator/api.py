"""The simulator without a transport: deterministic, and every time is an argument.

A request takes two steps, so that virtual time and HTTP can share them: `accept` when it arrives, and
`process` when the origin acts on it, somewhere between arrival and answer.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email.utils import formatdate
from urllib.parse import urlsplit

from orchestrator.simulator.faults import Fault, FaultPlan, foreign_moments
from orchestrator.simulator.log import LoggedRequest
from orchestrator.simulator.messages import Reply, Request, problem
from orchestrator.simulator.origin import Case, Origin
from orchestrator.simulator.quota import POLICIES, Quota
from orchestrator.simulator.world import World


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """One request with its fate: when the origin acts, when the answer goes out, what goes wrong."""

    request: Request
    arrived: float
    process_at: float
    answer_at: float
    fault: Fault | None


class Simulator:
    """The API. `latency` is (mean, spread) in seconds, uniform; the seed decides every draw.

    `policy` is one of `quota.POLICIES`; `on_entry` is told each log entry before its answer goes out.
    Requests must be accepted in the order of their arrival and processed in that of `process_at` for a
    run to repeat itself exactly; a time that runs backwards is taken as the latest one seen.
    """

    def __init__(
        self,
        world: World,
        *,
        limit: int = 5,
        period: float = 300.0,
        policy: str = "sliding",
        faults: FaultPlan | None = None,
        latency: tuple[float, float] = (0.2, 0.1),
        seed: int = 0,
        on_entry: Callable[[LoggedRequest], None] | None = None,
    ) -> None:
        if policy not in POLICIES:
            raise ValueError(f"no policy is called {policy!r}; there are {', '.join(POLICIES)}")
        self.world, self.log = world, list[LoggedRequest]()
        self.foreign_uses: list[tuple[str, float, bool]] = []  # organization, when, whether it got a slot
        self._origin = Origin(world, Quota(limit=limit, period=period), POLICIES[policy])
        self._faults, self._latency, self._seed = faults or FaultPlan(), latency, seed
        self._chance = random.Random(seed)
        self._on_entry = on_entry
        self._posts, self._latest = 0, float("-inf")
        self._foreign: dict[str, tuple[Iterator[float], float]] = {}
        self._lock = threading.Lock()

    def accept(self, request: Request, at: float) -> Exchange:
        """A request arrives: draw when and how it will be answered."""
        with self._lock:
            self._posts += request.method == "POST"
            mean, spread = self._latency
            latency = max(0.0, self._chance.uniform(mean - spread, mean + spread))
            share, luck = self._chance.random(), self._chance.random()
            self._start_foreign(at)
            return Exchange(
                request=request,
                arrived=at,
                process_at=at + share * latency,
                answer_at=at + latency,
                fault=self._faults.choose(request.method, self._posts, luck),
            )

    def process(self, exchange: Exchange, at: float) -> Reply | None:
        """The origin acts and the gateway answers; None where not one byte is answered.

        The reply to a request whose answer is cut or dripping is the whole one: `exchange.fault` tells.
        """
        with self._lock:
            at = self._latest = max(at, self._latest)
            self._use_foreign(at)
            case, reply = self._ask_origin(exchange, at)
            sent = self._put_through(exchange, reply, max(at, exchange.answer_at))
            entry = _entry(exchange, case, sent, at, acted=reply is not None)
            self.log.append(entry)
            if self._on_entry:
                self._on_entry(entry)
            return sent

    def _ask_origin(self, exchange: Exchange, at: float) -> tuple[Case | None, Reply | None]:
        fault = exchange.fault
        if fault and not fault.after:
            return None, None
        return self._origin.hear(exchange.request, at, foreign=bool(fault and fault.kind == "foreign"))

    def _put_through(self, exchange: Exchange, reply: Reply | None, answered: float) -> Reply | None:
        """The answer that goes out: the origin's, a gateway's, or none."""
        fault = exchange.fault
        if fault and fault.silent:
            return None
        if fault and fault.status:
            reply = _gateway(exchange.request, fault)
        if reply is None:
            raise RuntimeError(f"fault {fault} leaves no answer")
        date = formatdate(answered + self.world.clock_offset, usegmt=True)
        return reply.with_headers({"Date": date})

    def _start_foreign(self, at: float) -> None:
        """Somebody else begins to use each organization when the first request of all arrives."""
        rate = self._faults.foreign_rate
        if not rate or self._foreign:
            return
        for organization in self.world.organizations:
            moments = iter(foreign_moments(self._seed, organization.org_id, rate, at))
            self._foreign[organization.org_id] = moments, next(moments)

    def _use_foreign(self, at: float) -> None:
        """Use what somebody else has used up to now."""
        for org_id, (moments, following) in self._foreign.items():
            moment = following
            while moment <= at:
                self.foreign_uses.append((org_id, moment, self._origin.take_slot(org_id, moment)))
                moment = next(moments)
            self._foreign[org_id] = moments, moment


def _gateway(request: Request, fault: Fault) -> Reply:
    """The answer of something in front of the origin."""
    status = fault.status or 502
    if fault.kind == "html":
        page = (
            b"<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>"
        )
        return Reply(status=status, headers={"Content-Type": "text/html"}, body=page)
    if 300 <= status < 400:
        elsewhere = f"https://elsewhere.invalid{urlsplit(request.path).path}"
        return Reply(status=status, headers={"Location": elsewhere}, body=b"")
    return problem(status, "The gateway could not complete the request", request.path)


def _entry(
    exchange: Exchange, case: Case | None, sent: Reply | None, at: float, *, acted: bool
) -> LoggedRequest:
    wanted, snapshot = (case.wanted, case.snapshot) if case else (None, None)
    return LoggedRequest(
        arrived=exchange.arrived,
        method=exchange.request.method,
        path=exchange.request.path,
        counted_at=at if acted else None,
        answered=max(at, exchange.answer_at) if sent else None,
        organization=case.tenant.org_id if case else None,
        aid=case.aid if case else None,
        bearer=case.bearer.name if case else None,
        test=case.test_id if case else None,
        status=sent.status if sent else None,
        fault=str(exchange.fault) if exchange.fault else None,
        counted=snapshot is not None,
        snapshot=snapshot.snapshot_id if snapshot else None,
        display_name=wanted.display_name if wanted else None,
        start=wanted.start if wanted else None,
        end=wanted.end if wanted else None,
        is_public=wanted.is_public if wanted else None,
        exhausted=case.exhausted if case else None,
    )

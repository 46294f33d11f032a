"""A stand-in for the ThousandEyes API, version 7, that needs no account.

It was written from the published documents alone and imports nothing of the program that it tests:
two readings of one document that disagree show up as a failing test.

    world               who and what exists: organizations, tokens, tests, tags, alerts
    quota               how the snapshot limit and the general limit count
    faults              what goes wrong, by chance or by script
    messages            request and reply
    snapshot_requests   the body of a POST, checked
    alerts              the alerts that a GET means, page by page
    answers             the JSON of every answer
    origin              one request heard: 401, 403, 404, 400, 429 or an answer
    log                 the server's view of every request
    api                 Simulator: origin, faults and latency, without a transport; all times are arguments
    server              the same over HTTP on loopback
"""

from __future__ import annotations

from orchestrator.simulator.api import Exchange, Simulator
from orchestrator.simulator.faults import Fault, FaultPlan, ordinary_faults, parse_faults, script_faults
from orchestrator.simulator.log import LoggedRequest
from orchestrator.simulator.messages import Reply, Request
from orchestrator.simulator.server import PacedClock, serve
from orchestrator.simulator.world import (
    Tenant,
    TenantAlert,
    TenantBearer,
    TenantTag,
    TenantTest,
    World,
    example_world,
    known_tenant,
    world_of,
)

__all__ = [
    "Exchange",
    "Fault",
    "FaultPlan",
    "LoggedRequest",
    "PacedClock",
    "Reply",
    "Request",
    "Simulator",
    "Tenant",
    "TenantAlert",
    "TenantBearer",
    "TenantTag",
    "TenantTest",
    "World",
    "example_world",
    "known_tenant",
    "ordinary_faults",
    "parse_faults",
    "script_faults",
    "serve",
    "world_of",
]

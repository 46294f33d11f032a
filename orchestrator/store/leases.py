"""Grants and what becomes of them: each function is the inside of one transaction.

A decision is computed by `orchestrator.ratelimit.bucket`; here its state is loaded and its outcome written. Whoever
changes a task or a token has locked the organization's row, and reads everything that counts after that.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace

from orchestrator.core import Lease, LeaseLost, Priority, Problem, Reason, RunState, Settlement, Status
from orchestrator.ratelimit import (
    IN_SINCE_EVER,
    Bucket,
    Demand,
    Gate,
    Go,
    Token,
    Wait,
    close_gate,
    decide,
    evidence_time,
    gate_after_probe,
    pessimistic_return,
    settled_return,
)
from orchestrator.store import organizations, sql
from orchestrator.store.database import Row, Transaction
from orchestrator.store.rows import (
    IN_FLIGHT,
    Phase,
    from_limit,
    from_problem,
    from_snapshot,
    hold,
    kind,
    leased,
    save,
    to_gate,
    to_lease,
    to_limit,
    to_task,
)
from orchestrator.store.views import Ask

DIED = Problem(
    title="the process that sent the request died before it stored an answer",
    detail="the snapshot may or may not have been made: look for it in the web app, or `tesnap settle`",
)

Turns = dict[tuple[Phase, Priority], float]
"""The earliest `until` of a run's tasks in each phase and class that has any."""


# -- grants ------------------------------------------------------------------------------------------------


def grant(tx: Transaction, ask: Ask, owner: str) -> Lease | Wait | None:
    """See `Queue.grant`."""
    organization = organizations.lock(tx, ask.organization)
    if organization is None or _given_up(tx, ask):
        return None
    now = tx.now()
    organization = organizations.follow_clock(tx, organization, now)
    turns = _mine(tx, ask, organization["id"])
    if not turns:
        return None
    bucket = _usable(organizations.bucket(tx, organization), ask)
    decision = decide(bucket, _demand(tx, ask, organization["id"], turns, now), ask.limit, now)
    organizations.save_held(tx, organization["id"], bucket.held, decision.held)
    if isinstance(decision.outcome, Wait):
        return decision.outcome
    return _lease(tx, ask, owner, organization, go=decision.outcome, now=now)


def outlook(tx: Transaction, ask: Ask) -> Wait | None:
    """See `Queue.outlook`."""
    organization = organizations.find(tx, ask.organization)
    if organization is None or _given_up(tx, ask):
        return None
    now = tx.now()
    turns = _mine(tx, ask, organization["id"])
    if not turns:
        return None
    bucket = _usable(organizations.bucket(tx, organization), ask)
    outcome = decide(bucket, _demand(tx, ask, organization["id"], turns, now), ask.limit, now).outcome
    return outcome if isinstance(outcome, Wait) else None


def _given_up(tx: Transaction, ask: Ask) -> bool:
    run = tx.row(sql.RUN, run=ask.run_id)
    return run is None or RunState(run["state"]) is not RunState.ACTIVE


def _usable(bucket: Bucket, ask: Ask) -> Bucket:
    """The bucket with all of the limit's tokens: one that has no row yet was never out."""
    known = {token.number: token for token in bucket.tokens}
    numbers = range(1, ask.limit.snapshots + 1)
    return replace(bucket, tokens=tuple(known.get(number, Token(number=number)) for number in numbers))


def _mine(tx: Transaction, ask: Ask, organization: int) -> Turns:
    return _turns(tx, ask.run_id, organization, [kind(*pair) for pair in ask.without])


def _turns(tx: Transaction, run: str, organization: int, without: list[str]) -> Turns:
    rows = tx.rows(sql.EARLIEST, run=run, organization=organization, without=without)
    return {(Phase(r["phase"]), Priority(r["priority"])): r["until"] for r in rows if r["until"] is not None}


def _demand(tx: Transaction, ask: Ask, organization: int, turns: Turns, now: float) -> Demand:
    mine = _dues(turns, now, ask.epoch)
    return Demand(mine=mine, others=_others(tx, ask, organization, now))


def _dues(turns: Turns, now: float, epoch: float) -> dict[Priority, tuple[float, Reason]]:
    """When the earliest task of each class is due, in store time, and why it is not before."""
    found: dict[Priority, tuple[float, Reason]] = {}
    for (phase, priority), until in turns.items():
        if phase is Phase.READY:
            due = (now, Reason.OWN_QUOTA)
        elif phase is Phase.WINDOW:
            left = until - epoch  # by itself: added to `now` first, the last instant would be rounded away
            due = (now + left, Reason.WINDOW_NOT_OVER)
        elif phase is Phase.BACKOFF:
            due = (until, Reason.BACKOFF)
        else:
            continue
        found[priority] = min(due, found.get(priority, due))
    return found


def _others(tx: Transaction, ask: Ask, organization: int, now: float) -> frozenset[Priority]:
    """The classes that other runs have due tasks of, if a live process is able to send them."""
    serving = tx.rows(sql.OTHERS_SERVING, organization=organization, run=ask.run_id)
    able = {(row["run"], row["refused"]) for row in serving if tx.alive(row["owner"])}
    turns = (_turns(tx, run, organization, json.loads(refused)) for run, refused in sorted(able))
    dues = (_dues(found, now, ask.epoch) for found in turns)
    return frozenset(priority for found in dues for priority, (due, _) in found.items() if due <= now)


def _lease(tx: Transaction, ask: Ask, owner: str, organization: Row, *, go: Go, now: float) -> Lease | None:
    """Write a grant: the task's lease, the token's pessimistic return, the probe if it is one."""
    number, wall = organization["id"], tx.epoch()
    chosen = _next_task(tx, ask, number, go.priority, now)
    if chosen is None:
        return None
    changes: Mapping[str, object] = {
        "status": Status.LEASED.value,
        "attempt": chosen["attempt"] + 1,
        "owner": owner,
        "lease_key": chosen["key"],
        "lease_run": ask.run_id,
        "lease_limit": from_limit(ask.limit),
        "lease_timeout": ask.timeout,
        "lease_token": go.token,
        "granted_at": now,
        "granted_wall": wall,
        "evidence_at": evidence_time(ask.limit, ask.timeout, now),
    }
    task = save(tx, chosen, now, **changes)
    tx.change(
        sql.WRITE_RETURN,
        organization=number,
        number=go.token,
        returns_at=pessimistic_return(ask.limit, ask.timeout, now),
        written_at=now,
        written_wall=wall,
        full_hold=ask.limit.hold,
        task=task["id"],
        attempt=task["attempt"],
    )
    tx.change(sql.NOTE_GRANT, organization=number, now=now)
    if organization["last_limit"] != changes["lease_limit"]:
        tx.change(sql.NOTE_LIMIT, organization=number, limit=changes["lease_limit"])
    gate = to_gate(organization)
    if go.probe and gate is not None:
        probe = (task["id"], task["attempt"])
        probed = replace(gate, probe_until=task["evidence_at"])
        organizations.save_gate(tx, number, probed, organization["gate_wall"], probe)
    tx.remember_calendar(now)
    return to_lease(task, to_task(task), granted_boot=ask.boot, probe=go.probe)


def _next_task(tx: Transaction, ask: Ask, organization: int, priority: Priority, now: float) -> Row | None:
    """The due task that comes first in the plan; what has become due joins the ready ones before."""
    turn = {"run": ask.run_id, "organization": organization, "priority": int(priority)}
    for phase, until in ((Phase.WINDOW, ask.epoch), (Phase.BACKOFF, now)):
        tx.change(sql.RELEASE, **turn, phase=int(phase), now=until)
    return tx.row(sql.NEXT_TASK, **turn, without=[kind(*pair) for pair in ask.without])


# -- the life of a lease -----------------------------------------------------------------------------------


def sending(tx: Transaction, lease: Lease) -> None:
    """See `Queue.sending`."""
    task = leased(tx, lease, *IN_FLIGHT)
    now = tx.now()
    first = now if task["first_sent_at"] is None else task["first_sent_at"]
    save(tx, task, now, status=Status.SENDING.value, first_sent_at=first, sent_wall=tx.epoch())


def settle(tx: Transaction, lease: Lease, settlement: Settlement, *, jitter: float) -> None:
    """See `Queue.settle`."""
    late = (Status.UNCERTAIN,) if settlement.answered else ()
    task = leased(tx, lease, *IN_FLIGHT, *late)
    if Status(task["status"]) is Status.UNCERTAIN:
        task = _unended(tx, task, settlement)
    now, wall = tx.now(), tx.epoch()
    gate = _settle_gate(tx, task, settlement, jitter, now=now, wall=wall)
    if settlement.answered:
        _return_token(tx, task, settled_return(to_limit(task["lease_limit"]), now), now=now, wall=wall)
    save(tx, task, now, **_settled(task, settlement, gate, now=now, wall=wall))


def _unended(tx: Transaction, task: Row, settlement: Settlement) -> Row:
    """A task whose lease others had ended, as it was before that: its answer is here after all."""
    if not settlement.status.settled:
        tx.change(sql.REVIVE_RUN, run=task["lease_run"])
    return {
        **task,
        "tries": task["tries"] - 1,
        "evidence_due": None,
        "settled_at": None,
        "settled_wall": None,
    }


def _settle_gate(
    tx: Transaction, task: Row, settlement: Settlement, jitter: float, *, now: float, wall: float
) -> Gate | None:
    """Close the gate after a 429, open it after its probe was answered."""
    organization = tx.row(sql.ORGANIZATION, organization=task["organization"]) or {}
    gate, probing = to_gate(organization), _probes(organization, task)
    if settlement.closing is not None:
        limit = to_limit(task["lease_limit"])
        after = close_gate(
            gate, settlement.closing, limit, granted_at=task["granted_at"], now=now, jitter=jitter
        )
    elif probing:
        after = gate_after_probe(gate, answered=settlement.answered)
    else:
        return gate
    if after != gate:
        probe = (organization["gate_probe_task"], organization["gate_probe_attempt"])
        organizations.save_gate(tx, organization["id"], after, wall, probe)
    return after


def _probes(organization: Row, task: Row) -> bool:
    probe = (organization["gate_probe_task"], organization["gate_probe_attempt"])
    return probe == (task["id"], task["attempt"])


def _settled(
    task: Row, settlement: Settlement, gate: Gate | None, *, now: float, wall: float
) -> dict[str, object]:
    """What a settlement changes in its task."""
    tries = task["tries"] + settlement.counts
    closed_for = max(0.0, gate.until - now) if gate is not None and settlement.closing is not None else None
    changes = {
        "status": settlement.status.value,
        "tries": tries,
        "resends": task["resends"] + settlement.resent,
        "first_sent_at": _first_sent(task, tries, closed_for),
        "http_status": settlement.http_status,
        "problem": from_problem(settlement.problem),
        "duplicate_possible": bool(task["duplicate_possible"] or settlement.duplicate_possible),
        **from_snapshot(settlement.snapshot),
    }
    if settlement.status is Status.QUEUED:
        return {
            **changes,
            "owner": None,
            "retry_at": now + settlement.retry_in if settlement.retry_in > 0 else 0.0,
        }
    due = task["evidence_at"] if settlement.status is Status.UNCERTAIN else None
    return {**changes, "evidence_due": due, "settled_at": now, "settled_wall": wall}


def _first_sent(task: Row, tries: int, closed_for: float | None) -> float | None:
    """A wait behind a closed gate is no part of the time within which a task is attempted."""
    first: float | None = task["first_sent_at"]
    if closed_for is None or first is None:
        return first
    return None if tries == 0 else first + closed_for


def give_back(tx: Transaction, lease: Lease) -> None:
    """See `Queue.give_back`."""
    _unsend(tx, leased(tx, lease, *IN_FLIGHT))


def _unsend(tx: Transaction, task: Row) -> None:
    """Queue a task of which nothing was sent; its token is in."""
    now, wall = tx.now(), tx.epoch()
    _return_token(tx, task, IN_SINCE_EVER, now=now, wall=wall)
    _stop_probing(tx, task, wall)
    first = None if task["tries"] == 0 else task["first_sent_at"]
    save(tx, task, now, status=Status.QUEUED.value, owner=None, retry_at=0.0, first_sent_at=first)


def _return_token(tx: Transaction, task: Row, returns_at: float, *, now: float, wall: float) -> None:
    lease = {"organization": task["organization"], "task": task["id"], "attempt": task["attempt"]}
    tx.change(sql.SHORTEN_RETURN, **lease, returns_at=returns_at, now=now, wall=wall)


def _stop_probing(tx: Transaction, task: Row, wall: float) -> None:
    organization = tx.row(sql.ORGANIZATION, organization=task["organization"]) or {}
    if _probes(organization, task):
        organizations.save_gate(
            tx, organization["id"], gate_after_probe(to_gate(organization), answered=False), wall
        )


# -- dead owners -------------------------------------------------------------------------------------------


def take_over(tx: Transaction, found: Row, owner: str) -> bool:
    """End a lease whose holder is gone: queued again if nothing was sent, else uncertain."""
    try:
        task = hold(tx, {"owner": owner, "attempt": found["attempt"], "key": found["lease_key"]}, *IN_FLIGHT)
    except LeaseLost:
        return False
    if task["status"] == Status.LEASED:
        _unsend(tx, task)
    else:
        now, wall = tx.now(), tx.epoch()
        _stop_probing(tx, task, wall)
        changes = _settled(
            task, Settlement(status=Status.UNCERTAIN, answered=False, problem=DIED), None, now=now, wall=wall
        )
        save(tx, task, now, **changes)
    return True

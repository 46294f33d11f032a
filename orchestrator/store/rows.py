"""Rows of the tables as nouns, and nouns as rows."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import fields
from enum import IntEnum
from functools import lru_cache

from orchestrator.core import (
    MOST_RESENDS,
    Existence,
    Lease,
    Limit,
    ListedEvents,
    OnUncertain,
    Pace,
    PossibleEvent,
    Priority,
    Problem,
    Reason,
    RefusedOrganization,
    Result,
    Run,
    RunState,
    Snapshot,
    Status,
    Task,
    Window,
)
from orchestrator.ratelimit import Gate
from orchestrator.store.database import Row

BATCH = 500
"""Rows read or looked up at once: little memory, few round trips."""

Probe = tuple[int | None, int | None]
"""The lease that has the right to probe a gate: its task's number in the store, and its attempt."""

NO_PROBE: Probe = (None, None)


class Phase(IntEnum):
    """A task's state as the index of a run's turns knows it; `until` is what the phase waits for."""

    READY = 0  # may go; until is 0, so that the index goes by position
    WINDOW = 1  # until its window's data is complete, in epoch seconds by the API's calendar
    BACKOFF = 2  # until its next attempt, in store time
    TAKEN = 3  # leased or sending
    SETTLED = 4  # since `until`, in store time
    LOOK = 5  # from `until` on, in store time, evidence of its last attempt is looked for: it may be there already


def find_phase(task: Row, now: float) -> tuple[Phase, float]:
    """Where a task stands in its runs' turns."""
    status = Status(task["status"])
    if status.settled:
        return Phase.SETTLED, task["settled_at"]
    if status is not Status.QUEUED:
        return Phase.TAKEN, 0.0
    if task["evidence_due"] is not None:
        return Phase.LOOK, task["evidence_due"]
    if task["retry_at"] > now:
        return Phase.BACKOFF, task["retry_at"]
    return (Phase.WINDOW, task["ready_at"]) if task["ready_at"] > 0 else (Phase.READY, 0.0)


def kind(account_group: str, is_public: bool) -> str:
    """The text by which one pair that a permission may be refused for is stored: account group and is_public."""
    return f"{account_group}/{int(is_public)}"


def from_kinds(kinds: Iterable[tuple[str, bool]]) -> str:
    """Pairs that are refused, as JSON."""
    return json.dumps(sorted(kind(*pair) for pair in kinds))


def to_gate(organization: Row) -> Gate | None:
    """An organization's gate, None while it is open."""
    if organization["gate_until"] is None:
        return None
    return Gate(
        closed_at=organization["gate_closed_at"],
        until=organization["gate_until"],
        closings=organization["gate_closings"],
        probe_until=organization["probe_until"],
    )


def probing_lease(organization: Row) -> Probe:
    """The lease that probes an organization's gate."""
    return organization["gate_probe_task"], organization["gate_probe_attempt"]


def from_gate(gate: Gate | None, *, wall: float, probe: Probe) -> Mapping[str, object]:
    """A gate as its columns; `probe` is the lease that probes it."""
    task, attempt = probe if gate is not None and gate.probe_until is not None else NO_PROBE
    return {
        "closed_at": gate.closed_at if gate else None,
        "until": gate.until if gate else None,
        "closings": gate.closings if gate else 0,
        "wall": wall,
        "probe_task": task,
        "probe_attempt": attempt,
    }


def to_run(row: Row) -> Run:
    """A run."""
    return Run(
        id=row["id"],
        job=row["job"],
        files=tuple(json.loads(row["files"])),
        created_at=row["created_at"],
        state=RunState(row["state"]),
        tasks=row["tasks"],
        refused=to_refused(row["left_out"]),
    )


def to_refused(text: str | None) -> tuple[RefusedOrganization, ...]:
    """The organizations that a plan leaves out."""
    return tuple(
        RefusedOrganization(name=name, reason=Reason(reason), text=why)
        for name, reason, why in json.loads(text or "[]")
    )


def from_refused(refused: Iterable[RefusedOrganization]) -> str | None:
    """The same as JSON; None where there are none."""
    found = [(one.name, one.reason.value, one.text) for one in refused]
    return json.dumps(found) if found else None


def to_task(row: Row) -> Task:
    """A task as one run refers to it: from a row of the task, its organization and the reference."""
    expected = row["expect_saved_event"]
    return Task(
        organization=row["identity"],
        organization_name=row["organization_name"],
        account_group=row["account_group"],
        test_id=row["test_id"],
        window=Window(start=row["window_start"], end=row["window_end"]),
        is_public=bool(row["is_public"]),
        generation=row["generation"],
        test_name=row["test_name"],
        display_name=row["display_name"],
        job_name=row["job_name"],
        priority=Priority(row["priority"]),
        position=row["position"],
        ready_at=row["ready_at"],
        on_uncertain=OnUncertain(row["on_uncertain"]),
        expect_saved_event=None if expected is None else bool(expected),
        sent_as=row["lease_key"],
        unverified=bool(row["unverified"]),
    )


def to_bare_task(row: Row) -> Task:
    """The task without what a run says of it: enough for its key."""
    said = {"position": 0, "priority": 1, "job_name": "", "on_uncertain": "hold", "expect_saved_event": None}
    return to_task({**row, **said, "unverified": 0})


def from_task(task: Task, organization: int, *, base_key: str) -> dict[str, object]:
    """A new task as its columns, whichever run refers to it."""
    return {
        "key": task.key if task.generation else base_key,
        "base_key": base_key,
        "generation": task.generation,
        "organization": organization,
        "account_group": task.account_group,
        "test_id": task.test_id,
        "test_name": task.test_name,
        "window_start": task.window.start,
        "window_end": task.window.end,
        "is_public": task.is_public,
        "display_name": task.display_name,
        "ready_at": task.ready_at,
    }


def from_listing(task: Task) -> dict[str, object]:
    """The columns that keep if a saved event of the name of a task, which nobody was granted yet, is there already."""
    seen = task.saved_events
    if seen is None or task.generation:
        return {"listed": None, "listed_at": None}
    titles = {task.title(resends) for resends in range(MOST_RESENDS + 1)}
    return {"listed": int(not titles.isdisjoint(seen.names)), "listed_at": seen.read_at}


def from_reference(task: Task) -> dict[str, object]:
    """A run's reference to a task, as its columns."""
    return {
        "organization_name": task.organization_name,
        "priority": int(task.priority),
        "kind": kind(task.account_group, task.is_public),
        "job_name": task.job_name,
        "on_uncertain": task.on_uncertain.value,
        "expect_saved_event": task.expect_saved_event,
        "unverified": task.unverified,
    }


def to_result(row: Row, task: Task, run: str | None) -> Result:
    """A task and what is known of it, as seen from a run (None: from none)."""
    status = Status(row["status"])
    return Result(
        task=task,
        status=status,
        made_here=status is not Status.CREATED or row["lease_run"] == run,
        snapshot=to_snapshot(row["snapshot"]),
        problem=to_problem(row["problem"]),
        http_status=row["http_status"],
        attempts=row["tries"],
        duplicate_possible=bool(row["duplicate_possible"]),
        found=row["found"],
        resends=row["resends"],
        evidence_due=row["evidence_due"],
        listed=None if row["listed"] is None else bool(row["listed"]),
        listed_at=row["listed_at"],
        possible_event=to_possible_event(row["possible_event"]),
        queued_wall=row["queued_wall"],
        sent_wall=row["sent_wall"],
        settled_wall=row["settled_wall"],
        granted_wall=row["granted_wall"],
    )


def find_existence(row: Row, listed: ListedEvents | None, epoch: float) -> Existence:
    """Tell if the snapshot of a task that was made is there still, by its account group's list (None: not read)."""
    bare = to_bare_task({"identity": "", "organization_name": "", **row})
    return to_result(row, bare, None).existence(listed, epoch)


def to_lease(row: Row, task: Task, *, granted_boot: float = 0.0, probe: bool = False) -> Lease:
    """The last lease of a task. Without `granted_boot` its first byte must not leave any more."""
    return Lease(
        task=task,
        run_id=row["lease_run"],
        owner=row["owner"],
        attempt=row["attempt"],
        token=row["lease_token"],
        granted_at=row["granted_at"],
        granted_boot=granted_boot,
        limit=to_limit(row["lease_limit"]),
        timeout=row["lease_timeout"],
        probe=probe,
        tries=row["tries"],
        first_sent_at=row["first_sent_at"],
        resends=row["resends"],
        duplicate_possible=bool(row["duplicate_possible"]),
    )


# Written and read with every grant and every end of an attempt; all organizations of a run have a few limits between them.
@lru_cache(maxsize=64)
def from_limit(limit: Limit) -> str:
    """A limit as JSON."""
    return _as_json(limit)


@lru_cache(maxsize=64)
def to_limit(text: str) -> Limit:
    """A limit from JSON."""
    found = json.loads(text)
    return Limit(**{**found, "pace": Pace(found["pace"])})


def from_snapshot(snapshot: Snapshot | None) -> dict[str, str | None]:
    """A snapshot as its columns."""
    if snapshot is None:
        return {"snapshot_id": None, "event_id": None, "snapshot": None}
    return {
        "snapshot_id": snapshot.id,
        "event_id": snapshot.event_id,
        "snapshot": _as_json(snapshot),
    }


def to_snapshot(text: str | None) -> Snapshot | None:
    """A snapshot from JSON."""
    return None if text is None else Snapshot(**json.loads(text))


def from_possible_event(event: PossibleEvent | None) -> str | None:
    """A saved event that may be an uncertain task's, as JSON."""
    return None if event is None else _as_json(event)


def to_possible_event(text: str | None) -> PossibleEvent | None:
    """A saved event that may be an uncertain task's, from JSON."""
    return None if text is None else PossibleEvent(**json.loads(text))


def from_problem(problem: Problem | None) -> str | None:
    """A problem as JSON."""
    return None if problem is None else _as_json(problem)


def to_problem(text: str | None) -> Problem | None:
    """A problem from JSON."""
    if text is None:
        return None
    found = json.loads(text)
    return Problem(**{**found, "fields": tuple((field, message) for field, message in found["fields"])})


def _as_json(noun: Limit | Snapshot | PossibleEvent | Problem) -> str:
    """A noun of plain values, by the names of its fields."""
    return json.dumps({field.name: getattr(noun, field.name) for field in fields(noun)})

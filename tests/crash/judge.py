"""What the server's log, the store, the ledger and the outputs say, held against the law: pure functions."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from orchestrator.core.tasks import Result, Status, Task
from orchestrator.simulator import LoggedRequest
from tests.crash import ledger as noted
from tests.crash.ledger import Note
from tests.support.server_log import find_duplicates, most_in_any_window, refusals


class Law(StrEnum):
    """What must not happen."""

    OVER = "windows over the limit"
    LOST = "lost"
    TWICE = "made twice"
    AGAIN = "created but sent again"
    FORGOTTEN = "perhaps sent, but not uncertain"
    UNSENT = "uncertain, but never sent"
    TORN = "plans frozen in part"
    UNTRUE = "records that are not true"
    INCOMPLETE = "outputs that are not complete"
    BROKEN = "workers that broke down"


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """One breach of a law."""

    law: Law
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """What one process printed; `whole` when it came to its end."""

    name: str
    run_id: str
    whole: bool
    records: Sequence[Mapping[str, object]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """Everything there is to judge by; `plans` is how many tasks each run was to have."""

    log: Sequence[LoggedRequest]
    period: float
    limit: int
    plans: Mapping[str, int] = field(default_factory=dict)
    results: Mapping[str, Sequence[Result]] = field(default_factory=dict)
    notes: Sequence[Note] = ()
    outputs: Sequence[Output] = ()
    broken: Sequence[str] = ()


Wanted = tuple[str | None, float | None, float | None, bool | None]


def violations(seen: Seen) -> list[Violation]:
    """Every breach of every law."""
    found = (*_quota(seen), *_made(seen), *_stored(seen), *_attempts(seen), *_printed(seen))
    return [*found, *(Violation(law=Law.BROKEN, text=text) for text in seen.broken)]


def busiest(log: Sequence[LoggedRequest], period: float) -> int:
    """The most snapshots of any organization in any window."""
    organizations = {entry.organization for entry in log if entry.organization}
    return max((most_in_any_window(log, one, period) for one in organizations), default=0)


def snapshot_refusals(log: Sequence[LoggedRequest]) -> list[LoggedRequest]:
    """Requests that the limit on snapshots refused.

    The limit of 240 requests a minute is another one, and not scaled here: the surveys of hundreds of
    processes in some seconds may exhaust it.
    """
    return [entry for entry in refusals(log) if entry.exhausted == "snapshots"]


def _quota(seen: Seen) -> Iterator[Violation]:
    for entry in snapshot_refusals(seen.log):
        yield Violation(law=Law.OVER, text=f"{entry.display_name or entry.path} was refused with 429")
    most = busiest(seen.log, seen.period)
    if most > seen.limit:
        yield Violation(law=Law.OVER, text=f"{most} snapshots within {seen.period:g} s")


def _made(seen: Seen) -> Iterator[Violation]:
    for wanted, times in find_duplicates(seen.log).items():
        yield Violation(law=Law.TWICE, text=f"test {wanted[2]} of {wanted[3]} was made {times} times")
    made: dict[Wanted, float] = {}
    for entry in sorted(_whole_posts(seen.log), key=lambda entry: entry.arrived):
        asked = _asked(entry)
        if asked in made and entry.arrived > made[asked]:
            yield Violation(law=Law.AGAIN, text=f"{entry.display_name} was sent again after it had been made")
        if entry.counted:
            made.setdefault(asked, entry.counted_at or entry.arrived)


def _whole_posts(log: Sequence[LoggedRequest]) -> Iterator[LoggedRequest]:
    return (entry for entry in log if entry.method == "POST" and entry.start is not None)


def _stored(seen: Seen) -> Iterator[Violation]:
    """Every task of every plan is there and settled, and what was made is known or uncertain."""
    for run_id, tasks in seen.plans.items():
        found = seen.results.get(run_id, ())
        if len(found) != tasks:
            yield Violation(law=Law.TORN, text=f"run {run_id} has {len(found)} tasks instead of {tasks}")
    made = {_asked(entry): entry for entry in seen.log if entry.counted}
    for key, result in _tasks(seen).items():
        yield from _task(key, result, made.get(_wanted(result.task)))


def _tasks(seen: Seen) -> dict[str, Result]:
    """Every task once, whichever runs refer to it."""
    return {result.task.key: result for results in seen.results.values() for result in results}


def _asked(entry: LoggedRequest) -> Wanted:
    return (entry.test, entry.start, entry.end, entry.is_public)


def _wanted(task: Task) -> Wanted:
    return (task.test_id, float(task.window.start), float(task.window.end), task.is_public)


def _task(key: str, result: Result, made: LoggedRequest | None) -> Iterator[Violation]:
    status = result.status
    if not status.settled:
        yield Violation(law=Law.LOST, text=f"task {key} is still {status} when all is done")
    elif status is Status.CREATED and made is None:
        yield Violation(law=Law.LOST, text=f"task {key} counts as created, and the server never made it")
    elif status is Status.FAILED:
        yield Violation(law=Law.LOST, text=f"task {key} failed: {result.problem}")
    if made is not None and status not in (Status.CREATED, Status.UNCERTAIN):
        yield Violation(law=Law.FORGOTTEN, text=f"task {key} was made, and the store says {status}")


def _attempts(seen: Seen) -> Iterator[Violation]:
    """What may have been sent is created or uncertain, and nothing else is uncertain."""
    asked, open_, closed = set[tuple[str, int]](), set[tuple[str, int]](), set[tuple[str, int]]()
    latest: dict[str, int] = defaultdict(int)
    for note in seen.notes:
        attempt = (note.key, note.attempt)
        latest[note.key] = max(latest[note.key], note.attempt)
        if note.what == noted.ASKED:
            asked.add(attempt)
        elif note.what == noted.COMMITTED:
            open_.add(attempt)
        elif note.what == noted.REQUEUED:
            closed.add(attempt)
    tasks = _tasks(seen)
    for key, number in sorted(open_ - closed):
        if latest[key] > number:
            yield Violation(
                law=Law.FORGOTTEN,
                text=f"task {key}: attempt {number} may have been sent, {latest[key]} followed",
            )
        elif key in tasks and not tasks[key].status.settled:
            yield Violation(
                law=Law.FORGOTTEN,
                text=f"task {key}: attempt {number} may have been sent, now {tasks[key].status}",
            )
    for key, result in tasks.items():
        if result.status is Status.UNCERTAIN and (key, latest[key]) not in asked:
            text = f"task {key} is uncertain, and its attempt {latest[key]} was never about to be sent"
            yield Violation(law=Law.UNSENT, text=text)


def _printed(seen: Seen) -> Iterator[Violation]:
    for output in seen.outputs:
        results = {result.task.key: result for result in seen.results.get(output.run_id, ())}
        records = [record for record in output.records if str(record["event"]).startswith("snapshot.")]
        for record in records:
            yield from _record(output, record, results.get(str(record["task"])))
        if output.whole:
            yield from _whole(output, records, len(results))


def _record(output: Output, record: Mapping[str, object], result: Result | None) -> Iterator[Violation]:
    """A record of something created is true for good; an uncertain task may be found later."""
    said = str(record["event"]).removeprefix("snapshot.")
    if said in ("created", "existing"):
        said = "created"
        true = result is not None and result.status is Status.CREATED and result.snapshot is not None
        if true and result is not None and result.snapshot is not None:
            true = result.snapshot.id == record["snapshot_id"]
    else:
        true = result is not None and (said == result.status or result.status is Status.CREATED)
    if not true:
        now = "unknown" if result is None else result.status.value
        yield Violation(law=Law.UNTRUE, text=f"{output.name}: task {record['task']} was {said} and is {now}")


def _whole(output: Output, records: Sequence[Mapping[str, object]], tasks: int) -> Iterator[Violation]:
    """One record for each task, and a last one whose counts add up to them."""
    last = output.records[-1] if output.records else {}
    counts = last.get("counts")
    times = Counter(str(record["task"]) for record in records)
    if len(times) != tasks or set(times.values()) - {1}:
        yield Violation(
            law=Law.INCOMPLETE, text=f"{output.name}: {len(records)} records of {len(times)} of {tasks} tasks"
        )
    if last.get("event") != "run.finished" or not isinstance(counts, dict) or sum(counts.values()) != tasks:
        yield Violation(
            law=Law.INCOMPLETE, text=f"{output.name}: its last record is {last} for {tasks} tasks"
        )

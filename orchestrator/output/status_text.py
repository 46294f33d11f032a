"""The state of runs, read from the store alone, as `tesnap status` and `tesnap runs` show it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from functools import partial

from orchestrator import core
from orchestrator.core import (
    TROUBLE,
    Counts,
    Limit,
    PossibleEvent,
    Reason,
    Result,
    RunState,
    Start,
    Waiting,
    harmless,
    plural,
)
from orchestrator.output import records, sentences
from orchestrator.output.table import Column, table_lines
from orchestrator.ratelimit import estimate_done
from orchestrator.store import Ask, Loss, RunSummary, RunView, ServingProcess, Store
from orchestrator.windows import clock_time, window_text

_RUN_COLUMNS = (
    Column(head="run", least=6),
    Column(head="started", least=20),
    Column(head="ended"),
    Column(head="length"),
    Column(head="exit"),
    Column(head="state", least=10),
    Column(head="job", least=24, most=24),
    Column(head="snapshots"),
)

STOPPED = "stopped"
"""The state of a run that is to be worked on, and nobody does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStatus:
    """One run, its organizations' counts by the user's name for them, and their waits. `now` is epoch seconds.

    `start` is what is remembered of its last process, `loss` that of the store, while it concerns what is sent.
    """

    view: RunView
    organizations: dict[str, Counts]
    waiting: tuple[Waiting, ...]
    now: float
    start: Start | None = None
    loss: Loss | None = None

    @property
    def reasons(self) -> set[str]:
        """Why tasks are pending."""
        return {why.reason.value for why in self.waiting}


def load_status(store: Store, run_id: str) -> RunStatus:
    """The state of one run, with the limits that were last granted by."""
    view, now = store.views.run(run_id), store.epoch()
    counts = {view.names.get(identity, identity): counts for identity, counts in view.counts.items()}
    waiting = (*_load_waits(store, view, now).values(), *_load_searches(store, view, now))
    loss = store.views.loss()
    open_loss = loss if loss is not None and not loss.ended else None
    start = store.starts.last_of([run_id]).get(run_id)
    return RunStatus(view=view, organizations=counts, waiting=waiting, now=now, start=start, loss=open_loss)


def pending_reasons(store: Store, view: RunView) -> dict[str, str]:
    """The reason why an organization's tasks of a run are pending, by its identity, as far as the store knows."""
    if view.run.state is RunState.CANCELLED:
        return dict.fromkeys(view.counts, RunState.CANCELLED.value)
    return {identity: why.reason.value for identity, why in _load_waits(store, view, store.epoch()).items()}


def _load_waits(store: Store, view: RunView, now: float) -> dict[str, Waiting]:
    """The wait of each organization that has something pending."""
    if view.run.state is RunState.CANCELLED:
        return {}
    serving = store.views.serving_processes(view.run.id)
    remembered = {} if view.processes else store.starts.reasons(view.run.id)
    waiting = {
        identity: _load_wait(
            store, view, identity, serving.get(identity, ()) or _absent(remembered.get(identity)), now
        )
        for identity, counts in view.counts.items()
        if counts.pending
    }
    return {identity: why for identity, why in waiting.items() if why is not None}


def _load_searches(store: Store, view: RunView, now: float) -> Iterator[Waiting]:
    """The search for lost answers in each organization, while a process is there to look and nothing else is left."""
    if view.total.pending or not view.processes:
        return
    ahead = now - store.now()
    for identity, search in store.views.searches(view.run.id).items():
        yield Waiting(
            organization=view.names.get(identity, identity),
            reason=Reason.EVIDENCE,
            until=search.due + ahead if search.due + ahead > now else None,
            left=search.tasks,
            done=search.ends_at + ahead,
        )


def _absent(reason: str | None) -> tuple[ServingProcess, ...]:
    """The last process of a run, as far as what hindered it hinders the next one, too."""
    known = None if reason is None or reason not in set(TROUBLE) else Reason(reason)
    return () if known is None else (ServingProcess(stopped=known),)


def _load_wait(
    store: Store, view: RunView, identity: str, serving: Sequence[ServingProcess], now: float
) -> Waiting | None:
    """The wait of one organization: what hinders every process that serves it, or else what the store says."""
    counts, limit = view.counts[identity], store.organizations.bucket(identity).last_limit or Limit()
    waiting = partial(Waiting, organization=view.names.get(identity, identity), left=counts.pending)
    able = [one for one in serving if one.stopped is None]
    if not able:
        stopped = next(iter(serving), ServingProcess(stopped=Reason.NOBODY_RUNNING))
        return waiting(reason=stopped.stopped or Reason.NOBODY_RUNNING, until=stopped.stopped_until)
    refused = frozenset.intersection(*(one.refused for one in able))
    ask = Ask(
        organization=identity, run_id=view.run.id, limit=limit, timeout=60.0, epoch=now, without=refused
    )
    (wait,) = store.queue.outlook([ask])
    if wait is None:
        return waiting(reason=Reason.PERMISSION_REFUSED, until=None) if refused else None
    until = None if wait.until is None else now + max(0.0, wait.until - store.now())
    done = None if until is None else estimate_done(counts.queued, until=until, limit=limit)
    return waiting(reason=wait.reason, until=until, done=done, slots=limit.usable)


def status_lines(status: RunStatus, zone: tzinfo, *, store: str = "") -> Iterator[str]:
    """The run as text; `store` is the option that the next command needs, too."""
    run = status.view.run
    started = clock_time(run.created_at, status.now, zone)
    yield f"{harmless(run.job)}, started {started}, {_state(status.view)}{_processes(status.view)}"
    yield sentences.progress_text(run.id, status.view.total, live=status.view.processes > 0)
    for name, counts in status.organizations.items():
        yield f"  {harmless(name)}: {sentences.counts_text(counts)}"
    for why in sorted(status.waiting, key=lambda why: why.urgency):
        yield sentences.waiting_text(why, status.now, zone)
    if status.loss is not None:
        yield sentences.loss_text(status.loss, status.now, zone)
    if status.start is not None:
        live, cancelled = status.view.processes > 0, run.state is RunState.CANCELLED
        yield sentences.process_text(status.start, status.now, zone, live=live, cancelled=cancelled)
    yield from map(sentences.left_out_text, run.refused)
    if command := _next_command(status, store):
        yield f"next: {command}"


def _next_command(status: RunStatus, where: str) -> str:
    """The commands to type next for a run that nobody works on."""
    view, run, counts = status.view, status.view.run, status.view.total
    if view.processes:
        return ""
    steps = sentences.next_steps(run, counts, where=where, reasons=status.reasons)
    report = f"tesnap report {run.id}{where}" if counts.settled else ""
    return ", then ".join(map(str, steps)) or report


def describe_uncertain(result: Result, zone: tzinfo) -> Iterator[str]:
    """An uncertain snapshot, and what to look for in the web app to find out whether it was made."""
    task = result.task
    test = f"test {task.test_id} {harmless(task.test_name or '')}".rstrip()
    yield f"{task.short_key}  {harmless(task.organization_name)}, {test}, window {window_text(task.window, zone)}"
    sent = (
        "" if result.sent_wall is None else f"sent {clock_time(result.sent_wall, None, zone, seconds=True)}: "
    )
    yield f"  {sent}{sentences.problem_text(result.problem) if result.problem else 'no answer'}"
    group = (
        f"account group {task.account_group}" if task.account_group else "the token's default account group"
    )
    yield f"  look in ThousandEyes, {group}, among the shared and private snapshots for one called"
    yield f"    {harmless(task.title(result.resends))}"
    if result.possible_event is not None:
        yield f"  {_describe_possible(result, result.possible_event, zone)}"


def _describe_possible(result: Result, event: PossibleEvent, zone: tzinfo) -> str:
    """The saved event of an uncertain task's name, and how old it is; dated unless it is the request's day."""
    dated = "without a date"
    if event.created_at is not None:
        dated = f"dated {clock_time(event.created_at, result.sent_wall or 0.0, zone)}"
    age = "which may be older than the request"
    if result.listed and result.listed_at is not None:
        age = f"which was there already at {clock_time(result.listed_at, result.sent_wall or 0.0, zone)}, before the request"
    return f"there is one: ID {harmless(event.id)}, {dated}, {age}"


def _state(view: RunView | RunSummary) -> str:
    """A run whose process was killed at the very end, or whose rest another run made, has finished, too.

    What nobody works on is not active.
    """
    if view.run.state is not RunState.ACTIVE or view.processes:
        return view.run.state
    return STOPPED if view.total.pending else RunState.FINISHED


def _processes(view: RunView) -> str:
    """The number of processes that work on it, where that is not plain from its state."""
    if not view.processes:
        return ", no process is working on it" if _state(view) == STOPPED else ""
    return (
        f", {plural(view.processes, 'process', 'es')} {'is' if view.processes == 1 else 'are'} working on it"
    )


def status_document(status: RunStatus) -> dict[str, object]:
    """The run as one JSON document."""
    waiting = [records.wait_fields(why) for why in status.waiting]
    organizations = {name: _count_fields(counts) for name, counts in status.organizations.items()}
    loss = status.loss
    lost = {} if loss is None else {"store_lost": {"at": core.utc_text(loss.at), "cause": loss.cause}}
    return {
        **run_document(status.view.summary, status.start),
        "organizations": organizations,
        "waiting": waiting,
        **lost,
    }


def run_document(view: RunSummary, start: Start | None = None) -> dict[str, object]:
    """A run as JSON has it, and what is remembered of its last process."""
    refused = [
        {"organization": one.name, "reason": one.reason.value, "text": one.text} for one in view.run.refused
    ]
    last = {} if start is None else {"last_start": _start_fields(start)}
    return {
        "run_id": view.run.id,
        "job": view.run.job,
        "state": _state(view),
        "created_at": core.utc_text(view.run.created_at),
        "processes": view.processes,
        "counts": _count_fields(view.total),
        **({"refused": refused} if refused else {}),
        **last,
    }


def _start_fields(start: Start) -> records.Record:
    return records.known_fields(
        {
            "command": start.command,
            "user": start.user,
            "host": start.host,
            "pid": start.pid,
            "version": start.version,
            "part": start.part or None,
            "began_at": core.utc_text(start.began_at),
            "ended_at": records.utc_or_none(start.ended_at),
            "exit_code": start.exit_code,
            "last_line": start.last_line or None,
        }
    )


def _count_fields(counts: Counts) -> dict[str, int]:
    return {**records.count_fields(counts), "sending": counts.sending}


def runs_table(
    views: Sequence[RunSummary],
    starts: Mapping[str, Start],
    now: float,
    zone: tzinfo,
    *,
    room: int | None = None,
) -> Iterator[str]:
    """Runs as a table, in the terminal's `room`, with what is remembered of their last processes."""
    if not views:
        yield "no runs yet"
        return
    rows = [_run_cells(view, starts.get(view.run.id), now, zone) for view in views]
    yield from table_lines(_RUN_COLUMNS, rows, room=room)
    if any(view.processes for view in views):
        yield "* a process is working on it"


def _run_cells(view: RunSummary, start: Start | None, now: float, zone: tzinfo) -> tuple[str, ...]:
    started = clock_time(view.run.created_at, now, zone)
    state = f"{_state(view)}*" if view.processes else _state(view)
    ended = None if start is None or view.processes else start.ended_at
    until = "" if ended is None else clock_time(ended, now, zone)
    length = "" if ended is None else sentences.duration_text(ended - view.run.created_at)
    code = "" if ended is None or start is None else str(start.exit_code)
    job = harmless(view.run.job)
    return view.run.id, started, until, length, code, state, job, sentences.counts_text(view.total)

"""One start of a job from its beginning to its end: remembered in the store, pinged, measured.

None of this ever changes how a run goes or ends: what fails here is a warning.
"""

from __future__ import annotations

import getpass
import os
import sys
import uuid
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from orchestrator import __version__
from orchestrator.api import PingMessage, PingMoment, read_address, send_ping
from orchestrator.app.organizations import USER_AGENT
from orchestrator.core import (
    Clock,
    Counts,
    Ending,
    Event,
    ExitCode,
    JobFile,
    Ping,
    Run,
    RunState,
    Start,
    StartEnd,
    TesnapError,
    UsageError,
)
from orchestrator.store import Store

START_TIME, END_TIME, HURRIED_TIME = 5.0, 10.0, 2.0
"""Seconds that pings may take: at the start, at an end, and at an early end, when a supervisor may be about to kill."""

PINGS_AT_ONCE = 32
"""With 400 organizations that each have a switch, 0.3 s away, those at the end take 4 s."""


class Watching(NamedTuple):
    """Who watches a job besides its user: a metrics file, with each organization if wanted, and a dead man's switch."""

    metrics: Path | None = None
    organizations: bool = False
    ping: Ping | None = None


class _Switch(NamedTuple):
    """A dead man's switch and whose it is: the job's, or of one organization by its name."""

    ping: Ping
    organization: str | None = None


class JobStart:
    """A start of the jobs of a file by this process; a part of them is no success, and the file tells nobody of it."""

    def __init__(
        self,
        jobfile: JobFile,
        *,
        command: str,
        clock: Clock,
        environ: Mapping[str, str],
        watching: Watching | None = None,
    ) -> None:
        self._jobfile, self._clock, self._environ = jobfile, clock, environ
        self._watching = watching or Watching()
        self._start = _make_start(jobfile, command)
        self._began, self._mark = clock.boot(), ""
        self._series = str(uuid.uuid4())
        self._ending: Ending | None = None
        self._whole: Mapping[str, int] = {}
        self._pool = ThreadPoolExecutor(PINGS_AT_ONCE, thread_name_prefix="ping")
        self._starting: list[Future[str | None]] = []
        self._store: Store | None = None
        self._outcome: tuple[int, str] = (ExitCode.BROKEN, "")
        self.warnings: list[Event] = []

    def remember(self, store: Store) -> None:
        """Remember the start from now on."""
        self._store = store
        with self._forgiving("the start of the run could not be remembered"):
            self._mark = store.starts.begin(self._start)

    @property
    def outcome(self) -> tuple[int, str]:
        """Exit code and last line of the run."""
        return self._outcome

    def begin(self, run: Run) -> None:
        """Say which run it has come to; the switches hear of it, but of one that was finished before."""
        self._start = self._start._replace(run_id=run.id)
        self._series = str(uuid.uuid5(uuid.NAMESPACE_URL, f"tesnap:{run.id}:{self._mark or self._series}"))
        if self._store is not None and self._mark:
            with self._forgiving("the start of the run could not be remembered"):
                self._store.starts.set_run(self._mark, run.id)
        if run.state is not RunState.FINISHED:
            message = PingMessage(moment=PingMoment.START, series=self._series, text=f"run {run.id} started")
            self._starting = [
                self._pool.submit(self._ping, one, message, self._clock.boot() + START_TIME)
                for one in self._switches
                if one.ping.start
            ]

    def note_ending(self, ending: Ending, last_line: str) -> None:
        """Note how the run ended."""
        self._ending, self._outcome = ending, (ending.exit_code, last_line)

    def finish(self, exit_code: int, last_line: str) -> None:
        """Remember the end and write the metrics; the store is open still."""
        if self._store is None:
            return
        with self._forgiving("the end of the run could not be remembered"):
            reasons = {} if self._ending is None else self._ending.reasons
            self._whole = self._find_whole(self._store)
            end = StartEnd(exit_code=exit_code, last_line=last_line, reasons=reasons, whole=self._whole)
            if self._mark:
                self._store.starts.end(self._mark, self._start, end)
        if self._watching.metrics is not None:
            with self._forgiving(f"{self._watching.metrics}: the metrics could not be written"):
                self._write_metrics(self._watching.metrics, self._store)

    def _write_metrics(self, path: Path, store: Store) -> None:
        from orchestrator.output import load_figures, metrics_text, write_metrics

        figures = load_figures(store, self._start.job)
        write_metrics(path, metrics_text([figures], organizations=self._watching.organizations))

    def _find_whole(self, store: Store) -> dict[str, int]:
        """The organizations of the run of which everything is made, with how many tasks."""
        if self._ending is None:
            return {}
        refused = {one.name for one in self._ending.run.refused}
        view = store.views.run(self._ending.run.id)
        names = {view.names.get(identity, identity): counts for identity, counts in view.counts.items()}
        return {
            name: counts.total
            for name, counts in names.items()
            if _is_whole(counts) and refused.isdisjoint(name.split("+"))
        }

    def say_goodbye(self, exit_code: int, last_line: str) -> None:
        """Tell the switches how it ended, within a time that holds up nobody, and let the threads go."""
        early = exit_code == ExitCode.STOPPED_EARLY
        seconds = HURRIED_TIME if early else END_TIME
        ends = self._clock.boot() + seconds
        wait(self._starting, timeout=self._clock.real(seconds / 2))  # an end goes after its start
        pings = {
            self._pool.submit(self._ping, one, self._message(one, exit_code, last_line), ends): one
            for one in self._switches
        }
        done, late = wait(pings, timeout=self._clock.real(ends - self._clock.boot()))
        problems = [one.result() for one in (*self._starting, *done) if one.done()]
        problems += [_problem(pings[one].ping, "nobody answered in time") for one in late]
        self._pool.shutdown(wait=False, cancel_futures=True)
        for problem in filter(None, problems):
            text = f"{problem}; the run itself is not affected"
            self.warnings.append(Event(name="ping.failed", text=text, level="warning"))

    def _message(self, switch: _Switch, exit_code: int, last_line: str) -> PingMessage:
        """The message of the end; that of an organization says nothing of another one."""
        counts = None if self._ending is None else self._ending.counts
        if switch.organization is not None:
            name = switch.organization
            whole = name in {part for one in self._whole for part in one.split("+")}
            early = exit_code == ExitCode.STOPPED_EARLY
            exit_code = ExitCode.DONE if whole else exit_code if early else ExitCode.NOT_ALL_MADE
            counts, last_line = None, f"{name}: {'everything is made' if whole else 'not everything is made'}"
        return PingMessage(
            moment=_moment(exit_code),
            series=self._series,
            text=last_line,
            exit_code=exit_code,
            counts=counts,
            seconds=self._clock.boot() - self._began,
        )

    @property
    def _switches(self) -> list[_Switch]:
        """Those that are told: of the options, else of the file, unless only a part of it was meant."""
        if self._watching.ping is not None:
            return [_Switch(ping=self._watching.ping)]
        if self._jobfile.part:
            return []
        own = [
            _Switch(ping=one.ping, organization=one.name)
            for name in self._jobfile.wanted_organizations
            if (one := self._jobfile.organizations[name]).ping is not None
        ]
        return [*([_Switch(ping=self._jobfile.ping)] if self._jobfile.ping else []), *own]

    def _ping(self, switch: _Switch, message: PingMessage, ends: float) -> str | None:
        """Ping one switch before the boot clock shows `ends`; why not, with the file that holds its address."""
        ping = switch.ping
        try:
            problem = send_ping(
                read_address(ping),
                ping.style,
                message,
                ends - self._clock.boot(),
                clock=self._clock,
                http=self._jobfile.http,
                environ=self._environ,
                user_agent=USER_AGENT,
            )
        except UsageError as error:
            problem = str(error)
        return problem and _problem(ping, problem)

    @contextmanager
    def _forgiving(self, what: str) -> Iterator[None]:
        try:
            yield
        except (TesnapError, OSError) as error:
            self.warnings.append(Event(name="run.not_remembered", text=f"{what}: {error}", level="warning"))


def _make_start(jobfile: JobFile, command: str) -> Start:
    """The start of a job by this process, now."""
    return Start(
        job=jobfile.name,
        title=jobfile.title,
        command=command,
        user=user_name(),
        host=os.uname().nodename,
        pid=os.getpid(),
        version=__version__,
        part=jobfile.part,
        attended=sys.stderr is not None and sys.stderr.isatty(),
    )


def user_name() -> str:
    """The name of this process's user; the number of one that has none."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def _problem(ping: Ping, why: str) -> str:
    return f"{ping.style} was not pinged ({ping.url_file}): {why}"


def _is_whole(counts: Counts) -> bool:
    return not (counts.failed or counts.uncertain or counts.pending)


def _moment(exit_code: int) -> PingMoment:
    if exit_code == ExitCode.STOPPED_EARLY:
        return PingMoment.STOPPED
    return PingMoment.FAILURE if exit_code else PingMoment.SUCCESS

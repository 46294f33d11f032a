"""A start of a job as the command line follows it: remembered, measured, pinged, on whatever way it ends."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import click

from orchestrator.cli.options import Command, OutputOptions, option, option_group
from orchestrator.cli.process import find_exit_code
from orchestrator.core import JobFile, Ping, PingStyle, TesnapError, UsageError

if TYPE_CHECKING:
    from orchestrator.app import JobStart
    from orchestrator.store import Store

metrics_organizations_option = option(
    "--metrics-organizations",
    is_flag=True,
    help="Also for each organization: its last success, its counts, and why not all of it is made.",
)

_WATCH_OPTIONS = option_group(
    option(
        "--metrics",
        type=click.Path(path_type=Path, dir_okay=False),
        metavar="FILE",
        help="Write Prometheus metrics of the job into this file (*.prom), for node_exporter's textfile collector.",
    ),
    metrics_organizations_option,
    option(
        "--ping-url-file",
        metavar="FILE",
        help="Ping the dead man's switch whose address is in this file, instead of the job file's.",
    ),
    option(
        "--ping-style",
        type=click.Choice([style.value for style in PingStyle]),
        default=PingStyle.HEALTHCHECKS.value,
        help="The service that it is of, or plain: a GET on success [healthchecks].",
    ),
)


class WatchOptions(NamedTuple):
    """The options about who watches a job, as they were given."""

    metrics: Path | None = None
    metrics_organizations: bool = False
    ping_url_file: str | None = None
    ping_style: str = PingStyle.HEALTHCHECKS.value

    def require_name(self, jobfile: JobFile, name: str | None) -> None:
        """Raise for files of several names where one name is needed, by which the job is known again."""
        watched = self.metrics is not None or self.ping_url_file is not None or jobfile.ping is not None
        if watched and name is None and not jobfile.one_name:
            raise UsageError(
                "several job files, and metrics or pings need one name for all of them: add --name NAME"
            )


def watch_options(command: Command) -> Command:
    """Metrics and pings; the command gets them as one `watching`."""

    @wraps(command)
    def collect(*arguments: Any, **settings: Any) -> Any:
        given = {name: settings.pop(name) for name in WatchOptions._fields}
        return command(*arguments, watching=WatchOptions(**given), **settings)

    return _WATCH_OPTIONS(cast("Command", collect))


@contextmanager
def follow(
    jobfile: JobFile,
    output: OutputOptions,
    *,
    command: str,
    watching: WatchOptions | None = None,
) -> Iterator[JobStart]:
    """Follow a start until it ends in whatever way; those who watch it are told of the end, with the store closed."""
    from orchestrator.app import JobStart, Watching
    from orchestrator.core import SystemClock

    watching = watching or WatchOptions()
    if watching.metrics is not None:
        from orchestrator.output import check_metrics_path

        check_metrics_path(watching.metrics)
    ping = watching.ping_url_file and Ping(
        url_file=watching.ping_url_file, style=PingStyle(watching.ping_style)
    )
    start = JobStart(
        jobfile,
        command=command,
        clock=SystemClock(),
        environ=os.environ,
        watching=Watching(
            metrics=watching.metrics, organizations=watching.metrics_organizations, ping=ping or None
        ),
    )
    try:
        with _ended(start.say_goodbye, start):
            yield start
    finally:
        _tell(start, output)


@contextmanager
def told_if_unreadable(watching: WatchOptions, output: OutputOptions) -> Iterator[None]:
    """Tell the switch of the options where job files cannot be read: no other one is known then."""
    try:
        yield
    except TesnapError:
        unread = JobFile(name="", jobs=(), organizations={})
        with follow(unread, output, command="run", watching=watching._replace(metrics=None)):
            raise


@contextmanager
def remembered(start: JobStart, store: Store) -> Iterator[None]:
    """Remember a start in the store, and at its end how it ended."""
    start.remember(store)
    with _ended(start.finish, start):
        yield


@contextmanager
def _ended(end: Callable[[int, str], None], start: JobStart) -> Iterator[None]:
    """Call this at the end, with the exit code and the last words."""
    try:
        yield
    except BaseException as error:
        end(find_exit_code(error), str(error))
        raise
    end(*start.outcome)


def _tell(start: JobStart, output: OutputOptions) -> None:
    """Say what could not be remembered or told, also with --quiet: nobody else would learn of it."""
    if not start.warnings:
        return
    from orchestrator.core import SystemClock
    from orchestrator.output import Lines, event_log, find_trace_id, write_event

    log = event_log(
        Lines(sys.stderr), as_json=output.log_format == "json", trace_id=find_trace_id(os.environ)
    )
    for event in start.warnings:
        write_event(log, event, now=SystemClock().wall())

"""The options that several commands share, each with its environment variable `TESNAP_…`."""

from __future__ import annotations

import math
import os
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields, replace
from datetime import tzinfo
from functools import wraps
from typing import Any, NamedTuple, TypeVar, cast

import click

from orchestrator.cli.process import is_typed, print_lines, print_text
from orchestrator.cli.timezone import terminal_zone, zone_notes
from orchestrator.core import MOST_SLOTS, JobFile, Limit, Organization, Pace, quote
from orchestrator.windows import parse_duration

STORE_FILE = "TESNAP_STORE_FILE"
"""The variable that names a file with the store's address, in which a password may be changed: it is read again at each
reconnect."""

Command = TypeVar("Command", bound=Callable[..., Any])


def duration(text: str) -> float:
    """The seconds of a duration such as `5m`, `1h30m`, `500ms`; a click error that says what is wrong."""
    try:
        return parse_duration(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


class SpeedType(click.FloatRange):
    """How many times faster than life: a number, for which `nan` passes elsewhere."""

    def convert(self, value: float, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The number; a click error for one that is none, or beyond the range."""
        speed: float = super().convert(value, param, ctx)
        if math.isnan(speed):
            self.fail(f"{value} is not a number", param, ctx)
        return speed


SPEED = SpeedType(1, 300)


def run_id(text: str) -> str:
    """The id of a run, as it stands in records, in commands and in the names of objects in Kubernetes.

    A click error for what would have to be quoted, or could not be shown.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", text):
        raise click.BadParameter(
            f"{quote(text)} is not a run id: write letters, digits, dots, underscores and hyphens, at most 128,"
            " the first one a letter or digit"
        )
    if text == "last":
        raise click.BadParameter("`last` means the latest run, whatever its id: choose another one")
    return text


def option(*names: str, **settings: Any) -> Callable[[Command], Command]:
    """A click option that can also be set by `TESNAP_` and its long name."""
    long = next(name for name in names if name.startswith("--")).split("/")[0]
    envvar = "TESNAP_" + long.removeprefix("--").replace("-", "_").upper()
    return click.option(*names, **{"envvar": envvar, **settings})


def option_group(*options: Callable[[Any], Any]) -> Callable[[Command], Command]:
    """A decorator that adds these options, shown in this order."""

    def add(command: Command) -> Command:
        for one in reversed(options):
            command = one(command)
        return command

    return add


def _find_store(_context: click.Context, _option: click.Parameter, written: str | None) -> str | None:
    """The store's address; without the option and TESNAP_STORE that in the file which TESNAP_STORE_FILE names."""
    path = os.environ.get(STORE_FILE)
    if not path:
        return written
    if written is not None and not is_typed("store_url"):
        raise click.UsageError(f"TESNAP_STORE and {STORE_FILE} are both set: unset one of them")
    from orchestrator.store import AddressInFile

    return written or AddressInFile(path)


store_option = option(
    "--store",
    "store_url",
    callback=_find_store,
    metavar="URL",
    help="Where the queue is kept: sqlite:////absolute/path or postgresql://… [default: one file under the user's state directory]",
)

json_option = option(
    "--json", "as_json", is_flag=True, envvar="TESNAP_JSON", help="Write JSON on standard output."
)


def limit_option(shown: int) -> Callable[[Command], Command]:
    """The option for how long a list is: without it `shown` as a table, and all as JSON."""
    text = f"Show so many [{shown}; with --json all]."
    return click.option("--limit", type=click.IntRange(1), metavar="N", envvar="TESNAP_LIST_LIMIT", help=text)


_ZONE: Mapping[str, str] = {
    "metavar": "ZONE",
    "help": "Show times in this zone, e.g. Europe/Berlin [default: the terminal's]",
}


def _note_zone(_context: click.Context, _option: click.Parameter, name: str | None) -> str | None:
    """The zone's name as it was given, after the notes on it."""
    print_lines(zone_notes(name, os.environ), file=sys.stderr)
    return name


zone_option = option("--timezone", callback=_note_zone, **_ZONE)

organization_option = option(
    "--organization",
    "organizations",
    multiple=True,
    metavar="GLOB",
    help="Only organizations matching this; repeatable.",
)

_PART_OPTIONS = option_group(
    organization_option,
    option(
        "--job", "jobs", multiple=True, metavar="GLOB", help="Only jobs whose names match this; repeatable."
    ),
    option(
        "--test",
        "tests",
        envvar="TESNAP_RUN_TEST",  # TESNAP_TEST is the one test of a list
        multiple=True,
        metavar="GLOB",
        help="Of the jobs' tests only those with this id, a part of the name, or a pattern with * and ?; repeatable.",
    ),
)


class Part(NamedTuple):
    """The part of the job files that is meant: everything, where no pattern is given."""

    organizations: tuple[str, ...] = ()
    jobs: tuple[str, ...] = ()
    tests: tuple[str, ...] = ()

    def take(self, jobfile: JobFile) -> JobFile:
        """That part of the job file, of which the file's receivers hear nothing; UsageError where there is none."""
        meant = jobfile.only_organizations(self.organizations).only_jobs(self.jobs).only_tests(self.tests)
        return replace(meant, notify=()) if meant.part else meant


def part_options(command: Command) -> Command:
    """Organizations, jobs and tests; the command gets them as one `part`."""

    @wraps(command)
    def collect(*arguments: Any, **settings: Any) -> Any:
        given = {name: settings.pop(name) for name in Part._fields}
        return command(*arguments, part=Part(**given), **settings)

    return _PART_OPTIONS(cast("Command", collect))


_PACING_OPTIONS = option_group(
    option(
        "--snapshots",
        type=click.IntRange(1, MOST_SLOTS),
        help="Snapshots that the limit allows per organization [5].",
    ),
    option("--per", type=duration, metavar="TIME", help="The limit's period [5m]."),
    option("--guard", type=duration, metavar="TIME", help="Added to the period against rounding [1s]."),
    option(
        "--grace",
        type=duration,
        metavar="TIME",
        help="How late a server may still act on an aborted request [30s].",
    ),
    option(
        "--use",
        type=click.IntRange(1, MOST_SLOTS),
        help="Slots to use; the others are left to people and other tools [5].",
    ),
    option(
        "--pace",
        type=click.Choice([pace.value for pace in Pace]),
        help="Use slots at once, or spread them [burst].",
    ),
    option("--timeout", type=duration, metavar="TIME", help="Total time of one attempt [60s]."),
)


class Pacing(NamedTuple):
    """The command line's settings instead of the job files' limits (fields of `Limit`) and timeout; None: as they are."""

    limit: Mapping[str, Any]
    timeout: float | None = None

    def apply(self, jobfile: JobFile) -> JobFile:
        """The job file with these limits; raises click's usage error for impossible ones."""
        organizations = {name: self._pace(one) for name, one in jobfile.organizations.items()}
        if self.timeout is not None and self.timeout <= 0:
            raise click.UsageError("--timeout must be longer than zero")
        http = jobfile.http if self.timeout is None else replace(jobfile.http, timeout=self.timeout)
        return replace(jobfile, organizations=organizations, http=http)

    def _pace(self, organization: Organization) -> Organization:
        limit: Limit = replace(organization.limit, **self.limit)
        if limit.per <= 0:
            raise click.UsageError("--per must be longer than zero")
        use = self.limit.get("use", 0)
        if use > limit.snapshots:
            raise click.UsageError(
                f"--use {use} is more than the {limit.snapshots} snapshots that the limit allows: write at most {limit.snapshots}, or --snapshots {use}"
            )
        return replace(organization, limit=replace(limit, use=min(limit.use, limit.snapshots)))


def pacing_options(command: Command) -> Command:
    """The limit and its margins, for every organization of the run; the command gets them as one `pacing`."""

    @wraps(command)
    def collect(*arguments: Any, **settings: Any) -> Any:
        typed = {field.name: settings.pop(field.name) for field in fields(Limit)}
        limit = {name: value for name, value in typed.items() if value is not None}
        if "pace" in limit:
            limit["pace"] = Pace(limit["pace"])
        pacing = Pacing(limit=limit, timeout=settings.pop("timeout"))
        return command(*arguments, pacing=pacing, **settings)

    return _PACING_OPTIONS(cast("Command", collect))


_OUTPUT_OPTIONS = option_group(
    json_option,
    option(
        "--format",
        type=click.Choice(["table", "md", "csv", "jsonl"]),
        help="Form of the results [table on a terminal, else jsonl].",
    ),
    option(
        "--report",
        "reports",
        multiple=True,
        metavar="PATH",
        help="Also write a report here, by suffix: .html, .md, .csv or .jsonl; repeatable.",
    ),
    option(
        "--links",
        type=click.Choice(["show", "id"]),
        default="show",
        help="`id` keeps links out of records and logs [show].",
    ),
    option(
        "-q", "--quiet", is_flag=True, help="Print only what somebody has to act on; nothing at exit code 0."
    ),
    option("-v", "--verbose", is_flag=True, help="Print what happens in between."),
    option(
        "--log-format",
        type=click.Choice(["text", "json"]),
        default="text",
        help="Form of what is printed on standard error [text].",
    ),
    option("--timezone", **_ZONE),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputOptions:
    """The options about output, as they were given."""

    as_json: bool = False
    format: str | None = None
    quiet: bool = False
    verbose: bool = False
    log_format: str = "text"
    links: str = "show"
    timezone: str | None = None
    reports: tuple[str, ...] = ()

    @property
    def zone(self) -> tzinfo:
        """The zone to show times in; click's usage error for an unknown one."""
        return terminal_zone(self.timezone, os.environ)[0]

    def print_notes(self, lines: Iterable[object]) -> None:
        """Print each line on standard error, unless it is to be quiet: a note asks nobody to act."""
        print_text(() if self.quiet else map(str, lines), file=sys.stderr)


def output_options(command: Command) -> Command:
    """Formats and streams; the command gets them as one `output`."""

    @wraps(command)
    def collect(*arguments: Any, **settings: Any) -> Any:
        given = {field.name: settings.pop(field.name) for field in fields(OutputOptions)}
        output = _without_contradiction(OutputOptions(**given))
        output.print_notes(zone_notes(output.timezone, os.environ))
        return command(*arguments, output=output, **settings)

    return _OUTPUT_OPTIONS(cast("Command", collect))


def _without_contradiction(output: OutputOptions) -> OutputOptions:
    """The options with one form of the results: what was typed goes before any variable; click's error for two."""
    if not output.as_json:
        return output
    other = output.format not in (None, "jsonl")
    if other and is_typed("as_json") and is_typed("format"):
        raise click.UsageError(
            f"--json and --format {output.format} contradict each other: write one of them"
        )
    return output if other and not is_typed("as_json") else replace(output, format="jsonl")

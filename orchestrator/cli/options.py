"""The options that several commands share, each with its environment variable `TESNAP_…`."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from orchestrator.core import MOST_SLOTS, JobFile, Limit, Organization, Pace, quote
from orchestrator.windows import parse_duration

Command = TypeVar("Command", bound=Callable[..., Any])


class DurationType(click.ParamType[float]):
    """A duration such as `5m`, `1h30m`, `500ms`: seconds."""

    name = "duration"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Seconds; a click error that says what is wrong."""
        if isinstance(value, float):
            return value
        try:
            return parse_duration(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


DURATION = DurationType()


class SpeedType(click.FloatRange):
    """How many times faster than life: a number, for which `nan` passes elsewhere."""

    def convert(self, value: float, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The number; a click error for one that is none, or beyond the range."""
        speed: float = super().convert(value, param, ctx)
        if math.isnan(speed):
            self.fail(f"{value} is not a number", param, ctx)
        return speed


SPEED = SpeedType(1, 300)


class RunIdType(click.ParamType[str]):
    """The id of a run, as it stands in records, in commands and in the names of objects in Kubernetes."""

    name = "id"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The id; a click error for what would have to be quoted, or could not be shown."""
        text = str(value)
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", text):
            self.fail(
                f"{quote(text)} is no run id: write letters, digits, dots, underscores and hyphens, at most 128,"
                " the first one a letter or digit",
                param,
                ctx,
            )
        if text == "last":
            self.fail("`last` means the latest run, whatever its id: choose another one", param, ctx)
        return text


RUN_ID = RunIdType()


def option(*names: str, **settings: Any) -> Callable[[Command], Command]:
    """A click option that can also be set by `TESNAP_` and its long name."""
    long = next(name for name in names if name.startswith("--")).split("/")[0]
    envvar = "TESNAP_" + long.removeprefix("--").replace("-", "_").upper()
    settings.setdefault("envvar", envvar)
    settings.setdefault("show_envvar", False)
    return click.option(*names, **settings)


def store_option(command: Command) -> Command:
    """Where the queue is kept."""
    return option(
        "--store",
        "store_url",
        metavar="URL",
        help="Where the queue is kept: sqlite:////absolute/path or postgresql://… [default: one file under the user's state directory]",
    )(command)


def json_option(command: Command) -> Command:
    """Machine-readable output."""
    return option(
        "--json", "as_json", is_flag=True, envvar="TESNAP_JSON", help="Write JSON on standard output."
    )(command)


def zone_option(command: Command) -> Command:
    """In which zone times are shown."""
    return option(
        "--timezone",
        metavar="ZONE",
        help="Show times in this zone, e.g. Europe/Berlin [default: the terminal's]",
    )(command)


def organization_option(command: Command) -> Command:
    """Which part of the job files."""
    return option(
        "--organization",
        "organizations",
        multiple=True,
        metavar="GLOB",
        help="Only organizations matching this; repeatable.",
    )(command)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pacing:
    """What the command line says instead of the job files' limits; None: nothing."""

    snapshots: int | None = None
    per: float | None = None
    guard: float | None = None
    grace: float | None = None
    use: int | None = None
    pace: str | None = None
    timeout: float | None = None

    def applied(self, jobfile: JobFile) -> JobFile:
        """The job file with these limits; raises click's usage error for impossible ones."""
        organizations = {name: self._organization(one) for name, one in jobfile.organizations.items()}
        if self.timeout is not None and self.timeout <= 0:
            raise click.UsageError("--timeout must be longer than zero")
        http = jobfile.http if self.timeout is None else replace(jobfile.http, timeout=self.timeout)
        return replace(jobfile, organizations=organizations, http=http)

    def _organization(self, organization: Organization) -> Organization:
        before = organization.limit
        said = {
            "snapshots": self.snapshots,
            "per": self.per,
            "guard": self.guard,
            "grace": self.grace,
            "use": self.use,
        }
        changes: dict[str, Any] = {key: value for key, value in said.items() if value is not None}
        if self.pace is not None:
            changes["pace"] = Pace(self.pace)
        limit: Limit = replace(before, **changes)
        if limit.per <= 0:
            raise click.UsageError("--per must be longer than zero")
        if self.use is not None and self.use > limit.snapshots:
            raise click.UsageError(
                f"--use {self.use} is more than the {limit.snapshots} snapshots that the limit allows: write at most {limit.snapshots}, or --snapshots {self.use}"
            )
        return replace(organization, limit=replace(limit, use=min(limit.use, limit.snapshots)))


def pacing_options(command: Command) -> Command:
    """The limit and its margins, for every organization of the run; collected into one `pacing` value."""
    options = [
        option(
            "--snapshots",
            type=click.IntRange(1, MOST_SLOTS),
            help="Snapshots that the limit allows per organization [5].",
        ),
        option("--per", type=DURATION, metavar="TIME", help="The limit's period [5m]."),
        option("--guard", type=DURATION, metavar="TIME", help="Added to the period against rounding [1s]."),
        option(
            "--grace",
            type=DURATION,
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
        option("--timeout", type=DURATION, metavar="TIME", help="Total time of one attempt [60s]."),
    ]
    for one in reversed(options):
        command = one(command)
    return command


def taken(settings: dict[str, Any]) -> Pacing:
    """Take the pacing options out of a command's settings."""
    names = ("snapshots", "per", "guard", "grace", "use", "pace", "timeout")
    return Pacing(**{name: settings.pop(name) for name in names})


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What the command line says about output."""

    as_json: bool = False
    format: str | None = None
    quiet: bool = False
    verbose: bool = False
    log_format: str = "text"
    links: str = "show"
    timezone: str | None = None
    reports: tuple[str, ...] = ()


def output_options(command: Command) -> Command:
    """Formats and streams; collected into one `Shown` value by `shown`."""
    formats = ["table", "md", "csv", "jsonl"]
    options = [
        json_option,
        option(
            "--format",
            "format_",
            envvar="TESNAP_FORMAT",
            type=click.Choice(formats),
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
        option("-q", "--quiet", is_flag=True, help="Print only trouble on standard error."),
        option("-v", "--verbose", is_flag=True, help="Print what happens in between."),
        option(
            "--log-format",
            type=click.Choice(["text", "json"]),
            default="text",
            help="Form of what is printed on standard error [text].",
        ),
        zone_option,
    ]
    for one in reversed(options):
        command = one(command)
    return command


def shown(settings: dict[str, Any]) -> Shown:
    """Take the output options out of a command's settings."""
    names = ("as_json", "quiet", "verbose", "log_format", "links", "timezone")
    values = {name: settings.pop(name) for name in names}
    form = settings.pop("format_")
    if values["as_json"] and form not in (None, "jsonl"):
        if _typed("as_json") and _typed("format_"):
            raise click.UsageError(f"--json and --format {form} contradict each other: write one of them")
        form = None if _typed("as_json") else form
    return Shown(format=form, reports=settings.pop("reports"), **values)


def _typed(parameter: str) -> bool:
    """Whether an option was written on the command line: it goes before any variable."""
    return click.get_current_context().get_parameter_source(parameter) is ParameterSource.COMMANDLINE

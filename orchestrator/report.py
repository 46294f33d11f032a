"""A run's results for people: a table, Markdown for the channel, one HTML page, CSV, or records again.

A report is a value made from what the store knows; rendering it is pure, and `write_report` puts it into a
file. With an `organization` there is nothing in it of another one: no name, no count, no lane.
"""

from __future__ import annotations

import base64
import difflib
import hashlib
import io
import os
import shlex
import stat
import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from enum import StrEnum
from pathlib import Path
from typing import TextIO
from urllib.parse import quote, urlsplit

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from orchestrator import __version__, formats, narrate
from orchestrator.clock import VirtualClock
from orchestrator.errors import UsageError
from orchestrator.model import Result, Run, Status
from orchestrator.progress import Ending
from orchestrator.queue import Counts
from orchestrator.safe_text import harmless, markdown, masked, without_links
from orchestrator.timeline import Timeline, draw

_URL_CHARACTERS = ":/?#[]@!$&'()*+,;=%~"  # RFC 3986: what may stand in a URL as it is


class Kind(StrEnum):
    """What a report can be."""

    TABLE = "table"
    MD = "md"
    HTML = "html"
    CSV = "csv"
    JSONL = "jsonl"


SUFFIXES = {".md": Kind.MD, ".html": Kind.HTML, ".csv": Kind.CSV, ".jsonl": Kind.JSONL}
"""What a file is to be, by the end of its name."""

OPEN_LANES = 6
"""How many organizations' timelines are open at first: more would hide what comes after them."""

_FORMATS = {Kind.TABLE: formats.Format.TABLE, Kind.CSV: formats.Format.CSV, Kind.JSONL: formats.Format.JSONL}
_ORDER = {Status.FAILED: 0, Status.UNCERTAIN: 1}  # then what is pending, then what is made


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A run's results at one moment, failures first; `now` is epoch seconds.

    `names` are the user's names of the organizations' identities. Without `show_links` no link is in it.
    """

    run: Run
    results: tuple[Result, ...]
    names: Mapping[str, str]
    zone: tzinfo
    now: float
    organization: str | None = None
    show_links: bool = True
    ending: Ending | None = None
    secrets: Collection[str] = ()

    @property
    def title(self) -> str:
        """Whose snapshots these are: the job's, or in one customer's view the customer's."""
        return harmless(self.run.job if self.organization is None else self.organization)

    @property
    def counts(self) -> Counts:
        """How many of these results are where."""
        return sum((Counts(**{_counted_as(result): 1}) for result in self.results), Counts())

    def name_of(self, result: Result) -> str:
        """The user's name of the result's organization."""
        return self.names.get(result.task.organization, result.task.organization)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One snapshot as a report shows it; `link` only where it may be followed, `about` what else there is to say."""

    row: narrate.Row
    test_id: str
    account_group: str
    link: str | None
    about: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """How many are where, and their part of a bar in percent of its width."""

    word: str
    count: int
    x: float
    width: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """What the templates are given."""

    title: str
    run_id: str
    headline: str
    started: str
    written: str
    shares: tuple[Share, ...]
    troubled: tuple[Entry, ...]
    made: tuple[Entry, ...]
    pending: tuple[Entry, ...]
    commands: tuple[tuple[str, str], ...]
    several: bool
    public: str
    zone: str
    links: bool
    version: str = __version__
    timeline: Timeline | None = None
    omitted: int = 0
    expiry: str = ""
    open_lanes: int = OPEN_LANES


def make_report(
    run: Run,
    results: Iterable[Result],
    *,
    names: Mapping[str, str],
    zone: tzinfo,
    now: float,
    organization: str | None = None,
    show_links: bool = True,
    ending: Ending | None = None,
    secrets: Collection[str] = (),
) -> Report:
    """The report of a run, or of one organization in it; UsageError when the run has no such organization."""
    found = list(results)
    kept = [one for one in found if organization in (None, names.get(one.task.organization, one.task.organization))]
    if organization is not None and not kept:
        raise UsageError(_no_organization(run, organization, {one.task.organization for one in found}, names))
    kept.sort(key=lambda one: (_ORDER.get(one.status, 3 if one.status.settled else 2), one.task.position))
    return Report(
        run=run,
        results=tuple(kept),
        names=names,
        zone=zone,
        now=now,
        organization=organization,
        show_links=show_links,
        ending=ending if organization is None else None,
        secrets=secrets,
    )


def render(report: Report, kind: Kind) -> str:
    """The whole report as text that ends in a line break."""
    if kind in _FORMATS:
        text = io.StringIO()
        write_rows(report, text, kind)
        return text.getvalue()
    template, environment = (_HTML_NAME, _html()) if kind is Kind.HTML else (_MARKDOWN_NAME, _markdown())
    style = environment.get_template(_STYLE_NAME).render() if kind is Kind.HTML else ""
    text_of = environment.get_template(template).render(page=_page(report, kind), style=Markup(style), style_hash=_hash(style))  # noqa: S704 - our own file
    return masked(text_of, report.secrets)


def write_rows(report: Report, stream: TextIO, kind: Kind) -> None:
    """Write a table, CSV or records as a run itself does; records and CSV have the settled ones only."""
    output = formats.Output(
        stdout=stream,
        stderr=stream,
        clock=VirtualClock(wall=report.now),  # time stands still in a report
        zone=report.zone,
        format=_FORMATS[kind],
        no_color=bool(os.environ.get("NO_COLOR")),
        show_links=report.show_links,
        name_of=lambda identity: report.names.get(identity, identity),
        secrets=report.secrets,
    )
    rows = formats.results(output)
    rows.started(_shown_run(report), len(report.results))
    for result in report.results:
        if kind is Kind.TABLE or result.status.settled:
            rows.settled(result, report.run.id)
    if report.ending is not None:
        rows.ended(report.ending)
    if kind is Kind.TABLE:
        stream.write(masked("\n".join(["", _headline(report), *map(": ".join, _commands(report)), ""]), report.secrets))


# -- files -------------------------------------------------------------------------------------------------


def check_report_path(path: str) -> Kind:
    """What the file is to be, by its suffix; UsageError when it could not be written later on."""
    kind = SUFFIXES.get(Path(path).suffix.lower())
    if kind is None:
        raise UsageError(f"--report {path}: the name says what it is to be: end it with {', '.join(SUFFIXES)}")
    target = Path(path)
    if target.is_dir():
        raise UsageError(f"--report {path} is a folder: name a file in it")
    try:
        _try_out(target)
    except OSError as error:
        raise UsageError(f"--report {path} cannot be written ({error.strerror}): make {target.parent} writable, or choose another place") from None
    return kind


def write_report(path: str, report: Report, kind: Kind | None = None) -> None:
    """Write the report into a file, whole or not at all, readable by nobody else: links are capabilities.

    A file that is no regular one (`/dev/stdout`, a pipe) is written to as it is. OSError when it cannot be.
    """
    text = render(report, kind or check_report_path(path)).encode("utf-8", "backslashreplace")
    target = Path(path)
    if _special(target):
        target.write_bytes(text)
        return
    target = target.resolve()  # a link to a file stays one
    number, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent)  # mode 0600
    try:
        with os.fdopen(number, "wb") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(target)
    except OSError:
        with suppress(OSError):
            Path(name).unlink()
        raise


def _try_out(target: Path) -> None:
    """Do what writing will do, with nothing in it."""
    if _special(target):
        with target.open("ab"):
            return
    with tempfile.NamedTemporaryFile(prefix=f".{target.name}.", suffix=".part", dir=target.resolve().parent):
        return


def _special(target: Path) -> bool:
    return target.exists() and not stat.S_ISREG(target.stat().st_mode)


# -- what a page says --------------------------------------------------------------------------------------


def _page(report: Report, kind: Kind) -> Page:
    settled = [result for result in report.results if result.status.settled]
    made = [result for result in settled if result.status is Status.CREATED]
    counts = report.counts
    drawn = None
    if kind is Kind.HTML:
        drawn = draw(report.results, names=report.names, since=report.run.created_at, now=report.now, zone=report.zone)
    return Page(
        title=report.title,
        run_id=harmless(report.run.id),
        headline=_headline(report),
        started=_moment(report.run.created_at, report.zone),
        written=_moment(report.now, report.zone),
        shares=tuple(_shares(counts)),
        troubled=tuple(_entry(report, result) for result in settled if result.status is not Status.CREATED),
        made=tuple(_entry(report, result) for result in made),
        pending=tuple(_entry(report, result) for result in report.results if not result.status.settled),
        commands=_commands(report),
        several=len({result.task.organization for result in report.results}) > 1,
        public=_public(made),
        zone=_zone_words(report.zone, report.now),
        links=report.show_links,
        timeline=drawn,
        omitted=counts.existing,
        expiry=_all_expiries(made, report.zone),
    )


def _shares(counts: Counts) -> Iterator[Share]:
    """The counts that are not zero, trouble first."""
    before = 0
    for word in ("failed", "uncertain", "pending", "created", "existing"):
        count = getattr(counts, word)
        if count:
            part = 100 / counts.total
            yield Share(word=word, count=count, x=round(before * part, 3), width=round(count * part, 3))
        before += count


def _entry(report: Report, result: Result) -> Entry:
    row = narrate.row(result, report.zone, organization_name=report.name_of(result), show_links=report.show_links)
    link = followable(row.about) if row.linked else None
    about = _pending_words(report, result) if not result.status.settled else "" if link else row.about
    return Entry(
        row=row,
        test_id=harmless(result.task.test_id),
        account_group=harmless(result.task.account_group),
        link=link,
        about=about if report.show_links else without_links(about),
        notes=tuple(_notes(result)),
    )


def _notes(result: Result) -> Iterable[str]:
    """What a reader of a link has to know besides."""
    if result.duplicate_possible:
        yield "there may be a second one like it: an attempt before went unanswered"
    if result.found:
        yield "its answer was lost and the snapshot found again"


def followable(link: str) -> str | None:
    """The link as it may stand where a click follows it: http or https with a host, else None."""
    try:
        parts = urlsplit(link)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        return None
    return quote(link, safe=_URL_CHARACTERS) if usable else None


def _pending_words(report: Report, result: Result) -> str:
    if result.status is not Status.QUEUED:
        return "being sent"
    if result.task.ready_at > report.now:
        return f"waits for its window, until {narrate.clock_time(result.task.ready_at, report.now, report.zone)}"
    why = f", after: {harmless(narrate.problem_text(result.problem))}" if result.problem else ""
    return f"waits for its turn{why}"


def _headline(report: Report) -> str:
    return narrate.counted(report.counts) or "nothing to do"


def _commands(report: Report) -> tuple[tuple[str, str], ...]:
    """What there is to type, each with what it does; nothing of a cancelled run is carried on."""
    counts, run_id, cancelled = report.counts, report.run.id, report.run.state == "cancelled"
    wanted = (
        (counts.pending and not cancelled, "to make what is pending", ("resume", run_id)),
        (counts.failed and not cancelled, "to try again what failed", ("resume", run_id, "--failed")),
        (counts.uncertain, "to settle what is uncertain", ("settle", run_id)),
    )
    return tuple((what, harmless(shlex.join(("tesnap", *words)))) for due, what, words in wanted if due)


def _public(made: Iterable[Result]) -> str:
    """What was sent as is_public, as the file's own word has it."""
    sent = {result.task.is_public for result in made}
    return "both true and false" if len(sent) > 1 else str(sent.pop()).lower() if sent else ""


def _all_expiries(made: Iterable[Result], zone: tzinfo) -> str:
    """When they are deleted, or the first of them."""
    days = [narrate.expiry(at, zone) for at in sorted(one.expires_at for one in made if one.expires_at is not None)]
    return f"{'All' if len(set(days)) == 1 else 'The first'} will be {days[0]}" if days else ""


def _moment(at: float, zone: tzinfo) -> str:
    """`20 Nov 2026, 15:02 UTC (16:02 CET)`."""
    utc = datetime.fromtimestamp(at, UTC)
    there = datetime.fromtimestamp(at, zone)
    day = f"{utc.day} {narrate.MONTHS[utc.month - 1]} {utc.year}"
    if not there.utcoffset():
        return f"{day}, {utc:%H:%M} UTC"
    other = "" if there.date() == utc.date() else f"{there.day} {narrate.MONTHS[there.month - 1]} "
    return f"{day}, {utc:%H:%M} UTC ({other}{narrate.clock_time(at, None, zone)})"


def _zone_words(zone: tzinfo, now: float) -> str:
    return narrate.clock_time(now, None, zone).partition(" ")[2]


def _counted_as(result: Result) -> str:
    if result.status is Status.CREATED and not result.made_here:
        return "existing"
    return result.status.value


def _shown_run(report: Report) -> Run:
    """The run as its first record names it: in one customer's view the job's name says nothing of others."""
    if report.organization is None:
        return report.run
    return Run(id=report.run.id, job=report.organization, created_at=report.run.created_at, tasks=len(report.results))


def _no_organization(run: Run, wanted: str, identities: Collection[str], names: Mapping[str, str]) -> str:
    known = sorted({names.get(identity, identity) for identity in identities})
    near = difflib.get_close_matches(wanted, known, n=3) or known[:5]
    there = f"it has {', '.join(near)}" if near else "it has no snapshots at all"
    return f"run {run.id} has nothing of organization {wanted!r}: {there}"


# -- templates ---------------------------------------------------------------------------------------------

_HTML_NAME, _STYLE_NAME, _MARKDOWN_NAME = "report.html.j2", "report.css.j2", "report.md.j2"


def _html() -> Environment:
    return _environment(autoescape=True)


def _markdown() -> Environment:
    """Whatever a template prints is escaped as a Markdown table's cell, unless it is marked as safe."""
    environment = _environment(autoescape=False, finalize=_as_markdown)
    environment.filters |= {"code": _as_code, "autolink": _as_autolink}
    return environment


def _environment(**settings: bool | object) -> Environment:
    loader = PackageLoader("orchestrator", "templates")
    return Environment(loader=loader, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True, **settings)  # type: ignore[arg-type]  # noqa: S701 - each caller says how it escapes


def _as_markdown(value: object) -> object:
    return value if isinstance(value, Markup) else markdown(str(value))


def _as_code(text: str) -> Markup:
    """A span of code: nothing in it is markup but what ends it."""
    return Markup(f"`{text.replace('`', chr(39))}`")  # noqa: S704 - what would end the span is out


def _as_autolink(link: str) -> Markup:
    """A link that `followable` let through, without what ends an autolink or a cell."""
    return Markup(f"<{quote(link, safe=_URL_CHARACTERS)}>")  # noqa: S704 - quoted


def _hash(style: str) -> str:
    """The style sheet as the page's Content-Security-Policy names it."""
    return base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()

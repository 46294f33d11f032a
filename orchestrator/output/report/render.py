"""A run's results for people, as text or as the files of `--report`: a table, Markdown for the channel, one HTML page, CSV, records.

The page needs no network and no script, and its policy allows none; whatever a template prints is escaped
unless it is marked as safe. A file is checked before a run sends anything, and written whole or not at all.
"""

from __future__ import annotations

import base64
import hashlib
import io
import os
import re
import tempfile
from contextlib import suppress
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO, TextIO
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from orchestrator import __version__
from orchestrator.core import SystemClock, UsageError, escape_markdown, mask_secrets
from orchestrator.output import formats
from orchestrator.output.report.page import MOST_ON_A_PAGE, Report, make_page
from orchestrator.output.report.timeline import OPEN_LANES, draw_timeline
from orchestrator.output.streams import CleanText


class ReportFormat(StrEnum):
    """A form in which a report can be had."""

    TABLE = "table"
    MD = "md"
    HTML = "html"
    CSV = "csv"
    JSONL = "jsonl"


_FORMATS = {
    ReportFormat.TABLE: formats.Format.TABLE,
    ReportFormat.CSV: formats.Format.CSV,
    ReportFormat.JSONL: formats.Format.JSONL,
}
"""The forms that a run writes by itself, row by row."""

SUFFIXES = {
    ".md": ReportFormat.MD,
    ".html": ReportFormat.HTML,
    ".csv": ReportFormat.CSV,
    ".jsonl": ReportFormat.JSONL,
}
"""The form of a file, by the end of its name."""

_OWN_STREAM = re.compile(r"/dev/(std(?:in|out|err))|(?:/dev|/proc/self)/fd/([0-9]+)")


def render(report: Report, kind: ReportFormat) -> str:
    """The whole report as text that ends in a line break."""
    text = io.StringIO()
    print_report(report, text, kind)
    return text.getvalue()


def print_report(report: Report, stream: TextIO, kind: ReportFormat) -> None:
    """Write rows as a run itself writes them to that stream, a page as one text; UsageError where it would be too long."""
    check_size(report, kind)
    if kind in _FORMATS:
        _write_rows(report, stream, kind)
        return
    text = _html_page(report) if kind is ReportFormat.HTML else _markdown_text(report)
    stream.write(mask_secrets(text))


def check_size(report: Report, kind: ReportFormat) -> None:
    """Raise for a page of more snapshots than anybody looks through; rows may be as many as there are."""
    count = len(report.results)
    if kind not in _FORMATS and count > MOST_ON_A_PAGE:
        raise UsageError(
            f"run {report.run.id} has {count:,} snapshots, and a page has {MOST_ON_A_PAGE:,} at most: write a .csv file,"
            f" or one organization's page with `tesnap report {report.run.id} --organization NAME`"
        )


def check_report_path(path: str) -> ReportFormat:
    """The form of the file, by its suffix; UsageError when it could not be written later on."""
    target = Path(path)
    kind = SUFFIXES.get(target.suffix.lower())
    if kind is None:
        raise UsageError(f"report {path}: the end of its name chooses the format: use {', '.join(SUFFIXES)}")
    _check_place(target, path)
    try:
        with tempfile.NamedTemporaryFile(**_beside(target)):  # what writing will do, with nothing in it
            return kind
    except OSError as error:
        raise UsageError(
            f"report {path} cannot be written ({error.strerror}): make its folder writable, or choose another one"
        ) from None


def write_report(path: str, report: Report, kind: ReportFormat | None = None) -> None:
    """Write the report into a file, whole or not at all, and readable by its owner alone: links are capabilities.

    What is there already and is no file (a device, a pipe) is not replaced: it is written into. Without a `kind`
    the suffix decides. UsageError when it cannot be written.
    """
    kind, target = kind or check_report_path(path), Path(path)
    check_size(report, kind)
    try:
        if is_stream(target):
            with _stream(path) as stream:
                stream.write(render(report, kind).encode("utf-8", "backslashreplace"))
        else:
            _check_place(target, path)
            _put(target.resolve(), report, kind)  # resolved, so that a link to a file stays one
    except OSError as error:
        raise UsageError(f"report {path} cannot be written ({error.strerror})") from None


def is_stream(target: Path) -> bool:
    """True if what is there takes a report and keeps none: a device, a pipe, or one of this process's own streams."""
    return bool(_OWN_STREAM.fullmatch(str(target))) or target.is_char_device() or target.is_fifo()


def _html_page(report: Report) -> str:
    environment = _environment(html=True)
    style = environment.get_template("report.css.j2").render()
    timeline = draw_timeline(
        tuple(report.results),
        since=report.run.created_at,
        now=report.now,
        zone=report.zone,
        holds=report.holds,
    )
    return environment.get_template("report.html.j2").render(
        report=report,
        page=make_page(report),
        version=__version__,
        timeline=timeline,
        open_lanes=OPEN_LANES,
        style=Markup(style),  # noqa: S704 - the project's own file, with nothing filled in
        style_hash=_hash(style),
    )


def _markdown_text(report: Report) -> str:
    return _environment(html=False).get_template("report.md.j2").render(report=report, page=make_page(report))


class _StoppedClock(SystemClock):
    """Time stands still in a report."""

    def __init__(self, now: float) -> None:
        self._now = now

    def wall(self) -> float:
        return self._now


def _write_rows(report: Report, stream: TextIO, kind: ReportFormat) -> None:
    """Write a table, CSV or records as a run itself does; records and CSV have the settled ones only."""
    output = formats.Output(
        stdout=stream,
        stderr=stream,
        clock=_StoppedClock(report.now),
        zone=report.zone,
        format=_FORMATS[kind],
        no_color=bool(os.environ.get("NO_COLOR")),
        show_links=report.show_links,
    )
    writer = formats.make_writer(output)
    writer.write_start(report.run, len(report.results))
    for result in report.failures_first(settled=kind is not ReportFormat.TABLE):
        writer.write_result(result, report.run.id)
    if report.ending is not None:
        writer.write_end(report.ending)
    if kind is ReportFormat.TABLE:
        stream.write(
            mask_secrets(
                "\n".join(["", *report.banner, report.headline, *map(": ".join, report.commands), ""])
            )
        )


@cache
def _environment(*, html: bool) -> Environment:
    """The templates of HTML, or of Markdown; whatever one prints is escaped, unless it is marked as safe."""
    environment = Environment(
        loader=PackageLoader("orchestrator.output.report"),
        undefined=StrictUndefined,
        autoescape=html,  # noqa: S701 - Markdown is escaped by `finalize`
        finalize=None if html else _as_markdown,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"code": _as_code, "autolink": _as_autolink}
    return environment


def _as_markdown(value: object) -> object:
    """The value escaped as a cell of a table."""
    return value if isinstance(value, Markup) else escape_markdown(str(value))


def _as_code(text: str) -> Markup:
    """A span of code: nothing in it is markup but what ends it."""
    return Markup(f"`{text.replace('`', chr(39))}`")  # noqa: S704 - what would end the span is out


def _as_autolink(link: str) -> Markup:
    """A link that `safe_link` let through, without what ends an autolink or a cell."""
    return Markup(f"<{quote(link, safe=formats.URL_CHARACTERS)}>")  # noqa: S704 - quoted


def _hash(style: str) -> str:
    """The style sheet as the page's Content-Security-Policy names it."""
    return base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()


def _stream(path: str) -> BinaryIO:
    """The device, pipe or stream to write into: one of our own streams goes on where it stands."""
    own = _OWN_STREAM.fullmatch(path)
    if own is None:
        return Path(path).open("wb")
    number = int(own[2]) if own[2] else ("stdin", "stdout", "stderr").index(own[1])
    return os.fdopen(os.dup(number), "wb")


def _check_place(target: Path, path: str) -> None:
    if target.exists() and not target.is_file():
        raise UsageError(f"report {path}: that is not a file: choose another name")


def _put(target: Path, report: Report, kind: ReportFormat) -> None:
    with tempfile.NamedTemporaryFile(**_beside(target), delete=False) as file:
        try:
            text = CleanText(file.file, "utf-8", "backslashreplace")
            print_report(report, text, kind)  # row by row: never the whole text, where rows are written
            text.flush()
            os.fsync(file.fileno())
            Path(file.name).replace(target)
        except BaseException:
            with suppress(OSError):
                Path(file.name).unlink()
            raise


def _beside(target: Path) -> dict[str, Any]:
    """The place of a file before it takes its name: on the same file system, with mode 0600."""
    return {"prefix": f".{target.name[:100]}.", "suffix": ".part", "dir": target.resolve().parent}

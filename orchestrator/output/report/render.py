"""A run's results for people: a table, Markdown for the channel, one HTML page, CSV, or records again.

The page needs no network and no script, and its policy allows none; whatever a template prints is escaped
unless it is marked as safe.
"""

from __future__ import annotations

import base64
import hashlib
import io
import os
from enum import StrEnum
from functools import cache
from typing import Any, TextIO
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from orchestrator import __version__
from orchestrator.core import VirtualClock, escape_markdown, mask_secrets
from orchestrator.output import formats
from orchestrator.output.report.page import Report, make_page
from orchestrator.output.report.timeline import OPEN_LANES, draw_timeline


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


def render(report: Report, kind: ReportFormat) -> str:
    """The whole report as text that ends in a line break."""
    text = io.StringIO()
    print_report(report, text, kind)
    return text.getvalue()


def print_report(report: Report, stream: TextIO, kind: ReportFormat) -> None:
    """Write rows as a run itself writes them to that stream, a page as one text."""
    if kind in _FORMATS:
        _write_rows(report, stream, kind)
        return
    text = _html_page(report) if kind is ReportFormat.HTML else _markdown_text(report)
    stream.write(mask_secrets(text, report.secrets))


def _html_page(report: Report) -> str:
    environment = _html()
    style = environment.get_template("report.css.j2").render()
    timeline = draw_timeline(
        report.results, since=report.run.created_at, now=report.now, zone=report.zone, holds=report.holds
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
    return _markdown().get_template("report.md.j2").render(report=report, page=make_page(report))


def _write_rows(report: Report, stream: TextIO, kind: ReportFormat) -> None:
    """Write a table, CSV or records as a run itself does; records and CSV have the settled ones only."""
    output = formats.Output(
        stdout=stream,
        stderr=stream,
        clock=VirtualClock(wall=report.now),  # time stands still in a report
        zone=report.zone,
        format=_FORMATS[kind],
        no_color=bool(os.environ.get("NO_COLOR")),
        show_links=report.show_links,
        secrets=report.secrets,
    )
    writer = formats.make_writer(output)
    writer.write_start(report.run, len(report.results))
    for result in report.failures_first:
        if kind is ReportFormat.TABLE or result.status.settled:
            writer.write_result(result, report.run.id)
    if report.ending is not None:
        writer.write_end(report.ending)
    if kind is ReportFormat.TABLE:
        stream.write(
            mask_secrets(
                "\n".join(["", report.headline, *map(": ".join, report.commands), ""]), report.secrets
            )
        )


@cache
def _html() -> Environment:
    return _environment(autoescape=True)


@cache
def _markdown() -> Environment:
    """Templates of Markdown: whatever one prints is escaped as a table's cell, unless it is marked as safe."""
    environment = _environment(autoescape=False, finalize=_as_markdown)
    environment.filters |= {"code": _as_code, "autolink": _as_autolink}
    return environment


def _environment(**settings: Any) -> Environment:
    return Environment(  # noqa: S701 - each caller says how it escapes
        loader=PackageLoader("orchestrator.output.report"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        **settings,
    )


def _as_markdown(value: object) -> object:
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

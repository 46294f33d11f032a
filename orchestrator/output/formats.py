"""The forms of results on standard output: records, or rows of a table, Markdown or CSV."""

from __future__ import annotations

import csv
import io
import json
import os
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, tzinfo
from enum import StrEnum
from functools import partial
from typing import TextIO
from urllib.parse import quote

from orchestrator.core import Clock, Ending, Result, Run, escape_formula, escape_markdown, mask_secrets
from orchestrator.output import log, records, sentences
from orchestrator.output.streams import Lines, terminal_room
from orchestrator.output.table import GAP, align_cells

_COLOURS = {"created": "32", "existing": "36", "FAILED": "31", "UNCERTAIN": "33"}

_STATUS, _WINDOW = 9, 29  # as wide as UNCERTAIN, and as a window over two days

URL_CHARACTERS = ":/?#[]@!$&'()*+,;=%~"
"""RFC 3986: what may stand in a URL as it is, besides letters, digits and `-._`."""

_MARKDOWN_HEAD = """\
| Status | Test | Organization | Window | Link | Expiry |
| --- | --- | --- | --- | --- | --- |"""


class Format(StrEnum):
    """A form in which results are written to standard output."""

    TABLE = "table"
    MD = "md"
    CSV = "csv"
    JSONL = "jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """The streams on which a run is shown, and how.

    Without a `format` a terminal gets a table, and everything else JSON Lines. `name_of` is the user's name
    of an organization's identity; `environ` says what the terminal is
    (TERM, COLUMNS), None for the process's own.
    """

    stdout: TextIO
    stderr: TextIO
    clock: Clock
    zone: tzinfo = UTC
    format: Format | None = None
    quiet: bool = False
    verbose: bool = False
    log_format: str = "text"
    no_color: bool = False
    show_links: bool = True
    name_of: Callable[[str], str] = str
    environ: Mapping[str, str] | None = None
    store: str = ""
    rehearsal: bool = False
    trace_id: str = ""

    @property
    def chosen_format(self) -> Format:
        """The format, chosen by where standard output goes unless it was given."""
        return self.format or (Format.TABLE if self.stdout.isatty() else Format.JSONL)

    @property
    def coloured(self) -> bool:
        """True if results may have colours: on a terminal that has them, unless they are not wanted."""
        term = (os.environ if self.environ is None else self.environ).get("TERM", "")
        return self.stdout.isatty() and not self.no_color and term.lower() not in ("dumb", "unknown")

    @property
    def level(self) -> str:
        """The least level of a log event that is shown."""
        return "warning" if self.quiet else "debug" if self.verbose else "info"

    @property
    def live(self) -> bool:
        """True if somebody looks at both streams, so that a live line neither tears nor fills a file."""
        seen = self.stdout.isatty() and self.stderr.isatty()
        return seen and not self.quiet and self.log_format == "text"


class RecordWriter:
    """Writes results as records."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._write = partial(log.write_record, Lines(output.stdout))

    def write_start(self, run: Run, tasks: int) -> None:
        self._write(records.start_record(run, tasks))
        for one in run.refused:
            self._write(records.refusal_record(run, one, now=self._output.clock.wall()))

    def write_result(self, result: Result, run_id: str) -> None:
        self._write(_record(result, run_id, self._output))

    def write_end(self, ending: Ending) -> None:
        self._write(records.end_record(ending, now=self._output.clock.wall()))


class RowWriter:
    """Writes results as rows under a head."""

    def __init__(self, output: Output, head: str, row: Callable[[Result, str], str]) -> None:
        self._lines = Lines(output.stdout, drawn=output.coloured)
        self._head, self._row = head, row

    def write_start(self, run: Run, tasks: int) -> None:  # noqa: ARG002 - a table does not name its run
        self._write(self._head)

    def write_result(self, result: Result, run_id: str) -> None:
        self._write(self._row(result, run_id))

    def write_end(self, ending: Ending) -> None:
        """Rows need no end."""

    def _write(self, text: str) -> None:
        self._lines.write(text + "\n")


class _Table:
    """Rows for a terminal of so many columns, each task's status in its colour."""

    def __init__(self, columns: int, colours: Mapping[str, str]) -> None:
        room = columns - _STATUS - _WINDOW - 3 * len(GAP)
        self._columns, self._colours = columns, colours
        self._widths = (_STATUS, room - room // 3, room // 3)
        self.head = align_cells(("status", "test", "organization", "window"), self._widths)

    def row(self, row: sentences.SnapshotRow) -> str:
        """The row, under it the test's id, the local time and the link, which is never wrapped, or the error."""
        indent = " " * (_STATUS + len(GAP))
        about = GAP.join(part for part in (row.test_id, row.local) if part)
        below = indent + GAP.join(part for part in (about, row.about) if part)
        lines = [below]
        if row.linked and len(below) > self._columns:  # on a line of its own it can be clicked
            lines = [indent + about, GAP + row.about]
        elif not row.linked:
            below = mask_secrets(below)  # a secret in two parts would be found by nobody
            lines = textwrap.wrap(below, self._columns, initial_indent="", subsequent_indent=indent)
        if row.unknown_end:
            lines.append(indent + row.unknown_end)
        return "\n".join(line for line in (self._line(row), *lines) if line.strip())

    def _line(self, row: sentences.SnapshotRow) -> str:
        line = align_cells((row.status, row.test, row.organization, row.window), self._widths)
        colour = self._colours.get(row.status)
        return f"\x1b[{colour}m{line[:_STATUS]}\x1b[0m{line[_STATUS:]}" if colour else line


def make_writer(output: Output) -> RecordWriter | RowWriter:
    """The writer of results in the format that the output asks for."""
    match output.chosen_format:
        case Format.JSONL:
            return RecordWriter(output)
        case Format.CSV:
            head = _csv_line(records.SNAPSHOT_KEYS)
            return RowWriter(output, head, lambda result, run_id: _csv_row(result, run_id, output))
        case Format.MD:
            return RowWriter(output, _MARKDOWN_HEAD, lambda result, _: _markdown_row(_row(result, output)))
        case Format.TABLE:
            table = _Table(_columns(output.stdout), _COLOURS if output.coloured else {})
            return RowWriter(output, table.head, lambda result, _: table.row(_row(result, output)))


def _row(result: Result, output: Output) -> sentences.SnapshotRow:
    return sentences.snapshot_row(result, output.zone, show_links=output.show_links)


def _record(result: Result, run_id: str, output: Output) -> records.Record:
    return records.snapshot_record(result, run_id=run_id, show_links=output.show_links)


def _markdown_row(row: sentences.SnapshotRow) -> str:
    window = f"{row.window} ({row.local})" if row.local else row.window
    about = f"<{quote(row.about, safe=URL_CHARACTERS)}>" if row.linked else escape_markdown(row.about)
    cells = (
        row.status,
        escape_markdown(f"{row.test} ({row.test_id})" if row.test_id else row.test),
        escape_markdown(row.organization),
        window,
        about,
        row.expiry,
    )
    return f"| {' | '.join(cells)} |"


def _csv_row(result: Result, run_id: str, output: Output) -> str:
    """The record's values under its own keys, an error as one sentence."""
    record = _record(result, run_id, output)
    if "error" in record:
        record["error"] = _row(result, output).about
    return _csv_line([_cell(record.get(key)) for key in records.SNAPSHOT_KEYS])


def _cell(value: object) -> object:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        value = json.dumps(value)
    return escape_formula(value) if isinstance(value, str) else value


def _csv_line(cells: Sequence[object]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(cells)
    return line.getvalue()


def _columns(stream: TextIO) -> int:
    """The terminal's width, within bounds that a table can be read in; 80 where it is none."""
    return max(60, min(120, terminal_room(stream) or 80))

"""A report as a file: checked before a run sends anything, and written whole or not at all when it has ended."""

from __future__ import annotations

import os
import re
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from orchestrator.core import UsageError
from orchestrator.output.report.page import Report
from orchestrator.output.report.render import ReportFormat, render

SUFFIXES = {
    ".md": ReportFormat.MD,
    ".html": ReportFormat.HTML,
    ".csv": ReportFormat.CSV,
    ".jsonl": ReportFormat.JSONL,
}
"""The form of a file, by the end of its name."""

_OWN_STREAM = re.compile(r"/dev/(std(?:in|out|err))|(?:/dev|/proc/self)/fd/([0-9]+)")


def check_report_path(path: str) -> ReportFormat:
    """The form of the file, by its suffix; UsageError when it could not be written later on."""
    target = Path(path)
    kind = SUFFIXES.get(target.suffix.lower())
    if kind is None:
        raise UsageError(f"report {path}: its name says what it is to be: end it with {', '.join(SUFFIXES)}")
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
    text = render(report, kind or check_report_path(path)).encode("utf-8", "backslashreplace")
    target = Path(path)
    try:
        if is_stream(target):
            with _stream(path) as stream:
                stream.write(text)
        else:
            _check_place(target, path)
            _put(target.resolve(), text)  # resolved, so that a link to a file stays one
    except OSError as error:
        raise UsageError(f"report {path} cannot be written ({error.strerror})") from None


def is_stream(target: Path) -> bool:
    """True if what is there takes a report and keeps none: a device, a pipe, or one of this process's own streams."""
    return bool(_OWN_STREAM.fullmatch(str(target))) or target.is_char_device() or target.is_fifo()


def _stream(path: str) -> BinaryIO:
    """The device, pipe or stream to write into: one of our own streams goes on where it stands."""
    own = _OWN_STREAM.fullmatch(path)
    if own is None:
        return Path(path).open("wb")
    number = int(own[2]) if own[2] else ("stdin", "stdout", "stderr").index(own[1])
    return os.fdopen(os.dup(number), "wb")


def _check_place(target: Path, path: str) -> None:
    if target.exists() and not target.is_file():
        raise UsageError(f"report {path}: that is no file: choose another name")


def _put(target: Path, text: bytes) -> None:
    with tempfile.NamedTemporaryFile(**_beside(target), delete=False) as file:
        try:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
            Path(file.name).replace(target)
        except OSError:
            with suppress(OSError):
                Path(file.name).unlink()
            raise


def _beside(target: Path) -> dict[str, Any]:
    """The place of a file before it takes its name: on the same file system, with mode 0600."""
    return {"prefix": f".{target.name[:100]}.", "suffix": ".part", "dir": target.resolve().parent}

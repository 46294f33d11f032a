"""The archive: a file that has the records of runs before they are forgotten, synced to the disk run by run.

A process that is killed leaves a part of a run at the file's end, and that run in the store: the next one takes the part
out and writes the run again. So a run may be in it twice, and is never in neither.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TextIO

from orchestrator.core import Counts, Result, Run, StoreUnavailable, UsageError, mask_secrets
from orchestrator.output import records

SUFFIX = ".jsonl"

LONGEST = 2**20
"""Bytes that a line has at most: an error's text is cut long before."""

BEGINNING = b'{"event": '
"""Of each line: by it a part of one is known for ours."""


class Archive:
    """A file of records, one JSON object a line, that runs are added to."""

    def __init__(self, path: Path, stream: TextIO) -> None:
        self._path, self._stream = path, stream

    @classmethod
    @contextlib.contextmanager
    def open(cls, path: Path) -> Iterator[Archive]:
        """Open it for a while, for nobody else to read, made if need be; UsageError where that cannot be."""
        if path.suffix != SUFFIX:
            raise UsageError(f"--archive {path}: records are JSON Lines: choose a name that ends in {SUFFIX}")
        try:
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise UsageError(f"--archive {path}: it cannot be opened: {error.strerror}") from error
        stream = os.fdopen(file, "a", encoding="utf-8")
        try:
            _prepare(file, path)
            yield cls(path, stream)
        finally:
            with contextlib.suppress(OSError):  # of what could not be written, which was said
                stream.close()

    def add(self, run: Run, results: Iterable[Result], counts: Counts) -> None:
        """Write all that is settled of a run, and wait until the disk has it; StoreUnavailable where that fails."""
        try:
            for record in _records(run, results, counts):
                self._stream.write(mask_secrets(json.dumps(record)) + "\n")
            self._stream.flush()
            os.fsync(self._stream.fileno())
        except OSError as error:
            raise StoreUnavailable(
                f"--archive {self._path}: it cannot be written: {error.strerror}; run {run.id} and those after it are not"
                " forgotten: make room and run the same command again"
            ) from error


def _records(run: Run, results: Iterable[Result], counts: Counts) -> Iterator[records.Record]:
    """The records of a run as it printed them; of its end only the counts are known."""
    yield records.start_record(run, run.tasks)
    for result in results:
        if result.status.settled:
            yield records.snapshot_record(result, run_id=run.id, show_links=True)
    yield records.archived_record(run, counts)


def _prepare(file: int, path: Path) -> None:
    """Have it to oneself, with its name on the disk and whole lines in it; UsageError where that cannot be."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _cut_part(file)
        _sync_folder(path)
    except BlockingIOError:
        raise UsageError(
            f"--archive {path}: another process writes it: wait for it, or name another file"
        ) from None
    except (OSError, ValueError) as error:
        raise UsageError(f"--archive {path}: {error}: name another file") from error


def _cut_part(file: int) -> None:
    """Take out the part of a line that a killed process left at the end; ValueError if it is no record's."""
    size = os.fstat(file).st_size
    first = max(0, size - LONGEST)
    content = os.pread(file, LONGEST, first)
    kept = content.rfind(b"\n") + 1
    part = content[kept:]
    if (first and not kept) or not (part.startswith(BEGINNING) or BEGINNING.startswith(part)):
        raise ValueError("it does not end with a line of records")
    os.ftruncate(file, first + kept)


def _sync_folder(path: Path) -> None:
    """Have the disk know the file's name, too."""
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)

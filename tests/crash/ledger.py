"""What every process notes down: one file for all, each line in one write, which no kill can take back."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from orchestrator.core.tasks import Lease

GRANTED = "granted"  # the grant's commit has returned
ASKED = "asked"  # `sending` is about to be committed
COMMITTED = "committed"  # it is: from here on bytes may leave
REQUEUED = "requeued"  # the process is about to queue the task again, knowing that nothing was made
SETTLED = "settled"  # the process is about to store what came of the attempt
DIED = "died"  # the process kills itself now


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """One line of the ledger."""

    what: str
    pid: int
    key: str = ""
    attempt: int = 0
    point: int = 0


class Ledger:
    """A file to which many processes append."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)

    def note(self, what: str, *, key: str = "", attempt: int = 0, point: int = 0) -> None:
        """Append a line, whole or not at all."""
        line = Note(what=what, pid=os.getpid(), key=key, attempt=attempt, point=point)
        os.write(self._file, (json.dumps(asdict(line)) + "\n").encode())

    def of(self, lease: Lease, what: str) -> None:
        """Append a line about an attempt."""
        self.note(what, key=lease.task.key, attempt=lease.attempt)


def read_ledger(path: Path) -> list[Note]:
    """All lines, in the order in which they were written."""
    if not path.exists():
        return []
    found: list[Mapping[str, object]] = [json.loads(line) for line in path.read_text().splitlines()]
    return [Note(**line) for line in found]  # type: ignore[arg-type] # as `note` wrote it

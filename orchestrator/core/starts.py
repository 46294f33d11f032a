"""The memory of a run: who started its job, where, when and how that ended. Times are epoch seconds."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple


class Start(NamedTuple):
    """One start of a job by one process; it may have come to no run, as without any token.

    `part`: only a part of the file was meant, so that it is no success of the job. `attended`: somebody sat at a
    terminal. `title` is what an incident is called. Without `ended_at` the process is at work, or was killed.
    """

    job: str
    command: str
    title: str = ""
    user: str = ""
    host: str = ""
    pid: int = 0
    version: str = ""
    part: bool = False
    attended: bool = False
    began_at: float = 0.0
    run_id: str | None = None
    ended_at: float | None = None
    exit_code: int | None = None
    last_line: str = ""


class StartEnd(NamedTuple):
    """The end of a start: its last line, and of its organizations why tasks are pending (by identity).

    `whole` are the organizations, by the user's names, of which everything is made, with how many tasks that were.
    """

    exit_code: int
    last_line: str = ""
    reasons: Mapping[str, str] = MappingProxyType({})
    whole: Mapping[str, int] = MappingProxyType({})


class Success(NamedTuple):
    """When a job, or one organization of it, was last made whole, and how many tasks that were."""

    at: float
    tasks: int

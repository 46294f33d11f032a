"""The server's view of every request."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedRequest:
    """One request as the server saw it; all times in epoch seconds of the true clock.

    `counted` means that a snapshot was made and used a slot, whatever the client got to hear;
    `counted_at` is when the origin acted (None: never). `status` is what was sent and `answered` when;
    both are None if nothing was. `exhausted` is the limit that refused it, `general` or `snapshots`. `start`, `end` and `is_public` are those of a valid request.
    """

    arrived: float
    method: str
    path: str
    counted_at: float | None = None
    answered: float | None = None
    organization: str | None = None
    aid: str | None = None
    bearer: str | None = None
    test: str | None = None
    status: int | None = None
    fault: str | None = None
    counted: bool = False
    snapshot: str | None = None
    display_name: str | None = None
    start: float | None = None
    end: float | None = None
    is_public: bool | None = None
    exhausted: str | None = None

    def to_line(self) -> str:
        """The entry as one line of JSON."""
        return json.dumps(asdict(self), separators=(",", ":")) + "\n"

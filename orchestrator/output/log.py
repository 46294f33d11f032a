"""Records and log events on their way to a stream, which masks secrets: each becomes a line.

Log events go to standard error, as sentences or as JSON Lines, and are no versioned format. The JSON Lines are
structlog's, which is imported for them alone: it brings asyncio and rich along.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, MutableMapping
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TextIO, cast

from orchestrator.core import Event, change_texts, harmless, utc_text, without_links
from orchestrator.output.records import Record
from orchestrator.output.streams import Lines
from orchestrator.output.table import wrap_line

if TYPE_CHECKING:
    from structlog.typing import Processor

LOG_KEYS = ("event", "time", "level", "run_id", "text")

OWN_EVENTS = ("run.begun", "run.waiting", "run.ended")
"""Log events whose sentences stand for themselves, whatever their level."""

_TRACEPARENT = re.compile(
    r"(?P<version>[0-9a-f]{2})-(?P<trace>[0-9a-f]{32})-(?P<parent>[0-9a-f]{16})-[0-9a-f]{2}(?:-.*)?"
)
"""https://www.w3.org/TR/trace-context: a later version may say more behind these parts."""

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}
"""The levels with the numbers that Python's and structlog's logging give them."""

EventDict = MutableMapping[str, Any]


class Log(Protocol):
    """A logger as structlog's are."""

    def log(self, level: int, event: str, **fields: Any) -> object:
        """Write a log event, unless its level is not told."""


def event_log(
    lines: Lines,
    *,
    level: str = "info",
    as_json: bool = False,
    show_links: bool = True,
    room: Callable[[], int | None] = lambda: None,
    trace_id: str = "",
) -> Log:
    """A logger for log events from `level` on: JSON Lines, or a sentence per line, wrapped in the terminal's `room`.

    At level debug a sentence has its event's name and fields; without `show_links` URLs end at the host. The trace that
    the process belongs to is a field of every event.
    """
    processors: list[Processor] = [] if show_links else [_hide_links]
    if trace_id:
        processors.append(partial(_add_trace, trace_id=trace_id))
    if as_json:
        return _json_log(lines, level, processors)
    return SentenceLog(
        lines, level, [*processors, partial(_render_sentence, details=level == "debug", room=room)]
    )


class SentenceLog:
    """Log events as sentences for people, each made by the same processors as those of JSON Lines."""

    def __init__(self, lines: Lines, level: str, processors: list[Processor]) -> None:
        self._lines, self._least, self._processors = lines, LEVELS[level], processors

    def log(self, level: int, event: str, **fields: Any) -> None:
        """Write a log event, unless its level is not told."""
        if level < self._least:
            return
        name = next(name for name, number in LEVELS.items() if number == level)
        made: Any = {"event": event, "level": name, **fields}
        for process in self._processors:
            made = process(None, name, made)
        self._lines.write(f"{made}\n")


def _json_log(lines: Lines, level: str, processors: list[Processor]) -> Log:
    import structlog

    return cast(
        "Log",
        structlog.wrap_logger(  # of our own, whatever an application has configured globally
            structlog.WriteLogger(cast("TextIO", lines)),
            processors=[
                *processors,
                structlog.processors.add_log_level,
                _log_keys_first,
                structlog.processors.JSONRenderer(default=str),
            ],
            wrapper_class=structlog.make_filtering_bound_logger(level),
            context_class=dict,
        ),
    )


def write_event(log: Log, event: Event, *, now: float, run_id: str | None = None) -> None:
    """Write one log event, `now` in epoch seconds. A field never replaces one of the event's own keys."""
    fields: dict[str, Any] = {key: value for key, value in event.fields if key not in LOG_KEYS}
    run = {} if run_id is None else {"run_id": run_id}
    time = utc_text(now, timespec="milliseconds")
    log.log(level_rank(event.level), event.name, time=time, text=event.text, **run, **fields)


def level_rank(level: str) -> int:
    """The number of a level, from debug to error; an unknown one is info."""
    return LEVELS.get(level, LEVELS["info"])


def write_record(lines: Lines, record: Record) -> None:
    """Write one record as a line of JSON. OSError when the stream is gone."""
    lines.write(json.dumps(record) + "\n")


def _render_sentence(
    _logger: object, _method: str, event: EventDict, *, details: bool, room: Callable[[], int | None]
) -> str:
    """Render an event as its sentence, with the level where it is trouble."""
    level, text = str(event.get("level", "info")), str(event.get("text") or event["event"])
    start = f"{level}: " if level in ("warning", "error") and event["event"] not in OWN_EVENTS else ""
    fields = " ".join(f"{key}={value}" for key, value in event.items() if key not in LOG_KEYS)
    about = f" ({event['event']}{' ' if fields else ''}{fields})" if details else ""
    return "\n".join(wrap_line(harmless(f"{start}{text}{about}"), room()))


def find_trace_id(environ: Mapping[str, str]) -> str:
    """The trace that whoever started the process says it belongs to (W3C Trace Context, TRACEPARENT); empty without one."""
    found = _TRACEPARENT.fullmatch(environ.get("TRACEPARENT", "").strip())
    if (
        found is None
        or found["version"] == "ff"
        or not (found["trace"].strip("0") and found["parent"].strip("0"))
    ):
        return ""
    return found["trace"]


def _add_trace(_logger: object, _method: str, event: EventDict, *, trace_id: str) -> EventDict:
    """Say which trace the event belongs to."""
    return {**event, "trace_id": trace_id}


def _log_keys_first(_logger: object, _method: str, event: EventDict) -> EventDict:
    """Put the keys that every log event has in front, in their order."""
    return {**{key: event[key] for key in LOG_KEYS if key in event}, **event}


def _hide_links(_logger: object, _method: str, event: EventDict) -> EventDict:
    """Drop a `link` and cut URLs in texts."""
    return cast("EventDict", change_texts({k: v for k, v in event.items() if k != "link"}, without_links))

"""Records and log events on their way to a stream: each becomes a line, secrets masked.

Log events are structlog's: they go to standard error, as sentences or as JSON Lines, and are no versioned format.
"""

from __future__ import annotations

import json
from collections.abc import Callable, MutableMapping
from functools import partial
from typing import Any, TextIO, cast

import structlog

from orchestrator.core import Event, change_texts, harmless, mask_secrets, utc_text, without_links
from orchestrator.output.records import Record
from orchestrator.output.streams import Lines
from orchestrator.output.table import wrap_line

LOG_KEYS = ("event", "time", "level", "run_id", "text")

OWN_EVENTS = ("run.begun", "run.waiting", "run.ended")
"""Log events whose sentences stand for themselves, whatever their level."""

LEVELS = ("debug", "info", "warning", "error")

Log = structlog.typing.FilteringBoundLogger

EventDict = MutableMapping[str, Any]


def event_log(
    lines: Lines,
    *,
    level: str = "info",
    as_json: bool = False,
    show_links: bool = True,
    room: Callable[[], int | None] = lambda: None,
) -> Log:
    """A logger for log events from `level` on: JSON Lines, or a sentence per line, wrapped in the terminal's `room`.

    At level debug a sentence has its event's name and fields; without `show_links` URLs end at the host.
    """
    line = (
        structlog.processors.JSONRenderer(default=str)
        if as_json
        else partial(_render_sentence, details=level == "debug", room=room)
    )
    hiding = [] if show_links else [_hide_links]
    return cast(
        "Log",
        structlog.wrap_logger(  # of our own, whatever an application has configured globally
            structlog.WriteLogger(cast("TextIO", lines)),
            processors=[
                *hiding,
                _mask_event,
                structlog.processors.add_log_level,
                _log_keys_first,
                line,
            ],
            wrapper_class=structlog.make_filtering_bound_logger(level),
            context_class=dict,
        ),
    )


def write_event(log: Log, event: Event, *, now: float, run_id: str | None = None) -> None:
    """Write one log event, `now` in epoch seconds. A field never replaces one of the event's own keys."""
    fields: dict[str, Any] = {key: value for key, value in event.fields if key not in LOG_KEYS}
    run = {} if run_id is None else {"run_id": run_id}
    write = getattr(log, LEVELS[level_rank(event.level)])
    write(event.name, time=utc_text(now, timespec="milliseconds"), text=event.text, **run, **fields)


def level_rank(level: str) -> int:
    """The place of a level from debug to error; an unknown one is info."""
    return LEVELS.index(level if level in LEVELS else "info")


def write_record(lines: Lines, record: Record) -> None:
    """Write one record as a line of JSON. OSError when the stream is gone."""
    lines.write(json.dumps(change_texts(record, mask_secrets)) + "\n")


def _mask_event(_logger: object, _method: str, event: EventDict) -> EventDict:
    """Mask the secrets in all texts of an event, however deep."""
    return cast("EventDict", change_texts(event, mask_secrets))


def _render_sentence(
    _logger: object, _method: str, event: EventDict, *, details: bool, room: Callable[[], int | None]
) -> str:
    """Render an event as its sentence, with the level where it is trouble."""
    level, text = str(event.get("level", "info")), str(event.get("text") or event["event"])
    start = f"{level}: " if level in ("warning", "error") and event["event"] not in OWN_EVENTS else ""
    fields = " ".join(f"{key}={value}" for key, value in event.items() if key not in LOG_KEYS)
    about = f" ({event['event']}{' ' if fields else ''}{fields})" if details else ""
    return "\n".join(wrap_line(harmless(f"{start}{text}{about}"), room()))


def _log_keys_first(_logger: object, _method: str, event: EventDict) -> EventDict:
    """Put the keys that every log event has in front, in their order."""
    return {**{key: event[key] for key in LOG_KEYS if key in event}, **event}


def _hide_links(_logger: object, _method: str, event: EventDict) -> EventDict:
    """Drop a `link` and cut URLs in texts."""
    return cast("EventDict", change_texts({k: v for k, v in event.items() if k != "link"}, without_links))

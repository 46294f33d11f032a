"""Log events: levels, masking, and their two forms."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import pytest

from orchestrator.core.events import Event
from orchestrator.core.hidden import MASK
from orchestrator.core.redact import hide
from orchestrator.output import log
from orchestrator.output.streams import Lines

START = 1_795_183_200  # 2026-11-20T14:00:00Z

SECRET = "0a1b2c3d-secret-4e5f"


@pytest.mark.parametrize("as_json", [True, False])
def test_without_links_no_link_is_in_a_log_event(as_json: bool) -> None:
    """`--links id` holds for the log as well."""
    link = "https://app.example.com/s/wdiac"
    event = Event(name="attempt.sent", text=f"made {link}", fields=(("link", link), ("urls", [link])))
    stream = io.StringIO()
    logger = log.event_log(Lines(stream), level="debug", as_json=as_json, show_links=False)
    log.write_event(logger, event, now=START)
    assert "made https://app.example.com/" in stream.getvalue()
    assert not re.search('wdiac|link["=]', stream.getvalue())


@pytest.mark.parametrize("as_json", [True, False])
def test_secrets_are_masked_wherever_they_turn_up(as_json: bool) -> None:
    """A registered secret and anything like a bearer token leave no log line, however deep they stand."""
    stream = io.StringIO()
    logger = log.event_log(Lines(stream), level="debug", as_json=as_json)
    hide(SECRET)
    fields = (("headers", {SECRET: [f"x{SECRET}y"]}), ("sent", "Authorization: Bearer abc123.def-ghi"))
    log.write_event(logger, Event(name="attempt.sent", text=f"sent {SECRET}", fields=fields), now=START)
    assert MASK in stream.getvalue()
    assert SECRET not in stream.getvalue()
    assert "abc123" not in stream.getvalue()


@pytest.mark.parametrize(
    ("level", "shown"),
    [("warning", ["warning", "error"]), ("info", ["info", "warning", "error", "odd"])],
)
def test_levels_decide_what_is_told(level: str, shown: list[str]) -> None:
    """`--quiet` keeps trouble, the default leaves debug out, an unknown level counts as info."""
    stream = io.StringIO()
    logger = log.event_log(Lines(stream), level=level, as_json=True)
    for one in ("debug", "info", "warning", "error", "odd"):
        log.write_event(logger, Event(name="plan.note", text=one, level=one), now=START)
    assert [json.loads(line)["text"] for line in stream.getvalue().splitlines()] == shown


def test_a_log_event_has_its_keys_first_and_no_schema() -> None:
    """A line of the log can be told from a record, and a field cannot pose as its time or level."""
    stream = io.StringIO()
    fields = (("attempt", 2), ("level", "fatal"), ("path", Path("x")))
    event = Event(name="attempt.retry", text="again 100%", level="warning", fields=fields)
    log.write_event(log.event_log(Lines(stream), as_json=True), event, now=START, run_id="k7f2")
    told = json.loads(stream.getvalue())
    assert tuple(told) == (*log.LOG_KEYS, "attempt", "path")
    assert (told["level"], told["text"], told["attempt"]) == ("warning", "again 100%", 2)


def test_a_text_line_is_one_harmless_line() -> None:
    """A test's name cannot forge a second line or steer the terminal."""
    stream = io.StringIO()
    event = Event(name="attempt.retry", text="a\nb \x1b[31mred \u202eback", level="warning")
    log.write_event(log.event_log(Lines(stream)), event, now=START)
    assert stream.getvalue() == "warning: a\\nb \\x1b[31mred \\u202eback\n"


def test_details_of_a_text_line_are_shown_on_demand() -> None:
    """With `-v` a sentence has its event's name and its fields."""
    stream = io.StringIO()
    event = Event(name="attempt.retry", text="again", fields=(("attempt", 2),))
    log.write_event(log.event_log(Lines(stream), level="debug"), event, now=START)
    assert stream.getvalue() == "again (attempt.retry attempt=2)\n"


@pytest.mark.parametrize(
    ("given", "trace"),
    [
        ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "0af7651916cd43dd8448eb211c80319c"),
        ("01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-later", "0af7651916cd43dd8448eb211c80319c"),
        ("ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", ""),
        ("00-00000000000000000000000000000000-b7ad6b7169203331-01", ""),
        ("00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01", ""),
        ("00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01", ""),
        ("nonsense", ""),
        ("", ""),
    ],
)
def test_the_trace_that_a_process_belongs_to_is_in_every_event(given: str, trace: str) -> None:
    """As W3C Trace Context has it; one that is none is no trace."""
    assert log.find_trace_id({"TRACEPARENT": given}) == trace
    stream = io.StringIO()
    logger = log.event_log(Lines(stream), as_json=True, trace_id=trace)
    for name in ("run.begun", "run.ended"):
        log.write_event(logger, Event(name=name, text="x"), now=START)
    found = [json.loads(line).get("trace_id", "") for line in stream.getvalue().splitlines()]
    assert found == [trace] * 2

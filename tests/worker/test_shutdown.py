"""An early end: asked for, due, or forced."""

from __future__ import annotations

import math
from typing import cast

from orchestrator.worker.sender import Sender
from orchestrator.worker.shutdown import DRAIN, Shutdown
from tests.support.virtual import Notebook


class Wire:
    """A sender that only notes what it is told."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def drain(self) -> None:
        self.calls.append("drain")

    def abort(self) -> None:
        self.calls.append("abort")


def test_the_first_request_drains_and_the_second_cuts() -> None:
    """It is told once."""
    wire, notebook = Wire(), Notebook()
    shutdown = Shutdown(cast("Sender", wire), notebook, patience=3600.0, ends_at=math.inf)
    shutdown.ask("SIGTERM")
    assert not shutdown.begun
    shutdown.check(1.0, silent_for=0.0)
    assert (shutdown.begun, shutdown.cut, wire.calls) == (True, False, ["drain"])
    shutdown.ask("SIGTERM")
    shutdown.check(2.0, silent_for=0.0)
    assert (shutdown.cut, wire.calls) == (True, ["drain", "abort"])
    assert [event.name for event in notebook.events] == ["run.stopping"]


def test_what_is_on_the_wire_has_so_long_and_no_longer() -> None:
    """Counted from the deadline that began it."""
    wire = Wire()
    shutdown = Shutdown(cast("Sender", wire), Notebook(), patience=3600.0, ends_at=100.0)
    for now in (99.0, 100.0, 100.0 + DRAIN - 0.1):
        shutdown.check(now, silent_for=0.0)
    assert wire.calls == ["drain"]
    shutdown.check(100.0 + DRAIN, silent_for=0.0)
    assert wire.calls == ["drain", "abort"]


def test_silence_longer_than_patience_ends_the_run() -> None:
    """And is said to be the reason."""
    notebook = Notebook()
    shutdown = Shutdown(cast("Sender", Wire()), notebook, patience=60.0, ends_at=math.inf)
    shutdown.check(60.0, silent_for=60.0)
    assert not shutdown.begun
    shutdown.check(61.0, silent_for=61.0)
    assert "nothing has answered for 60 s" in notebook.events[0].text

"""What every test runs under: no real sleep, socket or process unless its mark says that it needs one."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from typing import NoReturn

import pytest
import urllib3  # noqa: F401 - binds a socket when imported, to look for IPv6: here, not in a test
from hypothesis import HealthCheck, settings

SLOW = [HealthCheck.too_slow]  # it takes the time of drawing, which is the machine's
settings.register_profile(
    "ci", derandomize=True, deadline=None, database=None, print_blob=True, suppress_health_check=SLOW
)
settings.register_profile("dev", deadline=None, print_blob=True, suppress_health_check=SLOW)
settings.register_profile(
    "thorough",
    max_examples=2000,
    deadline=None,
    print_blob=True,
    suppress_health_check=SLOW,
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))

PROCESS_MARKS = ("process", "postgres", "scaled", "container", "deploy", "install")
MARKS = ("socket", *PROCESS_MARKS)


def pytest_configure() -> None:
    """Let programs that tests start hear the signals that these tests ignore: under `nohup`, or in the background of a shell.

    A program inherits that a signal is ignored, but no function that is called instead.
    """
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda *_: None)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep what runs in real time on one worker, one test after the other."""
    for item in items:
        if item.get_closest_marker("scaled"):
            item.add_marker(pytest.mark.xdist_group("scaled"))


@pytest.fixture(autouse=True)
def _closed_world(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Close time, network and processes to a test that is not marked for them.

    The one place that patches: it takes away, it never replaces.
    """
    if not _has_mark(request, MARKS):
        monkeypatch.setattr(time, "sleep", _refused("sleeps", MARKS))
        for name in ("connect", "connect_ex", "bind"):
            monkeypatch.setattr(socket.socket, name, _refused("opens a socket", MARKS))
    if not _has_mark(request, PROCESS_MARKS):
        monkeypatch.setattr(subprocess.Popen, "__init__", _refused("starts a process", PROCESS_MARKS))


def _has_mark(request: pytest.FixtureRequest, marks: tuple[str, ...]) -> bool:
    return any(request.node.get_closest_marker(mark) for mark in marks)


def _refused(what: str, marks: tuple[str, ...]) -> Callable[..., NoReturn]:
    def refuse(*_args: object, **_kwargs: object) -> NoReturn:
        # Not an Exception: no code under test may take it for an ordinary failure.
        pytest.fail(f"this test {what}: mark it with one of {', '.join(marks)}, or pass a fake")

    return refuse

"""How long until the command line does something, against interpreters that do nothing."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.probe import ROOT
from benchmarks.row import Row, milliseconds
from orchestrator.simulator import Simulator, serve
from tests.support.incident import alerting_world, install, start

ROUNDS = 11
INCIDENTS = 3
INCIDENT = [
    "snap",
    "--alerting",
    "--last",
    "2h",
    "--format",
    "md",
    "--per",
    "1s",
    "--guard",
    "10ms",
    "--grace",
    "500ms",
]

COMMANDS = {
    "bare": ["-c", "pass"],
    "libraries": ["-c", "import requests, pydantic"],
    "help": ["-m", "orchestrator", "--help"],
    "validate": ["-m", "orchestrator", "validate", "jobs.example.yaml"],
}


def rows(folder: Path) -> Iterator[Row]:
    """`--help`, `validate` of the example, and the links of an incident."""
    took: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(ROUNDS):  # in turns: what else the machine does hits all alike
        for name, arguments in COMMANDS.items():
            took[name].append(_seconds(arguments))
    medians = {name: statistics.median(times) for name, times in took.items()}
    names = {"bare": "`python -c pass`", "libraries": "`python -c 'import requests, pydantic'`"}
    for command, title in (("help", "`tesnap --help`"), ("validate", "`tesnap validate jobs.example.yaml`")):
        for base, to in names.items():
            ratio = medians[command] / medians[base]
            yield Row(name=title, figure=milliseconds(medians[command]), ratio=ratio, to=to)
    fifth = statistics.median(_until_the_fifth_link(folder / f"incident-{at}") for at in range(INCIDENTS))
    yield Row(
        name="`tesnap snap --alerting` of 500 tests, until the fifth link",
        figure=milliseconds(fifth),
        ratio=fifth / medians["libraries"],
        to=names["libraries"],
        target="2 s",
    )


def _until_the_fifth_link(folder: Path) -> float:
    """From an empty store, against a server on loopback that answers after 20 ms."""
    folder.mkdir()
    installed = install(folder)
    with serve(Simulator(alerting_world(), period=1.0, latency=(0.020, 0.0))) as url:
        environ = {"TE_TOKEN": "token-1", "TE_BASE_URL": url}
        started = start(installed, *INCIDENT, environ=environ)
    links = [seconds for seconds, line in started.lines if "https://" in line]
    return links[4]


def _seconds(arguments: list[str]) -> float:
    # As installed: with byte code, which a rehearsal of the Makefile leaves out.
    environ = {name: text for name, text in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    before = time.perf_counter()
    subprocess.run(  # noqa: S603 - this interpreter, with arguments from above
        [sys.executable, *arguments], check=True, capture_output=True, cwd=ROOT, env=environ
    )
    return time.perf_counter() - before

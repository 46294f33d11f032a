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

ROUNDS = 11

COMMANDS = {
    "bare": ["-c", "pass"],
    "libraries": ["-c", "import requests, pydantic"],
    "help": ["-m", "orchestrator", "--help"],
    "validate": ["-m", "orchestrator", "validate", "jobs.example.yaml"],
}


def rows(folder: Path) -> Iterator[Row]:  # noqa: ARG001 - every group has this signature
    """`--help`, and `validate` of the example."""
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


def _seconds(arguments: list[str]) -> float:
    # As installed: with byte code, which a rehearsal of the Makefile leaves out.
    environ = {name: text for name, text in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    before = time.perf_counter()
    subprocess.run(  # noqa: S603 - this interpreter, with arguments from above
        [sys.executable, *arguments], check=True, capture_output=True, cwd=ROOT, env=environ
    )
    return time.perf_counter() - before

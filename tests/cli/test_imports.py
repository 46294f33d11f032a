"""The weight of a start: the libraries that a command imports, and how often its memory is looked through."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.simulator import Simulator, example_world, serve

pytestmark = [pytest.mark.process, pytest.mark.socket]

LIBRARIES = "asyncio click html jinja2 platformdirs psycopg requests rich sqlite3 structlog tenacity yaml"

LISTING = f"""
import atexit, sys
atexit.register(lambda: print(*(one for one in {LIBRARIES!r}.split() if one in sys.modules), file=sys.stderr))
from orchestrator.cli import main
main()
"""

COLLECTING = """
import atexit, gc, sys
looks = []
gc.callbacks.append(lambda phase, _: looks.append(phase))
atexit.register(lambda: print(looks.count("start"), gc.get_freeze_count(), file=sys.stderr))
from orchestrator.cli import main
main()
"""

GENERATING = """
import atexit, dataclasses, sys
def count_generated():
    places = [place for name, place in [*sys.modules.items()] if name.startswith("orchestrator.")]
    found = {one for place in places for one in vars(place).values() if dataclasses.is_dataclass(one)}
    print(sum(isinstance(one, type) and one.__module__.startswith("orchestrator") for one in found), file=sys.stderr)
atexit.register(count_generated)
from orchestrator.cli import main
main()
"""

JOBFILE = """\
version: 1
jobs: [{name: a, tests: ["202701"], windows: [{start: 2026-11-20T14:00:00Z, duration: 1h}]}]
"""

NEEDED = {
    "--version": "",
    "--help": "click",
    "run --help": "click",
    "validate jobs.yaml": "click yaml",
    "runs": "click sqlite3",
    "status": "click sqlite3",
    "list": "click sqlite3",
    "report": "click jinja2 sqlite3",
    "run jobs.yaml": "click requests sqlite3 yaml",
    "snap 202702 --last 1h": "click requests sqlite3 yaml",
    "snap 202703 --last 1h --log-format json": "asyncio click html requests rich sqlite3 structlog yaml",
}
"""Each command line with the libraries that it needs. requests imports, and structlog asyncio and rich."""

MOST_LOOKS = 20
"""Looks of Python's collector in a whole run; by its own number of objects there are 30 (3.13) to 90 (3.11)."""

MOST_DATACLASSES = 60
"""Dataclasses that a run imports. Python compiles six functions for each, which takes half a millisecond: a value that is
only made and read is a `NamedTuple`, at a fifth of that."""


@pytest.fixture(scope="module")
def environ(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A folder with a job file and the store of a run, and an API that answers."""
    folder = tmp_path_factory.mktemp("imports")
    (folder / "jobs.yaml").write_text(JOBFILE, encoding="utf-8")
    with serve(Simulator(example_world(1, 5), latency=(0.0, 0.0))) as url:
        yield {
            "HOME": str(folder),
            "PYTHONPATH": str(Path(__file__).parents[2]),
            "PYTHONDONTWRITEBYTECODE": "1",
            "TE_BASE_URL": url,
            "TE_TOKEN": "token-1",
            "TESNAP_STORE": f"sqlite:///{folder}/store.db",
            "TZ": "UTC",
        }


def imported(words: str, environ: dict[str, str]) -> str:
    """The libraries among `LIBRARIES` that the command has imported when it ends, in that order."""
    return last_line(LISTING, words, environ)


def last_line(code: str, words: str, environ: dict[str, str]) -> str:
    """Carry out the command by this code; returns the last line on standard error."""
    command = [sys.executable, "-c", code, *words.split()]
    done = subprocess.run(
        command, cwd=environ["HOME"], env=environ, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stderr.splitlines()[-1]


@pytest.mark.parametrize("words", NEEDED)
def test_a_command_imports_what_it_needs(words: str, environ: dict[str, str]) -> None:
    """And nothing of what only others need: a look never loads the HTTP client, nor a run the report."""
    if words in ("runs", "status", "list", "report"):  # each by itself, too: there has to be a run
        imported("run jobs.yaml", environ)
    assert imported(words, environ) == NEEDED[words]


def test_an_import_is_noticed(environ: dict[str, str]) -> None:
    """The list is of what is imported, whoever does it."""
    assert "jinja2" in imported(f"report --output {os.devnull} --format html", environ)


def test_memory_is_hardly_looked_through(environ: dict[str, str]) -> None:
    """Nothing that a start makes is to be freed, so Python's collector looks a few times, and not at the very end."""
    looks, frozen = map(int, last_line(COLLECTING, "snap 202704 --last 1h", environ).split())
    assert looks <= MOST_LOOKS
    assert frozen > 0


def test_a_run_generates_few_classes(environ: dict[str, str]) -> None:
    """A dataclass is made anew at each start; a hundred of them were a sixth of it."""
    assert 0 < int(last_line(GENERATING, "snap 202705 --last 1h", environ)) <= MOST_DATACLASSES

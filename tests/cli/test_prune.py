"""`tesnap prune` as people and cron use it, its archive, and `prune_after` in a job file."""

from __future__ import annotations

import errno
import io
import json
import os
import re
import select
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import click
import pytest

from orchestrator.app import forget_runs
from orchestrator.cli.process import tell_of_holder
from orchestrator.core import StoreUnavailable, SystemClock
from orchestrator.output import Archive
from orchestrator.simulator import Simulator, example_world, serve
from orchestrator.store import open_store
from orchestrator.store.locks import Owners
from tests.support.commands import LONGEST, ROOT, Ran, environment, ran, run_tesnap
from tests.support.history import LongHistory

LONG = LongHistory(runs=405, tasks=8, organizations=2)
OLD = ("h0", "h1", "h2", "h3", "h4")
"""The runs that began over 400 days ago, and half a day: the next one began 400 days ago, and some seconds."""
AGE = "400d12h"
LONGEST_SILENCE = 60.0
"""Seconds after which nobody is expected to say that it waits any more."""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with a store that has a run a day, the last one yesterday's."""
    LONG.fill(f"sqlite:///{tmp_path}/store.db", "https://api.example.com/v7", SystemClock())
    return tmp_path


def prune(place: Path, *words: str) -> Ran:
    age = () if "--older-than" in words else ("--older-than", AGE)
    return ran("prune", "--store", f"{place}/store.db", "--timezone", "UTC", *age, *words)


def runs_in(place: Path) -> list[str]:
    done = ran("runs", "--json", "--store", f"{place}/store.db")
    return [run["run_id"] for run in json.loads(done.stdout)]


def test_it_shows_first_and_does_nothing_where_nobody_can_agree(place: Path) -> None:
    """From cron without --yes: exit code 2 with what to do."""
    done = prune(place)
    assert (done.code, done.stdout) == (2, "")
    assert done.stderr.startswith("5 runs of 40 snapshots began before ")
    assert re.search(r"^  nightly: 5 runs of 40 snapshots, \d+ \w+ \d{4} .* to ", done.stderr, re.MULTILINE)
    assert done.stderr.endswith(
        "\ntesnap: error: nothing was forgotten: nobody can be asked here, so add --yes\n"
    )
    assert len(runs_in(place)) == LONG.runs


@pytest.mark.process
@pytest.mark.parametrize(("answer", "left"), [(b"n\n", 405), (b"\n", 405), (b"y\n", 401)])
def test_at_a_terminal_it_asks(place: Path, answer: bytes, left: int) -> None:
    """No is the default."""
    ours, theirs = os.openpty()
    try:
        os.write(ours, answer)
        done = subprocess.run(
            [sys.executable, "-m", "orchestrator", "prune", "--older-than", AGE],
            cwd=ROOT,
            env=environment(place),
            stdin=theirs,
            capture_output=True,
            text=True,
            check=False,
            timeout=LONGEST,
        )
    finally:
        os.close(theirs)
        os.close(ours)
    assert done.returncode == 0
    assert "forget these runs? [y/N]" in done.stderr
    assert len(runs_in(place)) == left


def test_it_forgets_and_says_what_stays(place: Path) -> None:
    """Snapshots that may exist for ever, by key and name; and how large the store is."""
    done = prune(place, "--yes")
    assert (done.code, done.stderr) == (0, "")
    assert "forgotten: 4 runs, 39 snapshots; 38 of them may exist still: key and name stay" in done.stdout
    assert "left, as uncertain or changed since: 1 snapshot\n" in done.stdout
    assert re.search(r"^the store (took .* and )?takes [\d.]+ MB", done.stdout, re.MULTILINE)
    assert [one for one in runs_in(place) if one in OLD] == ["h0"]
    assert prune(place, "--yes").stdout.startswith("nothing to forget: ")


def test_for_programs_it_is_one_document(place: Path) -> None:
    """With sizes in bytes."""
    done = prune(place, "--yes", "--json", "--forget-private")
    found = json.loads(done.stdout)
    assert {key: found[key] for key in ("runs", "snapshots", "stubs", "private", "kept")} == {
        "runs": 4,
        "snapshots": 39,
        "stubs": 0,
        "private": 38,
        "kept": 1,
    }
    assert found["size_before"] >= found["size"] > found["free"]
    assert found["before"].endswith("Z")


@pytest.mark.parametrize("age", ["34d", "0s", "soon"])
def test_what_is_young_is_never_forgotten(place: Path, age: str) -> None:
    """Until then a snapshot may exist; 35 days are taken."""
    done = prune(place, "--yes", "--older-than", age)
    assert (done.code, done.stdout) == (2, "")
    assert prune(place, "--older-than", "35d12h").stderr.startswith("370 runs")


# -- the archive -------------------------------------------------------------------------------------------


def records_in(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text("utf-8").splitlines()]


def test_the_archive_has_the_records_of_what_is_forgotten(place: Path) -> None:
    """As the run printed them, for its user alone; a second time they are added."""
    shown = []
    for run in OLD:
        ran("report", run, "-o", f"{place}/{run}.jsonl", "--store", f"{place}/store.db")
        shown += [one for one in records_in(place / f"{run}.jsonl") if one["event"].startswith("snapshot.")]
    file = place / "old.jsonl"
    assert prune(place, "--yes", "--archive", str(file)).code == 0
    records = records_in(file)
    assert [one["event"] for one in records if one["event"].startswith("run.")] == [
        "run.started",
        "run.finished",
    ] * len(OLD)
    archived = [one for one in records if one["event"].startswith("snapshot.")]
    assert sorted(archived, key=json.dumps) == sorted(shown, key=json.dumps)
    assert records[-1]["counts"]["created"] == 8
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    before = file.read_bytes()
    assert prune(place, "--yes", "--older-than", "399d12h", "--archive", str(file)).code == 0
    assert file.read_bytes().startswith(before)
    assert len(records_in(file)) == len(records) + 10


def test_another_file_is_left_as_it_is(place: Path) -> None:
    """A wrong name, a file of something else, a folder that is not there."""
    notes = place / "notes.jsonl"
    notes.write_text("my notes", encoding="utf-8")
    for name, words in {
        "old.csv": "choose a name that ends in .jsonl",
        "notes.jsonl": "it does not end with a line of records: name another file",
        "nowhere/old.jsonl": "No such file or directory",
    }.items():
        done = prune(place, "--yes", "--archive", str(place / name))
        assert done.code == 2, name
        assert words in done.stderr
    assert notes.read_text("utf-8") == "my notes"
    assert len(runs_in(place)) == LONG.runs


class FullDisk(io.StringIO):
    """A file of which the disk takes no more."""

    def flush(self) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")


def test_nothing_is_forgotten_that_the_archive_does_not_take(place: Path) -> None:
    """The run of which the records could not be written, and those after it."""
    with closing(open_store(f"{place}/store.db", clock=SystemClock())) as store:
        before = store.epoch() - 400 * 86_400
        old = store.pruning.find_old(before)
        archive = Archive(place / "old.jsonl", FullDisk())
        with pytest.raises(
            StoreUnavailable, match=r"No space left .*; run h0 and those after it are not forgotten"
        ):
            forget_runs(store, old, before, archive=archive)
    assert len(runs_in(place)) == LONG.runs


LIMITED = """
import resource, sys
from orchestrator import cli
resource.setrlimit(resource.RLIMIT_FSIZE, (2**26, 2**26))
cli.main(["prune", "--yes", *sys.argv[1:]])
"""
"""A prune whose files may not become larger than 64 MiB."""


@pytest.mark.process
def test_an_archive_that_can_take_no_more_is_named(place: Path) -> None:
    """By a real file that is full after some lines: the rest is still in its buffer when it is closed."""
    file = place / "old.jsonl"
    with file.open("wb") as full:
        full.seek(2**26 - 4000)
        full.write(b"}\n")
    words = ["--store", f"{place}/store.db", "--older-than", AGE, "--archive", str(file)]
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, *words],
        check=False,
        capture_output=True,
        text=True,
        env=environment(place),
        timeout=LONGEST,
    )
    assert done.returncode == 5
    assert (
        f"--archive {file}: it cannot be written: File too large; run h0 and those after it are not forgotten"
        in done.stderr
    )
    assert len(runs_in(place)) == LONG.runs


KILLED = """
import os, signal, sys
from orchestrator import cli
from orchestrator.store.sqlite import SqliteTransaction
left = [int(sys.argv[1])]
def killing(act):
    def acting(*arguments, **settings):
        left[0] -= 1
        if left[0] < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return act(*arguments, **settings)
    return acting
for name in ("change", "each", "count_change"):
    setattr(SqliteTransaction, name, killing(getattr(SqliteTransaction, name)))
from orchestrator.output import archive
archive.json.dumps = killing(archive.json.dumps)
os.fsync = killing(os.fsync)
cli.main(["prune", "--yes", *sys.argv[2:]])
"""
"""A prune that is killed before its nth step: a change, a commit, a line of the archive, a sync."""


@pytest.mark.process
def test_killed_at_any_step_it_loses_nothing(place: Path) -> None:
    """Each snapshot of an old run is in the archive or in the store, or in both; carried on, all is forgotten."""
    file, store = place / "old.jsonl", f"{place}/store.db"
    with closing(open_store(store, clock=SystemClock())) as opened:
        wanted = {(run, one.task.key) for run in OLD for one in opened.views.results(run)}
    words = ["--store", store, "--older-than", AGE, "--archive", str(file)]
    for step in (*range(1, 40, 3), 60, 90):
        done = subprocess.run(
            [sys.executable, "-c", KILLED, str(step), *words],
            check=False,
            capture_output=True,
            env=environment(place),
            timeout=300,
        )
        assert done.returncode in (0, -signal.SIGKILL), done.stderr
        lines = file.read_text("utf-8").split("\n")[:-1] if file.exists() else []
        archived = {(one["run_id"], one.get("task", "")) for one in map(json.loads, lines)}
        with closing(open_store(store, clock=SystemClock())) as opened:
            runs = [one.run for one in opened.history.runs()]
            left = {(run.id, one.task.key) for run in runs for one in opened.views.results(run.id)}
            assert all(run.tasks == len(list(opened.views.results(run.id))) for run in runs if run.id in OLD)
        assert wanted <= archived | left
    assert prune(place, "--yes", "--archive", str(file)).code == 0
    assert [one for one in runs_in(place) if one in OLD] == ["h0"]


@pytest.mark.process
def test_told_to_stop_it_ends_between_two_steps(place: Path) -> None:
    """With what it has done, exit code 5, and the command that goes on."""
    file = place / "old.jsonl"
    words = ["prune", "--yes", "--older-than", "35d", "--archive", str(file)]
    with subprocess.Popen(
        [sys.executable, "-m", "orchestrator", *words],
        cwd=ROOT,
        env=environment(place),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as started:
        while started.poll() is None and not (file.exists() and file.stat().st_size):
            pass
        started.terminate()
        out, err = started.communicate(timeout=LONGEST)
    assert started.returncode == 5, err
    assert err == "stopped: the same command goes on with what is left\n"
    assert re.search(r"^forgotten: \d+ runs?, \d+ snapshots?", out, re.MULTILINE)
    assert "it did not become smaller: it was stopped" in out
    left = len(runs_in(place))
    assert LONG.runs - 370 + 37 < left <= LONG.runs
    assert prune(place, "--yes", "--older-than", "35d", "--archive", str(file)).code == 0
    assert len(runs_in(place)) < left


# -- after a run -------------------------------------------------------------------------------------------

JOBFILE = """\
version: 1
name: nightly
organizations: {acme: {token_env: TE_TOKEN}}
jobs: [{name: a, tests: ["TEST"], windows: [{start: 2026-11-20T14:00:00Z, end: 2026-11-20T16:00:00Z}]}]
"""


@pytest.fixture
def job(place: Path) -> Iterator[dict[str, str]]:
    """A job file of the same name as the old runs, and an API that answers."""
    simulator = Simulator(example_world(1, 3), latency=(0.0, 0.0))
    test = simulator.world.organizations[0].account_groups[0].tests[0].test_id
    (place / "job.yaml").write_text(JOBFILE.replace("TEST", test), encoding="utf-8")
    with serve(simulator) as url:
        yield {"TE_BASE_URL": url}


@pytest.mark.socket
@pytest.mark.process
def test_a_run_forgets_the_old_ones_of_its_job(place: Path, job: dict[str, str]) -> None:
    """If its file says so, and says it; without the key nothing is forgotten."""
    file = place / "job.yaml"
    assert run_tesnap(place, "run", str(file), **job).code == 0
    assert len(runs_in(place)) == LONG.runs + 1
    text = file.read_text("utf-8")
    file.write_text(f"{text}prune_after: {AGE}\n", encoding="utf-8")
    done = run_tesnap(place, "run", str(file), **job)
    assert done.code == 0
    assert "forgotten, as prune_after says: 4 runs, 39 snapshots" in done.stderr
    assert [one for one in runs_in(place) if one in OLD] == ["h0"]
    file.write_text(f"{text.replace('nightly', 'other')}prune_after: 35d\n", encoding="utf-8")
    assert "forgotten" not in run_tesnap(place, "run", str(file), **job).stderr
    file.write_text(f"{text}prune_after: 34d\n", encoding="utf-8")
    done = run_tesnap(place, "run", str(file), **job)
    assert (done.code, done.stdout) == (2, "")
    assert "`prune_after`: 35d or more: until then a snapshot may still exist, not '34d'" in done.stderr


# -- while another process has the store to itself -----------------------------------------------------------


@pytest.mark.process
@pytest.mark.parametrize(
    ("words", "begins"),
    [
        (["prune", "--yes"], "waiting for the store: process "),
        (["resume", "h404", "--timezone", "UTC"], "waiting for the store: process "),
        (["resume", "h404", "--log-format", "json"], '{"event": "store.held", "time": "'),
    ],
)
def test_a_start_that_waits_for_the_store_says_so(place: Path, words: list[str], begins: str) -> None:
    """Who has it, what for and since when, on standard error in the form that was asked for; then it goes on."""
    opening = Owners(place / "store.db").lock_opening("writes its file anew (tesnap prune)")
    with opening:
        process = subprocess.Popen(
            [sys.executable, "-m", "orchestrator", *words],
            cwd=ROOT,
            env=environment(place),
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
        )
        assert process.stderr is not None
        told, _, _ = select.select([process.stderr], [], [], LONGEST_SILENCE)
        said = process.stderr.readline() if told else ""
    with process:
        rest = process.stderr.read()
    assert said.startswith(begins)
    assert (
        f"process {os.getpid()} of {os.uname().nodename} writes its file anew (tesnap prune), since " in said
    )
    assert "waiting for the store" not in rest


def test_a_quiet_command_says_nothing_of_a_wait_for_the_store(capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever waits has nothing to do about it."""
    with click.Context(click.Command("run")) as ctx:
        for quiet in (True, False):
            ctx.params = {"quiet": quiet}
            tell_of_holder(None)
    said = capsys.readouterr()
    assert (said.out, said.err.count("\n")) == ("", 1)

"""`tesnap backup` and `tesnap restore` as people and cron type them."""

from __future__ import annotations

import os
import re
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from orchestrator.core import SystemClock
from tests.support.commands import LONGEST, ROOT, Ran, environment, ran
from tests.support.history import LongHistory

LONG = LongHistory(runs=3, tasks=8, organizations=2)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with a store of three runs."""
    LONG.fill(f"sqlite:///{tmp_path}/store.db", "https://api.example.com/v7", SystemClock())
    return tmp_path


def typed(place: Path, *words: str) -> Ran:
    return ran(*words, "--store", f"{place}/store.db")


def test_a_backup_is_taken_and_put_back(place: Path) -> None:
    """Each command says what comes next; the runs are there, and the status says what is not known."""
    file = place / "copy.db"
    done = typed(place, "backup", str(file))
    assert (done.code, done.stderr) == (0, "")  # cron mails it no more when standard output leads nowhere
    assert done.stdout == f"{file}: the store as it is now; `tesnap restore {file}` puts it back\n"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    runs = typed(place, "runs").stdout
    (place / "store.db").rename(place / "before.db")
    done = typed(place, "restore", str(file))
    assert (done.code, done.stdout) == (0, "")
    assert re.fullmatch(
        r"the store is as it was at \d{4}-.*Z: what was made after that is not known to it; .*\n", done.stderr
    )
    assert typed(place, "runs").stdout == runs
    assert "put it back" not in typed(place, "status").stdout  # there is no better file
    shown = typed(place, "status", "--json").stdout
    assert "it was put back as it was at" in shown


@pytest.mark.process
def test_a_backup_goes_to_standard_output(place: Path) -> None:
    """Whole, so that it can be packed; a terminal is no place for it."""
    done = subprocess.run(
        [sys.executable, "-m", "orchestrator", "backup", "-"],
        cwd=ROOT,
        env=environment(place),
        capture_output=True,
        check=True,
        timeout=LONGEST,
    )
    assert done.stderr == b""
    (place / "piped.db").write_bytes(done.stdout)
    with closing(sqlite3.connect(place / "piped.db")) as copy:
        assert copy.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert copy.execute("SELECT COUNT(*) FROM run").fetchone() == (3,)


@pytest.mark.process
def test_a_terminal_is_no_place_for_a_backup(place: Path) -> None:
    """It would be shown as characters."""
    ours, theirs = os.openpty()
    try:
        done = subprocess.run(
            [sys.executable, "-m", "orchestrator", "backup", "-"],
            cwd=ROOT,
            env=environment(place),
            stdout=theirs,
            stderr=subprocess.PIPE,
            check=False,
            timeout=LONGEST,
        )
    finally:
        os.close(theirs)
        os.close(ours)
    assert done.returncode == 2
    assert b"a backup is no text" in done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    {
        ("backup", "copy.db"): "copy.db is there already",
        ("backup", "nowhere/copy.db"): "No such file or directory",
        ("restore", "copy.db"): "there is a store already: move it away first",
        ("restore", "job.yaml"): "this is no backup that `tesnap backup` has made",
        ("restore", "missing.db"): "No such file or directory",
        ("restore",): "name the backup's file, or write --declare TIME",
        ("restore", "copy.db", "--declare", "now"): "name the backup's file, or write --declare TIME",
        ("restore", "--declare", "soon"): "is not a time",
        ("restore", "--declare", "2099-01-01T00:00:00Z"): "is still to come",
    }.items(),
)
def test_a_mistake_is_told_and_changes_nothing(
    place: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], said: str
) -> None:
    """Exit code 2, and what to do."""
    monkeypatch.chdir(place)
    typed(place, "backup", "copy.db")
    (place / "job.yaml").write_text("version: 1\n", encoding="utf-8")
    before = (place / "store.db").read_bytes()
    done = typed(place, *words)
    assert (done.code, done.stdout) == (2, "")
    assert said in done.stderr
    assert (place / "store.db").read_bytes() == before


def test_a_store_that_was_put_back_otherwise_is_declared(place: Path) -> None:
    """From then on it is said."""
    done = typed(place, "restore", "--declare", "2026-11-20 03:00", "--timezone", "UTC")
    assert done.code == 0, done.stderr
    assert "the store is as it was at 2026-11-20T03:00:00Z" in done.stderr
    assert "it was put back as it was at 2026-11-20T03:00:00Z" in typed(place, "status", "--json").stdout

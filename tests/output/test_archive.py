"""The archive of runs that are to be forgotten: whole lines, and one writer at a time."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from orchestrator.core import Counts, Run, UsageError
from orchestrator.output import Archive


def test_a_run_without_anything_settled_has_its_two_records(tmp_path: Path) -> None:
    """The first says how many snapshots it has, the last where they are; nobody else may read it."""
    file = tmp_path / "old.jsonl"
    run = Run(id="r1", job="nightly", created_at=1_794_990_000.0, tasks=2)
    with Archive.open(file) as archive:
        archive.add(run, [], Counts(queued=2))
    assert file.read_text("utf-8").splitlines() == [
        '{"event": "run.started", "time": "2026-11-18T08:20:00.000Z", "schema": 1, "run_id": "r1", "job": "nightly", "tasks": 2}',
        (
            '{"event": "run.finished", "time": "2026-11-18T08:20:00.000Z", "schema": 1, "run_id": "r1",'
            ' "counts": {"created": 0, "existing": 0, "failed": 0, "uncertain": 0, "pending": 2}}'
        ),
    ]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_part_of_a_line_is_taken_out(tmp_path: Path) -> None:
    """It is what a process that was killed left: its run is still in the store."""
    file = tmp_path / "old.jsonl"
    for part in ('{"event": "snapshot.cre', "{", ""):
        file.write_text('{"event": "run.started"}\n' + part, encoding="utf-8")
        with Archive.open(file):
            pass
        assert file.read_text("utf-8") == '{"event": "run.started"}\n'


def test_two_do_not_write_one_archive(tmp_path: Path) -> None:
    """Their lines would be mixed."""
    with (
        Archive.open(tmp_path / "old.jsonl"),
        pytest.raises(UsageError, match="another process writes it"),
        Archive.open(tmp_path / "old.jsonl"),
    ):
        pass

"""A report as a file: whole, private, and never instead of something else."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from orchestrator.core.errors import UsageError
from orchestrator.output.report.render import ReportFormat, render
from orchestrator.output.report.report_file import check_report_path, write_report
from tests.support.reports import (
    mixed,
    report,
)

BERLIN = ZoneInfo("Europe/Berlin")


def test_a_report_is_a_private_file_that_appears_whole(tmp_path: Path) -> None:
    """Only its owner can read it, also where a readable one stood, and nothing else is left behind."""
    path = tmp_path / "links.md"
    path.write_text("old")
    path.chmod(0o644)
    write_report(str(path), report(mixed()))
    assert path.read_text("utf-8") == render(report(mixed()), ReportFormat.MD)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_to_a_file_stays_one(tmp_path: Path) -> None:
    """A report goes where its name points to."""
    (tmp_path / "there").mkdir()
    (tmp_path / "latest.md").symlink_to(tmp_path / "there" / "real.md")
    write_report(str(tmp_path / "latest.md"), report(mixed()))
    assert (tmp_path / "latest.md").is_symlink()
    assert (tmp_path / "there" / "real.md").is_file()


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.md", ReportFormat.MD),
        ("a.HTML", ReportFormat.HTML),
        ("a.csv", ReportFormat.CSV),
        ("a.jsonl", ReportFormat.JSONL),
    ],
)
def test_the_suffix_says_what_a_report_is(tmp_path: Path, name: str, kind: ReportFormat) -> None:
    """A path that can be written is found out without leaving anything there."""
    assert check_report_path(str(tmp_path / name)) is kind
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("a.pdf", "end it with .md"),
        ("a", "end it with .md"),
        ("no/such/a.md", "No such file"),
        ("folder.md", "no file"),
        ("file/a.md", "Not a directory"),
    ],
)
def test_a_path_that_cannot_be_written_is_found_out_before(tmp_path: Path, name: str, words: str) -> None:
    """A mistake in the path costs no snapshot."""
    (tmp_path / "folder.md").mkdir()
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=words):
        check_report_path(str(tmp_path / name))


def test_a_disk_that_refuses_leaves_the_old_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be written whole is not written at all."""

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    path = tmp_path / "links.md"
    path.write_text("old")
    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(UsageError, match=r"cannot be written \(No space left on device\)"):
        write_report(str(path), report(mixed()), ReportFormat.MD)
    assert [(one.name, one.read_text()) for one in tmp_path.iterdir()] == [("links.md", "old")]


def test_what_is_no_file_is_never_replaced_by_one(tmp_path: Path) -> None:
    """A pipe is written into, as is a device; a folder is refused, whatever kind of report is meant."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        write_report(str(pipe), report(mixed()), ReportFormat.CSV)
        assert os.read(reader, 1_000_000).decode() == render(report(mixed()), ReportFormat.CSV)
    finally:
        os.close(reader)
    assert pipe.is_fifo()
    write_report("/dev/null", report(mixed()), ReportFormat.CSV)
    assert Path("/dev/null").is_char_device()
    with pytest.raises(UsageError, match="that is no file"):
        write_report(str(tmp_path), report(mixed()), ReportFormat.CSV)


@pytest.mark.process
@pytest.mark.parametrize("stream", ["/dev/stdout", "/dev/fd/1", "/dev/stderr"])
def test_a_report_goes_into_a_stream_of_the_shell(tmp_path: Path, stream: str) -> None:
    """Also where that is a file by now, whose beginning stays."""
    program = f"from tests.output.report.test_report_file import *; write_report({stream!r}, report(mixed()), ReportFormat.CSV)"
    seen = tmp_path / "seen"
    with seen.open("w") as file:
        file.write("before\n")
        file.flush()
        subprocess.run([sys.executable, "-c", program], check=True, stdout=file, stderr=file)
    assert seen.read_text("utf-8") == "before\n" + render(report(mixed()), ReportFormat.CSV)

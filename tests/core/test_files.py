"""Files that a user names: whatever they are, nobody waits for them and nothing breaks."""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from orchestrator.api.credentials import read_bearer
from orchestrator.core.errors import CredentialError, JobFileError
from orchestrator.core.files import printable, read_start
from orchestrator.core.jobs import CredentialSource
from orchestrator.jobfile.reader import read_jobfiles
from tests.support.commands import ran, ran_by

NOBODY = 65534
JOBFILE = """\
version: 1
organizations: {acme: {token_env: NOBODY_SETS_THIS}}
jobs: [{name: a, tests: ["202701"], windows: [{start: 2026-11-20T14:00:00Z, end: 2026-11-20T16:00:00Z}]}]
"""


def refused(*paths: str | Path) -> str:
    """What is said against these job files."""
    with pytest.raises(JobFileError) as caught:
        read_jobfiles(paths, environ={})
    return str(caught.value)


def test_a_pipe_that_nobody_writes_into_is_refused_at_once(tmp_path: Path) -> None:
    """As a job file, in a folder of job files, and as a token file."""
    pipe = tmp_path / "jobs.yaml"
    os.mkfifo(pipe)
    for path in (pipe, tmp_path):
        assert refused(path) == f"{pipe}:1:1: error: cannot be read: it is a pipe or a device, not a file"
    with pytest.raises(CredentialError, match="it is a pipe or a device, not a file"):
        read_bearer(CredentialSource(file=str(pipe)), environ={})


def test_a_device_is_refused() -> None:
    """It may have no end."""
    assert "not a file" in refused("/dev/zero")


def test_a_pipe_that_the_shell_made_is_read() -> None:
    """`<(…)` is a path below /dev/fd."""
    reading, writing = os.pipe()
    os.write(writing, b"token")
    os.close(writing)
    with os.fdopen(reading) as stream:
        assert read_start(Path(f"/dev/fd/{stream.fileno()}"), 100) == b"token"


def test_no_more_is_read_than_is_wanted(tmp_path: Path) -> None:
    """A file may be larger than any job file or token."""
    (tmp_path / "large").write_bytes(b"x" * 100)
    assert read_start(tmp_path / "large", 10) == b"x" * 10


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("a" * 300, "cannot be read: File name too long"),
        ("", "an empty argument"),
        ("a\0b", "cannot be read: there is a NUL character in its path"),
    ],
    ids=["long", "empty", "nul"],
)
def test_a_path_that_cannot_be_is_said(path: str, says: str) -> None:
    """With a place, as any other error in a job file."""
    assert f":1:1: error: {says}" in refused(path)


@pytest.mark.process
@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")
def test_what_may_not_be_looked_at_is_wrong_usage() -> None:
    """A job file, or a store, in a folder that is closed to this user: exit code 2, in words."""
    with TemporaryDirectory() as folder:
        closed = Path(folder)
        (closed / "jobs.yaml").write_text(JOBFILE, encoding="utf-8")
        looks = [[word, "--store", f"sqlite:///{closed}/state/t.db"] for word in ("runs", "status", "list")]
        done = ran_by(NOBODY, [["validate", f"{closed}/jobs.yaml"], ["validate", f"{closed}"], *looks])
    assert [(one.code, one.stdout) for one in done] == [(2, "")] * 5
    assert all("Permission denied" in one.stderr for one in done)


def test_a_file_name_that_is_no_text_names_the_run_all_the_same(tmp_path: Path) -> None:
    """Bytes that are no UTF-8, and characters that a terminal obeys, are replaced."""
    name = os.fsdecode(b"bad\xe9\n\x1b[31mname.yaml")
    path = f"{tmp_path}/{name}"
    Path(path).write_text(JOBFILE, encoding="utf-8")
    assert read_jobfiles([path], environ={}).jobfile.name == "bad\ufffd\ufffd\ufffd[31mname"
    Path(path).write_text("version: 2\n", encoding="utf-8")
    assert "\x1b" not in refused(path)


def test_a_name_of_any_script_is_printable() -> None:
    """Only what is no text is replaced."""
    assert printable("näme 名") == "näme 名"


@pytest.mark.parametrize("speed", ["nan", "0", "inf", "x"])
def test_a_speed_that_is_none_is_refused(speed: str, tmp_path: Path) -> None:
    """`nan` is between no two numbers and outside none."""
    path = tmp_path / "jobs.yaml"
    path.write_text(JOBFILE, encoding="utf-8")
    done = ran("rehearse", str(path), "--speed", speed)
    assert (done.code, done.stdout) == (2, "")
    assert "internal error" not in done.stderr

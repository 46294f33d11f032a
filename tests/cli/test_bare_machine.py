"""Machines that lack what a program may count on: real processes of a user without a name, a home, a folder."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.process

ROOT = Path(__file__).parents[2]

JOBFILE = """\
version: 1
name: "Übergröße ✓"
organizations: {acme: {token_env: TE_TOKEN}}
jobs: [{name: "ä✓", tests: ["202701"], windows: [{start: 2026-11-20T14:00:00Z, end: 2026-11-20T16:00:00Z}]}]
"""

NOBODY = 54_321
"""A user id that no passwd knows, as OpenShift gives one."""

RUN = ("run", "edge.yaml", "--deadline", "1s")

AWAY = {"TE_TOKEN": "x", "TE_BASE_URL": "http://127.0.0.1:9"}

REHEARSE = ("rehearse", "edge.yaml", "--speed", "300", "--timeout", "60s")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a job file whose names have letters that ASCII lacks."""
    (tmp_path / "edge.yaml").write_text(JOBFILE, encoding="utf-8")
    return tmp_path


def started(folder: Path, *words: str, before: str = "", **environ: str) -> subprocess.CompletedProcess[str]:
    """The command under these variables alone; `before` is done by the shell that starts it."""
    command = [sys.executable, "-m", "orchestrator", *words]
    return subprocess.run(
        ["/bin/sh", "-c", f'{before}\nexec "$@"', "sh", *command],
        env={"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", **environ},
        cwd=folder,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
        timeout=300,
    )


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become a user without a name")
@pytest.mark.parametrize("words", [("runs",), ("run", "edge.yaml"), ("status",), ("list",), ("doctor",)])
@pytest.mark.parametrize("home", [{}, {"HOME": "here"}, {"HOME": ""}])
def test_a_user_without_a_home_is_told_to_name_a_store(
    words: tuple[str, ...], home: dict[str, str], folder: Path
) -> None:
    """No entry for the user id, and no HOME, or one that depends on where one stands: nothing can be guessed."""
    folder.chmod(0o755)
    (folder / "edge.yaml").chmod(0o644)
    code = (
        "import os, sys; from tests.support.commands import _become; _become(int(sys.argv[1]));"
        " from orchestrator.cli import main; main(sys.argv[2:])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(NOBODY), *words],
        env={**AWAY, **home, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
        cwd=ROOT if words[-1] != "edge.yaml" else folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert (done.returncode, done.stdout) == (2, "") or words == ("doctor",)
    assert (
        "no home folder, so the store has no place: name one with --store or TESNAP_STORE"
        in done.stderr + done.stdout
    )


def test_a_relative_state_folder_is_as_none(folder: Path) -> None:
    """The XDG specification says to ignore it."""
    assert started(folder, *RUN, HOME=str(folder), XDG_STATE_HOME="here", **AWAY).returncode == 5
    assert (folder / ".local" / "state" / "tesnap" / "tesnap.db").exists()


@pytest.mark.parametrize(
    "words",
    [
        ("run", "jobs.yaml"),
        ("validate", "x.yaml"),
        ("runs", "--store", "./x.db"),
        ("report", "-o", "x.md", "--store", "./x.db"),
    ],
)
def test_a_working_folder_that_is_gone_is_named(words: tuple[str, ...], folder: Path) -> None:
    """Whoever deployed anew has removed it under the shell."""
    done = started(folder, *words, before="mkdir gone; cd gone; rmdir ../gone", HOME=str(folder))
    assert (done.returncode, done.stdout) == (2, "")
    assert "the folder in which this was started has been removed" in done.stderr


def test_no_folder_for_temporary_files_is_named(folder: Path) -> None:
    """A read-only root file system without one."""
    script = "mount --bind / / 2>/dev/null; for d in /tmp /var/tmp /usr/tmp; do [ -d $d ] && mount --bind $d $d && mount -o remount,bind,ro $d; done; cd /proc"
    command = [
        "unshare",
        "-m",
        "sh",
        "-c",
        f'{script}; exec "$@"',
        "sh",
        sys.executable,
        "-m",
        "orchestrator",
    ]
    done = subprocess.run(
        [*command, "runs"],
        env={
            "PYTHONPATH": str(ROOT),
            "TMPDIR": "/nowhere",
            "HOME": "/nowhere",
            "PATH": os.defpath + ":/usr/sbin:/sbin",
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    if "unshare" in done.stderr:
        pytest.skip("no mount namespaces here")
    assert (done.returncode, done.stdout) == (2, "")
    assert "name one with TMPDIR" in done.stderr


@pytest.mark.parametrize(
    ("before", "environ"),
    [
        ("", {}),
        ("", {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}),
        ("", {"TMPDIR": "/nowhere"}),
        ("exec <&-", {}),
        ("ulimit -n 24", {}),
        ("umask 0", {}),
    ],
)
def test_a_rehearsal_needs_nothing_of_all_that(before: str, environ: dict[str, str], folder: Path) -> None:
    """No PATH, HOME, LANG or TERM; no standard input; few open files."""
    done = started(folder, *REHEARSE, "--report", "r.md", before=before, **environ)
    assert done.returncode == 0, done.stderr
    assert "snapshot.created" in done.stdout
    assert (folder / "r.md").stat().st_mode & 0o777 == 0o600

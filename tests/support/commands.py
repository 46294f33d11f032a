"""Commands as a user types them, in this process or in one of another user, with their exit code and both outputs."""

from __future__ import annotations

import codecs
import contextlib
import importlib
import io
import json
import os
import pkgutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import orchestrator
from orchestrator.cli.commands import run_words
from orchestrator.cli.process import run_to_exit_code

LONGEST = 300.0
"""Seconds after which a process that a test started is given up."""


ROOT = Path(__file__).parents[2]
"""The folder of the project."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """How a command ended, and what it said."""

    code: int
    stdout: str
    stderr: str


def ran(*words: str) -> Ran:
    """Run `tesnap` with these words in this process."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run_to_exit_code(run_words, words)
    return Ran(code=code, stdout=out.getvalue(), stderr=err.getvalue())


def ran_by(user: int, commands: Sequence[Sequence[str]]) -> list[Ran]:
    """Run several commands, one after the other, as this user."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.commands", str(user), json.dumps(commands)],
        cwd=ROOT,
        env={"PATH": os.defpath, "HOME": "/", "TZ": "UTC", "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=LONGEST,
    )
    assert done.returncode == 0, done.stderr
    return [Ran(**one) for one in json.loads(done.stdout)]


def environment(folder: Path) -> dict[str, str]:
    """The variables of a process with a home and a store of its own."""
    return {
        "PATH": os.defpath,
        "HOME": str(folder),
        "TESNAP_STORE": f"sqlite:///{folder}/store.db",
        "TE_TOKEN": "token-1",
        "TZ": "UTC",
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def run_tesnap(folder: Path, *words: str, **variables: str) -> Ran:
    """The command as a process of its own, with a store in the folder."""
    done = subprocess.run(
        [sys.executable, "-m", "orchestrator", *words],
        cwd=ROOT,
        env=environment(folder) | variables,
        capture_output=True,
        text=True,
        check=False,
        timeout=LONGEST,
    )
    return Ran(code=done.returncode, stdout=done.stdout, stderr=done.stderr)


def _become(user: int) -> None:
    """Go on as this user, who may not be able to read the interpreter's own files: everything is imported before."""
    for module in pkgutil.walk_packages(orchestrator.__path__, "orchestrator."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    for codec in ("unicode_escape", "ascii"):
        codecs.lookup(codec)
    if user != os.getuid():
        os.setgroups([])
        os.setgid(user)
        os.setuid(user)


if __name__ == "__main__":
    _become(int(sys.argv[1]))
    print(json.dumps([asdict(ran(*words)) for words in json.loads(sys.argv[2])]))

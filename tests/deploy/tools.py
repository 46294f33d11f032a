"""The tools of requirements-tools.lock, as programs: without them the test is skipped, and fails in CI."""

from __future__ import annotations

import subprocess
from pathlib import Path

from scripts.manifests import TOOLS
from tests.support.programs import skip_outside_ci

ROOT = Path(__file__).resolve().parents[2]


def need_tools() -> None:
    """Make sure that they are there."""
    if not (TOOLS / "kubernetes-validate").exists():
        skip_outside_ci("the tools are not installed: make tools")


def complaints(name: str, *words: str | Path) -> list[str]:
    """The lines that one of them prints about these files, in the project's folder."""
    need_tools()
    command = [str(TOOLS / name), *map(str, words)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    lines = (done.stdout + done.stderr).splitlines() if done.returncode else []
    return lines or ([f"{name} ended with {done.returncode}"] if done.returncode else [])

"""One task's way through the files is counted on the real thing: a rehearsal of one snapshot."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.process
def test_a_task_is_followed_from_its_file_to_its_record() -> None:
    """Through every station, without the simulator; each package's files in one line."""
    command = [sys.executable, "scripts/trace_task.py"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    figures = dict(re.findall(r"^\| (.+?) \| ([\d,]+) \|$", done.stdout, re.MULTILINE))
    lines = dict(re.findall(r"^(\w+): (.+)$", done.stdout, re.MULTILINE))
    assert {"jobfile", "planning", "store", "ratelimit", "worker", "api", "output"} <= set(lines)
    assert "simulator" not in lines
    assert int(figures["names at the top of the package"]) == len(lines)
    assert int(figures["files"]) == sum(len(files.split(", ")) for files in lines.values())
    assert int(figures["turns to another file"].replace(",", "")) > int(
        figures["ways from one file to another"]
    )

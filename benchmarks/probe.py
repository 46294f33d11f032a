"""What is measured in a process of its own: `python -m benchmarks.probe <what> <argument>` prints one figure."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def measured(what: str, *arguments: object) -> float:
    """The figure that a process of its own comes to."""
    command = [sys.executable, "-m", "benchmarks.probe", what, *map(str, arguments)]
    # The program is this interpreter and the arguments are ours.
    return float(subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT).stdout)  # noqa: S603


def peak_memory() -> float:
    """This process's peak in bytes; `ru_maxrss` would count the process it was forked from as well."""
    return _memory("VmHWM")


def present_memory() -> float:
    """The bytes that this process has now."""
    return _memory("VmRSS")


def _memory(name: str) -> float:
    found = re.search(rf"{name}:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"))
    if found is None:
        raise OSError(f"memory is read from Linux's /proc/self/status, where {name} is missing")
    return int(found[1]) * 1024.0


def main() -> None:
    """Call `probe_<function>` of a module, named as `module.function`."""
    module, _, function = sys.argv[1].partition(".")
    act = getattr(importlib.import_module(f"benchmarks.{module}"), f"probe_{function}")
    sys.stdout.write(f"{act(*sys.argv[2:])}\n")


if __name__ == "__main__":
    main()

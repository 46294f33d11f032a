"""Follow one task from the job file to its record: `python scripts/trace_task.py [TREE]` prints a table.

Rehearsals of one snapshot run in this process, and of all but the first, which is for the imports, every call into
the package is noted from the moment the job file is opened until the record of its snapshot is printed. The simulator
is not counted, it is no part of the program. A turn is a call that a thread makes in another file than its call
before. How often the program looks at its clock while it waits is never the same: what is printed is the rehearsal in
the middle, by its number of files and then of turns.
The tree is a folder that holds `orchestrator/`, by default the one that this script stands in; it may be an older
one, since the command line is all that the script uses of it.
"""

from __future__ import annotations

import io
import itertools
import sys
import tempfile
import threading
from collections import defaultdict
from contextlib import suppress
from pathlib import Path
from types import FrameType

JOB_FILE = """\
version: 1
organizations: {acme: {token_env: ACME_TOKEN}}
jobs:
  - {name: checkout, organization: acme, tests: [202701], windows: [{last: 1h}]}
"""
RECORD = '"event": "snapshot.created"'
SPEED = "100"
"""Times faster than life: one snapshot waits for nothing, so it is done within a second."""

ROUNDS = 5


class Trace:
    """The files of the package that calls go to, in order, for each thread."""

    def __init__(self, package: Path) -> None:
        self._package = f"{package}/"
        self._simulator = f"{package}/simulator/"
        self._visits: dict[int, list[str]] = defaultdict(list)

    def note(self, frame: FrameType, event: str, _argument: object) -> None:
        """A call: what `sys.setprofile` wants."""
        file = frame.f_code.co_filename
        if event != "call" or not file.startswith(self._package) or file.startswith(self._simulator):
            return
        visits = self._visits[threading.get_ident()]
        name = file.removeprefix(self._package)
        if not visits or visits[-1] != name:
            visits.append(name)

    @property
    def files(self) -> set[str]:
        """Every file that was in use."""
        return {name for visits in self._visits.values() for name in visits}

    @property
    def packages(self) -> set[str]:
        """The names at the top of the package that they stand under."""
        return {_top(name) for name in self.files}

    @property
    def turns(self) -> list[tuple[str, str]]:
        """From which file to which, each time that a reader who follows the calls turns to another one."""
        return [pair for visits in self._visits.values() for pair in itertools.pairwise(visits)]

    @property
    def turns_of_package(self) -> list[tuple[str, str]]:
        """The same for the names at the top, without those turns that stay under one name."""
        named = [(_top(before), _top(after)) for before, after in self.turns]
        return [(before, after) for before, after in named if before != after]


def _top(name: str) -> str:
    return name.split("/", maxsplit=1)[0].removesuffix(".py")


class Records(io.StringIO):
    """Standard output, at which the trace ends with the record of the snapshot."""

    def write(self, text: str) -> int:
        """Keep the text."""
        if RECORD in text:
            sys.setprofile(None)
            threading.setprofile(None)
        return super().write(text)


def follow(tree: Path, rounds: int = ROUNDS) -> list[Trace]:
    """Rehearse one snapshot so often with the package of this tree; RuntimeError when it is not made."""
    sys.path.insert(0, str(tree))
    traces: list[Trace] = []
    with tempfile.TemporaryDirectory() as folder:
        jobs = Path(folder, "jobs.yaml")
        jobs.write_text(JOB_FILE)
        rehearse(jobs)

        def begin(event: str, arguments: tuple[object, ...]) -> None:
            if event == "open" and str(arguments[0]) == str(jobs):
                sys.setprofile(traces[-1].note)
                threading.setprofile(traces[-1].note)

        sys.addaudithook(begin)
        for _ in range(rounds):
            traces.append(Trace(tree / "orchestrator"))
            rehearse(jobs)
    return traces


def rehearse(jobs: Path) -> None:
    """One run of the command line in this process."""
    records, words = Records(), io.StringIO()  # which the command line wraps
    kept = sys.argv, sys.stdout, sys.stderr
    sys.argv = ["tesnap", "rehearse", str(jobs), "--speed", SPEED]
    sys.stdout, sys.stderr = records, words
    try:
        run_command_line()
    finally:
        printed, said = records.getvalue(), words.getvalue()
        sys.argv, sys.stdout, sys.stderr = kept
    if RECORD not in printed:
        raise RuntimeError(f"the rehearsal made no snapshot: {said}")


def run_command_line() -> None:
    """The command without the process around it, which takes the streams over; the whole process in an older tree."""
    from orchestrator import cli

    try:
        from orchestrator.cli.commands import run_words
        from orchestrator.cli.process import run_to_exit_code
    except ImportError:
        with suppress(SystemExit):
            cli.main()
    else:
        run_to_exit_code(run_words, sys.argv[1:])


def typical(traces: list[Trace]) -> Trace:
    """The one in the middle: of the others some met a file less, some a file more."""
    return sorted(traces, key=lambda trace: (len(trace.files), len(trace.turns)))[(len(traces) - 1) // 2]


def describe(trace: Trace) -> dict[str, int]:
    """Its figures."""
    return {
        "files": len(trace.files),
        "names at the top of the package": len(trace.packages),
        "ways from one file to another": len(set(trace.turns)),
        "ways from one name at the top to another": len(set(trace.turns_of_package)),
        "turns to another file": len(trace.turns),
        "turns to another name at the top": len(trace.turns_of_package),
    }


def main() -> None:
    """Print the figures, and the files by their packages."""
    tree = Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else Path(__file__).resolve().parents[1]
    trace = typical(follow(tree))
    print("".join(f"| {what} | {figure:,} |\n" for what, figure in describe(trace).items()))
    for package, names in itertools.groupby(sorted(trace.files), key=_top):
        print(f"{package}: {', '.join(names)}")


if __name__ == "__main__":
    main()

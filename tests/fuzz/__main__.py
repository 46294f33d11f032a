"""The command line: `python -m tests.fuzz --help`."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz.corpus import read_corpus, write_corpus
from tests.fuzz.fuzzing import FIGURES
from tests.fuzz.readers import READERS

MOST_MEMORY = 256
"""Megabytes that the process of a reader may take, the fuzzer's own and its corpus with them."""

LONGEST_INPUT = 16_384
"""Bytes: what costs by its size alone is in `tests/support/hostile.py`."""

ROOT = Path(__file__).resolve().parents[2]

LONGEST_WAIT = 60
"""Seconds of the wall clock after which a reading counts as hanging; time on the processor is judged by itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fuzzed:
    """The figures of one reader; `trouble` is the end of what the fuzzer said when it found something."""

    reader: str
    executions: int
    slowest: float
    megabytes: float
    kept: int
    trouble: str


def main(arguments: Sequence[str] | None = None) -> int:
    """Fuzz the readers, print a table; 1 when one of them was slow, large, or raised what it may not."""
    options = _parser().parse_args(arguments)
    names = options.readers or list(READERS)
    with ThreadPoolExecutor(options.processes) as pool:
        found = list(pool.map(lambda name: _fuzz(name, options), names))
    sys.stdout.write(f"{'reader':<16}{'executions':>12}{'slowest, s':>12}{'peak, MB':>10}{'kept':>7}\n")
    for one in found:
        sys.stdout.write(
            f"{one.reader:<16}{one.executions:>12,}{one.slowest:>12.3f}{one.megabytes:>10.0f}{one.kept:>7,}\n"
        )
    troubles = [f"{one.reader}: {one.trouble}" for one in found if one.trouble]
    sys.stdout.write("\n".join([*troubles, "BROKEN: see above" if troubles else "only our own errors", ""]))
    return 1 if troubles else 0


def _fuzz(name: str, options: argparse.Namespace) -> Fuzzed:
    runs = options.runs or (1_000_000 if name == "jobfile" else 100_000)
    with tempfile.TemporaryDirectory(prefix=f"fuzz-{name}-") as root:
        folder, figures = Path(root), Path(root) / "figures"
        old, new = folder / "old", folder / "new"
        for place in (old, new):
            place.mkdir()
        for number, case in enumerate(read_corpus(name)):
            (old / f"{number:05}").write_bytes(case)
        figures.write_bytes(bytes(FIGURES.size))
        limits = [f"-max_len={LONGEST_INPUT}", f"-timeout={LONGEST_WAIT}", f"-rss_limit_mb={MOST_MEMORY}"]
        words = [*limits, f"-artifact_prefix={folder}/", f"-seed={options.seed}"]
        done = _run(name, figures, [*words, f"-runs={runs}", "-print_final_stats=1", str(new), str(old)])
        executions, slowest, kilobytes = FIGURES.unpack(figures.read_bytes())
        trouble = "" if done.returncode == 0 else done.stderr[-3000:]
        if options.keep and not trouble:
            _keep(name, folder, [*limits, "-merge=1"])
        for found in (path for kind in ("crash", "timeout", "oom") for path in folder.glob(f"{kind}-*")):
            trouble += f"\nits input: {found.read_bytes()!r:.4000}"
    size = kilobytes / 1024
    return Fuzzed(
        reader=name,
        executions=executions,
        slowest=slowest,
        megabytes=size,
        kept=len(read_corpus(name)),
        trouble=trouble or (f"{size:.0f} MB" if size > MOST_MEMORY else ""),
    )


def _keep(name: str, folder: Path, options: Sequence[str]) -> None:
    """Keep the smallest set of the old and the new cases that reaches all that they reach."""
    kept, figures = folder / "kept", folder / "figures-of-merge"
    kept.mkdir()
    figures.write_bytes(bytes(FIGURES.size))
    done = _run(name, figures, [*options, str(kept), str(folder / "new"), str(folder / "old")])
    cases = [path.read_bytes() for path in sorted(kept.iterdir())]
    assert cases, done.stderr[-3000:]
    write_corpus(name, cases)


def _run(name: str, figures: Path, options: Sequence[str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.fuzz.fuzzing", *options]
    here = {"FUZZ_READER": name, "FUZZ_FIGURES": str(figures), "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        command, check=False, capture_output=True, text=True, errors="replace", env={**os.environ, **here}
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    add = parser.add_argument
    add(
        "readers",
        nargs="*",
        metavar="READER",
        help="one of " + ", ".join(READERS) + "; all of them without a name",
    )
    add("--runs", type=int, help="executions of each; 1,000,000 of the job file's and 100,000 of the others'")
    add("--processes", type=int, default=2, help="readers at a time")
    add("--seed", type=int, default=1)
    add("--keep", action="store_true", help="write what was found into the corpus, the smallest set of it")
    return parser


if __name__ == "__main__":
    sys.exit(main())

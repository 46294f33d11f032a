"""A job file of 20,000 lines, checked, against the same text merely loaded by PyYAML; and what hostile ones cost."""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import yaml

from benchmarks.probe import measured, peak_memory
from benchmarks.row import Row, milliseconds

LINES = 20_000
ROUNDS = 3
HEAD = """\
version: 1
name: large
organizations:
  acme: {token_env: TE_TOKEN_ACME}
jobs:
  - name: everything
    organization: acme
    windows: [{start: 2026-11-20T14:00:00Z, duration: 1h}]
    tests:
"""


def rows(folder: Path) -> Iterator[Row]:
    """Time and peak memory, for a test id a line and for a test id and its name a line."""
    for shape, line in (
        ("ids", '      - "{}"'),
        ("ids and names", '      - {{id: "{}", test_name: Test {}}}'),
    ):
        path = folder / "large.yaml"
        path.write_text(HEAD + "".join(f"{line.format(200_000 + i, i)}\n" for i in range(LINES)))
        yield _time(path, shape)
        yield _memory(path, shape)
    yield _dearest(folder / "hostile.yaml")


def _time(path: Path, shape: str) -> Row:
    checked = statistics.median(_seconds(_read, path) for _ in range(ROUNDS))
    plain = statistics.median(_seconds(_load, path) for _ in range(ROUNDS))
    name = f"job file of {LINES:,} lines ({shape}), checked"
    return Row(name=name, figure=milliseconds(checked), ratio=checked / plain, to="yaml.CSafeLoader")


def _memory(path: Path, shape: str) -> Row:
    checked, plain = (measured(f"jobfile.{what}", path) for what in ("read", "load"))
    name, figure = f"the same ({shape}), peak memory", f"{checked / 1e6:.0f} MB"
    return Row(name=name, figure=figure, ratio=checked / plain, to="yaml.CSafeLoader")


def _dearest(path: Path) -> Row:
    """The dearest of the files that were written to be dear, against a good one of twice its size."""
    from tests.support.hostile import HOSTILE  # large: not in the processes whose memory is measured

    took: dict[str, float] = {}
    for kind, content in HOSTILE.items():
        path.write_bytes(content)
        took[kind] = _seconds(_read_or_refuse, path)
    dearest = max(took, key=lambda kind: took[kind])
    name = f"the dearest of {len(HOSTILE)} hostile job files ({dearest})"
    return Row(
        name=name, figure=milliseconds(took[dearest]), ratio=took[dearest] / took["good"], to="a good one"
    )


def _read_or_refuse(path: Path) -> None:
    from orchestrator.core import JobFileError

    with contextlib.suppress(JobFileError):
        _read(path)


def _seconds(act: Callable[[Path], object], path: Path) -> float:
    before = time.process_time()
    act(path)
    return time.process_time() - before


def _read(path: Path) -> object:
    from orchestrator.jobfile.reader import read_jobfiles

    return read_jobfiles([path], environ={})


def _load(path: Path) -> object:
    return yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)


def probe_read(path: str) -> float:
    """Peak memory of checking it."""
    _kept = _read(Path(path))
    return peak_memory()


def probe_load(path: str) -> float:
    """Peak memory of loading it."""
    _kept = _load(Path(path))
    return peak_memory()

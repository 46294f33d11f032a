"""`python -m orchestrator.simulator`: the simulator as a process of its own.

The first line on stdout is its base URL. It ends on SIGTERM, SIGINT or after --max-seconds.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from orchestrator.simulator.api import Simulator
from orchestrator.simulator.faults import FaultPlan, parse_faults
from orchestrator.simulator.log import LoggedRequest
from orchestrator.simulator.quota import POLICIES
from orchestrator.simulator.server import PacedClock, serve
from orchestrator.simulator.world import World, example_world, world_from_json


def main(arguments: list[str] | None = None) -> int:
    """Serve until told to stop."""
    options = _make_parser().parse_args(arguments)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with _open_log(options.log) as log:
        simulator = _make_simulator(options, log)
        clock = PacedClock(options.speed, options.epoch)
        with serve(simulator, clock=clock, port=options.port, hang=options.hang) as url:
            sys.stdout.write(url + "\n")
            sys.stdout.flush()
            stop.wait(options.max_seconds)
    return 0


@contextlib.contextmanager
def _open_log(path: Path | None) -> Iterator[Callable[[LoggedRequest], None]]:
    """A function that appends each entry to the file at once, so that it outlives a kill; idle without a file."""
    if path is None:
        yield lambda _: None
        return
    with path.open("ab", buffering=0) as file:
        yield lambda entry: _append(file, entry)


def _append(file: io.FileIO, entry: LoggedRequest) -> None:
    if not file.closed:  # an answer on its way while the process ends
        file.write(entry.to_line().encode())


def _make_simulator(options: argparse.Namespace, log: Callable[[LoggedRequest], None]) -> Simulator:
    return Simulator(
        _make_world(options),
        limit=options.limit,
        period=options.period,
        policy=options.policy,
        faults=options.faults,
        latency=(options.latency, options.spread),
        seed=options.seed,
        on_entry=log,
    )


def _read_faults(text: str) -> FaultPlan:
    try:
        return parse_faults(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _make_world(options: argparse.Namespace) -> World:
    if options.world:
        return world_from_json(options.world.read_text(encoding="utf-8"))
    return example_world(options.organizations, options.tests)


def _make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m orchestrator.simulator", description=__doc__)
    add = parser.add_argument
    add("--port", type=int, default=0, help="default: any free one")
    add("--speed", type=float, default=1.0, help="how many times faster than real time")
    add("--epoch", type=float, help="the moment at which both times are equal; default: the start")
    add("--limit", type=int, default=5, help="snapshots per organization and period")
    add("--period", type=float, default=300.0, help="seconds")
    add("--policy", choices=POLICIES, default="sliding")
    add("--latency", type=float, default=0.2, help="mean, in seconds of its clock")
    add("--spread", type=float, default=0.1, help="up to this much more or less")
    add(
        "--faults",
        type=_read_faults,
        default="",
        help="such as ordinary, or reset-after=0.02,500=0.05,foreign-rate=0.001",
    )
    add("--hang", type=float, default=30.0, help="the longest that an answer hangs, in seconds of its clock")
    add("--seed", type=int, default=0)
    add("--log", type=Path, help="append every request as a line of JSON")
    add("--world", type=Path, help="a world as JSON; default: an example")
    add("--organizations", type=int, default=1, help="of the example world")
    add("--tests", type=int, default=10, help="in each account group of the example world")
    add("--max-seconds", type=float, default=600.0, help="real seconds after which it ends by itself")
    return parser


if __name__ == "__main__":
    sys.exit(main())

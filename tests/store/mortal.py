"""A process of its own at a store, which does one thing at a time as it is told, and can be killed or stopped.

As a program: the store's address, the run's id and the organization's identity; then a word on each line of its input.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from orchestrator.core.errors import LeaseLost, StoreTrouble
from orchestrator.core.jobs import Limit
from orchestrator.core.tasks import Lease
from orchestrator.store.grants import Ask
from orchestrator.store.store import Store, open_store
from tests.store.world import TIMEOUT, created
from tests.support.clock import VirtualClock
from tests.support.single import grant, mark_sending, settle


class Mortal:
    """Another process; each word to it is answered by what came of it."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def tell(self, word: str) -> None:
        """Say what is to be done, without waiting for it."""
        assert self._process.stdin is not None
        print(word, file=self._process.stdin, flush=True)

    def hear(self) -> str:
        """The next answer."""
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def do(self, word: str) -> str:
        """Have something done: `grant`, `send`, `settle`, `recover`."""
        self.tell(word)
        return self.hear()

    def kill(self) -> None:
        """End it without a word."""
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """Have it stand still, as a machine that sleeps."""
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Have it go on where it stood still."""
        self._process.send_signal(signal.SIGCONT)


@contextmanager
def mortal(url: str | Path, identity: str, run: str = "r1") -> Iterator[Mortal]:
    """A living process that serves the run, killed at the end."""
    command = [sys.executable, "-m", "tests.store.mortal", str(url), run, identity]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        one = Mortal(process)
        assert one.hear() == "ready"
        try:
            yield one
        finally:
            process.kill()


def main(url: str, run: str, identity: str) -> None:
    clock = VirtualClock()
    store = open_store(url, clock=clock)
    store.queue.serve(run, [identity])
    print("ready", flush=True)
    lease: Lease | None = None
    for line in sys.stdin:
        try:
            if line.strip() == "grant":
                granted = grant(store, _ask(store, run, identity))
                lease = granted if isinstance(granted, Lease) else None
                print(f"{'granted' if lease else granted}", flush=True)
            else:
                print(_act(store, line.strip(), lease), flush=True)
        except (LeaseLost, StoreTrouble) as error:
            print(type(error).__name__, flush=True)


def _ask(store: Store, run: str, identity: str) -> Ask:
    return Ask(organization=identity, run_id=run, limit=Limit(), timeout=TIMEOUT, epoch=store.epoch())


def _act(store: Store, word: str, lease: Lease | None) -> str:
    if word == "recover":
        return str(store.queue.recover())
    assert lease is not None
    if word == "send":
        mark_sending(store, lease)
    else:
        settle(store, lease, created(lease))
    return "done"


if __name__ == "__main__":
    main(*sys.argv[1:])

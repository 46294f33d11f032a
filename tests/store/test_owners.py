"""Real processes, killed: the kernel or the server lets go of their locks."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from orchestrator.core.tasks import Counts, Status
from tests.store.world import BASE_URL, World

CHILD = """
import sys
from orchestrator.core import Limit
from tests.support.clock import VirtualClock
from orchestrator.store import Ask, open_store

url, identity, send = sys.argv[1:]
store = open_store(url, clock=VirtualClock())
ask = Ask(organization=identity, run_id="r1", limit=Limit(), timeout=60.0, epoch=store.epoch())
store.queue.serve("r1", [identity])
lease = store.queue.grant(ask)
if send == "send":
    store.queue.mark_sending(lease)
print("ready", flush=True)
sys.stdin.read()
"""


@contextmanager
def child(world: World, acme: str, *, send: bool) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds a lease, until it is killed."""
    command = [sys.executable, "-c", CHILD, world.url, acme, "send" if send else "hold"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
        process.kill()


@pytest.mark.process
@pytest.mark.parametrize("send", [False, True], ids=["leased", "sending"])
def test_a_killed_process_is_taken_over(world: World, *, send: bool) -> None:
    """Alive it is left alone; dead, what it had sent is uncertain and the rest is queued."""
    acme = world.store.organizations.join(BASE_URL, "acme", None)
    world.begin(2)
    world.store.queue.serve("r1", [])
    with child(world, acme, send=send) as process:
        assert world.store.queue.recover() == 0
        assert world.store.views.run("r1").processes == 1
        process.kill()
        process.wait()
        recovered = 0
        while not recovered:  # the server notices a moment after the kernel
            recovered = world.store.queue.recover()
    assert world.states() == [Status.UNCERTAIN if send else Status.QUEUED, Status.QUEUED]
    assert world.store.views.run("r1").processes == 0
    assert world.store.views.run("r1").total == (Counts(uncertain=1, queued=1) if send else Counts(queued=2))

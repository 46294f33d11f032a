"""A server that costs as little as one in Python can: it says yes to each snapshot and lists tests.

`python -m benchmarks.server --tests 10 --latency 0.02` prints its base URL and serves until it is stopped. An
organization's number is the beginning of its token (`token_of`). `GET /count` tells what it has seen.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import subprocess
import sys
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from email.utils import formatdate
from http.client import responses
from random import Random
from typing import cast
from urllib.request import urlopen

from benchmarks.probe import ROOT

FIRST_TEST = 200_000
GENERAL_PERIODS = 5  # a period of 300 s has so many of the general limit, which is reset every minute


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How it answers. Without a `limit` every snapshot is made; `per`, `latency`, `spread` are seconds.

    `lost` is the share of snapshots that are made and whose answer is lost.
    """

    tests: int = 10
    latency: float = 0.0
    spread: float = 0.0
    limit: int = 0
    per: float = 300.0
    lost: float = 0.0


@dataclass(slots=True, kw_only=True)
class Count:
    """What the server has seen: the snapshots it made, refused, and made without an answer; when (its own clock)."""

    reads: int = 0
    created: int = 0
    refused: int = 0
    lost: int = 0
    twice: int = 0
    first: float = 0.0
    last: float = 0.0


class Api:
    """The answers, and the limit of each organization as a sliding window over the moments of counting."""

    def __init__(self, settings: Settings) -> None:
        self.settings, self.count, self.chance = settings, Count(), Random(0)
        self._counted: dict[int, deque[float]] = defaultdict(deque)
        self._made: set[tuple[int, str]] = set()
        test = {"type": "http-server", "enabled": 1, "savedEvent": False}
        tests = range(FIRST_TEST, FIRST_TEST + settings.tests)
        self._tests = json.dumps(
            {"tests": [{**test, "testId": str(one), "testName": f"Checkout {one}"} for one in tests]}
        ).encode()

    def answer(self, method: str, path: str, organization: int) -> tuple[int, bytes]:
        """The status and body of a request that is counted now; status 0: no answer."""
        if method == "POST":
            return self._snapshot(path, organization)
        if path == "/count":
            return 200, json.dumps(asdict(self.count)).encode()
        self.count.reads += 1
        if path == "/v7/account-groups":
            group = {"aid": "1234", "accountGroupName": "Main", "isCurrentAccountGroup": True}
            return 200, json.dumps({"accountGroups": [{**group, "orgId": f"{organization}"}]}).encode()
        return 200, self._tests if path == "/v7/tests" else b"{}"

    def _snapshot(self, path: str, organization: int) -> tuple[int, bytes]:
        now, count = time.monotonic(), self.count
        if self.settings.limit and not self._take(organization, now):
            count.refused += 1
            return 429, b'{"title": "Too Many Requests", "status": 429}'
        test = path.split("/")[3]
        count.twice += (organization, test) in self._made
        self._made.add((organization, test))
        count.created, count.first, count.last = count.created + 1, count.first or now, now
        if self.settings.lost and self.chance.random() < self.settings.lost:
            count.lost += 1
            return 0, b""
        number = f"{organization}-{count.created}"
        made = {
            "id": f"s{number}",
            "sourceTestId": test,
            "testId": f"9{count.created}",
            "shareDate": datetime.now(UTC).isoformat(timespec="seconds"),
            "test": {"testName": f"Checkout {test}", "savedEvent": True},
            "_links": {"appLink": {"href": f"https://app.example.com/share/{number}"}},
        }
        return 201, json.dumps(made).encode()

    def _take(self, organization: int, now: float) -> bool:
        counted = self._counted[organization]
        while counted and counted[0] <= now - self.settings.per:
            counted.popleft()
        if len(counted) >= self.settings.limit:
            return False
        counted.append(now)
        return True


class Connection(asyncio.Protocol):
    """One connection of a client, which sends its requests one after the other."""

    def __init__(self, api: Api) -> None:
        self._api, self._received, self._loop = api, b"", asyncio.get_running_loop()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep where answers go."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Take a request that has come whole; half of the latency is before it is counted."""
        self._received += data
        end = self._received.find(b"\r\n\r\n")
        if end < 0:
            return
        head = self._received[:end].decode("latin-1")
        headers = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:])
        if len(self._received) < end + 4 + int(headers.get("content-length", "0")):
            return
        self._received = b""
        method, target, _ = head.split(" ", 2)
        organization = int(headers.get("authorization", "")[7:15] or "0", 16)
        self._later(self._count, method, target.partition("?")[0], organization)

    def _count(self, method: str, path: str, organization: int) -> None:
        status, body = self._api.answer(method, path, organization)
        if status == 0:
            self._transport.close()
            return
        self._later(self._transport.write, _message(status, body, self._api.settings.per))

    def _later(self, act: Callable[..., None], *what: object) -> None:
        settings = self._api.settings
        seconds = (settings.latency + self._api.chance.uniform(-1, 1) * settings.spread) / 2
        self._loop.call_later(seconds, act, *what) if seconds > 0 else act(*what)


def _message(status: int, body: bytes, per: float) -> bytes:
    reset = math.ceil(time.time() + per / GENERAL_PERIODS)
    head = (
        f"HTTP/1.1 {status} {responses[status]}\r\nDate: {formatdate(usegmt=True)}\r\n"
        "Content-Type: application/json\r\nX-Organization-Rate-Limit-Limit: 240\r\n"
        "X-Organization-Rate-Limit-Remaining: 239\r\nX-Organization-Rate-Limit-Reset: "
        f"{reset}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def token_of(organization: int) -> str:
    """The token of an organization, in the form of ThousandEyes' own."""
    return f"{organization:08x}-5a1e-4c3b-9d2f-{organization * 7919:012x}"


@contextmanager
def served(settings: Settings) -> Iterator[str]:
    """The origin of a server in a process of its own."""
    options = [f"--{name}={value}" for name, value in asdict(settings).items()]
    command = [sys.executable, "-m", "benchmarks.server", *options]
    # The program is this interpreter and the arguments are ours.
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:  # noqa: S603
        try:
            yield next(iter(process.stdout or ())).strip()
        finally:
            process.terminate()


def counted(origin: str) -> Count:
    """What a server has seen so far."""
    with urlopen(f"{origin}/count") as answer:  # noqa: S310 - our own server's address
        return Count(**json.load(answer))


async def _serve(settings: Settings) -> None:
    api = Api(settings)
    server = await asyncio.get_running_loop().create_server(
        lambda: Connection(api), "127.0.0.1", 0, backlog=1024
    )
    port = server.sockets[0].getsockname()[1]
    sys.stdout.write(f"http://127.0.0.1:{port}\n")
    sys.stdout.flush()
    await server.serve_forever()


def main() -> None:
    """Serve until a signal comes."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.server", description=__doc__)
    for name, default in asdict(Settings()).items():
        parser.add_argument(f"--{name}", type=type(default), default=default)
    asyncio.run(_serve(Settings(**vars(parser.parse_args()))))


if __name__ == "__main__":
    main()

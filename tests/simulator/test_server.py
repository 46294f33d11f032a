"""Over HTTP on loopback, every fault is what a client would meet."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from orchestrator.simulator import PacedClock, Simulator, example_world, script_faults, serve
from orchestrator.simulator.server import _ClientConnection, _Server
from orchestrator.simulator.world import world_to_json
from tests.support.server_log import most_in_any_window, read_log

pytestmark = pytest.mark.socket

LONGEST = 120.0
"""Seconds after which an answer is given up; one that hangs does so for twice as long."""

PATH = "/v7/tests/202701/snapshot"
HEADERS = {"Authorization": "Bearer token-1", "Content-Type": "application/json"}
BODY = json.dumps(
    {"displayName": "outage", "startDate": "2023-06-06T10:00:00Z", "endDate": "2023-06-06T12:00:00Z"}
)


@contextmanager
def served(
    faults: list[str | None] | None = None, *, speed: float = 1.0, hang: float = 2 * LONGEST, **options: Any
) -> Iterator[tuple[Simulator, http.client.HTTPConnection]]:
    world = options.pop("world", example_world())
    sim = Simulator(world, faults=script_faults(faults or []), **{"latency": (0.0, 0.0), **options})
    with serve(sim, clock=PacedClock(speed), hang=hang) as url, closing(connection(url)) as client:
        yield sim, client


def connection(url: str) -> http.client.HTTPConnection:
    return http.client.HTTPConnection(urlsplit(url).netloc, timeout=LONGEST)


def post(client: http.client.HTTPConnection) -> tuple[int, bytes]:
    client.request("POST", PATH, BODY, HEADERS)
    response = client.getresponse()
    return response.status, response.read()


def test_a_snapshot_is_made_over_one_kept_connection() -> None:
    """Requests share a connection."""
    with served(limit=20) as (sim, client):
        assert post(client)[0] == 201
        first = client.sock
        assert [post(client)[0] for _ in range(19)] == [201] * 19
        assert client.sock is first
        assert len(sim.log) == 20


def test_no_answer_waits_for_a_delayed_acknowledgement() -> None:
    """What the server says leaves at once: each connection has TCP_NODELAY."""
    server = _Server(("127.0.0.1", 0), _ClientConnection)
    with closing(server.socket), closing(socket.create_connection(("127.0.0.1", server.server_address[1]))):
        accepted, address = server.get_request()
        with closing(accepted):
            handler = _ClientConnection.__new__(_ClientConnection)
            handler.request, handler.client_address, handler.server = accepted, address, server
            handler.setup()
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0


def test_the_url_ends_in_the_version() -> None:
    """It is a base URL to be used as written."""
    with serve(Simulator(example_world())) as url:
        assert url.startswith("http://127.0.0.1:")
        assert url.endswith("/v7")


def test_queries_and_links_go_over_the_wire() -> None:
    """A link of an answer can be followed as it is."""
    with served(world=example_world(tests=1, account_groups=2)) as (_, client):
        client.request("GET", "/v7/tests?aid=2002", headers=HEADERS)
        content = json.loads(client.getresponse().read())
        assert [test["testId"] for test in content["tests"]] == ["202702"]
        assert content["_links"]["self"]["href"] == f"http://{client.host}:{client.port}/v7/tests"


@pytest.mark.parametrize("fault", ["500", "502-after", "503", "html", "307"])
def test_a_gateways_status_arrives(fault: str) -> None:
    """With its own body; HTML is HTML, and a redirect says where to."""
    with served([fault]) as (_, client):
        client.request("POST", PATH, BODY, HEADERS)
        response = client.getresponse()
        body = response.read()
        assert response.status == (502 if fault == "html" else int(fault[:3]))
        assert (b"<html>" in body) == (fault == "html")
        assert (response.getheader("Location") is not None) == (fault == "307")
        assert post(client)[0] == 201


@pytest.mark.parametrize(("fault", "made"), [("reset-before", 0), ("reset-after", 1)])
def test_a_reset_is_a_reset(fault: str, made: int) -> None:
    """Not an orderly end; what the origin did before it is in the log."""
    with served([fault]) as (sim, client):
        with pytest.raises(ConnectionResetError) as caught:
            post(client)
        assert not isinstance(caught.value, http.client.RemoteDisconnected)
        assert sum(entry.counted for entry in sim.log) == made


def test_an_answer_cut_in_its_status_line() -> None:
    """Seventeen bytes, then the end."""
    with served(["cut-head"]) as (sim, client):
        client.connect()
        client.request("POST", PATH, BODY, HEADERS)
        received = b"".join(iter(lambda: client.sock.recv(100), b""))
        assert received == b"HTTP/1.1 201 Crea"
        assert sim.log[0].counted


def test_an_answer_cut_in_its_body() -> None:
    """Half of what Content-Length promised."""
    with served(["cut-body"]) as (sim, client):
        with pytest.raises(http.client.IncompleteRead) as caught:
            post(client)
        assert len(caught.value.partial) == pytest.approx(caught.value.expected or 0, abs=1)
        assert sim.log[0].counted


def test_a_dripping_answer_comes_byte_by_byte() -> None:
    """One a second of the server's clock, whole in the end if the bound allows."""
    with served(["drip"], speed=1000.0, hang=10_000.0) as (_, client):
        begun = time.monotonic()
        status, body = post(client)
        assert (status, json.loads(body)["displayName"]) == (201, "outage")
        assert time.monotonic() - begun > 0.5


@pytest.mark.parametrize(("fault", "made"), [("hang-before", 0), ("hang-after", 1)])
def test_a_hanging_answer_ends_at_its_bound(fault: str, made: int) -> None:
    """Not a byte for four minutes of the server's clock, then a reset; without its speed the client would give up."""
    with served([fault], speed=800.0) as (sim, client):
        begun = time.monotonic()
        with pytest.raises(ConnectionResetError):
            post(client)
        assert time.monotonic() - begun > 0.25
        assert sum(entry.counted for entry in sim.log) == made


def test_the_server_stops_while_an_answer_hangs() -> None:
    """At once, and the client sees its connection end."""
    begun = time.monotonic()
    with served(["hang"]) as (sim, client):
        client.request("POST", PATH, BODY, HEADERS)
        while not sim.log:
            time.sleep(0.001)
    assert time.monotonic() - begun < LONGEST  # it would have hung for twice as long


def test_a_stopped_server_closes_its_idle_connections() -> None:
    """A client that kept one sees its end, not a timeout."""
    with served() as (_, client):
        assert post(client)[0] == 201
        kept = client.sock.dup()
    with kept:
        kept.settimeout(LONGEST)
        assert kept.recv(1) == b""


def test_latency_is_in_seconds_of_the_servers_clock() -> None:
    """Twenty minutes pass in an eighth of a second; without the speed the client would give up."""
    with served(speed=10_000.0, latency=(1200.0, 0.0)) as (sim, client):
        begun = time.monotonic()
        assert post(client)[0] == 201
        assert time.monotonic() - begun > 0.11
        entry = sim.log[0]
        assert entry.answered is not None
        assert entry.answered - entry.arrived > 1199


def test_date_is_the_servers_own() -> None:
    """Ten minutes ahead when the world says so, with a Reset to match."""
    with served(world=example_world(clock_offset=600.0)) as (_, client):
        begun = time.time()
        client.request("GET", "/v7/users/current", headers=HEADERS)
        response = client.getresponse()
        date = parsedate_to_datetime(response.headers["Date"]).timestamp()
        assert begun - 2 <= date - 600 <= time.time() + 2
        assert int(response.headers["X-Organization-Rate-Limit-Reset"]) - date == pytest.approx(60, abs=2)


def test_many_connections_share_one_limit() -> None:
    """Of twenty at the same time five are accepted, and the log has all twenty."""
    sim = Simulator(example_world(), latency=(0.02, 0.02))
    with serve(sim) as url, ThreadPoolExecutor(20) as pool:
        statuses = list(pool.map(lambda _: _post_once(url), range(20)))
    assert sorted(statuses) == [201] * 5 + [429] * 15
    assert len(sim.log) == 20


def test_a_client_that_goes_away_is_served_all_the_same() -> None:
    """A whole request counts, even when nobody waits for its answer."""
    with served(latency=(0.1, 0.0)) as (sim, client):
        client.request("POST", PATH, BODY, HEADERS)
        client.close()
        given_up = time.monotonic() + LONGEST
        while not sim.log and time.monotonic() < given_up:
            time.sleep(0.005)
        assert sim.log[0].counted


def test_half_a_request_is_none() -> None:
    """The connection ends before the body does: nothing arrived."""
    with served() as (sim, client):
        head = f"POST {PATH} HTTP/1.1\r\nAuthorization: Bearer token-1\r\nContent-Length: 99\r\n\r\nhalf"
        with socket.create_connection((client.host, client.port)) as raw:
            raw.sendall(head.encode())
            raw.shutdown(socket.SHUT_WR)
            assert raw.recv(100) == b""
        assert sim.log == []


@pytest.mark.parametrize("method", ["PURGE", "TRACE", "X-1", "get"])
def test_an_unknown_method_is_405_with_a_problem(method: str) -> None:
    """Over the wire, where a server of the standard library would say 501."""
    with served() as (_, client):
        client.request(method, "/v7/tests", headers={"Authorization": "Bearer token-1"})
        answer = client.getresponse()
        body = json.loads(answer.read())
    assert (answer.status, answer.getheader("Allow"), body["status"]) == (405, "GET", 405)
    assert answer.getheader("Content-Type") == "application/problem+json"


@pytest.mark.parametrize(
    "request_",
    [
        b"nonsense\r\n\r\n",
        b"GET /v7/tests HTTP/9.9\r\n\r\n",
        b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n",
        b"GET /v7/tests HTTP/1.1\r\n" + b"A: b\r\n" * 200 + b"\r\n",
        b"POST /v7/tests/1/snapshot HTTP/1.1\r\nContent-Length: no\r\n\r\n",
        b"POST /v7/tests/1/snapshot HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
    ],
    ids=["nonsense", "version", "long", "headers", "length", "chunked"],
)
def test_what_is_no_request_is_a_400_with_a_problem(request_: bytes) -> None:
    """And no page of a web server."""
    with served() as (_, client), socket.create_connection((client.host, client.port)) as raw:
        raw.sendall(request_)
        head, _, body = raw.makefile("rb").read().partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert b"application/problem+json" in head
    assert json.loads(body)["detail"]


@pytest.mark.process
def test_a_process_of_its_own_logs_at_once_and_ends_on_sigterm(tmp_path: Path) -> None:
    """Its first line is its URL; other processes can judge by its log while it runs."""
    log, world = tmp_path / "log.jsonl", tmp_path / "world.json"
    world.write_text(world_to_json(example_world(2, 2)))
    with process("--log", str(log), "--world", str(world), "--speed", "2", "--limit", "1") as (child, url):
        assert [_post_once(url) for _ in range(2)] == [201, 429]
        entries = read_log(log)
        assert [entry.status for entry in entries] == [201, 429]
        assert most_in_any_window(entries, "1001", 300.0) == 1
        child.send_signal(signal.SIGTERM)
        assert child.wait(LONGEST) == 0


@pytest.mark.process
def test_a_process_of_its_own_ends_by_itself() -> None:
    """After --max-seconds, so that a forgotten one does not stay."""
    with process("--max-seconds", "0.1") as (child, _):
        assert child.wait(LONGEST) == 0


@contextmanager
def process(*options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    command = [sys.executable, "-m", "orchestrator.simulator", "--latency", "0", "--spread", "0", *options]
    root = Path(__file__).parents[2]
    environment = os.environ | {"PYTHONPATH": str(root)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as child:
        deadline = threading.Timer(2 * LONGEST, child.kill)
        deadline.start()
        try:
            assert child.stdout
            yield child, child.stdout.readline().strip()
        finally:
            deadline.cancel()
            child.kill()


def _post_once(url: str) -> int:
    with closing(connection(url)) as client:
        return post(client)[0]

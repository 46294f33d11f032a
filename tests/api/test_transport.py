"""Connections that all who send to one server share, and what of one sender never reaches another."""

from __future__ import annotations

import threading
from base64 import b64encode
from contextlib import ExitStack

import pytest

from orchestrator.api.attempt import Attempt, Watchdog
from orchestrator.api.client import Call, Client
from orchestrator.api.response import Answer
from orchestrator.api.transport import share_way
from orchestrator.core.clock import SystemClock
from orchestrator.core.jobs import Http
from tests.support.wire import LOOPBACK, Peer, Server, always, answer

CREATED = answer("201 Created", b'{"id": "wdiac"}', "Content-Type: application/json")
ECHO = answer("201 Created", b'{"id": "token-of-acme, token-of-globex"}', "Content-Type: application/json")
POST = Call(method="POST", path="/tests/202701/snapshot", body=b"{}")
CLOCK = SystemClock()
LONGEST = 60.0


def client_of(name: str, url: str, **environ: str) -> Client:
    return Client(
        url, lambda: f"token-of-{name}", clock=CLOCK, http=Http(), user_agent="tesnap/0", environ=environ
    )


def post(client: Client) -> Answer:
    return client.send(POST, deadline=CLOCK.boot() + LONGEST)


@pytest.mark.socket
def test_organizations_share_connections_and_nothing_else() -> None:
    """Each request has its own sender's token, and each answer is masked by that one."""
    with Server(always(ECHO)) as server:
        clients = [client_of(name, f"{server.url}/v7") for name in ("acme", "globex")]
        bodies = [post(client).body for client in clients * 2]
    assert server.connections == 1
    sent = [
        request.count(b"token-of-acme") - request.count(b"token-of-globex") for request in server.requests
    ]
    assert sent == [1, -1, 1, -1]
    assert bodies == [b'{"id": "***, token-of-globex"}', b'{"id": "token-of-acme, ***"}'] * 2


@pytest.mark.socket
def test_one_that_closes_cuts_off_nobody_else() -> None:
    """Its own request ends at once; what another one has on the wire goes on, over the connections that are left."""
    asked, go_on = threading.Semaphore(0), threading.Event()

    def wait(peer: Peer) -> None:
        peer.request()
        asked.release()
        go_on.wait(LONGEST)
        peer.say(CREATED)

    answers: dict[str, Answer] = {}
    with Server(wait) as server:
        clients = {name: client_of(name, server.url) for name in ("acme", "globex")}
        threads = {
            name: threading.Thread(target=lambda name=name: answers.update({name: post(clients[name])}))
            for name in clients
        }
        for thread in threads.values():
            thread.start()
            asked.acquire(timeout=LONGEST)
        clients["acme"].close()
        clients["acme"].close()  # harmless when repeated
        threads["acme"].join()
        go_on.set()
        threads["globex"].join()
    assert (answers["acme"].status, answers["globex"].status) == (None, 201)
    assert post(clients["acme"]).sent is False


@pytest.mark.socket
def test_connections_end_with_the_last_who_shares_them() -> None:
    """Not before: another organization's are kept open."""
    ended = threading.Event()

    def until_the_end(peer: Peer) -> None:
        peer.request()
        peer.say(CREATED)
        peer.request()
        peer.say(CREATED)
        if not peer.sock.recv(1):
            ended.set()

    with Server(until_the_end) as server:
        first, last = client_of("acme", server.url), client_of("globex", server.url)
        post(first)
        first.close()
        assert post(last).status == 201
        assert server.connections == 1
        last.close()
        assert ended.wait(LONGEST)


def test_ways_are_shared_by_those_who_go_the_same_way() -> None:
    """The same server by the same proxy with the same password; a path and a spelling make no difference."""
    url, proxy = "https://api.invalid/v7", {"HTTPS_PROXY": "http://one:secret@proxy.invalid:3128"}
    plain, through = share_way(url, Http(), {}), share_way(url, Http(), proxy)
    assert share_way("https://API.invalid:443/v8", Http(), {}) is plain
    assert share_way(url, Http(proxy=proxy["HTTPS_PROXY"]), {}) is through
    others = [
        share_way("https://api.invalid:8443/v7", Http(), {}),
        share_way(url, Http(), {"HTTPS_PROXY": "http://two:secret@proxy.invalid:3128"}),
        share_way(f"http://{LOOPBACK}/v7", Http(), {}),
        share_way(f"http://{LOOPBACK}:443/v7", Http(), {}),
    ]
    assert len({id(way) for way in (plain, through, *others)}) == 6


@pytest.mark.socket
def test_a_proxy_is_told_the_name_and_password_of_whoever_sends() -> None:
    """A tunnel that was opened with one is never used for another."""
    with Server(always(answer("407 Proxy Authentication Required"))) as proxy:
        for name in ("one", "two"):
            post(
                client_of(
                    name, "https://api.invalid/v7", HTTPS_PROXY=f"http://{name}:x@{LOOPBACK}:{proxy.port}"
                )
            )
    for name, head in zip(("one", "two"), proxy.requests, strict=True):
        assert b64encode(f"{name}:x".encode()) in head


class _CountingCondition(threading.Condition):
    """A condition that counts how often it wakes somebody."""

    woken = 0

    def notify(self, n: int = 1) -> None:
        self.woken += 1
        super().notify(n)


def test_the_watchdog_is_woken_only_for_what_ends_before_its_next_look() -> None:
    """To be woken for each request would cost two changes of threads for each."""
    watchdog = Watchdog()
    watchdog._changed = counting = _CountingCondition()
    # All at once: a thread with nothing left to watch ends, and the next one is started, not woken.
    with ExitStack() as watched:
        for seconds, woken in ((60.0, 0), (30.0, 0), (0.01, 1)):
            attempt = Attempt(clock=CLOCK, deadline=CLOCK.boot() + seconds)
            watched.enter_context(watchdog.watch(attempt, "acme"))
            assert counting.woken == woken
        while attempt.cut is None:
            pass  # the watchdog's thread takes its turn

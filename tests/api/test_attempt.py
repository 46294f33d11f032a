"""Every way in which a request fails on the wire that could be thought of, played by real servers.

For each: what the attempt says about its first byte against what the server saw. `sent` False has to mean
that the server never had the request, and the credential must not arrive anywhere but at the API.
"""

from __future__ import annotations

import gzip
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from orchestrator.api.attempt import Attempt, Stopped
from orchestrator.api.client import Call, Client
from orchestrator.api.credentials import Authorization
from orchestrator.api.response import Answer
from orchestrator.api.transport import Connection
from orchestrator.core.clock import ScaledClock, SystemClock
from orchestrator.core.errors import GrantStale, LeaseLost, StoreUnavailable
from orchestrator.core.jobs import Http
from tests.support.clock import VirtualClock
from tests.support.programs import find_program
from tests.support.wire import (
    LOOPBACK,
    PATIENCE,
    Certificates,
    Peer,
    Script,
    Server,
    always,
    answer,
    closed_port,
    deaf_port,
    make_certificates,
)

pytestmark = pytest.mark.socket

TOKEN = "0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9"
SNAPSHOT = b'{"id": "wdiac"}'
CREATED = answer("201 Created", SNAPSHOT, "Content-Type: application/hal+json")
POST = Call(
    method="POST", path="/tests/202701/snapshot", query=(("aid", "1234"),), body=b'{"displayName":"x"}'
)
SOON = 1.5  # seconds of the deadline where a case waits for it
LONGEST = 120.0  # seconds after which something that should have happened is given up
CLOCK = SystemClock()


def client_of(url: str, *, http: Http | None = None, **environ: str) -> Client:
    return Client(
        url, lambda: TOKEN, clock=CLOCK, http=http or Http(), user_agent="tesnap/0", environ=environ
    )


HANDSHAKE = 4.0
"""Seconds in which the request has left after a TLS handshake on a busy machine, too."""


def post(client: Client, seconds: float = 60.0, hook: Callable[[], None] | None = None) -> Answer:
    return client.send(POST, deadline=CLOCK.boot() + seconds, before_first_byte=hook)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    find_program("openssl", "openssl")  # it makes them
    return make_certificates(tmp_path_factory.mktemp("certificates"))


# One connection, one script.


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A server's script, and what the client has to make of it."""

    script: Script
    status: int | None = None
    says: str | None = None
    body: bytes | None = None
    seconds: float = 5.0
    call: Call = field(default=POST)


def after_request(*parts: bytes) -> Script:
    def script(peer: Peer) -> None:
        peer.request()
        peer.say(*parts)

    return script


def then(*parts: bytes, end: Callable[[Peer], None]) -> Script:
    def script(peer: Peer) -> None:
        peer.request()
        peer.say(*parts)
        end(peer)

    return script


def reset_at_accept(peer: Peer) -> None:
    peer.reset()


def reset_after_head(peer: Peer) -> None:
    peer.head()
    peer.reset()


def reset_in_head(peer: Peer) -> None:
    peer.some(20)
    peer.reset()


def reset_without_reading(peer: Peer) -> None:
    peer.server.stopping.wait(0.05)
    peer.reset()


def answer_at_once(peer: Peer) -> None:
    peer.say(answer("503 Service Unavailable", b"busy", "Connection: close"))


def drip_head(peer: Peer) -> None:
    peer.request()
    peer.drip(CREATED, every=0.03)


def drip_body(peer: Peer) -> None:
    peer.request()
    head, _, body = CREATED.partition(b"\r\n\r\n")
    peer.say(head, b"\r\n\r\n")
    peer.drip(body, every=0.5)


def drip_continues(peer: Peer) -> None:
    peer.request()
    peer.drip(b"HTTP/1.1 100 Continue\r\n\r\n" * 100, every=0.005)


def endless_body(peer: Peer) -> None:
    peer.request()
    peer.say(b"HTTP/1.1 200 OK\r\n\r\n")
    for _ in range(200):
        peer.say(b"x" * 65536)


CHUNKED = b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n"
GZIPPED = "Content-Encoding: gzip"

CASES = {
    "created": Case(script=always(CREATED), status=201, body=SNAPSHOT),
    "created, chunked": Case(
        script=after_request(CHUNKED, b"f\r\n", SNAPSHOT, b"\r\n0\r\n\r\n"), status=201, body=SNAPSHOT
    ),
    "created, no length": Case(
        script=after_request(b"HTTP/1.1 201 Created\r\n\r\n", SNAPSHOT), status=201, body=SNAPSHOT
    ),
    "created, gzipped unasked": Case(
        script=after_request(answer("201 Created", gzip.compress(SNAPSHOT), GZIPPED)),
        status=201,
        body=SNAPSHOT,
    ),
    "reset within the head": Case(script=reset_in_head, says="reset|closed"),
    "reset before reading": Case(script=reset_without_reading, says="reset|closed"),
    "reset after the head": Case(script=reset_after_head, says="reset|closed"),
    "reset before the answer": Case(script=then(end=Peer.reset), says="reset|closed"),
    "closed before the answer": Case(script=after_request(), says="closed the connection without an answer"),
    "reset within the status line": Case(script=then(b"HTTP/1.1 2", end=Peer.reset), says="reset|valid HTTP"),
    "cut within the status": Case(script=after_request(b"HTTP/1.1 20"), says="valid HTTP"),
    "cut within the reason": Case(script=after_request(b"HTTP/1.1 201 Crea"), status=201, body=b""),
    "cut within the headers": Case(
        script=after_request(b"HTTP/1.1 201 Created\r\nContent-Le"), status=201, body=b""
    ),
    "cut before the body": Case(
        script=after_request(CREATED.removesuffix(SNAPSHOT)), status=201, says="cut off", body=b""
    ),
    "cut within the body": Case(script=after_request(CREATED[:-4]), status=201, says="cut off"),
    "reset within the body": Case(
        script=then(CREATED[:-4], end=Peer.reset), status=201, says="cut off|reset"
    ),
    "cut within a chunk": Case(
        script=after_request(CHUNKED, b"f\r\n", SNAPSHOT[:5]), status=201, says="cut off"
    ),
    "cut before the last chunk": Case(
        script=after_request(CHUNKED, b"f\r\n", SNAPSHOT, b"\r\n"), status=201, says="cut off|valid HTTP"
    ),
    "a chunk of no size": Case(
        script=after_request(CHUNKED, b"zz\r\n", SNAPSHOT), status=201, says="valid HTTP|cut"
    ),
    "length too long": Case(
        script=after_request(b"HTTP/1.1 201 Created\r\nContent-Length: 99\r\n\r\n", SNAPSHOT),
        status=201,
        says="cut off",
    ),
    "length too short": Case(
        script=after_request(b"HTTP/1.1 201 Created\r\nContent-Length: 5\r\n\r\n", SNAPSHOT),
        status=201,
        body=SNAPSHOT[:5],
    ),
    "length is no number": Case(
        script=after_request(b"HTTP/1.1 201 Created\r\nContent-Length: many\r\n\r\n", SNAPSHOT),
        status=201,
        body=SNAPSHOT,
    ),
    "two lengths": Case(
        script=after_request(
            b"HTTP/1.1 201 Created\r\nContent-Length: 15\r\nContent-Length: 9\r\n\r\n", SNAPSHOT
        ),
        says="valid HTTP|no connection|InvalidHeader",
    ),
    "gzip garbage": Case(
        script=after_request(answer("201 Created", b"garbage", GZIPPED)), status=201, says="decoded", body=b""
    ),
    "hang before reading": Case(script=Peer.hang, says="no answer within 1.5 s", seconds=SOON),
    "hang before the answer": Case(script=then(end=Peer.hang), says="no answer within 1.5 s", seconds=SOON),
    "hang within the headers": Case(
        script=then(b"HTTP/1.1 201 Created\r\nX: ", end=Peer.hang),
        says="no answer within",
        seconds=SOON,
        status=-1,
    ),
    "hang within the body": Case(
        script=then(CREATED[:-4], end=Peer.hang), status=201, says="no answer within", seconds=SOON
    ),
    "dripping head": Case(script=drip_head, says="no answer within", seconds=SOON, status=-1),
    "dripping body": Case(script=drip_body, status=201, says="no answer within", seconds=SOON),
    "dripping 100 Continue": Case(script=drip_continues, says="no answer within", seconds=SOON, status=-1),
    "100 Continue first": Case(
        script=after_request(b"HTTP/1.1 100 Continue\r\n\r\n", CREATED), status=201, body=SNAPSHOT
    ),
    "103 Early Hints first": Case(
        script=after_request(b"HTTP/1.1 103 Early Hints\r\n\r\n", CREATED), status=103
    ),
    "101 Switching Protocols": Case(script=after_request(b"HTTP/1.1 101 Switching\r\n\r\n"), status=101),
    "204": Case(script=after_request(b"HTTP/1.1 204 No Content\r\n\r\n"), status=204, body=b""),
    "303": Case(script=after_request(answer("303 See Other", b"", "Location: /v7/tests")), status=303),
    "408": Case(script=after_request(answer("408 Request Timeout")), status=408),
    "answered before the request": Case(script=answer_at_once, status=503, body=b"busy"),
    "not HTTP": Case(script=after_request(b"SSH-2.0-OpenSSH_9.6\r\n"), says="valid HTTP"),
    "status of two digits": Case(script=after_request(b"HTTP/1.1 42 What\r\n\r\n"), says="valid HTTP"),
    "a huge header": Case(
        script=after_request(b"HTTP/1.1 201 Created\r\nX: ", b"x" * 70_000, b"\r\n\r\n"), says="valid HTTP"
    ),
    "very many headers": Case(
        script=after_request(b"HTTP/1.1 201 Created\r\n", b"X: y\r\n" * 200, b"\r\n"), says="valid HTTP"
    ),
    "a huge body": Case(script=endless_body, status=200, says="larger than 1 MiB", body=b""),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_a_request_that_leaves_is_flagged_and_sent_once(case: Case) -> None:
    """Whatever the server does after the first byte, the answer says sent, and nothing is sent again."""
    asked: list[int] = []
    with Server(case.script) as server:
        client = client_of(server.url)
        came = post(client, case.seconds, lambda: asked.append(1))
        client.close()
    assert came.sent
    if case.status != -1:  # -1: the status line may or may not have been complete
        assert came.status == case.status
    assert_says(came, case.says)
    assert case.body is None or came.body == case.body
    assert server.connections == len(asked) == 1
    assert len(server.requests) <= 1


def test_a_reset_at_accept_is_told_truly() -> None:
    """The reset may come before the first byte or after it; only then is the request flagged as sent."""
    with Server(reset_at_accept) as server:
        came = post(client_of(server.url))
    assert_says(came, "reset|closed")
    assert came.status is None
    assert (server.connections, server.requests) == (1, [])


def assert_says(came: Answer, says: str | None) -> None:
    if says is None:
        assert came.failure is None
    else:
        assert came.failure is not None
        assert any(part in came.failure for part in says.split("|")), came.failure


# Before the first byte: nothing may reach the server.


def assert_not_sent(came: Answer, server: Server | None, says: str) -> None:
    assert not came.sent
    assert came.status is None
    assert_says(came, says)
    if server is not None:
        assert server.requests == []
        assert TOKEN.encode() not in server.seen


def test_a_refused_connection_sends_nothing() -> None:
    """Nobody listens: the address is named."""
    port = closed_port()
    came = post(client_of(f"http://{LOOPBACK}:{port}/v7"))
    assert_not_sent(came, None, f"connection refused by {LOOPBACK}:{port}")


def test_a_name_without_address_sends_nothing() -> None:
    """The name is in the message; a label of 64 letters is none in any DNS."""
    came = post(client_of(f"https://{'a' * 64}.invalid/v7"))
    assert_not_sent(came, None, f"the address of {'a' * 64}.invalid cannot be found")


def test_a_connection_that_is_not_taken_ends_at_the_deadline() -> None:
    """The deadline counts connecting too."""
    with deaf_port() as port:
        came = post(client_of(f"http://{LOOPBACK}:{port}/v7"), SOON)
    assert_not_sent(came, None, "no connection to")


def test_a_deadline_in_the_past_sends_nothing() -> None:
    """Without time left no connection is opened."""
    with Server(always(CREATED)) as server:
        came = post(client_of(server.url), -1.0)
    assert_not_sent(came, server, "no connection to")
    assert server.connections == 0


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("self_signed", "not accepted: self"),
        ("expired", "not accepted: certificate has expired"),
        ("misnamed", "not accepted"),
    ],
)
def test_a_bad_certificate_sends_nothing(certificates: Certificates, kind: str, says: str) -> None:
    """Self-signed, expired, or of another host."""
    with Server(always(CREATED), tls=getattr(certificates, kind)) as server:
        came = post(client_of(server.url, http=Http(ca_bundle=certificates.ca)))
    assert_not_sent(came, server, says)


def test_an_unknown_authority_sends_nothing(certificates: Certificates) -> None:
    """Without the bundle that knows it, a company's own CA is not trusted, and the message says where it goes."""
    with Server(always(CREATED), tls=certificates.good) as server:
        came = post(client_of(server.url))
    assert_not_sent(came, server, "http.ca_bundle")


def tls_garbage(peer: Peer) -> None:
    peer.some(100)
    peer.say(b"HTTP/1.1 400 Bad Request\r\n\r\n")


def tls_cut(peer: Peer) -> None:
    peer.some(100)


def tls_reset(peer: Peer) -> None:
    peer.some(100)
    peer.reset()


def tls_drip(peer: Peer) -> None:
    peer.some(100)
    peer.drip(b"\x16\x03\x03\x20\x00" + b"\x02" * 500, every=0.02)


@pytest.mark.parametrize(
    ("script", "says"),
    [
        (tls_garbage, "does not speak TLS"),
        (tls_cut, "TLS with"),
        (tls_reset, "reset|TLS with"),
        (Peer.hang, "no connection to"),
        (tls_drip, "no connection to|TLS with"),
    ],
    ids=["plain HTTP", "cut", "reset", "hang", "drip"],
)
def test_a_broken_handshake_sends_nothing(script: Script, says: str) -> None:
    """The TLS handshake is cut, reset, never answered, answered with other things, or drips."""
    with Server(script) as server:
        came = post(client_of(server.url.replace("http:", "https:")), 0.3)
    assert_not_sent(came, server, says)


def test_http_to_a_tls_port_gets_no_answer(certificates: Certificates) -> None:
    """Plain HTTP where TLS is spoken: the bytes have left, so it counts as sent."""
    with Server(always(CREATED), tls=certificates.good) as server:
        came = post(client_of(server.url.replace("https:", "http:")))
    assert came.sent
    assert (came.status, server.requests) == (None, [])


def test_tls_with_a_trusted_certificate_works(certificates: Certificates) -> None:
    """The CA bundle of the settings is used, and the one of the environment."""
    with Server(always(CREATED), tls=certificates.good) as server:
        by_setting = post(client_of(server.url, http=Http(ca_bundle=certificates.ca)))
        by_environ = post(client_of(server.url, SSL_CERT_FILE=certificates.ca))
    assert (by_setting.status, by_environ.status) == (201, 201)
    assert len(server.requests) == 2


@pytest.mark.parametrize("end", [Peer.reset, Peer.hang, Peer.finish], ids=["reset", "hang", "close"])
def test_tls_that_breaks_after_the_request_is_flagged(
    certificates: Certificates, end: Callable[[Peer], None]
) -> None:
    """The same after the first byte, over TLS."""
    with Server(then(b"HTTP/1.1 20", end=end), tls=certificates.good) as server:
        came = post(client_of(server.url, http=Http(ca_bundle=certificates.ca)), HANDSHAKE)
    assert came.sent
    assert came.status is None
    assert len(server.requests) == 1


# Proxies. The API's name does not exist: only the proxy is ever reached.

API = "https://api.invalid/v7"


def say_to_connect(*parts: bytes) -> Script:
    def script(peer: Peer) -> None:
        peer.head()
        peer.say(*parts)

    return script


def reset_connect(peer: Peer) -> None:
    peer.head()
    peer.reset()


def hang_connect(peer: Peer) -> None:
    peer.head()
    peer.hang()


def drip_connect(peer: Peer) -> None:
    peer.head()
    peer.drip(b"HTTP/1.1 200 Connection established\r\nX: y\r\n" * 10, every=0.02)


def tunnel_then_cut(peer: Peer) -> None:
    peer.head()
    peer.say(b"HTTP/1.1 200 OK\r\n\r\n")
    peer.some(100)


PROXIES: dict[str, tuple[Script, str]] = {
    "407": (
        say_to_connect(answer("407 Proxy Authentication Required")),
        "refuses the name and password it was given (407)",
    ),
    "502": (
        say_to_connect(answer("502 Bad Gateway", b"<html>no</html>")),
        "cannot reach the server at present (502)",
    ),
    "closes on CONNECT": (say_to_connect(), "closed the connection without an answer"),
    "cut CONNECT": (say_to_connect(b"HTTP/1.1 2"), "valid HTTP"),
    "HTML on CONNECT": (say_to_connect(b"<html><h1>Log in</h1></html>\r\n\r\n"), "valid HTTP"),
    "resets CONNECT": (reset_connect, "reset"),
    "hangs on CONNECT": (hang_connect, "no connection to the proxy"),
    "drips on CONNECT": (drip_connect, "no connection to the proxy"),
    "cut TLS in the tunnel": (tunnel_then_cut, "TLS with api.invalid:443 (through the proxy"),
}


@pytest.mark.parametrize(("script", "says"), PROXIES.values(), ids=PROXIES.keys())
def test_a_failing_proxy_sends_nothing(script: Script, says: str) -> None:
    """The tunnel is not part of the request: while it fails, the request stays here, and so does the token."""
    asked: list[int] = []
    with Server(script) as proxy:
        came = post(
            client_of(API, HTTPS_PROXY=f"http://me:secret@{LOOPBACK}:{proxy.port}"),
            0.4,
            lambda: asked.append(1),
        )
    assert_not_sent(came, proxy, says)
    assert asked == []
    assert proxy.seen.startswith(b"CONNECT api.invalid:443 ")
    assert came.failure is not None
    assert "secret" not in came.failure


def test_a_refused_proxy_is_named_without_its_password() -> None:
    """A proxy at which nobody listens."""
    port = closed_port()
    came = post(client_of(API, http=Http(proxy=f"http://me:secret@{LOOPBACK}:{port}")))
    assert_not_sent(came, None, f"connection refused by the proxy {LOOPBACK}:{port}")


def test_requests_go_through_one_tunnel(certificates: Certificates) -> None:
    """Behind CONNECT a request is as usual: the caller is asked once for each, and two share the tunnel."""
    asked: list[int] = []

    def relay(peer: Peer) -> None:
        peer.head()
        peer.say(b"HTTP/1.1 200 OK\r\n\r\n")
        peer.secure(certificates.good)
        always(CREATED)(peer)

    with Server(relay) as proxy:
        settings = Http(ca_bundle=certificates.ca, proxy=f"http://{LOOPBACK}:{proxy.port}")
        client = client_of(API, http=settings)
        came = [post(client, hook=lambda: asked.append(1)) for _ in range(2)]
    assert [one.status for one in came] == [201, 201]
    assert (len(asked), proxy.connections, len(proxy.requests)) == (2, 1, 2)


def test_tls_to_the_proxy_itself_works_too(certificates: Certificates) -> None:
    """A proxy whose address is https: TLS within TLS."""

    def relay(peer: Peer) -> None:
        peer.head()
        peer.say(b"HTTP/1.1 407 No\r\n\r\n")

    with Server(relay, tls=certificates.good) as proxy:
        settings = Http(ca_bundle=certificates.ca, proxy=f"https://{LOOPBACK}:{proxy.port}")
        came = post(client_of(API, http=settings))
    assert_not_sent(came, proxy, "wants a name and a password (407)")


# Reused connections.


def test_a_connection_is_reused() -> None:
    """Two requests in a row use one connection."""
    with Server(always(CREATED)) as server:
        client = client_of(server.url)
        assert [post(client).status for _ in range(3)] == [201, 201, 201]
    assert (server.connections, len(server.requests)) == (1, 3)


def test_an_idle_connection_that_was_closed_is_replaced() -> None:
    """The server closes after an answer; the next request goes over a new connection, once."""
    closed = threading.Event()

    def one_then_close(peer: Peer) -> None:
        peer.request()
        peer.say(CREATED)
        peer.sock.close()
        closed.set()

    with Server(one_then_close) as server:
        client = client_of(server.url)
        first = post(client)
        assert closed.wait(LONGEST)
        second = post(client)
    assert (first.status, second.status) == (201, 201)
    assert (server.connections, len(server.requests)) == (2, 2)


def test_an_idle_connection_that_closes_while_the_caller_is_asked_sends_nothing() -> None:
    """Between the pool's look and the first byte lies a commit: a connection closed in it is not written to."""
    close, closed = threading.Event(), threading.Event()

    def one_then_close(peer: Peer) -> None:
        peer.request()
        peer.say(CREATED)
        close.wait(LONGEST)
        peer.sock.close()
        closed.set()

    def hook() -> None:
        close.set()
        assert closed.wait(LONGEST)

    with Server(one_then_close) as server:
        client = client_of(server.url)
        post(client)
        came = post(client, hook=hook)
    assert not came.sent
    assert_says(came, "had closed the idle connection")
    assert len(server.requests) == 1


@pytest.mark.parametrize("end", [Peer.reset, Peer.finish, Peer.hang], ids=["reset", "close", "hang"])
def test_a_second_request_that_gets_no_answer_is_not_repeated(end: Callable[[Peer], None]) -> None:
    """A reused connection that ends right after the second request: it may have been carried out."""

    def script(peer: Peer) -> None:
        peer.request()
        peer.say(CREATED)
        peer.request()
        end(peer)

    with Server(script) as server:
        client = client_of(server.url)
        first, second = post(client), post(client, SOON)
    assert (first.status, second.status, second.sent) == (201, None, True)
    assert (server.connections, len(server.requests)) == (1, 2)


def test_a_connection_idle_for_too_long_is_not_reused() -> None:
    """Ten seconds by the boot clock, which here runs a thousand times as fast."""
    clock = ScaledClock(1000)
    with Server(always(CREATED)) as server:
        client = Client(
            server.url, lambda: TOKEN, clock=clock, http=Http(), user_agent="tesnap/0", environ={}
        )
        for _ in range(2):
            assert client.send(POST, deadline=clock.boot() + 60_000).status == 201
            clock.sleep(11)
    assert (server.connections, len(server.requests)) == (2, 2)


@pytest.mark.parametrize(
    "odd",
    [
        b"HTTP/1.1 103 Early Hints\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 304 Not Modified\r\n\r\n",
    ],
    ids=["103", "204", "304"],
)
def test_what_follows_an_odd_answer_is_not_taken_for_the_next_one(odd: bytes) -> None:
    """A late answer to the first request must not become the answer to the second."""
    late = answer("201 Created", b'{"id": "first"}')

    def script(peer: Peer) -> None:
        peer.request()
        peer.say(odd)
        peer.request()
        peer.say(late)

    with Server(script, always(CREATED)) as server:
        client = client_of(server.url)
        post(client)
        second = post(client)
    assert second.body == SNAPSHOT
    assert server.connections == 2


def test_five_threads_share_the_client() -> None:
    """Requests from several threads at once each get an answer, over at most five connections."""
    with Server(always(CREATED)) as server:
        client = client_of(server.url)
        statuses: list[int | None] = []

        def work() -> None:
            statuses.extend(post(client).status for _ in range(10))

        threads = [threading.Thread(target=work) for _ in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert statuses == [201] * 50
    assert server.connections <= 5
    assert len(server.requests) == 50


# The caller's refusal.


@pytest.mark.parametrize(
    "refusal",
    [
        GrantStale("late"),
        LeaseLost("lost"),
        StoreUnavailable("away"),
        BrokenPipeError(32, "x"),
        KeyboardInterrupt(),
    ],
    ids=lambda refusal: type(refusal).__name__,
)
def test_a_refusal_passes_through_and_nothing_leaves(refusal: BaseException) -> None:
    """The caller gets its own exception back, even one that urllib3 would swallow; the server gets nothing."""

    def hook() -> None:
        raise refusal

    with Server(always(CREATED)) as server:
        client = client_of(server.url)
        with pytest.raises(type(refusal)) as caught:
            post(client, hook=hook)
        assert post(client).status == 201
    assert caught.value is refusal
    assert caught.value.__context__ is None
    assert len(server.requests) == 1
    assert bytes(server.seen).count(b"POST ") == 1


def test_a_refusal_on_a_reused_connection_sends_nothing() -> None:
    """An open connection makes no difference."""

    def hook() -> None:
        raise LeaseLost

    with Server(always(CREATED)) as server:
        client = client_of(server.url)
        post(client)
        with pytest.raises(LeaseLost):
            post(client, hook=hook)
    assert len(server.requests) == 1


def test_a_deadline_that_passes_while_the_caller_is_asked_sends_nothing() -> None:
    """A slow commit: the first byte does not leave after the deadline."""
    with Server(always(CREATED)) as server:
        came = post(client_of(server.url), 0.1, lambda: time.sleep(0.2))
    assert_not_sent(came, server, "within 0.1 s")


# Several addresses.


class SeveralAddresses(Attempt):
    """An attempt at a name that has an address at each of these ports."""

    ports: tuple[int, ...] = ()
    shares: tuple[float, ...] = ()

    def _look_up(self, host: str, port: int) -> list[tuple[int, int, int, str, Any]]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", (LOOPBACK, one)) for one in self.ports]

    def _share(self, left: int) -> float:
        share = super()._share(left)
        self.shares += (share,)
        return share


def test_an_address_that_does_not_answer_leaves_time_for_the_next() -> None:
    """The first of two has half of what is left, and the second is connected."""
    attempt = SeveralAddresses(clock=CLOCK, deadline=CLOCK.boot() + 2 * SOON)
    with deaf_port() as deaf, Server(always(CREATED)) as server:
        attempt.ports = (deaf, server.port)
        with attempt.dial("two.invalid", 443, []) as sock:
            assert sock.getpeername() == (LOOPBACK, server.port)
    assert attempt.shares[0] <= SOON


def test_no_number_of_addresses_takes_longer_than_the_deadline() -> None:
    """Each has a part of the whole."""
    attempt = SeveralAddresses(clock=CLOCK, deadline=CLOCK.boot() + 0.3)
    with deaf_port() as one, deaf_port() as two, deaf_port() as three:
        attempt.ports = (one, two, three)
        with pytest.raises(TimeoutError):
            attempt.dial("three.invalid", 443, [])
    assert sum(attempt.shares) < 0.31


# Aborting.


def test_abort_all_ends_what_is_on_the_wire() -> None:
    """A hanging request ends at once, flagged as sent; requests after it work."""
    asked = threading.Event()

    def hang_once(peer: Peer) -> None:
        peer.request()
        asked.set()
        peer.hang()

    def abort_when_asked(client: Client) -> None:
        asked.wait(LONGEST)
        client.abort_all()

    with Server(hang_once, always(CREATED)) as server:
        client = client_of(server.url)
        threading.Thread(target=abort_when_asked, args=(client,), daemon=True).start()
        came = post(client, 2 * LONGEST)  # which it would take without being aborted
        assert post(client).status == 201
    assert came.sent
    assert_says(came, "aborted by this program")


def test_the_deadline_resets_the_connection() -> None:
    """At the deadline the server sees the connection end, not merely the client lose interest."""
    ended = threading.Event()

    def wait_for_end(peer: Peer) -> None:
        peer.request()
        peer.hang()
        ended.set()

    with Server(wait_for_end) as server:
        post(client_of(server.url), SOON)
        assert ended.wait(PATIENCE / 2)  # the server itself would wait for twice as long


def attempt_of(clock: VirtualClock | SystemClock) -> Attempt:
    return Attempt(clock=clock, deadline=clock.boot() + 5, authorization=Authorization(lambda: TOKEN))


def test_the_first_byte_looks_at_the_boot_clock_itself() -> None:
    """After a suspension the deadline may have passed before the watchdog has looked again."""
    clock = VirtualClock()
    attempt = attempt_of(clock)
    clock.advance(6)
    with socket.socket() as sock, pytest.raises(Stopped, match="within 5 s"):
        attempt.begin(sock, reused=False)
    assert not attempt.sent


def test_a_connection_at_rest_is_out_of_its_old_attempts_reach() -> None:
    """A watchdog that comes late must not cut what the next attempt uses by then."""
    attempt = attempt_of(CLOCK)
    with Server(always(CREATED)) as server:
        connection = Connection(LOOPBACK, server.port)
        connection.awake(attempt)
        connection.connect()
        connection.rest()
        attempt.cut_off("late")
        connection.awake(attempt_of(CLOCK))
        connection.request("GET", "/v7")
        assert connection.getresponse().status == 201
        connection.close()


def test_a_closed_connection_does_not_reconnect_to_send() -> None:
    """Only the pool opens connections: one that was lost is not quietly made anew."""
    with Server(always(CREATED)) as server:
        connection = Connection(LOOPBACK, server.port)
        connection.awake(attempt_of(CLOCK))
        with pytest.raises(Stopped, match="closed"):
            connection.request("GET", "/v7")
    assert server.connections == 0


# The credential stays between us and the API.


@pytest.fixture
def trap() -> Iterator[Server]:
    with Server(always(CREATED)) as server:
        yield server


@pytest.mark.parametrize(
    "status", ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"]
)
def test_a_redirect_is_not_followed(trap: Server, status: str) -> None:
    """Neither the request nor the token arrives at the address that the answer names."""
    there = f"Location: http://{LOOPBACK}:{trap.port}/v7/tests/202701/snapshot"
    with Server(always(answer(status, b"", there))) as server:
        came = post(client_of(server.url))
    assert came.status == int(status[:3])
    assert trap.connections == 0
    assert len(server.requests) == 1


def test_a_netrc_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the one NETRC names nor the one in HOME replaces the token."""
    netrc = tmp_path / ".netrc"
    netrc.write_text(f"machine {LOOPBACK} login other password wrong\ndefault login other password wrong\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("HOME", str(tmp_path))
    with Server(always(CREATED)) as server:
        post(client_of(server.url))
    assert f"Authorization: Bearer {TOKEN}\r\n".encode() in server.requests[0]
    assert b"Basic" not in server.seen


def test_the_process_environment_is_not_read(trap: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Proxies come from the environment that the client was given, and loopback never has one."""
    monkeypatch.setenv("HTTP_PROXY", f"http://{LOOPBACK}:{trap.port}")
    monkeypatch.setenv("ALL_PROXY", f"http://{LOOPBACK}:{trap.port}")
    with Server(always(CREATED)) as server:
        assert post(client_of(server.url, ALL_PROXY=f"http://{LOOPBACK}:{trap.port}")).status == 201
    assert trap.connections == 0


def test_an_echoed_token_is_masked() -> None:
    """A server that quotes the request back does not bring the token into answers."""
    echo = answer("400 Bad Request", f'{{"detail": "Bearer {TOKEN} is odd"}}'.encode(), f"X-Echo: {TOKEN}")
    with Server(always(echo)) as server:
        came = post(client_of(server.url))
    assert came.body == b'{"detail": "Bearer *** is odd"}'
    assert TOKEN not in repr(came)


def test_a_cookie_is_not_kept() -> None:
    """Answers leave nothing behind that the next request would carry."""
    with Server(always(answer("201 Created", SNAPSHOT, "Set-Cookie: a=b"))) as server:
        client = client_of(server.url)
        post(client)
        post(client)
    assert b"Cookie" not in server.seen

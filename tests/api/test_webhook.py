"""One message to one webhook, over real sockets."""

from __future__ import annotations

from contextlib import suppress
from functools import partial

import pytest

from orchestrator.api.webhook import check_address, post_message
from orchestrator.core.clock import SystemClock
from orchestrator.core.errors import UsageError
from orchestrator.core.jobs import Http
from tests.support.wire import LOOPBACK, Peer, Server, always, answer, closed_port

SECRET_PATH = "/services/T000/B000/0a1b2c3d4e5f"


post = partial(post_message, clock=SystemClock(), http=Http(), environ={}, user_agent="tesnap/test")


def posted(server: Server, seconds: float = 60.0) -> str | None:
    return post(server.url.removesuffix("/v7") + SECRET_PATH, b'{"text":"x"}', seconds)


@pytest.mark.socket
def test_a_message_is_posted_once_as_json() -> None:
    """With its length and type, and without any credential."""
    with Server(always(answer("200 OK", b"ok"))) as server:
        assert posted(server) is None
    (request,) = server.requests
    assert request.startswith(f"POST {SECRET_PATH} HTTP/1.1".encode())
    assert b"Content-Type: application/json" in request
    assert request.endswith(b'{"text":"x"}')
    assert b"uthorization" not in request


@pytest.mark.socket
@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        ("204 No Content", b"", None),
        ("404 Not Found", b"no_service", "answered 404 (no_service)"),
        ("500 Oops", SECRET_PATH.encode(), "it answered 500"),
        ("302 Found", b"", "redirect (302), which is not followed"),
    ],
)
def test_what_the_receiver_says_is_told(status: str, body: bytes, words: str | None) -> None:
    """Success, a refusal with its one word, a redirect that nobody follows."""
    with Server(always(answer(status, body, "Location: /elsewhere"))) as server:
        found = posted(server)
    assert len(server.requests) == 1
    assert found is None if words is None else words in str(found)
    assert SECRET_PATH not in str(found)


@pytest.mark.socket
def test_who_does_not_answer_is_cut_off() -> None:
    """In time, however slowly an answer comes, and without the address in the words."""

    def drip(peer: Peer) -> None:
        peer.request()
        peer.drip(answer("200 OK", b"x" * 1000), every=0.5)

    with Server(drip) as server:
        found = posted(server, seconds=1.5)
    assert found == "no answer within 1.5 s"


@pytest.mark.socket
def test_nobody_waits_for_the_rest_of_a_success() -> None:
    """The status says that the message was taken; a body that never ends holds up neither others nor the end."""
    left: list[bool] = []

    def stall(peer: Peer) -> None:
        peer.request()
        peer.say(answer("200 OK", b"x" * 1000)[:-1])
        peer.sock.settimeout(3.0)
        with suppress(TimeoutError):
            left.append(not peer.sock.recv(1))

    with Server(stall) as server:
        assert posted(server, seconds=6.0) is None
    assert left == [True]


@pytest.mark.socket
def test_who_is_not_there_is_named_by_host_alone() -> None:
    """A refused connection is words, and no exception."""
    found = post(f"http://{LOOPBACK}:{closed_port()}{SECRET_PATH}", b"{}", 60.0)
    assert found is not None
    assert found.startswith(f"connection refused by {LOOPBACK}:")
    assert SECRET_PATH not in found


@pytest.mark.socket
def test_a_webhook_at_an_ipv6_address_is_reached() -> None:
    """Its Host has the brackets."""
    with Server(always(answer("200 OK", b"ok")), host="::1") as server:
        assert posted(server) is None
    assert f"\r\nHost: [::1]:{server.port}\r\n".encode() in server.requests[0]


@pytest.mark.parametrize(
    "address", ["https://[::1/hook", "https://hook.example:99999/x", "https://hook\n.example/x"]
)
def test_what_is_no_address_is_refused_unquoted(address: str) -> None:
    """As wrong usage, never as an internal error."""
    with pytest.raises(UsageError, match="it holds no address"):
        check_address(address)

"""What is sent, where to, and that the credential is seen nowhere else."""

from __future__ import annotations

import io
import json
import logging
import traceback
from email.utils import formatdate
from pathlib import Path
from types import TracebackType

import pytest

from orchestrator.api.attempt import Attempt
from orchestrator.api.client import MOST_ANSWERED, Call, Client, snapshot_call
from orchestrator.api.credentials import Authorization
from orchestrator.api.response import Answer
from orchestrator.core.clock import SystemClock
from orchestrator.core.errors import CredentialError, UsageError
from orchestrator.core.jobs import Http, Window
from orchestrator.core.tasks import Task
from orchestrator.core.urls import check_base_url
from tests.support.wire import LOOPBACK, Peer, Server, always, answer, closed_port

TOKEN = "0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9"
API = "https://api.thousandeyes.com/v7"
CLOCK = SystemClock()
GET = Call(method="GET", path="/tests", query=(("aid", "1234"),))


def client_of(url: str, token: str = TOKEN, **environ: str) -> Client:
    return Client(url, lambda: token, clock=CLOCK, http=Http(), user_agent="tesnap/1.2", environ=environ)


def send(client: Client, call: Call = GET, seconds: float = 5.0) -> Answer:
    return client.send(call, deadline=CLOCK.boot() + seconds)


# What is sent.


def test_a_snapshot_is_asked_for_as_documented() -> None:
    """Path, account group, UTC instants, and isPublic as it was written."""
    task = Task(
        organization="o",
        account_group="1234",
        test_id="202701",
        window=Window(start=1686009600, end=1686013200),
        is_public=True,
        display_name="Überblick",
        job_name="j",
    )
    call = snapshot_call(task)
    assert (call.method, call.path, call.query) == ("POST", "/tests/202701/snapshot", (("aid", "1234"),))
    assert json.loads(call.body or b"") == {
        "displayName": "Überblick",
        "startDate": "2023-06-06T00:00:00Z",
        "endDate": "2023-06-06T01:00:00Z",
        "isPublic": True,
    }


def test_without_an_account_group_none_is_named() -> None:
    """The token's own is meant then; an id can not leave its place in the path."""
    task = Task(
        organization="o",
        account_group="",
        test_id="1/../2?x",
        window=Window(start=0, end=3600),
        is_public=False,
        display_name="x",
        job_name="j",
    )
    call = snapshot_call(task)
    assert (call.path, call.query) == ("/tests/1%2F..%2F2%3Fx/snapshot", ())
    assert b'"isPublic": false' in (call.body or b"")


@pytest.mark.socket
def test_a_request_has_these_headers_and_no_others() -> None:
    """Nothing that requests or urllib3 would add by themselves."""
    with Server(always(answer("200 OK", b"{}"))) as server:
        client = client_of(server.url)
        send(client)
        send(client, Call(method="POST", path="/x", body=b"{}"))
        host = f"{LOOPBACK}:{server.port}"
    common = [
        f"Host: {host}",
        "Accept: application/hal+json, application/json, application/problem+json",
        "Accept-Encoding: identity",
        f"Authorization: Bearer {TOKEN}",
        "User-Agent: tesnap/1.2",
    ]
    get, post = (request.decode().partition("\r\n\r\n")[0].split("\r\n") for request in server.requests)
    assert get[0] == "GET /v7/tests?aid=1234 HTTP/1.1"
    assert sorted(get[1:]) == sorted(common)
    assert post[0] == "POST /v7/x HTTP/1.1"
    assert sorted(post[1:]) == sorted([*common, "Content-Type: application/json", "Content-Length: 2"])


@pytest.mark.socket
def test_the_credential_is_asked_for_each_time() -> None:
    """A token that was renewed is used from the next request on."""
    tokens = iter(["first-token", "  second-token\n"])
    with Server(always(answer("200 OK", b"{}"))) as server:
        client = Client(
            server.url, lambda: next(tokens), clock=CLOCK, http=Http(), user_agent="x", environ={}
        )
        assert (client.get("/a").status, client.get("/b").status) == (200, 200)
    assert [b"Bearer first-token\r\n" in request for request in server.requests] == [True, False]
    assert b"Bearer second-token\r\n" in server.requests[1]


@pytest.mark.socket
def test_a_body_that_quotes_the_placeholder_is_sent_as_it_is() -> None:
    """A display name is never a place for the credential."""
    body = json.dumps({"displayName": "\r\nAuthorization: <credential>\r\n"}).encode()
    with Server(always(answer("200 OK", b"{}"))) as server:
        send(client_of(server.url), Call(method="POST", path="/x", body=body))
    assert server.requests[0].endswith(body)
    assert server.requests[0].count(TOKEN.encode()) == 1


@pytest.mark.socket
def test_an_answer_is_told_whole() -> None:
    """Status, lower-case headers, body, and how far the server's clock is ahead of ours."""
    date = formatdate(CLOCK.wall() + 100, usegmt=True)
    with Server(always(answer("200 OK", b'{"a": 1}', f"DATE: {date}", "X-Y: z"))) as server:
        came = send(client_of(server.url))
    assert (came.sent, came.status, came.body, came.failure) == (True, 200, b'{"a": 1}', None)
    assert came.headers["x-y"] == "z"
    assert came.date_offset is not None
    assert 95 < came.date_offset < 101


@pytest.mark.socket
def test_a_list_may_be_larger_than_other_answers() -> None:
    """What is too much for a POST is not for a GET."""
    large = b"x" * (MOST_ANSWERED + 1)
    with Server(always(answer("200 OK", large))) as server:
        client = client_of(server.url)
        listed, made = send(client), send(client, Call(method="POST", path="/x", body=b"{}"))
    assert (len(listed.body), listed.failure) == (len(large), None)
    assert (made.status, made.body, made.failure) == (200, b"", "the answer is larger than 1 MiB")


# Where to.


@pytest.mark.parametrize(
    "url",
    [
        "https://api.thousandeyes.com/v7",
        "https://h:8443",
        "http://localhost:8080/v7",
        "http://127.0.0.1:1/v7",
        "http://[::1]:1/v7",
    ],
)
def test_a_usable_base_url_is_kept_as_written(url: str) -> None:
    """It has https, or is on this machine."""
    assert check_base_url(url) == url


@pytest.mark.parametrize(
    "url",
    [
        "http://api.thousandeyes.com/v7",
        "http://localhost.example/v7",
        "http://10.0.0.1/v7",
        "ftp://localhost/v7",
        "api.thousandeyes.com/v7",
        "https:///v7",
        "https://h:99999/v7",
        "https://h:x/v7",
        "https://me:secret1@h/v7",
        "https://h/v7?token=secret1",
        "https://h/v7#secret1",
        "",
    ],
)
def test_an_unusable_base_url_is_refused(url: str) -> None:
    """Nothing is sent unencrypted, and no secret in an address is quoted."""
    with pytest.raises(UsageError) as caught:
        check_base_url(url)
    assert "secret1" not in str(caught.value)


def test_a_ca_bundle_has_to_be_readable(tmp_path: Path) -> None:
    """Found out before anything is sent, with the file's name."""
    broken = tmp_path / "broken.pem"
    broken.write_text("not a certificate")
    for bundle in (str(tmp_path / "missing.pem"), str(broken)):
        with pytest.raises(UsageError, match=bundle):
            Client(API, lambda: TOKEN, clock=CLOCK, http=Http(ca_bundle=bundle), user_agent="x", environ={})
        with pytest.raises(UsageError, match=bundle):
            client_of(API, REQUESTS_CA_BUNDLE=bundle)


# The credential.


@pytest.mark.parametrize("token", ["", "   ", "two words", "a\nb", "tökën", "a\x00b"])
def test_a_malformed_credential_is_refused_without_quoting_it(token: str) -> None:
    """Before anything is opened."""
    with pytest.raises(CredentialError) as caught:
        send(client_of(f"http://{LOOPBACK}:1/v7", token))
    assert not token.strip() or token not in str(caught.value)


def everything_in(error: BaseException) -> str:
    """A traceback with every frame's local variables, of the error and of all behind it."""
    shown = traceback.TracebackException.from_exception(error, capture_locals=True)
    return "".join(shown.format()) + "".join(map(repr, locals_of(error.__traceback__)))


def locals_of(trace: TracebackType | None) -> list[dict[str, object]]:
    found = []
    while trace is not None:
        found.append(trace.tb_frame.f_locals)
        trace = trace.tb_next
    return found


@pytest.mark.socket
def test_the_credential_is_in_no_traceback() -> None:
    """Not in that of a refusal, which comes from amid a request, and not in its frames' variables."""

    def refuse() -> None:
        raise BrokenPipeError("refused")

    bearer = Box(TOKEN)
    with Server(always(answer("200 OK"))) as server:
        client = Client(server.url, bearer, clock=CLOCK, http=Http(), user_agent="x", environ={})
        with pytest.raises(BrokenPipeError) as caught:
            client.send(GET, deadline=CLOCK.boot() + 5, before_first_byte=refuse)
    assert TOKEN not in everything_in(caught.value)


class Box:
    """A credential that does not show itself."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __call__(self) -> str:
        return self._text


@pytest.mark.socket
def test_the_credential_is_in_no_frame_while_bytes_leave() -> None:
    """What urllib3 and http.client hold while they send has a placeholder in it."""
    authorization = Authorization(Box(TOKEN))
    attempt = Attempt(clock=CLOCK, deadline=CLOCK.boot() + 5, authorization=authorization)
    head = b"GET / HTTP/1.1\r\nAuthorization: <credential>\r\n\r\n"
    assert TOKEN.encode() in authorization.put(head)
    assert TOKEN not in repr(attempt) + repr(authorization)


@pytest.mark.socket
def test_the_credential_is_in_no_log(caplog: pytest.LogCaptureFixture) -> None:
    """At no level, not even where a server sends it back in broken headers; nor in any value's repr."""
    caplog.set_level(logging.DEBUG)
    stream = io.StringIO()
    root = logging.getLogger()
    shown = logging.StreamHandler(stream)
    root.addHandler(shown)

    def echo(peer: Peer) -> None:
        peer.request()
        peer.say(b"HTTP/1.1 200 OK\r\nbroken Bearer ", TOKEN.encode(), b"\r\nContent-Length: 0\r\n\r\n")

    try:
        with Server(echo, always(answer("400 Bad", TOKEN.encode()))) as server:
            client = client_of(server.url)
            answers = [send(client), send(client)]
        client.close()
        answers.append(send(client_of(f"http://{LOOPBACK}:{closed_port()}/v7")))
    finally:
        root.removeHandler(shown)
    assert TOKEN not in caplog.text + stream.getvalue() + repr(answers) + repr(client)

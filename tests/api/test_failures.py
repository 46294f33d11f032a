"""Failures of the way to the API, made by real servers and proxies: which last until somebody acts, and what is said."""

from __future__ import annotations

import errno
import socket
import ssl
from pathlib import Path

import pytest

from orchestrator.api.attempt import Attempt
from orchestrator.api.client import Client
from orchestrator.api.failures import Failure, judge_failure
from orchestrator.api.response import Answer
from orchestrator.core.clock import SystemClock
from orchestrator.core.errors import UsageError
from orchestrator.core.jobs import Http
from tests.support.proxies import NAME, PASSWORD, tinyproxy
from tests.support.tls import tls_server
from tests.support.wire import Peer, Script, Server, answer, closed_port, make_certificates

API = "https://api.invalid/v7"
CLOCK = SystemClock()

LASTING_TLS: dict[str, tuple[tuple[str, ...], str, str]] = {
    "self-signed": (
        (),
        "self",
        "is not accepted: self-signed certificate (a company's own CA goes into http.ca",
    ),
    "another host's": ((), "misnamed", "(correct the address in base_url or of the proxy)"),
    "requires a client certificate, TLS 1.2": (
        ("-Verify", "1", "-tls1_2"),
        "good",
        "requires a client certificate",
    ),
    "requires a client certificate, TLS 1.3": (
        ("-Verify", "1", "-verify_return_error", "-tls1_3"),
        "good",
        "requires a client certificate",
    ),
    "old TLS": (
        ("-tls1_1", "-cipher", "ALL:@SECLEVEL=0"),
        "good",
        "speaks no version of TLS that is still safe",
    ),
    "no common cipher": (("-tls1_2", "-cipher", "NULL:@SECLEVEL=0"), "good", "ciphers that this machine"),
}

TUNNELS = {
    301: True, 400: True, 401: True, 403: True, 404: True, 405: True, 407: True, 408: False, 421: False, 425: False,
    429: False, 451: True, 500: False, 501: True, 502: False, 503: False, 504: False, 505: True, 511: True,
}  # fmt: skip
"""A proxy's answers to CONNECT: True for those that last."""


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of certificates."""
    folder = tmp_path_factory.mktemp("certificates")
    make_certificates(folder)
    return folder


@pytest.fixture
def attempt() -> Attempt:
    """An attempt of which nothing has left."""
    made = Attempt(clock=CLOCK, deadline=CLOCK.boot() + 60)
    made.peer = "api.example:443"
    return made


def get(url: str, *, ca: Path | None = None, proxy: str | None = None) -> Answer:
    """One attempt at reading something."""
    http = Http(ca_bundle=None if ca is None else str(ca), proxy=proxy)
    client = Client(url, lambda: "token-of-nobody", clock=CLOCK, http=http, user_agent="t", environ={})
    try:
        return client.get("/account-groups")
    finally:
        client.close()


# -- TLS ---------------------------------------------------------------------------------------------------


@pytest.mark.process
@pytest.mark.parametrize(("options", "certificate", "says"), LASTING_TLS.values(), ids=LASTING_TLS)
def test_tls_that_must_fail_again_is_lasting(
    certificates: Path, options: tuple[str, ...], certificate: str, says: str
) -> None:
    """Whatever the server wants will be wanted at the next attempt, too."""
    with tls_server(certificates, *options, certificate=certificate) as url:
        came = get(url, ca=certificates / "ca.pem")
    assert (came.lasting, came.status) == (True, None)
    assert says in (came.failure or "")


@pytest.mark.process
def test_an_authority_that_is_not_trusted_is_lasting(certificates: Path) -> None:
    """A company's own, without http.ca_bundle; with it all is well."""
    with tls_server(certificates) as url:
        untrusted, trusted = get(url), get(url, ca=certificates / "ca.pem")
    assert (untrusted.lasting, untrusted.sent) == (True, False)
    assert "(a company's own CA goes into http.ca_bundle)" in (untrusted.failure or "")
    assert (trusted.status, trusted.lasting) == (200, False)


@pytest.mark.process
def test_a_certificate_that_has_expired_passes(certificates: Path) -> None:
    """It is about to be renewed, and no account is locked by asking again."""
    with tls_server(certificates, certificate="expired") as url:
        came = get(url, ca=certificates / "ca.pem")
    assert not came.lasting
    assert "has expired (renew it there, or set this machine's clock)" in (came.failure or "")


@pytest.mark.socket
def test_a_server_without_tls_is_lasting() -> None:
    """Plain HTTP at the port of an https address."""
    with Server(_say_at_once(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as server:
        came = get(server.url.replace("http:", "https:"))
    assert (came.lasting, came.sent) == (True, False)
    assert "does not speak TLS there: check the port" in (came.failure or "")


def test_what_breaks_tls_after_the_first_byte_is_no_more_than_a_broken_connection(attempt: Attempt) -> None:
    """A connection that stood has shown that the way is open."""
    garbled = ssl.SSLError(1, "record layer failure")
    garbled.reason = "RECORD_LAYER_FAILURE"
    assert judge_failure(garbled, attempt).lasting
    attempt.sent = True
    assert not judge_failure(garbled, attempt).lasting


# -- proxies -----------------------------------------------------------------------------------------------


@pytest.mark.process
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
@pytest.mark.parametrize(
    ("login", "says"),
    [
        (f"{NAME}:wrong-secret", "refuses the name and password it was given (401): correct them"),
        ("", "wants a name and a password (407): write http://NAME:PASSWORD@HOST:PORT"),
    ],
    ids=["wrong", "none"],
)
def test_a_proxy_that_refuses_its_password_is_lasting(
    tmp_path: Path, host: str, login: str, says: str
) -> None:
    """Asked again and again it locks the account. The message names the proxy, never the password."""
    with tinyproxy(tmp_path, host=host, login=True) as proxy:
        came = get(API, proxy=proxy.url(login))
        assert proxy.asked == 1
    assert (came.lasting, came.sent) == (True, False)
    assert f"the proxy {proxy.address} {says}" in (came.failure or "")
    assert "wrong-secret" not in (came.failure or "")


@pytest.mark.process
def test_a_proxy_that_forbids_the_way_is_lasting(tmp_path: Path) -> None:
    """CONNECT goes through to the ports that its file names."""
    with tinyproxy(tmp_path, "ConnectPort 563") as proxy:
        came = get(API, proxy=proxy.url())
    assert came.lasting
    assert "does not allow a connection to the server (403): ask its administrator to allow that" in (
        came.failure or ""
    )


@pytest.mark.process
def test_a_server_that_a_proxy_does_not_find_passes(tmp_path: Path) -> None:
    """With the right password; its name server may be away."""
    with tinyproxy(tmp_path, login=True) as proxy:
        came = get(API, proxy=proxy.url(f"{NAME}:{PASSWORD}"))
    assert (came.lasting, came.sent) == (False, False)
    assert "cannot reach the server at present (50" in (came.failure or "")


@pytest.mark.socket
@pytest.mark.parametrize("status", TUNNELS)
def test_answers_to_connect_last_or_pass(status: int) -> None:
    """Every status that a proxy may answer, in words of our own."""
    with Server(_say_to_connect(answer(f"{status} Words of the proxy's own"))) as server:
        came = get(API, proxy=f"http://127.0.0.1:{server.port}")
    assert came.lasting is TUNNELS[status]
    assert f"({status})" in (came.failure or "")
    assert "Words" not in (came.failure or "")


# -- what passes -------------------------------------------------------------------------------------------


@pytest.mark.socket
def test_names_and_ports_where_nobody_is_pass() -> None:
    """A network that is away comes back, and so does a server or a proxy."""
    port = closed_port()
    came = [get(API), get(f"https://127.0.0.1:{port}"), get(API, proxy="http://proxy.invalid:3128")]
    assert [one.lasting for one in came] == [False, False, False]
    assert "the address of the proxy proxy.invalid cannot be found" in (came[2].failure or "")


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENETUNREACH, "Network is unreachable"),
        OSError(errno.EHOSTUNREACH, "No route to host"),
        ConnectionRefusedError(),
        ConnectionResetError(),
        TimeoutError(),
        socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution"),
        socket.gaierror(socket.EAI_NONAME, "Name or service not known"),
    ],
    ids=lambda error: f"{type(error).__name__}-{error.errno}",
)
def test_what_a_network_may_do_passes(attempt: Attempt, error: OSError) -> None:
    """None of it says that the next attempt must fail."""
    assert not judge_failure(error, attempt).lasting


def test_a_failure_is_passing_unless_it_is_said() -> None:
    """Nothing stops by accident."""
    assert not Failure("it broke").lasting


# -- certificate authorities -------------------------------------------------------------------------------


@pytest.fixture(params=["missing", "empty", "no certificate", "broken", "folder without any"])
def useless_bundle(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A CA bundle of which nothing can be trusted."""
    texts = {
        "empty": "",
        "no certificate": "hello",
        "broken": "-----BEGIN CERTIFICATE-----\nabc\n-----END CERTIFICATE-----\n",
    }
    path = tmp_path / "bundle"
    if request.param in texts:
        path.write_text(texts[request.param])
    elif request.param != "missing":
        path.mkdir()
        (path / "ca.pem").write_text("not by the name that openssl rehash gives")
    return path


def test_a_bundle_that_holds_no_certificate_is_wrong_usage(useless_bundle: Path) -> None:
    """Said before anything is sent, with its name and what to write."""
    with pytest.raises(UsageError) as caught:
        get(API, ca=useless_bundle)
    assert str(useless_bundle) in str(caught.value)
    assert "name a PEM file" in str(caught.value)


def _say_at_once(*parts: bytes) -> Script:
    def script(peer: Peer) -> None:
        peer.some(100)
        peer.say(*parts)

    return script


def _say_to_connect(*parts: bytes) -> Script:
    def script(peer: Peer) -> None:
        peer.head()
        peer.say(*parts)

    return script

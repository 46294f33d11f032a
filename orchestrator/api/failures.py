"""Failures of the wire in plain words, and which of them last until somebody changes something on the way.

Nothing that a server sent is quoted. A failure is lasting where the same attempt must fail again: a refused
password, an untrusted certificate, a server that wants what this program does not have. What a network, a server or
an operator may mend while the run waits passes: names that are not found, closed ports, gateways without an answer,
a certificate that has expired and is about to be renewed.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable
from http import HTTPStatus
from http.client import HTTPException, IncompleteRead, RemoteDisconnected
from socket import gaierror
from typing import Any, NamedTuple

from requests import RequestException
from urllib3.exceptions import DecodeError, HTTPError

from orchestrator.api.attempt import Attempt, Stopped

FAILURES = (Stopped, RequestException, HTTPError, HTTPException, OSError, ValueError)
"""Everything that requests, urllib3 and the sockets below them raise when an exchange fails."""

_TUNNEL = re.compile(r"Tunnel connection failed: (\d{3})")  # http.client's words

_LOGIN_WANTED = (
    HTTPStatus.PROXY_AUTHENTICATION_REQUIRED,
    HTTPStatus.UNAUTHORIZED,
)  # tinyproxy: 401 to a wrong one

_PASSING_TUNNELS = frozenset({408, 421, 425, 429, 500, 502, 503, 504})
"""Statuses of a proxy that are gone by themselves: it, or what is behind it, is busy or away."""

_CLOCK = "renew it there, or set this machine's clock"

_ADDRESS = "correct the address in base_url or of the proxy"

_CERTIFICATES: dict[int, tuple[str, bool]] = {  # OpenSSL's X509_V_ERR_...: what to do, and if it lasts
    9: (_CLOCK, False),  # not yet valid
    10: (_CLOCK, False),  # expired
    62: (_ADDRESS, True),  # another host's name
    64: (_ADDRESS, True),  # another host's address
}

_UNTRUSTED = ("a company's own CA goes into http.ca_bundle", True)

_NO_TLS = "does not speak TLS there: check the port, and that a proxy's address begins with http:// if it is one without TLS"

_CLIENT_CERTIFICATE = (
    "requires a client certificate, and this program has none: use an address that requires none"
)

_OLD_TLS = (
    "speaks no version of TLS that is still safe (1.2 or later): have it updated, or correct the address"
)

_NO_AGREEMENT = (
    "refused the TLS handshake: it requires a client certificate, or ciphers that this machine does not offer"
)

_OTHER_NAME = "does not serve this host name: correct the address in base_url or of the proxy"

_LASTING_TLS = {  # OpenSSL's names of alerts and errors; any other one passes
    "WRONG_VERSION_NUMBER": _NO_TLS,
    "RECORD_LAYER_FAILURE": _NO_TLS,
    "HTTP_REQUEST": _NO_TLS,
    "UNKNOWN_PROTOCOL": _NO_TLS,
    "PACKET_LENGTH_TOO_LONG": _NO_TLS,
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": _CLIENT_CERTIFICATE,
    "SSLV3_ALERT_HANDSHAKE_FAILURE": _NO_AGREEMENT,
    "TLSV1_ALERT_INSUFFICIENT_SECURITY": _NO_AGREEMENT,
    "TLSV1_ALERT_ACCESS_DENIED": _NO_AGREEMENT,
    "NO_SHARED_CIPHER": _NO_AGREEMENT,
    "TLSV1_ALERT_PROTOCOL_VERSION": _OLD_TLS,
    "UNSUPPORTED_PROTOCOL": _OLD_TLS,
    "DH_KEY_TOO_SMALL": _OLD_TLS,
    "UNSAFE_LEGACY_RENEGOTIATION_DISABLED": _OLD_TLS,
    "TLSV1_UNRECOGNIZED_NAME": _OTHER_NAME,
}


class Failure(NamedTuple):
    """The reason why there is no whole answer; `lasting` if another attempt fails alike until somebody acts."""

    text: str
    lasting: bool = False


def judge_failure(error: BaseException, attempt: Attempt) -> Failure:
    """The reason why there is no whole answer, and if it lasts."""
    if attempt.cut is not None:
        return Failure(attempt.cut)
    root = _root(error)
    if isinstance(root, TimeoutError):
        return Failure(attempt.describe_lateness())
    if isinstance(root, ssl.SSLError):
        return _judge_tls(root, attempt.peer, sent=attempt.sent)
    if isinstance(root, OSError) and (refused := _TUNNEL.search(str(root))):
        return _judge_tunnel(int(refused[1]), attempt)
    return Failure(
        next(describe(root, attempt.peer) for kind, describe in _DESCRIPTIONS if isinstance(root, kind))
    )


def _root(error: BaseException) -> BaseException:
    """The error at the bottom of what requests and urllib3 wrapped around it."""
    for _ in range(10):  # deeper than any nesting of theirs
        inner = [getattr(error, "reason", None), *reversed(error.args), error.__cause__]
        causes = [cause for cause in inner if isinstance(cause, BaseException)]
        if not causes or isinstance(error, DecodeError | IncompleteRead):
            break
        error = causes[0]
    return error


def _judge_tls(error: ssl.SSLError, peer: str, *, sent: bool) -> Failure:
    """A failure of TLS; one after the first byte is that of this connection, but for what TLS 1.3 asks for late."""
    if isinstance(error, ssl.SSLCertVerificationError):
        advice, lasting = _CERTIFICATES.get(error.verify_code, _UNTRUSTED)
        reason = str(error.verify_message).rstrip(".")
        return Failure(f"the TLS certificate of {peer} is not accepted: {reason} ({advice})", lasting)
    wanted = _LASTING_TLS.get(error.reason or "", "")
    if wanted and (wanted is _CLIENT_CERTIFICATE or not sent):
        return Failure(f"{peer} {wanted}", lasting=True)
    reason = (error.reason or "the connection was closed").lower().replace("_", " ")
    return Failure(f"TLS with {peer} failed: {reason}")


def _judge_tunnel(status: int, attempt: Attempt) -> Failure:
    """The refusal of a proxy to open the way to the server."""
    peer, where = attempt.peer, "in http.proxy or HTTPS_PROXY"
    if status in _LOGIN_WANTED:
        text = (
            f"{peer} refuses the name and password it was given ({status}): correct them {where}"
            if attempt.introduced
            else f"{peer} wants a name and a password ({status}): write http://NAME:PASSWORD@HOST:PORT {where}"
        )
    elif status == HTTPStatus.FORBIDDEN:
        text = f"{peer} does not allow a connection to the server (403): ask its administrator to allow that"
    elif status in _PASSING_TUNNELS:
        text = f"{peer} cannot reach the server at present ({status})"
    else:
        text = f"{peer} refuses to open a tunnel to the server ({status}): check that it is a proxy for https, and {where}"
    return Failure(text, lasting=status not in _PASSING_TUNNELS)


# Subclasses stand before their bases.
_DESCRIPTIONS: tuple[tuple[type[BaseException], Callable[[Any, str], str]], ...] = (
    (Stopped, lambda error, _: str(error)),
    (
        gaierror,
        lambda error, peer: f"the address of {peer.rpartition(':')[0]} cannot be found: {error.strerror}",
    ),
    (ConnectionRefusedError, lambda _, peer: f"connection refused by {peer}"),
    (RemoteDisconnected, lambda _, peer: f"{peer} closed the connection without an answer"),
    (ConnectionError, lambda _, peer: f"the connection was reset by {peer}"),
    (IncompleteRead, lambda _, __: "the answer was cut off"),
    (DecodeError, lambda _, __: "the answer is compressed and cannot be decoded"),
    (OSError, lambda error, peer: f"no connection to {peer}: {error.strerror or type(error).__name__}"),
    (BaseException, lambda error, peer: f"what {peer} answered is not valid HTTP ({type(error).__name__})"),
)

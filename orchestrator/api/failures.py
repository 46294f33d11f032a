"""Failures of the wire in plain words, in which nothing that a server sent is quoted."""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable
from http.client import HTTPException, IncompleteRead, RemoteDisconnected
from socket import gaierror
from typing import Any

from requests import RequestException
from urllib3.exceptions import DecodeError, HTTPError

from orchestrator.api.attempt import Attempt, Stopped

FAILURES = (Stopped, RequestException, HTTPError, HTTPException, OSError, ValueError)
"""Everything that requests, urllib3 and the sockets below them raise when an exchange fails."""

_TUNNEL = re.compile(r"Tunnel connection failed: (\d{3}[^\x00-\x1f\x7f]{0,60})")

_NOT_TLS = (
    "WRONG_VERSION_NUMBER",
    "RECORD_LAYER_FAILURE",
    "HTTP_REQUEST",
    "UNKNOWN_PROTOCOL",
    "PACKET_LENGTH_TOO_LONG",
)


def describe_failure(error: BaseException, attempt: Attempt) -> str:
    """The reason why there is no whole answer."""
    if attempt.cut is not None:
        return attempt.cut
    root = _root(error)
    if isinstance(root, TimeoutError):
        return attempt.describe_lateness()
    return next(describe(root, attempt.peer) for kind, describe in _DESCRIPTIONS if isinstance(root, kind))


def _root(error: BaseException) -> BaseException:
    """The error at the bottom of what requests and urllib3 wrapped around it."""
    for _ in range(10):  # deeper than any nesting of theirs
        inner = [getattr(error, "reason", None), *reversed(error.args), error.__cause__]
        causes = [cause for cause in inner if isinstance(cause, BaseException)]
        if not causes or isinstance(error, DecodeError | IncompleteRead):
            break
        error = causes[0]
    return error


def _describe_tls(error: ssl.SSLError, peer: str) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        reason = str(error.verify_message).rstrip(".")
        return (
            f"the TLS certificate of {peer} is not accepted: {reason} (a company's own CA goes into "
            "http.ca_bundle)"
        )
    if error.reason in _NOT_TLS:
        return f"{peer} does not speak TLS"
    return (
        f"TLS with {peer} failed: {(error.reason or 'the connection was closed').lower().replace('_', ' ')}"
    )


def _describe_system(error: OSError, peer: str) -> str:
    refused = _TUNNEL.search(str(error))
    if refused:
        return f"{peer} refused the tunnel: {refused[1].strip()}"
    return f"no connection to {peer}: {error.strerror or type(error).__name__}"


# Subclasses stand before their bases.
_DESCRIPTIONS: tuple[tuple[type[BaseException], Callable[[Any, str], str]], ...] = (
    (Stopped, lambda error, _: str(error)),
    (ssl.SSLError, _describe_tls),
    (
        gaierror,
        lambda error, peer: f"the address of {peer.rpartition(':')[0]} cannot be found: {error.strerror}",
    ),
    (ConnectionRefusedError, lambda _, peer: f"connection refused by {peer}"),
    (RemoteDisconnected, lambda _, peer: f"{peer} closed the connection without an answer"),
    (ConnectionError, lambda _, peer: f"the connection was reset by {peer}"),
    (IncompleteRead, lambda _, __: "the answer was cut off"),
    (DecodeError, lambda _, __: "the answer is compressed and cannot be decoded"),
    (OSError, _describe_system),
    (BaseException, lambda error, peer: f"what {peer} answered is not valid HTTP ({type(error).__name__})"),
)

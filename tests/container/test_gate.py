"""The gate before the API in which a run is told to stop."""

from __future__ import annotations

import socket
from contextlib import suppress
from urllib.parse import urlsplit

import pytest

from tests.container.gate import Gate, Mode

pytestmark = pytest.mark.socket

TRIES = 30
"""Enough that a place which is left free now and then is found."""


def connects_after_the_first_post() -> bool:
    """True if a deaf gate takes one connection more."""
    with Gate("http://127.0.0.1:9/v7", Mode.DEAF) as gate:
        place = ("127.0.0.1", int(urlsplit(gate.url).port or 0))
        with socket.create_connection(place) as first:
            first.sendall(b"POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n")
            assert b" 503 " in first.recv(1024)
        with socket.socket() as second, suppress(TimeoutError):
            second.settimeout(0.1)
            second.connect(place)
            return True
    return False


def test_a_deaf_gate_takes_no_connection_after_the_first_post() -> None:
    """None of them: what is sent into one would be a lost answer, and no request that never left."""
    assert [connects_after_the_first_post() for _ in range(TRIES)] == [False] * TRIES

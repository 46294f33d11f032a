"""Addresses: which of them are one, which are this machine, where a secret would go unencrypted."""

from __future__ import annotations

import pytest

from orchestrator.core.urls import is_loopback, is_unencrypted, normalise_url


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST.", "127.0.0.1", "127.1.2.3", "::1", "[::1]"])
def test_loopback_has_several_spellings(host: str) -> None:
    """Names, the whole network 127.0.0.0/8, and IPv6 as a URL writes it."""
    assert is_loopback(host)
    assert not is_unencrypted("http", host)


@pytest.mark.parametrize(
    "host", ["localhost.example", "127.0.0.1.example", "10.0.0.1", "::", "localhost..", ""]
)
def test_what_only_looks_like_loopback_is_not(host: str) -> None:
    """Nothing secret goes there without TLS."""
    assert not is_loopback(host)
    assert is_unencrypted("http", host)
    assert not is_unencrypted("https", host)


@pytest.mark.parametrize(
    ("written", "compared"),
    [
        ("https://API.example:443/v7/", "https://api.example/v7"),
        ("http://localhost:80", "http://localhost"),
        ("https://api.example:80/v7", "https://api.example:80/v7"),
        ("https://[::1]:443/v7", "https://[::1]/v7"),
    ],
)
def test_spellings_of_one_address_are_one(written: str, compared: str) -> None:
    """Case, the usual port and a slash at the end do not count."""
    assert normalise_url(written) == compared
